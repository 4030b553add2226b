//! Input from somebody who means harm: nothing panics, nothing is believed, everything is counted.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Claimant, DOMAIN, NOW, Node, Realm, at, claimant, count, label, ms, secs, unhex};
use pelago_proto::{
    claim::Claim,
    federation::{Federation, MAX_MESSAGE, ProbeId, RequestError, RequestId, Tier},
    identity::{Incarnation, NodeId, Role},
    trust::Issuer,
    wire::{Ask, AuthorityItem, Bundle, Frame, HeadItem, Item, ListItem, MAX_DATAGRAM, Reply},
};
use proptest::{prelude::*, sample::Index};
use std::{fs, path::PathBuf, sync::Arc};

/// A running node that knows three others, and what can be said about them.
struct Victim {
    realm: Arc<Realm>,
    me: Arc<Node>,
    federation: Federation,
    others: Vec<Arc<Node>>,
}

impl Victim {
    fn new() -> Self {
        let realm = Realm::new(DOMAIN);
        let me = realm.server(0, "a", "r1");
        let mut federation = me.start();
        let others: Vec<_> = (1..4).map(|n| realm.server(n, "a", "r2")).collect();
        for other in &others {
            let known =
                federation.handle_introduction(other.record(at(1, 0)).bytes(), &other.leaf, NOW);
            assert_eq!(known.map(|(id, _)| id), Some(other.id()));
        }
        while federation.poll_transmit().is_some() {}
        Self {
            realm,
            me,
            federation,
            others,
        }
    }

    /// Everything that belief shows in.
    fn state(&mut self) -> (u64, String, Incarnation) {
        let view = self.federation.view(NOW);
        (
            self.federation.generation(),
            view.datacenters["dc1"].digest.clone(),
            self.federation.incarnation(),
        )
    }

    fn peer_id(&self) -> NodeId {
        self.others[0].id()
    }

    fn datagram(&mut self, tier: Tier, bytes: &[u8]) {
        let from = self.peer_id();
        self.federation.handle_datagram(tier, from, bytes, NOW);
    }

    fn request(&mut self, tier: Tier, bytes: &[u8]) -> Vec<u8> {
        let from = self.others[0].peer();
        self.federation.handle_request(tier, &from, bytes, NOW)
    }

    /// Hands one claim in as news and says why it was dropped, if it was for this reason.
    fn news(&mut self, claim: &[u8], leaf: Option<&Arc<[u8]>>) {
        let item = Item {
            claim: claim.into(),
            leaf: leaf.cloned(),
        };
        self.datagram(Tier::Lan, &Frame::News { news: vec![item] }.encode());
    }

    fn dropped(&self, reason: &str) -> u64 {
        count(&self.federation, "dropped", reason)
    }

    fn dropped_at_all(&self) -> u64 {
        count(&self.federation, "dropped", "")
    }

    /// Starts a request, so that a response can be handed in.
    fn asked(&mut self) -> RequestId {
        while self.federation.poll_request().is_some() {}
        self.federation
            .seeds(vec!["10.9.9.9:7001".parse().unwrap()], Vec::new(), NOW);
        self.federation.poll_request().unwrap().id
    }

    /// Claims that are known already: whatever is made of them by changing bytes is a forgery.
    fn known(&self) -> Vec<Bundle> {
        let bundle = |n: &Arc<Node>| Bundle {
            claims: vec![Arc::clone(n.record(at(1, 0)).bytes())],
            leaf: Arc::clone(&n.leaf),
            ..Bundle::default()
        };
        self.others.iter().map(bundle).collect()
    }

    fn items(&self) -> Vec<Item> {
        let item = |b: Bundle| Item {
            claim: Arc::clone(&b.claims[0]),
            leaf: Some(b.leaf),
        };
        self.known().into_iter().map(item).take(1).collect()
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        let news = self.items();
        let head = self.others[0].head(at(1, 1), 5);
        let head = Item {
            claim: Arc::clone(head.bytes()),
            leaf: None,
        };
        let target = self.others[1].id();
        [
            Frame::Ping {
                number: 1,
                watch: true,
                digest: 5,
                news: news.clone(),
            },
            Frame::Ack {
                number: 1,
                spacing: Some((1, 2)),
                digest: 5,
                news: news.clone(),
            },
            Frame::PingReq {
                number: 1,
                target,
                within: ms(60),
            },
            Frame::Relayed {
                number: 1,
                answered: true,
            },
            Frame::News { news },
            Frame::Heads {
                heads: vec![HeadItem {
                    item: head,
                    age: ms(1),
                    direct: true,
                }],
            },
            Frame::Lists {
                digest: 5,
                known: vec![(Issuer([1; 16]), 1), (Issuer([2; 16]), u64::MAX)],
            },
            Frame::List {
                crl: Arc::from([2; 90]),
            },
        ]
        .iter()
        .map(Frame::encode)
        .collect()
    }

    fn asks(&self) -> Vec<Vec<u8>> {
        let (known, dc) = (self.known(), || label("dc1"));
        [
            Ask::Probe { news: self.items() },
            Ask::Pull {
                datacenter: dc(),
                after: None,
            },
            Ask::Introduce {
                me: known[0].clone(),
                you: Some(known[1].clone()),
                digest: 9,
            },
            Ask::Compare {
                datacenter: dc(),
                bits: 2,
                buckets: vec![1, 2, 3, 4],
            },
            Ask::Exchange {
                datacenter: dc(),
                want: vec![self.peer_id()],
                give: known.clone(),
            },
            Ask::Heads,
            Ask::Seats {
                known: vec![(dc(), 1)],
                mine: known,
            },
            Ask::Lists {
                known: vec![(Issuer([1; 16]), 1), (Issuer([2; 16]), u64::MAX)],
            },
        ]
        .iter()
        .map(Ask::encode)
        .collect()
    }

    fn replies(&self) -> Vec<Vec<u8>> {
        let known = self.known();
        let (one, next) = (known[0].clone(), Some(self.peer_id()));
        [
            Reply::Here { news: self.items() },
            Reply::Page {
                bundles: known.clone(),
                next,
                you: None,
            },
            Reply::Busy {
                after: ms(5),
                referrals: known.clone(),
            },
            Reply::Met {
                me: one,
                you: None,
                digest: 4,
            },
            Reply::Differences {
                entries: vec![(self.peer_id(), 3)],
                buckets: vec![0],
            },
            Reply::Given {
                bundles: known.clone(),
            },
            Reply::Seats {
                bundles: known,
                authorities: vec![AuthorityItem {
                    certificate: Arc::from([1; 9]),
                    crl: Arc::from([2; 9]),
                }],
            },
            Reply::Lists {
                lists: vec![ListItem {
                    certificate: None,
                    crl: Arc::from([2; 9]),
                }],
                known: vec![(Issuer([1; 16]), 1)],
            },
        ]
        .iter()
        .map(Reply::encode)
        .collect()
    }
}

/// A way to spoil a message.
#[derive(Clone, Debug)]
enum Spoil {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    Repeat(Index),
}

impl Spoil {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << (bit % 8),
            Self::Set(at, value) => bytes[at.index(length)] = *value,
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Insert(at, value) => bytes.insert(at.index(length), *value),
            Self::Repeat(at) => bytes.extend_from_within(at.index(length)..),
        }
    }
}

fn spoils() -> impl Strategy<Value = Vec<Spoil>> {
    let (at, byte) = (any::<Index>, any::<u8>);
    let spoil = prop_oneof![
        4 => (at(), byte()).prop_map(|(at, bit)| Spoil::Flip(at, bit)),
        4 => (at(), byte()).prop_map(|(at, value)| Spoil::Set(at, value)),
        1 => at().prop_map(Spoil::Cut),
        1 => (at(), byte()).prop_map(|(at, value)| Spoil::Insert(at, value)),
        1 => at().prop_map(Spoil::Repeat),
    ];
    prop::collection::vec(spoil, 1..4)
}

fn spoilt(message: &[u8], spoils: &[Spoil]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    spoils.iter().for_each(|s| s.apply(&mut bytes));
    bytes
}

/// Many spoilings, each of a message chosen at random.
fn attacks() -> impl Strategy<Value = Vec<(Index, Vec<Spoil>)>> {
    prop::collection::vec((any::<Index>(), spoils()), 32)
}

fn vectors() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let text = ["frames.txt", "asks.txt", "replies.txt"].map(read).concat();
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(_, bytes)| unhex(bytes))
        .collect()
}

/// Whatever is read is written the same way.
fn assert_no_alias(bytes: &[u8]) {
    assert!(Frame::decode(bytes).map_or(true, |f| f.encode() == bytes));
    assert!(Ask::decode(bytes).map_or(true, |a| a.encode() == bytes));
    assert!(Reply::decode(bytes).map_or(true, |r| r.encode() == bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_as_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        assert_no_alias(&bytes);
    }

    #[test]
    fn random_bodies_are_read_as_nothing_else(kind in 0_u8..10, body in prop::collection::vec(any::<u8>(), 0..100)) {
        assert_no_alias(&[&[0x83, 1, kind][..], &body].concat());
    }

    #[test]
    fn spoilt_messages_are_read_as_nothing_else(attacks in attacks()) {
        let vectors = vectors();
        for (at, spoils) in attacks {
            assert_no_alias(&spoilt(&vectors[at.index(vectors.len())], &spoils));
        }
    }

    #[test]
    fn random_bytes_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut victim = Victim::new();
        let (before, dropped) = (victim.state(), victim.dropped_at_all());
        for tier in [Tier::Lan, Tier::Wan] {
            victim.datagram(tier, &bytes);
            prop_assert!(victim.request(tier, &bytes).is_empty());
        }
        prop_assert!(victim.federation.handle_introduction(&bytes, &bytes, NOW).is_none());
        prop_assert_eq!(victim.state(), before);
        prop_assert_eq!(victim.dropped_at_all(), dropped + 5);
    }

    #[test]
    fn spoilt_datagrams_change_nothing(attacks in attacks(), wan in any::<bool>()) {
        let mut victim = Victim::new();
        let (frames, before) = (victim.frames(), victim.state());
        for (at, spoils) in attacks {
            let tier = if wan { Tier::Wan } else { Tier::Lan };
            victim.datagram(tier, &spoilt(&frames[at.index(frames.len())], &spoils));
            prop_assert_eq!(victim.state(), before.clone());
        }
    }

    #[test]
    fn spoilt_questions_change_nothing(attacks in attacks(), wan in any::<bool>()) {
        let mut victim = Victim::new();
        let (asks, before) = (victim.asks(), victim.state());
        for (at, spoils) in attacks {
            let tier = if wan { Tier::Wan } else { Tier::Lan };
            let reply = victim.request(tier, &spoilt(&asks[at.index(asks.len())], &spoils));
            prop_assert!(reply.len() <= MAX_MESSAGE);
            prop_assert_eq!(victim.state(), before.clone());
        }
    }

    #[test]
    fn spoilt_answers_change_nothing(attacks in attacks()) {
        let mut victim = Victim::new();
        let (replies, before, peer) = (victim.replies(), victim.state(), victim.others[0].peer());
        for (at, spoils) in attacks {
            let (id, bytes) = (victim.asked(), spoilt(&replies[at.index(replies.len())], &spoils));
            victim.federation.handle_response(id, Ok((peer.clone(), bytes)), NOW);
            prop_assert_eq!(victim.state(), before.clone());
        }
    }

    #[test]
    fn spoilt_introductions_bring_nobody_in(spoils in spoils()) {
        let mut victim = Victim::new();
        let stranger = victim.realm.server(9, "a", "r1");
        let record = stranger.record(at(1, 0));
        let bytes = spoilt(record.bytes(), &spoils);
        prop_assume!(bytes != **record.bytes());
        let before = victim.state();
        prop_assert!(victim.federation.handle_introduction(&bytes, &stranger.leaf, NOW).is_none());
        prop_assert_eq!(victim.state(), before);
    }
}

#[test]
fn nesting_ends_before_the_stack_does() {
    let mut victim = Victim::new();
    let deep = [&[0x83, 1, 5][..], &vec![0x81; 1_000], &[0]].concat();
    victim.datagram(Tier::Lan, &deep);
    assert_eq!(victim.dropped("frame_malformed"), 1);
    let deep = [&[0x83, 1, 1][..], &vec![0x81; MAX_MESSAGE - 10], &[0]].concat();
    victim.request(Tier::Lan, &deep);
    assert_eq!(victim.dropped("request_malformed"), 1);
}

#[test]
fn forged_lengths_reserve_nothing() {
    for head in [0x9b, 0x5b, 0x7b] {
        let bomb = [&[0x83, 1, 5, head][..], &[0x7f; 8]].concat();
        assert!(
            Frame::decode(&bomb).is_err()
                && Ask::decode(&bomb).is_err()
                && Reply::decode(&bomb).is_err()
        );
    }
}

#[test]
fn a_datagram_beyond_its_size_is_not_read() {
    let mut victim = Victim::new();
    let item = Item {
        claim: vec![0; MAX_DATAGRAM + 64].into(),
        leaf: None,
    };
    victim.datagram(Tier::Lan, &Frame::News { news: vec![item] }.encode());
    assert_eq!(
        (
            victim.dropped("frame_malformed"),
            victim.dropped("claim_malformed")
        ),
        (1, 0)
    );
}

#[test]
fn a_question_beyond_its_size_is_not_read() {
    let mut victim = Victim::new();
    let item = Item {
        claim: vec![0; MAX_MESSAGE].into(),
        leaf: None,
    };
    assert!(
        victim
            .request(Tier::Lan, &Ask::Probe { news: vec![item] }.encode())
            .is_empty()
    );
    assert_eq!(
        (
            victim.dropped("request_malformed"),
            victim.dropped("claim_malformed")
        ),
        (1, 0)
    );
}

#[test]
fn another_version_is_not_read() {
    let mut victim = Victim::new();
    let mut frame = Frame::News { news: Vec::new() }.encode();
    frame[1] = 2;
    victim.datagram(Tier::Lan, &frame);
    assert_eq!(victim.dropped("frame_malformed"), 1);
}

#[test]
fn hash_trees_of_another_shape_are_not_read() {
    let compare = |bits, buckets| Ask::Compare {
        datacenter: label("dc1"),
        bits,
        buckets,
    };
    assert!(Ask::decode(&compare(2, vec![0; 4]).encode()).is_ok());
    assert!(Ask::decode(&compare(2, vec![0; 5]).encode()).is_err());
    assert!(Ask::decode(&compare(13, vec![0; 1 << 13]).encode()).is_err());
}

#[test]
fn a_datagram_from_nobody_known_is_dropped() {
    let mut victim = Victim::new();
    let frame = Frame::News { news: Vec::new() }.encode();
    victim
        .federation
        .handle_datagram(Tier::Lan, NodeId([9; 16]), &frame, NOW);
    assert_eq!(victim.dropped("unknown_sender"), 1);
}

#[test]
fn probing_for_others_stays_inside_the_datacenter() {
    let mut victim = Victim::new();
    let target = victim.others[1].id();
    victim.datagram(
        Tier::Wan,
        &Frame::PingReq {
            number: 1,
            target,
            within: ms(60),
        }
        .encode(),
    );
    assert_eq!(victim.dropped("frame_tier"), 1);
}

#[test]
fn answers_nobody_asked_for_change_nothing() {
    let mut victim = Victim::new();
    let before = victim.state();
    for number in 0..100 {
        victim.datagram(
            Tier::Lan,
            &Frame::Ack {
                number,
                spacing: None,
                digest: 0,
                news: Vec::new(),
            }
            .encode(),
        );
        victim.datagram(
            Tier::Lan,
            &Frame::Relayed {
                number,
                answered: true,
            }
            .encode(),
        );
        victim.federation.handle_port_closed(ProbeId(number), NOW);
        let nobody = Err(RequestError::NoAnswer(String::new()));
        victim
            .federation
            .handle_response(RequestId(10_000 + number), nobody, NOW);
    }
    assert_eq!(victim.state(), before);
}

#[test]
fn an_answer_beyond_its_size_is_not_read() {
    let mut victim = Victim::new();
    let (id, peer) = (victim.asked(), victim.others[0].peer());
    victim
        .federation
        .handle_response(id, Ok((peer, vec![0; MAX_MESSAGE + 1])), NOW);
    assert_eq!(victim.dropped("response_size"), 1);
}

#[test]
fn an_answer_that_does_not_fit_the_question_is_dropped() {
    let mut victim = Victim::new();
    let (id, peer) = (victim.asked(), victim.others[0].peer());
    let reply = Reply::Given {
        bundles: Vec::new(),
    }
    .encode();
    victim
        .federation
        .handle_response(id, Ok((peer, reply)), NOW);
    assert_eq!(victim.dropped("response_kind"), 1);
}

#[test]
fn garbage_for_an_answer_is_dropped() {
    let mut victim = Victim::new();
    let (id, peer) = (victim.asked(), victim.others[0].peer());
    victim
        .federation
        .handle_response(id, Ok((peer, vec![0xff; 100])), NOW);
    assert_eq!(victim.dropped("response_malformed"), 1);
}

/// What happens to a question from this peer.
fn is_heard(tier: Tier, change: impl FnOnce(&mut Claimant)) -> bool {
    let mut victim = Victim::new();
    let mut who = claimant(9);
    change(&mut who);
    let peer = victim.realm.issue(&who).peer();
    let ask = Ask::Seats {
        known: Vec::new(),
        mine: Vec::new(),
    }
    .encode();
    let heard = !victim
        .federation
        .handle_request(tier, &peer, &ask, NOW)
        .is_empty();
    assert_eq!(victim.dropped("request_role"), u64::from(!heard));
    heard
}

#[test]
fn members_ask_on_the_lan() {
    assert!(is_heard(Tier::Lan, |_| ()));
    assert!(is_heard(Tier::Lan, |who| who.role = Role::Client));
}

#[test]
fn other_datacenters_do_not_ask_on_the_lan() {
    assert!(!is_heard(Tier::Lan, |who| who.datacenter = label("dc2")));
}

#[test]
fn operators_do_not_ask_on_the_lan() {
    assert!(!is_heard(Tier::Lan, |who| who.role = Role::Operator));
}

#[test]
fn only_servers_ask_on_the_wan() {
    assert!(is_heard(Tier::Wan, |who| who.datacenter = label("dc2")));
    assert!(!is_heard(Tier::Wan, |who| who.role = Role::Client));
}

#[test]
fn a_claim_whose_signature_does_not_fit_is_dropped() {
    let mut victim = Victim::new();
    let claim = victim.others[0].alive(at(1, 1), &victim.others[0].record(at(1, 0)));
    let mut forged = claim.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let before = victim.state();
    victim.news(&forged, None);
    assert_eq!(
        (victim.state(), victim.dropped("claim_signature")),
        (before, 1)
    );
}

#[test]
fn a_claim_of_nobody_known_is_dropped() {
    let mut victim = Victim::new();
    let stranger = victim.realm.server(9, "a", "r1");
    victim.news(stranger.leave(at(1, 1)).bytes(), None);
    assert_eq!(victim.dropped("unknown_signer"), 1);
}

#[test]
fn a_record_without_its_certificate_is_dropped() {
    let mut victim = Victim::new();
    let stranger = victim.realm.server(9, "a", "r1");
    victim.news(stranger.record(at(1, 0)).bytes(), None);
    assert_eq!(victim.dropped("no_certificate"), 1);
}

#[test]
fn a_record_with_anothers_certificate_is_dropped() {
    let mut victim = Victim::new();
    let stranger = victim.realm.server(9, "a", "r1");
    let leaf = Arc::clone(&victim.others[0].leaf);
    victim.news(stranger.record(at(1, 0)).bytes(), Some(&leaf));
    assert_eq!(victim.dropped("claim_signer"), 1);
}

#[test]
fn a_record_that_claims_anothers_name_is_dropped() {
    let mut victim = Victim::new();
    let stranger = victim.realm.server(9, "a", "r1");
    let record = stranger.record_with(at(1, 0), |r| r.name = label("n1"));
    victim.news(record.bytes(), Some(&stranger.leaf));
    assert_eq!(victim.dropped("claim_name"), 1);
}

#[test]
fn an_accusation_of_nobody_known_is_dropped() {
    let mut victim = Victim::new();
    let claim = victim.others[0].accuse(NodeId([9; 16]), at(1, 0), secs(3));
    let before = victim.state();
    victim.news(claim.bytes(), None);
    assert_eq!(victim.state(), before);
}

#[test]
fn a_head_comes_only_in_its_own_frame() {
    let mut victim = Victim::new();
    let claim = victim.others[0].head(at(1, 1), 5);
    victim.news(claim.bytes(), None);
    assert_eq!(victim.dropped("head_outside_its_frame"), 1);
}

#[test]
fn the_frame_of_heads_brings_nothing_else() {
    let mut victim = Victim::new();
    let item = Item {
        claim: Arc::clone(victim.others[0].leave(at(1, 1)).bytes()),
        leaf: None,
    };
    let before = victim.state();
    let heads = vec![HeadItem {
        item,
        age: ms(0),
        direct: true,
    }];
    victim.datagram(Tier::Lan, &Frame::Heads { heads }.encode());
    assert_eq!((victim.state(), victim.dropped("head_kind")), (before, 1));
}

#[test]
fn a_forged_accusation_of_ourselves_is_not_answered() {
    let mut victim = Victim::new();
    let claim = victim.others[0].accuse(victim.me.id(), at(1, 0), secs(3));
    let mut forged = claim.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    victim.news(&forged, None);
    assert_eq!(victim.federation.incarnation(), at(1, 0));
}

#[test]
fn a_true_accusation_of_ourselves_is_refuted_by_the_next_incarnation() {
    let mut victim = Victim::new();
    let claim = victim.others[0].accuse(victim.me.id(), at(1, 0), secs(3));
    victim.news(claim.bytes(), None);
    assert_eq!(victim.federation.incarnation(), at(1, 1));
}

#[test]
fn an_accusation_of_an_incarnation_we_never_had_moves_nothing() {
    let mut victim = Victim::new();
    let claim = victim.others[0].accuse(victim.me.id(), at(1, 1_000_000), secs(3));
    victim.news(claim.bytes(), None);
    assert_eq!(victim.federation.incarnation(), at(1, 0));
}

#[test]
fn a_forged_word_of_our_own_moves_nothing() {
    let mut victim = Victim::new();
    let claim = victim.me.leave(at(9, 0));
    let mut forged = claim.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    victim.news(&forged, None);
    assert_eq!(victim.federation.incarnation(), at(1, 0));
}

#[test]
fn an_introduction_that_is_no_record_is_dropped() {
    let mut victim = Victim::new();
    let goodbye = victim.others[0].leave(at(1, 1));
    let leaf = Arc::clone(&victim.others[0].leaf);
    assert!(
        victim
            .federation
            .handle_introduction(goodbye.bytes(), &leaf, NOW)
            .is_none()
    );
    assert_eq!(victim.dropped("introduction_malformed"), 1);
}

#[test]
fn an_introduction_out_of_another_datacenter_is_dropped() {
    let mut victim = Victim::new();
    let foreigner = victim.realm.issue(&Claimant {
        datacenter: label("dc2"),
        ..claimant(9)
    });
    let record = foreigner.record(at(1, 0));
    assert!(
        victim
            .federation
            .handle_introduction(record.bytes(), &foreigner.leaf, NOW)
            .is_none()
    );
    assert_eq!(victim.dropped("introduction_datacenter"), 1);
}

#[test]
fn a_replayed_introduction_opens_nothing_once_a_newer_record_is_known() {
    let mut victim = Victim::new();
    let other = Arc::clone(&victim.others[0]);
    let newer = other.record_with(at(2, 0), |r| r.lan_key = [0xee; 32]);
    assert!(
        victim
            .federation
            .handle_introduction(newer.bytes(), &other.leaf, NOW)
            .is_some()
    );
    let replayed = other.record(at(1, 0));
    assert!(
        victim
            .federation
            .handle_introduction(replayed.bytes(), &other.leaf, NOW)
            .is_none()
    );
}

#[test]
fn a_bundle_of_too_many_claims_is_dropped() {
    let mut victim = Victim::new();
    let mut bundle = victim.known()[0].clone();
    bundle.claims = vec![Arc::clone(&bundle.claims[0]); 33];
    let ask = Ask::Introduce {
        me: bundle,
        you: None,
        digest: 0,
    };
    victim.request(Tier::Lan, &ask.encode());
    assert_eq!(victim.dropped("bundle_size"), 1);
}

#[test]
fn whoever_left_hears_nothing_any_more() {
    let mut victim = Victim::new();
    victim.federation.leave(NOW);
    let before = victim.state();
    let claim = victim.others[0].leave(at(1, 1));
    victim.news(claim.bytes(), None);
    assert!(victim.request(Tier::Lan, &Ask::Heads.encode()).is_empty());
    assert_eq!(victim.state(), before);
}

#[test]
fn a_claim_is_passed_on_only_if_it_was_taken_in() {
    let mut victim = Victim::new();
    let stranger = victim.realm.server(9, "a", "r1");
    let claims = [
        stranger.leave(at(1, 1)),
        victim.others[0].accuse(NodeId([9; 16]), at(1, 0), secs(3)),
    ];
    for claim in &claims {
        victim.news(claim.bytes(), None);
    }
    assert_eq!(victim.federation.poll_transmit(), None);
    assert!(claims.iter().all(|c| Claim::parse(c.bytes()).is_ok()));
}
