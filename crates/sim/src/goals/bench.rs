//! What the experiments have in common: sizes, repetitions, worlds in which everybody knows everybody.

use super::turns::Turns;
use crate::{
    cost::processor_time,
    history::Spread,
    net::{Link, Links},
    plan::Plan,
    progress::Progress,
    script::{millis, secs},
    world::World,
};
use pelago_proto::view::EventKind;
use rand::seq::IndexedRandom;
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Seconds until what follows from knowing everybody has followed.
const SETTLING: usize = 15;

/// How to measure.
#[derive(Debug)]
pub struct Bench {
    /// Fewer repetitions, smaller pools.
    pub quick: bool,
    most_nodes: usize,
    turns: Arc<Turns>,
    /// Who goes first.
    rank: usize,
    /// What the experiments took so far, all together: seconds of one core.
    worked: Arc<Mutex<f64>>,
    pub(super) progress: Progress,
}

impl Bench {
    /// Pools of at most so many nodes; so many worlds at once. The figures do not depend on how many.
    pub fn new(quick: bool, most_nodes: Option<usize>, at_once: usize, progress: Progress) -> Self {
        Self {
            quick,
            most_nodes: most_nodes.unwrap_or(usize::MAX),
            turns: Arc::new(Turns::new(at_once)),
            rank: 0,
            worked: Arc::default(),
            progress,
        }
    }

    /// The same for one of the experiments that go on at the same time.
    pub(super) fn beside(&self, what: &str, rank: usize) -> Self {
        Self {
            rank,
            worked: Arc::default(),
            ..self.share(what)
        }
    }

    fn share(&self, what: &str) -> Self {
        Self {
            quick: self.quick,
            most_nodes: self.most_nodes,
            turns: Arc::clone(&self.turns),
            rank: self.rank,
            worked: Arc::clone(&self.worked),
            progress: self.progress.beside(what),
        }
    }

    /// Does the same with each of these, at the same time as far as there are turns. Returns what came of them in their
    /// order. Nothing else in an experiment takes long.
    pub(super) fn each<I: Sync, T: Send>(
        &self,
        of: &[I],
        experiment: impl Fn(&I, &mut Self) -> T + Sync,
    ) -> Vec<T> {
        let experiment = &experiment;
        thread::scope(|scope| {
            let threads: Vec<_> = (1..)
                .zip(of)
                .map(|(number, one)| {
                    let what = match of.len() {
                        1 => self.progress.what().to_owned(),
                        all => format!("{} ({number} of {all})", self.progress.what()),
                    };
                    let mut bench = self.share(&what);
                    scope.spawn(move || {
                        let turns = Arc::clone(&bench.turns);
                        let _turn = turns.wait(bench.rank);
                        let began = processor_time();
                        let came = experiment(one, &mut bench);
                        bench.progress.end();
                        let mut worked =
                            bench.worked.lock().unwrap_or_else(PoisonError::into_inner);
                        *worked += processor_time() - began;
                        came
                    })
                })
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, T>| match thread.join() {
                Ok(came) => came,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        })
    }

    /// The same of one experiment.
    pub(super) fn once<T: Send>(&self, experiment: impl Fn(&mut Self) -> T + Sync) -> T {
        let mut came = self.each(&[()], |(), bench| experiment(bench));
        came.remove(0)
    }

    /// So many repetitions in worlds of their own, with `each` in one: returns all of them in order. An experiment is told
    /// its world's number and how many repetitions are its own.
    pub(super) fn repeat<T: Send>(
        &self,
        times: usize,
        each: usize,
        experiment: impl Fn(u64, usize, &mut Self) -> Vec<T> + Sync,
    ) -> Vec<T> {
        let worlds: Vec<(u64, usize)> = (0..)
            .zip((0..times).step_by(each.max(1)))
            .map(|(number, done)| (number, each.min(times - done)))
            .collect();
        let came = self.each(&worlds, |(number, times), bench| {
            experiment(*number, *times, bench)
        });
        came.into_iter().flatten().collect()
    }

    /// How long experiments took, all together: seconds of one core.
    pub(super) fn worked(&self) -> f64 {
        *self.worked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many nodes as the goal asks for, if so many are allowed; `quick` ones in a quick run.
    pub(super) fn size(&self, quick: usize, full: usize) -> usize {
        let wanted = if self.quick { quick } else { full };
        wanted.min(self.most_nodes)
    }

    /// These sizes, without those that come to the same.
    pub(super) fn sizes(&self, quick: &[usize], full: &[usize]) -> Vec<usize> {
        let wanted = if self.quick { quick } else { full };
        let mut sizes: Vec<usize> = wanted.iter().map(|size| self.size(*size, *size)).collect();
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
