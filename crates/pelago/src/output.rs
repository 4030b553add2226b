//! The only place that prints: data to stdout, everything else to stderr, colour only where it is wanted.

use crate::exit::Failure;
use clap::ValueEnum;
use std::{
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicU8, Ordering},
};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set or the terminal is dumb.
    #[default]
    Auto,
    Always,
    Never,
}

static CHOICE: AtomicU8 = AtomicU8::new(0);

/// Fixes the choice for this process.
pub(crate) fn choose(colour: Colour) {
    CHOICE.store(colour as u8, Ordering::Relaxed);
}

fn wanted(terminal: bool) -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        1 => true,
        2 => false,
        _ => {
            let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            (terminal && !set("NO_COLOR") && !dumb) || set("CLICOLOR_FORCE")
        }
    }
}

/// Whether data on stdout is coloured.
pub(crate) fn colour() -> bool {
    wanted(io::stdout().is_terminal())
}

/// Whether messages on stderr are coloured.
pub(crate) fn colour_messages() -> bool {
    wanted(io::stderr().is_terminal())
}

/// Prints data. A reader that has gone away, as `head` does, is no error.
pub(crate) fn data(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// Prints data with a newline.
pub(crate) fn line(text: &str) {
    data(&format!("{text}\n"));
}

/// Prints a message for people.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a warning.
pub(crate) fn warn(text: &str) {
    note(&format!(
        "{} {text}",
        tint("warning:", "1;33", colour_messages())
    ));
}

/// Prints why a command failed.
pub(crate) fn failure(failure: &Failure) {
    note(&format!(
        "{} {}",
        tint("error:", "1;31", colour_messages()),
        failure.message
    ));
    failure
        .lines
        .iter()
        .for_each(|line| note(&format!("  {line}")));
}

/// `text` between the escape codes of an SGR style.
pub(crate) fn tint(text: &str, style: &str, on: bool) -> String {
    if on {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Rewrites the current line of a terminal.
pub(crate) fn overwrite(text: &str) {
    let mut err = io::stderr().lock();
    let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
}
