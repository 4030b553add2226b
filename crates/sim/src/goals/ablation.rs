//! What each mechanism buys: the same experiments with one of them switched off at a time.

use super::{
    bench::{Bench, clients, farewell, lan, ms},
    detect::end,
};
use crate::{
    history::Spread,
    net::Links,
    report::{Cdf, number, sheet},
    script::{millis, secs},
    world::World,
};
use pelago_proto::federation::Settings;
use serde::Serialize;
use std::time::Duration;

/// A mechanism and how to do without it.
type Without = (&'static str, fn(&mut Settings));

const MECHANISMS: [Without; 16] = [
    ("everything on", |_| {}),
    ("no fixed observers", |settings| {
        settings.tuning.observers = false
    }),
    ("observers not spaced", |settings| {
        settings.tuning.spacing = false
    }),
    ("fixed patience", |settings| {
        settings.tuning.measured_patience = false
    }),
    ("no eager push", |settings| {
        settings.tuning.fanout = 0;
        settings.tuning.rides = 12;
    }),
    ("no successor", |settings| settings.tuning.successor = false),
    ("no catching up", |settings| {
        settings.tuning.catch_up = false
    }),
    ("pause floor 0.5 s", |settings| {
        settings.pause_tolerance = millis(500)
    }),
    ("no closed ports", |settings| {
        settings.tuning.closed_ports = false
    }),
    ("no quorate rule", |settings| {
        settings.tuning.quorate = false
    }),
    ("deafness counts", |settings| {
        settings.tuning.deafness = false
    }),
    ("no local health", |settings| {
        settings.tuning.local_health = false
    }),
    ("no buddies", |settings| settings.tuning.buddies = false),
    ("no relays", |settings| settings.tuning.relays = false),
    ("uniform shares", |settings| {
        settings.tuning.shares = [1, 1, 1]
    }),
    ("probes once a second", |settings| {
        settings.probe_interval = secs(1)
    }),
];

const HEAD: [&str; 11] = [
    "",
    "suspect p99, ms",
    "dead p99, ms",
    "killed p99, ms",
    "news 99 %, ms",
    "news all, ms",
    "wrong deaths: pauses",
    "starved",
    "cut off",
    "suspicions, 10 % loss",
    "B/node/s",
];

/// One mechanism switched off.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Which.
    pub without: &'static str,
    /// What came of it, in the order of the table's columns.
    pub figures: Vec<Option<f64>>,
}

/// Runs all of them with pools of so many nodes.
pub fn ablate(bench: &Bench, nodes: usize) -> Vec<Line> {
    let line = |(without, off): &Without, bench: &mut Bench| {
        let (without, off) = (*without, *off);
        bench.progress.begin(without);
        let figures = vec![];
        let mut line = Line { without, figures };
        let part = |done: usize, bench: &mut Bench| bench.done(done, 6, "experiments");
        let mut world = bench.settled(lan(31, nodes, Links::default()).tune(off));
        part(1, bench);
        let lost = ends(&mut world, World::lose_host, secs(4));
        let killed = ends(&mut world, World::kill, secs(4));
        part(2, bench);
        let p99 = |spreads: &[[Spread; 2]], which: usize| {
            let all = spreads.iter().filter_map(|one| one[which].most.map(ms));
            let all = Cdf::new(all.collect());
            all.quantile(0.99).filter(|_| all.len() == spreads.len())
        };
        line.figures
            .extend([p99(&lost, 0), p99(&lost, 1), p99(&killed, 1)]);
        let news: Vec<Spread> = (0..10)
            .filter_map(|_| farewell(&mut world, secs(3)))
            .collect();
        let median = |pick: fn(&Spread) -> Option<Duration>| {
            Cdf::of(news.iter().filter_map(pick)).quantile(0.5)
        };
        line.figures
            .extend([median(|one| one.most), median(|one| one.all)]);
        part(3, bench);
        let mut world = bench.settled(lan(32, nodes, Links::default()).tune(off));
        line.figures.push(Some(wrong(&mut world, |world, whom| {
            for _ in 0..5 {
                whom.iter().for_each(|name| world.pause_for(name, secs(2)));
                world.run_for(secs(4));
            }
        })));
        part(4, bench);
        line.figures
            .push(Some(wrong_of_others(&mut world, |world, whom| {
                whom.iter().for_each(|name| world.starve_for(name, secs(5)));
                world.run_for(secs(10));
            })));
        line.figures
            .push(Some(wrong_of_others(&mut world, |world, whom| {
                let others: Vec<String> = world
                    .everybody()
                    .into_iter()
                    .filter(|name| !whom.contains(name))
                    .collect();
                world.split(pelago_proto::federation::Tier::Lan, whom, &others);
                world.run_for(secs(8));
                world.heal();
                world.run_for(secs(8));
            })));
        part(5, bench);
        let lossy = Links::default().losing_on_lan(0.1);
        let mut world = bench.settled(lan(33, nodes, lossy).tune(off));
        world.run_for(secs(60));
        line.figures
            .push(Some(world.take_ledger().wrong_suspicions as f64));
        let mut world = bench.settled(lan(34, nodes, Links::default()).tune(off));
        super::load::calm(bench, &mut world);
        let before = world.total_traffic();
        world.run_for(secs(20));
        line.figures
            .push(Some(super::load::rate(&mut world, &before, secs(20))));
        line
    };
    bench.each(&MECHANISMS, line)
}

/// Twenty ends of clients, each brought back.
fn ends(world: &mut World, act: fn(&mut World, &str), wait: Duration) -> Vec<[Spread; 2]> {
    (0..20)
        .map_while(|part| end(world, part, wait, act))
        .collect()
}

/// Something is done to a quarter of all clients. Returns deaths reported of any that live.
fn wrong(world: &mut World, act: impl Fn(&mut World, &[String])) -> f64 {
    let whom = clients(world, world.slots.len() / 4);
    world.disturb(&whom);
    world.take_ledger();
    act(world, &whom);
    let wrong = world.take_ledger().wrong_deaths;
    (wrong.about_healthy() + wrong.of_disturbed_at_healthy + wrong.of_disturbed_at_disturbed) as f64
}

/// The same, of undisturbed ones only.
fn wrong_of_others(world: &mut World, act: impl Fn(&mut World, &[String])) -> f64 {
    let whom = clients(world, world.slots.len() / 4);
    world.disturb(&whom);
    world.take_ledger();
    act(world, &whom);
    world.take_ledger().wrong_deaths.about_healthy() as f64
}

/// The table for people.
pub fn table(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let figure = |value: &Option<f64>| value.map_or_else(|| "never".to_owned(), number);
            std::iter::once(line.without.to_owned())
                .chain(line.figures.iter().map(figure))
                .collect()
        })
        .collect();
    sheet(&HEAD, &rows)
}
