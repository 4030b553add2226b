//! What the one binary, `pelago`, is made of: it runs nodes, asks them, configures them, and makes their certificates. Nothing in
//! here is meant for others; whoever embeds a node uses `pelago-node`.
//!
//! | module | what it is |
//! |---|---|
//! | `cli` | the command line: an HTTP client of a running agent |
//! | `agent`, `dev` | one node, or a whole federation in one process |
//! | `http` | the API and the page, over a `http::Backend` |
//! | `model` | the JSON of the API, a versioned contract |
//! | `config` | files, environment and flags, checked as a whole |
//! | `output`, `exit` | the only place that prints; how commands end |

mod agent;
mod cli;
mod config;
mod dev;
mod exit;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod http;
mod logging;
mod model;
mod output;
mod pki;

/// Does what the command line says. The result is the process's exit code.
pub fn run() -> u8 {
    cli::run() as u8
}
