//! Bad links: nobody dies of them, and they cost few signatures.

use pelago_proto::view::{EventKind, Status};
use pelago_sim::{Link, Links, Plan, World, millis, secs};

#[test]
fn nobody_dies_of_loss_in_ten_minutes() {
    let mut links = Links::default().losing_on_lan(0.05);
    links.wan = Link::new(millis(80)).losing(0.05);
    let mut world = Plan::federation(1).links(links).build();
    world.form(secs(10));
    world.run_for(secs(5));
    let before = world.total_traffic();
    world.run_for(secs(600));
    assert_eq!(
        world.reports(EventKind::Dead),
        Vec::<String>::new(),
        "{}",
        world.report()
    );
    assert!(world.everyone_sees_alive(), "{}", world.report());
    let spent = world.total_traffic().since(&before);
    // Seats sign a head at least every two seconds; everything else should be silence.
    let heads = 9 * 600;
    assert!(
        spent.signed < heads,
        "{} signatures in ten minutes",
        spent.signed
    );
}

/// Relays and streams take twice what a ping takes and more: where that is longer than usual they are given longer.
#[test]
fn a_wide_lan_that_loses_packets_suspects_nobody() {
    let link = Link::new(millis(20)).steady().losing(0.05);
    let plan = Plan::new(5).links(Links::default().lan(link));
    let plan = plan.datacenter("eu-west").racks(3).servers(3).clients(27);
    let mut world = plan.build();
    world.form(secs(10));
    world.run_for(secs(5));
    let before = world.reports(EventKind::Suspect).len();
    world.run_for(secs(300));
    assert_eq!(world.reports(EventKind::Suspect)[before..], [""; 0]);
}

#[test]
fn a_quiet_federation_sends_little() {
    let mut world = Plan::federation(2).build();
    world.form(secs(10));
    world.run_for(secs(10));
    let before: Vec<_> = world
        .everybody()
        .iter()
        .map(|name| world.traffic(name))
        .collect();
    world.run_for(secs(60));
    for (name, before) in world.everybody().iter().zip(before) {
        let sent = world.traffic(name).since(&before).total().bytes / 60;
        assert!(sent < 50_000, "{name} sends {sent} B/s");
    }
}

#[test]
fn a_node_with_bad_links_does_not_take_others_with_it() {
    let mut world = Plan::new(3)
        .datacenter("eu-west")
        .zones(3)
        .racks(2)
        .servers(5)
        .clients(7)
        .build();
    world.form(secs(10));
    world.make_lossy("eu-west-c3", 0.8);
    world.run_for(secs(120));
    let deaths = world.reports(EventKind::Dead);
    assert!(
        deaths.iter().all(|death| death.ends_with(": eu-west-c3")),
        "{deaths:?}"
    );
}

#[test]
fn without_a_single_push_set_hashes_alone_carry_the_news() {
    let plan = Plan::new(31)
        .datacenter("solo")
        .zones(1)
        .racks(4)
        .servers(4)
        .clients(36);
    let mut world = plan
        .tune(|settings| {
            settings.tuning.fanout = 0;
            settings.tuning.rides = 0;
        })
        .build();
    world.form(secs(30));
    world.run_until("all views are alike", secs(30), World::digests_agree);
    world.run_for(secs(10));
    let before = world.total_counts()["reconciliations"];
    world.change_record("solo-c7");
    let seq = world.incarnation("solo-c7");
    world.run_until("its new record is known", secs(5), |world| {
        let viewers = world.everybody();
        let knows = |viewer: &String| world.member(viewer, "solo-c7").map(|m| m.incarnation);
        viewers.iter().map(knows).all(|known| known == Some(seq))
    });
    let after = world.total_counts()["reconciliations"];
    assert!(after - before < 3.0, "{} reconciliations", after - before);
}

#[test]
fn pushes_alone_reach_everybody_because_everybody_is_somebodys_successor() {
    let plan = Plan::new(32)
        .datacenter("solo")
        .zones(2)
        .racks(2)
        .servers(4)
        .clients(36);
    let mut world = plan
        .tune(|settings| {
            settings.tuning.fanout = 3;
            settings.tuning.rides = 0;
            settings.tuning.catch_up = false;
        })
        .build();
    world.form(secs(30));
    world.run_until("all views are alike", secs(30), World::digests_agree);
    for number in 1..=10 {
        world.run_for(secs(3));
        let name = format!("solo-c{number}");
        world.leave(&name);
        // Comparing set hashes would take a second.
        world.run_until("everybody heard the goodbye", millis(100), |world| {
            let still_here = (number + 1..=36).map(|n| format!("solo-c{n}"));
            let mut viewers = still_here.chain((1..=4).map(|n| format!("solo-s{n}")));
            viewers.all(|viewer| world.sees(&viewer, &name, Status::Left))
        });
    }
}
