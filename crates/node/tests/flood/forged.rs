//! What a member with a valid certificate may do to the transport itself (M-14): frames that its own library would never
//! send, over real sockets. Either the node closes the connection, or it goes on and costs next to nothing.

use crate::{
    abuse::Scene,
    common::{DEADLINE, World, eventually, quic, sample},
    kit::{Watch, alone, datacenter, duration, grown, resident, somebody_joins},
    raw::{Close, ROOM, frames},
};
use pelago_pki::{Accept, Role};
use std::{net::UdpSocket, sync::Arc, time::Instant};

/// Streams that a connection may have open, by their numbers.
const STREAMS: u64 = 16;
/// What a connection may send that nobody has read: the same for each stream.
const WINDOW: u64 = 1024 * 1024 / STREAMS;
/// Fragments of a byte each that fit into a packet, and such numbers and frames as have more.
const MANY: u64 = 100;
const SOME: u64 = 30;

/// By how many MiB memory may grow where packets come faster than a busy machine works them off: quinn's queue of a
/// connection has no bound of its own (docs/hostile.md).
const QUEUED: u64 = 64;

/// Errors of the transport (RFC 9000, section 20.1).
const INTERNAL: u64 = 0x01;
const FLOW_CONTROL: u64 = 0x03;
const STREAM_LIMIT: u64 = 0x04;
const CONNECTION_ID_LIMIT: u64 = 0x09;
const PROTOCOL_VIOLATION: u64 = 0x0a;
const CRYPTO_BUFFER: u64 = 0x0d;

/// One-byte fragments at odd offsets, so that nothing can ever be read; the `turn`th hundred of a stream.
fn gaps(out: &mut Vec<u8>, stream: u64, turn: u64) {
    for i in 0..MANY {
        let offset = 2 * (turn * MANY + i) % WINDOW + 1;
        frames::stream(out, 4 * stream, offset, &[0], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_with_gaps_between_take_no_memory() {
    let _alone = alone().await;
    let mut scene = Scene::new().await;
    scene.memory = QUEUED;
    scene
        .refuse("gaps, many to a packet", INTERNAL, |_, n, out| {
            gaps(out, n % STREAMS, n / STREAMS);
        })
        .await;
    // Whoever keeps a byte of these may keep the packet in which it came.
    scene
        .refuse("gaps, a packet each", INTERNAL, |_, n, out| {
            let offset = 2 * (n / STREAMS) % WINDOW + 1;
            frames::stream(out, 4 * (n % STREAMS), offset, &[0], false);
            out.resize(ROOM, 0);
        })
        .await;
    scene
        .refuse("gaps in the handshake's bytes", INTERNAL, |_, n, out| {
            for i in 0..MANY {
                frames::crypto(out, 2 * (n * MANY + i) % 16_000 + 1, &[0]);
            }
        })
        .await;
    // As many as are let pass.
    let cut = sample(scene.victim(), "streams_cut", ("reason", "deadline"));
    let outcome = scene
        .suffer("gaps, few enough", |client, n, out| {
            if n / STREAMS < 9 {
                gaps(out, n % STREAMS, n / STREAMS);
            }
            frames::ping(out);
            client.acknowledge(out);
        })
        .await;
    assert_eq!((outcome.kept, outcome.closed.len()), (1, 0));
    eventually("their streams are cut", || async {
        let now = sample(scene.victim(), "streams_cut", ("reason", "deadline"));
        (now >= cut + STREAMS as f64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_ids_are_changed_for_ever_to_no_effect() {
    let _alone = alone().await;
    let mut scene = Scene::new().await;
    let renew = |out: &mut Vec<u8>, n: u64| {
        for i in 1..=SOME {
            // Each retires all before it.
            frames::new_connection_id(out, n * SOME + i, n * SOME + i);
        }
    };
    scene
        .refuse("new ids, nothing acknowledged", CONNECTION_ID_LIMIT, {
            move |_, n, out| renew(out, n)
        })
        .await;
    let outcome = scene
        .suffer("new ids, all acknowledged", move |client, n, out| {
            frames::new_connection_id(out, n + 1, n + 1);
            client.acknowledge(out);
        })
        .await;
    assert!(outcome.retired > 0, "{outcome:?}");
    let outcome = scene
        .suffer("ids of the node's retired", {
            let mut current = 0;
            move |client, _, out| {
                if let Some((newest, id)) = client.ids.pop_last()
                    && newest > current
                {
                    client.switch(id);
                    client.ids.clear();
                    current = newest;
                }
                // Said again, because what is lost would leave the node with nothing to do.
                let all = current.saturating_sub(STREAMS)..current;
                all.for_each(|n| frames::retire_connection_id(out, n));
                frames::ping(out);
                client.acknowledge(out);
            }
        })
        .await;
    assert_eq!((outcome.kept, outcome.closed.len()), (1, 0));
    scene
        .refuse("an id retired that never was", PROTOCOL_VIOLATION, {
            |_, _, out| frames::retire_connection_id(out, 1 << 20)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_challenged_and_addresses_changed_to_no_effect() {
    let _alone = alone().await;
    let mut scene = Scene::new().await;
    scene.memory = QUEUED;
    for acknowledged in [false, true] {
        let name = ["path challenges", "path challenges, acknowledged"];
        let outcome = scene
            .suffer(name[usize::from(acknowledged)], move |client, n, out| {
                frames::path_challenge(out, n);
                if acknowledged {
                    client.acknowledge(out);
                }
            })
            .await;
        assert_eq!((outcome.kept, outcome.closed.len()), (1, 0));
        assert!(outcome.responses > 0, "{outcome:?}");
    }
    scene
        .suffer("path challenges, many to a packet", |client, n, out| {
            (0..MANY).for_each(|i| frames::path_challenge(out, n * MANY + i));
            client.acknowledge(out);
        })
        .await;
    // A node does not follow: from elsewhere a member has to dial again.
    let outcome = scene
        .suffer("from another address every time", {
            let mut first = None;
            move |client, n, out| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
                socket.set_nonblocking(true).expect("set");
                let before = std::mem::replace(&mut client.socket, socket);
                // Open, or another would have the same port some day.
                first.get_or_insert_with(|| Arc::new(before));
                frames::path_challenge(out, n);
                frames::ping(out);
            }
        })
        .await;
    assert_eq!(outcome.responses, 0, "{outcome:?}");
    assert!(outcome.heard.bytes <= outcome.sent.bytes, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moves_has_to_dial_again() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let nodes = datacenter(&world, "west", 3).await;
    let victim = nodes.first().expect("a node");
    let mut watch = Watch::new(&nodes);
    let config = world.node("west", "mover", Role::Client);
    let tls = quic::tls(&config, &Accept::anybody(), quic::LAN);
    let endpoint = quic::client("127.0.0.1", tls);
    let dial = || endpoint.connect(victim.me().lan_stream, "pelago.invalid");
    let connection = dial().expect("dialled").await.expect("let in");
    let (before, start, mut moves) = (resident(), Instant::now(), 0u64);
    while start.elapsed() < duration() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        endpoint.rebind(socket).expect("moved");
        // So that something is sent from there.
        tokio::task::yield_now().await;
        moves += 1;
    }
    let ended = tokio::time::timeout(DEADLINE, connection.closed()).await;
    println!("moved {moves} times: {:?}", ended.expect("in time"));
    let connection = dial().expect("dialled").await.expect("let in");
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    send.write_all(&[2]).await.expect("written");
    send.finish().expect("ended");
    assert_eq!(receive.read_to_end(16).await.expect("answered"), [2]);
    somebody_joins(&world, &nodes, victim).await;
    let suspected = watch.nobody_died();
    println!("{suspected} suspicions, {} KiB", grown(before, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acknowledges_what_was_not_sent_is_dropped() {
    let _alone = alone().await;
    let mut scene = Scene::new().await;
    for (what, ahead) in [("far ahead", 1 << 20), ("the next", 1)] {
        let name = format!("acknowledged before it was sent, {what}");
        scene
            .refuse(&name, PROTOCOL_VIOLATION, move |client, _, out| {
                frames::ack(out, client.largest().unwrap_or(0) + ahead, 0);
                frames::ping(out);
            })
            .await;
    }
    // A node leaves numbers out now and then: whoever has received what it acknowledges knows which.
    scene
        .refuse(
            "acknowledged unseen",
            PROTOCOL_VIOLATION,
            |client, _, out| {
                let largest = client.largest().unwrap_or(0);
                frames::ack(out, largest, largest);
                frames::ping(out);
            },
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_nothing_and_of_single_bytes_cost_little() {
    let _alone = alone().await;
    let mut scene = Scene::new().await;
    scene.memory = QUEUED;
    let outcome = scene
        .suffer("streams of nothing", |client, _, out| {
            for i in 0..MANY {
                frames::stream(out, 4 * (i % STREAMS), 0, &[], false);
            }
            client.acknowledge(out);
        })
        .await;
    assert_eq!((outcome.kept, outcome.closed.len()), (1, 0));
    // What is lost is not sent again, and leaves gaps.
    let outcome = scene
        .suffer("streams by the byte", |client, n, out| {
            let offset = n / STREAMS % WINDOW;
            frames::stream(out, 4 * (n % STREAMS), offset, &[0], false);
            client.acknowledge(out);
        })
        .await;
    let known = [Close::Transport(INTERNAL), Close::Reset];
    assert!(
        outcome.closed.keys().all(|c| known.contains(c)),
        "{outcome:?}"
    );
    // Opened, ended and stopped in one packet; what may have been lost, again.
    let outcome = scene
        .suffer("streams opened and reset", {
            let mut next = 0;
            move |client, _, out| {
                client.acknowledge(out);
                let opened = client.streams.min(next + STREAMS / 2);
                for stream in next..opened {
                    frames::stream(out, 4 * stream, 0, &[2], false);
                }
                next = opened;
                for stream in next.saturating_sub(STREAMS)..next {
                    frames::reset_stream(out, 4 * stream, 1);
                    frames::stop_sending(out, 4 * stream);
                }
            }
        })
        .await;
    assert_eq!((outcome.kept, outcome.closed.len()), (1, 0));
    let outcome = scene
        .suffer("limits raised and lamented", |client, n, out| {
            for i in 0..SOME {
                frames::max_data(out, n * SOME + i);
                frames::max_streams(out, n * SOME + i);
                frames::streams_blocked(out, i);
            }
            client.acknowledge(out);
        })
        .await;
    assert_eq!((outcome.kept, outcome.closed.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_over_a_limit_is_dropped() {
    let _alone = alone().await;
    let mut scene = Scene::new().await;
    scene
        .refuse("more than a stream's window", FLOW_CONTROL, |_, _, out| {
            frames::stream(out, 0, 1 << 30, &[0], false);
        })
        .await;
    scene
        .refuse(
            "more streams than there may be",
            STREAM_LIMIT,
            |_, _, out| {
                frames::stream(out, 4 << 20, 0, &[0], false);
            },
        )
        .await;
    scene
        .refuse("more of a handshake", CRYPTO_BUFFER, |_, _, out| {
            frames::crypto(out, 1 << 20, &[0]);
        })
        .await;
}
