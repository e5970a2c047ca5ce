//! watch-list
