//! Who sits in the WAN pool: enough, not too many, spread, and known to everybody.

use pelago_proto::view::{Reachability, Status};
use pelago_sim::{Plan, World, secs};
use std::collections::BTreeSet;

/// A datacenter of five servers in three zones, and one that watches.
fn five(seed: u64) -> Plan {
    Plan::new(seed)
        .datacenter("eu-west")
        .zones(3)
        .servers(5)
        .datacenter("us-east")
        .zones(3)
        .servers(3)
}

fn settled(plan: Plan) -> World {
    let mut world = plan.build();
    world.form(secs(10));
    seats(&mut world, 3);
    world
}

/// The seats of eu-west, once everybody agrees on so many, for good.
fn seats(world: &mut World, count: usize) -> BTreeSet<String> {
    world.run_until("everybody agrees on the seats", secs(10), |world| {
        world
            .agreed_seats("eu-west")
            .is_some_and(|seats| seats.len() == count)
            && world.agreed_seats("eu-west").as_ref()
                == Some(&world.elected("us-east-s1", "eu-west"))
    });
    world.elected("us-east-s1", "eu-west")
}

fn zones(world: &mut World, names: &BTreeSet<String>) -> usize {
    let zone = |name: &String| world.member("us-east-s1", name).map(|member| member.zone);
    names.iter().filter_map(zone).collect::<BTreeSet<_>>().len()
}

#[test]
fn three_of_five_servers_sit_spread_over_the_zones() {
    let mut world = settled(five(1));
    let seats = seats(&mut world, 3);
    assert_eq!(zones(&mut world, &seats), 3, "{seats:?}");
}

#[test]
fn never_more_than_three_when_quiet() {
    let mut world = settled(five(2));
    world.run_for(secs(5));
    let before = seats(&mut world, 3);
    world.run_while("three sit, the same three", secs(60), |world| {
        world
            .everybody()
            .iter()
            .all(|viewer| world.elected(viewer, "eu-west") == before)
    });
}

#[test]
fn a_standby_takes_the_seat_of_one_that_was_killed() {
    let mut world = settled(five(3));
    let gone = seats(&mut world, 3).pop_first().expect("three sit");
    world.kill(&gone);
    world.run_until("a standby sits", secs(10), |world| {
        world
            .agreed_seats("eu-west")
            .is_some_and(|seats| seats.len() == 3 && !seats.contains(&gone))
    });
}

#[test]
fn and_of_one_whose_host_was_lost() {
    let mut world = settled(five(4));
    let gone = seats(&mut world, 3).pop_last().expect("three sit");
    world.lose_host(&gone);
    world.run_until("a standby sits", secs(10), |world| {
        world
            .agreed_seats("eu-west")
            .is_some_and(|seats| seats.len() == 3 && !seats.contains(&gone))
    });
    world.start(&gone);
    world.run_until("it is back", secs(5), World::everyone_sees_alive);
    world.run_for(secs(40));
    let seats = seats(&mut world, 3);
    assert_eq!(zones(&mut world, &seats), 3, "{seats:?}");
}

#[test]
fn two_of_three_killed_at_once_leave_the_datacenter_answering() {
    let mut world = settled(five(5));
    let gone: Vec<String> = seats(&mut world, 3).into_iter().take(2).collect();
    gone.iter().for_each(|name| world.kill(name));
    world.run_while("fresh outside", secs(20), |world| {
        world
            .datacenter("us-east-s1", "eu-west")
            .is_some_and(|eu| eu.age_ms.is_some_and(|age| age < 10_000))
            && world.reachability("us-east-s1", "eu-west") != Some(Reachability::Unreachable)
    });
    for name in &gone {
        assert!(
            world.everyone_sees(name, Status::Dead),
            "{}",
            world.report()
        );
    }
    seats(&mut world, 3);
}

#[test]
fn a_datacenter_that_knows_only_standbys_gets_in() {
    // The same seed and the same first nodes make the same world: look who stands by, then join through them.
    let mut rehearsal = settled(five(6));
    let sitting = seats(&mut rehearsal, 3);
    let standby: Vec<String> = rehearsal
        .servers("eu-west")
        .into_iter()
        .filter(|name| !sitting.contains(name))
        .collect();
    let standby: Vec<&str> = standby.iter().map(String::as_str).collect();

    let mut world = five(6)
        .datacenter("ap-south")
        .zones(3)
        .servers(3)
        .wan_join(&standby)
        .build();
    world.start_datacenter("eu-west");
    world.start_datacenter("us-east");
    world.run_until("two see each other", secs(10), World::everyone_sees_alive);
    assert_eq!(seats(&mut world, 3), sitting);
    world.start_datacenter("ap-south");
    world.run_until("three see each other", secs(10), World::everyone_sees_alive);
}

#[test]
fn one_seat_is_enough() {
    let mut world = Plan::new(7)
        .datacenter("eu-west")
        .zones(3)
        .servers(3)
        .seats(1)
        .datacenter("us-east")
        .zones(3)
        .servers(3)
        .seats(1)
        .build();
    world.form(secs(10));
    let gone = seats(&mut world, 1).pop_first().expect("one sits");
    world.kill(&gone);
    world.run_until("another sits", secs(10), |world| {
        world
            .agreed_seats("eu-west")
            .is_some_and(|seats| seats.len() == 1 && !seats.contains(&gone))
    });
    world.run_until("its death is known abroad", secs(10), |world| {
        world.everyone_sees(&gone, Status::Dead)
    });
}
