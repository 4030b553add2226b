//! What knowing racks and zones is worth: the same network with nodes whose certificates say where they stand, and with nodes
//! that all claim to stand in one rack, so that everything is drawn uniformly and nobody counts racks.

use super::bench::{Bench, clients, lan, ms};
use crate::{
    history::Spread,
    net::Links,
    report::{Cdf, number, sheet},
    script::{millis, secs},
    traffic::{Meter, Traffic},
    world::World,
};
use pelago_proto::{
    federation::Tier,
    view::{EventKind, Status},
};
use serde::Serialize;
use std::time::Duration;

/// One figure, with and without topology.
#[derive(Clone, Debug, Serialize)]
pub struct Worth {
    /// Of what, and in what.
    pub what: &'static str,
    /// With topology; `None` if it did not come about.
    pub with: Option<f64>,
    /// Without.
    pub without: Option<f64>,
}

/// A figure of one of the two worlds.
type Line = (&'static str, Option<f64>);
/// An experiment with so many nodes, all of whom claim to stand in one rack or not.
type Part = fn(&mut Bench, usize, bool) -> Vec<Line>;

/// Seconds until news of the beginning has ridden out.
const SETTLING: usize = 40;
/// Seconds that are waited until all are alive again.
const PATIENCE: u32 = 60;

/// Measures both in pools of so many nodes: three zones, racks of about twenty.
pub fn topology(bench: &Bench, nodes: usize) -> Vec<Worth> {
    let parts: [Part; 4] = [traffic, rack_lost, zone_lost, switch];
    let runs: Vec<_> = parts
        .into_iter()
        .flat_map(|part| [(part, false), (part, true)])
        .collect();
    let mut came = bench
        .each(&runs, |(part, flat), bench| part(bench, nodes, *flat))
        .into_iter();
    let mut worth = Vec::new();
    while let (Some(with), Some(without)) = (came.next(), came.next()) {
        for ((what, with), (_, without)) in with.into_iter().zip(without) {
            worth.push(Worth {
                what,
                with,
                without,
            });
        }
    }
    worth
}

/// The table for people.
pub fn table(lines: &[Worth]) -> String {
    let figure = |value: Option<f64>| value.map_or_else(|| "never".to_owned(), number);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.what.to_owned(),
                figure(line.with),
                figure(line.without),
            ]
        })
        .collect();
    sheet(&["", "racks and zones known", "one rack claimed"], &rows)
}

fn settled(bench: &mut Bench, nodes: usize, flat: bool) -> World {
    let plan = lan(50, nodes, Links::default());
    bench.settled_for(if flat { plan.flat() } else { plan }, SETTLING)
}

/// What crosses racks and zones, at rest and while members say goodbye, and how fast those spread.
fn traffic(bench: &mut Bench, nodes: usize, flat: bool) -> Vec<Line> {
    let mut world = settled(bench, nodes, flat);
    let before = world.total_traffic();
    world.run_for(secs(20));
    let quiet = world.total_traffic().since(&before);
    let before = world.total_traffic();
    let mut names = Vec::new();
    for name in clients(&mut world, 50.min(nodes / 10)) {
        world.watch(&name);
        world.leave(&name);
        names.push(name);
        world.run_for(millis(100));
    }
    let busy = world.total_traffic().since(&before);
    let seconds = names.len() as f64 / 10.0;
    world.run_for(secs(3));
    let elsewhere: Vec<f64> = names
        .iter()
        .filter_map(|name| {
            let zone = world.net.place(world.host(name)).zone;
            let hosts = world.onlookers(world.host(name));
            let hosts: Vec<usize> = hosts
                .into_iter()
                .filter(|host| world.net.place(*host).zone != zone)
                .collect();
            let times = world.first_reports(name, &[EventKind::Left], &hosts);
            Spread::new(times, hosts.len()).most.map(ms)
        })
        .collect();
    let elsewhere = Cdf::new(elsewhere);
    let each = |meter: Meter, seconds: f64| Some(meter.bytes as f64 / nodes as f64 / seconds);
    let share = |traffic: &Traffic| {
        Some(100.0 * traffic.far.bytes as f64 / traffic.lan.bytes.max(1) as f64)
    };
    vec![
        ("at rest: sent, B/node/s", each(quiet.lan, 20.0)),
        ("at rest: to other zones, B/node/s", each(quiet.far, 20.0)),
        ("at rest: to other zones, %", share(&quiet)),
        ("10 goodbyes/s: sent, B/node/s", each(busy.lan, seconds)),
        (
            "10 goodbyes/s: to other zones, B/node/s",
            each(busy.far, seconds),
        ),
        ("10 goodbyes/s: to other zones, %", share(&busy)),
        (
            "goodbye at 99 % of other zones, median, ms",
            elsewhere.quantile(0.5),
        ),
        (
            "goodbye at 99 % of other zones, p99, ms",
            elsewhere.quantile(0.99),
        ),
    ]
}

fn rack_lost(bench: &mut Bench, nodes: usize, flat: bool) -> Vec<Line> {
    let lost = |world: &World, host| {
        let place = world.net.place(host);
        (place.zone, place.rack) == (1, 0)
    };
    let [all, median, wrong] = loss(bench, nodes, flat, lost);
    vec![
        (
            "rack lost: median member dead at 99 % of the others, s",
            median,
        ),
        ("rack lost: all of it dead at 99 % of the others, s", all),
        ("rack lost: others reported dead", wrong),
    ]
}

fn zone_lost(bench: &mut Bench, nodes: usize, flat: bool) -> Vec<Line> {
    let [all, median, wrong] = loss(bench, nodes, flat, |world, host| {
        world.net.place(host).zone == 1
    });
    vec![
        (
            "zone lost: median member dead at 99 % of the others, s",
            median,
        ),
        ("zone lost: all of it dead at 99 % of the others, s", all),
        ("zone lost: others reported dead", wrong),
    ]
}

/// All hosts of a place are lost at once: when all and the median one are dead to the others, and who else was said to be.
fn loss(
    bench: &mut Bench,
    nodes: usize,
    flat: bool,
    is_lost: impl Fn(&World, usize) -> bool,
) -> [Option<f64>; 3] {
    let mut world = settled(bench, nodes, flat);
    let names = those(&world, &is_lost);
    world.take_ledger();
    for name in &names {
        world.watch(name);
        world.lose_host(name);
    }
    world.run_for(secs(20));
    let times = noticed(&world, &names, &[EventKind::Dead]);
    let seen: Vec<f64> = times.iter().filter_map(|at| *at).collect();
    let complete = seen.len() == names.len();
    let times = Cdf::new(seen);
    let wrong = world.ledger().wrong_deaths.about_healthy() as f64;
    [
        times.quantile(1.0).filter(|_| complete),
        times.quantile(0.5),
        Some(wrong),
    ]
}

/// A rack's switch fails for half a minute: whom nobody outside misses, and what those inside make of it.
fn switch(bench: &mut Bench, nodes: usize, flat: bool) -> Vec<Line> {
    let mut world = settled(bench, nodes, flat);
    let inside = |world: &World, host| {
        let place = world.net.place(host);
        (place.zone, place.rack) == (1, 0)
    };
    let names = those(&world, inside);
    let others = those(&world, |world, host| !inside(world, host));
    world.take_ledger();
    world.disturb(&names);
    for name in &names {
        world.watch(name);
    }
    world.split(Tier::Lan, &names, &others);
    world.run_for(secs(30));
    let kinds = [EventKind::Suspect, EventKind::Unreachable, EventKind::Dead];
    let noticed = noticed(&world, &names, &kinds);
    let blind = noticed.iter().filter(|at| at.is_none()).count();
    let times = Cdf::new(noticed.into_iter().flatten().collect());
    let wrong = world.take_ledger().wrong_deaths.about_healthy();
    world.heal();
    let mut healed = None;
    for step in 0..4 * PATIENCE {
        let alive = |name: &String| world.everyone_sees(name, Status::Alive);
        if names.iter().all(alive) {
            healed = Some(f64::from(step) / 4.0);
            break;
        }
        world.run_for(millis(250));
    }
    vec![
        (
            "switch fails: members that 1 % outside do not miss",
            Some(blind as f64),
        ),
        (
            "switch fails: last one missed by 99 % outside, s",
            times.quantile(1.0),
        ),
        (
            "switch fails: others reported dead inside",
            Some(wrong as f64),
        ),
        ("switch back: all alive to all, s", healed),
    ]
}

fn those(world: &World, which: impl Fn(&World, usize) -> bool) -> Vec<String> {
    let slots = world.slots.iter().enumerate();
    let chosen = slots.filter(|(host, _)| which(world, *host));
    chosen.map(|(_, slot)| slot.name.clone()).collect()
}

/// When 99 % of all others but these had noticed each of them, seconds.
fn noticed(world: &World, names: &[String], kinds: &[EventKind]) -> Vec<Option<f64>> {
    let concerned: Vec<usize> = names.iter().map(|name| world.host(name)).collect();
    let others: Vec<usize> = (0..world.slots.len())
        .filter(|host| !concerned.contains(host))
        .collect();
    let most = |name: &String| {
        let times = world.first_reports(name, kinds, &others);
        let most = Spread::new(times, others.len()).most;
        most.as_ref().map(Duration::as_secs_f64)
    };
    names.iter().map(most).collect()
}
