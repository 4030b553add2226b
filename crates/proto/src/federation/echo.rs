//! Echoes: pushes that come again. With a fan-out of five, four of five pushes bring bytes that came from somebody else a
//! millisecond ago; they are known by their hash before anything is read, which makes most of dissemination nearly free.
//!
//! A push that is wrongly taken for an echo is a lost push, and what lost pushes brought arrives by set hashes. So that
//! nobody can lose others' pushes by choosing bytes, the hash is keyed by this node alone.

use crate::time::Time;
use std::{
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

/// Pushes remembered at a time: one per value of a hash's last bits, the newest.
const PLACES: usize = 64;
/// How long one is remembered at most: far longer than a push takes to go round, far shorter than anything is forgotten.
const KEPT: Duration = Duration::from_secs(2);

/// Hashes of pushes that were taken in whole.
#[derive(Debug)]
pub(super) struct Echoes {
    key: u64,
    since: Time,
    heard: [u64; PLACES],
}

impl Echoes {
    /// None yet. The seed is this node's secret, from which the key comes.
    pub(super) fn new(seed: &[u8; 32], now: Time) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(seed);
        Self {
            key: hasher.finish(),
            since: now,
            heard: [0; PLACES],
        }
    }

    /// What a payload is known by here; never zero, which stands for none.
    pub(super) fn mark(&self, payload: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.key);
        hasher.write(payload);
        hasher.finish() | 1 << 63
    }

    /// Whether a push with this mark was taken in a moment ago.
    pub(super) fn knows(&mut self, mark: u64, now: Time) -> bool {
        if now.since(self.since) >= KEPT {
            self.heard = [0; PLACES];
            self.since = now;
        }
        self.heard[place(mark)] == mark
    }

    /// Everything in it is known from now on.
    pub(super) fn hear(&mut self, mark: u64) {
        self.heard[place(mark)] = mark;
    }
}

fn place(mark: u64) -> usize {
    mark as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_known_again_for_a_while_and_by_this_node_alone() {
        let at = |ms| Time::START + Duration::from_millis(ms);
        let mut mine = Echoes::new(&[1; 32], at(0));
        let other = Echoes::new(&[2; 32], at(0));
        let mark = mine.mark(b"news");
        assert_ne!(mark, other.mark(b"news"));
        assert!(!mine.knows(mark, at(0)));
        mine.hear(mark);
        assert!(mine.knows(mark, at(1_999)));
        assert!(!mine.knows(mine.mark(b"newer"), at(1_999)));
        assert!(!mine.knows(mark, at(2_000)));
    }
}
