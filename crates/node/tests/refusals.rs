//! Who is not let in, over real QUIC: each with its own counter, and without harm to those who are.

mod common;

use common::{
    DOMAIN, World, copy, eventually, everyone_sees, now,
    quic::{Anyone, NoCertificate, tls},
    refused, sample, start, try_start,
};
use pelago_node::{Node, StartError, config::Config, fault::Faults};
use pelago_pki::{IssueRequest, Role, Target};
use pelago_proto::view::{EventKind, Status};
use std::{sync::Arc, time::Duration};

fn joining(mut config: Config, seed: &Node) -> Config {
    config.lan.join = vec![seed.me().lan_stream.to_string()];
    config
}

/// A bare QUIC client with the given TLS configuration and protocol; returns how the connection ended.
async fn dial(tls: rustls::ClientConfig, to: std::net::SocketAddr) -> quinn::ConnectionError {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("crypto");
    let mut endpoint =
        quinn::Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("endpoint");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    match endpoint.connect(to, "pelago.invalid").expect("dial").await {
        Ok(connection) => tokio::time::timeout(common::DEADLINE, connection.closed())
            .await
            .expect("closed in time"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_certificate_of_the_right_kind_gets_in() {
    let world = World::new(&["west", "east"]);
    let node = start(world.node("west", "n0", Role::Server)).await;
    let wan = node.me().wan.expect("server");
    let anybody = pelago_pki::Accept::anybody();

    // No certificate at all.
    let mut bare = tls(
        &world.node("west", "bare", Role::Client),
        &anybody,
        b"pelago-lan/1",
    );
    bare.client_auth_cert_resolver = Arc::new(NoCertificate);
    dial(bare, node.me().lan_stream).await;
    refused(&node, "no-certificate").await;

    // Another datacenter's on the LAN.
    dial(
        tls(
            &world.node("east", "e0", Role::Server),
            &anybody,
            b"pelago-lan/1",
        ),
        node.me().lan_stream,
    )
    .await;
    refused(&node, "wrong-datacenter").await;

    // A client on the WAN; an operator anywhere.
    dial(
        tls(
            &world.node("west", "c0", Role::Client),
            &anybody,
            b"pelago-wan/1",
        ),
        wan,
    )
    .await;
    refused(&node, "role").await;

    // The right certificate, the wrong protocol.
    dial(
        tls(
            &world.node("west", "n9", Role::Server),
            &anybody,
            b"pelago-lan/9",
        ),
        node.me().lan_stream,
    )
    .await;
    refused(&node, "protocol").await;

    // The node's own key.
    let own = dial(tls(&own_files(&world), &anybody, b"pelago-wan/1"), wan).await;
    assert!(
        matches!(own, quinn::ConnectionError::ApplicationClosed(_)),
        "{own:?}"
    );
    refused(&node, "myself").await;

    // Another trust domain's: nobody here knows who issued it. Its own view of us must not end the handshake first.
    let other = World::of("other.test", &["north"]);
    let mut stranger = other.node("north", "n0", Role::Server);
    let mut foreign = tls(&stranger, &anybody, b"pelago-wan/1");
    stranger.pki.ca = world.pki().join("ca.pem");
    foreign
        .dangerous()
        .set_certificate_verifier(Arc::new(Anyone));
    dial(foreign, wan).await;
    refused(&node, "unknown-issuer").await;

    assert!(sample(&node, "handshakes", ("outcome", "failed")) >= 4.0);
    // Whoever failed so often has not spoiled it for members at the same address.
    let member = start(joining(world.node("west", "n1", Role::Client), &node)).await;
    everyone_sees(&[&node, &member], "n1", Status::Alive).await;
}

fn own_files(world: &World) -> Config {
    let mut config = world.node("west", "unused", Role::Client);
    config.pki.cert = world.dir.path().join("west/n0/n0.pem");
    config.pki.key = world.dir.path().join("west/n0/n0.key");
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_at_start_and_by_others() {
    let day = 24 * 3600;
    let world = World {
        dir: tempfile::tempdir().expect("dir"),
        faults: Faults::none(),
    };
    world.add_at(DOMAIN, &["west"], now() - 40 * day);
    let node = start(world.node("west", "n0", Role::Server)).await;
    let overdue = node.condition().degraded;
    assert!(
        overdue.iter().any(|d| d.contains("revocation list")),
        "old lists are told, and no more: {overdue:?}"
    );
    let request = IssueRequest {
        datacenter: "west".into(),
        zone: "a".into(),
        rack: "r".into(),
        role: Role::Client,
        node: "old".into(),
        lifetime: Duration::from_secs(3600),
        out: Some(world.dir.path().join("old")),
    };
    let issued = pelago_pki::issue(&world.pki(), &request, now() - 5 * day).expect("issued");
    let mut config = world.node("west", "n1", Role::Client);
    config.name = None;
    config.pki.cert = issued.cert;
    config.pki.key = issued.key;
    dial(
        tls(&config, &pelago_pki::Accept::anybody(), b"pelago-lan/1"),
        node.me().lan_stream,
    )
    .await;
    refused(&node, "expired").await;
    let refused = try_start(config).await.map(|_| ());
    assert!(
        matches!(&refused, Err(StartError::Pki(why)) if why.contains("expired")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_closes_live_connections_and_later_ones() {
    let world = World::new(&["west"]);
    let node = start(world.node("west", "n0", Role::Server)).await;
    let config = joining(world.node("west", "n1", Role::Client), &node);
    let member = start(config.clone()).await;
    everyone_sees(&[&node, &member], "n1", Status::Alive).await;
    let lan = pelago_pki::Accept::anybody();
    let live = tokio::spawn(dial(
        tls(&config, &lan, b"pelago-lan/1"),
        node.me().lan_stream,
    ));
    let target = Target::Certificate(config.pki.cert.clone());
    pelago_pki::revoke(&world.pki(), &target, now()).expect("revoked");
    node.reload().await;
    let ended = live.await.expect("ended");
    assert!(
        !matches!(ended, quinn::ConnectionError::TimedOut),
        "{ended:?}"
    );
    dial(tls(&config, &lan, b"pelago-lan/1"), node.me().lan_stream).await;
    refused(&node, "revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_up_and_broken_files_change_nothing() {
    let world = World::new(&["west"]);
    let config = world.node("west", "n0", Role::Server);
    let node = start(config.clone()).await;
    let before = sample(&node, "cert_not_after_seconds", ("", ""));
    std::fs::write(&config.pki.cert, "no certificate").expect("written");
    let report = node.reload().await;
    assert_eq!(
        (report.applied.len(), report.failed.len()),
        (0, 1),
        "{report:?}"
    );
    assert!(
        node.condition()
            .degraded
            .iter()
            .any(|d| d.contains("not re-read"))
    );
    assert_eq!(sample(&node, "cert_not_after_seconds", ("", "")), before);
    // Written anew under the same name; nobody calls reload.
    let other = world.node("west", "n1", Role::Server);
    std::fs::copy(&other.pki.cert, &config.pki.cert).expect("copied");
    let report = node.reload().await;
    assert_eq!(
        report.failed.len(),
        1,
        "another node's certificate is not taken up: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_noticed_without_being_told() {
    let world = World::new(&["west"]);
    let config = world.node("west", "n0", Role::Server);
    let node = start(config.clone()).await;
    let before = sample(&node, "cert_not_after_seconds", ("", ""));
    pelago_pki::renew(
        &world.pki(),
        &config.pki.cert,
        false,
        Some(Duration::from_secs(48 * 3600)),
        now(),
    )
    .expect("renewed");
    eventually("the new certificate is in force", || async {
        (sample(&node, "cert_not_after_seconds", ("", "")) > before).then_some(())
    })
    .await;
    let member = start(joining(world.node("west", "n1", Role::Client), &node)).await;
    everyone_sees(&[&node, &member], "n1", Status::Alive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_work_is_refused_at_start() {
    let world = World::new(&["west"]);
    let config = world.node("west", "n0", Role::Server);
    let mut wrong = config.clone();
    wrong.zone = Some("b".into());
    assert!(matches!(
        try_start(wrong).await,
        Err(StartError::Mismatch { field: "zone", .. })
    ));
    let mut wrong = config.clone();
    wrong.wan = None;
    assert!(matches!(try_start(wrong).await, Err(StartError::Config(_))));
    let mut wrong = config.clone();
    wrong.lan.allow = vec!["10.0.0.0/8".parse().expect("net")];
    assert!(matches!(try_start(wrong).await, Err(StartError::Config(_))));
    let mut wrong = config.clone();
    wrong.lan.address = [0, 0, 0, 0].into();
    assert!(matches!(try_start(wrong).await, Err(StartError::Config(_))));
    let mut wrong = config.clone();
    wrong.lan.pause_tolerance = Duration::from_secs(60);
    assert!(matches!(try_start(wrong).await, Err(StartError::Config(_))));
    let mut wrong = config.clone();
    wrong.pki.key = wrong.pki.cert.clone();
    assert!(matches!(try_start(wrong).await, Err(StartError::Pki(_))));
    let mut client = world.node("west", "c0", Role::Client);
    client.wan = config.wan.clone();
    assert!(matches!(
        try_start(client).await,
        Err(StartError::Config(_))
    ));
    let running = start(config.clone()).await;
    let mut taken = config;
    taken.lan.port = running.me().lan.port();
    assert!(matches!(
        try_start(taken).await,
        Err(StartError::Bind { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datacenter_that_nobody_has_heard_of_joins_without_anybodys_files_changing() {
    let world = World::new(&["west"]);
    let node = start(world.node("west", "w0", Role::Server)).await;
    // The operator of the new datacenter holds the root's directory; the old nodes keep the files they have.
    let mut new = World {
        dir: tempfile::tempdir().expect("dir"),
        faults: Faults::none(),
    };
    copy(&world.pki(), &new.pki());
    new.add(DOMAIN, &["east"]);
    new.faults = world.faults.clone();
    let mut config = new.node("east", "e0", Role::Server);
    config.wan.as_mut().expect("server").join = vec![node.me().wan.expect("server").to_string()];
    let newcomer = start(config).await;
    everyone_sees(&[&node, &newcomer], "e0", Status::Alive).await;
    everyone_sees(&[&node, &newcomer], "w0", Status::Alive).await;
}

async fn roots_in_force(node: &Node, wanted: usize) {
    eventually(&format!("{wanted} roots are in force"), || async {
        let lists = node.lists();
        let roots = lists.iter().filter(|l| l.datacenter.is_none());
        (roots.count() == wanted).then_some(())
    })
    .await;
}

/// As `docs/operations.md` tells it: both roots, then the new one alone, with no key of a node or authority changed.
#[tokio::test(flavor = "multi_thread")]
async fn one_root_replaces_another_and_nobody_drops_out() {
    let world = World::new(&["west"]);
    let config = world.node("west", "n0", Role::Server);
    let node = start(config.clone()).await;
    let member = start(joining(world.node("west", "n1", Role::Client), &node)).await;
    everyone_sees(&[&node, &member], "n1", Status::Alive).await;
    let (pki, new) = (world.pki(), world.dir.path().join("new"));
    copy(&pki, &new);
    for file in [
        "root.pem",
        "root.key",
        "ca.pem",
        "crl/root.crl",
        "west/ca.pem",
    ] {
        std::fs::remove_file(new.join(file)).expect("removed");
    }
    pelago_pki::init(&new, DOMAIN, &["west".into()], now()).expect("a new root");
    let text = |path: &std::path::Path| std::fs::read_to_string(path).expect("read");
    let both = text(&new.join("ca.pem")) + &text(&pki.join("root.pem"));
    std::fs::rename(pki.join("crl/root.crl"), pki.join("crl/root-old.crl")).expect("renamed");
    std::fs::copy(new.join("crl/root.crl"), pki.join("crl/root.crl")).expect("copied");
    std::fs::write(pki.join("ca.pem"), both).expect("written");
    for node in [&node, &member] {
        roots_in_force(node, 2).await;
        let mut series: Vec<_> = node
            .samples()
            .into_iter()
            .map(|s| (s.name, s.labels))
            .collect();
        series.sort();
        let twice: Vec<_> = series.windows(2).filter(|w| w[0] == w[1]).collect();
        assert!(twice.is_empty(), "no series is there twice: {twice:?}");
    }
    pelago_pki::renew(&new, &config.pki.cert, false, None, now()).expect("renewed");
    std::fs::copy(new.join("ca.pem"), pki.join("ca.pem")).expect("copied");
    std::fs::remove_file(pki.join("crl/root-old.crl")).expect("removed");
    for node in [&node, &member] {
        roots_in_force(node, 1).await;
    }
    let late = start(joining(world.node("west", "n2", Role::Client), &node)).await;
    for name in ["n0", "n1", "n2"] {
        everyone_sees(&[&node, &member, &late], name, Status::Alive).await;
    }
    let events = node.events_since(0).unwrap_or_default();
    let lost = events
        .iter()
        .any(|e| matches!(e.event.kind, EventKind::Dead | EventKind::Unreachable));
    assert!(!lost, "{events:?}");
}
