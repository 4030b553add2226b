//! How a federation comes to be: from one seed each, all at once, in a crowd, and over bad links.

use pelago_proto::view::{Reachability, Status};
use pelago_sim::{Links, Plan, World, millis, secs};
use std::collections::BTreeSet;

fn formed(plan: Plan) -> World {
    let mut world = plan.build();
    world.form(secs(10));
    world
}

#[test]
fn three_datacenters_form_from_one_seed_each() {
    let mut world = formed(Plan::federation(1));
    for server in ["eu-west-s1", "us-east-s2", "ap-south-s3"] {
        let view = world.view(server);
        let members: Vec<_> = view
            .datacenters
            .values()
            .flat_map(|datacenter| datacenter.members.iter())
            .collect();
        assert_eq!(members.len(), 15, "{server}");
        assert!(members.iter().all(|member| member.status == Status::Alive));
        let zones: BTreeSet<_> = members
            .iter()
            .map(|member| (&member.region, &member.datacenter, &member.zone))
            .collect();
        assert_eq!(
            zones.len(),
            9,
            "{server} sees three zones in each of three regions"
        );
    }
    let view = world.view("eu-west-c1");
    assert_eq!(
        view.datacenters
            .keys()
            .map(|name| name.as_str())
            .collect::<Vec<_>>(),
        ["eu-west"]
    );
    assert_eq!(view.datacenters["eu-west"].members.len(), 5);
}

#[test]
fn digests_become_equal_and_everything_is_reachable() {
    let mut world = formed(Plan::federation(2));
    world.run_until("all digests agree", secs(5), World::digests_agree);
    world.run_until("links are up", secs(5), |world| {
        world.reachability("eu-west-s2", "ap-south") == Some(Reachability::Reachable)
    });
    assert_eq!(
        world.reachability("eu-west-s2", "eu-west"),
        Some(Reachability::Local)
    );
}

#[test]
fn answers_of_others_stay_fresh_and_become_attested() {
    let mut world = formed(Plan::federation(3));
    world.run_until("attested everywhere", secs(30), |world| {
        world
            .datacenter("us-east-s1", "eu-west")
            .is_some_and(|eu| eu.attested)
    });
    world.run_while("fresh", secs(20), |world| {
        world.servers("us-east").iter().all(|server| {
            world
                .datacenter(server, "eu-west")
                .is_some_and(|eu| eu.age_ms.is_some_and(|age| age < 5_000))
        })
    });
}

#[test]
fn nodes_join_one_after_another() {
    let mut world = Plan::federation(4).build();
    for name in world.everybody() {
        world.start(&name);
        world.run_for(millis(700));
    }
    world.run_until(
        "everybody sees everybody",
        secs(10),
        World::everyone_sees_alive,
    );
}

#[test]
fn a_seed_that_comes_last_is_found() {
    let mut world = Plan::federation(5).build();
    for name in world
        .everybody()
        .iter()
        .filter(|name| !name.ends_with("-s1"))
    {
        world.start(name);
    }
    world.run_for(secs(5));
    for seed in ["eu-west-s1", "us-east-s1", "ap-south-s1"] {
        world.start(seed);
    }
    world.run_until(
        "everybody sees everybody",
        secs(10),
        World::everyone_sees_alive,
    );
}

#[test]
fn sixty_nodes_start_at_once_from_one_seed() {
    let mut world = formed(
        Plan::new(6)
            .datacenter("eu-west")
            .zones(3)
            .racks(4)
            .servers(5)
            .clients(55),
    );
    world.run_until("all digests agree", secs(5), World::digests_agree);
}

#[test]
fn a_crowd_joins_a_running_datacenter_through_a_busy_seed() {
    let mut world = Plan::new(7)
        .datacenter("eu-west")
        .zones(3)
        .racks(4)
        .servers(5)
        .clients(35)
        .build();
    for server in world.servers("eu-west") {
        world.start(&server);
    }
    world.run_until(
        "the servers see each other",
        secs(5),
        World::everyone_sees_alive,
    );
    world.form(secs(10));
}

#[test]
#[ignore = "takes a minute unless optimised: cargo test --release -p pelago-sim -- --ignored"]
fn referrals_do_not_beget_referrals_without_end() {
    const NODES: u64 = 400;
    let mut world = Plan::new(1)
        .datacenter("eu-west")
        .zones(3)
        .racks(7)
        .servers(5)
        .clients(395)
        .build();
    world.forget_events();
    world.start_all();
    world.run_until("everybody sees everybody", secs(30), |world| {
        // A whole roster is about 300 kB: three of them each, and what is asked around them.
        let each = world.total_traffic().lan_streams.bytes / NODES;
        assert!(
            each < 2_000_000,
            "{each} bytes each after {:?}: {:?}",
            world.now(),
            world.total_counts()
        );
        world.everyone_sees_alive()
    });
}

#[test]
fn joining_survives_loss() {
    let mut links = Links::default().losing_on_lan(0.10);
    links.wan = links.wan.losing(0.10);
    formed(Plan::federation(8).links(links));
}

#[test]
fn a_datacenter_nobody_has_heard_of_joins() {
    let plan = Plan::federation(9)
        .datacenter("sa-north")
        .region("america")
        .zones(3)
        .servers(3)
        .clients(2)
        .stranger();
    let mut world = plan.build();
    for datacenter in ["eu-west", "us-east", "ap-south"] {
        world.start_datacenter(datacenter);
    }
    world.run_until(
        "three datacenters see each other",
        secs(10),
        World::everyone_sees_alive,
    );
    world.start_datacenter("sa-north");
    world.run_until(
        "four datacenters see each other",
        secs(10),
        World::everyone_sees_alive,
    );
}
