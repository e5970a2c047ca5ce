//! Teammy.
