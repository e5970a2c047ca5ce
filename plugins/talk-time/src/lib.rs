//! talk-time
