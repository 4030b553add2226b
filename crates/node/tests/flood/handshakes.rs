//! What somebody without a certificate may send to QUIC ports: how much comes back (M-12), and what a flood of
//! handshakes, half-open and real, does to those who are linked (M-13).

use crate::{
    common::{World, eventually, quic},
    kit::{
        Flood, Watch, all_alive, alone, duration, federation, grown, linked, rate, resident, risen,
        sockets, somebody_joins, total,
    },
};
use pelago_node::Node;
use pelago_pki::{Accept, Role};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

/// A first flight: the datagrams with which a handshake begins.
type Flight = Vec<Vec<u8>>;

/// Packets of one kind.
type Packets = Box<dyn FnMut() -> Vec<u8>>;

/// A client that has no certificate and believes every server.
fn nobody(world: &World, alpn: &[u8]) -> rustls::ClientConfig {
    // The certificate is not shown; its files are what a configuration is made of.
    let name = format!("nobody-{}", String::from_utf8_lossy(&alpn[7..10]));
    let config = world.node("west", &name, Role::Client);
    let mut tls = quic::tls(&config, &Accept::anybody(), alpn);
    tls.client_auth_cert_resolver = Arc::new(quic::NoCertificate);
    tls.dangerous()
        .set_certificate_verifier(Arc::new(quic::Anyone));
    tls
}

/// First flights of real handshakes, taken where nobody answers. Each has connection ids of its own.
async fn flights(tls: &rustls::ClientConfig, count: usize) -> Vec<Flight> {
    let mut all = Vec::new();
    while all.len() < count {
        let sink = tokio::net::UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let to = sink.local_addr().expect("address");
        let endpoint = quic::client("127.0.0.1", tls.clone());
        let dials: Vec<_> = (0..32.min(count - all.len()))
            .map(|_| endpoint.connect(to, "pelago.invalid").expect("dialled"))
            .collect();
        let mut found: BTreeMap<Vec<u8>, Flight> = BTreeMap::new();
        // A flight with today's key exchange takes two datagrams.
        while found.len() < dials.len() || found.values().any(|f| f.len() < 2) {
            let mut bytes = vec![0; 2048];
            let length = sink.recv(&mut bytes).await.expect("heard");
            bytes.truncate(length);
            let id = bytes[6..6 + usize::from(bytes[5])].to_vec();
            let flight = found.entry(id).or_default();
            if flight.len() < 2 && !flight.contains(&bytes) {
                flight.push(bytes);
            }
        }
        all.extend(found.into_values());
    }
    all
}

/// Bytes that begin no handshake, by kind.
fn rubbish(flight: &Flight) -> Vec<(&'static str, Packets)> {
    let whole = flight.first().cloned().expect("a datagram");
    let mut rng = SmallRng::seed_from_u64(11);
    let mut random = move |first: u8, version: u32, length: usize| {
        let mut packet = vec![first];
        packet.extend(version.to_be_bytes());
        packet.push(8);
        packet.extend((0..length - 6).map(|_| rng.random::<u8>()));
        packet[14] = 8;
        packet
    };
    let mut again = random.clone();
    let (mut a, mut b, mut c, mut d) = (again.clone(), again.clone(), again.clone(), again.clone());
    let (mut e, mut short) = (again.clone(), SmallRng::seed_from_u64(12));
    let (mut broken, cut) = (whole.clone(), whole[..600].to_vec());
    *broken.last_mut().expect("a byte") ^= 1;
    vec![
        ("random bytes", Box::new(move || random(0, 0, 1200))),
        (
            "unknown version",
            Box::new(move || again(0xc0, 0xdead_beef, 1200)),
        ),
        ("version 0", Box::new(move || a(0xc0, 0, 1200))),
        ("random Initial", Box::new(move || b(0xc0, 1, 1200))),
        ("0-RTT", Box::new(move || c(0xd0, 1, 1200))),
        ("Handshake", Box::new(move || d(0xe0, 1, 1200))),
        ("Retry", Box::new(move || e(0xf0, 1, 1200))),
        (
            "short headers",
            Box::new(move || {
                let length = short.random_range(21..1400);
                let mut packet: Vec<u8> = (0..length).map(|_| short.random()).collect();
                packet[0] = 0x40 | packet[0] & 0x3f;
                packet
            }),
        ),
        ("Initial, a bit flipped", Box::new(move || broken.clone())),
        ("Initial, cut short", Box::new(move || cut.clone())),
    ]
}

/// Sends a few of each kind and waits until whatever may come of them has come.
async fn audit(name: &str, node: &Node, to: SocketAddr, flights: &[Flight]) {
    let mut heard = Vec::new();
    let flight = flights.first().expect("a flight");
    for (kind, mut packet) in rubbish(flight) {
        let mut flood = Flood {
            sockets: sockets(["127.0.0.1"]),
            ..Flood::default()
        };
        for i in 0..200 {
            flood.send(&packet(), to);
            // Slowly enough that the node sees all of it.
            if i % 10 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        }
        heard.push((kind.to_owned(), flood));
    }
    // Each from an address of its own in a network of its own, so that no budget answers for it.
    for (i, flight) in flights.iter().skip(1).enumerate() {
        let whole = i % 2 == 0;
        let from = format!("127.0.{}.1", i + 1);
        let mut flood = Flood {
            sockets: sockets([from.as_str()]),
            ..Flood::default()
        };
        for datagram in flight.iter().take(if whole { 2 } else { 1 }) {
            flood.send(datagram, to);
        }
        let kind = if whole {
            "first flight"
        } else {
            "half a first flight"
        };
        heard.push((kind.to_owned(), flood));
    }
    let sent = |node: &Node| total(node, "bytes");
    let mut last = 0.0;
    eventually("the node has nothing more to say", || {
        for (_, flood) in &mut heard {
            flood.listen();
        }
        let (now, answered) = (sent(node), heard.iter().rev().take(flights.len() - 1));
        let over = now == last && answered.clone().all(|(_, f)| f.heard > 0);
        last = now;
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            over.then_some(())
        }
    })
    .await;
    let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (kind, flood) in heard {
        assert!(
            flood.heard <= 3 * flood.bytes,
            "{name}, {kind}: {} bytes for {}",
            flood.heard,
            flood.bytes
        );
        let sum = told.entry(kind).or_default();
        *sum = (sum.0 + flood.bytes, sum.1 + flood.heard);
    }
    for (kind, (sent, heard)) in told {
        let factor = heard as f64 / sent as f64;
        println!("{name}, {kind}: {sent} bytes sent, {heard} back, {factor:.2} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_more_than_three_times_what_it_sends() {
    let _alone = alone().await;
    let world = World::new(&["west", "east"]);
    let lan = crate::common::start(world.node("west", "lan", Role::Server)).await;
    let wan = crate::common::start(world.node("east", "wan", Role::Server)).await;
    let first = flights(&nobody(&world, quic::LAN), 9).await;
    audit("LAN streams", &lan, lan.me().lan_stream, &first).await;
    let first = flights(&nobody(&world, quic::WAN), 9).await;
    audit("WAN", &wan, wan.me().wan.expect("a server"), &first).await;
}

/// Dials without a certificate, one after another, until the time is over; returns how many.
async fn dials(endpoint: quinn::Endpoint, to: SocketAddr) -> u64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < duration() {
        let dial = endpoint.connect(to, "pelago.invalid").expect("dialled");
        // The node may not answer at all: that is one of its answers.
        let patience = duration().saturating_sub(start.elapsed());
        if let Ok(Ok(connection)) = tokio::time::timeout(patience, dial).await {
            connection.closed().await;
        }
        count += 1;
    }
    count
}

async fn handshake_flood(world: &World, nodes: &[Node], name: &str, alpn: &[u8], to: SocketAddr) {
    const DIALLERS: usize = 8;
    let node = nodes.first().expect("a node");
    let tls = nobody(world, alpn);
    let count = 256 * usize::try_from(duration().as_secs().clamp(1, 8)).expect("small");
    let flights = flights(&tls, count).await;
    let packets: Vec<_> = flights.into_iter().flatten().collect();
    let from: Vec<_> = (0..128).map(|i| format!("127.1.{i}.1")).collect();
    let sockets = sockets(from.iter().map(String::as_str));
    let mut watch = Watch::new(nodes);
    // One endpoint for all: its buffers are large, and in this process.
    let dialler = quic::client("127.0.0.1", tls);
    let (before, counts) = (resident(), node.samples());
    let real: Vec<_> = (0..DIALLERS)
        .map(|_| tokio::spawn(dials(dialler.clone(), to)))
        .collect();
    let mut flood = Flood::run(sockets, to, move |n, packet| {
        let turn = n as usize % packets.len();
        packet.extend_from_slice(&packets[turn]);
    })
    .await;
    let mut dialled = 0;
    for task in real {
        dialled += task.await.expect("ended");
    }
    flood.listen();
    let refused = risen(&counts, node, "peers_refused");
    assert!(flood.retries > 0, "{name}: addresses had to be proven");
    assert!(
        refused.iter().any(|(r, _)| r == "no-certificate"),
        "real handshakes got as far as they may: {refused:?}"
    );
    assert!(
        flood.heard <= 3 * flood.bytes,
        "{name}: {} bytes for {}",
        flood.heard,
        flood.bytes
    );
    let suspected = watch.nobody_died();
    println!(
        "{name}: {}/s raw ({:.2} times back, {} retries), {}/s dialled, {suspected} suspicions, {} KiB, {refused:?}",
        rate(flood.packets),
        flood.heard as f64 / flood.bytes as f64,
        flood.retries,
        rate(dialled),
        grown(before, 16),
    );
    all_alive(nodes).await;
    linked(nodes).await;
    watch.nobody_died();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_cuts_nobody_off() {
    let _alone = alone().await;
    let world = World::new(&["west", "east"]);
    let nodes = federation(&world).await;
    let target = nodes.first().expect("a server");
    let wan = target.me().wan.expect("a server");
    handshake_flood(
        &world,
        &nodes,
        "LAN streams",
        quic::LAN,
        target.me().lan_stream,
    )
    .await;
    handshake_flood(&world, &nodes, "WAN", quic::WAN, wan).await;
    somebody_joins(&world, &nodes, target).await; // And somebody new on the WAN, too.
    let mut config = world.node("east", "east-new", Role::Server);
    config.wan.as_mut().expect("server").join = vec![wan.to_string()];
    config.lan.join = nodes
        .iter()
        .skip(3)
        .map(|n| n.me().lan_stream.to_string())
        .collect();
    let newcomer = crate::common::start(config).await;
    let servers: Vec<_> = nodes.iter().filter(|n| n.me().wan.is_some()).collect();
    crate::common::everyone_sees(&servers, "east-new", pelago_proto::view::Status::Alive).await;
    crate::common::everyone_sees(&[&newcomer], "west-0", pelago_proto::view::Status::Alive).await;
}
