//! Runs scenarios in virtual time and prints what came of them.

mod cli;
mod search;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
