//! What a member with a valid certificate may do to streams (M-14): hold them open, write a byte now and then, never end
//! them, send too much, not read the answer. The node's deadlines end all of it, and others do not notice.

use crate::{
    common::{DEADLINE, World, eventually, quic, sample},
    kit::{Watch, all_alive, alone, datacenter, duration, grown, resident, somebody_joins},
};
use pelago_node::{Node, config::Config};
use pelago_pki::{Accept, Role};
use std::time::{Duration, Instant};

/// As much as one connection may have open, and one more message than fits.
const STREAMS: usize = 16;
const TOO_MUCH: usize = 256 * 1024 + 2;

/// Streams of peers that this node reset for a reason.
fn cut(node: &Node, reason: &str) -> f64 {
    sample(node, "streams_cut", ("reason", reason))
}

/// Somewhere to dial from, for any number of members.
struct Dialler(quinn::Endpoint);

impl Dialler {
    fn new() -> Self {
        let from = "127.0.0.1:0".parse().expect("address");
        Self(quinn::Endpoint::client(from).expect("endpoint"))
    }

    async fn dial(&self, config: &Config, to: &Node) -> quinn::Connection {
        let usual = quinn::TransportConfig::default();
        self.dial_with(config, to, usual).await
    }

    async fn dial_with(
        &self,
        config: &Config,
        to: &Node,
        transport: quinn::TransportConfig,
    ) -> quinn::Connection {
        let tls = quic::tls(config, &Accept::anybody(), quic::LAN);
        let settings = quic::settings(tls, transport);
        let dial = self
            .0
            .connect_with(settings, to.me().lan_stream, "pelago.invalid");
        dial.expect("dialled").await.expect("let in")
    }
}

/// The empty round trip with which members prove a link; `None` if it was refused.
async fn hello(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    send.write_all(&[2]).await.expect("written");
    send.finish().expect("ended");
    let answer = tokio::time::timeout(DEADLINE, receive.read_to_end(16));
    answer.await.expect("in time").ok()
}

/// Writes a byte now and then, or none after the first, until the node ends it.
async fn slow(connection: quinn::Connection, trickle: bool) {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    send.write_all(&[0]).await.expect("written");
    let mut answer = tokio::spawn(async move { receive.read_to_end(16).await });
    let ended = loop {
        tokio::select! {
            ended = &mut answer => break ended.expect("ran"),
            () = tokio::time::sleep(Duration::from_millis(50)), if trickle => {
                // Stopped: the answer will tell.
                let _ = send.write_all(&[1]).await;
            }
        }
    };
    assert!(
        matches!(
            ended,
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(_)))
        ),
        "reset by the node: {ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_streams_and_answers_that_nobody_reads_end_and_hold_nobody_up() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let nodes = datacenter(&world, "west", 3).await;
    let victim = nodes.first().expect("a node");
    let dialler = Dialler::new();
    let mut watch = Watch::new(&nodes);
    let config = world.node("west", "slow", Role::Client);
    let connection = dialler.dial(&config, victim).await;
    // Another takes no byte of any answer.
    let config = world.node("west", "deaf", Role::Client);
    let mut deaf = quinn::TransportConfig::default();
    deaf.stream_receive_window(0u32.into());
    let deaf = dialler.dial_with(&config, victim, deaf).await;
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        let (mut send, receive) = deaf.open_bi().await.expect("a stream");
        send.write_all(&[2]).await.expect("written");
        send.finish().expect("ended");
        unread.push((send, receive));
    }
    let (before, start, mut streams) = (resident(), Instant::now(), 0);
    while streams == 0 || start.elapsed() < duration() {
        let all: Vec<_> = (0..STREAMS)
            .map(|i| tokio::spawn(slow(connection.clone(), i % 2 == 0)))
            .collect();
        streams += all.len();
        if streams == STREAMS {
            somebody_joins(&world, &nodes, victim).await;
        }
        for stream in all {
            stream.await.expect("was cut");
        }
    }
    streams += unread.len();
    eventually("all of them were cut at their deadline", || async {
        (cut(victim, "deadline") >= streams as f64).then_some(())
    })
    .await;
    assert_eq!(
        hello(&connection).await,
        Some(vec![2]),
        "there is room again"
    );
    let suspected = watch.nobody_died();
    let grown = grown(before, 8);
    println!("slow streams: {streams} cut, {suspected} suspicions, {grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_members_cannot_use_up_the_streams_of_all() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let nodes = datacenter(&world, "west", 3).await;
    let victim = nodes.first().expect("a node");
    let dialler = Dialler::new();
    let mut watch = Watch::new(&nodes);
    let before = resident();
    let honest = world.node("west", "honest", Role::Client);
    let honest = dialler.dial(&honest, victim).await;
    // Five of them could hold 320 streams; all peers together may have 256.
    let mut held = Vec::new();
    for i in 0..5 {
        let config = world.node("west", &format!("slow-{i}"), Role::Client);
        for _ in 0..4 {
            let connection = dialler.dial(&config, victim).await;
            for _ in 0..STREAMS {
                let (mut send, receive) = connection.open_bi().await.expect("a stream");
                send.write_all(&[0]).await.expect("written");
                held.push((send, receive));
            }
        }
    }
    eventually("what is too much is cut at once", || async {
        (cut(victim, "busy") >= 240.0).then_some(())
    })
    .await;
    assert_eq!(
        hello(&honest).await,
        Some(vec![2]),
        "others have their turn"
    );
    somebody_joins(&world, &nodes, victim).await;
    eventually("the rest is cut in time", || async {
        (cut(victim, "deadline") >= 80.0).then_some(())
    })
    .await;
    let suspected = watch.nobody_died();
    let grown = grown(before, 16);
    println!("320 streams of five members: {suspected} suspicions, {grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_and_what_is_no_request_is_cut() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let nodes = datacenter(&world, "west", 2).await;
    let victim = nodes.first().expect("a node");
    let dialler = Dialler::new();
    let config = world.node("west", "odd", Role::Client);
    let connection = dialler.dial(&config, victim).await;
    let before = resident();
    for (bytes, reason) in [
        (vec![0; TOO_MUCH], "too-large"),
        (vec![], "malformed"),
        (vec![2, 0], "malformed"),
        (vec![200; 100], "malformed"),
        (vec![0; 1000], "unanswered"),
    ] {
        let counted = cut(victim, reason);
        let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
        // The node may stop it before all is written.
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        let answer = tokio::time::timeout(DEADLINE, receive.read_to_end(16)).await;
        let answer = answer.expect("in time");
        assert!(answer.is_err(), "{reason}: {answer:?}");
        eventually(reason, || async {
            (cut(victim, reason) > counted).then_some(())
        })
        .await;
    }
    assert_eq!(hello(&connection).await, Some(vec![2]));
    all_alive(&nodes).await;
    println!("odd streams: {} KiB", grown(before, 8));
}
