//! Private.
use pelago_sim::{Plan, World, secs};
#[test]
fn look() {
    let mut world = Plan::federation(104).build();
    world.start_all();
    world.run_until("everybody sees everybody", secs(10), World::everyone_sees_alive);
    world.run_until("all digests agree", secs(5), World::digests_agree);
    world.run_for(secs(3));
    eprintln!("{}", world.report());
    world.cut_off("eu-west");
    for _ in 0..14 { world.run_for(secs(1)); eprintln!("{:?} {:?} {:?}", world.now(), world.datacenter("us-east-s1","eu-west").map(|d| (d.reachability, d.age_ms)), world.datacenter("eu-west-s1","us-east").map(|d| (d.reachability, d.age_ms))); }
}
