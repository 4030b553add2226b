//! Rows 12–15 and 23: what joining, resting, changing and healing cost, and how fast the simulator is.

use super::{
    Bound, Figure,
    bench::{Bench, client, lan, regions},
};
use crate::{
    cost::{forget_peak, peak_resident, processor_time},
    net::Links,
    script::{millis, secs},
    traffic::Traffic,
    world::World,
};
use std::time::Duration;

pub(super) fn bootstrap(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(400, 2_000);
    let runs = bench.repeat(bench.times(3, 5), 1, |number, _, bench| {
        let mut world = lan(120 + number, nodes, Links::default()).build();
        world.forget_events();
        world.start_all();
        let names = world.everybody();
        let mut waiting = names.iter().peekable();
        let mut done = None;
        for step in 0..2_400u32 {
            let known = nodes - waiting.len();
            bench.done(known, nodes, "who know everybody");
            while waiting.next_if(|name| world.is_complete(name)).is_some() {}
            if waiting.peek().is_none() {
                done = Some(f64::from(step) * 0.05);
                break;
            }
            world.run_for(millis(50));
        }
        let bytes = world.total_traffic().total().bytes as f64 / nodes as f64 / 1e3;
        vec![(done, bytes)]
    });
    let took: Vec<Option<f64>> = runs.iter().map(|(took, _)| *took).collect();
    let bytes = runs.iter().map(|(_, bytes)| *bytes).collect();
    vec![
        Figure::perhaps(
            format!("everybody knows everybody, N = {nodes}"),
            "s",
            &took,
        )
        .must(Bound::Most(54.0))
        .aim(Bound::Most(25.0)),
        Figure::new("sent by each node until then", "KB", bytes),
    ]
}

/// Bytes a second and node over a while.
pub(super) fn rate(world: &mut World, before: &Traffic, time: Duration) -> f64 {
    let sent = world.total_traffic().since(before).total().bytes;
    sent as f64 / world.slots.len() as f64 / time.as_secs_f64()
}

/// Lets news of the beginning ride out before anything is weighed.
pub(super) fn calm(bench: &mut Bench, world: &mut World) {
    for part in 0..60 {
        bench.done(part, 60, "rests");
        let before = world.total_traffic();
        world.run_for(secs(10));
        // Pings and acks without news have about a hundred bytes.
        let sent = world.total_traffic().since(&before).lan;
        if sent.bytes < 120 * sent.packets {
            return;
        }
    }
}

pub(super) fn quiet(bench: &Bench) -> Vec<Figure> {
    bench.each(&bench.sizes(&[1_000], &[1_000, 10_000]), |nodes, bench| {
        let mut world = bench.settled(lan(13, *nodes, Links::default()));
        calm(bench, &mut world);
        let before = world.total_traffic();
        world.run_for(secs(30));
        let sent = rate(&mut world, &before, secs(30));
        Figure::new(format!("N = {nodes}, 30 s"), "B/s", vec![sent])
            .must(Bound::Most(50_000.0))
            .aim(Bound::Most(1_000.0))
    })
}

/// Ten changes a second: members leave, and once a tenth has left, those come back in turn.
pub(super) fn churn(bench: &mut Bench, world: &mut World, seconds: u64) {
    let mut gone: Vec<String> = Vec::new();
    let most = world.slots.len() / 10;
    for second in 0..seconds {
        bench.done(second as usize, seconds as usize, "seconds");
        for _ in 0..10 {
            if gone.len() >= most {
                world.start(&gone.remove(0));
            } else if let Some(name) = client(world) {
                world.leave(&name);
                gone.push(name);
            }
            world.run_for(millis(100));
        }
    }
}

pub(super) fn changes(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(1_000, 10_000);
    let seconds = bench.times(10, 30) as u64;
    let sent = bench.once(|bench| {
        let mut world = bench.settled(lan(14, nodes, Links::default()));
        calm(bench, &mut world);
        let before = world.total_traffic();
        churn(bench, &mut world, seconds);
        rate(&mut world, &before, secs(seconds))
    });
    let what = format!("goodbyes, f = 5, N = {nodes}, {seconds} s");
    vec![
        Figure::new(what, "B/s", vec![sent])
            .must(Bound::Most(50_000.0))
            .aim(Bound::Most(12_000.0)),
    ]
}

pub(super) fn region_cut(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(400, 2_000);
    let seconds = bench.times(60, 300) as u64;
    let (wrong, most, healed) = bench.once(|bench| cut_one_off(bench, nodes, seconds));
    let minutes = seconds as f64 / 60.0;
    vec![
        Figure::new(
            format!("wrongly dead, cut off for {minutes} min, N = 3 × {nodes}"),
            "",
            vec![wrong],
        )
        .must(Bound::Most(0.0))
        .aim(Bound::Most(0.0)),
        Figure::perhaps("catalogs healed at 99 % of servers", "s", &[healed])
            .must(Bound::Most(10.0))
            .aim(Bound::Most(4.0)),
        Figure::new("busiest client", "B/s", vec![most])
            .must(Bound::Most(50_000.0))
            .aim(Bound::Most(50_000.0)),
    ]
}

/// How many members of three regions are wrongly dead when one was cut off for some time, what the busiest client sent in a
/// second, and how long after it the catalogs took to heal.
fn cut_one_off(bench: &mut Bench, nodes: usize, seconds: u64) -> (f64, f64, Option<f64>) {
    let mut world = bench.settled(regions(15, nodes, 0.0));
    calm(bench, &mut world);
    world.take_ledger();
    world.cut_off("ap-south");
    let before: Vec<Traffic> = world.slots.iter().map(crate::slot::Slot::traffic).collect();
    for second in 0..seconds {
        bench.done(second as usize, seconds as usize, "seconds");
        for _ in 0..10 {
            if let Some(name) = client(&mut world) {
                world.change_record(&name);
            }
            world.run_for(millis(100));
        }
    }
    let wrong = world.ledger().wrong_deaths.about_healthy() as f64;
    let most = world
        .slots
        .iter()
        .zip(&before)
        .filter(|(slot, _)| slot.settings.wan.is_none())
        .map(|(slot, before)| slot.traffic().since(before).total().bytes as f64 / seconds as f64)
        .fold(0.0, f64::max);
    world.heal();
    let mut healed = None;
    for step in 0..1_200u32 {
        if world.catalogs_agree(0.99) {
            healed = Some(f64::from(step) * 0.05);
            break;
        }
        world.run_for(millis(50));
    }
    (wrong, most, healed)
}

pub(super) fn speed(bench: &Bench) -> Vec<Figure> {
    let nodes = bench.size(2_000, 2_000);
    let seconds = bench.times(10, 30) as u64;
    let (took, peak) = bench.once(|bench| {
        forget_peak();
        let mut world = bench.settled(regions(23, nodes, 0.0));
        let began = processor_time();
        churn(bench, &mut world, seconds);
        (processor_time() - began, peak_resident())
    });
    vec![
        Figure::new(
            format!("N = 3 × {nodes}, {seconds} s, time of one core"),
            "×",
            vec![seconds as f64 / took],
        )
        .must(Bound::Least(1.0)),
        Figure::new(
            "resident memory at its peak",
            "GiB",
            vec![peak as f64 / f64::from(1 << 30)],
        ),
    ]
}
