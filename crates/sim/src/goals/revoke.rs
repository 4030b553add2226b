//! Row 20: how fast a revocation list reaches everybody, clients of other regions among them.

use super::{
    Bound, Figure,
    bench::{Bench, client, ms, regions},
};
use crate::{
    history::Spread,
    script::{millis, secs},
    world::World,
};
use std::time::Duration;

/// Looked at this often, so that much too long is reported at most.
const STEP: Duration = millis(1);
/// A list that somebody lacks after this is lost.
const PATIENCE: Duration = secs(10);

pub(super) fn three_regions(bench: &Bench) -> Vec<Figure> {
    let (nodes, times) = (bench.size(500, 3_334), bench.times(20, 50));
    let groups = bench.each(&[(0.0, 250.0), (0.05, 1_000.0)], |(loss, aim), bench| {
        let mut world = bench.settled(regions(20, nodes, *loss));
        let (mut most, mut all) = (Vec::new(), Vec::new());
        let mut revoked = Vec::new();
        for part in 0..times {
            bench.done(part, times, "revocations");
            let Some((whom, teller)) = client(&mut world).zip(client(&mut world)) else {
                break;
            };
            if whom == teller {
                continue;
            }
            let spread = revocation(&mut world, whom, &teller, &mut revoked);
            most.push(spread.most.map(ms));
            all.push(spread.all.map(ms));
        }
        let what = format!("N = 3 × {nodes}, {} % loss", loss * 100.0);
        let lost = all.iter().filter(|one| one.is_none()).count();
        [
            Figure::perhaps(format!("99 %, {what}"), "ms", &most)
                .must(Bound::P99(10_000.0))
                .aim(Bound::P99(*aim)),
            Figure::perhaps(format!("100 %, {what}"), "ms", &all),
            Figure::new(
                format!("lists that somebody lacks after 10 s, {what}"),
                "",
                vec![lost as f64],
            )
            .must(Bound::Most(0.0))
            .aim(Bound::Most(0.0)),
        ]
    });
    groups.into_iter().flatten().collect()
}

/// One more client is revoked: its region's next list, which names those before as well, is handed to a client of any region.
fn revocation(
    world: &mut World,
    whom: String,
    teller: &str,
    revoked: &mut Vec<(String, String)>,
) -> Spread {
    let host = world.host(&whom);
    let region = world.slots[host].who.datacenter.to_string();
    revoked.push((region.clone(), whom.clone()));
    let of_region = revoked.iter().filter(|(of, _)| *of == region);
    let names: Vec<&str> = of_region.map(|(_, name)| name.as_str()).collect();
    let list = world.revocation(&names, 1 + names.len() as u64);
    let began = world.now;
    let _ = world.hand_in_list(&list, teller);
    let others = (0..world.slots.len()).filter(|at| *at != host);
    let mut waiting: Vec<usize> = others
        .filter(|at| world.slots[*at].process.is_some())
        .collect();
    let (count, mut times) = (waiting.len(), Vec::new());
    while !waiting.is_empty() && world.now.since(began) < PATIENCE {
        let before = waiting.len();
        waiting.retain(|at| !world.holds_list(&world.slots[*at].name, &list));
        let took = world.now.since(began);
        times.extend(std::iter::repeat_n(took, before - waiting.len()));
        world.run_for(STEP);
    }
    world.kill(&whom);
    world.run_for(secs(4));
    Spread::new(times, count)
}
