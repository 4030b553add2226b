//! What comes over everybody at once: everything starts, everything restarts with nothing remembered, every certificate ends.

use pelago_proto::view::{EventKind, Status};
use pelago_sim::{Plan, World, secs};

/// Three datacenters of twenty nodes, of which each knows the first server of every datacenter.
fn sixty(seed: u64) -> Plan {
    ["eu-west", "us-east", "ap-south"]
        .into_iter()
        .fold(Plan::new(seed), |plan, datacenter| {
            plan.datacenter(datacenter).zones(3).servers(5).clients(15)
        })
}

fn is_whole(world: &mut World) -> bool {
    world.everyone_sees_alive() && world.digests_agree()
}

#[test]
fn sixty_nodes_in_three_datacenters_start_at_once() {
    for seed in 0..5 {
        let mut world = sixty(seed).build();
        world.start_all();
        world.run_until("everybody sees everybody", secs(10), is_whole);
    }
}

/// The power fails everywhere; disks may survive it or not.
#[test]
fn the_whole_federation_starts_again_with_and_without_its_disks() {
    for (seed, wiped) in [(7, false), (8, true)] {
        let mut world = sixty(seed).build();
        world.start_all();
        world.run_until("everybody sees everybody", secs(10), is_whole);
        let everybody = world.everybody();
        for name in &everybody {
            world.lose_host(name);
        }
        world.run_for(secs(60));
        for name in &everybody {
            if wiped {
                world.restart_without_memory(name);
            } else {
                world.start(name);
            }
        }
        world.run_until("it is whole again", secs(10), is_whole);
    }
}

/// All certificates were issued in the same minute and nobody renewed them in time. Nothing falls over, nobody is declared dead
/// for it, and when new ones come everything is as before without a restart: a minute later, or when everybody has been
/// forgotten.
#[test]
fn every_certificate_ends_at_once_and_all_are_renewed_later() {
    for (seed, late) in [(9, 60), (10, 600)] {
        let mut world = Plan::federation(seed).certificates_for(secs(60)).build();
        world.start_all();
        world.run_until("everybody sees everybody", secs(10), is_whole);
        world.run_for(secs(60));
        let before = world.total_counts()["requests_failed"];
        world.run_for(secs(late));
        let tries = world.total_counts()["requests_failed"] - before;
        assert!(tries > 0.0, "what ended has consequences");
        let nodes = world.everybody().len() as f64;
        assert!(tries / nodes / (late as f64) < 20.0, "{tries} tries");
        assert_eq!(world.reports(EventKind::Dead), Vec::<String>::new());
        let everybody = world.everybody();
        for name in &everybody {
            world.renew_certificate(name);
        }
        world.run_until("it is whole again", secs(15), is_whole);
        world.run_while("nobody is lost afterwards", secs(40), |world| {
            everybody
                .iter()
                .all(|name| world.everyone_sees(name, Status::Alive))
        });
    }
}
