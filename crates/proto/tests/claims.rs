//! Who is believed: one refusal per rule, and nothing that differs from what was signed by a single byte.

#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "tests")]

mod common;

use common::{Claimant, DOMAIN, Node, Realm, at, claimant, label, secs};
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, iana};
use pelago_proto::{
    cbor::Malformed,
    claim::{Claim, Heard, MAX_CLAIM, MAX_RECORD, Refused, Verified, verify},
    identity::{Incarnation, NodeId, Role},
    trust::{Authority, Certified, Refusal, Trust},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

fn server() -> Arc<Node> {
    Realm::new(DOMAIN).issue(&claimant(1))
}

fn client() -> Arc<Node> {
    Realm::new(DOMAIN).issue(&Claimant {
        role: Role::Client,
        ..claimant(2)
    })
}

fn operator() -> Arc<Node> {
    Realm::new(DOMAIN).operator(3)
}

/// What a receiver makes of a claim whose signer's certificate is `certified`.
fn judge(claim: &Verified<Claim>, trust: &Node, certified: &Certified) -> Result<(), Refused> {
    let parsed = Claim::parse(claim.bytes()).unwrap();
    verify(trust, parsed, &Arc::new(certified.clone())).map(drop)
}

fn judge_own(node: &Node, claim: &Verified<Claim>) -> Result<(), Refused> {
    judge(claim, node, &node.certified)
}

/// One claim of every kind, each with who signed it.
fn one_of_each() -> Vec<(Arc<Node>, Verified<Claim>)> {
    let (server, operator) = (server(), operator());
    let record = server.record(at(1, 0));
    let other = NodeId([9; 16]);
    vec![
        (Arc::clone(&server), server.alive(at(1, 1), &record)),
        (Arc::clone(&server), server.leave(at(1, 2))),
        (Arc::clone(&server), server.accuse(other, at(1, 0), secs(3))),
        (Arc::clone(&server), server.head(at(1, 0), 7)),
        (
            Arc::clone(&operator),
            operator.remove(other, common::NOT_AFTER),
        ),
        (server, record),
    ]
}

#[test]
fn every_kind_is_believed_of_those_who_may_say_it() {
    for (node, claim) in one_of_each() {
        assert_eq!(judge_own(&node, &claim), Ok(()), "{:?}", claim.body.kind());
    }
}

#[test]
fn a_record_must_bear_the_certified_name() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| r.name = label("other"));
    assert_eq!(judge_own(&node, &claim), Err(Refused::Name));
}

#[test]
fn a_record_must_bear_the_certified_datacenter() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| r.location.datacenter = label("dc2"));
    assert_eq!(judge_own(&node, &claim), Err(Refused::Datacenter));
}

#[test]
fn a_record_must_bear_the_certified_zone() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| r.location.zone = label("b"));
    assert_eq!(judge_own(&node, &claim), Err(Refused::Location));
}

#[test]
fn a_record_must_bear_the_certified_rack() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| r.location.rack = label("r2"));
    assert_eq!(judge_own(&node, &claim), Err(Refused::Location));
}

#[test]
fn the_region_is_free() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| r.location.region = label("south"));
    assert_eq!(judge_own(&node, &claim), Ok(()));
}

#[test]
fn a_record_must_bear_the_certified_role() {
    let node = client();
    let claim = node.record_with(at(1, 0), |r| r.role = Role::Server);
    assert_eq!(judge_own(&node, &claim), Err(Refused::Role));
}

#[test]
fn a_client_has_no_seat() {
    let node = client();
    let claim = node.record_with(at(1, 0), |r| r.seat = true);
    assert_eq!(judge_own(&node, &claim), Err(Refused::Role));
}

#[test]
fn a_client_has_no_wan_address() {
    let node = client();
    let claim = node.record_with(at(1, 0), |r| {
        r.wan = Some("192.0.2.1:7002".parse().unwrap())
    });
    assert_eq!(judge_own(&node, &claim), Err(Refused::Role));
}

#[test]
fn a_client_signs_no_heads() {
    let node = client();
    assert_eq!(
        judge_own(&node, &node.head(at(1, 0), 7)),
        Err(Refused::Role)
    );
}

#[test]
fn only_operators_remove() {
    let node = server();
    assert_eq!(
        judge_own(&node, &node.remove(NodeId([9; 16]), u64::MAX)),
        Err(Refused::Role)
    );
}

#[test]
fn operators_accuse_nobody() {
    let node = operator();
    let claim = node.accuse(NodeId([9; 16]), at(1, 0), secs(3));
    assert_eq!(judge_own(&node, &claim), Err(Refused::Role));
}

#[test]
fn an_operators_record_is_not_even_read() {
    // The wire has a number for the role, so that it stays reserved; no record may bear it.
    let node = operator();
    assert_eq!(
        Claim::parse(node.record(at(1, 0)).bytes()),
        Err(Malformed::Shape)
    );
}

#[test]
fn a_record_must_name_the_certificate_at_hand() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| r.cert_hash = [0; 16]);
    assert_eq!(judge_own(&node, &claim), Err(Refused::CertificateHash));
}

#[test]
fn nobody_is_believed_by_anothers_certificate() {
    let (node, other) = (server(), client());
    assert_eq!(
        judge(&node.leave(at(1, 1)), &node, &other.certified),
        Err(Refused::Signer)
    );
}

#[test]
fn a_certificate_with_the_id_but_another_key_does_not_help() {
    let node = server();
    let forged = Certified {
        public_key: client().certified.public_key,
        ..Certified::clone(&node.certified)
    };
    assert_eq!(
        judge(&node.leave(at(1, 1)), &node, &forged),
        Err(Refused::Signature)
    );
}

#[test]
fn a_record_beyond_its_size_is_refused() {
    let node = server();
    let tag = |length: usize| [("t".to_owned(), "x".repeat(length))].into();
    let fits = (0..120)
        .find(|n| {
            node.record_with(at(1, 0), |r| r.tags = tag(*n))
                .bytes()
                .len()
                == MAX_RECORD
        })
        .unwrap();
    assert_eq!(
        judge_own(&node, &node.record_with(at(1, 0), |r| r.tags = tag(fits))),
        Ok(())
    );
    assert_eq!(
        judge_own(
            &node,
            &node.record_with(at(1, 0), |r| r.tags = tag(fits + 1))
        ),
        Err(Refused::Size)
    );
}

#[test]
fn a_claim_beyond_every_size_is_not_even_read() {
    let node = server();
    let claim = node.record_with(at(1, 0), |r| {
        r.tags = [("t".into(), "x".repeat(MAX_CLAIM))].into()
    });
    assert_eq!(Claim::parse(claim.bytes()), Err(Malformed::Limit));
}

#[test]
fn a_flipped_byte_anywhere_in_the_signature_is_noticed() {
    for (node, claim) in one_of_each() {
        let certified = Arc::clone(&node.certified);
        for at in claim.bytes().len() - 64..claim.bytes().len() {
            let mut bytes = claim.bytes().to_vec();
            bytes[at] ^= 0xff;
            let parsed = Claim::parse(&bytes).unwrap();
            assert_eq!(
                verify(&*node, parsed, &certified).err(),
                Some(Refused::Signature),
                "byte {at}"
            );
        }
    }
}

#[test]
fn no_prefix_of_a_claim_is_a_claim() {
    for (_, claim) in one_of_each() {
        for length in 0..claim.bytes().len() {
            assert!(
                Claim::parse(&claim.bytes()[..length]).is_err(),
                "{length} bytes"
            );
        }
    }
}

#[test]
fn nothing_may_follow_a_claim() {
    for (_, claim) in one_of_each() {
        assert!(Claim::parse(&[claim.bytes(), &[0][..]].concat()).is_err());
    }
}

/// Whether bytes that differ from what was signed are believed.
fn is_believed(bytes: &[u8], node: &Node) -> bool {
    let certified = Arc::clone(&node.certified);
    Claim::parse(bytes).is_ok_and(|claim| verify(node, claim, &certified).is_ok())
}

#[test]
fn no_flipped_bit_survives() {
    for (node, claim) in one_of_each() {
        for bit in 0..8 * claim.bytes().len() {
            let mut bytes = claim.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !is_believed(&bytes, &node),
                "bit {bit} of {:?}",
                claim.body.kind()
            );
        }
    }
}

#[test]
fn no_changed_byte_of_an_accusation_survives() {
    let node = server();
    let claim = node.accuse(NodeId([9; 16]), at(1, 0), secs(3));
    for (at, byte) in claim.bytes().iter().enumerate() {
        for value in (0..=255).filter(|v| v != byte) {
            let mut bytes = claim.bytes().to_vec();
            bytes[at] = value;
            assert!(!is_believed(&bytes, &node), "byte {at} = {value}");
        }
    }
}

#[test]
fn a_counter_at_its_very_end_is_refused() {
    let node = server();
    for end in [at(u64::MAX, 0), at(0, u64::MAX)] {
        let record = node.record(end);
        for claim in [
            node.alive(end, &record),
            node.leave(end),
            node.accuse(node.id(), end, secs(3)),
            node.head(end, 0),
        ] {
            assert_eq!(Claim::parse(claim.bytes()), Err(Malformed::Shape));
        }
        assert_eq!(Claim::parse(record.bytes()), Err(Malformed::Shape));
    }
}

#[test]
fn the_counter_before_the_end_is_taken() {
    let node = server();
    let claim = node.leave(at(u64::MAX - 1, u64::MAX - 1));
    assert_eq!(
        Claim::parse(claim.bytes()).unwrap().incarnation(),
        Some(Incarnation {
            boot: u64::MAX - 1,
            seq: u64::MAX - 1
        })
    );
}

/// A record with tags a=x and b=y, its two pairs replaced by `pairs`.
fn record_with_raw_tags(pairs: &[u8; 8]) -> Vec<u8> {
    let tags = [("a".into(), "x".into()), ("b".into(), "y".into())].into();
    let mut bytes = server()
        .record_with(at(1, 0), |r| r.tags = tags)
        .bytes()
        .to_vec();
    let written = *b"\x61a\x61x\x61b\x61y";
    let found = bytes.windows(8).position(|w| *w == written).unwrap();
    bytes[found..found + 8].copy_from_slice(pairs);
    bytes
}

#[test]
fn sorted_tags_are_read() {
    assert!(Claim::parse(&record_with_raw_tags(b"\x61a\x61x\x61b\x61y")).is_ok());
}

#[test]
fn unsorted_tags_are_refused() {
    assert_eq!(
        Claim::parse(&record_with_raw_tags(b"\x61b\x61y\x61a\x61x")),
        Err(Malformed::Shape)
    );
}

#[test]
fn repeated_tags_are_refused() {
    assert_eq!(
        Claim::parse(&record_with_raw_tags(b"\x61a\x61x\x61a\x61y")),
        Err(Malformed::Shape)
    );
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_refused() {
    // ::ffff:1.2.3.4 in place of an IPv6 address of the same length.
    let claim = server().record_with(at(1, 0), |r| r.lan = "[2001:db8::1]:7000".parse().unwrap());
    let mut bytes = claim.bytes().to_vec();
    let found = bytes
        .windows(4)
        .position(|w| *w == [0x20, 0x01, 0x0d, 0xb8])
        .unwrap();
    bytes[found..found + 16]
        .copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4]);
    assert_eq!(Claim::parse(&bytes), Err(Malformed::Shape));
}

#[test]
fn values_outside_their_range_are_refused() {
    let node = server();
    let records = [
        node.record_with(at(1, 0), |r| r.pause_tolerance = common::ms(499)),
        node.record_with(at(1, 0), |r| r.pause_tolerance = common::ms(10_001)),
        node.record_with(at(1, 0), |r| r.seats = 0),
        node.record_with(at(1, 0), |r| r.seats = 8),
        node.record_with(at(1, 0), |r| r.health = 9),
        node.record_with(at(1, 0), |r| r.software = "x".repeat(33)),
    ];
    for (n, record) in records.iter().enumerate() {
        assert_eq!(
            Claim::parse(record.bytes()),
            Err(Malformed::Shape),
            "record {n}"
        );
    }
}

#[test]
fn a_claim_of_another_trust_domain_is_not_believed() {
    let here = server();
    let elsewhere = Realm::new("example.org").issue(&claimant(1));
    assert_eq!(here.certified, elsewhere.certified);
    assert_eq!(
        judge(&elsewhere.leave(at(1, 1)), &here, &here.certified),
        Err(Refused::Signature)
    );
}

/// A goodbye at 1.1 whose signature binds another claim type than its payload names.
fn leave_signed_as(node: &Node, kind: u8) -> Vec<u8> {
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::Ed25519)
        .key_id(node.id().0.to_vec())
        .build();
    let aad = [b"pelago/1/", &[kind, b'/'][..], DOMAIN.as_bytes()].concat();
    let claim = CoseSign1Builder::new()
        .protected(header)
        .payload(vec![0x83, 3, 1, 1]);
    claim
        .create_signature(&aad, |tbs| Trust::sign(node, tbs).to_vec())
        .build()
        .to_vec()
        .unwrap()
}

#[test]
fn a_signature_for_one_kind_of_claim_does_not_serve_another() {
    let node = server();
    assert!(is_believed(&leave_signed_as(&node, 3), &node));
    for kind in [0, 1, 2, 4, 5, 6] {
        assert!(
            !is_believed(&leave_signed_as(&node, kind), &node),
            "kind {kind}"
        );
    }
}

/// Remembers one claim and mistakes everything for it.
struct Mistaken {
    node: Arc<Node>,
    claim: Verified<Claim>,
    checked: AtomicUsize,
}

impl Trust for Mistaken {
    fn trust_domain(&self) -> &str {
        self.node.trust_domain()
    }
    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.node.certify(leaf)
    }
    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.node.certify_ended(leaf)
    }
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        self.checked.fetch_add(1, Ordering::Relaxed);
        self.node.verify(key, message, signature)
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Trust::sign(&*self.node, message)
    }
    fn own(&self) -> Arc<Certified> {
        self.node.own()
    }
    fn authorities(&self) -> Vec<Authority> {
        Vec::new()
    }
    fn admit_authority(&self, _: &[u8], _: &[u8]) -> Result<bool, Refusal> {
        Ok(false)
    }
    fn unix_time(&self) -> u64 {
        self.node.unix_time()
    }
    fn lan_public_key(&self) -> [u8; 32] {
        self.node.lan_public_key()
    }
    fn recall(&self, _: &[u8]) -> Option<Verified<Claim>> {
        Some(self.claim.clone())
    }
}

#[test]
fn what_is_remembered_helps_only_the_same_bytes_under_the_same_certificate() {
    let realm = Realm::new(DOMAIN);
    let (node, other) = (realm.server(1, "a", "r1"), realm.server(2, "a", "r1"));
    let mine = node.leave(at(1, 1));
    let trust = Mistaken {
        node: Arc::clone(&node),
        claim: mine.clone(),
        checked: AtomicUsize::new(0),
    };
    let checked = || trust.checked.swap(0, Ordering::Relaxed);
    let judge = |bytes: &[u8], certified: &Arc<Certified>| {
        verify(&trust, Heard::read(&trust, bytes).unwrap(), certified)
            .map(|believed| Arc::clone(believed.bytes()))
    };
    assert_eq!(
        judge(mine.bytes(), &node.certified).as_deref(),
        Ok(&mine.bytes()[..])
    );
    assert_eq!(checked(), 0, "remembered");

    // Another claim is read and judged as if nothing were remembered.
    let newer = node.leave(at(1, 2));
    assert_eq!(
        judge(newer.bytes(), &node.certified).as_deref(),
        Ok(&newer.bytes()[..])
    );
    assert_eq!(checked(), 1);
    let mut forged = mine.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(judge(&forged, &node.certified), Err(Refused::Signature));
    assert_eq!(checked(), 1);

    // Under another certificate the signature is looked at again, and need not hold.
    assert_eq!(judge(mine.bytes(), &other.certified), Err(Refused::Signer));
    let stolen = Certified {
        public_key: other.certified.public_key,
        ..Certified::clone(&node.certified)
    };
    assert_eq!(
        judge(mine.bytes(), &Arc::new(stolen)),
        Err(Refused::Signature)
    );
    assert_eq!(checked(), 1);
}
