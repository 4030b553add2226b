//! Who may use the processor: experiments wait here for their turn, so that no more of them run at once than there are
//! cores, and the long ones begin first.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// So many may run at once.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    drawn: u64,
    /// Who waits, by rank and by when they came.
    waiting: BTreeSet<(usize, u64)>,
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: at_once.max(1),
                drawn: 0,
                waiting: BTreeSet::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for a turn; lower ranks go first.
    pub(super) fn wait(&self, rank: usize) -> Turn<'_> {
        let mut state = self.state();
        state.drawn += 1;
        let ticket = (rank, state.drawn);
        state.waiting.insert(ticket);
        while state.free == 0 || state.waiting.first() != Some(&ticket) {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&ticket);
        state.free -= 1;
        drop(state);
        self.changed.notify_all();
        Turn(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    #[test]
    fn no_more_run_at_once_than_may() {
        let turns = Turns::new(2);
        let (running, most, done) = Default::default();
        let (running, most, done): (&AtomicUsize, &AtomicUsize, &AtomicUsize) =
            (&running, &most, &done);
        thread::scope(|scope| {
            for rank in 0..8 {
                let turns = &turns;
                scope.spawn(move || {
                    let _turn = turns.wait(rank);
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(done.load(Ordering::SeqCst), 8);
        assert!(most.load(Ordering::SeqCst) <= 2);
    }
}
