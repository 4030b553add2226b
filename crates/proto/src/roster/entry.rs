//! One member: the newest claims about it, and what they add up to.

use super::{FADED, Outcome, stronger};
use crate::{
    claim::{Accusation, Basis, Body, Claim, Record, Verified},
    identity::{Incarnation, Label, NodeId},
    time::Time,
    trust::Certified,
    view::Status,
};
use aws_lc_rs::digest::{Context, SHA256};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Most accusations kept per member and incarnation.
pub(super) const MAX_CHARGES: usize = 8;

/// An accusation that is held.
#[derive(Clone, Debug)]
pub struct Charge {
    /// As signed.
    pub claim: Verified<Claim>,
    /// What it says.
    pub accusation: Accusation,
    /// Who says it, and from which rack.
    pub accuser: Arc<Certified>,
    /// When it arrived.
    pub heard: Time,
}

impl Charge {
    /// Whether it counts for a verdict about a member with this floor.
    pub fn counts(&self, floor: Duration) -> bool {
        self.accusation.quorate && self.is_beyond(floor)
    }

    /// Whether the silence passed the floor, or a closed port made waiting for it needless.
    fn is_beyond(&self, floor: Duration) -> bool {
        self.accusation.basis == Basis::PortClosed || self.accusation.silent >= floor
    }
}

/// A member.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What its certificate says.
    pub certified: Arc<Certified>,
    /// What it says about itself.
    pub record: Arc<Record>,
    /// The record as signed.
    pub record_claim: Verified<Claim>,
    /// A newer refutation.
    pub alive: Option<Verified<Claim>>,
    /// A goodbye.
    pub leave: Option<Verified<Claim>>,
    /// Accusations at the current incarnation, or a later one not seen yet.
    pub charges: Vec<Charge>,
    /// Derived.
    pub status: Status,
    /// Since when, on the local clock.
    pub since: Time,
    /// Since when it holds its seat, on the local clock.
    pub seated: Option<Time>,
    /// When two processes with its key were last seen.
    pub cloned: Option<Time>,
    /// What it adds to the set hash; 0 once faded.
    pub(super) hash: u64,
    /// No status was derived yet.
    pub(super) fresh: bool,
    /// The rack in which it is counted as present, if it is.
    pub(super) counted: Option<(Label, Label)>,
}

impl Entry {
    pub(super) fn new(claim: &Verified<Claim>, record: &Arc<Record>, now: Time) -> Self {
        Self {
            certified: Arc::clone(claim.signer()),
            record: Arc::clone(record),
            record_claim: claim.clone(),
            alive: None,
            leave: None,
            charges: Vec::new(),
            status: Status::Alive,
            since: now,
            seated: record.seat.then_some(now),
            cloned: None,
            hash: 0,
            fresh: true,
            counted: None,
        }
    }

    /// The newest incarnation that it signed, whatever it said with it.
    pub fn incarnation(&self) -> Incarnation {
        let of = |claim: &Option<Verified<Claim>>| {
            claim
                .as_ref()
                .and_then(|c| c.incarnation())
                .unwrap_or_default()
        };
        self.record
            .incarnation
            .max(of(&self.alive))
            .max(of(&self.leave))
    }

    /// (zone, rack), as certified.
    pub fn rack(&self) -> (Label, Label) {
        (self.certified.zone.clone(), self.certified.rack.clone())
    }

    /// Whether its goodbye is its last word.
    pub fn has_left(&self) -> bool {
        self.leave
            .as_ref()
            .and_then(|c| c.incarnation())
            .is_some_and(|i| i >= self.incarnation())
    }

    /// Whether a refutation names a record that is not here.
    pub fn lacks_record(&self) -> bool {
        self.alive.as_ref().is_some_and(|claim| match &claim.body {
            Body::Alive(a) => {
                a.incarnation > self.record.incarnation && a.record != self.record_claim.hash()
            }
            _ => false,
        })
    }

    /// Accusations that name the current incarnation.
    pub fn standing(&self) -> impl Iterator<Item = &Charge> {
        let current = self.incarnation();
        self.charges
            .iter()
            .filter(move |c| c.accusation.incarnation == current)
    }

    /// Every claim held about it, newest record first.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        std::iter::once(self.record_claim.bytes())
            .chain(self.alive.iter().map(|c| c.bytes()))
            .chain(self.leave.iter().map(|c| c.bytes()))
            .chain(self.charges.iter().map(|c| c.claim.bytes()))
    }

    /// Its part of the set hash, as peers compare it.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether it is a tombstone that is no longer told to others.
    pub fn has_faded(&self, now: Time) -> bool {
        matches!(self.status, Status::Dead | Status::Left) && now.since(self.since) >= FADED
    }

    pub(super) fn merge_record(
        &mut self,
        claim: &Verified<Claim>,
        record: &Arc<Record>,
        now: Time,
    ) -> Outcome {
        let held = &self.record_claim;
        let mut outcome = Outcome::New;
        if record.incarnation < self.record.incarnation || claim.bytes() == held.bytes() {
            return Outcome::Stale;
        }
        if record.incarnation == self.record.incarnation {
            self.cloned = Some(now);
            let kept = (claim.hash(), claim.bytes()) > (held.hash(), held.bytes());
            outcome = Outcome::Conflict { kept };
            if !kept {
                return outcome;
            }
        }
        self.seated = match (self.record.seat, record.seat) {
            (_, false) => None,
            (true, true) => self.seated.or(Some(now)),
            (false, true) => Some(now),
        };
        self.certified = Arc::clone(claim.signer());
        self.record = Arc::clone(record);
        self.record_claim = claim.clone();
        self.drop_overtaken();
        outcome
    }

    /// A refutation or a goodbye.
    pub(super) fn merge_own(&mut self, claim: &Verified<Claim>) -> Outcome {
        let Some(incarnation) = claim.incarnation() else {
            return Outcome::NotAllowed;
        };
        let leaving = matches!(claim.body, Body::Leave(_));
        let newest = self.incarnation();
        // Two of one kind at one incarnation, which only two processes with one key sign: the larger holds.
        let held = if leaving { &self.leave } else { &self.alive };
        let larger = match held
            .as_ref()
            .filter(|h| h.incarnation() == Some(incarnation))
        {
            Some(held) => held.bytes() < claim.bytes(),
            None => leaving,
        };
        if incarnation < newest || (incarnation == newest && !larger) {
            return Outcome::Stale;
        }
        if leaving {
            self.leave = Some(claim.clone());
        } else {
            self.alive = Some(claim.clone());
        }
        self.drop_overtaken();
        Outcome::New
    }

    /// Drops claims that newer ones of the same member made void.
    fn drop_overtaken(&mut self) {
        let newest = self.incarnation();
        let below = |claim: &Option<Verified<Claim>>, bound| {
            claim.as_ref().and_then(|c| c.incarnation()) < Some(bound)
        };
        if below(&self.leave, newest) {
            self.leave = None;
        }
        let record = self.record.incarnation;
        if self
            .alive
            .as_ref()
            .and_then(|c| c.incarnation())
            .is_some_and(|i| i <= record || i < newest || self.leave.is_some())
        {
            self.alive = None;
        }
        self.charges.retain(|c| c.accusation.incarnation >= newest);
        // The record may have brought another floor.
        self.keep_the_best();
    }

    pub(super) fn merge_accusation(
        &mut self,
        claim: &Verified<Claim>,
        accusation: &Accusation,
        now: Time,
    ) -> Outcome {
        if accusation.incarnation < self.incarnation() {
            return Outcome::Stale;
        }
        if let Some(held) = self
            .charges
            .iter()
            .position(|c| c.accuser.id == claim.signer)
        {
            if !stronger(accusation, claim, &self.charges[held]) {
                return Outcome::Stale;
            }
            self.charges.remove(held);
        }
        self.charges.push(Charge {
            claim: claim.clone(),
            accusation: *accusation,
            accuser: Arc::clone(claim.signer()),
            heard: now,
        });
        self.keep_the_best();
        if self
            .charges
            .iter()
            .any(|c| c.claim.bytes() == claim.bytes())
        {
            Outcome::New
        } else {
            Outcome::Stale
        }
    }

    /// At most [`MAX_CHARGES`]: of the highest incarnation, those that count first, spread over racks, then lowest accuser.
    /// Highest, not current: which one is current depends on what has arrived.
    fn keep_the_best(&mut self) {
        let floor = self.record.floor();
        self.charges.sort_by_key(|c| {
            (
                std::cmp::Reverse(c.accusation.incarnation),
                !c.counts(floor),
                c.accuser.id,
            )
        });
        if self.charges.len() <= MAX_CHARGES {
            return;
        }
        // Three of a rack are enough for any k; more of it only after everybody else.
        let mut per_rack = std::collections::BTreeMap::<_, usize>::new();
        let mut surplus = |c: &Charge| {
            let seen = per_rack
                .entry((c.accuser.zone.clone(), c.accuser.rack.clone()))
                .or_default();
            *seen += 1;
            *seen > 3
        };
        let ranked: Vec<_> = self.charges.drain(..).map(|c| (surplus(&c), c)).collect();
        let (late, early): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|(surplus, _)| *surplus);
        self.charges = early
            .into_iter()
            .chain(late)
            .map(|(_, c)| c)
            .take(MAX_CHARGES)
            .collect();
    }

    /// What the claims add up to, given who is dead by verdict.
    pub(super) fn derive(&self, removed: bool, dead: &BTreeSet<NodeId>) -> Status {
        let id = &self.certified.id;
        if removed {
            return Status::Removed;
        }
        if self.has_left() {
            return Status::Left;
        }
        if dead.contains(id) {
            return Status::Dead;
        }
        let floor = self.record.floor();
        let mut status = Status::Alive;
        for charge in self.standing() {
            let beyond = charge.is_beyond(floor);
            // What the dead said counts only as far as it counts for a verdict: a member that a verdict held dead does
            // not come alive because its accusers died and more are needed now.
            let heard = !dead.contains(&charge.accuser.id) || charge.counts(floor);
            if heard && beyond {
                return Status::Unreachable;
            }
            if heard {
                status = Status::Suspect;
            }
        }
        status
    }

    /// SHA-256 over (id, incarnation, status, record), cut to 8 bytes.
    pub(super) fn entry_hash(&self, id: &NodeId) -> u64 {
        let incarnation = self.incarnation();
        let mut hash = Context::new(&SHA256);
        hash.update(&id.0);
        hash.update(&incarnation.boot.to_be_bytes());
        hash.update(&incarnation.seq.to_be_bytes());
        hash.update(&[self.status as u8]);
        hash.update(&self.record_claim.hash());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finish().as_ref()[..8]);
        u64::from_be_bytes(first)
    }
}
