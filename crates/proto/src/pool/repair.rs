//! When two views differ: waiting out what is only lag, then reconciling, at most two at a time, seldom in vain.

use crate::{
    identity::NodeId,
    time::{Deadline, Time},
};
use rand::{Rng, RngExt};
use std::{collections::BTreeMap, time::Duration};

/// How long a difference must stand.
const STANDS: Duration = Duration::from_secs(1);
/// Reconciliations under way at once.
const AT_ONCE: usize = 2;
/// One that hangs is given up after this.
const HANGS: Duration = Duration::from_secs(10);
/// Peers remembered; beyond it the one that waits longest is forgotten.
const REMEMBERED: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Difference {
    /// When a reconciliation may start; `None` while the last comparison agreed.
    due: Option<Time>,
    /// Next wait after one that changed nothing.
    wait: Duration,
    /// Not before this.
    rested: Time,
}

/// What came of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// Our roster changed.
    Learnt,
    /// We told the peer something.
    Told,
    /// Neither.
    Nothing,
}

/// Differences with peers.
#[derive(Debug)]
pub struct Repair {
    peers: BTreeMap<NodeId, Difference>,
    under_way: BTreeMap<NodeId, Time>,
    /// When the first of them is due, or one that hangs is given up.
    next: Time,
    /// Last time that any peer's view was neither ours nor an older one of ours.
    differed: Option<Time>,
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            peers: BTreeMap::new(),
            under_way: BTreeMap::new(),
            next: Time::NEVER,
            differed: None,
        }
    }
}

impl Repair {
    /// A peer showed its set hash; `alike` if that is ours, or one that we had lately.
    pub fn compare(&mut self, peer: NodeId, alike: bool, rng: &mut impl Rng, now: Time) {
        if alike {
            let held = self.peers.get_mut(&peer);
            if held.is_some_and(|held| held.due.take().is_some()) {
                self.look_ahead();
            }
            return;
        }
        self.differed = Some(now);
        let fresh = Difference {
            due: None,
            wait: STANDS,
            rested: now,
        };
        if self.peers.len() >= REMEMBERED && !self.peers.contains_key(&peer) {
            let idle = self
                .peers
                .iter()
                .find(|(_, d)| d.due.is_none())
                .or_else(|| self.peers.iter().next());
            if let Some(id) = idle.map(|(id, _)| *id) {
                self.peers.remove(&id);
            }
        }
        let held = self.peers.entry(peer).or_insert(fresh);
        if held.due.is_none() {
            let jitter = Duration::from_millis(rng.random_range(0..250));
            held.due = Some((now + STANDS + jitter).max(held.rested));
            self.look_ahead();
        }
    }

    /// When views differed last.
    pub(super) fn differed(&self) -> Option<Time> {
        self.differed
    }

    /// Whether views differed within the last second.
    pub fn differs(&self, now: Time) -> bool {
        self.differed.is_some_and(|at| now.since(at) < STANDS)
    }

    /// Peers to reconcile with now.
    pub fn due(&mut self, now: Time) -> Vec<NodeId> {
        let hangs = |since: &Time| now.since(*since) >= HANGS;
        if self.next > now && !self.under_way.values().any(hangs) {
            return Vec::new();
        }
        self.under_way.retain(|_, since| !hangs(since));
        let mut due = Vec::new();
        for (peer, difference) in &mut self.peers {
            if self.under_way.len() >= AT_ONCE {
                break;
            }
            if difference.due.is_some_and(|at| at <= now) && !self.under_way.contains_key(peer) {
                difference.due = None;
                self.under_way.insert(*peer, now);
                due.push(*peer);
            }
        }
        self.look_ahead();
        due
    }

    /// A reconciliation ended. One that taught us nothing doubles the wait with that peer: up to a minute, or up to eight
    /// seconds if we at least told it something.
    pub fn finished(&mut self, peer: &NodeId, gain: Gain, now: Time) {
        self.under_way.remove(peer);
        if let Some(held) = self.peers.get_mut(peer) {
            // Differences seen meanwhile are those that it mended, or show again.
            held.due = None;
            held.wait = match gain {
                Gain::Learnt => STANDS,
                Gain::Told => (held.wait * 2).min(Duration::from_secs(8)),
                Gain::Nothing => (held.wait * 2).min(Duration::from_secs(60)),
            };
            held.rested = if gain == Gain::Learnt {
                now
            } else {
                now + held.wait
            };
        }
        self.look_ahead();
    }

    /// Begins one at once, for a difference that cannot be lag, unless enough are under way or this peer is to be left
    /// alone for a while.
    pub fn begin(&mut self, peer: NodeId, now: Time) -> bool {
        let rested = self.peers.get(&peer).is_none_or(|d| d.rested <= now);
        let free = self.under_way.len() < AT_ONCE && !self.under_way.contains_key(&peer);
        if rested && free {
            self.under_way.insert(peer, now);
            self.look_ahead();
        }
        rested && free
    }

    /// Whether one with this peer is under way.
    pub fn is_under_way(&self, peer: &NodeId) -> bool {
        self.under_way.contains_key(peer)
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline {
            at: self.next,
            why: "reconcile",
        }
    }

    /// Asked for after every packet, so it is known beforehand.
    fn look_ahead(&mut self) {
        self.next = if self.under_way.len() >= AT_ONCE {
            self.under_way
                .values()
                .min()
                .map_or(Time::NEVER, |since| *since + HANGS)
        } else {
            let waiting = self
                .peers
                .iter()
                .filter(|(id, _)| !self.under_way.contains_key(id));
            waiting
                .filter_map(|(_, d)| d.due)
                .min()
                .unwrap_or(Time::NEVER)
        };
    }
}
