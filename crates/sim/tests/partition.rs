//! What each side of a cut may claim, and how views become one again.

use pelago_proto::{
    federation::Tier,
    view::{EventKind, Reachability, Status},
};
use pelago_sim::{Plan, World, secs};

/// Two datacenters, one of which is made as said.
fn beside(seed: u64, zones: usize, servers: usize, clients: usize) -> World {
    World::settled(
        Plan::new(seed)
            .datacenter("eu-west")
            .zones(zones)
            .servers(servers)
            .clients(clients)
            .datacenter("us-east")
            .zones(3)
            .servers(3),
    )
}

fn all_see(world: &mut World, viewers: &[&str], whom: &[&str], status: Status) -> bool {
    viewers
        .iter()
        .all(|viewer| whom.iter().all(|whom| world.sees(viewer, whom, status)))
}

fn healed(world: &mut World) {
    world.heal();
    let all = world.run_until(
        "everybody sees everybody again",
        secs(10),
        World::everyone_sees_alive,
    );
    world.run_until("all digests agree", secs(10) - all, World::digests_agree);
}

#[test]
fn the_larger_part_declares_the_smaller_one_dead_and_not_the_other_way_round() {
    two_against_three(1);
}

/// With this seed a standby is in the smaller part and takes a seat there: the new record it signs, which the larger
/// part cannot hear of, must not undo the larger part's verdict elsewhere.
#[test]
fn a_seat_taken_in_the_smaller_part_revives_nobody_elsewhere() {
    two_against_three(101);
}

fn two_against_three(seed: u64) {
    let mut world = beside(seed, 3, 5, 0);
    let (two, three) = (
        ["eu-west-s1", "eu-west-s2"],
        ["eu-west-s3", "eu-west-s4", "eu-west-s5"],
    );
    world.split(Tier::Lan, &two, &three);
    world.run_until("three declare two dead", secs(10), |world| {
        all_see(world, &three, &two, Status::Dead)
    });
    world.run_until("two see three unreachable", secs(10), |world| {
        all_see(world, &two, &three, Status::Unreachable)
    });
    let elsewhere = ["us-east-s1", "us-east-s2", "us-east-s3"];
    world.run_until("others follow the three", secs(10), |world| {
        all_see(world, &elsewhere, &two, Status::Dead)
            && all_see(world, &elsewhere, &three, Status::Alive)
    });
    world.run_for(secs(20));
    assert!(
        all_see(&mut world, &two, &three, Status::Unreachable),
        "{}",
        world.report()
    );
    assert!(
        all_see(&mut world, &elsewhere, &three, Status::Alive),
        "{}",
        world.report()
    );
    healed(&mut world);
}

#[test]
fn equal_halves_kill_nobody() {
    let mut world = beside(2, 2, 4, 0);
    let (left, right) = (["eu-west-s1", "eu-west-s3"], ["eu-west-s2", "eu-west-s4"]);
    world.split(Tier::Lan, &left, &right);
    world.run_until("both out of reach", secs(10), |world| {
        all_see(world, &left, &right, Status::Unreachable)
            && all_see(world, &right, &left, Status::Unreachable)
    });
    world.run_for(secs(20));
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
    healed(&mut world);
}

#[test]
fn neither_do_two_members_that_lost_each_other() {
    let mut world = beside(3, 2, 2, 0);
    world.split(Tier::Lan, &["eu-west-s1"], &["eu-west-s2"]);
    world.run_until("both out of reach", secs(10), |world| {
        world.sees("eu-west-s1", "eu-west-s2", Status::Unreachable)
            && world.sees("eu-west-s2", "eu-west-s1", Status::Unreachable)
    });
    world.run_for(secs(20));
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
    healed(&mut world);
}

#[test]
fn a_datacenter_cut_off_is_unreachable_and_lives_on() {
    let mut world = World::settled(Plan::federation(4));
    world.cut_off("eu-west");
    world.run_until("out of reach", secs(20), |world| {
        world.reachability("us-east-s1", "eu-west") == Some(Reachability::Unreachable)
            && world.reachability("eu-west-s1", "us-east") == Some(Reachability::Unreachable)
    });
    world.leave("eu-west-c2");
    world.run_until("life goes on inside", secs(1), |world| {
        world.datacenter_sees("eu-west", "eu-west-c2", Status::Left)
    });
    world.run_for(secs(40));
    let eu = world
        .datacenter("us-east-s1", "eu-west")
        .expect("still known");
    assert_eq!(
        eu.members
            .iter()
            .filter(|member| member.status == Status::Alive)
            .count(),
        5
    );
    assert!(eu.age_ms > Some(40_000), "age {:?}", eu.age_ms);
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
    healed(&mut world);
}

#[test]
fn a_cut_between_two_of_three_is_bridged_by_the_third() {
    let mut world = World::settled(Plan::federation(5));
    world.cut_between("eu-west", "us-east");
    world.run_until("degraded", secs(20), |world| {
        world.reachability("us-east-s1", "eu-west") == Some(Reachability::Degraded)
            && world.reachability("eu-west-s2", "us-east") == Some(Reachability::Degraded)
    });
    world.kill("eu-west-c1");
    world.run_until("news still arrive", secs(10), |world| {
        world.everyone_sees("eu-west-c1", Status::Dead)
    });
    world.run_while("fresh", secs(20), |world| {
        world.datacenter("us-east-s1", "eu-west").is_some_and(|eu| {
            eu.age_ms.is_some_and(|age| age < 10_000) && eu.reachability == Reachability::Degraded
        })
    });
    world.start("eu-west-c1");
    healed(&mut world);
    world.run_until("direct again", secs(10), |world| {
        world.reachability("us-east-s1", "eu-west") == Some(Reachability::Reachable)
    });
}

#[test]
fn a_one_way_cut_of_one_link_kills_nobody() {
    let mut world = beside(6, 3, 5, 0);
    world.cut_one_way(Tier::Lan, &["eu-west-s1"], &["eu-west-s2"]);
    world.run_for(secs(30));
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
    healed(&mut world);
}
