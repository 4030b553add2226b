//! The log: text on a terminal, JSON elsewhere, on stderr; `PELAGO_LOG` filters more finely than `[log] level`.

use crate::config::Log;
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt};

/// Reads a filter such as `info` or `info,pelago_node=debug`, or says what is wrong with it.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, String> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    // A lone word would be taken for the name of a module, and silence everything.
    if !level.contains(['=', ',']) && !known.contains(&level.to_lowercase().as_str()) {
        return Err(format!("\"{level}\" is not a level"));
    }
    EnvFilter::try_new(level).map_err(|error| error.to_string())
}

/// Starts logging for this process.
pub(crate) fn start(log: &Log) {
    let wanted = std::env::var("PELAGO_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = filter(&wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    // An error here means that logging has been started before, as tests do: that one stays.
    let _ = match log.format.as_str() {
        "json" => builder.json().flatten_event(true).try_init(),
        "auto" if !terminal => builder.json().flatten_event(true).try_init(),
        _ => builder.try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        assert!(filter("info").is_ok());
        assert!(filter("info,pelago_node=debug").is_ok());
        assert!(filter("verbose").is_err());
    }
}
