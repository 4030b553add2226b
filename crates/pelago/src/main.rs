//! `pelago`: the one binary. Runs nodes, asks them, configures them, and makes their certificates.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the command line: an HTTP client of a running agent |
//! | [`agent`], [`dev`] | one node, or a whole federation in one process |
//! | [`http`] | the API and the page, over a [`http::Backend`] |
//! | [`model`] | the JSON of the API, a versioned contract |
//! | [`config`] | files, environment and flags, checked as a whole |
//! | [`output`], [`exit`] | the only place that prints; how commands end |

mod agent;
mod cli;
mod config;
mod dev;
mod exit;
mod http;
mod logging;
mod model;
mod output;
mod pki;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(cli::run() as u8)
}
