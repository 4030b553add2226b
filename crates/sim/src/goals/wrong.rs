//! Rows 8, 9, 11 and 17: who is suspected or dies though it lives.

use super::{
    Bound, Figure,
    bench::{Bench, clients, lan},
};
use crate::{
    hunt::{self, Search},
    ledger::Wrong,
    net::Links,
    script::{millis, secs},
    world::World,
};
use pelago_proto::view::EventKind;
use std::time::Duration;

pub(super) fn pauses(bench: &Bench) -> Vec<Figure> {
    let nodes = 128;
    let rounds = bench.times(128, 6_250);
    // Every round pauses a quarter of all nodes.
    let reports = bench.repeat(rounds, bench.times(16, 250), |number, rounds, bench| {
        let mut world = bench.settled(lan(800 + number, nodes, Links::default()));
        for round in 0..rounds {
            bench.done(round, rounds, "rounds of pauses");
            for name in clients(&mut world, nodes / 4) {
                world.pause_for(&name, secs(2));
            }
            world.run_for(secs(3));
        }
        let wrong = world.take_ledger().wrong_deaths;
        let reports =
            wrong.about_healthy() + wrong.of_disturbed_at_healthy + wrong.of_disturbed_at_disturbed;
        vec![reports as f64]
    });
    let paused = rounds * (nodes / 4);
    vec![
        Figure::new(
            format!("reports of deaths in {paused} pauses of 2 s, N = {nodes}"),
            "",
            vec![reports.iter().sum()],
        )
        .must(Bound::Most(0.0))
        .aim(Bound::Most(0.0)),
    ]
}

/// Lifeguard's grid: how many are starved, for how long, with which rests.
pub(crate) const STARVED: [usize; 9] = [1, 4, 8, 12, 16, 20, 24, 28, 32];
pub(crate) const LASTING: [u64; 6] = [128, 512, 2_048, 8_192, 16_384, 32_768];
pub(crate) const RESTS: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
/// Runs of the published grid: ten of each combination.
pub(crate) const RUNS: f64 = 4_320.0;

/// One run of the interval experiment: the same nodes starve again and again for some time, two minutes in the paper.
fn interval(
    world: &mut World,
    starved: usize,
    lasting: Duration,
    rest: Duration,
    time: Duration,
) -> Wrong {
    let whom = clients(world, starved);
    world.disturb(&whom);
    world.take_ledger();
    let begin = world.now();
    while world.now().since(begin) < time {
        for name in &whom {
            world.starve_for(name, lasting);
        }
        world.run_for(lasting + rest);
    }
    world.take_ledger().wrong_deaths
}

pub(super) fn grid(bench: &Bench) -> Vec<Figure> {
    let runs = bench.times(12, 108);
    let seconds = bench.times(30, 120) as u64;
    let scale = RUNS * 120.0 / seconds as f64;
    let wrong = bench.repeat(runs, 1, |run, _, bench| {
        // Cells at equal distances.
        let cell = run as usize * 432 / runs;
        let (starved, lasting, rest) = (STARVED[cell / 48], LASTING[cell / 8 % 6], RESTS[cell % 8]);
        let mut world = bench.settled(lan(900 + run, 128, Links::default()));
        let (lasting, rest) = (millis(lasting), millis(rest));
        bench.done(0, 1, "runs");
        vec![interval(&mut world, starved, lasting, rest, secs(seconds))]
    });
    let all: Vec<f64> = wrong
        .iter()
        .map(|wrong| wrong.about_healthy() as f64)
        .collect();
    let healthy: Vec<f64> = wrong.iter().map(|wrong| wrong.at_healthy as f64).collect();
    let scaled = |values: &[f64]| vec![values.iter().sum::<f64>() / values.len() as f64 * scale];
    vec![
        Figure::new(
            format!("all, {runs} runs of {seconds} s, scaled to 4,320 of 120 s"),
            "",
            scaled(&all),
        )
        .must(Bound::Most(5_193.0))
        .aim(Bound::Most(339.0)),
        Figure::new(
            format!("at healthy, {runs} runs of {seconds} s, scaled to 4,320 of 120 s"),
            "",
            scaled(&healthy),
        )
        .must(Bound::Most(25.0))
        .aim(Bound::Most(0.0)),
        Figure::new("all, each run", "", all),
    ]
}

pub(super) fn bad_links(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(400, 1_000);
    let bad = (nodes / 100).max(2);
    let figures = bench.each(&[false, true], |flips, bench| {
        let kind = if *flips {
            "deaf 20 s in 40 s"
        } else {
            "80 % of what they send lost"
        };
        let mut world = bench.settled(lan(11, nodes, Links::default()));
        let whom = clients(&mut world, bad);
        world.disturb(&whom);
        world.take_ledger();
        for name in &whom {
            world.watch(name);
        }
        for part in 0..6 {
            bench.done(part, 6, "parts");
            for name in &whom {
                match (*flips, part % 2) {
                    (true, 0) => world.make_lossy_one_way(name, 0.0, 1.0),
                    (true, _) => world.make_lossy_one_way(name, 0.0, 0.0),
                    (false, _) => world.make_lossy_one_way(name, 0.8, 0.0),
                }
            }
            world.run_for(secs(20));
        }
        let healthy = world.ledger().wrongly_dead.len();
        let removed: Vec<Duration> = whom
            .iter()
            .filter_map(|name| world.spread(name, EventKind::Dead).most)
            .collect();
        let within = removed.iter().filter(|at| **at <= secs(30)).count();
        let again = world.repeated_reports(&whom, EventKind::Dead);
        [
            Figure::new(
                format!("healthy nodes removed, {kind}, N = {nodes}"),
                "",
                vec![healthy as f64],
            )
            .must(Bound::Most(0.0))
            .aim(Bound::Most(0.0)),
            Figure::new(
                format!("of the {bad}, removed at 99 % of nodes within 30 s, {kind}"),
                "",
                vec![within as f64],
            )
            .aim(Bound::Least(bad as f64)),
            Figure::new(
                format!("removed again after coming back, {kind}"),
                "",
                vec![again as f64],
            )
            .aim(Bound::Most(0.0)),
        ]
    });
    figures.into_iter().flatten().collect()
}

pub(super) fn suspicions(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(1_000, 10_000);
    let seconds = bench.times(100, 300) as u64;
    let losses = [(0.01, 0.1, 0.001), (0.05, 50.0, 1.0)];
    let figures = bench.each(&losses, |(loss, must, aim), bench| {
        let mut world = bench.settled(lan(17, nodes, Links::default().losing_on_lan(*loss)));
        let before = world.total_traffic();
        for second in 0..seconds {
            bench.done(second as usize, seconds as usize, "seconds");
            world.run_for(Duration::from_secs(1));
        }
        let per_second = 10_000.0 / nodes as f64 / seconds as f64;
        let suspected = world.take_ledger().wrong_suspicions as f64 * per_second;
        let signed = world.total_traffic().since(&before).signed as f64 * per_second;
        let scaled = if nodes == 10_000 {
            ""
        } else {
            ", scaled to 10,000"
        };
        let what = format!("{} % loss, N = {nodes}{scaled}, {seconds} s", loss * 100.0);
        [
            Figure::new(what.clone(), "/s", vec![suspected])
                .must(Bound::Most(*must))
                .aim(Bound::Most(*aim)),
            Figure::new(format!("signatures, {what}"), "/s", vec![signed]),
        ]
    });
    figures.into_iter().flatten().collect()
}

/// Random fault schedules under checkers; `hunt` plays more.
pub(super) fn schedules(bench: &Bench) -> Vec<Figure> {
    let schedules = bench.times(200, 1_000);
    let figure = |hostile: bool| {
        let failed = bench.repeat(schedules, 50, |part, schedules, bench| {
            let search = Search {
                schedules: schedules as u64,
                seed: 1 + part * 50,
                hostile,
                jobs: 1,
                fail_fast: false,
            };
            let mut played = 0;
            let outcome = hunt::hunt(&search, |_, _| {
                played += 1;
                bench.done(played, schedules, "schedules");
            });
            vec![outcome.failed as f64]
        });
        let who = if hostile { "with liars" } else { "honest" };
        let what = format!("failed, of {schedules} {who}");
        Figure::new(what, "", vec![failed.iter().sum()])
            .must(Bound::Most(0.0))
            .aim(Bound::Most(0.0))
    };
    vec![figure(false), figure(true)]
}
