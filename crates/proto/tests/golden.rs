//! Golden bytes of everything that crosses the wire. A difference here is a change of the wire format.
//!
//! `BLESS=1 cargo test -p pelago-proto --test golden` writes the vectors anew.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests, and the files they compare with"
)]

mod common;

use common::{DOMAIN, Node, Realm, at, claimant, hex, label, ms, secs, unhex};
use coset::{CborSerializable, CoseSign1, RegisteredLabelWithPrivate, iana};
use pelago_proto::{
    claim::{Accusation, Alive, Basis, Body, Claim, Head, Leave, MAX_RECORD, Removal, verify},
    identity::NodeId,
    trust::{Issuer, Trust},
    wire::{Ask, AuthorityItem, Bundle, Frame, HeadItem, Item, ListItem, Reply},
};
use std::{collections::BTreeMap, fmt::Debug, fs, path::PathBuf, sync::Arc};

/// A golden file: one `name hex` per line.
fn golden(file: &str, made: &[(&'static str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file);
    if std::env::var_os("BLESS").is_some() {
        let lines: Vec<String> = made
            .iter()
            .map(|(name, bytes)| format!("{name} {}\n", hex(bytes)))
            .collect();
        fs::write(&path, lines.concat()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(name, bytes)| (name.to_owned(), unhex(bytes)))
        .collect()
}

/// Every value encodes to its golden bytes, and they decode to it.
fn check<T: PartialEq + Debug, E: Debug>(
    file: &str,
    values: &[(&'static str, T)],
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) {
    let made: Vec<_> = values
        .iter()
        .map(|(name, value)| (*name, encode(value)))
        .collect();
    let golden = golden(file, &made);
    assert_eq!(
        golden.len(),
        values.len(),
        "{file} has other entries than the test"
    );
    for ((name, value), (_, bytes)) in values.iter().zip(&made) {
        assert_eq!(
            hex(bytes),
            hex(&golden[*name]),
            "{name} is written differently"
        );
        assert_eq!(decode(bytes).unwrap(), *value, "{name} is read differently");
    }
}

fn signer() -> Arc<Node> {
    let who = common::Claimant {
        name: label("server-1"),
        ..claimant(1)
    };
    Realm::new(DOMAIN).issue(&who)
}

fn bodies(node: &Node) -> Vec<(&'static str, Body)> {
    let typical = node.says(at(3, 17));
    let mut full = node.says(at(0x1_0000, 0x1_0000));
    full.lan = "[2001:db8::1]:7000".parse().unwrap();
    full.wan = Some("[2001:db8::2]:7002".parse().unwrap());
    full.seat = true;
    full.tags = [("tier".into(), "web".into()), ("disk".into(), "ssd".into())].into();
    let accused = NodeId([0xac; 16]);
    let accusation = |silent, basis, quorate| {
        Body::Accusation(Accusation {
            accused,
            incarnation: at(3, 17),
            silent: ms(silent),
            basis,
            quorate,
        })
    };
    let head = |seats: u8| {
        let seats = (0..seats).map(|n| [n; 4]).collect();
        Body::Head(Head {
            incarnation: at(3, 100_000),
            digest: 0x0123_4567_89ab_cdef,
            members: 1_000,
            alive: 999,
            seats,
        })
    };
    vec![
        ("record", Body::Record(Arc::new(typical))),
        ("record_full", Body::Record(Arc::new(full))),
        (
            "alive",
            Body::Alive(Alive {
                incarnation: at(3, 18),
                record: [0xaa; 8],
            }),
        ),
        (
            "leave",
            Body::Leave(Leave {
                incarnation: at(3, 19),
            }),
        ),
        ("accusation", accusation(2_200, Basis::Timeout, true)),
        (
            "accusation_port_closed",
            accusation(61, Basis::PortClosed, false),
        ),
        ("head", head(3)),
        ("head_seven_seats", head(7)),
        (
            "removal",
            Body::Removal(Removal {
                removed: accused,
                until: common::NOT_AFTER,
                reason: String::new(),
            }),
        ),
        (
            "removal_with_reason",
            Body::Removal(Removal {
                removed: accused,
                until: common::NOT_AFTER,
                reason: "rack 7 goes to the recycler, ticket 4711".into(),
            }),
        ),
    ]
}

fn claims() -> Vec<(&'static str, Claim)> {
    let node = signer();
    let sign = |(name, body)| (name, Claim::clone(&node.sign(body)));
    bodies(&node).into_iter().map(sign).collect()
}

fn item(n: u8) -> Item {
    Item {
        claim: Arc::from([n; 3]),
        leaf: None,
    }
}

fn item_with_leaf(n: u8) -> Item {
    Item {
        claim: Arc::from([n; 3]),
        leaf: Some(Arc::from([n + 1; 2])),
    }
}

fn bundle(n: u8) -> Bundle {
    Bundle {
        claims: vec![Arc::from([n; 3]), Arc::from([n + 1; 2])],
        leaf: Arc::from([n + 2; 2]),
        removal: Some(item_with_leaf(n + 3)),
        age: secs(5),
    }
}

fn bare(n: u8) -> Bundle {
    Bundle {
        claims: vec![Arc::from([n; 3])],
        leaf: Arc::from([n; 2]),
        removal: None,
        age: secs(0),
    }
}

fn issuer(n: u8) -> Issuer {
    Issuer([n; 16])
}

fn id(n: u8) -> NodeId {
    NodeId([n; 16])
}

#[test]
fn claims_keep_their_bytes() {
    check(
        "claims.txt",
        &claims(),
        |c| c.bytes().to_vec(),
        Claim::parse,
    );
}

#[test]
fn frames_keep_their_bytes() {
    let head = HeadItem {
        item: item_with_leaf(1),
        age: ms(1_500),
        direct: true,
    };
    let values = [
        (
            "ping",
            Frame::Ping {
                number: 1_000,
                watch: true,
                digest: 0x1122_3344_5566_7788,
                news: vec![item(1)],
            },
        ),
        (
            "ping_bare",
            Frame::Ping {
                number: 0,
                watch: false,
                digest: 0,
                news: vec![],
            },
        ),
        (
            "ack",
            Frame::Ack {
                number: 7,
                spacing: Some((40, 1_000)),
                digest: 1,
                news: vec![item_with_leaf(1)],
            },
        ),
        (
            "ack_bare",
            Frame::Ack {
                number: 7,
                spacing: None,
                digest: 1,
                news: vec![],
            },
        ),
        (
            "ping_req",
            Frame::PingReq {
                number: 9,
                target: id(9),
                within: ms(60),
            },
        ),
        (
            "relayed",
            Frame::Relayed {
                number: 9,
                answered: true,
            },
        ),
        (
            "relayed_nack",
            Frame::Relayed {
                number: 9,
                answered: false,
            },
        ),
        (
            "news",
            Frame::News {
                news: vec![item(1), item_with_leaf(2)],
            },
        ),
        ("heads", Frame::Heads { heads: vec![head] }),
        (
            "lists",
            Frame::Lists {
                digest: 0x1122_3344_5566_7788,
                known: vec![(issuer(1), 3), (issuer(2), 1_000)],
            },
        ),
        (
            "lists_bare",
            Frame::Lists {
                digest: 1,
                known: vec![],
            },
        ),
        (
            "list",
            Frame::List {
                crl: Arc::from([3; 5]),
            },
        ),
    ];
    check("frames.txt", &values, Frame::encode, Frame::decode);
}

#[test]
fn questions_keep_their_bytes() {
    let dc = || label("dc1");
    let values = [
        (
            "probe",
            Ask::Probe {
                news: vec![item(1)],
            },
        ),
        (
            "pull",
            Ask::Pull {
                datacenter: dc(),
                after: None,
            },
        ),
        (
            "pull_after",
            Ask::Pull {
                datacenter: dc(),
                after: Some(id(7)),
            },
        ),
        (
            "introduce",
            Ask::Introduce {
                me: bundle(1),
                you: Some(bare(8)),
                digest: 5,
            },
        ),
        (
            "introduce_stranger",
            Ask::Introduce {
                me: bare(1),
                you: None,
                digest: 5,
            },
        ),
        (
            "compare",
            Ask::Compare {
                datacenter: dc(),
                bits: 1,
                buckets: vec![1, 2],
            },
        ),
        (
            "exchange",
            Ask::Exchange {
                datacenter: dc(),
                want: vec![id(1), id(2)],
                give: vec![bare(3)],
            },
        ),
        ("heads", Ask::Heads),
        (
            "seats",
            Ask::Seats {
                known: vec![(dc(), 12)],
                mine: vec![bare(1)],
            },
        ),
        (
            "lists",
            Ask::Lists {
                known: vec![(issuer(1), 3)],
            },
        ),
    ];
    check("asks.txt", &values, Ask::encode, Ask::decode);
}

#[test]
fn answers_keep_their_bytes() {
    let authority = AuthorityItem {
        certificate: Arc::from([1; 2]),
        crl: Arc::from([2; 3]),
    };
    let head = HeadItem {
        item: item(1),
        age: ms(1_500),
        direct: false,
    };
    let values = [
        (
            "here",
            Reply::Here {
                news: vec![item(1)],
            },
        ),
        (
            "page",
            Reply::Page {
                bundles: vec![bundle(1)],
                next: Some(id(9)),
                you: Some(bare(7)),
            },
        ),
        (
            "page_last",
            Reply::Page {
                bundles: vec![],
                next: None,
                you: None,
            },
        ),
        (
            "busy",
            Reply::Busy {
                after: ms(500),
                referrals: vec![bare(1)],
            },
        ),
        (
            "met",
            Reply::Met {
                me: bare(1),
                you: None,
                digest: 3,
            },
        ),
        (
            "differences",
            Reply::Differences {
                entries: vec![(id(1), 99)],
                buckets: vec![0, 300],
            },
        ),
        (
            "given",
            Reply::Given {
                bundles: vec![bare(1), bundle(2)],
            },
        ),
        (
            "heads",
            Reply::Heads {
                heads: vec![head],
                held: vec![(label("dc2"), 0x1122_3344_5566_7788)],
            },
        ),
        (
            "seats",
            Reply::Seats {
                bundles: vec![bare(1)],
                authorities: vec![authority],
            },
        ),
        (
            "lists",
            Reply::Lists {
                lists: vec![
                    ListItem {
                        certificate: Some(Arc::from([1; 2])),
                        crl: Arc::from([2; 3]),
                    },
                    ListItem {
                        certificate: None,
                        crl: Arc::from([4; 3]),
                    },
                ],
                known: vec![(issuer(1), 4)],
            },
        ),
    ];
    check("replies.txt", &values, Reply::encode, Reply::decode);
}

#[test]
fn every_golden_claim_verifies() {
    let node = signer();
    for (name, claim) in claims() {
        // A removal is an operator's to sign; its signature is looked at below, with the others'.
        if !name.starts_with("removal") {
            let certified = Arc::clone(&node.certified);
            assert!(verify(&*node, claim, &certified).is_ok(), "{name}");
        }
    }
}

#[test]
fn claims_have_the_sizes_that_the_design_allows() {
    for (name, claim) in claims() {
        let (size, limit) = (
            claim.bytes().len(),
            if name.starts_with("record") {
                MAX_RECORD
            } else {
                130
            },
        );
        println!("{name}: {size} bytes");
        // Only a head with more seats than the three of the default is larger, and a removal by its reason.
        assert!(
            size <= limit || ["head_seven_seats", "removal_with_reason"].contains(&name),
            "{name} has {size} bytes"
        );
    }
}

#[test]
fn a_cose_library_reads_the_same_header_out_of_claims() {
    for (name, claim) in claims() {
        let cose = CoseSign1::from_slice(claim.bytes()).unwrap();
        let header = &cose.protected.header;
        let ed25519 = RegisteredLabelWithPrivate::Assigned(iana::Algorithm::Ed25519);
        assert_eq!(header.alg, Some(ed25519), "{name}");
        assert_eq!(header.key_id, claim.signer.0, "{name}");
        assert!(cose.unprotected.is_empty(), "{name}");
        assert_eq!(cose.to_vec().unwrap(), **claim.bytes(), "{name}");
    }
}

#[test]
fn ed25519_is_minus_nineteen() {
    assert_eq!(iana::Algorithm::Ed25519 as i64, -19);
}

#[test]
fn a_cose_library_signs_the_same_structure() {
    let node = signer();
    for (name, claim) in claims() {
        let kind = claim.body.kind() as u8;
        let aad = [b"pelago/1/", &[kind, b'/'][..], DOMAIN.as_bytes()].concat();
        let cose = CoseSign1::from_slice(claim.bytes()).unwrap();
        let fits = |signature: &[u8], tbs: &[u8]| {
            node.verify(
                &node.certified.public_key,
                tbs,
                signature.try_into().unwrap(),
            )
            .then_some(())
            .ok_or(())
        };
        assert_eq!(cose.verify_signature(&aad, fits), Ok(()), "{name}");
    }
}
