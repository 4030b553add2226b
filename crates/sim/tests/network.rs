//! What the network does to packets, and what the federation makes of it.

use pelago_proto::{federation::Tier, view::EventKind, view::Status};
use pelago_sim::{Burst, Link, Links, Plan, Shape, World, millis, secs};

fn settled(plan: Plan) -> World {
    let mut world = plan.build();
    world.form(secs(20));
    world.run_for(secs(3));
    world
}

fn nobody_died(world: &mut World) {
    let deaths = world.reports(EventKind::Dead);
    assert!(deaths.is_empty(), "{deaths:?}\n{}", world.report());
}

#[test]
fn bursts_duplicates_and_late_packets_kill_nobody() {
    let mut rough = Link::new(millis(1));
    rough.shape = Shape::Pareto;
    rough.jitter = 1.0;
    rough.reorder = 0.2;
    rough.duplicate = 0.1;
    rough.burst = Some(Burst {
        every: secs(10),
        lasting: millis(300),
        loss: 0.9,
    });
    let mut links = Links::default().lan(rough);
    links.wan = Link {
        one_way: millis(60),
        ..rough
    };
    let mut world = settled(Plan::federation(21).links(links));
    world.run_for(secs(120));
    nobody_died(&mut world);
    world.run_until("all are alive again", secs(5), World::everyone_sees_alive);
}

#[test]
fn who_is_starved_is_suspected_and_accuses_nobody_to_death() {
    let mut world = settled(
        Plan::new(22)
            .datacenter("eu-west")
            .zones(3)
            .racks(2)
            .servers(5)
            .clients(11),
    );
    // A quarter of all nodes, longer than any pause is tolerated: only they may die.
    let starved = ["eu-west-c1", "eu-west-c4", "eu-west-c7", "eu-west-c10"];
    for name in starved {
        world.starve_for(name, secs(8));
    }
    world.run_until("a starved node counts as dead", secs(6), |world| {
        world.sees("eu-west-s1", "eu-west-c1", Status::Dead)
    });
    world.run_until("they are back", secs(20), World::everyone_sees_alive);
    let deaths = world.reports(EventKind::Dead);
    assert!(
        deaths.iter().all(|death| starved
            .iter()
            .any(|name| death.ends_with(&format!(": {name}")))),
        "{deaths:?}"
    );
}

#[test]
fn swizzle_clogging_delays_and_kills_nobody_within_the_tolerance() {
    let mut world = settled(Plan::federation(23));
    for _ in 0..5 {
        let names = world.everybody();
        world.swizzle(&names[..5], millis(1_900));
        world.run_for(secs(6));
    }
    world.run_until("all are alive again", secs(5), World::everyone_sees_alive);
    nobody_died(&mut world);
}

#[test]
fn one_of_two_cuts_can_be_healed() {
    let mut world = settled(Plan::federation(24));
    let (west, east) = (world.members("eu-west"), world.members("us-east"));
    let cuts = [
        world.cut_one_way(Tier::Wan, &west, &east),
        world.cut_one_way(Tier::Wan, &east, &west),
    ];
    world.run_for(secs(5));
    for cut in cuts {
        world.heal_one(cut);
    }
    world.run_until(
        "everybody is reachable",
        secs(15),
        World::everyone_sees_alive,
    );
    nobody_died(&mut world);
}

#[test]
fn a_narrow_link_between_two_datacenters_slows_them_down_and_no_more() {
    let narrow = Link {
        rate: Some(20_000),
        ..Link::new(millis(120))
    };
    let mut world = settled(Plan::federation(25).between("eu-west", "us-east", narrow));
    world.kill("eu-west-c1");
    world.run_until("known everywhere", secs(5), |world| {
        world.everyone_sees("eu-west-c1", Status::Dead)
    });
}
