//! What processes reported, as they reported it: for assertions, for measuring, and for reading after a failure.

use pelago_proto::{
    identity::{Label, NodeId},
    time::Time,
    view::{Event, EventKind},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How many events are kept for reading.
const KEPT: usize = 100_000;

/// One event as one process reported it.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    /// When, in virtual time.
    pub(crate) at: Time,
    /// The host of the process that reported it.
    pub(crate) host: usize,
    /// What.
    pub(crate) event: Event,
}

/// When the processes that should notice something did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The first of them.
    pub first: Option<Duration>,
    /// Ninety-nine in a hundred.
    pub most: Option<Duration>,
    /// The last.
    pub all: Option<Duration>,
    /// How many did.
    pub seen: usize,
    /// How many should.
    pub of: usize,
}

impl Spread {
    pub(crate) fn new(mut times: Vec<Duration>, of: usize) -> Self {
        times.sort_unstable();
        let nth = |n: usize| n.checked_sub(1).and_then(|n| times.get(n)).copied();
        Self {
            first: nth(1),
            most: nth((of * 99).div_ceil(100)),
            all: nth(of.max(1)),
            seen: times.len(),
            of,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    hash: u64,
    counts: BTreeMap<EventKind, u64>,
    recent: VecDeque<Sighting>,
    /// Members whose events are all kept, however many others there are: since when, and who reported what when.
    watched: BTreeMap<NodeId, Watched>,
    /// Nothing but counts: for large worlds.
    pub(crate) terse: bool,
}

#[derive(Debug)]
struct Watched {
    since: Time,
    sightings: Vec<(Duration, usize, EventKind)>,
}

impl History {
    pub(crate) fn heard(&mut self, at: Time, host: usize, event: Event) {
        self.mix(at, host as u64, event.kind as u64);
        *self.counts.entry(event.kind).or_default() += 1;
        if let Some(watched) = event
            .member
            .and_then(|member| self.watched.get_mut(&member))
        {
            watched
                .sightings
                .push((at.since(watched.since), host, event.kind));
        }
        if !self.terse {
            if self.recent.len() == KEPT {
                self.recent.pop_front();
            }
            self.recent.push_back(Sighting { at, host, event });
        }
    }

    /// Adds something that happened to the hash.
    pub(crate) const fn mix(&mut self, at: Time, who: u64, what: u64) {
        let mut hash = self.hash ^ at.as_micros();
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
            ^ (who << 32 | what & 0xffff_ffff);
        self.hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(31);
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn count(&self, kind: EventKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub(crate) fn recent(&self) -> impl DoubleEndedIterator<Item = &Sighting> {
        self.recent.iter()
    }

    pub(crate) fn watch(&mut self, member: NodeId, since: Time) {
        self.watched.insert(
            member,
            Watched {
                since,
                sightings: Vec::new(),
            },
        );
    }

    /// First report of `kind` about a watched member, by host.
    pub(crate) fn reports(&self, member: NodeId, kind: EventKind) -> BTreeMap<usize, Duration> {
        let mut reports = BTreeMap::new();
        let sightings = self
            .watched
            .get(&member)
            .map_or(&[][..], |watched| &watched.sightings);
        for (after, host, _) in sightings.iter().filter(|(.., seen)| *seen == kind) {
            reports.entry(*host).or_insert(*after);
        }
        reports
    }
}

impl History {
    /// Reports of `kind` about a watched member beyond each host's first.
    pub(crate) fn repetitions(&self, member: NodeId, kind: EventKind) -> usize {
        let sightings = self
            .watched
            .get(&member)
            .map_or(&[][..], |watched| &watched.sightings);
        let all = sightings.iter().filter(|(.., seen)| *seen == kind).count();
        all - self.reports(member, kind).len()
    }
}

impl Sighting {
    /// Who it is about, for people.
    pub(crate) fn about(&self) -> String {
        let name = self.event.name.as_ref().map(Label::to_string);
        name.unwrap_or_else(|| self.event.datacenter.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_tell_the_first_most_and_all() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let spread = Spread::new(times.clone(), 200);
        assert_eq!(spread.first, Some(Duration::from_millis(1)));
        assert_eq!(spread.most, Some(Duration::from_millis(198)));
        assert_eq!(spread.all, Some(Duration::from_millis(200)));
        let short = Spread::new(times[..198].to_vec(), 200);
        assert_eq!(
            (short.most, short.all),
            (Some(Duration::from_millis(198)), None)
        );
        assert_eq!(Spread::new(Vec::new(), 0).all, None);
    }
}
