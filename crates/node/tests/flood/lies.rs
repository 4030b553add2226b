//! Members with valid certificates that lie in what they say (M-08, M-11): alone, two of k, many of one rack.

use crate::{
    common::{World, everyone_sees, start, status},
    kit::{Watch, all_alive, alone, grown, rate, resident, somebody_joins},
    liar::{Certificates, KINDS, Kind, Lie, ask_on, counted, dead, doomed, questions, tell},
};
use pelago_node::Node;
use pelago_pki::Role;
use pelago_proto::{federation::Tier, view::Status};
use std::sync::Arc;

/// One node in each of these racks, the last of which lie, and certificates of all.
async fn pool(
    world: &World,
    racks: &[&str],
    liars: usize,
) -> (Vec<Node>, Vec<Node>, Arc<Certificates>) {
    let mut nodes: Vec<Node> = Vec::new();
    for (i, rack) in racks.iter().enumerate() {
        let mut config = world.node_at("west", &format!("west-{i}"), Role::Client, "a", rack);
        config.lan.join = seeds(&nodes);
        nodes.push(start(config).await);
    }
    all_alive(&nodes).await;
    let certificates = Certificates::of(world, &nodes);
    let liars = nodes.split_off(racks.len() - liars);
    (nodes, liars, Arc::new(certificates))
}

fn seeds(nodes: &[Node]) -> Vec<String> {
    let seeds = nodes.iter().map(|n| n.me().lan_stream.to_string());
    seeds.take(3).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_member_says_nobody_dies_of_it() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let racks = ["r0", "r1", "r2", "r3", "r4", "r5"];
    let (honest, _, _) = pool(&world, &racks, 0).await;
    // Somebody left: nothing that anybody says brings it back.
    let mut config = world.node("west", "gone", Role::Client);
    config.lan.join = seeds(&honest);
    let gone = start(config).await;
    everyone_sees(&honest.iter().collect::<Vec<_>>(), "gone", Status::Alive).await;
    gone.leave().await;
    everyone_sees(&honest.iter().collect::<Vec<_>>(), "gone", Status::Left).await;
    let (before, mut watch) = (resident(), Watch::new(&honest));
    for (number, kind) in KINDS.into_iter().enumerate() {
        let Kind {
            what, lie, at_home, ..
        } = kind;
        // Each kind from somebody new, who joins while the last one's lies are about.
        let mut config = world.node("west", &format!("liar-{number}"), Role::Client);
        config.lan.join = seeds(&honest);
        let liar = [start(config).await];
        let near: Vec<_> = honest.iter().chain(&liar).cloned().collect();
        all_alive(&near).await;
        let certificates = Arc::new(Certificates::of(&world, &near));
        watch = watch.but(&liar[0]);
        let samples = honest[0].samples();
        let sent = tell(&liar, &certificates, Tier::Lan, lie, &mut watch).await;
        all_alive(&honest).await;
        let drops = counted(what, &samples, &honest[0], at_home).await;
        println!(
            "{what}: {}/s sent, {drops:?} at one, {} suspicions, {} unreachable, {:+} KiB",
            rate(sent),
            watch.nobody_died(),
            watch.doubted(),
            grown(before, 16),
        );
        for node in &honest {
            assert_eq!(status(node, "gone"), Some(Status::Left), "{what}");
        }
        liar[0].leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accusers_that_are_fewer_than_k_or_of_one_rack_kill_nobody() {
    let _alone = alone().await;
    // k is three among ten.
    let few = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"];
    let crowd = [
        "r0", "r1", "r2", "r3", "r4", "r5", "r6", "one", "one", "one",
    ];
    for (what, racks, liars) in [("two of k", few, 2), ("three of one rack", crowd, 3)] {
        let world = World::new(&["west"]);
        let (honest, liars, certificates) = pool(&world, &racks, liars).await;
        let mut watch = liars.iter().fold(Watch::new(&honest), Watch::but);
        for (when, lie) in [("are", dead as Lie), ("will be", doomed)] {
            let sent = tell(&liars, &certificates, Tier::Lan, lie, &mut watch).await;
            all_alive(&honest).await;
            println!(
                "{what}, all {when} dead: {}/s sent, {} suspicions, {} unreachable",
                rate(sent),
                watch.nobody_died(),
                watch.doubted(),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_member_asks_changes_nothing_either() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let (honest, liars, certificates) = pool(&world, &["r0", "r1", "r2", "r3", "r4"], 1).await;
    let (liar, victim) = (&liars[0], honest[0].me().clone());
    let (before, mut watch) = (resident(), Watch::new(&honest).but(liar));
    let questions = questions(liar, &certificates, Tier::Lan, victim.id).await;
    let whom: Vec<_> = honest.iter().collect();
    let (asked, answered) = ask_on(liar, Tier::Lan, &whom, &questions, &mut watch).await;
    all_alive(&honest).await;
    println!(
        "questions: {}/s asked, {}/s answered, {} suspicions, {:+} KiB",
        rate(asked),
        rate(answered),
        watch.nobody_died(),
        grown(before, 16),
    );
    somebody_joins(&world, &honest, &honest[0]).await;
}
