//! `pelago config check` and `show`: the same reading and checking that `agent` does.

use crate::{
    config::{self, Inputs, Outcome},
    exit::{Exit, Failure},
    output,
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// What to do with a configuration.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Config {
    /// Check files as a whole, without starting anything; exit 5 with everything that is wrong
    Check {
        /// Files or directories, lowest first
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        set: Set,
    },
    /// Print the values in force
    Show {
        /// Files or directories, lowest first [default: /etc/pelago if it exists]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Add who set each: file and line, environment, flag or default
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        set: Set,
    },
}

/// Flags above files and environment.
#[derive(Args, Clone, Debug)]
pub(crate) struct Set {
    /// Set one key: --set wan.seats=3
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(crate) fn run(command: Config) -> Result<Exit, Failure> {
    match command {
        Config::Check { paths, set } => {
            let outcome = load(&paths, &set.set);
            report(&outcome)?;
            output::line("the configuration is sound");
            Ok(Exit::Ok)
        }
        Config::Show { paths, origin, set } => {
            let outcome = load(&paths, &set.set);
            output::data(&outcome.show(origin));
            report(&outcome)?;
            Ok(Exit::Ok)
        }
    }
}

/// Reads files, environment and flags. Without files, `/etc/pelago` counts if it is there.
pub(crate) fn load(paths: &[PathBuf], flags: &[String]) -> Outcome {
    let standard = Path::new("/etc/pelago");
    let paths = match paths {
        [] if standard.is_dir() => vec![standard.to_owned()],
        given => given.to_vec(),
    };
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let variables = std::env::vars_os().filter_map(text).collect();
    config::load(Inputs {
        paths,
        variables,
        flags: flags.to_vec(),
    })
}

/// Prints all findings; fails if one of them is an error.
pub(crate) fn report(outcome: &Outcome) -> Result<(), Failure> {
    outcome
        .report(output::colour_messages())
        .iter()
        .for_each(|finding| output::note(&format!("{finding}\n")));
    match outcome.errors() {
        0 => Ok(()),
        errors => {
            let errors = super::words::many(errors, "error");
            Err(Failure::new(
                Exit::Check,
                format!("{errors} in the configuration; nothing was started"),
            ))
        }
    }
}
