//! Eight bytes that say whether two rosters are alike, and a one-level hash tree that finds where they differ.
//!
//! The set hash is the sum modulo 2^64 of the members' entry hashes: adding and replacing costs one addition, and unlike
//! exclusive-or it has no linear collisions.

use super::Roster;
use crate::identity::NodeId;
use std::collections::VecDeque;

/// How many past values are remembered: a peer that shows one of them lags behind, it does not disagree.
const PAST: usize = 64;

/// The current set hash and its recent values.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    current: u64,
    past: VecDeque<u64>,
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

    /// Whether a peer's hash is ours, or one that we had lately: then it lags behind us and does not disagree.
    pub fn knows(&self, other: u64) -> bool {
        other == self.current || self.past.contains(&other)
    }

    pub(super) fn replace(&mut self, old: u64, new: u64) {
        self.current = self.current.wrapping_sub(old).wrapping_add(new);
    }

    /// Called after each change: the new value joins the past.
    pub(super) fn remember(&mut self) {
        if self.past.back() == Some(&self.current) {
            return;
        }
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(self.current);
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
        for (id, entry) in self.iter() {
            if let Some(bucket) = buckets.get_mut(bucket_of(id, bits)) {
                *bucket = bucket.wrapping_add(entry.hash());
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
        let mut members = self.iter().filter(|(_, e)| e.hash() != 0).peekable();
        for (number, (own, their)) in (0_u32..).zip(ours.iter().zip(theirs)) {
            let whole = entries.len();
            while let Some((id, entry)) =
                members.next_if(|(id, _)| bucket_of(id, bits) == number as usize)
            {
                if own != their {
                    entries.push((*id, entry.hash()));
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
