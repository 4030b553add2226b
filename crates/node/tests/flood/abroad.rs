//! Servers that lie to other datacenters (M-24, M-25): one that withholds and signs wrong heads, and a whole datacenter.

use crate::{
    common::{World, eventually, everyone_sees, members, start},
    kit::{Watch, all_alive, alone, federation, grown, rate, resident},
    liar::{Certificates, KINDS, Kind, ask_on, counted, head, questions, tell},
};
use pelago_node::Node;
use pelago_pki::Role;
use pelago_proto::{
    federation::{Tier, Transmit},
    view::{Reachability, Status},
    wire::Reply,
};
use pelago_sim::lies::withheld;
use std::sync::Arc;

/// Whether these servers reach each other's datacenters and see all of each other alive.
async fn whole(honest: &[Node]) {
    all_alive(honest).await;
    for node in honest.iter().filter(|n| n.me().wan.is_some()) {
        eventually("the other honest datacenter is in reach", || async {
            let view = node.snapshot().view.clone();
            let fine = |name: &str| {
                let reach = view.datacenters.get(name).map(|d| d.reachability);
                matches!(reach, Some(Reachability::Local | Reachability::Reachable))
            };
            (fine("west") && fine("east")).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_hostile_datacenter_changes_nothing_about_the_others() {
    let _alone = alone().await;
    let world = World::new(&["west", "east", "south"]);
    let honest = federation(&world).await;
    let mut liars: Vec<Node> = Vec::new();
    for number in 0..3 {
        let mut config = world.node("south", &format!("south-{number}"), Role::Server);
        let seed = honest[0].me().wan.expect("a server");
        config.wan.as_mut().expect("server").join = vec![seed.to_string()];
        let near = liars.iter().map(|n| n.me().lan_stream.to_string());
        config.lan.join = near.collect();
        liars.push(start(config).await);
    }
    let all: Vec<_> = honest.iter().chain(&liars).cloned().collect();
    all_alive(&all).await;
    let certificates = Arc::new(Certificates::of(&world, &all));
    let (before, mut watch) = (
        resident(),
        liars.iter().fold(Watch::new(&honest), Watch::but),
    );
    for Kind {
        what, lie, abroad, ..
    } in KINDS
    {
        let samples = honest[0].samples();
        let sent = tell(&liars, &certificates, Tier::Wan, lie, &mut watch).await;
        whole(&honest).await;
        let drops = counted(what, &samples, &honest[0], abroad).await;
        println!(
            "{what}: {}/s sent, {drops:?} at one, {} suspicions, {:+} KiB",
            rate(sent),
            watch.nobody_died(),
            grown(before, 16),
        );
        assert_eq!(watch.doubted(), 0, "{what}: nobody is accused from abroad");
    }
    let servers: Vec<_> = honest.iter().filter(|n| n.me().wan.is_some()).collect();
    let victim = servers[0].me().id;
    let questions = questions(&liars[0], &certificates, Tier::Wan, victim).await;
    let (asked, answered) = ask_on(&liars[0], Tier::Wan, &servers, &questions, &mut watch).await;
    whole(&honest).await;
    println!(
        "questions: {}/s asked, {}/s answered, {} suspicions, {:+} KiB",
        rate(asked),
        rate(answered),
        watch.nobody_died(),
        grown(before, 16),
    );
    assert_eq!(watch.doubted(), 0);
    for node in &servers {
        let known = members(node);
        let theirs = known.iter().filter(|m| m.datacenter.as_str() != "south");
        assert_eq!(theirs.count(), honest.len(), "nobody was invented");
        assert!(
            known
                .iter()
                .all(|m| m.datacenter.as_str() == "south" || !m.clone)
        );
    }
}

/// An answer without most of what belongs into it.
fn omitted(answer: Vec<u8>) -> Vec<u8> {
    match Reply::decode(&answer) {
        Ok(Reply::Page { bundles, next, you }) => {
            let bundles = bundles.into_iter().take(1).collect();
            Reply::Page { bundles, next, you }.encode()
        }
        Ok(Reply::Given { .. }) => {
            let bundles = Vec::new();
            Reply::Given { bundles }.encode()
        }
        Ok(Reply::Differences { .. }) => {
            let (entries, buckets) = (Vec::new(), Vec::new());
            Reply::Differences { entries, buckets }.encode()
        }
        Ok(Reply::Heads { held, .. }) => {
            let heads = Vec::new();
            Reply::Heads { heads, held }.encode()
        }
        _ => answer,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_withholds_and_signs_wrong_heads_holds_nothing_back() {
    let _alone = alone().await;
    let world = World::new(&["west", "east"]);
    let nodes = federation(&world).await;
    let certificates = Arc::new(Certificates::of(&world, &nodes));
    let east = &nodes[3];
    let attested = |wanted: bool| {
        eventually("a second server vouches, or does not", move || async move {
            let west = east.snapshot().view.datacenters.get("west").cloned();
            west.filter(|d| d.attested == wanted).map(drop)
        })
    };
    attested(true).await;
    // The second of the two servers of west.
    let liar = nodes[1].clone();
    let honest: Vec<_> = nodes
        .iter()
        .filter(|n| n.me().id != liar.me().id)
        .cloned()
        .collect();
    liar.act(|strings| {
        strings.speak_through(|transmit| {
            let payload = withheld(&transmit.payload)?.into();
            Some(Transmit {
                payload,
                ..transmit
            })
        });
        strings.answer_through(|_, _, answer| omitted(answer));
    })
    .await
    .expect("it runs");
    let mut watch = Watch::new(&honest).but(&liar);
    let near = honest
        .iter()
        .filter(|n| n.me().datacenter.as_str() == "west");
    let near: Vec<_> = near.cloned().collect();
    // Whom it is asked by, whoever comes and goes: everybody hears of it, abroad as well.
    for round in 0..3 {
        let sent = tell(
            std::slice::from_ref(&liar),
            &certificates,
            Tier::Wan,
            head,
            &mut watch,
        )
        .await;
        let mut config = world.node("west", &format!("late-{round}"), Role::Client);
        config.lan.join = vec![liar.me().lan_stream.to_string()];
        let late = start(config).await;
        let name = late.me().name.to_string();
        everyone_sees(&honest.iter().collect::<Vec<_>>(), &name, Status::Alive).await;
        for node in &near {
            everyone_sees(&[&late], node.me().name.as_str(), Status::Alive).await;
        }
        late.leave().await;
        everyone_sees(&honest.iter().collect::<Vec<_>>(), &name, Status::Left).await;
        println!(
            "a server that withholds: {}/s wrong heads sent, {} suspicions",
            rate(sent),
            watch.nobody_died(),
        );
    }
    whole(&honest).await;
    // That one of two does not say what the other says shows.
    attested(false).await;
}
