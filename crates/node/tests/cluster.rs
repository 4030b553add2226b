//! Nodes of one datacenter on loopback: they find each other, notice deaths and departures, and come back.

mod common;

use common::{DEADLINE, World, eventually, everyone_sees, members, sample, start, status};
use pelago_node::{Node, config::Config};
use pelago_pki::Role;
use pelago_proto::view::{EventKind, Status};

/// A server with the address to join by, and its configuration with that address fixed.
async fn first(world: &World, name: &str) -> Node {
    start(world.node("west", name, Role::Server)).await
}

fn joining(mut config: Config, seed: &Node) -> Config {
    config.lan.join = vec![seed.me().lan_stream.to_string()];
    config
}

async fn pool(world: &World, n: usize) -> Vec<Node> {
    let mut nodes = vec![first(world, "n0").await];
    for i in 1..n {
        let config = world.node(
            "west",
            &format!("n{i}"),
            if i % 2 == 0 {
                Role::Server
            } else {
                Role::Client
            },
        );
        nodes.push(start(joining(config, &nodes[0])).await);
    }
    for i in 0..n {
        everyone_sees(
            &nodes.iter().collect::<Vec<_>>(),
            &format!("n{i}"),
            Status::Alive,
        )
        .await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_join_and_see_each_other_with_their_certified_places() {
    let world = World::new(&["west"]);
    let nodes = pool(&world, 2).await;
    for node in &nodes {
        eventually("ready", || async { node.condition().ready.then_some(()) }).await;
        assert!(node.condition().live);
        let seen = members(node);
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(
            |m| m.rack.as_str() == format!("rack-{}", m.name) && m.region.as_str() == "europe"
        ));
    }
    let view = nodes[1].snapshot().view.clone();
    let peer = members(&nodes[1])
        .into_iter()
        .find(|m| m.name.as_str() == "n0")
        .expect("member");
    assert_eq!(
        (peer.address, peer.stream_address),
        (nodes[0].me().lan, nodes[0].me().lan_stream)
    );
    assert!(view.joined);
    assert!(sample(&nodes[0], "packets", ("kind", "datagram")) > 0.0);
    assert_eq!(
        sample(&nodes[0], "datagrams_dropped", ("reason", "forged")),
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_agree_notice_a_kill_and_publish_the_view_before_the_event() {
    let world = World::new(&["west"]);
    let mut nodes = pool(&world, 5).await;
    let mut events = nodes[0].events();
    let victim = nodes.remove(3);
    victim.stop().await;
    assert!(!victim.condition().live);
    everyone_sees(&nodes.iter().collect::<Vec<_>>(), "n3", Status::Dead).await;
    let dead = async {
        loop {
            let event = events.recv().await.expect("event");
            if event.event.kind == EventKind::Dead {
                return event;
            }
        }
    };
    let event = tokio::time::timeout(DEADLINE, dead)
        .await
        .expect("told in time");
    assert_eq!(event.event.name.as_ref().map(|n| n.as_str()), Some("n3"));
    assert_eq!(
        status(&nodes[0], "n3"),
        Some(Status::Dead),
        "the view explains the event"
    );
    let earlier = nodes[0].events_since(event.id - 1).expect("remembered");
    assert_eq!(earlier.first().map(|e| e.id), Some(event.id));
    let why = nodes[0].why("n3").await.expect("evidence");
    assert!(!why.accusations.is_empty(), "{why:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_shown_as_left_and_may_come_back() {
    let world = World::new(&["west"]);
    let mut nodes = pool(&world, 3).await;
    let leaver = nodes.remove(2);
    leaver.leave().await;
    everyone_sees(&nodes.iter().collect::<Vec<_>>(), "n2", Status::Left).await;
    let mut config = world.node("west", "n2-files", Role::Server);
    config.pki.cert = world.dir.path().join("west/n2/n2.pem");
    config.pki.key = world.dir.path().join("west/n2/n2.key");
    config.name = None;
    let back = start(joining(config, &nodes[0])).await;
    everyone_sees(
        &nodes.iter().chain([&back]).collect::<Vec<_>>(),
        "n2",
        Status::Alive,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_back_with_and_without_its_data_directory() {
    let world = World::new(&["west"]);
    let seed = first(&world, "n0").await;
    let data = world.dir.path().join("data");
    let mut config = joining(world.node("west", "n1", Role::Client), &seed);
    config.data_dir = Some(data.clone());
    let mut boots = Vec::new();
    for round in 0..3 {
        if round == 2 {
            std::fs::remove_dir_all(&data).expect("removed");
        }
        let node = start(config.clone()).await;
        let boot = eventually("alive again", || async {
            let seen = members(&seed)
                .into_iter()
                .find(|m| m.name.as_str() == "n1")?;
            let newer = boots.last().is_none_or(|b| seen.incarnation.boot > *b);
            (seen.status == Status::Alive && newer).then_some(seen.incarnation.boot)
        })
        .await;
        boots.push(boot);
        assert!(data.join("state").exists());
        node.stop().await;
    }
    assert!(boots.is_sorted_by(|a, b| a < b), "{boots:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_the_same_key_is_reported_and_nobody_is_shut_down() {
    let world = World::new(&["west"]);
    let nodes = pool(&world, 3).await;
    let mut config = joining(world.node("west", "files", Role::Client), &nodes[0]);
    config.pki.cert = world.dir.path().join("west/n1/n1.pem");
    config.pki.key = world.dir.path().join("west/n1/n1.key");
    config.name = None;
    let clone = start(config).await;
    // Whoever of the two hears of the other says so.
    let all: Vec<_> = nodes.iter().chain([&clone]).collect();
    let reported = |n: &Node| {
        members(n)
            .iter()
            .any(|m| m.name.as_str() == "n1" && m.clone)
    };
    eventually("the clone is reported", || async {
        all.iter().copied().any(reported).then_some(())
    })
    .await;
    assert!(nodes[1].condition().live && clone.condition().live);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_state_degrades_and_an_unwritable_directory_stops_nothing() {
    let world = World::new(&["west"]);
    let mut config = world.node("west", "n0", Role::Server);
    let data = world.dir.path().join("data");
    std::fs::create_dir(&data).expect("dir");
    std::fs::write(data.join("state"), b"not a state").expect("written");
    config.data_dir = Some(data);
    let node = start(config).await;
    assert_eq!(node.condition().degraded.len(), 1, "{:?}", node.condition());
    let mut config = joining(world.node("west", "n1", Role::Client), &node);
    let file = world.dir.path().join("file");
    std::fs::write(&file, b"").expect("written");
    config.data_dir = Some(file.join("below"));
    let other = start(config).await;
    assert!(
        other
            .condition()
            .degraded
            .iter()
            .any(|d| d.contains("data directory")),
        "{:?}",
        other.condition()
    );
    everyone_sees(&[&node, &other], "n1", Status::Alive).await;
    assert!(other.condition().live);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_datagram_port_get_no_answer() {
    let world = World::new(&["west"]);
    let node = first(&world, "n0").await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("bound");
    for length in [0, 1, 43, 44, 100, 1200, 1201, 60_000] {
        stranger
            .send_to(&vec![1; length], node.me().lan)
            .await
            .expect("sent");
    }
    let reason = |r| sample(&node, "datagrams_dropped", ("reason", r));
    eventually("all counted", || async {
        let all = [
            "short",
            "oversized",
            "version",
            "malformed",
            "receiver_key",
            "unknown_sender",
        ];
        (all.iter().map(|r| reason(r)).sum::<f64>() >= 8.0).then_some(())
    })
    .await;
    assert_eq!((reason("short"), reason("oversized")), (3.0, 2.0));
    let heard = stranger.try_recv(&mut [0; 10]).map_err(|e| e.kind());
    assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock));
}
