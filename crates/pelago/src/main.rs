//! Pelago.
fn main() {}
