//! Floods of the LAN datagram port by somebody without a certificate (M-09, M-12): every kind of bytes that the checks
//! tell apart, as fast as one thread can send.

use crate::{
    common::{World, start},
    kit::{
        Flood, Watch, all_alive, alone, datacenter, duration, grown, packets_in, rate, resident,
        risen, settled, sockets, somebody_joins,
    },
};
use pelago_node::{Node, fault::Datagram};
use pelago_pki::Role;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

type Kind = Box<dyn FnMut(u64, &mut Vec<u8>) + Send>;

/// Where a datagram holds the tag of the key it is sealed to, and how long its head is.
const TAG: std::ops::Range<usize> = 18..20;
const HEAD: usize = 28;
const INTRODUCED: u8 = 1;

fn noise(rng: &mut SmallRng, to: &mut Vec<u8>, length: usize) {
    to.extend((0..length).map(|_| rng.random::<u8>()));
}

/// The kinds, and for each a reason of which at least one must be counted.
fn kinds(
    recorded: &[Datagram],
    victim: &Node,
    strangers: Vec<Vec<u8>>,
) -> Vec<(&'static str, &'static str, Kind)> {
    let rng = || SmallRng::seed_from_u64(7);
    let to_victim: Vec<_> = recorded
        .iter()
        .filter(|d| d.to == victim.me().lan)
        .map(|d| d.bytes.to_vec())
        .collect();
    let example = to_victim
        .first()
        .cloned()
        .expect("somebody probed the victim");
    let tag: Vec<u8> = example[TAG].to_vec();
    let retagged = |mut datagram: Vec<u8>| {
        datagram[TAG].copy_from_slice(&tag);
        datagram
    };
    let strangers: Vec<_> = strangers.into_iter().map(retagged).collect();
    assert!(!strangers.is_empty(), "strangers introduced themselves");
    let (mut a, mut b, mut c, mut d, mut e) = (rng(), rng(), rng(), rng(), rng());
    let (unknown, known, lying) = (tag.clone(), example.clone(), example.clone());
    vec![
        (
            "random bytes, every length",
            "version",
            Box::new(move |n, to| noise(&mut a, to, n as usize % 1401)),
        ),
        (
            "another boot's tag",
            "receiver_key",
            Box::new(move |n, to| {
                to.extend([1, 0]);
                noise(&mut b, to, 42 + n as usize % 1100);
            }),
        ),
        (
            "unknown sender",
            "unknown_sender",
            Box::new(move |n, to| {
                to.extend([1, 0]);
                noise(&mut c, to, 16);
                to.extend_from_slice(&unknown);
                noise(&mut c, to, 24 + n as usize % 1100);
            }),
        ),
        (
            "known sender, garbage",
            "forged",
            Box::new(move |n, to| {
                to.extend_from_slice(&known[..HEAD - 8]);
                // Far ahead, so that no window knows the counter.
                to.extend((u64::MAX / 2 + n).to_be_bytes());
                noise(&mut d, to, 16 + n as usize % 1100);
                to[1] = 0;
            }),
        ),
        (
            "known sender, garbage for an introduction",
            "introduction",
            Box::new(move |n, to| {
                to.extend_from_slice(&lying[..HEAD - 8]);
                to.extend((u64::MAX / 2 + n).to_be_bytes());
                to[1] = INTRODUCED;
                for _ in 0..2 {
                    to.extend(400u16.to_be_bytes());
                    noise(&mut e, to, 400);
                }
                noise(&mut e, to, 40);
            }),
        ),
        (
            "introductions of strangers",
            "introduction",
            Box::new(move |n, to| {
                let turn = n as usize % strangers.len();
                to.extend_from_slice(&strangers[turn]);
            }),
        ),
        (
            "what members sent, again",
            "replay",
            Box::new(move |n, to| {
                let turn = n as usize % to_victim.len();
                to.extend_from_slice(&to_victim[turn]);
            }),
        ),
    ]
}

/// Introductions that are sound where they come from: of another datacenter and of another trust domain.
async fn strangers() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (domain, datacenter) in [("pelago.test", "east"), ("other.test", "west")] {
        let world = World::of(domain, &[datacenter]);
        world.faults.record(1000);
        let nodes = crate::kit::datacenter(&world, datacenter, 2).await;
        let introduced = |d: &Datagram| d.bytes[1] == INTRODUCED;
        let recorded = world.faults.recorded();
        all.extend(
            recorded
                .into_iter()
                .filter(introduced)
                .map(|d| d.bytes.to_vec()),
        );
        for node in &nodes {
            node.stop().await;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_flood_the_datagram_port_in_vain() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    world.faults.record(2000);
    let nodes = datacenter(&world, "west", 4).await;
    let victim = nodes.first().expect("a node");
    crate::common::eventually("enough was recorded", || async {
        (packets_in(victim, "datagram") > 20.0).then_some(())
    })
    .await;
    let recorded = world.faults.recorded();
    let kinds = kinds(&recorded, victim, strangers().await);
    let mut watch = Watch::new(&nodes);
    // Buffers and tables of fixed size are filled once before memory is looked at.
    let mut rng = SmallRng::seed_from_u64(1);
    let warm = sockets(["127.0.0.1"]);
    for _ in 0..5000 {
        let mut bytes = Vec::new();
        noise(&mut rng, &mut bytes, 1200);
        let _ = warm
            .first()
            .expect("a socket")
            .send_to(&bytes, victim.me().lan);
    }
    let before = resident();
    for (name, reason, kind) in kinds {
        let (counts, seen) = (victim.samples(), packets_in(victim, "datagram"));
        let mut flood = Flood::run(sockets(["127.0.0.1"]), victim.me().lan, kind).await;
        settled(victim).await;
        flood.listen();
        assert_eq!(
            (flood.heard_packets, flood.heard),
            (0, 0),
            "{name}: nothing is answered"
        );
        let drops = risen(&counts, victim, "datagrams_dropped");
        assert!(
            drops.iter().any(|(r, _)| r == reason),
            "{name} is counted: {drops:?}"
        );
        let suspected = watch.nobody_died();
        let seen = packets_in(victim, "datagram") - seen;
        println!(
            "LAN, {name}: {}/s sent, {:.0}/s taken, 0 bytes back, {suspected} suspicions, {} KiB, {drops:?}",
            rate(flood.packets),
            seen / duration().as_secs_f64(),
            grown(before, 8),
        );
        all_alive(&nodes).await;
    }
    somebody_joins(&world, &nodes, victim).await;
    watch.nobody_died();
}

/// The same bytes to every node at once, in turn: nobody is left to vouch for anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_everybody_kills_nobody() {
    let _alone = alone().await;
    let world = World::new(&["west"]);
    let nodes = datacenter(&world, "west", 5).await;
    let mut watch = Watch::new(&nodes);
    let before = resident();
    let to: Vec<_> = nodes.iter().map(|n| n.me().lan).collect();
    let floods = to.into_iter().map(|to| {
        let mut rng = SmallRng::seed_from_u64(3);
        Flood::run(sockets(["127.0.0.1"]), to, move |n, packet| {
            packet.extend([1, 0]);
            noise(&mut rng, packet, 42 + n as usize % 1100);
        })
    });
    let floods: Vec<_> = floods.map(tokio::spawn).collect();
    let mut packets = 0;
    for flood in floods {
        let mut flood = flood.await.expect("ended");
        flood.listen();
        assert_eq!(flood.heard, 0);
        packets += flood.packets;
    }
    all_alive(&nodes).await;
    let suspected = watch.nobody_died();
    println!(
        "LAN, five nodes at once: {}/s sent, {suspected} suspicions, {} KiB",
        rate(packets),
        grown(before, 8),
    );
    let mut config = world.node("west", "last", Role::Client);
    config.lan.join = vec![nodes[0].me().lan_stream.to_string()];
    let last = start(config).await;
    let everybody: Vec<_> = nodes.iter().chain([&last]).collect();
    crate::common::everyone_sees(&everybody, "last", pelago_proto::view::Status::Alive).await;
}
