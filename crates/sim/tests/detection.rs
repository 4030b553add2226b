//! How the end of a process, a host or a conversation is told apart, and how fast.

use pelago_proto::{
    identity::Incarnation,
    view::{EventKind, Status},
};
use pelago_sim::{Plan, World, millis, secs};
use std::{collections::BTreeMap, time::Duration};

/// 1.1 times the default pause tolerance: nobody who may only be pausing is dead before that.
const FLOOR_MS: u64 = 2_200;

fn federation(seed: u64) -> World {
    settled(Plan::federation(seed))
}

fn settled(plan: Plan) -> World {
    let mut world = plan.build();
    world.form(secs(10));
    world.run_for(secs(3));
    world
}

/// Asserts that nobody ever reported a death.
fn nobody_died(world: &mut World) {
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
}

#[test]
fn a_killed_process_is_dead_everywhere_at_once_by_its_closed_port() {
    let mut world = federation(1);
    world.kill("eu-west-s2");
    let took = world.run_until("known in its datacenter", secs(1), |world| {
        world.datacenter_sees("eu-west", "eu-west-s2", Status::Dead)
    });
    assert!(took < millis(500), "took {took:?}");
    world.run_until("known everywhere", secs(2), |world| {
        world.everyone_sees("eu-west-s2", Status::Dead)
    });
    let evidence = world
        .evidence("eu-west-s1", "eu-west-s2")
        .expect("there is evidence");
    assert!(
        evidence
            .accusations
            .iter()
            .filter(|one| one.counts)
            .all(|one| one.basis == "port-closed"),
        "{evidence:?}"
    );
}

#[test]
fn a_killed_client_is_dead_too() {
    let mut world = federation(2);
    world.kill("us-east-c1");
    world.run_until("known everywhere", secs(2), |world| {
        world.everyone_sees("us-east-c1", Status::Dead)
    });
}

#[test]
fn a_lost_host_is_dead_after_the_floor_and_not_before() {
    let mut world = federation(3);
    world.watch("eu-west-s3");
    world.lose_host("eu-west-s3");
    world.run_until("known everywhere", secs(5), |world| {
        world.everyone_sees("eu-west-s3", Status::Dead)
    });
    let dead = world.spread("eu-west-s3", EventKind::Dead);
    let first = dead.first.expect("somebody reported it");
    assert!(first >= millis(FLOOR_MS - 250), "dead after {first:?}");
    let suspect = world.spread("eu-west-s3", EventKind::Suspect);
    assert!(
        suspect.first.is_some_and(|first| first < secs(1)),
        "{suspect:?}"
    );
    let evidence = world
        .evidence("eu-west-c1", "eu-west-s3")
        .expect("there is evidence");
    assert!(
        evidence
            .accusations
            .iter()
            .filter(|one| one.counts)
            .all(|one| one.silent_ms >= FLOOR_MS),
        "{evidence:?}"
    );
}

#[test]
fn pauses_of_two_seconds_kill_nobody() {
    let mut world = federation(4);
    for name in world.everybody() {
        world.pause_for(&name, secs(2));
        world.run_for(millis(2_500));
    }
    world.run_until("everybody is back", secs(5), World::everyone_sees_alive);
    nobody_died(&mut world);
}

#[test]
fn neither_do_pauses_of_several_at_once() {
    let mut world = settled(
        Plan::new(5)
            .datacenter("eu-west")
            .zones(3)
            .racks(2)
            .servers(5)
            .clients(7),
    );
    for round in 0..10 {
        for name in world.everybody().iter().skip(round).step_by(4) {
            world.pause_for(name, secs(2));
        }
        world.run_for(secs(4));
    }
    world.run_until("everybody is back", secs(5), World::everyone_sees_alive);
    nobody_died(&mut world);
}

#[test]
fn a_pause_of_thirty_seconds_is_a_death_and_a_return() {
    let mut world = federation(6);
    let before = world.incarnation("eu-west-s1");
    world.pause_for("eu-west-s1", secs(30));
    world.run_until("it counts as dead", secs(5), |world| {
        world.everyone_sees("eu-west-s1", Status::Dead)
    });
    world.run_for(secs(27));
    world.run_until("it is back", secs(10), World::everyone_sees_alive);
    let after = world.incarnation("eu-west-s1");
    assert!(
        after > before && after.boot == before.boot,
        "{before} {after}"
    );
    assert!(
        world
            .reports(EventKind::Dead)
            .iter()
            .all(|report| report.ends_with(": eu-west-s1")),
        "{}",
        world.report()
    );
}

#[test]
fn of_two_members_neither_can_tell() {
    let mut world = settled(Plan::new(7).datacenter("eu-west").zones(2).servers(2));
    world.lose_host("eu-west-s2");
    world.run_until("out of reach", secs(10), |world| {
        world.sees("eu-west-s1", "eu-west-s2", Status::Unreachable)
    });
    world.run_for(secs(60));
    assert!(
        world.sees("eu-west-s1", "eu-west-s2", Status::Unreachable),
        "{}",
        world.report()
    );
    nobody_died(&mut world);
}

#[test]
fn who_leaves_has_left_everywhere_within_a_second() {
    let mut world = federation(8);
    world.leave("us-east-s2");
    world.run_until("known everywhere", secs(1), |world| {
        world.everyone_sees("us-east-s2", Status::Left)
    });
    world.run_for(secs(10));
    assert!(
        world.everyone_sees("us-east-s2", Status::Left),
        "{}",
        world.report()
    );
    nobody_died(&mut world);
}

#[test]
fn a_restart_is_back_within_two_seconds() {
    let mut world = federation(9);
    let before = world.incarnation("eu-west-s2");
    world.restart("eu-west-s2");
    world.run_until("it is back", secs(2), |world| {
        is_back(world, "eu-west-s2", before)
    });
    world.run_until(
        "it knows everybody again",
        secs(5),
        World::everyone_sees_alive,
    );
}

#[test]
fn so_is_one_that_lost_its_disk() {
    let mut world = federation(10);
    let before = world.incarnation("eu-west-s2");
    world.restart_without_memory("eu-west-s2");
    world.run_until("it is back", secs(2), |world| {
        is_back(world, "eu-west-s2", before)
    });
    world.run_until(
        "it knows everybody again",
        secs(5),
        World::everyone_sees_alive,
    );
}

#[test]
fn so_is_one_that_lost_its_disk_and_was_dead() {
    let mut world = federation(14);
    let before = world.incarnation("eu-west-s2");
    world.kill("eu-west-s2");
    world.run_until("dead", secs(3), |world| {
        world.everyone_sees("eu-west-s2", Status::Dead)
    });
    world.run_for(secs(10));
    world.restart_without_memory("eu-west-s2");
    world.run_until("it is back", secs(2), |world| {
        is_back(world, "eu-west-s2", before)
    });
    world.run_for(secs(10));
    assert!(world.everyone_sees_alive(), "{}", world.report());
}

#[test]
fn so_is_one_that_left() {
    let mut world = federation(11);
    world.leave("ap-south-c2");
    world.run_until("left", secs(1), |world| {
        world.everyone_sees("ap-south-c2", Status::Left)
    });
    world.run_for(secs(5));
    world.start("ap-south-c2");
    world.run_until("it is back", secs(2), World::everyone_sees_alive);
}

#[test]
fn a_clone_is_reported_and_nobody_is_shut_down() {
    let mut world = federation(12);
    let clone = world.start_clone("eu-west-c1");
    world.run_until("the clone is reported", secs(1), |world| {
        world.count(EventKind::Clone) > 0
    });
    // Both signed something: whoever saw it keeps the hashes of both.
    let everybody = world.members("eu-west");
    let seen = everybody.iter().find_map(|viewer| {
        let evidence = world.evidence(viewer, "eu-west-c1")?;
        evidence.clone
    });
    let [one, other] = seen.expect("somebody holds evidence").claims;
    assert_ne!(one, other);
    world.run_for(secs(30));
    nobody_died(&mut world);
    for process in ["eu-west-c1", &clone] {
        assert!(world.view(process).joined);
    }
}

#[test]
fn the_process_that_was_there_first_learns_of_its_clone() {
    let mut world = federation(12);
    world.start_clone("eu-west-c1");
    world.run_until("it reports the clone", secs(30), |world| {
        world
            .events("eu-west-c1")
            .iter()
            .any(|event| event.kind == EventKind::Clone)
    });
}

#[test]
fn a_whole_datacenter_may_lose_power_and_come_back() {
    let mut world = federation(13);
    for name in world.members("eu-west") {
        world.lose_host(&name);
    }
    world.run_for(secs(20));
    world.start_datacenter("eu-west");
    world.run_until("everybody is back", secs(10), World::everyone_sees_alive);
}

/// Whether everybody sees a restarted member alive at a higher boot, and it everybody in its own datacenter.
fn is_back(world: &mut World, whom: &str, before: Incarnation) -> bool {
    let view = world.view(whom);
    let members = world.members(view.datacenter.as_str());
    world.everyone_sees(whom, Status::Alive)
        && members.iter().all(|other| {
            world.sees(whom, other, Status::Alive)
                && world
                    .member(other, whom)
                    .is_some_and(|member| member.incarnation.boot > before.boot)
        })
}

/// Fifty clients and five servers of one datacenter, over five racks.
fn fifty(seed: u64) -> World {
    settled(
        Plan::new(seed)
            .datacenter("solo")
            .zones(1)
            .racks(5)
            .servers(5)
            .clients(50),
    )
}

/// When each onlooker reported deaths, by onlooker.
fn deaths(world: &mut World, lost: &[String]) -> BTreeMap<usize, Vec<Duration>> {
    let mut seen: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for name in lost {
        for (host, at) in world.report_times(name, EventKind::Dead) {
            seen.entry(host).or_default().push(at);
        }
    }
    seen
}

#[test]
fn eight_hosts_lost_at_once_are_one_change_of_the_view() {
    let mut world = fifty(21);
    let lost: Vec<String> = (1..=8).map(|n| format!("solo-c{n}")).collect();
    for name in &lost {
        world.watch(name);
        world.lose_host(name);
    }
    world.run_for(secs(5));
    let seen = deaths(&mut world, &lost);
    assert_eq!(seen.len(), 47, "everybody left reports them");
    for (host, times) in seen {
        assert_eq!(times.len(), 8, "{host} reports each once");
        let (first, last) = (times.iter().min(), times.iter().max());
        assert_eq!(first, last, "{host} shows them together");
    }
}

#[test]
fn a_death_does_not_wait_long_for_a_suspect_who_comes_back() {
    let mut world = fifty(22);
    // Paused from a moment later on and awake again just before its own floor: while it is suspect, a verdict on it may be due.
    world.watch("solo-c1");
    world.lose_host("solo-c1");
    world.run_for(millis(100));
    world.pause_for("solo-c2", millis(2_150));
    world.run_for(secs(5));
    let dead = world.spread("solo-c1", EventKind::Dead);
    let last = dead.all.expect("everybody reports it");
    assert!(last < millis(FLOOR_MS + 400 + 400), "{last:?}");
    assert!(world.everyone_sees("solo-c2", Status::Alive));
    assert_eq!(
        world.reports(EventKind::Dead).len(),
        54,
        "{:?}",
        world.reports(EventKind::Dead)
    );
}
