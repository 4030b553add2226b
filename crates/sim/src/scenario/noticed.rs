//! Who noticed what, and when: each thing done to a node is watched until something else is done to it.

use crate::{
    history::Spread,
    report::{Cdf, Noticed},
    world::World,
};
use pelago_proto::view::EventKind;
use std::time::Duration;

/// What is noticed of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Notice {
    Suspect,
    Dead,
    Left,
    News,
}

impl Notice {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::News => "known",
        }
    }

    /// The events that show it. Who learns of the verdict first never says "suspect".
    const fn kinds(self) -> &'static [EventKind] {
        match self {
            Self::Suspect => &[EventKind::Suspect, EventKind::Dead],
            Self::Dead => &[EventKind::Dead],
            Self::Left => &[EventKind::Left],
            Self::News => &[EventKind::Joined, EventKind::Alive, EventKind::Updated],
        }
    }
}

/// Something that was done to one node, under watch.
#[derive(Debug)]
struct Watched {
    cause: &'static str,
    notices: &'static [Notice],
    name: String,
    /// Hosts whose processes should notice, and which process of theirs.
    onlookers: Vec<(usize, u32)>,
}

/// Times of one kind of notice of one kind of cause, in the same datacenter or abroad.
#[derive(Debug)]
struct Tally {
    cause: &'static str,
    notice: Notice,
    abroad: bool,
    spreads: Vec<Spread>,
    each: Vec<Duration>,
}

/// Everything under watch, and what came of what was.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    open: Vec<Watched>,
    tallies: Vec<Tally>,
}

impl Watchers {
    /// Begins to watch a node; to be called just before something is done to it.
    pub(crate) fn watch(
        &mut self,
        world: &mut World,
        cause: &'static str,
        notices: &'static [Notice],
        name: &str,
    ) {
        if let Some(at) = self.open.iter().position(|one| one.name == name) {
            let before = self.open.swap_remove(at);
            self.close(world, &before);
        }
        world.watch(name);
        let onlookers = world
            .onlookers(world.host(name))
            .into_iter()
            .map(|host| (host, world.slots[host].epoch))
            .collect();
        self.open.push(Watched {
            cause,
            notices,
            name: name.to_owned(),
            onlookers,
        });
    }

    fn close(&mut self, world: &World, watched: &Watched) {
        let home = &world.slots[world.host(&watched.name)].who.datacenter;
        // Who ended meanwhile, or was disturbed itself, has an excuse.
        let there = watched
            .onlookers
            .iter()
            .filter(|(host, epoch)| {
                let slot = &world.slots[*host];
                slot.process.is_some() && slot.epoch == *epoch && !world.disturbed.contains(host)
            })
            .map(|(host, _)| *host);
        let (at_home, abroad): (Vec<usize>, Vec<usize>) =
            there.partition(|host| world.slots[*host].who.datacenter == *home);
        for notice in watched.notices {
            for (abroad, hosts) in [(false, &at_home), (true, &abroad)] {
                if !hosts.is_empty() {
                    let times = world.first_reports(&watched.name, notice.kinds(), hosts);
                    self.tally(watched.cause, *notice, abroad)
                        .add(times, hosts.len());
                }
            }
        }
    }

    fn tally(&mut self, cause: &'static str, notice: Notice, abroad: bool) -> &mut Tally {
        let same =
            |tally: &Tally| (tally.cause, tally.notice, tally.abroad) == (cause, notice, abroad);
        let at = self.tallies.iter().position(same).unwrap_or_else(|| {
            self.tallies.push(Tally {
                cause,
                notice,
                abroad,
                spreads: Vec::new(),
                each: Vec::new(),
            });
            self.tallies.len() - 1
        });
        &mut self.tallies[at]
    }

    /// Ends all watches.
    pub(crate) fn finish(mut self, world: &World) -> Vec<Noticed> {
        for watched in std::mem::take(&mut self.open) {
            self.close(world, &watched);
        }
        self.tallies
            .sort_by_key(|tally| (tally.cause, tally.notice, tally.abroad));
        let noticed = |tally: Tally| {
            let missing = tally.spreads.iter().map(|one| one.of - one.seen).sum();
            let of = |pick: fn(&Spread) -> Option<Duration>| {
                Cdf::of(tally.spreads.iter().filter_map(pick))
            };
            Noticed {
                cause: tally.cause,
                seen: tally.notice.as_str(),
                abroad: tally.abroad,
                times: tally.spreads.len(),
                missing,
                first: of(|one| one.first),
                most: of(|one| one.most),
                all: of(|one| one.all),
                each: Cdf::of(tally.each),
            }
        };
        self.tallies.into_iter().map(noticed).collect()
    }
}

impl Tally {
    fn add(&mut self, times: Vec<Duration>, of: usize) {
        self.each.extend(&times);
        self.spreads.push(Spread::new(times, of));
    }
}
