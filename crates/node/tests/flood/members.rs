//! What a member with a valid certificate may do to connections (M-14): open many, open and drop them at once, and send
//! datagrams that say nothing.

use crate::{
    common::{World, quic, sample},
    kit::{
        Watch, all_alive, alone, datacenter, duration, federation, grown, linked, packets_in, rate,
        resident, somebody_joins,
    },
};
use bytes::Bytes;
use pelago_pki::{Accept, Role};
use std::time::Instant;

/// Connections that a node keeps with one other.
const KEPT: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_has_few_connections() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let nodes = datacenter(&world, "west", 3).await;
    let victim = nodes.first().expect("a node");
    let mut watch = Watch::new(&nodes);
    let tls = quic::tls(
        &world.node("west", "many", Role::Client),
        &Accept::anybody(),
        quic::LAN,
    );
    let endpoint = quic::client("127.0.0.1", tls);
    let mut all = Vec::new();
    for _ in 0..20 {
        let dial = endpoint.connect(victim.me().lan_stream, "pelago.invalid");
        all.push(dial.expect("dialled").await.expect("let in"));
    }
    crate::common::eventually("no more than a few are kept", || async {
        let open = all.iter().filter(|c| c.close_reason().is_none()).count();
        (open == KEPT).then_some(())
    })
    .await;
    assert_eq!(
        sample(victim, "peers_refused", ("reason", "too-many")),
        16.0
    );
    drop(all);
    let before = resident();
    // Opened and dropped at once, again and again.
    let (start, mut dropped) = (Instant::now(), 0u64);
    while start.elapsed() < duration() {
        let dial = endpoint.connect(victim.me().lan_stream, "pelago.invalid");
        // Before the handshake, in the middle, or right after it.
        match dropped % 3 {
            0 => drop(dial.expect("dialled")),
            1 => {
                let dial = dial.expect("dialled");
                let _ = tokio::time::timeout(std::time::Duration::from_millis(1), dial).await;
            }
            _ => drop(dial.expect("dialled").await),
        }
        dropped += 1;
    }
    somebody_joins(&world, &nodes, victim).await;
    let suspected = watch.nobody_died();
    println!(
        "connections of one member: {}/s opened and dropped, {suspected} suspicions, {} KiB",
        rate(dropped),
        grown(before, 16),
    );
    all_alive(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_say_nothing_break_no_link() {
    let _alone = alone().await;
    let world = World::new(&["west", "east"]);
    let nodes = federation(&world).await;
    let victim = nodes.first().expect("a server");
    let mut watch = Watch::new(&nodes);
    let config = world.node("east", "chatty", Role::Server);
    let tls = quic::tls(&config, &Accept::anybody(), quic::WAN);
    let endpoint = quic::client("127.0.0.1", tls);
    let dial = endpoint.connect(victim.me().wan.expect("a server"), "pelago.invalid");
    let connection = dial.expect("dialled").await.expect("let in");
    let (before, start, mut sent) = (resident(), Instant::now(), 0u64);
    let seen = packets_in(victim, "wan_quic");
    while start.elapsed() < duration() {
        let length = [0, 1, 44, 1000][sent as usize % 4];
        // Waiting for room keeps every one of them; what is lost on the way would prove nothing.
        let datagram = Bytes::from(vec![0xa5; length]);
        connection.send_datagram_wait(datagram).await.expect("sent");
        sent += 1;
    }
    all_alive(&nodes).await;
    linked(&nodes).await;
    let suspected = watch.nobody_died();
    println!(
        "WAN datagrams of a member: {}/s sent, {:.0}/s packets taken, {} lost in the queue, {suspected} suspicions, {} KiB",
        rate(sent),
        (packets_in(victim, "wan_quic") - seen) / duration().as_secs_f64(),
        sample(victim, "datagrams_dropped", ("reason", "queue")),
        grown(before, 16),
    );
    connection.close(0u32.into(), b"");
    somebody_joins(&world, &nodes, victim).await;
}
