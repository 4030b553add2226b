//! One member: the newest claims about it, and what they add up to.

use super::{FADED, Outcome, stronger};
use crate::{
    claim::{Accusation, Basis, Body, Card, Claim, Record, Verified, state_hash},
    identity::{Incarnation, Label, NodeId},
    table::{Row, head},
    time::Time,
    trust::Certified,
    view::Status,
    wire::Item,
};
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

/// Two processes with one key, as far as anybody can tell: what one signed at an incarnation, and what the other did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cloned {
    /// When it was last seen, on the local clock.
    pub at: Time,
    /// First eight bytes of the SHA-256 of both claims, the one that was here first first.
    pub claims: [[u8; 8]; 2],
}

/// A member. Most are alive and have said nothing since their record: those take four words.
#[derive(Clone, Debug)]
pub struct Entry {
    card: Arc<Card>,
    /// Since when it has its status, on the local clock.
    pub since: Time,
    more: Option<Box<More>>,
    head: u32,
    /// Derived.
    pub status: Status,
    /// No status was derived yet.
    pub(super) fresh: bool,
    /// It is counted as present in its rack.
    pub(super) counted: bool,
}

/// What is not known of most members.
#[derive(Clone, Debug, Default)]
struct More {
    /// A newer refutation.
    alive: Option<Verified<Claim>>,
    /// A goodbye.
    leave: Option<Verified<Claim>>,
    /// Accusations at the current incarnation, or a later one not seen yet.
    charges: Vec<Charge>,
    /// Since when it holds its seat, on the local clock.
    seated: Option<Time>,
    /// Two processes with its key.
    cloned: Option<Cloned>,
    /// What it adds to the set hash, unless that is what its card says; 0 once faded.
    hash: Option<u64>,
}

impl More {
    fn is_nothing(&self) -> bool {
        let unsaid = self.alive.is_none() && self.leave.is_none() && self.charges.is_empty();
        unsaid && self.seated.is_none() && self.cloned.is_none() && self.hash.is_none()
    }

    /// At most [`MAX_CHARGES`]: of the highest incarnation, those that count first, spread over racks, then lowest accuser.
    /// Highest, not current: which one is current depends on what has arrived.
    fn keep_the_best(&mut self, floor: Duration) {
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
}

impl Row for Entry {
    fn id(&self) -> &NodeId {
        &self.card.certified.id
    }
    fn head(&self) -> u32 {
        self.head
    }
}

impl Entry {
    pub(super) fn new(card: &Arc<Card>, now: Time) -> Self {
        let mut entry = Self {
            head: head(&card.certified.id),
            card: Arc::clone(card),
            since: now,
            more: None,
            status: Status::Alive,
            fresh: true,
            counted: false,
        };
        if card.record.seat {
            entry.more().seated = Some(now);
        }
        entry
    }

    /// What it says about itself, and what its certificate says.
    pub fn card(&self) -> &Arc<Card> {
        &self.card
    }

    /// What it says about itself.
    pub fn record(&self) -> &Arc<Record> {
        &self.card.record
    }

    /// What its certificate says.
    pub fn certified(&self) -> &Arc<Certified> {
        &self.card.certified
    }

    /// A refutation newer than the record.
    pub(super) fn alive(&self) -> Option<&Verified<Claim>> {
        self.more.as_ref()?.alive.as_ref()
    }

    /// Its goodbye.
    pub(super) fn leave(&self) -> Option<&Verified<Claim>> {
        self.more.as_ref()?.leave.as_ref()
    }

    /// Accusations at the current incarnation, or a later one not seen yet.
    pub fn charges(&self) -> &[Charge] {
        self.more.as_ref().map_or(&[], |more| &more.charges)
    }

    /// Since when it holds its seat, on the local clock.
    pub fn seated(&self) -> Option<Time> {
        self.more.as_ref()?.seated
    }

    /// Two processes with its key, if they were seen.
    pub fn cloned(&self) -> Option<Cloned> {
        self.more.as_ref()?.cloned
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The newest incarnation that it signed, whatever it said with it.
    pub fn incarnation(&self) -> Incarnation {
        let of = |claim: Option<&Verified<Claim>>| {
            claim.and_then(|c| c.incarnation()).unwrap_or_default()
        };
        self.record()
            .incarnation
            .max(of(self.alive()))
            .max(of(self.leave()))
    }

    /// (zone, rack), as certified.
    pub fn rack(&self) -> (Label, Label) {
        (self.certified().zone.clone(), self.certified().rack.clone())
    }

    /// Whether its goodbye is its last word.
    pub fn has_left(&self) -> bool {
        self.leave()
            .and_then(|c| c.incarnation())
            .is_some_and(|i| i >= self.incarnation())
    }

    /// Whether a refutation names a record that is not here.
    pub fn lacks_record(&self) -> bool {
        self.alive().is_some_and(|claim| match &claim.body {
            Body::Alive(a) => {
                a.incarnation > self.record().incarnation && a.record != self.card.hash()
            }
            _ => false,
        })
    }

    /// Accusations that name the current incarnation.
    pub fn standing(&self) -> impl Iterator<Item = &Charge> {
        let current = self.incarnation();
        self.charges()
            .iter()
            .filter(move |c| c.accusation.incarnation == current)
    }

    /// Every claim held about it, newest record first.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        let own = self.alive().into_iter().chain(self.leave());
        std::iter::once(self.card.bytes())
            .chain(own.map(|c| c.bytes()))
            .chain(self.charges().iter().map(|c| c.claim.bytes()))
    }

    /// What led to its status, for somebody who knew it before: its goodbye, what stands against it, or its own newest words.
    pub(super) fn last_news(&self) -> Vec<Item> {
        let plain = |claim: &Verified<Claim>| Item {
            claim: Arc::clone(claim.bytes()),
            leaf: None,
        };
        match (self.status, self.alive(), self.leave()) {
            (Status::Left, _, Some(leave)) => vec![plain(leave)],
            (Status::Suspect | Status::Unreachable | Status::Dead, ..) => {
                self.standing().map(|c| plain(&c.claim)).collect()
            }
            (_, Some(alive), _) => vec![plain(alive)],
            _ => vec![Item {
                claim: Arc::clone(self.card.bytes()),
                leaf: Some(Arc::clone(&self.card.certified.leaf)),
            }],
        }
    }

    /// Its part of the set hash, as peers compare it.
    pub fn hash(&self) -> u64 {
        if self.fresh {
            return 0;
        }
        let other = self.more.as_ref().and_then(|more| more.hash);
        other.unwrap_or_else(|| self.card.living())
    }

    pub(super) fn set_hash(&mut self, hash: u64) {
        if hash != self.card.living() {
            self.more().hash = Some(hash);
        } else if let Some(more) = &mut self.more {
            more.hash = None;
            if more.is_nothing() {
                self.more = None;
            }
        }
    }

    /// Whether it is a tombstone that is no longer told to others.
    pub fn has_faded(&self, now: Time) -> bool {
        matches!(self.status, Status::Dead | Status::Left) && now.since(self.since) >= FADED
    }

    pub(super) fn merge_record(&mut self, card: &Arc<Card>, now: Time) -> Outcome {
        let (record, held) = (&card.record, &self.card);
        let mut outcome = Outcome::New;
        if record.incarnation < held.record.incarnation || card.bytes() == held.bytes() {
            return Outcome::Stale;
        }
        if record.incarnation == held.record.incarnation {
            let kept = (card.hash(), card.bytes()) > (held.hash(), held.bytes());
            let claims = [held.hash(), card.hash()];
            self.more().cloned = Some(Cloned { at: now, claims });
            outcome = Outcome::Conflict { kept };
            if !kept {
                return outcome;
            }
        }
        let seated = self.seated();
        let (was, is) = (self.record().seat, record.seat);
        let hash = self.hash();
        self.card = Arc::clone(card);
        // Until the next derivation it adds what it added.
        self.set_hash(hash);
        if was || is {
            self.more().seated = match (was, is) {
                (_, false) => None,
                (true, true) => seated.or(Some(now)),
                (false, true) => Some(now),
            };
        }
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
        let held = if leaving { self.leave() } else { self.alive() };
        let larger = match held.filter(|h| h.incarnation() == Some(incarnation)) {
            Some(held) => held.bytes() < claim.bytes(),
            None => leaving,
        };
        if incarnation < newest || (incarnation == newest && !larger) {
            return Outcome::Stale;
        }
        if leaving {
            self.more().leave = Some(claim.clone());
        } else {
            self.more().alive = Some(claim.clone());
        }
        self.drop_overtaken();
        Outcome::New
    }

    /// Drops claims that newer ones of the same member made void.
    fn drop_overtaken(&mut self) {
        let (newest, record) = (self.incarnation(), self.record().incarnation);
        let Some(more) = &mut self.more else { return };
        let of = |claim: &Option<Verified<Claim>>| claim.as_ref().and_then(|c| c.incarnation());
        if of(&more.leave) < Some(newest) {
            more.leave = None;
        }
        if of(&more.alive).is_some_and(|i| i <= record || i < newest || more.leave.is_some()) {
            more.alive = None;
        }
        more.charges.retain(|c| c.accusation.incarnation >= newest);
        // The record may have brought another floor.
        more.keep_the_best(self.card.record.floor());
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
        let floor = self.record().floor();
        let more = self.more();
        if let Some(held) = more
            .charges
            .iter()
            .position(|c| c.accuser.id == claim.signer)
        {
            if !stronger(accusation, claim, &more.charges[held]) {
                return Outcome::Stale;
            }
            more.charges.remove(held);
        }
        more.charges.push(Charge {
            claim: claim.clone(),
            accusation: *accusation,
            accuser: Arc::clone(claim.signer()),
            heard: now,
        });
        more.keep_the_best(floor);
        if more
            .charges
            .iter()
            .any(|c| c.claim.bytes() == claim.bytes())
        {
            Outcome::New
        } else {
            Outcome::Stale
        }
    }

    /// Drops what one accuser says against it. Returns whether that was anything.
    pub(super) fn acquit(&mut self, accuser: &NodeId) -> bool {
        let Some(more) = &mut self.more else {
            return false;
        };
        let before = more.charges.len();
        more.charges.retain(|charge| charge.accuser.id != *accuser);
        more.charges.len() < before
    }

    /// What the claims add up to, given who is dead by verdict.
    pub(super) fn derive(&self, removed: bool, dead: &BTreeSet<NodeId>) -> Status {
        let id = self.id();
        if removed {
            return Status::Removed;
        }
        if self.has_left() {
            return Status::Left;
        }
        if dead.contains(id) {
            return Status::Dead;
        }
        let floor = self.record().floor();
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

    /// What it adds to the set hash in its present state.
    pub(super) fn state_hash(&self) -> u64 {
        // Its removal is counted instead.
        if self.status == Status::Removed {
            return 0;
        }
        let quiet = self.alive().is_none() && self.leave().is_none();
        if quiet && self.status == Status::Alive {
            return self.card.living();
        }
        state_hash(self.id(), self.incarnation(), self.status, self.card.hash())
    }
}
