//! Joining: pull the roster first, learn one's own past from it, then announce oneself.
//!
//! All seeds are dialled at once. The first complete roster is enough after 500 ms; with none after 1 s the node announces
//! itself alone and goes on dialling, so that a whole datacenter can start at once.

use super::{
    Federation, Tier,
    stream::{PATIENCE, Purpose},
};
use crate::{
    identity::NodeId,
    roster::Entry,
    time::{Deadline, Time},
    view::Status,
    wire::Ask,
};
use rand::RngExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

/// Seeds dialled at once.
const SEEDS: usize = 3;
/// One complete answer is enough after this.
const ENOUGH: Duration = Duration::from_millis(500);
/// Without any answer the node announces itself alone after this.
const ALONE: Duration = Duration::from_secs(1);
/// Members that a busy seed named and that are asked instead.
const REFERRED: usize = 2;
/// Addresses waiting to be asked.
const LATER: usize = 8;

/// How far joining has come.
#[derive(Debug, Default)]
pub(super) struct Joining {
    lan_seeds: Vec<SocketAddr>,
    /// Who was last found at which seed.
    found: BTreeMap<SocketAddr, NodeId>,
    started: Option<Time>,
    /// Pulls under way.
    asked: BTreeSet<SocketAddr>,
    /// Seeds that gave a complete roster.
    answered: BTreeSet<SocketAddr>,
    /// Busy seeds, and when to come back.
    later: BTreeMap<SocketAddr, Time>,
    /// Announced.
    joined: Option<Time>,
}

impl Joining {
    pub(super) fn joined(&self) -> Option<Time> {
        self.joined
    }

    pub(super) fn deadline(&self) -> Deadline {
        let at = match (self.started, self.joined) {
            (Some(started), None) => {
                let next = if self.answered.is_empty() {
                    ALONE
                } else {
                    ENOUGH
                };
                self.later
                    .values()
                    .copied()
                    .min()
                    .unwrap_or(Time::NEVER)
                    .min(started + next)
            }
            _ => self.later.values().copied().min().unwrap_or(Time::NEVER),
        };
        Deadline { at, why: "join" }
    }
}

impl Federation {
    /// Sets the configured seeds: LAN *stream* addresses, and WAN addresses. They are dialled at once.
    pub fn seeds(&mut self, lan: Vec<SocketAddr>, wan: Vec<SocketAddr>, now: Time) {
        if self.left {
            return;
        }
        let own = self.settings.stream;
        let mut lan: Vec<SocketAddr> = lan.into_iter().filter(|a| *a != own).collect();
        lan.dedup();
        self.duties.set_wan_seeds(wan, self.settings.wan, now);
        let remembered: Vec<SocketAddr> = self
            .memory
            .lan_peers
            .iter()
            .copied()
            .filter(|a| *a != own && !lan.contains(a))
            .collect();
        let dialled: Vec<SocketAddr> = lan.iter().chain(&remembered).copied().take(SEEDS).collect();
        self.joining.found.clear();
        self.joining.lan_seeds = lan.into_iter().chain(remembered).collect();
        if self.joining.joined.is_none() {
            self.joining.started.get_or_insert(now);
            for address in dialled {
                self.pull(address, None);
            }
            if self.joining.asked.is_empty() && self.joining.answered.is_empty() {
                self.announce_self(now);
            }
        } else {
            for address in dialled {
                if !self.is_living_stream(address) {
                    self.introduce_to(None, address, now);
                }
            }
        }
        self.settle(now);
    }

    pub(super) fn pull(&mut self, address: SocketAddr, after: Option<NodeId>) {
        let ask = Ask::Pull {
            datacenter: self.me.datacenter.clone(),
            after,
        };
        if self.ask(
            Tier::Lan,
            None,
            Some(address),
            &ask,
            PATIENCE,
            Purpose::Pull { address },
        ) {
            self.joining.asked.insert(address);
        }
    }

    pub(super) fn pull_failed(&mut self, address: SocketAddr, now: Time) {
        self.joining.asked.remove(&address);
        if self.joining.joined.is_none() {
            self.joining
                .later
                .insert(address, now + Duration::from_millis(300));
        }
    }

    /// A busy seed named others: ask some of them a little later, and come back to it. Never at once, and never more than a
    /// few: when everybody joins together, everybody is busy.
    pub(super) fn pull_referred(&mut self, address: SocketAddr, after: Duration, now: Time) {
        self.joining.asked.remove(&address);
        let after = after.min(Duration::from_secs(10)) + self.jitter();
        self.joining.later.insert(address, now + after);
        let others: Vec<SocketAddr> = self
            .lan
            .draw(REFERRED, |_| true)
            .iter()
            .filter_map(|id| self.lan.peer(id).map(|p| p.contact.stream))
            .filter(|a| !self.joining.asked.contains(a) && *a != address)
            .collect();
        for other in others {
            if self.joining.later.len() < LATER {
                let at = now + self.jitter();
                self.joining.later.entry(other).or_insert(at);
            }
        }
    }

    fn jitter(&mut self) -> Duration {
        Duration::from_millis(self.lan.rng().random_range(50..500))
    }

    /// A complete roster arrived.
    pub(super) fn pulled(&mut self, address: SocketAddr, now: Time) {
        self.joining.asked.remove(&address);
        self.joining.later.remove(&address);
        self.joining.answered.insert(address);
        let waited = self
            .joining
            .started
            .is_none_or(|at| now.since(at) >= ENOUGH);
        if self.joining.joined.is_none() && (waited || self.joining.asked.is_empty()) {
            self.announce_self(now);
        } else if self.joining.joined.is_some() {
            self.introduce_to(None, address, now);
        }
    }

    pub(super) fn tick_join(&mut self, now: Time) {
        let due: Vec<SocketAddr> = self
            .joining
            .later
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(a, _)| *a)
            .collect();
        for address in due {
            self.joining.later.remove(&address);
            if self.joining.answered.is_empty() && self.joining.asked.len() < SEEDS {
                self.pull(address, None);
            }
        }
        if let (Some(started), None) = (self.joining.started, self.joining.joined) {
            let enough = !self.joining.answered.is_empty() && now.since(started) >= ENOUGH;
            if enough || now.since(started) >= ALONE {
                self.announce_self(now);
            }
        }
    }

    /// Tells peers and the seeds that answered who we are.
    fn announce_self(&mut self, now: Time) {
        self.joining.joined = Some(now);
        self.changed();
        let digest = self.own_digests().current();
        self.lan.settle(now);
        self.lan.greet(digest, now);
        // A server fetches the other datacenters from one of our seats at once.
        if self.is_server()
            && let Some(seat) = self.own_seats().into_iter().find(|id| *id != self.me.id)
        {
            self.ask_seats(Tier::Lan, Some(seat), None, now);
        }
        let answered: Vec<SocketAddr> = self.joining.answered.iter().copied().collect();
        for address in answered {
            self.introduce_to(None, address, now);
        }
    }

    /// Records were exchanged with a member; if views differ, they are compared at once.
    pub(super) fn met(&mut self, with: NodeId, address: SocketAddr, digest: u64, now: Time) {
        if self.joining.answered.is_empty() && self.own().roster.len() <= 2 {
            // We were alone: the whole roster is what we lack.
            self.pull(address, None);
        } else if !self.own_digests().agrees(digest) && !self.lan.repair.is_under_way(&with) {
            let datacenter = self.me.datacenter.clone();
            self.reconcile(Tier::Lan, with, &datacenter, now);
        }
        self.compare_lists(with);
    }

    fn is_living_stream(&mut self, address: SocketAddr) -> bool {
        let lives = |e: &Entry| {
            e.record().stream() == address && matches!(e.status, Status::Alive | Status::Suspect)
        };
        let roster = &self.own().roster;
        // Whoever lived there a second ago mostly lives there still: nobody else need be looked at.
        let known = self.joining.found.get(&address);
        if known.and_then(|id| roster.get(id)).is_some_and(lives) {
            return true;
        }
        let found = roster.iter().find(|(_, e)| lives(e)).map(|(id, _)| *id);
        if let Some(id) = found {
            self.joining.found.insert(address, id);
        }
        found.is_some()
    }

    /// Seeds at whose address nobody lives that we know of.
    pub(super) fn lost_seeds(&mut self) -> Vec<SocketAddr> {
        let mut seeds = self.joining.lan_seeds.clone();
        seeds.retain(|address| !self.is_living_stream(*address));
        seeds
    }
}
