//! What a server knows of every datacenter: rosters as their members signed them, heads as their servers signed them.
//!
//! A lying server can withhold; disagreeing heads show it. It cannot invent: members sign for themselves.

use crate::{
    claim::{Body, Claim, Head, Verified},
    identity::{Label, NodeId},
    pool::Repair,
    roster::Roster,
    time::Time,
    view::Reachability,
    wire::{HeadItem, Item},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Most datacenters known.
pub const MAX_DATACENTERS: usize = 64;
/// A datacenter with nothing newer is `unreachable`.
pub const STALE: Duration = Duration::from_secs(10);
/// A head is re-signed at least this often.
pub const RESIGN: Duration = Duration::from_secs(2);
/// Signers whose heads are kept per datacenter.
const SIGNERS: usize = 16;
/// Recent digests kept per datacenter, all signers together.
const RECENT: usize = 64;
/// A second signature counts as an attestation this long.
const ATTESTED_FOR: Duration = Duration::from_secs(30);
/// So many of a signer's last digests count.
const ATTESTED_DIGESTS: usize = 16;

/// All datacenters that are known, by name: the own one always, which is asked for with every packet, and at most
/// [`MAX_DATACENTERS`]; most members know no other.
#[derive(Debug)]
pub struct Catalog {
    known: Vec<(Label, Known)>,
    own: usize,
}

impl Catalog {
    /// The own datacenter alone.
    pub fn new(own: &Label) -> Self {
        Self {
            known: vec![(own.clone(), Known::new(own.clone()))],
            own: 0,
        }
    }

    /// The own datacenter.
    pub fn own(&self) -> &Known {
        &self.known[self.own].1
    }

    /// One datacenter.
    pub fn get(&self, datacenter: &Label) -> Option<&Known> {
        let at = self.find(datacenter).ok()?;
        self.known.get(at).map(|(_, known)| known)
    }

    /// One datacenter, to be changed.
    pub fn get_mut(&mut self, datacenter: &Label) -> Option<&mut Known> {
        let at = self.find(datacenter).ok()?;
        self.known.get_mut(at).map(|(_, known)| known)
    }

    /// Whether it is known.
    pub fn contains(&self, datacenter: &Label) -> bool {
        self.find(datacenter).is_ok()
    }

    /// Adds a datacenter about which nothing was said yet, if it is not there.
    pub fn add(&mut self, datacenter: &Label) {
        if let Err(at) = self.find(datacenter) {
            let known = Known::new(datacenter.clone());
            self.known.insert(at, (datacenter.clone(), known));
            self.own += usize::from(at <= self.own);
        }
    }

    /// Takes a datacenter out; never the own one.
    pub fn remove(&mut self, datacenter: &Label) {
        if let Ok(at) = self.find(datacenter)
            && at != self.own
        {
            self.known.remove(at);
            self.own -= usize::from(at < self.own);
        }
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Label, &Known)> {
        self.known.iter().map(|(label, known)| (label, known))
    }

    /// All of them, by name, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Label, &mut Known)> {
        self.known.iter_mut().map(|(label, known)| (&*label, known))
    }

    /// Their names.
    pub fn keys(&self) -> impl Iterator<Item = &Label> {
        self.iter().map(|(label, _)| label)
    }

    /// What is known of each.
    pub fn values(&self) -> impl Iterator<Item = &Known> {
        self.iter().map(|(_, known)| known)
    }

    fn find(&self, datacenter: &Label) -> Result<usize, usize> {
        let own = self.known.get(self.own);
        // Mostly it is the own one, and mostly by the very same label.
        if own.is_some_and(|(label, _)| label == datacenter) {
            return Ok(self.own);
        }
        self.known
            .binary_search_by(|(label, _)| label.cmp(datacenter))
    }
}

/// The newest head of one signer.
#[derive(Clone, Debug)]
pub struct HeldHead {
    claim: Verified<Claim>,
    head: Head,
    /// When it was made, on our clock: receipt less the age it had then.
    made: Time,
    /// Whether this very head came from its signer (or, by our own seats' word, to one of them).
    first_hand: bool,
    /// When the last head that came so was made.
    direct: Option<Time>,
}

/// One datacenter.
#[derive(Debug)]
pub struct Known {
    /// Its members.
    pub roster: Roster,
    /// Differences with peers' views of it.
    pub repair: Repair,
    heads: BTreeMap<NodeId, HeldHead>,
    recent: VecDeque<(Time, NodeId, u64)>,
    /// Its roster was compared with somebody's at least once.
    pub synced: bool,
    /// Shown last, so that changes become events.
    pub shown: Option<Reachability>,
}

impl Known {
    /// A datacenter nobody has said anything about yet.
    pub fn new(datacenter: Label) -> Self {
        Self {
            roster: Roster::new(datacenter),
            repair: Repair::default(),
            heads: BTreeMap::new(),
            recent: VecDeque::new(),
            synced: false,
            shown: None,
        }
    }

    /// Whether a head is newer than what we hold of its signer.
    pub fn is_newer(&self, claim: &Claim) -> bool {
        self.heads
            .get(&claim.signer)
            .is_none_or(|held| claim.incarnation() > Some(held.head.incarnation))
    }

    /// A head that we hold already came again: it may have come more directly.
    pub fn seen_again(&mut self, claim: &Claim, direct: bool) {
        if let Some(held) = self.heads.get_mut(&claim.signer)
            && held.claim.bytes() == claim.bytes()
            && direct
        {
            held.first_hand = true;
            held.direct = Some(held.made);
        }
    }

    /// Takes a verified head in.
    pub fn merge_head(
        &mut self,
        claim: &Verified<Claim>,
        age: Duration,
        direct: bool,
        now: Time,
    ) -> bool {
        let Body::Head(head) = &claim.body else {
            return false;
        };
        if claim.signer().datacenter != *self.roster.datacenter() || !self.is_newer(claim) {
            return false;
        }
        let made = now - age;
        if self.heads.len() >= SIGNERS && !self.heads.contains_key(&claim.signer) {
            let oldest = self
                .heads
                .iter()
                .min_by_key(|(_, h)| h.made)
                .map(|(id, _)| *id);
            oldest.map(|id| self.heads.remove(&id));
        }
        let before = self.heads.get(&claim.signer).and_then(|h| h.direct);
        let last_direct = if direct { Some(made) } else { before };
        let held = HeldHead {
            claim: claim.clone(),
            head: head.clone(),
            made,
            first_hand: direct,
            direct: last_direct,
        };
        self.heads.insert(claim.signer, held);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((made, claim.signer, head.digest));
        true
    }

    /// Forgets what a signer said: it has no voice any more.
    pub fn forget_heads(&mut self, signer: &NodeId) {
        if self.heads.remove(signer).is_some() {
            self.recent.retain(|(_, by, _)| by != signer);
        }
    }

    /// Age of the newest head.
    pub fn age(&self, now: Time) -> Option<Duration> {
        self.heads.values().map(|h| now.since(h.made)).min()
    }

    /// How the datacenter can be reached, going by its heads.
    pub fn reachability(&self, now: Time) -> Reachability {
        let direct = self.heads.values().filter_map(|h| h.direct).max();
        if direct.is_some_and(|at| now.since(at) < STALE) {
            Reachability::Reachable
        } else if self.age(now).is_some_and(|age| age < STALE) {
            Reachability::Degraded
        } else {
            Reachability::Unreachable
        }
    }

    /// Whether two servers lately signed the same: one of a signer's last 16 digests, by another, within 30 s.
    pub fn attested(&self, now: Time) -> bool {
        let fresh = || {
            self.recent
                .iter()
                .filter(|(made, ..)| now.since(*made) < ATTESTED_FOR)
        };
        let Some((_, newest, _)) = fresh().next_back() else {
            return false;
        };
        let theirs: Vec<u64> = fresh()
            .rev()
            .filter(|(_, signer, _)| signer == newest)
            .take(ATTESTED_DIGESTS)
            .map(|(_, _, digest)| *digest)
            .collect();
        fresh().any(|(_, signer, digest)| signer != newest && theirs.contains(digest))
    }

    /// The newest head, for passing on.
    pub fn newest(&self, now: Time) -> Option<HeadItem> {
        let held = self.heads.values().max_by_key(|h| h.made)?;
        Some(held.item(now))
    }

    /// Whether its newest head names a roster that we have not had lately.
    pub fn is_behind(&self, now: Time) -> bool {
        let newest = self.heads.values().max_by_key(|h| h.made);
        newest.is_some_and(|h| !self.roster.digests().knows(h.head.digest, now))
    }

    /// Newest heads first, at most `count`, for passing on.
    pub fn heads(&self, count: usize, now: Time) -> Vec<HeadItem> {
        let mut held: Vec<_> = self.heads.values().collect();
        held.sort_by_key(|h| std::cmp::Reverse(h.made));
        held.into_iter().take(count).map(|h| h.item(now)).collect()
    }

    /// The head we hold of one signer.
    pub fn head_of(&self, signer: &NodeId, now: Time) -> Option<HeadItem> {
        self.heads.get(signer).map(|h| h.item(now))
    }

    /// When our own last head was made, and what it said.
    pub fn last_of(&self, signer: &NodeId) -> Option<(Time, u64)> {
        self.heads.get(signer).map(|h| (h.made, h.head.digest))
    }
}

impl HeldHead {
    fn item(&self, now: Time) -> HeadItem {
        let item = Item {
            claim: std::sync::Arc::clone(self.claim.bytes()),
            leaf: None,
        };
        HeadItem {
            item,
            age: now.since(self.made),
            direct: self.first_hand,
        }
    }
}
