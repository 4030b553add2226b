//! Runs scenarios in virtual time and prints what came of them.

mod cli;
mod pages;
mod scale;
mod search;

use std::process::ExitCode;

fn main() -> ExitCode {
    pages::enlarge();
    cli::run()
}
