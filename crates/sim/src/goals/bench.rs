//! What the experiments have in common: sizes, repetitions, worlds in which everybody knows everybody.

use crate::{
    history::Spread,
    net::{Link, Links},
    plan::Plan,
    progress::Progress,
    script::{millis, secs},
    world::World,
};
use pelago_proto::view::EventKind;
use rand::seq::IndexedRandom;
use std::time::Duration;

/// Nodes that a quick run makes do with.
const QUICK: usize = 400;

/// Seconds until what follows from knowing everybody has followed.
const SETTLING: usize = 15;

/// How to measure.
#[derive(Debug)]
pub struct Bench {
    /// Fewer repetitions, smaller pools.
    pub quick: bool,
    most_nodes: usize,
    pub(super) progress: Progress,
}

impl Bench {
    /// Pools of at most so many nodes; a quick run is content with few.
    pub fn new(quick: bool, most_nodes: Option<usize>, progress: Progress) -> Self {
        let default = if quick { QUICK } else { usize::MAX };
        Self {
            quick,
            most_nodes: most_nodes.unwrap_or(default),
            progress,
        }
    }

    /// As many nodes as the goal asks for, if so many are allowed.
    pub(super) fn size(&self, full: usize) -> usize {
        full.min(self.most_nodes)
    }

    /// The same where a node costs ten times as much.
    pub(super) fn small(&self, full: usize) -> usize {
        self.size(if self.quick {
            full.min(QUICK / 2)
        } else {
            full
        })
    }

    /// These sizes, without those that come to the same.
    pub(super) fn sizes(&self, full: &[usize]) -> Vec<usize> {
        let mut sizes: Vec<usize> = full.iter().map(|size| self.size(*size)).collect();
        sizes.dedup();
        sizes
    }

    /// So many repetitions.
    pub(super) const fn times(&self, quick: usize, full: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// The world of a plan in which everybody knows everybody, seats are held and observers have spaced themselves out.
    pub(super) fn settled(&mut self, plan: Plan) -> World {
        self.settled_for(plan, SETTLING)
    }

    /// The same after so many seconds.
    pub(super) fn settled_for(&mut self, plan: Plan, seconds: usize) -> World {
        let mut world = plan.build();
        world.forget_events();
        world.start_settled();
        for second in 0..seconds {
            self.done(second, seconds, "seconds of settling");
            world.run_for(secs(1));
        }
        world.take_ledger();
        world
    }

    /// One part of many is done.
    pub(super) fn done(&mut self, part: usize, of: usize, what: &str) {
        let share = part as f64 / of.max(1) as f64;
        self.progress
            .at(share, format_args!("{part} of {of} {what}"));
    }
}

/// One datacenter: three zones, racks of about twenty, five servers.
pub(super) fn lan(seed: u64, nodes: usize, links: Links) -> Plan {
    let servers = nodes.min(5);
    Plan::new(seed)
        .links(links)
        .datacenter("dc")
        .zones(3)
        .racks(nodes.div_ceil(60))
        .servers(servers)
        .clients(nodes - servers)
}

/// Three regions of so many nodes each, 35, 40 and 70 ms apart.
pub(super) fn regions(seed: u64, nodes: usize, loss: f64) -> Plan {
    let wide = |ms| Link::new(millis(ms)).losing(loss);
    let names = ["eu-west", "us-east", "ap-south"];
    let servers = nodes.min(5);
    names
        .into_iter()
        .fold(
            Plan::new(seed).links(Links::default().losing_on_lan(loss)),
            |plan, name| {
                plan.datacenter(name)
                    .zones(3)
                    .racks(nodes.div_ceil(60))
                    .servers(servers)
                    .clients(nodes - servers)
            },
        )
        .between("eu-west", "us-east", wide(35))
        .between("us-east", "ap-south", wide(40))
        .between("eu-west", "ap-south", wide(70))
}

/// A client that runs, drawn by the world's dice.
pub(super) fn client(world: &mut World) -> Option<String> {
    clients(world, 1).pop()
}

/// Several different clients that run.
pub(super) fn clients(world: &mut World, count: usize) -> Vec<String> {
    let running: Vec<usize> = world
        .slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.settings.wan.is_none())
        .filter(|(_, slot)| slot.process.as_ref().is_some_and(|one| !one.is_deaf()))
        .map(|(host, _)| host)
        .collect();
    let drawn: Vec<usize> = running.sample(&mut world.dice, count).copied().collect();
    drawn
        .into_iter()
        .map(|host| world.slots[host].name.clone())
        .collect()
}

/// Lets a client say goodbye, and returns how that spread within `wait`.
pub(super) fn farewell(world: &mut World, wait: Duration) -> Option<Spread> {
    let name = client(world)?;
    world.watch(&name);
    world.leave(&name);
    world.run_for(wait);
    Some(world.spread(&name, EventKind::Left))
}

/// Milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
