//! The same seed makes the same world, event for event.

use pelago_sim::{Links, Plan, millis, secs};

fn life(seed: u64) -> (u64, String) {
    let mut world = Plan::federation(seed)
        .links(Links::default().losing_on_lan(0.02))
        .build();
    world.start_all();
    world.run_for(secs(5));
    world.kill("eu-west-s2");
    world.pause_for("us-east-s1", millis(2_000));
    world.cut_off("ap-south");
    world.run_for(secs(5));
    world.heal();
    world.start("eu-west-s2");
    world.run_for(secs(5));
    (world.log_hash(), format!("{:?}", world.total_traffic()))
}

#[test]
fn one_seed_one_life() {
    assert_eq!(life(1), life(1));
}

#[test]
fn another_seed_another_life() {
    assert_ne!(life(1).0, life(2).0);
}
