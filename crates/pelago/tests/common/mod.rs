//! Shared by the tests: the binary, run once or for as long as a test holds it.

use std::process::{Child, Command, Output};

pub(crate) const PELAGO: &str = env!("CARGO_BIN_EXE_pelago");

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn pelago(arguments: &str) -> Output {
    let output = Command::new(PELAGO)
        .args(arguments.split_whitespace())
        .env_remove("PELAGO_ADDRESS")
        .output();
    output.expect("runs")
}
