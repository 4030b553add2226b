//! Rows 1–4 and 16: how fast news spreads, and how often it crosses between datacenters.

use super::{
    Bound, Figure,
    bench::{Bench, farewell, lan, ms, regions},
};
use crate::{
    comparator::epidemic,
    history::Spread,
    net::{Link, Links},
    script::{millis, secs},
    world::World,
};
use pelago_proto::view::EventKind;
use std::time::Duration;

/// The length of a round where rounds are counted: every packet takes one, every node sends one probe in one.
const ROUND: Duration = Duration::from_millis(20);

/// Farewells, one after the other.
fn farewells(bench: &mut Bench, world: &mut World, times: usize, wait: Duration) -> Vec<Spread> {
    let mut spreads = Vec::new();
    for part in 0..times {
        bench.done(part, times, "goodbyes");
        spreads.extend(farewell(world, wait));
    }
    spreads
}

fn figures(
    spreads: &[Spread],
    what: &str,
    unit: &'static str,
    of: impl Fn(Duration) -> f64,
) -> [Figure; 2] {
    let values = |pick: fn(&Spread) -> Option<Duration>| -> Vec<Option<f64>> {
        spreads.iter().map(|one| pick(one).map(&of)).collect()
    };
    [
        Figure::perhaps(format!("99 %, {what}"), unit, &values(|one| one.most)),
        Figure::perhaps(format!("100 %, {what}"), unit, &values(|one| one.all)),
    ]
}

/// Goodbyes in one world.
const IN_ONE: usize = 50;

/// Worlds in which everything happens in rounds, as papers count them.
fn rounds(bench: &Bench, nodes: usize, fanout: usize, loss: f64, times: usize) -> [Figure; 2] {
    let link = Link::new(ROUND).steady().losing(loss);
    let spreads = bench.repeat(times, IN_ONE, |number, times, bench| {
        let plan = lan(1 + number, nodes, Links::default().lan(link)).tune(move |settings| {
            settings.probe_interval = ROUND;
            settings.tuning.fanout = fanout;
        });
        let mut world = bench.settled_for(plan, 3);
        farewells(bench, &mut world, times, secs(1))
    });
    let what = format!("N = {nodes}, fan-out {fanout}, {} % loss", loss * 100.0);
    figures(&spreads, &what, "rounds", |time| {
        time.as_secs_f64() / ROUND.as_secs_f64()
    })
}

pub(super) fn thousand(bench: &Bench) -> Vec<Figure> {
    let (nodes, times) = (bench.size(1_000, 1_000), bench.times(10, 100));
    let [most, all] = rounds(bench, nodes, 5, 0.0, times);
    vec![
        most.must(Bound::P99(10.0)).aim(Bound::P99(5.0)),
        all.must(Bound::P99(10.0)).aim(Bound::P99(6.0)),
    ]
}

pub(super) fn ten_thousand(bench: &Bench) -> Vec<Figure> {
    let (nodes, times) = (bench.size(400, 10_000), bench.times(10, 50));
    let mut out = Vec::new();
    for loss in [0.0, 0.05] {
        let [most, all] = rounds(bench, nodes, 3, loss, times);
        out.push(most.must(Bound::P99(7.0)).aim(Bound::P99(6.0)));
        out.push(all.aim(Bound::P99(7.0)));
    }
    out
}

pub(super) fn one_lan(bench: &Bench) -> Vec<Figure> {
    let (nodes, times) = (bench.size(1_000, 10_000), bench.times(20, 50));
    let pairs = bench.each(&[0.0, 0.05], |loss, bench| {
        let mut world = bench.settled(lan(2, nodes, Links::default().losing_on_lan(*loss)));
        let spreads = farewells(bench, &mut world, times, secs(2));
        let what = format!("N = {nodes}, {} % loss", loss * 100.0);
        let [most, all] = figures(&spreads, &what, "ms", ms);
        let most = most.must(Bound::P99(1_400.0));
        if *loss == 0.0 {
            [most.aim(Bound::P99(10.0)), all]
        } else {
            [most, all.aim(Bound::P99(400.0))]
        }
    });
    pairs.into_iter().flatten().collect()
}

pub(super) fn three_regions(bench: &Bench) -> Vec<Figure> {
    let (nodes, times) = (bench.size(500, 2_000), bench.times(20, 50));
    let groups = bench.each(&[(0.0, 250.0), (0.05, 1_000.0)], |(loss, aim), bench| {
        let mut world = bench.settled(regions(3, nodes, *loss));
        let mut groups: [Vec<Option<f64>>; 3] = Default::default();
        for part in 0..times {
            bench.done(part, times, "goodbyes");
            let Some(name) = super::bench::client(&mut world) else {
                break;
            };
            world.watch(&name);
            world.leave(&name);
            world.run_for(secs(4));
            for (hosts, values) in onlookers(&mut world, &name).iter().zip(&mut groups) {
                let times = world.first_reports(&name, &[EventKind::Left], hosts);
                values.push(Spread::new(times, hosts.len()).most.map(ms));
            }
        }
        let places = ["at home", "at seats abroad", "at standby servers abroad"];
        let figure = |(values, place): (&Vec<Option<f64>>, &str)| {
            let what = format!("{place}, N = 3 × {nodes}, {} % loss", loss * 100.0);
            let figure = Figure::perhaps(what, "ms", values).must(Bound::P99(10_000.0));
            figure.aim(Bound::P99(*aim))
        };
        groups.iter().zip(places).map(figure).collect::<Vec<_>>()
    });
    groups.into_iter().flatten().collect()
}

/// Who should hear of a node: at home, seat holders abroad, other servers abroad.
fn onlookers(world: &mut World, name: &str) -> [Vec<usize>; 3] {
    let host = world.host(name);
    let home = world.slots[host].who.datacenter.clone();
    let mut groups: [Vec<usize>; 3] = Default::default();
    for host in world.onlookers(host) {
        let slot = &world.slots[host];
        let (name, datacenter) = (slot.name.clone(), slot.who.datacenter.to_string());
        let group = if slot.who.datacenter == home {
            0
        } else if world.elected(&name, &datacenter).contains(&name) {
            1
        } else {
            2
        };
        groups[group].push(host);
    }
    groups
}

/// Packets between datacenters for each change, beyond what flows anyway, against one pool of everybody.
pub(super) fn exchanges(bench: &Bench) -> Vec<Figure> {
    let (nodes, times) = (bench.size(500, 2_000), bench.times(40, 200));
    let (ours, took) = bench.once(|bench| told_abroad(bench, nodes, times));
    let uniform = bench.once(|_| epidemic::run(&regions(4, nodes, 0.0), 5, times.min(20)));
    let median = |values: &[f64]| crate::report::Cdf::new(values.to_vec()).quantile(0.5);
    let fewer = median(&uniform.crossings).unwrap_or(0.0) / ours.max(0.01);
    let slower = median(&took).zip(median(&uniform.most_ms));
    vec![
        Figure::new(
            format!("packets between datacenters for a change, N = 3 × {nodes}"),
            "",
            vec![ours],
        ),
        Figure::new("the same, uniform gossip, f = 5", "", uniform.crossings),
        Figure::new("times fewer", "×", vec![fewer])
            .must(Bound::Least(10.0))
            .aim(Bound::Least(100.0)),
        Figure::new(
            "time to 99 %, ours ÷ uniform",
            "×",
            slower
                .map(|(ours, theirs)| ours / theirs)
                .into_iter()
                .collect(),
        )
        .aim(Bound::Most(1.1)),
    ]
}

/// What each of some goodbyes sent from datacenter to datacenter, in packets, and the times until they had reached 99 %.
fn told_abroad(bench: &mut Bench, nodes: usize, times: usize) -> (f64, Vec<f64>) {
    let mut world = bench.settled(regions(4, nodes, 0.0));
    let window = millis(100) * u32::try_from(times).unwrap_or(u32::MAX);
    let quiet = world.total_traffic();
    world.run_for(window);
    let before = world.total_traffic();
    let mut spreads = Vec::new();
    for part in 0..times {
        bench.done(part, times, "goodbyes");
        let Some(name) = super::bench::client(&mut world) else {
            break;
        };
        world.watch(&name);
        world.leave(&name);
        world.run_for(millis(100));
        spreads.push(name);
    }
    let after = world.total_traffic();
    world.run_for(secs(2));
    let wan = |from: &crate::Traffic, to: &crate::Traffic| {
        to.since(from).between_datacenters().packets as f64
    };
    let ours = (wan(&before, &after) - wan(&quiet, &before)) / times as f64;
    let took = spreads
        .iter()
        .filter_map(|name| world.spread(name, EventKind::Left).most.map(ms))
        .collect();
    (ours, took)
}
