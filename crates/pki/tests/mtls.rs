//! The first checks: what the TLS library, QUIC and our verifier really do with each other, over
//! real sockets. Run again on every upgrade of rustls, webpki or quinn.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;
#[path = "common/link.rs"]
mod link;

use std::sync::Arc;

use common::{Federation, real_now};
use link::{Acceptor, WAN, alert, connect, dial, dialler, quic_client, round_trip, works};
use pelago_pki::{
    Accept, Admission, Contact, Expect, INTRO_ALPN, Identity, Policy, Refusal, Role, TrustStore,
    UNKNOWN_CA_ALERT, client_config, judge_peer, peer_identity, provider, renew, server_config,
};
use quinn::ConnectionError;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, SerialNumber};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

const BAD_CERTIFICATE: u8 = 42;
const CERTIFICATE_REVOKED: u8 = 44;
const DECRYPT_ERROR: u8 = 51;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Two datacenters, a server in each, and what each of the two trusts.
struct Pair {
    federation: Federation,
    west: Identity,
    east: Identity,
    west_store: TrustStore,
    east_store: TrustStore,
}

impl Pair {
    fn new() -> Self {
        let federation = Federation::new(real_now(), &["west", "east"]);
        Self {
            west: federation.identity("west", "s1", Role::Server),
            east: federation.identity("east", "s1", Role::Server),
            west_store: federation.store(),
            east_store: federation.store(),
            federation,
        }
    }

    /// The server in the west, listening on the WAN.
    fn listen(&self) -> Acceptor {
        Acceptor::start(&self.west_store, &self.west, Accept::wan(), &[WAN])
    }
}

fn accepted(store: &TrustStore) -> u64 {
    count(store, "accepted")
}

fn count(store: &TrustStore, label: &str) -> u64 {
    let counts = store.handshakes();
    counts
        .iter()
        .find(|(name, _)| *name == label)
        .map_or(0, |(_, count)| *count)
}

/// A dialler that trusts anybody, so that only the other side's verifier is at work.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A dialler with whatever certificate, or none.
fn gullible(certificate: Option<CertifiedKey>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match certificate {
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![WAN.to_vec()];
    config
}

/// A chain presented with a key that is, or is not, its own.
fn present(chain: Vec<CertificateDer<'static>>, key: &std::path::Path) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    CertifiedKey::new(chain, key)
}

/// What an acceptor says to a dialler that connects and asks something.
async fn answer(acceptor: &Acceptor, tls: ClientConfig) -> Result<Vec<u8>, ConnectionError> {
    let endpoint = dialler();
    let connection = connect(&endpoint, acceptor.address, tls).await?;
    round_trip(&connection, b"hello").await
}

#[tokio::test]
async fn two_servers_know_each_other_by_certificate() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let endpoint = dialler();
    let expect = Expect::Node(pair.west.node_id());
    let connection = dial(
        &endpoint,
        acceptor.address,
        &pair.east_store,
        &pair.east,
        expect,
    );
    let connection = connection.await.unwrap();
    assert_eq!(round_trip(&connection, b"hello").await.unwrap(), b"hello");
    let chain = link::peer_chain(&connection);
    let peer = peer_identity(&chain, &pair.east_store, real_now()).unwrap();
    assert_eq!(peer.certified.name, *pair.west.name());
    assert_eq!(peer.leaf, pair.west.leaf_der());
    assert_eq!(peer.authority, pair.west.authority_der());
    let Ok(Contact::Known(seen)) = acceptor.judged().swap_remove(0) else {
        panic!("the acceptor saw a stranger");
    };
    assert_eq!(seen.certified.node_id, pair.east.node_id());
}

#[tokio::test]
async fn without_a_certificate_connecting_seems_to_work_and_then_does_not() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let endpoint = dialler();
    // TLS 1.3 judges the client after the client believes to be done.
    let connected = connect(&endpoint, acceptor.address, gullible(None)).await;
    let error = round_trip(&connected.unwrap(), b"hello").await.unwrap_err();
    assert_eq!(alert(&error), Some(CERTIFICATE_REQUIRED));
    assert!(acceptor.judged().is_empty());
}

#[tokio::test]
async fn another_node_than_the_one_dialled_is_refused() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let endpoint = dialler();
    for (expect, fits) in [
        (Expect::Node(pair.west.node_id()), true),
        (Expect::Node(pair.east.node_id()), false),
        (Expect::Datacenter("west".to_owned()), true),
        (Expect::Datacenter("east".to_owned()), false),
        (Expect::Server, true),
        (Expect::Any, true),
    ] {
        let text = format!("{expect:?}");
        let dialled = dial(
            &endpoint,
            acceptor.address,
            &pair.east_store,
            &pair.east,
            expect,
        );
        let dialled = dialled.await;
        assert_eq!(dialled.is_ok(), fits, "{text}");
        if let Err(error) = dialled {
            assert!(alert(&error).is_some());
        }
    }
    assert_eq!(count(&pair.east_store, Refusal::WrongPeer.label()), 2);
}

#[tokio::test]
async fn roles_and_datacenters_are_admitted_per_transport() {
    let pair = Pair::new();
    let wan = pair.listen();
    let lan = Acceptor::start(&pair.west_store, &pair.west, Accept::lan("west"), &[WAN]);
    let identity = |datacenter, node, role| pair.federation.identity(datacenter, node, role);
    for (identity, on_wan, on_lan) in [
        (identity("west", "s2", Role::Server), true, true),
        (identity("west", "c1", Role::Client), false, true),
        (identity("west", "o1", Role::Operator), false, false),
        (identity("east", "s2", Role::Server), true, false),
        (identity("east", "c1", Role::Client), false, false),
    ] {
        for (acceptor, admitted) in [(&wan, on_wan), (&lan, on_lan)] {
            let name = identity.name();
            let accept = Accept::anybody();
            let tls = client_config(&pair.east_store, &identity, &accept, Expect::Any, &[WAN]);
            let answered = answer(acceptor, tls.unwrap()).await;
            assert_eq!(answered.is_ok(), admitted, "{name}");
        }
    }
    assert_eq!(count(&pair.west_store, Refusal::Role.label()), 4);
    assert_eq!(count(&pair.west_store, Refusal::WrongDatacenter.label()), 2);
}

#[tokio::test]
async fn a_client_that_answers_on_the_wan_is_refused_by_the_dialler() {
    let pair = Pair::new();
    let client = pair.federation.identity("west", "c1", Role::Client);
    let accept = Accept::anybody();
    let acceptor = Acceptor::start(&pair.west_store, &client, accept, &[WAN]);
    assert!(
        works(acceptor.address, &pair.east_store, &pair.east)
            .await
            .is_err()
    );
    assert_eq!(count(&pair.east_store, Refusal::Role.label()), 1);
}

#[tokio::test]
async fn revoking_acts_on_the_next_handshake_in_both_directions_without_new_configurations() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let endpoint = dialler();
    let dialled = || {
        let (store, identity) = (&pair.east_store, &pair.east);
        dial(&endpoint, acceptor.address, store, identity, Expect::Any)
    };
    let live = dialled().await.unwrap();
    round_trip(&live, b"hello").await.unwrap();

    let path = pair.federation.path().join("east/s1.pem");
    let target = pelago_pki::Target::Certificate(path);
    let crl = pelago_pki::revoke(pair.federation.path(), &target, real_now()).unwrap();
    let admitted = pair.west_store.admit_crl(&crl.der, real_now());
    assert_eq!(admitted, Ok(Admission::NewCrl));

    // The dialler is revoked: the acceptor refuses.
    let error = match dialled().await {
        Ok(connection) => round_trip(&connection, b"hello").await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(alert(&error), Some(CERTIFICATE_REVOKED));
    // TLS does not look again at what is open; judging it again tells whom to close.
    round_trip(&live, b"still open").await.unwrap();
    let chain = vec![
        CertificateDer::from(pair.east.leaf_der().to_vec()),
        CertificateDer::from(pair.east.authority_der().to_vec()),
    ];
    let judged = peer_identity(&chain, &pair.west_store, real_now());
    assert_eq!(judged, Err(Refusal::Revoked));

    // The acceptor is revoked: the dialler refuses.
    let path = pair.federation.path().join("west/s1.pem");
    let target = pelago_pki::Target::Certificate(path);
    let crl = pelago_pki::revoke(pair.federation.path(), &target, real_now()).unwrap();
    pair.east_store.admit_crl(&crl.der, real_now()).unwrap();
    assert_eq!(
        alert(&dialled().await.unwrap_err()),
        Some(CERTIFICATE_REVOKED)
    );
}

#[tokio::test]
async fn nothing_is_ever_resumed_so_every_connection_is_judged() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let endpoint = dialler();
    // One configuration, as rustls keeps its sessions there.
    let accept = Accept::wan();
    let tls = client_config(&pair.east_store, &pair.east, &accept, Expect::Any, &[WAN]);
    let config = quic_client(tls.unwrap());
    for round in 1..=3 {
        let connecting = endpoint.connect_with(config.clone(), acceptor.address, "node.invalid");
        let connecting = connecting.unwrap();
        // No ticket, hence nothing to send early data with.
        let connection = connecting.into_0rtt().err().unwrap().await.unwrap();
        round_trip(&connection, b"hello").await.unwrap();
        assert_eq!(accepted(&pair.west_store), round);
        assert_eq!(accepted(&pair.east_store), round);
    }
}

#[tokio::test]
async fn a_missing_list_fails_closed() {
    let pair = Pair::new();
    let federation = &pair.federation;
    let acceptor = pair.listen();
    let authorities = vec![federation.authority("west"), federation.authority("east")];
    let crls = vec![federation.crl("root"), federation.crl("east")];
    let roots = vec![federation.root()];
    let store = TrustStore::new(common::DOMAIN, roots, authorities, crls, Policy::default());
    let store = store.unwrap();
    let error = works(acceptor.address, &store, &pair.east)
        .await
        .unwrap_err();
    assert_eq!(alert(&error), Some(UNKNOWN_CA_ALERT));
    assert_eq!(count(&store, Refusal::UnknownRevocation.label()), 1);
    store
        .admit_crl(&federation.crl("west"), real_now())
        .unwrap();
    works(acceptor.address, &store, &pair.east).await.unwrap();
}

#[tokio::test]
async fn an_expired_list_serves_or_closes_as_configured() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let expired = CertificateRevocationListParams {
        this_update: common::at(real_now() - 2000),
        next_update: common::at(real_now() - 1000),
        crl_number: SerialNumber::from(9),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let expired = expired.signed_by(&pair.federation.stolen("west")).unwrap();
    for (fail_closed, works_on) in [(false, true), (true, false)] {
        let store = pair.federation.store_with(Policy {
            fail_closed,
            ..Policy::default()
        });
        works(acceptor.address, &store, &pair.east).await.unwrap();
        store.admit_crl(expired.der(), real_now()).unwrap();
        let outcome = works(acceptor.address, &store, &pair.east).await;
        assert_eq!(outcome.is_ok(), works_on);
        let closed = count(&store, Refusal::RevocationExpired.label());
        assert_eq!(closed, u64::from(fail_closed));
    }
}

#[tokio::test]
async fn certificates_rotate_under_load_without_a_drop() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let endpoint = dialler();
    let accept = Accept::wan();
    let (mut west, mut east) = (pair.west.clone(), pair.east.clone());
    let live = dial(
        &endpoint,
        acceptor.address,
        &pair.east_store,
        &east,
        Expect::Any,
    );
    let live = live.await.unwrap();
    let (mut seen, mut serials) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let expect = Expect::Node(west.node_id());
        let fresh = dial(&endpoint, acceptor.address, &pair.east_store, &east, expect);
        let fresh = fresh.await.unwrap();
        round_trip(&fresh, b"new").await.unwrap();
        round_trip(&live, b"old").await.unwrap();
        let peer = peer_identity(&link::peer_chain(&fresh), &pair.east_store, real_now());
        seen.push(peer.unwrap().certified.serial);
        serials.push(west.leaf().serial.clone());

        // Alternately the same key and a new one.
        let rotate = |datacenter: &str| {
            let cert = pair.federation.path().join(datacenter).join("s1.pem");
            let renewed = renew(
                pair.federation.path(),
                &cert,
                round % 2 == 1,
                None,
                real_now(),
            );
            let renewed = renewed.unwrap();
            Identity::load(&renewed.cert, &renewed.key).unwrap()
        };
        (west, east) = (rotate("west"), rotate("east"));
        let config = link::quic_server(&pair.west_store, &west, &accept, &[WAN]);
        acceptor.endpoint.set_server_config(Some(config));
    }
    assert_eq!(seen, serials);
    assert!(acceptor.judged().iter().all(Result::is_ok));
}

#[tokio::test]
async fn protocols_must_agree() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let accept = Accept::wan();
    let alpn: [&[u8]; 1] = [b"pelago-wan/2"];
    let tls = client_config(&pair.east_store, &pair.east, &accept, Expect::Any, &alpn);
    let error = answer(&acceptor, tls.unwrap()).await.unwrap_err();
    assert_eq!(alert(&error), Some(NO_APPLICATION_PROTOCOL));
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_worthless() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let home = pair.federation.path().join("east");
    let chain = vec![
        CertificateDer::from(pair.east.leaf_der().to_vec()),
        CertificateDer::from(pair.east.authority_der().to_vec()),
    ];
    let own = gullible(Some(present(chain.clone(), &home.join("s1.key"))));
    answer(&acceptor, own).await.unwrap();
    pair.federation.issue("east", "s2", Role::Server);
    let stolen = gullible(Some(present(chain, &home.join("s2.key"))));
    let error = answer(&acceptor, stolen).await.unwrap_err();
    assert_eq!(alert(&error), Some(DECRYPT_ERROR));
}

#[tokio::test]
async fn a_chain_is_exactly_a_leaf_and_its_authority() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let key = pair.federation.path().join("east/s1.key");
    let leaf = CertificateDer::from(pair.east.leaf_der().to_vec());
    let authority = pair.federation.authority("east");
    let root = pair.federation.root();
    for chain in [
        vec![leaf.clone()],
        vec![leaf.clone(), authority.clone(), root],
        vec![leaf.clone(), authority, leaf],
    ] {
        let tls = gullible(Some(present(chain, &key)));
        assert!(answer(&acceptor, tls).await.is_err());
    }
    assert_eq!(count(&pair.west_store, Refusal::ChainLength.label()), 3);
}

#[tokio::test]
async fn an_oversized_certificate_is_refused_before_it_is_parsed() {
    let pair = Pair::new();
    let acceptor = pair.listen();
    let key = pair.federation.path().join("east/s1.key");
    let leaf = CertificateDer::from(vec![0x30; 4000]);
    let chain = vec![leaf, pair.federation.authority("east")];
    let error = answer(&acceptor, gullible(Some(present(chain, &key)))).await;
    assert_eq!(alert(&error.unwrap_err()), Some(BAD_CERTIFICATE));
    assert_eq!(count(&pair.west_store, Refusal::TooLarge.label()), 1);
}

/// The east knows everybody; in the west nobody has heard of the east.
struct Strangers {
    pair: Pair,
    acceptor: Acceptor,
}

impl Strangers {
    fn new() -> Self {
        let mut pair = Pair::new();
        pair.west_store = pair.federation.store_of(&["west"]);
        let alpn = [WAN, INTRO_ALPN];
        let acceptor = Acceptor::start(&pair.west_store, &pair.west, Accept::wan(), &alpn);
        Self { pair, acceptor }
    }

    fn introduce_as(&self, identity: &Identity) -> ClientConfig {
        let store = &self.pair.east_store;
        client_config(
            store,
            identity,
            &Accept::wan(),
            Expect::Server,
            &[INTRO_ALPN],
        )
        .unwrap()
    }
}

#[tokio::test]
async fn strangers_introduce_themselves_once_and_are_then_judged_strictly() {
    let Strangers { pair, acceptor } = &Strangers::new();
    // Over the strict protocol the handshake ends well, and the acceptor's judgement does not.
    let error = works(acceptor.address, &pair.east_store, &pair.east)
        .await
        .unwrap_err();
    let ConnectionError::ApplicationClosed(close) = error else {
        panic!("{error}");
    };
    assert_eq!(&close.reason[..], b"unknown-issuer");
    assert_eq!(acceptor.judged(), [Err(Refusal::UnknownIssuer)]);

    // So the dialler introduces itself: authority and CRL, both ways.
    let endpoint = dialler();
    let accept = Accept::wan();
    let tls = client_config(
        &pair.east_store,
        &pair.east,
        &accept,
        Expect::Server,
        &[INTRO_ALPN],
    );
    let connection = connect(&endpoint, acceptor.address, tls.unwrap())
        .await
        .unwrap();
    let own = link::introduction(&pair.east_store, &pair.east);
    let theirs = round_trip(&connection, &own).await.unwrap();
    link::learn(&pair.east_store, &theirs);
    assert_eq!(
        acceptor.judged()[1],
        Ok(Contact::Stranger {
            datacenter: "east".to_owned(),
            authority: pair.east.authority_der().to_vec(),
        })
    );

    // And is known from now on, without any file having changed.
    works(acceptor.address, &pair.east_store, &pair.east)
        .await
        .unwrap();
    assert!(matches!(acceptor.judged()[2], Ok(Contact::Known(_))));
}

#[tokio::test]
async fn both_sides_may_be_strangers_to_each_other() {
    let Strangers { pair, acceptor } = &Strangers::new();
    let store = pair.federation.store_of(&["east"]);
    // A dialler that does not know the other side refuses in the handshake, and is told how to go on.
    let error = works(acceptor.address, &store, &pair.east)
        .await
        .unwrap_err();
    assert_eq!(alert(&error), Some(UNKNOWN_CA_ALERT));
    let endpoint = dialler();
    let accept = Accept::wan();
    let tls = client_config(&store, &pair.east, &accept, Expect::Any, &[INTRO_ALPN]).unwrap();
    let connection = connect(&endpoint, acceptor.address, tls).await.unwrap();
    let theirs = round_trip(&connection, &link::introduction(&store, &pair.east))
        .await
        .unwrap();
    link::learn(&store, &theirs);
    works(acceptor.address, &store, &pair.east).await.unwrap();
}

#[tokio::test]
async fn an_introduction_is_lenient_about_nothing_else() {
    let strangers = &Strangers::new();
    let Strangers { pair, acceptor } = strangers;
    let federation = &pair.federation;
    // A client has no business on the WAN, known or not.
    let client = federation.identity("east", "c1", Role::Client);
    assert!(
        answer(acceptor, strangers.introduce_as(&client))
            .await
            .is_err()
    );
    assert_eq!(count(&pair.west_store, Refusal::Role.label()), 1);

    // Somebody else's root.
    let foreign = Federation::new(real_now(), &["east"]);
    let foreign = foreign.identity("east", "s1", Role::Server);
    assert!(
        answer(acceptor, strangers.introduce_as(&foreign))
            .await
            .is_err()
    );
    assert_eq!(count(&pair.west_store, Refusal::UnknownIssuer.label()), 1);

    // An expired leaf of the stranger's own authority.
    let mut request = Federation::request("east", "s9", Role::Server);
    request.lifetime = std::time::Duration::from_secs(60);
    let expired = pelago_pki::issue(federation.path(), &request, real_now() - 600).unwrap();
    let expired = Identity::load(&expired.cert, &expired.key).unwrap();
    assert!(
        answer(acceptor, strangers.introduce_as(&expired))
            .await
            .is_err()
    );
    assert_eq!(count(&pair.west_store, Refusal::Expired.label()), 1);

    // An authority that the root has revoked.
    let root_crl = federation.revoke_datacenter("east");
    pair.west_store
        .admit_crl(&root_crl.der, real_now())
        .unwrap();
    assert!(
        answer(acceptor, strangers.introduce_as(&pair.east))
            .await
            .is_err()
    );
    assert_eq!(count(&pair.west_store, Refusal::Revoked.label()), 1);
    assert!(acceptor.judged().is_empty());
}

#[tokio::test]
async fn once_known_a_revoked_node_cannot_come_back_as_a_stranger() {
    let strangers = &Strangers::new();
    let Strangers { pair, acceptor } = strangers;
    let federation = &pair.federation;
    let cert = federation.path().join("east/s1.pem");
    let target = pelago_pki::Target::Certificate(cert);
    let crl = pelago_pki::revoke(federation.path(), &target, real_now()).unwrap();
    let authority = federation.authority("east");
    let store = &pair.west_store;
    store
        .admit_authority(&authority, &crl.der, real_now())
        .unwrap();
    let error = answer(acceptor, strangers.introduce_as(&pair.east))
        .await
        .unwrap_err();
    assert_eq!(alert(&error), Some(CERTIFICATE_REVOKED));
}

#[tokio::test]
async fn a_server_that_does_not_introduce_refuses_strangers_in_the_handshake() {
    let pair = Pair::new();
    let west_store = pair.federation.store_of(&["west"]);
    let acceptor = Acceptor::start(&west_store, &pair.west, Accept::wan(), &[WAN]);
    let error = works(acceptor.address, &pair.east_store, &pair.east)
        .await
        .unwrap_err();
    assert_eq!(alert(&error), Some(UNKNOWN_CA_ALERT));
    assert!(acceptor.judged().is_empty());
}

#[test]
fn what_is_presented_beside_a_good_leaf_is_not_believed() {
    let pair = Pair::new();
    let leaf = CertificateDer::from(pair.east.leaf_der().to_vec());
    for beside in [b"anything".to_vec(), pair.west.authority_der().to_vec()] {
        let chain = [leaf.clone(), CertificateDer::from(beside)];
        let peer = peer_identity(&chain, &pair.west_store, real_now()).unwrap();
        assert_eq!(peer.authority, pair.east.authority_der());
    }
}

#[test]
fn an_acceptors_judgement_stands_on_its_own() {
    let pair = Pair::new();
    let west = pair.federation.store_of(&["west"]);
    let client = pair.federation.identity("west", "c1", Role::Client);
    let stranger = pair.federation.identity("east", "c1", Role::Client);
    let judge = |identity: &Identity, accept: &Accept, alpn: &[u8]| {
        let ders = [identity.leaf_der(), identity.authority_der()];
        let chain = ders.map(|der| CertificateDer::from(der.to_vec()));
        judge_peer(&west, accept, &chain, alpn, real_now())
    };
    let (wan, lan) = (Accept::wan(), Accept::lan("west"));
    assert!(judge(&client, &lan, WAN).is_ok());
    assert_eq!(judge(&client, &wan, WAN), Err(Refusal::Role));
    assert_eq!(judge(&client, &wan, INTRO_ALPN), Err(Refusal::Role));
    assert_eq!(judge(&stranger, &wan, INTRO_ALPN), Err(Refusal::Role));
    let elsewhere = judge(&stranger, &lan, INTRO_ALPN);
    assert_eq!(elsewhere, Err(Refusal::WrongDatacenter));
    assert_eq!(judge(&pair.east, &wan, WAN), Err(Refusal::UnknownIssuer));
    let introduced = judge(&pair.east, &wan, INTRO_ALPN);
    assert!(matches!(introduced, Ok(Contact::Stranger { .. })));
}

#[test]
fn configurations_are_what_they_have_to_be() {
    let pair = Pair::new();
    let accept = Accept::wan();
    let server = server_config(&pair.west_store, &pair.west, &accept, &[WAN]).unwrap();
    assert_eq!(
        (server.send_tls13_tickets, server.max_early_data_size),
        (0, 0)
    );
    assert!(!server.session_storage.can_cache());
    let client = client_config(&pair.west_store, &pair.west, &accept, Expect::Any, &[WAN]);
    assert!(!client.unwrap().enable_early_data);
    let first = provider().kx_groups.first().map(|group| group.name());
    assert_eq!(first, Some(rustls::NamedGroup::X25519MLKEM768));
}
