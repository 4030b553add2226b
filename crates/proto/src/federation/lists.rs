//! Revocation lists: how they reach every member of every pool, and what happens to whom they name.
//!
//! Everybody holds everybody's newest list. News of one is pushed at once, in a datagram if it fits; then it is mentioned to
//! random peers for a while, and a hash over all lists for ever after. Whoever finds that it is behind fetches over a stream,
//! so nobody depends on a push: neither who was cut off or down, nor a newcomer. Nothing here waits behind what else is said,
//! and forged or old lists cost little: numbers are compared before signatures, and whoever brings nothing true or nothing new
//! three times over is not listened to for a while.

use super::{
    Federation, Tier,
    budgets::MAX_BUDGETS,
    stream::{PATIENCE, Purpose},
};
use crate::{
    claim::hash8,
    identity::{Label, NodeId},
    limit::Bucket,
    time::Time,
    trust::{Issuer, List, Refusal},
    wire::{Ask, Frame, ListItem, MAX_DATAGRAM, Numbers, Reply},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

/// The largest list that is taken in, DER.
pub const MAX_LIST: usize = 64 * 1024;
/// Lists in one answer, in bytes: with what else is in it they stay below the largest message.
const ROOM: usize = 3 * MAX_LIST;
/// Lists mentioned in one datagram, 26 bytes each.
const MENTIONED: usize = 40;
/// How often a new list is mentioned, once per beat: whom no push reached hears of it so within a second or two.
const RIDES: u8 = 12;
/// How often the hash over all lists is told to somebody of our datacenter, and by seats to somebody abroad.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_ABROAD: Duration = Duration::from_secs(2);
/// The least time between two questions of ours: many tell of one new list at once.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// What a peer may bring in vain: this many a second, this many at once.
const DOUBTS: (f64, f64) = (0.1, 3.0);

/// What is known of lists beside the lists themselves, which [`Trust`](crate::trust::Trust) holds.
#[derive(Debug)]
pub(super) struct Lists {
    /// Hashes of issuer and number of every list held, ascending: what is not among them is new.
    names: Vec<u64>,
    /// What was learnt lately, and how often it is still mentioned.
    fresh: BTreeMap<Issuer, u8>,
    /// When somebody hears of us next, by tier.
    next: [Time; 2],
    /// When we may ask again.
    ask_next: Time,
    /// Peers that brought something in vain.
    doubts: BTreeMap<NodeId, Bucket>,
}

impl Lists {
    pub(super) fn new(held: &[List], me: &NodeId, now: Time) -> Self {
        // Everybody at another moment, without a draw.
        let phase = u64::from(u16::from_be_bytes([me.0[0], me.0[1]])) * 5_000 / 65_536;
        Self {
            names: names(held),
            fresh: BTreeMap::new(),
            next: [now + Duration::from_millis(phase); 2],
            ask_next: now,
            doubts: BTreeMap::new(),
        }
    }

    fn digest(&self) -> u64 {
        self.names.iter().fold(0, |digest, name| digest ^ name)
    }

    fn is_doubted(&self, peer: &NodeId, now: Time) -> bool {
        let left = self.doubts.get(peer).copied();
        left.is_some_and(|mut left| !left.take(1.0, now))
    }

    fn doubt(&mut self, peer: NodeId, now: Time) {
        if self.doubts.len() < MAX_BUDGETS || self.doubts.contains_key(&peer) {
            let fresh = || Bucket::new(DOUBTS.0, DOUBTS.1, now);
            self.doubts.entry(peer).or_insert_with(fresh).take(1.0, now);
        }
    }

    /// Peers in doubt.
    pub(super) fn doubted(&self) -> usize {
        self.doubts.len()
    }

    /// Forgets doubts that are over.
    pub(super) fn rest(&mut self, now: Time) {
        self.doubts.retain(|_, bucket| !bucket.take(DOUBTS.1, now));
    }
}

fn name(list: &List) -> u64 {
    let bytes = [&list.issuer.0[..], &list.number.to_be_bytes()].concat();
    u64::from_be_bytes(hash8(&bytes))
}

fn names(held: &[List]) -> Vec<u64> {
    let mut names: Vec<u64> = held.iter().map(name).collect();
    names.sort_unstable();
    names
}

/// A list that is in force here now, and on its way to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedList {
    /// The datacenter whose authority issued it; `None` for a root's.
    pub datacenter: Option<Label>,
    /// Its number.
    pub number: u64,
    /// Whether it was not held already.
    pub news: bool,
    /// Members that were known here and are not any more.
    pub gone: usize,
}

/// Why a list was not taken. The fault of whoever hands it in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ListError {
    /// More than any list of ours.
    #[error("the list has {0} bytes, {MAX_LIST} at most")]
    TooLarge(usize),
    /// Its number is not higher than that of the list held.
    #[error("its number is {number}, and number {held} is held already")]
    Stale {
        /// Its number.
        number: u64,
        /// The number held.
        held: u64,
    },
    /// Its issuer, its signature, its date or its form.
    #[error("the list is not accepted: {0}")]
    Refused(Refusal),
    /// Later, please.
    #[error("too many lists at once: try again in a second")]
    Busy,
}

impl Federation {
    /// Takes a list from whoever carries it here, and spreads it: it proves itself.
    pub fn hand_in_list(&mut self, crl: &[u8], now: Time) -> Result<HandedList, ListError> {
        if crl.len() > MAX_LIST {
            return Err(ListError::TooLarge(crl.len()));
        }
        let weighed = self.trust.weigh_list(crl).map_err(ListError::Refused)?;
        let held = |lists: Vec<List>| lists.into_iter().find(|list| *list.crl == *crl);
        if let Some(number) = weighed.held.filter(|_| !weighed.is_news()) {
            let known = held(self.trust.lists()).ok_or(ListError::Stale {
                number: weighed.number,
                held: number,
            })?;
            return Ok(HandedList {
                datacenter: known.datacenter,
                number: known.number,
                news: false,
                gone: 0,
            });
        }
        if !self.decisions.take(1.0, now) {
            return Err(ListError::Busy);
        }
        let news = self.trust.admit_list(crl).map_err(ListError::Refused)?;
        self.count("lists_learnt");
        let gone = self.lists_changed(None, Tier::Lan, now);
        self.settle(now);
        Ok(HandedList {
            datacenter: held(self.trust.lists()).and_then(|list| list.datacenter),
            number: weighed.number,
            news,
            gone,
        })
    }

    /// What is held may be other than before, out of files or from a peer: passes on what is new, and drops whom it names.
    /// Returns how many those were.
    pub(super) fn lists_changed(&mut self, from: Option<NodeId>, tier: Tier, now: Time) -> usize {
        let held = self.trust.lists();
        let before = std::mem::replace(&mut self.lists.names, names(&held));
        if before == self.lists.names {
            return 0;
        }
        let is_new = |list: &&List| before.binary_search(&name(list)).is_err();
        for list in held.iter().filter(is_new) {
            self.lists.fresh.insert(list.issuer, RIDES);
            self.push_list(list, from, tier);
        }
        // On its way before anybody is dropped: should it be about our own datacenter, there is nobody left to tell afterwards.
        self.settle(now);
        self.changed();
        self.expel_revoked(now)
    }

    /// Pushes a list, or word of it: to peers in our datacenter, and abroad if nobody there has told us.
    fn push_list(&mut self, list: &List, from: Option<NodeId>, tier: Tier) {
        let pushed = Frame::List {
            crl: Arc::clone(&list.crl),
        };
        let frame = if list.crl.len() + 8 <= MAX_DATAGRAM {
            pushed
        } else {
            self.mention(vec![(list.issuer, list.number)])
        };
        self.lan.broadcast(&frame, from);
        if tier == Tier::Lan && self.is_seated() {
            for (datacenter, seats) in self.turns_to_tell(&list.crl) {
                for to in self.some_of(&datacenter, seats) {
                    self.wan.send(to, frame.clone());
                }
            }
        }
    }

    fn mention(&self, mut known: Numbers) -> Frame {
        known.truncate(MENTIONED);
        Frame::Lists {
            digest: self.lists.digest(),
            known,
        }
    }

    /// Tells one peer what we hold, as one hash.
    pub(super) fn compare_lists(&mut self, with: NodeId) {
        let frame = self.mention(Vec::new());
        self.lan.send(with, frame);
    }

    /// Mentions what is new, and now and then the hash over everything.
    pub(super) fn tick_lists(&mut self, now: Time) {
        if self.joining.joined().is_none() {
            return;
        }
        let fresh: BTreeSet<Issuer> = self.lists.fresh.keys().copied().collect();
        self.lists.fresh.retain(|_, rides| {
            *rides -= 1;
            *rides > 0
        });
        let mut known = Numbers::new();
        if !fresh.is_empty() {
            let held = self.trust.lists().into_iter();
            let mentioned = held.filter(|list| fresh.contains(&list.issuer));
            known = mentioned.map(|list| (list.issuer, list.number)).collect();
        }
        let seated = self.is_seated();
        for (tier, every) in [(Tier::Lan, EVERY), (Tier::Wan, EVERY_ABROAD)] {
            let [lan, wan] = &mut self.lists.next;
            let (next, speaks) = match tier {
                Tier::Lan => (lan, true),
                Tier::Wan => (wan, seated),
            };
            if !speaks || fresh.is_empty() && *next > now {
                continue;
            }
            *next = now + every;
            let frame = self.mention(known.clone());
            let pool = self.pool_mut(tier);
            for to in pool.draw(1, |_| true) {
                pool.send(to, frame.clone());
            }
        }
    }

    /// A peer says what it holds. Whoever is behind asks; whoever is ahead says so.
    pub(super) fn handle_lists(
        &mut self,
        digest: u64,
        known: &Numbers,
        from: NodeId,
        tier: Tier,
        now: Time,
    ) {
        if known.is_empty() && digest == self.lists.digest() {
            return;
        }
        if self.lists.is_doubted(&from, now) {
            return self.drop("list_doubted");
        }
        let held = numbers(&self.trust.lists());
        let behind = |(issuer, number): &(Issuer, u64)| held.get(issuer) < Some(number);
        if known.is_empty() || known.iter().any(behind) {
            return self.ask_lists(tier, from, now);
        }
        let newer = |(issuer, number): &(Issuer, u64)| {
            let held = held.get(issuer).filter(|held| *held > number)?;
            Some((*issuer, *held))
        };
        let ahead: Numbers = known.iter().filter_map(newer).collect();
        if !ahead.is_empty() {
            let frame = self.mention(ahead);
            self.pool_mut(tier).send(from, frame);
        }
    }

    /// Asks a peer for what we lack.
    fn ask_lists(&mut self, tier: Tier, from: NodeId, now: Time) {
        if self.lists.ask_next > now {
            return;
        }
        self.lists.ask_next = now + ASK_AGAIN;
        let known = numbers(&self.trust.lists()).into_iter().collect();
        let purpose = Purpose::Lists { tier };
        self.count("lists_asked");
        self.ask(
            tier,
            Some(from),
            None,
            &Ask::Lists { known },
            PATIENCE,
            purpose,
        );
    }

    /// What the asker lacks, as much as fits: it comes back for the rest.
    pub(super) fn answer_lists(&self, known: &Numbers) -> Reply {
        let held = self.trust.lists();
        let theirs: BTreeMap<Issuer, u64> = known.iter().copied().collect();
        let mut room = ROOM;
        let newer = held
            .iter()
            .filter(|list| theirs.get(&list.issuer) < Some(&list.number));
        let lists = newer
            .map_while(|list| {
                let certificate = list.certificate.as_ref().map_or(0, |c| c.len());
                room = room.checked_sub(certificate + list.crl.len())?;
                Some(ListItem {
                    certificate: list.certificate.clone(),
                    crl: Arc::clone(&list.crl),
                })
            })
            .collect();
        Reply::Lists {
            lists,
            known: numbers(&held).into_iter().collect(),
        }
    }

    /// The answer: takes it in, asks on if there was more, and says what we have beyond it.
    pub(super) fn take_lists(
        &mut self,
        lists: &[ListItem],
        known: &Numbers,
        from: NodeId,
        tier: Tier,
        now: Time,
    ) {
        let mut learnt = false;
        for list in lists {
            learnt |= self.admit_list(list.certificate.as_ref(), &list.crl, from, now);
        }
        if learnt {
            self.lists_changed(Some(from), tier, now);
        }
        let held = numbers(&self.trust.lists());
        let theirs: BTreeMap<Issuer, u64> = known.iter().copied().collect();
        let ahead = held
            .iter()
            .filter(|(issuer, number)| theirs.get(issuer) < Some(number));
        let ahead: Numbers = ahead.map(|(issuer, number)| (*issuer, *number)).collect();
        if learnt && theirs.iter().any(|(issuer, n)| held.get(issuer) < Some(n)) {
            self.lists.ask_next = now;
            self.ask_lists(tier, from, now);
        } else if !learnt && ahead.is_empty() {
            self.lists.doubt(from, now);
        }
        if !ahead.is_empty() {
            let frame = self.mention(ahead);
            self.pool_mut(tier).send(from, frame);
        }
    }

    /// A list that was pushed.
    pub(super) fn take_list(&mut self, crl: &[u8], from: NodeId, tier: Tier, now: Time) {
        if self.trust.weigh_list(crl) == Err(Refusal::UNKNOWN_ISSUER) {
            // Whoever pushes it can say whose it is.
            self.drop("list_issuer");
            if !self.lists.is_doubted(&from, now) {
                self.ask_lists(tier, from, now);
            }
        } else if self.admit_list(None, crl, from, now) {
            self.lists_changed(Some(from), tier, now);
        }
    }

    /// Cheapest check first; a list that is not newer costs no signature. Returns whether it was taken in.
    fn admit_list(
        &mut self,
        certificate: Option<&Arc<[u8]>>,
        crl: &[u8],
        from: NodeId,
        now: Time,
    ) -> bool {
        if self.lists.is_doubted(&from, now) {
            self.drop("list_doubted");
            return false;
        }
        if crl.len() > MAX_LIST {
            self.drop("list_size");
            self.lists.doubt(from, now);
            return false;
        }
        let admitted = match self.trust.weigh_list(crl) {
            Ok(weighed) if !weighed.is_news() => {
                if weighed.held == Some(weighed.number) {
                    self.count("lists_known_already");
                } else {
                    self.drop("list_stale");
                }
                return false;
            }
            Err(refusal) if refusal != Refusal::UNKNOWN_ISSUER => Err(refusal),
            Ok(_) | Err(_) => match certificate {
                Some(certificate) => self.trust.admit_authority(certificate, crl),
                None => self.trust.admit_list(crl),
            },
        };
        match admitted {
            Ok(true) => {
                self.count("lists_learnt");
                true
            }
            Ok(false) => false,
            Err(refusal) => {
                self.drop(refusal.0);
                self.lists.doubt(from, now);
                false
            }
        }
    }
}

fn numbers(held: &[List]) -> BTreeMap<Issuer, u64> {
    held.iter().map(|list| (list.issuer, list.number)).collect()
}
