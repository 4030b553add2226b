//! A revocation list reaches everybody from whomever it is handed to, and whom it names is gone at once, whatever happens on
//! the way.

use pelago_proto::{
    federation::{ListError, Tier},
    trust::Refusal,
    view::{EventKind, Status},
};
use pelago_sim::{Plan, World, millis, secs};

fn all_names(world: &World) -> Vec<String> {
    let datacenters = ["eu-west", "us-east", "ap-south"];
    datacenters
        .iter()
        .flat_map(|datacenter| world.members(datacenter))
        .collect()
}

/// Everybody but these holds the list.
fn everybody_holds(world: &World, list: &[u8], but: &[&str]) -> bool {
    let names = all_names(world);
    let mut others = names.iter().filter(|name| !but.contains(&name.as_str()));
    others.all(|name| world.holds_list(name, list))
}

/// Nobody shows it any more, in any way.
fn gone(world: &mut World, whom: &str) -> bool {
    let names = all_names(world);
    let mut others = names.iter().filter(|name| *name != whom);
    others.all(|name| world.status(name, whom).is_none())
}

/// Handed to a client of one datacenter it is soon with the clients of all others, and the elected server that it names has
/// neither its place nor its seat.
#[test]
fn a_list_handed_to_any_client_reaches_everybody_within_a_second() {
    let mut world = World::settled(Plan::federation(1));
    let seat = world
        .elected("eu-west-c1", "eu-west")
        .pop_first()
        .expect("somebody sits");
    let list = world.revoke(&seat, "us-east-c1", 2);
    world.run_until("everybody holds it", secs(1), |world| {
        everybody_holds(world, &list, &[&seat])
    });
    assert!(gone(&mut world, &seat), "{}", world.report());
    world.run_while("it stays gone", secs(30), |world| gone(world, &seat));
    let elected = world.elected("us-east-s1", "eu-west");
    assert!(
        elected.len() == 2 && !elected.contains(&seat),
        "{elected:?}"
    );
    world.kill(&seat);
    world.run_until("all digests agree", secs(5), World::digests_agree);
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
}

#[test]
fn one_list_after_the_other_reaches_everybody_through_loss() {
    let mut world = World::settled(Plan::federation(2));
    for name in all_names(&world) {
        world.make_lossy(&name, 0.05);
    }
    for (number, whom) in ["eu-west-c1", "eu-west-c2"].into_iter().enumerate() {
        let names: Vec<&str> = ["eu-west-c1", "eu-west-c2"][..=number].to_vec();
        let list = world.revocation(&names, 2 + number as u64);
        world.hand_in_list(&list, "ap-south-s2").expect("taken");
        world.run_until("everybody holds it", secs(3), |world| {
            everybody_holds(world, &list, &names)
        });
        let viewers = ["eu-west-s1", "us-east-s1", "ap-south-s3"];
        let unknown = |viewer| world.status(viewer, whom).is_none();
        assert!(viewers.into_iter().all(unknown));
    }
}

#[test]
fn whoever_was_cut_off_for_five_minutes_learns_of_it_after_healing() {
    let mut world = World::settled(Plan::federation(3));
    let lone = ["eu-west-c2"];
    let names = all_names(&world);
    let others: Vec<String> = names.into_iter().filter(|name| name != lone[0]).collect();
    world.split(Tier::Lan, &lone, &others);
    let list = world.revoke("eu-west-s3", "eu-west-s1", 2);
    world.run_for(secs(300));
    assert!(!world.holds_list(lone[0], &list));
    world.heal();
    world.run_until("it knows", secs(15), |world| {
        world.holds_list(lone[0], &list) && world.status(lone[0], "eu-west-s3").is_none()
    });
}

/// A whole datacenter without any link to the others meanwhile.
#[test]
fn a_datacenter_that_was_cut_off_for_five_minutes_learns_of_it_after_healing() {
    let mut world = World::settled(Plan::federation(4));
    let names = all_names(&world);
    let (home, abroad): (Vec<String>, Vec<String>) = names
        .into_iter()
        .partition(|name| name.starts_with("ap-south"));
    world.split(Tier::Wan, &home, &abroad);
    let list = world.revoke("eu-west-s3", "eu-west-s1", 2);
    world.run_for(secs(300));
    assert!(home.iter().all(|name| !world.holds_list(name, &list)));
    world.heal();
    world.run_until("all of it knows", secs(15), |world| {
        home.iter().all(|name| world.holds_list(name, &list))
    });
    assert_eq!(world.status("ap-south-s1", "eu-west-s3"), None);
}

#[test]
fn a_list_outlives_restarts_and_reaches_newcomers() {
    let mut world = World::settled(Plan::federation(5));
    world.kill("eu-west-c1");
    let list = world.revoke("eu-west-s3", "eu-west-s1", 2);
    world.run_until("everybody holds it", secs(1), |world| {
        everybody_holds(world, &list, &["eu-west-s3", "eu-west-c1"])
    });
    world.start("eu-west-c1");
    world.run_until("who was down holds it", secs(8), |world| {
        world.holds_list("eu-west-c1", &list)
    });
    // It is on everybody's disk: all may restart at once.
    for name in all_names(&world) {
        world.kill(&name);
    }
    world.run_for(secs(1));
    for name in all_names(&world) {
        if name != "eu-west-s3" {
            world.start(&name);
            assert!(world.holds_list(&name, &list), "{name}");
        }
    }
    world.run_for(secs(10));
    // Whoever lost its disk is told again.
    world.restart_without_memory("us-east-c2");
    assert!(!world.holds_list("us-east-c2", &list));
    world.run_until("it holds it again", secs(8), |world| {
        world.holds_list("us-east-c2", &list)
    });
}

/// It fits no datagram: word of it spreads, and everybody fetches it.
#[test]
fn a_list_of_sixty_kilobytes_reaches_everybody_over_streams() {
    let mut world = World::settled(Plan::federation(6));
    let list = world.large_revocation("eu-west-s3", 2, 60 * 1024);
    assert!(list.len() > 60 * 1024);
    world.hand_in_list(&list, "us-east-c2").expect("taken");
    world.run_until("everybody holds it", secs(4), |world| {
        everybody_holds(world, &list, &["eu-west-s3"])
    });
    assert!(gone(&mut world, "eu-west-s3"));
    let larger = world.large_revocation("eu-west-s2", 3, 64 * 1024);
    let refused = world.hand_in_list(&larger, "eu-west-s1");
    assert_eq!(refused, Err(ListError::TooLarge(larger.len())));
}

#[test]
fn forged_old_foreign_and_future_lists_are_refused() {
    let mut world = World::settled(Plan::federation(7));
    let newer = world.revoke("eu-west-c1", "eu-west-s1", 3);
    world.run_for(secs(1));
    let older = world.revocation(&["eu-west-c2"], 2);
    assert_eq!(
        world.hand_in_list(&older, "eu-west-s2"),
        Err(ListError::Stale { number: 2, held: 3 })
    );
    let again = world.hand_in_list(&newer, "eu-west-s2").expect("known");
    assert!(!again.news && again.number == 3);
    let mut forged = world.revocation(&["eu-west-c2"], 4).to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    assert_eq!(
        world.hand_in_list(&forged, "eu-west-s2"),
        Err(ListError::Refused(Refusal("bad_signature")))
    );
    assert_eq!(
        world.hand_in_list(b"what is this", "eu-west-s2"),
        Err(ListError::Refused(Refusal("malformed")))
    );
    world.set_clock("eu-west-s2", -3_600);
    let early = world.revocation(&["eu-west-c2"], 4);
    assert_eq!(
        world.hand_in_list(&early, "eu-west-s2"),
        Err(ListError::Refused(Refusal("from_future")))
    );
    assert!(world.sees("us-east-s1", "eu-west-c2", Status::Alive));
}

/// One entry in the root's list, and nobody of that datacenter is believed anywhere any more.
#[test]
fn the_roots_list_cuts_a_whole_datacenter_off() {
    let mut world = World::settled(Plan::federation(8));
    world.revoke_datacenter("eu-west", "us-east-c2", 2);
    let abroad: Vec<String> = all_names(&world)
        .into_iter()
        .filter(|name| !name.starts_with("eu-west"))
        .collect();
    world.run_until("nobody abroad shows it", secs(1), |world| {
        abroad.iter().all(|name| {
            let of = ["eu-west-s1", "eu-west-s2", "eu-west-c1"];
            of.iter().all(|member| world.status(name, member).is_none())
        })
    });
    world.run_while("it stays cut off", secs(30), |world| {
        abroad
            .iter()
            .all(|name| world.status(name, "eu-west-s1").is_none())
    });
    for viewer in &abroad {
        for member in &abroad {
            let same = viewer[..4] == member[..4];
            let server = !viewer.contains("-c");
            if same || server {
                assert!(
                    world.sees(viewer, member, Status::Alive),
                    "{viewer} {member}"
                );
            }
        }
    }
}

/// Whoever floods a node with forged and old lists is soon not listened to, and lists of others get through all the while.
#[test]
fn a_flood_of_forged_lists_costs_a_few_signatures_and_holds_nothing_up() {
    let mut world = World::settled(Plan::federation(9));
    let old = world.revocation(&["eu-west-c1"], 1);
    let mut forged = world.revocation(&["eu-west-c1"], 9).to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    let before = world.lists_judged("eu-west-s1");
    for round in 0..1_000 {
        world.push_list("eu-west-c2", "eu-west-s1", &forged);
        world.push_list("eu-west-c2", "eu-west-s1", &old);
        if round % 100 == 0 {
            world.run_for(millis(10));
        }
    }
    world.run_for(millis(100));
    let judged = world.lists_judged("eu-west-s1") - before;
    assert!(judged <= 5, "{judged} signatures checked");
    let list = world.revoke("eu-west-c1", "us-east-c1", 2);
    world.run_until("the true one arrives", secs(1), |world| {
        everybody_holds(world, &list, &["eu-west-c1"])
    });
}
