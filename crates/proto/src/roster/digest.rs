//! Eight bytes that say whether two rosters are alike, and a one-level hash tree that finds where they differ.
//!
//! The set hash is the sum modulo 2^64 of the members' entry hashes: adding and replacing costs one addition, and unlike
//! exclusive-or it has no linear collisions.

use super::Roster;
use crate::{identity::NodeId, time::Time};
use std::{collections::VecDeque, time::Duration};

/// How many changes are remembered: a peer that shows the value before one of them lags behind, it does not disagree.
const PAST: usize = 64;
/// Changes older than this are left to reconciliation, which also says how old a goodbye or a death is.
const LATELY: Duration = Duration::from_secs(5);
/// A peer that shows what we had longer ago than this does not lag any more.
const LAG: Duration = Duration::from_secs(10);

/// The current set hash and what led to it.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    current: u64,
    past: VecDeque<Change>,
}

/// One member's entry hash was replaced.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// The set hash until then.
    before: u64,
    of: NodeId,
    at: Time,
}

impl Digests {
    /// The set hash.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// Whether a peer's hash is the current one.
    pub fn agrees(&self, other: u64) -> bool {
        other == self.current
    }

    /// Whether a peer's hash is ours, or one that we had lately: then it lags behind us and does not disagree. Whoever lags for
    /// longer will not catch up by itself: it may refuse what we hold.
    pub fn knows(&self, other: u64, now: Time) -> bool {
        let lags = |change: &Change| change.before == other && now.since(change.at) < LAG;
        other == self.current || self.past.iter().any(lags)
    }

    /// Whose changes a peer that shows this hash has not heard of, oldest first: all since we had that hash ourselves, or the
    /// one or two that make the whole difference. Nobody, if it cannot be told or is no recent matter.
    pub fn missed_by(&self, other: u64, now: Time) -> Vec<NodeId> {
        if other == self.current {
            return Vec::new();
        }
        let lately = |change: &Change| now.since(change.at) < LATELY;
        let since = self.past.iter().rposition(|change| change.before == other);
        if let Some(since) = since {
            let mut missed = Vec::new();
            if !self.past.get(since).is_some_and(lately) {
                return missed;
            }
            for change in self.past.range(since..) {
                if !missed.contains(&change.of) {
                    missed.push(change.of);
                }
            }
            return missed;
        }
        let after = self.past.iter().skip(1).map(|change| change.before);
        let steps = self.past.iter().zip(after.chain([self.current]));
        let recent: Vec<(NodeId, u64)> = steps
            .filter(|(change, _)| lately(change))
            .map(|(change, after)| (change.of, after.wrapping_sub(change.before)))
            .collect();
        let ahead = self.current.wrapping_sub(other);
        for (n, (one, step)) in recent.iter().enumerate() {
            if *step == ahead {
                return vec![*one];
            }
            let rest = ahead.wrapping_sub(*step);
            let mut later = recent.iter().skip(n + 1);
            if let Some((two, _)) = later.find(|(_, step)| *step == rest) {
                return vec![*one, *two];
            }
        }
        Vec::new()
    }

    /// A member's entry hash becomes `new`.
    pub(super) fn replace(&mut self, of: NodeId, old: u64, new: u64, now: Time) {
        if old == new {
            return;
        }
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(Change {
            before: self.current,
            of,
            at: now,
        });
        self.current = self.current.wrapping_sub(old).wrapping_add(new);
    }
}

/// Bits of id prefix for a tree over `members`: about eight members per leaf.
pub fn bits_for(members: usize) -> u8 {
    let leaves = (members / 8).max(1);
    u8::try_from(leaves.ilog2()).unwrap_or(12).min(12)
}

/// The leaf an id belongs to.
pub fn bucket_of(id: &NodeId, bits: u8) -> usize {
    let first = u32::from(id.0[0]) << 8 | u32::from(id.0[1]);
    (first >> (16 - u32::from(bits.min(12)))) as usize
}

impl Roster {
    /// Set hashes by id prefix.
    pub fn buckets(&self, bits: u8) -> Vec<u64> {
        let mut buckets = vec![0_u64; 1 << bits.min(12)];
        for (id, hash) in self.hashes() {
            if let Some(bucket) = buckets.get_mut(bucket_of(&id, bits)) {
                *bucket = bucket.wrapping_add(hash);
            }
        }
        buckets
    }

    /// The entries in the prefixes in which `theirs` differs from ours, and those prefixes: whole prefixes, as long as
    /// there are at most `limit` entries (but one prefix at least).
    pub fn differences(
        &self,
        bits: u8,
        theirs: &[u64],
        limit: usize,
    ) -> (Vec<(NodeId, u64)>, Vec<u32>) {
        let ours = self.buckets(bits);
        let mut entries: Vec<(NodeId, u64)> = Vec::new();
        let mut numbers = Vec::new();
        // Ids and prefixes have one order, so one walk over the members serves all prefixes.
        let mut members = self.hashes().filter(|(_, hash)| *hash != 0).peekable();
        for (number, (own, their)) in (0_u32..).zip(ours.iter().zip(theirs)) {
            let whole = entries.len();
            while let Some(entry) =
                members.next_if(|(id, _)| bucket_of(id, bits) == number as usize)
            {
                if own != their {
                    entries.push(entry);
                }
            }
            if own == their {
                continue;
            }
            if entries.len() > limit && !numbers.is_empty() {
                entries.truncate(whole);
                break;
            }
            numbers.push(number);
        }
        (entries, numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn after(changes: &[(u8, u64, u64)]) -> Digests {
        let mut digests = Digests::default();
        for (who, old, new) in changes {
            digests.replace(id(*who), *old, *new, Time::default());
        }
        digests
    }

    #[test]
    fn who_shows_an_older_hash_missed_everything_since() {
        let then = after(&[(1, 0, 10)]);
        let now = after(&[(1, 0, 10), (2, 0, 20), (3, 0, 30), (2, 20, 25)]);
        assert_eq!(
            now.missed_by(then.current(), Time::default()),
            [id(2), id(3)]
        );
        assert!(now.knows(then.current(), Time::default()));
        assert!(now.missed_by(now.current(), Time::default()).is_empty());
    }

    #[test]
    fn one_or_two_changes_that_make_the_whole_difference_are_found() {
        let theirs = after(&[(1, 0, 10), (3, 0, 45)]);
        let ours = after(&[(1, 0, 10), (2, 0, 20), (3, 0, 45)]);
        assert_eq!(ours.missed_by(theirs.current(), Time::default()), [id(2)]);
        let neither = after(&[(3, 0, 45)]);
        let at = Time::default();
        assert_eq!(ours.missed_by(neither.current(), at), [id(1), id(2)]);
        assert!(
            !ours.knows(theirs.current(), Time::default()),
            "it is ahead of some of our past, not at it"
        );
        assert!(
            theirs.missed_by(ours.current(), Time::default()).is_empty(),
            "who is behind cannot tell"
        );
    }

    #[test]
    fn what_is_no_recent_matter_is_left_to_reconciliation() {
        let then = after(&[(1, 0, 10)]);
        let now = after(&[(1, 0, 10), (2, 0, 20)]);
        let late = Time::default() + LATELY;
        assert!(now.missed_by(then.current(), late).is_empty());
        assert!(now.knows(then.current(), late), "it still lags");
        assert!(!now.knows(then.current(), Time::default() + LAG));
    }

    #[test]
    fn the_past_is_bounded() {
        let mut digests = Digests::default();
        for n in 1..=200_u64 {
            digests.replace(id(1), n - 1, n, Time::default());
        }
        assert_eq!(digests.past.len(), PAST);
        assert!(!digests.knows(0, Time::default()) && digests.knows(199 - 60, Time::default()));
    }
}
