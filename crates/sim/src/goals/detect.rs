//! Rows 5–7 and 10: how fast it is known that a process or its host is gone.

use super::{
    Bound, Figure,
    bench::{Bench, client, clients, lan, ms},
};
use crate::{
    history::Spread,
    net::Links,
    script::{millis, secs},
    world::World,
};
use pelago_proto::view::EventKind;
use std::{collections::BTreeMap, time::Duration};

/// A driver publishes views at most this often: what changes within it is one change to readers.
const PUBLISH: Duration = Duration::from_millis(20);

/// Repetitions in one world.
const IN_ONE: usize = 50;

/// One end after another, each brought back before the next.
fn ends(
    bench: &Bench,
    nodes: usize,
    times: usize,
    wait: Duration,
    act: fn(&mut World, &str),
) -> Vec<[Spread; 2]> {
    bench.repeat(times, IN_ONE, |number, times, bench| {
        let mut world = bench.settled(lan(500 + number, nodes, Links::default()));
        let mut out = Vec::new();
        for part in 0..times {
            bench.done(part, times, "ends");
            let Some(end) = end(&mut world, part, wait, act) else {
                break;
            };
            out.push(end);
        }
        out
    })
}

/// The end of a client, brought back when that was watched for a while: when it was suspected, and when dead. `part` of so many
/// in one world.
pub(super) fn end(
    world: &mut World,
    part: usize,
    wait: Duration,
    act: fn(&mut World, &str),
) -> Option<[Spread; 2]> {
    let name = client(world)?;
    // Not all at the same phase of everybody's timers.
    let phase = u64::try_from(part).unwrap_or(0) * 37 % 200;
    world.run_for(millis(phase));
    world.watch(&name);
    act(world, &name);
    world.run_for(wait);
    let spreads = [EventKind::Suspect, EventKind::Dead].map(|kind| world.spread(&name, kind));
    world.start(&name);
    world.run_for(secs(2));
    Some(spreads)
}

/// Pools of these sizes, and how often each.
fn sizes(bench: &Bench) -> Vec<(usize, usize)> {
    let times = |nodes: usize| bench.times(30, if nodes > 1_000 { 50 } else { 200 });
    let sizes = bench.sizes(&[100, 1_000], &[100, 1_000, 10_000]);
    sizes
        .into_iter()
        .map(|nodes| (nodes, times(nodes)))
        .collect()
}

fn most(spreads: &[[Spread; 2]], which: usize, scale: f64) -> Vec<Option<f64>> {
    let value = |one: &[Spread; 2]| one[which].most.map(|time| ms(time) / scale);
    spreads.iter().map(value).collect()
}

pub(super) fn lost(bench: &Bench) -> Vec<Figure> {
    let mut out = Vec::new();
    for (nodes, times) in sizes(bench) {
        let spreads = ends(bench, nodes, times, secs(4), World::lose_host);
        let figure = || Figure::perhaps(format!("N = {nodes}"), "s", &most(&spreads, 1, 1_000.0));
        out.push(figure().must(Bound::Most(10.0)).aim(Bound::P99(2.8)));
        let mean = figure().values.mean().into_iter().collect();
        out.push(Figure::new(format!("mean, N = {nodes}"), "s", mean).aim(Bound::Most(2.5)));
    }
    out
}

pub(super) fn suspect(bench: &Bench) -> Vec<Figure> {
    let mut out = Vec::new();
    for (nodes, times) in sizes(bench) {
        let spreads = ends(bench, nodes, times, millis(1_500), World::lose_host);
        out.push(
            Figure::perhaps(
                format!("host lost, N = {nodes}"),
                "ms",
                &most(&spreads, 0, 1.0),
            )
            .must(Bound::P99(1_500.0))
            .aim(Bound::P99(300.0)),
        );
    }
    out
}

pub(super) fn killed(bench: &Bench) -> Vec<Figure> {
    let mut out = Vec::new();
    for (nodes, times) in sizes(bench) {
        let spreads = ends(bench, nodes, times, secs(1), World::kill);
        out.push(
            Figure::perhaps(format!("N = {nodes}"), "ms", &most(&spreads, 1, 1.0))
                .must(Bound::Most(1_000.0))
                .aim(Bound::P99(350.0)),
        );
    }
    out
}

pub(super) fn ten_at_once(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(1_000, 1_000);
    let crashes = bench.repeat(bench.times(4, 20), 4, |number, times, bench| {
        let mut world = bench.settled(lan(600 + number, nodes, Links::default()));
        let mut out = Vec::new();
        for part in 0..times {
            bench.done(part, times, "crashes");
            out.push(ten(&mut world));
        }
        out
    });
    let changes = crashes.iter().filter_map(|(changes, _)| *changes).collect();
    let removal: Vec<Option<f64>> = crashes.iter().map(|(_, removal)| *removal).collect();
    vec![
        Figure::new(
            format!("changes of the view at 99 % of nodes, N = {nodes}"),
            "",
            changes,
        )
        .must(Bound::Most(3.0))
        .aim(Bound::Most(1.0)),
        Figure::perhaps("all ten dead at 99 % of nodes", "s", &removal)
            .must(Bound::Most(10.0))
            .aim(Bound::Most(3.2)),
    ]
}

/// Ten crash, and are brought back: changes of the view at 99 % of nodes, and seconds until all are dead at 99 %.
fn ten(world: &mut World) -> (Option<f64>, Option<f64>) {
    let ten = clients(world, 10);
    for name in &ten {
        world.watch(name);
        world.lose_host(name);
    }
    world.run_for(secs(6));
    let mut seen: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    let mut last: Option<Duration> = Some(Duration::ZERO);
    for name in &ten {
        last = last
            .zip(world.spread(name, EventKind::Dead).most)
            .map(|(a, b)| a.max(b));
        for (host, at) in world.report_times(name, EventKind::Dead) {
            seen.entry(host).or_default().push(at);
        }
    }
    let counts = seen.into_values().map(|mut times| {
        times.sort_unstable();
        let later = times.windows(2).filter(|two| two[1] - two[0] > PUBLISH);
        1.0 + later.count() as f64
    });
    let counts = crate::report::Cdf::new(counts.collect());
    for name in &ten {
        world.start(name);
    }
    world.run_for(secs(4));
    (counts.quantile(0.99), last.map(|time| time.as_secs_f64()))
}
