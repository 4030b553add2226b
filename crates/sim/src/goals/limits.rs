//! How far the default limits are above what honest traffic needs: the same busy times with ever smaller budgets, until
//! something is dropped. The first share that drops says how much room there is.

use super::{
    bench::{Bench, regions},
    load::churn,
};
use crate::{
    report::{number, sheet},
    script::{millis, secs},
    world::World,
};
use pelago_proto::federation::Tier;
use serde::Serialize;
use std::collections::BTreeMap;

/// The budgets whose drops are counted, by the reason they are counted under.
const BUDGETS: [&str; 3] = ["signer_budget", "relay_budget", "introduction_budget"];
/// Shares of the defaults, as one over these.
const SHARES: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// What one share of the defaults drops in one busy time.
#[derive(Clone, Debug, Serialize)]
pub struct Room {
    /// What happens.
    pub busy: &'static str,
    /// The defaults divided by this.
    pub divided_by: u32,
    /// Claims and introductions dropped, in the order of [`BUDGETS`].
    pub dropped: [u64; 3],
}

type Busy = fn(&mut Bench, &mut World);

/// Tries every share in three datacenters of so many nodes.
pub fn limits(bench: &Bench, nodes: usize) -> Vec<Room> {
    let times: [(&str, bool, Busy); 4] = [
        ("all start at once", true, start),
        ("10 changes a second", false, |bench, world| {
            churn(bench, world, 20)
        }),
        ("a cut heals between datacenters", false, heal_wan),
        ("a cut heals inside a datacenter", false, heal_lan),
    ];
    let runs: Vec<_> = times
        .into_iter()
        .flat_map(|time| SHARES.map(|share| (time, share)))
        .collect();
    bench.each(&runs, |((busy, fresh, happens), share), bench| {
        let part = 1.0 / f64::from(*share);
        let plan = regions(31, nodes, 0.0).tune(move |settings| {
            settings.limits = settings.limits * part;
        });
        let mut world = if *fresh {
            plan.build()
        } else {
            bench.settled(plan)
        };
        let before = world.total_drops();
        happens(bench, &mut world);
        let after = world.total_drops();
        Room {
            busy,
            divided_by: *share,
            dropped: BUDGETS.map(|budget| {
                let of = |drops: &BTreeMap<String, u64>| drops.get(budget).copied().unwrap_or(0);
                of(&after) - of(&before)
            }),
        }
    })
}

/// The table for people.
pub fn table(rooms: &[Room]) -> String {
    let rows: Vec<Vec<String>> = rooms
        .iter()
        .map(|room| {
            let mut row = vec![room.busy.to_owned(), format!("1/{}", room.divided_by)];
            row.extend(room.dropped.map(|count| number(count as f64)));
            row
        })
        .collect();
    let mut head = vec!["", "of the defaults"];
    head.extend(BUDGETS);
    sheet(&head, &rows)
}

fn start(_: &mut Bench, world: &mut World) {
    world.start_all();
    world.run_for(secs(20));
}

fn heal_wan(_: &mut Bench, world: &mut World) {
    world.cut_off("ap-south");
    changes(world);
    world.heal();
    world.run_for(secs(15));
}

fn heal_lan(_: &mut Bench, world: &mut World) {
    let names = world.members("ap-south");
    let (left, right) = names.split_at(names.len() / 2);
    world.split(Tier::Lan, left, right);
    changes(world);
    world.heal();
    world.run_for(secs(15));
}

/// A hundred records change while the cut lasts.
fn changes(world: &mut World) {
    let names = world.members("ap-south");
    for name in names.iter().cycle().take(100) {
        world.change_record(name);
        world.run_for(millis(100));
    }
}
