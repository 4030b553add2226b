//! Who is removed is gone everywhere, loses its voice at once, and does not come back while the removal lasts.

use pelago_proto::{
    federation::{RemovalError, Tier},
    view::{EventKind, Status},
};
use pelago_sim::{Plan, World, millis, secs};

fn gone(world: &mut World, whom: &str) {
    world.run_until("it is removed everywhere", secs(1), |world| {
        world.everyone_sees(whom, Status::Removed)
    });
}

/// Nobody shows it in any other way, whatever happens meanwhile.
fn stays_gone(world: &mut World, whom: &str) {
    world.run_while("it stays removed", secs(30), |world| {
        world.everyone_sees(whom, Status::Removed)
    });
}

/// An elected server: it loses its seat to another, and says nothing any more.
#[test]
fn a_removed_member_is_removed_everywhere_and_falls_silent() {
    let mut world = World::settled(Plan::federation(1));
    let seat = world
        .elected("eu-west-c1", "eu-west")
        .pop_first()
        .expect("somebody sits");
    world.remove(&seat, "eu-west-c1");
    gone(&mut world, &seat);
    let own = world.status(&seat, &seat);
    assert_eq!(own, Some(Status::Removed), "it knows");
    let said = |world: &World| {
        let sent = world.traffic(&seat);
        (sent.lan, sent.wan, sent.signed)
    };
    let before = said(&world);
    stays_gone(&mut world, &seat);
    assert_eq!(said(&world), before, "it is silent");
    let elected = world.elected("us-east-s1", "eu-west");
    assert!(
        !elected.is_empty() && !elected.contains(&seat),
        "{elected:?}"
    );
    for kind in [EventKind::Suspect, EventKind::Dead] {
        assert_eq!(
            world.reports(kind),
            Vec::<String>::new(),
            "{}",
            world.report()
        );
    }
    world.kill(&seat);
    world.run_until("all digests agree", secs(5), World::digests_agree);
    let why = world.evidence("ap-south-s1", &seat).expect("known");
    assert_eq!(
        why.removal.map(|it| it.operator_name.to_string()),
        Some("operator".into())
    );
}

#[test]
fn neither_its_memory_nor_the_lack_of_one_brings_it_back() {
    let mut world = World::settled(Plan::federation(2));
    world.remove("eu-west-c2", "eu-west-s1");
    gone(&mut world, "eu-west-c2");
    world.restart("eu-west-c2");
    stays_gone(&mut world, "eu-west-c2");
    world.restart_without_memory("eu-west-c2");
    stays_gone(&mut world, "eu-west-c2");
    let own = world.status("eu-west-c2", "eu-west-c2");
    assert_eq!(own, Some(Status::Removed), "its seeds told it");
    let joined: Vec<_> = world.reports(EventKind::Alive);
    assert_eq!(joined, Vec::<String>::new(), "{}", world.report());
}

#[test]
fn it_is_told_when_it_was_not_there() {
    let mut world = World::settled(Plan::federation(3));
    world.kill("eu-west-s2");
    world.run_until("it is dead", secs(5), |world| {
        world.everyone_sees("eu-west-s2", Status::Dead)
    });
    world.remove("eu-west-s2", "eu-west-s1");
    gone(&mut world, "eu-west-s2");
    world.start("eu-west-s2");
    world.run_until("it knows", secs(3), |world| {
        world.sees("eu-west-s2", "eu-west-s2", Status::Removed)
    });
    stays_gone(&mut world, "eu-west-s2");
}

/// The other side knows nothing of it, and shows it alive with good reason; after the cut its word weighs nothing.
#[test]
fn the_other_side_of_a_cut_does_not_bring_it_back() {
    let mut world = World::settled(
        Plan::new(4)
            .datacenter("eu-west")
            .zones(3)
            .servers(6)
            .clients(2),
    );
    let (this, that) = (
        ["eu-west-s1", "eu-west-s2", "eu-west-s3", "eu-west-c1"],
        ["eu-west-s4", "eu-west-s5", "eu-west-s6", "eu-west-c2"],
    );
    world.split(Tier::Lan, &this, &that);
    world.run_for(secs(10));
    world.remove("eu-west-s6", "eu-west-s1");
    world.run_until("this side knows", secs(1), |world| {
        this.iter()
            .all(|viewer| world.sees(viewer, "eu-west-s6", Status::Removed))
    });
    world.change_record("eu-west-s6");
    world.run_for(secs(5));
    assert!(world.sees("eu-west-s4", "eu-west-s6", Status::Alive));
    world.heal();
    world.run_until("it is removed everywhere", secs(10), |world| {
        world.everyone_sees("eu-west-s6", Status::Removed)
            && world.sees("eu-west-s6", "eu-west-s6", Status::Removed)
    });
    stays_gone(&mut world, "eu-west-s6");
    world.kill("eu-west-s6");
    world.run_until("all digests agree", secs(10), World::digests_agree);
}

#[test]
fn a_second_process_with_its_key_is_removed_as_well() {
    let mut world = World::settled(Plan::federation(5));
    world.remove("us-east-c1", "us-east-s1");
    gone(&mut world, "us-east-c1");
    let clone = world.start_clone("us-east-c1");
    world.run_until("the clone knows", secs(3), |world| {
        world.sees(&clone, &clone, Status::Removed)
    });
    stays_gone(&mut world, "us-east-c1");
}

/// What everybody kept on disk is enough: nobody remembers anything else.
#[test]
fn a_datacenter_that_starts_again_as_a_whole_still_knows() {
    let mut world = World::settled(
        Plan::new(6)
            .datacenter("eu-west")
            .zones(3)
            .servers(3)
            .clients(3),
    );
    world.remove("eu-west-c3", "eu-west-c2");
    gone(&mut world, "eu-west-c3");
    for name in world.everybody() {
        world.kill(&name);
    }
    world.run_for(secs(60));
    world.start_all();
    let others = ["s1", "s2", "s3", "c1", "c2"].map(|name| format!("eu-west-{name}"));
    world.run_until("everybody else is back", secs(10), |world| {
        let sees = |world: &mut World, viewer: &String| {
            others
                .iter()
                .all(|whom| world.sees(viewer, whom, Status::Alive))
        };
        others.iter().all(|viewer| sees(world, viewer))
    });
    world.run_until("it is told", secs(3), |world| {
        world.sees("eu-west-c3", "eu-west-c3", Status::Removed)
    });
    let joined = world.reports(EventKind::Joined);
    let by_others =
        |report: &&String| report.ends_with(": eu-west-c3") && !report.starts_with("eu-west-c3");
    assert_eq!(
        joined.iter().filter(by_others).count(),
        5,
        "before, and never again: {joined:?}"
    );
}

/// A node that comes later takes nobody's word for somebody removed long before.
#[test]
fn newcomers_learn_it_with_the_roster() {
    let mut world = World::settled(Plan::federation(7));
    world.kill("ap-south-s3");
    world.run_until("it is dead", secs(5), |world| {
        world.everyone_sees("ap-south-s3", Status::Dead)
    });
    world.remove("ap-south-c1", "ap-south-s1");
    gone(&mut world, "ap-south-c1");
    world.kill("ap-south-c1");
    world.restart_without_memory("ap-south-s3");
    world.run_until("it knows", secs(3), |world| {
        world.sees("ap-south-s3", "ap-south-c1", Status::Removed)
    });
    world.run_until("all digests agree", secs(5), World::digests_agree);
    let joined = world.reports(EventKind::Joined);
    let by_newcomer = |report: &&String| *report == "ap-south-s3: ap-south-c1";
    assert_eq!(
        joined.iter().filter(by_newcomer).count(),
        1,
        "in its first life only: {joined:?}"
    );
}

#[test]
fn any_server_anywhere_takes_it() {
    let mut world = World::settled(Plan::federation(8));
    for (whom, teller) in [("eu-west-c1", "us-east-s1"), ("eu-west-c2", "ap-south-s3")] {
        world.remove(whom, teller);
        gone(&mut world, whom);
        world.kill(whom);
    }
    let abroad = world.sign_removal("us-east-c1", "us-east");
    assert!(
        matches!(
            world.hand_in(&abroad, "ap-south-c1"),
            Err(RemovalError::NoWay(_))
        ),
        "a client knows nothing of other datacenters"
    );
    let foreign = world.sign_removal("us-east-c1", "eu-west");
    assert!(
        matches!(
            world.hand_in(&foreign, "us-east-s1"),
            Err(RemovalError::Elsewhere { .. })
        ),
        "an operator decides about its own datacenter"
    );
    world.run_for(secs(5));
    assert!(world.everyone_sees("us-east-c1", Status::Alive));
}

#[test]
fn losses_delay_it_and_nothing_else() {
    let mut world = World::settled(Plan::federation(9));
    for name in world.everybody() {
        world.make_lossy(&name, 0.3);
    }
    world.remove("us-east-c2", "us-east-s2");
    world.run_until("it is removed everywhere", secs(10), |world| {
        world.everyone_sees("us-east-c2", Status::Removed)
    });
}

/// Operators may say it twice, and the one that lasts longest holds for all.
#[test]
fn several_removals_of_one_member_become_one() {
    let mut world = World::settled(Plan::federation(10));
    let early = world.sign_removal("eu-west-c1", "eu-west");
    world.run_for(millis(1_500));
    let late = world.sign_removal("eu-west-c1", "eu-west");
    world.hand_in(&late, "eu-west-s1").expect("taken");
    world.hand_in(&early, "eu-west-s3").expect("taken");
    gone(&mut world, "eu-west-c1");
    world.kill("eu-west-c1");
    world.run_until("all digests agree", secs(5), World::digests_agree);
    let until = |world: &World, viewer| {
        let why = world.evidence(viewer, "eu-west-c1").expect("known");
        why.removal.expect("removed").until
    };
    assert_eq!(until(&world, "eu-west-s1"), until(&world, "us-east-s3"));
}
