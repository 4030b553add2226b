//! One datacenter's claims, and the statuses that follow from them.
//!
//! A roster is a function of the set of claims it holds: merging is commutative, associative and idempotent, so the order
//! of arrival never matters. Time enters only as "since when" and "how long remembered".

mod digest;
mod entry;
mod removal;
mod verdict;

pub use digest::{Digests, bits_for, bucket_of};
pub use entry::{Charge, Cloned, Entry};
pub use verdict::{Rule, k};

use crate::{
    claim::{Accusation, Basis, Body, Card, Claim, MIN_FLOOR, Verified},
    identity::{Label, NodeId, Role},
    table::{Row, Table},
    time::Time,
    trust::Certified,
    view::Status,
    wire::Item,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Most members of one datacenter, tombstones included.
pub const MAX_MEMBERS: usize = 65_536;
/// Most removals remembered.
pub const MAX_REMOVALS: usize = 4_096;
/// How long `dead` and `left` are remembered.
pub const TOMBSTONE: Duration = Duration::from_secs(24 * 3600);
/// From this age on a tombstone is no longer told to others, so that all forget it together.
pub const FADED: Duration = Duration::from_secs(23 * 3600);
/// How long an entry outlives its certificate, seconds.
pub const AFTER_CERTIFICATE: u64 = 300;
/// Statuses that there are.
const STATUSES: usize = 6;

/// What merging a claim did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something new: to be relayed.
    New,
    /// Known already, or older than what is known.
    Stale,
    /// Two different records at one incarnation: two processes with one key. Kept if its hash is the larger.
    Conflict {
        /// Whether the new one is now held, and should be relayed.
        kept: bool,
    },
    /// About a member whose record is not here.
    Unknown,
    /// Not this signer's to say.
    NotAllowed,
    /// The table is full of living members.
    Full,
}

impl Outcome {
    /// Whether the claim is to be passed on.
    pub fn is_news(self) -> bool {
        matches!(self, Self::New | Self::Conflict { kept: true })
    }
}

/// A status that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose.
    pub id: NodeId,
    /// Before; `None` for a new member.
    pub from: Option<Status>,
    /// Since when it had that.
    pub since: Time,
    /// After.
    pub to: Status,
}

/// Members by (zone, rack).
pub type Racks = BTreeMap<(Label, Label), usize>;

/// The claims of one datacenter.
#[derive(Debug)]
pub struct Roster {
    datacenter: Label,
    entries: Table<Entry>,
    removals: BTreeMap<NodeId, Verified<Claim>>,
    /// Members with accusations: the only ones a verdict may concern.
    accused: BTreeSet<NodeId>,
    /// Members neither left nor removed, by (zone, rack): what k and the rack rule count.
    present: Racks,
    /// Members suspect, unreachable or dead, likewise.
    lost: Racks,
    /// How many have which status.
    standing: [usize; STATUSES],
    /// Members whose certificates make them servers.
    servers: BTreeSet<NodeId>,
    /// Those dead by verdict when statuses were last derived.
    dead: BTreeSet<NodeId>,
    digests: Digests,
    transitions: Vec<Transition>,
    /// `left` and `dead` dropped early because the table was full.
    pub dropped: u64,
    /// No certificate ends before this, Unix seconds: until then nobody's has to be looked at.
    first_end: u64,
}

impl Roster {
    /// An empty roster of a datacenter.
    pub fn new(datacenter: Label) -> Self {
        Self {
            datacenter,
            entries: Table::default(),
            removals: BTreeMap::new(),
            accused: BTreeSet::new(),
            present: Racks::new(),
            lost: Racks::new(),
            standing: [0; STATUSES],
            servers: BTreeSet::new(),
            dead: BTreeSet::new(),
            digests: Digests::default(),
            transitions: Vec::new(),
            dropped: 0,
            first_end: u64::MAX,
        }
    }

    /// Whose roster it is.
    pub fn datacenter(&self) -> &Label {
        &self.datacenter
    }

    /// A member.
    pub fn get(&self, id: &NodeId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// What a member last said of itself.
    pub fn said(&self, id: &NodeId) -> Option<Arc<Card>> {
        self.get(id).map(|e| Arc::clone(e.card()))
    }

    /// All members, tombstones included, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.rows().iter().map(|e| (e.id(), e))
    }

    /// Members after `after`, by id.
    pub fn after(&self, after: Option<NodeId>) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.after(after).iter().map(|e| (e.id(), e))
    }

    /// Number of members, tombstones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Members neither left nor removed.
    pub fn present(&self) -> usize {
        self.present.values().sum()
    }

    /// Members with accusations against them, by id.
    pub fn accused(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.accused
            .iter()
            .filter_map(|id| Some((id, self.get(id)?)))
    }

    /// The same, by (zone, rack).
    pub fn present_by_rack(&self) -> &Racks {
        &self.present
    }

    /// Members suspect, unreachable or dead, by (zone, rack).
    pub fn lost_by_rack(&self) -> &Racks {
        &self.lost
    }

    /// How many members have this status.
    pub fn stand(&self, status: Status) -> usize {
        self.standing[status as usize]
    }

    /// Members that are servers, by id: the few whom elections and the WAN are about.
    pub fn servers(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        let entry = |id| self.entries.get(id).map(|entry| (id, entry));
        self.servers.iter().filter_map(entry)
    }

    /// What led to a member's status, for somebody who knew the member before.
    pub fn last_news(&self, id: &NodeId) -> Vec<Item> {
        match (self.get(id), self.removal(id)) {
            (Some(entry), _) if entry.status != Status::Removed => entry.last_news(),
            (_, Some(removal)) => vec![Item::with_leaf(removal)],
            _ => Vec::new(),
        }
    }

    /// Set hash over the roster and its recent values.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Status changes since the last call.
    pub fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.transitions)
    }

    /// Whether a claim could change anything: the cheap question before its signature is looked at.
    pub fn would_change(&self, claim: &Claim) -> bool {
        let entry = self.entries.get(&claim.subject());
        match (&claim.body, entry) {
            (Body::Record(_), None) => true,
            (Body::Record(r), Some(e)) => {
                r.incarnation > e.record().incarnation
                    || (r.incarnation == e.record().incarnation
                        && e.card().bytes() != claim.bytes())
            }
            (Body::Alive(a), Some(e)) => {
                a.incarnation >= e.incarnation()
                    && e.alive().is_none_or(|held| held.bytes() != claim.bytes())
            }
            (Body::Leave(l), Some(e)) => {
                l.incarnation >= e.incarnation()
                    && e.leave().is_none_or(|held| held.bytes() != claim.bytes())
            }
            (Body::Accusation(a), Some(e)) => {
                a.incarnation >= e.incarnation()
                    && e.charges()
                        .iter()
                        .all(|c| c.accuser.id != claim.signer || stronger(a, claim, c))
            }
            (Body::Removal(_), _) => self.would_remove(claim),
            (Body::Alive(_) | Body::Leave(_) | Body::Accusation(_) | Body::Head(_), _) => false,
        }
    }

    /// Takes a verified claim in. `unix` is the wall clock for removals' ends.
    pub fn merge(&mut self, claim: &Verified<Claim>, now: Time, unix: u64) -> Outcome {
        self.merge_aged(claim, now, Duration::ZERO, unix)
    }

    /// The same for a claim whose effect began earlier: tombstones carry their age, so that all forget them together.
    pub fn merge_aged(
        &mut self,
        claim: &Verified<Claim>,
        now: Time,
        age: Duration,
        unix: u64,
    ) -> Outcome {
        if claim.signer().datacenter != self.datacenter {
            return Outcome::NotAllowed;
        }
        let subject = claim.subject();
        let outcome = match &claim.body {
            Body::Record(_) => self.merge_record(claim, now),
            Body::Alive(_) | Body::Leave(_) => match self.entries.get_mut(&subject) {
                Some(entry) => entry.merge_own(claim),
                None => Outcome::Unknown,
            },
            Body::Accusation(accusation) => self.merge_accusation(claim, accusation, now),
            Body::Removal(_) => self.merge_removal(claim, now, unix),
            Body::Head(_) => Outcome::NotAllowed,
        };
        if outcome.is_news() {
            if self
                .entries
                .get(&subject)
                .is_some_and(|e| e.charges().is_empty())
            {
                self.accused.remove(&subject);
            }
            self.recompute(subject, now, age, unix);
        }
        outcome
    }

    fn merge_record(&mut self, claim: &Verified<Claim>, now: Time) -> Outcome {
        let Some(card) = claim.card() else {
            return Outcome::NotAllowed;
        };
        self.first_end = self.first_end.min(card.certified.not_after);
        if let Some(entry) = self.entries.get_mut(&claim.signer) {
            let was = Arc::clone(entry.certified());
            let outcome = entry.merge_record(card, now);
            if (&was.zone, &was.rack) != (&card.certified.zone, &card.certified.rack)
                && Arc::ptr_eq(entry.card(), card)
            {
                let was = (was.zone.clone(), was.rack.clone());
                if std::mem::take(&mut entry.counted) {
                    leave(&mut self.present, &was);
                }
                if !entry.fresh && is_lost(entry.status) {
                    leave(&mut self.lost, &was);
                    enter(&mut self.lost, entry.rack());
                }
            }
            if entry.certified().role == Role::Server {
                self.servers.insert(claim.signer);
            } else {
                self.servers.remove(&claim.signer);
            }
            return outcome;
        }
        if self.entries.len() >= MAX_MEMBERS && !self.make_room(now) {
            return Outcome::Full;
        }
        if card.certified.role == Role::Server {
            self.servers.insert(claim.signer);
        }
        self.entries.insert(Entry::new(card, now));
        Outcome::New
    }

    fn merge_accusation(
        &mut self,
        claim: &Verified<Claim>,
        accusation: &Accusation,
        now: Time,
    ) -> Outcome {
        if accusation.accused == claim.signer {
            return Outcome::NotAllowed;
        }
        let outcome = match self.entries.get_mut(&accusation.accused) {
            Some(entry) => entry.merge_accusation(claim, accusation, now),
            None => Outcome::Unknown,
        };
        if outcome.is_news() {
            self.accused.insert(accusation.accused);
        }
        outcome
    }

    /// Drops the oldest `left`, else the oldest `dead`.
    fn make_room(&mut self, now: Time) -> bool {
        let oldest = |status| {
            let tombs = self.iter().filter(|(_, e)| e.status == status);
            tombs.min_by_key(|(_, e)| e.since).map(|(id, _)| *id)
        };
        let Some(id) = oldest(Status::Left).or_else(|| oldest(Status::Dead)) else {
            return false;
        };
        self.forget(&id, now);
        self.dropped += 1;
        true
    }

    fn forget(&mut self, id: &NodeId, now: Time) {
        if let Some(entry) = self.entries.remove(id) {
            self.digests.replace(*id, entry.hash(), 0, now);
            self.accused.remove(id);
            self.servers.remove(id);
            if entry.counted {
                leave(&mut self.present, &entry.rack());
            }
            if !entry.fresh {
                self.standing[entry.status as usize] -= 1;
                if is_lost(entry.status) {
                    leave(&mut self.lost, &entry.rack());
                }
            }
        }
    }

    /// Forgets what is due: tombstones after a day, anybody 5 minutes after the certificate's end, removals after theirs.
    pub fn reap(&mut self, now: Time, unix: u64) -> Vec<(NodeId, Label)> {
        self.end_removals(now, unix);
        let some_end = self.first_end.saturating_add(AFTER_CERTIFICATE) < unix;
        if !some_end && self.stand(Status::Dead) + self.stand(Status::Left) == 0 {
            return Vec::new();
        }
        let gone = |e: &Entry| {
            let over =
                matches!(e.status, Status::Dead | Status::Left) && now.since(e.since) >= TOMBSTONE;
            over || some_end && e.certified().not_after.saturating_add(AFTER_CERTIFICATE) < unix
        };
        let due: Vec<_> = self
            .iter()
            .filter(|(_, e)| gone(e))
            .map(|(id, e)| (*id, e.record().name.clone()))
            .collect();
        self.let_go(&due, now, unix);
        if some_end {
            let ends = self.iter().map(|(_, e)| e.certified().not_after);
            self.first_end = ends.min().unwrap_or(u64::MAX);
        }
        // Tombstones that fade leave the digest without a change of status.
        let fading: Vec<_> = self
            .entries
            .rows_mut()
            .iter_mut()
            .filter(|e| e.has_faded(now) && e.hash() != 0)
            .map(|e| {
                let hash = e.hash();
                e.set_hash(0);
                (*e.id(), hash)
            })
            .collect();
        for (id, hash) in fading {
            self.digests.replace(id, hash, 0, now);
        }
        due
    }

    /// Drops members whose certificates no longer hold.
    pub fn expel(
        &mut self,
        now: Time,
        unix: u64,
        holds: impl Fn(&Certified) -> bool,
    ) -> Vec<(NodeId, Label)> {
        let out: Vec<_> = self
            .iter()
            .filter(|(_, e)| !holds(e.certified()))
            .map(|(id, e)| (*id, e.record().name.clone()))
            .collect();
        self.let_go(&out, now, unix);
        out
    }

    /// Forgets members together with what they said of others: whoever comes later has no certificate to verify that by, and
    /// everybody must come to the same statuses.
    fn let_go(&mut self, gone: &[(NodeId, Label)], now: Time, unix: u64) {
        if gone.is_empty() {
            return;
        }
        let mut heard = BTreeSet::from([NodeId::default()]);
        for (id, _) in gone {
            self.forget(id, now);
            for accused in &self.accused {
                let entry = self.entries.get_mut(accused);
                if entry.is_some_and(|entry| entry.acquit(id)) {
                    heard.insert(*accused);
                }
            }
        }
        for id in heard {
            let charges = self.entries.get(&id).map(|entry| entry.charges().len());
            if charges == Some(0) {
                self.accused.remove(&id);
            }
            self.recompute(id, now, Duration::ZERO, unix);
        }
    }

    /// Derives all statuses that may have changed: the subject's, and every accused member's if others are dead than before,
    /// since a verdict about one may decide what is held against another.
    fn recompute(&mut self, subject: NodeId, now: Time, age: Duration, unix: u64) {
        self.settle_present(subject, unix);
        let dead = self.verdicts(unix);
        // Removals end by the clock alone.
        let touched: Vec<NodeId> = if dead == self.dead && self.removals.is_empty() {
            vec![subject]
        } else {
            let unaccused = (!self.accused.contains(&subject)).then_some(subject);
            self.accused.iter().copied().chain(unaccused).collect()
        };
        for id in touched {
            let removed = self.is_removed(&id, unix);
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let status = entry.derive(removed, &dead);
            let held = entry.hash();
            let from = (!entry.fresh).then_some(entry.status);
            if from != Some(status) {
                self.transitions.push(Transition {
                    id,
                    from,
                    since: entry.since,
                    to: status,
                });
                if let Some(from) = from {
                    self.standing[from as usize] -= 1;
                }
                self.standing[status as usize] += 1;
                match (from.is_some_and(is_lost), is_lost(status)) {
                    (false, true) => enter(&mut self.lost, entry.rack()),
                    (true, false) => leave(&mut self.lost, &entry.rack()),
                    _ => {}
                }
                entry.status = status;
                // Only an end is dated back: what lives or is doubted begins when it is heard of.
                let over = matches!(status, Status::Dead | Status::Left);
                entry.since = if over { now - age } else { now };
                entry.fresh = false;
            }
            let hash = if entry.has_faded(now) {
                0
            } else {
                entry.state_hash()
            };
            self.digests.replace(id, held, hash, now);
            entry.set_hash(hash);
        }
        self.dead = dead;
    }

    /// Keeps the count of present members by rack in step with the subject's own claims.
    fn settle_present(&mut self, subject: NodeId, unix: u64) {
        let removed = self.is_removed(&subject, unix);
        let Some(entry) = self.entries.get_mut(&subject) else {
            return;
        };
        let is = !removed && !entry.has_left();
        if entry.counted == is {
            return;
        }
        entry.counted = is;
        if is {
            enter(&mut self.present, entry.rack());
        } else {
            leave(&mut self.present, &entry.rack());
        }
    }
}

fn enter(racks: &mut Racks, rack: (Label, Label)) {
    *racks.entry(rack).or_default() += 1;
}

fn leave(racks: &mut Racks, rack: &(Label, Label)) {
    if let Some(count) = racks.get_mut(rack) {
        *count -= 1;
        if *count == 0 {
            racks.remove(rack);
        }
    }
}

/// Whether a member of this status does not answer, as far as is known.
fn is_lost(status: Status) -> bool {
    matches!(status, Status::Suspect | Status::Unreachable | Status::Dead)
}

/// Of one accuser's accusations the newer incarnation holds; then one that could count for a verdict at any floor, one whose
/// ports were closed, the longer silence, the larger bytes. So nothing that counts is ever replaced by what does not,
/// whatever the floor is held to be.
fn stronger(new: &Accusation, claim: &Claim, held: &Charge) -> bool {
    let could_count =
        |a: &Accusation| a.quorate && (a.basis == Basis::PortClosed || a.silent >= MIN_FLOOR);
    let key = |a: &Accusation| (a.incarnation, could_count(a), a.basis, a.silent);
    (key(new), claim.bytes()) > (key(&held.accusation), held.claim.bytes())
}
