//! How far a long run is, on stderr: a line that renews itself on a terminal, a line every ten seconds elsewhere.

use std::{
    collections::BTreeMap,
    fmt,
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Says how far a run is. Several that go on at the same time share a line.
pub struct Progress {
    began: Instant,
    what: String,
    board: Option<Arc<Mutex<Board>>>,
}

/// The line that they share.
struct Board {
    said: Instant,
    every: Duration,
    terminal: bool,
    words: BTreeMap<String, String>,
}

impl Progress {
    /// On stderr.
    pub fn on_stderr(what: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let board = Board {
            said: Instant::now(),
            every: Duration::from_millis(if terminal { 200 } else { 10_000 }),
            terminal,
            words: BTreeMap::new(),
        };
        Self::new(what, Some(Arc::new(Mutex::new(board))))
    }

    /// Nowhere.
    pub fn silent() -> Self {
        Self::new("", None)
    }

    /// One for something that goes on at the same time.
    pub(crate) fn beside(&self, what: &str) -> Self {
        Self::new(what, self.board.clone())
    }

    fn new(what: &str, board: Option<Arc<Mutex<Board>>>) -> Self {
        Self {
            began: Instant::now(),
            what: what.to_owned(),
            board,
        }
    }

    /// What is going on now.
    pub fn begin(&mut self, what: &str) {
        self.end();
        what.clone_into(&mut self.what);
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// How much of it is done, as a share, with a word about it.
    pub fn at(&mut self, share: f64, word: fmt::Arguments<'_>) {
        let Some(mut board) = self.board() else {
            return;
        };
        let percent = 100.0 * share.clamp(0.0, 1.0);
        let line = format!("{}: {percent:.0} %, {word}", self.what);
        board.words.insert(self.what.clone(), line);
        if board.said.elapsed() < board.every {
            return;
        }
        board.said = Instant::now();
        let words: Vec<&str> = board.words.values().map(String::as_str).collect();
        let seconds = self.began.elapsed().as_secs_f64();
        let line = format!("{}; {seconds:.0} s so far", words.join("; "));
        // Nobody reading is no reason to stop.
        let mut err = std::io::stderr().lock();
        let _ = if board.terminal {
            write!(err, "\r\x1b[K{line}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{line}")
        };
    }

    /// Wipes the line, so that what follows starts on a clean one.
    pub fn end(&mut self) {
        if let Some(mut board) = self.board() {
            board.words.remove(&self.what);
            if board.terminal {
                let mut err = std::io::stderr().lock();
                let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
            }
        }
    }

    /// Real time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn board(&self) -> Option<MutexGuard<'_, Board>> {
        let board = self.board.as_ref()?;
        Some(board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}
