//! How far a long run is, on stderr: a line that renews itself on a terminal, a line every ten seconds elsewhere.

use std::{
    fmt,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Says how far a run is.
pub struct Progress {
    began: Instant,
    said: Instant,
    every: Option<Duration>,
    terminal: bool,
    what: String,
}

impl Progress {
    /// On stderr.
    pub fn on_stderr(what: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let every = Duration::from_millis(if terminal { 200 } else { 10_000 });
        Self::new(what, Some(every), terminal)
    }

    /// Nowhere.
    pub fn silent() -> Self {
        Self::new("", None, false)
    }

    fn new(what: &str, every: Option<Duration>, terminal: bool) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            said: now,
            every,
            terminal,
            what: what.to_owned(),
        }
    }

    /// What is going on now.
    pub fn begin(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }

    /// How much of it is done, as a share, with a word about it.
    pub fn at(&mut self, share: f64, word: fmt::Arguments<'_>) {
        let Some(every) = self.every.filter(|every| self.said.elapsed() >= *every) else {
            return;
        };
        debug_assert!(!every.is_zero());
        self.said = Instant::now();
        let line = format!(
            "{}: {:3.0} %, {word}, {:.0} s so far",
            self.what,
            100.0 * share.clamp(0.0, 1.0),
            self.began.elapsed().as_secs_f64()
        );
        // Nobody reading is no reason to stop.
        let mut err = std::io::stderr().lock();
        let _ = if self.terminal {
            write!(err, "\r\x1b[K{line}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{line}")
        };
    }

    /// Wipes the line, so that what follows starts on a clean one.
    pub fn end(&mut self) {
        if self.terminal && self.every.is_some() {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }

    /// Real time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}
