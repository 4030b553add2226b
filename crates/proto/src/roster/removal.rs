//! Removals: an operator's word that a member may not return before a moment.
//!
//! A removal outlives what is known of the member, and holds before anything is: so it counts in the set hash by itself, once,
//! instead of the member's own state. Then rosters are compared by who is removed, whatever a removed member still says.

use super::{Entry, MAX_REMOVALS, Outcome, Roster};
use crate::{
    claim::{Claim, Verified, state_hash},
    identity::{Incarnation, NodeId},
    time::Time,
    view::Status,
};
use std::{sync::Arc, time::Duration};

impl Roster {
    /// A removal of this member.
    pub fn removal(&self, id: &NodeId) -> Option<&Verified<Claim>> {
        self.removals.get(id)
    }

    /// All removals, by member.
    pub fn removals(&self) -> impl Iterator<Item = &Verified<Claim>> {
        self.removals.values()
    }

    /// Whether a removal of this member is in force.
    pub fn is_removed(&self, id: &NodeId, unix: u64) -> bool {
        self.removals
            .get(id)
            .is_some_and(|claim| until(claim) >= unix)
    }

    pub(super) fn would_remove(&self, claim: &Claim) -> bool {
        self.removals
            .get(&claim.subject())
            .is_none_or(|held| rank(held) < rank(claim))
    }

    /// Of several removals of one member the one that lasts longest holds.
    pub(super) fn merge_removal(
        &mut self,
        claim: &Verified<Claim>,
        now: Time,
        unix: u64,
    ) -> Outcome {
        let id = claim.subject();
        if until(claim) < unix || !self.would_remove(claim) {
            return Outcome::Stale;
        }
        let held = self.removals.get(&id).map(told);
        if held.is_none() && self.removals.len() >= MAX_REMOVALS {
            return Outcome::Full;
        }
        self.removals.insert(id, claim.clone());
        let held = held.unwrap_or_default();
        self.digests.replace(id, held, told(claim), now);
        Outcome::New
    }

    /// Forgets removals whose time is over.
    pub(super) fn end_removals(&mut self, now: Time, unix: u64) {
        let over = self.removals.values().filter(|claim| until(claim) < unix);
        for id in over.map(|claim| claim.subject()).collect::<Vec<_>>() {
            self.drop_removal(&id, now, unix);
        }
    }

    /// Drops removals whose authors may not say so any more.
    pub fn revoke_removals(
        &mut self,
        now: Time,
        unix: u64,
        holds: impl Fn(&Verified<Claim>) -> bool,
    ) -> Vec<NodeId> {
        let void = self.removals.values().filter(|claim| !holds(claim));
        let void: Vec<NodeId> = void.map(|claim| claim.subject()).collect();
        for id in &void {
            self.drop_removal(id, now, unix);
        }
        void
    }

    fn drop_removal(&mut self, id: &NodeId, now: Time, unix: u64) {
        if let Some(claim) = self.removals.remove(id) {
            self.digests.replace(*id, told(&claim), 0, now);
            self.recompute(*id, now, Duration::ZERO, unix);
        }
    }

    /// Everybody of whom anything is held, after an id: members, and those who are removed and not known otherwise.
    pub fn ids(&self, after: Option<NodeId>) -> impl Iterator<Item = &NodeId> {
        let mut members = self.after(after).map(|(id, _)| id).peekable();
        let mut strangers = self.strangers(after).peekable();
        std::iter::from_fn(move || match (members.peek(), strangers.peek()) {
            (Some(member), Some(stranger)) if stranger < member => strangers.next(),
            (None, _) => strangers.next(),
            _ => members.next(),
        })
    }

    fn strangers(&self, after: Option<NodeId>) -> impl Iterator<Item = &NodeId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let later = self
            .removals
            .range((after.map_or(Unbounded, Excluded), Unbounded));
        later.map(|(id, _)| id).filter(|id| self.get(id).is_none())
    }

    /// What each adds to the set hash, by id.
    pub fn hashes(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.ids(None).map(|id| (*id, self.hash_of(id)))
    }

    /// What one id adds to the set hash.
    pub fn hash_of(&self, id: &NodeId) -> u64 {
        let entry = self.get(id).map_or(0, Entry::hash);
        entry.wrapping_add(self.removals.get(id).map_or(0, told))
    }
}

/// What a removal adds to the set hash.
fn told(claim: &Verified<Claim>) -> u64 {
    let id = claim.subject();
    state_hash(&id, Incarnation::default(), Status::Removed, claim.hash())
}

fn until(claim: &Claim) -> u64 {
    claim.removal().map_or(0, |removal| removal.until)
}

fn rank(claim: &Claim) -> (u64, &Arc<[u8]>) {
    (until(claim), claim.bytes())
}
