//! The command line. One file per group of commands; reading commands are [`question::Question`]s.

pub(crate) mod address;
mod change;
mod client;
mod compare;
pub(crate) mod configure;
mod datacenters;
mod events;
mod health;
mod links;
mod member;
mod members;
mod pki;
mod question;
mod remove;
mod revoke;
mod servers;
mod sheet;
mod status;
mod wait;
mod why;
pub(crate) mod words;

#[cfg(test)]
pub(crate) use client::{Client, Connect as ConnectOptions};
pub(crate) use members::table as member_table;

use crate::{
    exit::{Exit, Failure},
    output::{self, Colour},
};
use clap::{CommandFactory, Parser, Subcommand};
use client::Connect;
use question::answer;
use sheet::Read;
use std::path::PathBuf;

/// Membership of many datacenters: who is where, who is alive, who says so, and how old that is.
#[derive(Debug, Parser)]
#[command(
    name = "pelago",
    version,
    after_help = "Examples:\n  \
        pelago dev                       a whole federation on this machine\n  \
        pelago members --all             everybody everywhere\n  \
        pelago why us-east-s2            the evidence behind a status\n\n\
        Exit codes: 0 ok, 1 failed, 2 usage, 3 agent not reachable, 4 no such member, 5 check failed,\n\
        6 timed out, 7 not allowed, 8 partial answer"
)]
struct Cli {
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node
    Agent(AgentArgs),
    /// Run a whole federation on loopback in one process
    Dev(crate::dev::DevArgs),
    /// Who is there, where, and alive or not
    Members {
        #[command(flatten)]
        question: members::Members,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// One member, everything known about it
    Member {
        #[command(flatten)]
        question: member::OneMember,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// The signed evidence behind a member's status
    Why {
        #[command(flatten)]
        question: why::Why,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// Datacenters: reachability, age, members by status, seats
    Datacenters {
        #[command(flatten)]
        question: datacenters::Datacenters,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// Elected and standby servers, since when and why
    Servers {
        #[command(flatten)]
        question: servers::Servers,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// WAN links, both directions
    Links {
        #[command(flatten)]
        question: links::Links,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// Ask every elected server and compare; exit 5 where views differ
    Compare {
        #[command(flatten)]
        question: compare::Compare,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// Verdict about this node and the federation
    Status {
        #[command(flatten)]
        question: status::Status,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// The verdict for scripts: exit 0 if good, 5 if not
    Health {
        #[command(flatten)]
        args: health::Health,
        #[command(flatten)]
        connect: Connect,
    },
    /// Wait until a federation is complete
    Wait {
        #[command(flatten)]
        args: wait::Wait,
        #[command(flatten)]
        connect: Connect,
    },
    /// Membership events; with -f as they happen
    Events {
        #[command(flatten)]
        args: events::Events,
        #[command(flatten)]
        read: Read,
        #[command(flatten)]
        connect: Connect,
    },
    /// Dial further seeds
    Join {
        /// Addresses, with or without a port
        #[arg(required = true, value_name = "ADDR")]
        addresses: Vec<String>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Remove a member for as long as its certificates could last; signed here by an operator
    Remove(remove::Remove),
    /// Hand revocation lists to the agent, which spreads them to everybody
    Revoke(revoke::Revoke),
    /// Say goodbye and end the agent
    Leave {
        #[command(flatten)]
        connect: Connect,
    },
    /// Have the agent re-read certificates, keys and revocation lists
    Reload {
        #[command(flatten)]
        connect: Connect,
    },
    /// Authorities and certificates
    #[command(subcommand)]
    Pki(pki::Pki),
    /// Check or show a configuration
    #[command(subcommand)]
    Config(configure::Config),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Arguments of `pelago agent`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    /// Files or directories, lowest first [default: /etc/pelago if it exists]
    #[arg(long, short, num_args = 1.., value_name = "PATH")]
    pub(crate) config: Vec<PathBuf>,
    /// Set one key, above files and environment: --set wan.seats=3
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data; everything else is wrong usage.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
        }
    };
    output::choose(cli.color);
    dispatch(cli.command).unwrap_or_else(|failure| {
        output::failure(&failure);
        failure.exit
    })
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Agent(args) => serving()?.block_on(crate::agent::run(&args)),
        Command::Dev(args) => serving()?.block_on(crate::dev::run(&args)),
        Command::Members {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Member {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Why {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Datacenters {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Servers {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Links {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Compare {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Status {
            question,
            read,
            connect,
        } => asking(answer(question, &connect, read)),
        Command::Health { args, connect } => asking(health::run(&args, &connect)),
        Command::Wait { args, connect } => asking(wait::run(&args, &connect)),
        Command::Events {
            args,
            read,
            connect,
        } => asking(events::run(&args, read, &connect)),
        Command::Join { addresses, connect } => asking(change::join(&addresses, &connect)),
        Command::Remove(args) => asking(remove::run(&args)),
        Command::Revoke(args) => asking(revoke::run(&args)),
        Command::Leave { connect } => asking(change::leave(&connect)),
        Command::Reload { connect } => asking(change::reload(&connect)),
        Command::Pki(command) => pki::run(command),
        Command::Config(command) => configure::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pelago", &mut script);
            output::data(&String::from_utf8_lossy(&script));
            Ok(Exit::Ok)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Failure::failed(format!("cannot write the page: {error}")))?;
            output::data(&String::from_utf8_lossy(&page));
            Ok(Exit::Ok)
        }
    }
}

fn serving() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

fn asking(question: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?
        .block_on(question)
}

/// A name for use in a path.
fn in_path(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// A query string out of what is set.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() {
        query
    } else {
        format!("?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(in_path("a b/../c"), "a%20b%2F..%2Fc");
        assert_eq!(
            query(&[("dc", Some("*")), ("zone", None), ("x", Some("a&b"))]),
            "?dc=*&x=a%26b"
        );
        assert_eq!(query(&[("zone", None)]), "");
    }
}
