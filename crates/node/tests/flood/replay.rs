//! Everything that was ever said on a LAN, said again (M-10): to those it was meant for, to others, in any order, ten
//! times, and once more after a restart. Nothing changes.

use crate::{
    common::{World, eventually, everyone_sees, start},
    kit::{Watch, all_alive, alone, configured, duration, risen, roster, settled, sockets},
};
use pelago_node::{Node, fault::Datagram};
use pelago_pki::Role;
use pelago_proto::view::Status;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::{net::SocketAddr, time::Duration};

const TIMES: usize = 10;
/// Sent between pauses, so that a receive buffer of the default size holds them.
const BURST: usize = 50;

/// Sends all of it shuffled, `TIMES` over; each to where it was meant for, or to whom `other` says.
async fn replay(recorded: &[Datagram], other: impl Fn(usize, SocketAddr) -> SocketAddr) -> usize {
    let socket = sockets(["127.0.0.1"]).pop().expect("a socket");
    let mut rng = SmallRng::seed_from_u64(5);
    let mut order: Vec<_> = (0..TIMES).flat_map(|_| recorded).collect();
    order.shuffle(&mut rng);
    for (i, datagram) in order.iter().enumerate() {
        // A node that is gone may refuse; the next one is for another.
        let _ = socket.send_to(&datagram.bytes, other(i, datagram.to));
        if i % BURST == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let heard = socket.recv(&mut [0; 2048]).map_err(|e| e.kind());
    assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock), "no answer");
    order.len()
}

/// Asserts that nobody's view of anybody has changed, but for claims that members made themselves meanwhile.
async fn unchanged(
    nodes: &[Node],
    before: &[Vec<(String, Status, pelago_proto::identity::Incarnation)>],
) {
    for (node, before) in nodes.iter().zip(before) {
        settled(node).await;
        let now = roster(node);
        assert_eq!(now, *before, "as {} sees it", node.me().name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_says_nothing_new() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    world.faults.record(200_000);
    let (mut nodes, mut configs) = configured(&world, "west", 4).await;
    // Somebody leaves, somebody starts again: old claims and keys of both are among what is recorded.
    let mut gone = world.node("west", "gone", Role::Client);
    gone.lan.join = vec![nodes[0].me().lan_stream.to_string()];
    let gone = start(gone).await;
    everyone_sees(&nodes.iter().collect::<Vec<_>>(), "gone", Status::Alive).await;
    tokio::time::sleep(duration()).await;
    gone.leave().await;
    gone.stop().await;
    everyone_sees(&nodes.iter().collect::<Vec<_>>(), "gone", Status::Left).await;
    let recorded = world.faults.recorded();
    let before: Vec<_> = nodes.iter().map(roster).collect();
    let mut watch = Watch::new(&nodes);
    let counts: Vec<_> = nodes.iter().map(Node::samples).collect();

    let sent = replay(&recorded, |_, to| to).await;
    unchanged(&nodes, &before).await;
    let drops: Vec<_> = nodes
        .iter()
        .zip(&counts)
        .map(|(n, c)| risen(c, n, "datagrams_dropped"))
        .collect();
    for drops in &drops {
        let reasons: Vec<_> = drops.iter().map(|d| d.0.as_str()).collect();
        assert!(reasons.contains(&"replay"), "{drops:?}");
    }
    println!(
        "replay of {} datagrams, {sent} sent: {drops:?}",
        recorded.len()
    );

    // To anybody but the one it was meant for.
    let addresses: Vec<_> = nodes.iter().map(|n| n.me().lan).collect();
    let elsewhere = |i: usize, to: SocketAddr| {
        let others: Vec<_> = addresses.iter().filter(|a| **a != to).collect();
        **others.get(i % others.len()).expect("somebody else")
    };
    let counts: Vec<_> = nodes.iter().map(Node::samples).collect();
    replay(&recorded, elsewhere).await;
    unchanged(&nodes, &before).await;
    for (node, counts) in nodes.iter().zip(&counts) {
        let drops = risen(counts, node, "datagrams_dropped");
        assert!(drops.iter().any(|(r, _)| r == "receiver_key"), "{drops:?}");
    }
    assert_eq!(watch.nobody_died(), 0, "nobody was even suspected");

    // The node that most was recorded of starts again at the same addresses, and hears its past.
    let old = nodes.remove(1);
    let me = old.me().clone();
    old.leave().await;
    old.stop().await;
    drop(old);
    let mut config = configs.remove(1);
    (config.lan.port, config.lan.stream_port) = (me.lan.port(), me.lan_stream.port());
    config.lan.join = vec![nodes[0].me().lan_stream.to_string()];
    nodes.push(eventually_starts(config).await);
    all_alive(&nodes).await;
    quiet(&nodes).await;
    let before: Vec<_> = nodes.iter().map(roster).collect();
    let counts = nodes.last().expect("it").samples();
    let mut watch = Watch::new(&nodes);
    replay(&recorded, |_, to| to).await;
    unchanged(&nodes, &before).await;
    assert_eq!(watch.nobody_died(), 0, "nobody was even suspected");
    let drops = risen(&counts, nodes.last().expect("it"), "datagrams_dropped");
    assert!(drops.iter().any(|(r, _)| r == "receiver_key"), "{drops:?}");
    println!("replay to a node that started again: {drops:?}");
    all_alive(&nodes).await;
}

/// Its ports may still be held for a moment.
async fn eventually_starts(config: pelago_node::config::Config) -> Node {
    eventually("the ports are free again", || async {
        crate::common::try_start(config.clone()).await.ok()
    })
    .await
}

/// Waits until nobody's incarnation has moved for a while: who starts again signs anew a few times.
async fn quiet(nodes: &[Node]) {
    let mut last = Vec::new();
    eventually("members have settled", || {
        let now: Vec<_> = nodes.iter().map(roster).collect();
        let same = now == last;
        last = now;
        async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            same.then_some(())
        }
    })
    .await;
}
