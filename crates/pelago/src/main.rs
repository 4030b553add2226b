//! Pelago.
mod config;
mod logging;
mod model;
mod pki;
fn main() {}
