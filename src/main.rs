//! teammy
fn main() {}
