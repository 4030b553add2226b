//! Revocation lists in one node: what is taken in, passed on, asked for and not listened to.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests"
)]

mod common;

use common::{DOMAIN, NOW, Node, Realm, at, count, ms, secs};
use pelago_proto::{
    federation::{Federation, ListError, MAX_LIST, Memory, Tier},
    identity::NodeId,
    time::Time,
    trust::{Authority, Certified, Issuer, List, Refusal, Trust, Weighed},
    wire::{Ask, Frame, ListItem, MAX_DATAGRAM, Reply},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A list: issuer, number, whether its signature is good, the member that it revokes, and as much more as wanted.
fn list(issuer: u8, number: u8, good: bool, revoked: u8, size: usize) -> Vec<u8> {
    let mut crl = vec![issuer, number, good.into(), revoked];
    crl.resize(size.max(crl.len()), 0);
    crl
}

/// Judges lists of the two issuers 1 and 2, and everything else as the node does.
struct Judge {
    node: Arc<Node>,
    held: Mutex<BTreeMap<u8, Vec<u8>>>,
    checked: AtomicUsize,
}

impl Judge {
    fn new(node: &Arc<Node>) -> Arc<Self> {
        let first = [1, 2].map(|issuer| (issuer, list(issuer, 1, true, 0, 4)));
        Arc::new(Self {
            node: Arc::clone(node),
            held: Mutex::new(first.into()),
            checked: AtomicUsize::new(0),
        })
    }
}

impl Trust for Judge {
    fn trust_domain(&self) -> &str {
        self.node.trust_domain()
    }
    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let certified = self.node.certify(leaf)?;
        match self.is_revoked(&certified) {
            true => Err(Refusal::REVOKED),
            false => Ok(certified),
        }
    }
    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.certify(leaf)
    }
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
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
    fn admit_authority(&self, _: &[u8], crl: &[u8]) -> Result<bool, Refusal> {
        self.admit_list(crl)
    }
    fn lists(&self) -> Vec<List> {
        let held = self.held.lock().unwrap();
        let list = |(issuer, crl): (&u8, &Vec<u8>)| List {
            issuer: Issuer([*issuer; 16]),
            datacenter: None,
            number: crl[1].into(),
            certificate: None,
            crl: crl.as_slice().into(),
        };
        held.iter().map(list).collect()
    }
    fn weigh_list(&self, crl: &[u8]) -> Result<Weighed, Refusal> {
        let [issuer, number, ..] = crl else {
            return Err(Refusal("malformed"));
        };
        let held = self.held.lock().unwrap();
        let held = held.get(issuer).ok_or(Refusal::UNKNOWN_ISSUER)?;
        Ok(Weighed {
            number: (*number).into(),
            held: Some(held[1].into()),
        })
    }
    fn admit_list(&self, crl: &[u8]) -> Result<bool, Refusal> {
        self.checked.fetch_add(1, Ordering::Relaxed);
        if crl[2] == 0 {
            return Err(Refusal("bad_signature"));
        }
        self.held.lock().unwrap().insert(crl[0], crl.to_vec());
        Ok(true)
    }
    fn is_revoked(&self, certified: &Certified) -> bool {
        let held = self.held.lock().unwrap();
        held.values()
            .any(|crl| crl[3] != 0 && certified.id.0[0] == crl[3])
    }
    fn unix_time(&self) -> u64 {
        self.node.unix_time()
    }
    fn lan_public_key(&self) -> [u8; 32] {
        self.node.lan_public_key()
    }
}

struct World {
    judge: Arc<Judge>,
    federation: Federation,
    peers: Vec<Arc<Node>>,
}

/// A node that knows three others.
fn world() -> World {
    let realm = Realm::new(DOMAIN);
    let me = realm.server(0, "a", "r0");
    let judge = Judge::new(&me);
    let mut federation = me.start_believing(Arc::<Judge>::clone(&judge), Memory::default());
    let peers: Vec<_> = (1..4)
        .map(|n| realm.server(n, "a", &format!("r{n}")))
        .collect();
    for peer in &peers {
        federation.handle_introduction(peer.record(at(1, 0)).bytes(), &peer.leaf, NOW);
    }
    while federation.poll_transmit().is_some() || federation.poll_request().is_some() {}
    World {
        judge,
        federation,
        peers,
    }
}

impl World {
    fn hear(&mut self, peer: usize, frame: &Frame, now: Time) {
        let id = self.peers[peer].id();
        self.federation
            .handle_datagram(Tier::Lan, id, &frame.encode(), now);
    }

    fn push(&mut self, peer: usize, crl: Vec<u8>, now: Time) {
        self.hear(peer, &Frame::List { crl: crl.into() }, now);
    }

    fn mention(&mut self, peer: usize, issuer: u8, number: u64, now: Time) {
        let known = vec![(Issuer([issuer; 16]), number)];
        self.hear(peer, &Frame::Lists { digest: 0, known }, now);
    }

    /// What is sent about lists, and to whom.
    fn sent(&mut self) -> Vec<(NodeId, Frame)> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.federation.poll_transmit() {
            let frame = Frame::decode(&transmit.payload).unwrap();
            if matches!(frame, Frame::List { .. } | Frame::Lists { .. }) {
                sent.push((transmit.to, frame));
            }
        }
        sent
    }

    /// Whom it asks for lists.
    fn asked(&mut self) -> Vec<NodeId> {
        let mut asked = Vec::new();
        while let Some(request) = self.federation.poll_request() {
            if matches!(Ask::decode(&request.body), Ok(Ask::Lists { .. })) {
                asked.extend(request.to);
            }
        }
        asked
    }

    /// The peer's answer to the question that is asked next.
    fn answer(&mut self, lists: Vec<ListItem>, known: Vec<(Issuer, u64)>, now: Time) {
        let request = std::iter::from_fn(|| self.federation.poll_request())
            .find(|request| matches!(Ask::decode(&request.body), Ok(Ask::Lists { .. })))
            .unwrap();
        let peer = self.peers.iter().find(|p| Some(p.id()) == request.to);
        let answer = Ok((peer.unwrap().peer(), Reply::Lists { lists, known }.encode()));
        self.federation.handle_response(request.id, answer, now);
    }

    fn checked(&self) -> usize {
        self.judge.checked.load(Ordering::Relaxed)
    }

    fn dropped(&self, why: &str) -> u64 {
        count(&self.federation, "dropped", why)
    }
}

#[test]
fn a_list_that_is_news_is_passed_on_and_drops_whom_it_names() {
    let mut world = world();
    let gone = world.peers[2].id();
    let crl = list(1, 2, true, gone.0[0], 100);
    world.push(0, crl.clone(), NOW);
    let to: Vec<NodeId> = world.sent().into_iter().map(|(to, _)| to).collect();
    assert!(
        !to.is_empty() && !to.contains(&world.peers[0].id()),
        "{to:?}"
    );
    assert_eq!(world.federation.lan_key(gone), None);
    let view = world.federation.view(NOW);
    assert_eq!(view.datacenters.values().next().unwrap().members.len(), 3);
    // Its own words bring nobody back.
    let record = world.peers[2].record(at(2, 0));
    world
        .federation
        .handle_introduction(record.bytes(), &world.peers[2].leaf, NOW);
    assert_eq!(world.federation.lan_key(gone), None);
    let refused = world.federation.handle_request(
        Tier::Lan,
        &world.peers[2].peer(),
        &Ask::Lists { known: Vec::new() }.encode(),
        NOW,
    );
    assert!(refused.is_empty());
    // The same again costs no signature, and is not passed on again.
    world.push(1, crl, NOW);
    assert_eq!((world.checked(), world.sent().len()), (1, 0));
    assert_eq!(count(&world.federation, "lists_known_already", ""), 1);
}

#[test]
fn a_list_beyond_a_datagram_is_mentioned_and_fetched() {
    let mut world = world();
    world.mention(0, 1, 2, NOW);
    assert_eq!(world.asked(), [world.peers[0].id()]);
    world.mention(1, 1, 2, NOW);
    assert_eq!(world.asked(), [], "twice a second is enough");
    world.mention(1, 1, 2, NOW + ms(600));
    let crl: Arc<[u8]> = list(1, 2, true, 0, 60_000).into();
    let item = ListItem {
        certificate: None,
        crl: Arc::clone(&crl),
    };
    world.answer(vec![item], vec![(Issuer([1; 16]), 2)], NOW + ms(600));
    let sent = world.sent();
    assert!(!sent.is_empty());
    for (_, frame) in sent {
        assert!(frame.encode().len() <= MAX_DATAGRAM);
        assert!(matches!(frame, Frame::Lists { known, .. } if !known.is_empty()));
    }
    // Whoever asks gets it.
    let peer = world.peers[0].peer();
    let ask = Ask::Lists {
        known: vec![(Issuer([1; 16]), 1), (Issuer([2; 16]), 1)],
    };
    let answer = world
        .federation
        .handle_request(Tier::Lan, &peer, &ask.encode(), NOW + secs(1));
    let Reply::Lists { lists, known } = Reply::decode(&answer).unwrap() else {
        panic!("another answer");
    };
    assert_eq!((lists.len(), &lists[0].crl), (1, &crl));
    assert_eq!(known, [(Issuer([1; 16]), 2), (Issuer([2; 16]), 1)]);
}

#[test]
fn whoever_is_behind_is_told_and_whoever_agrees_is_not() {
    let mut world = world();
    world.push(0, list(1, 5, true, 0, 100), NOW);
    world.sent();
    world.mention(1, 1, 4, NOW);
    let known = vec![(Issuer([1; 16]), 5)];
    let sent = world.sent();
    assert!(
        matches!(&sent[..], [(to, Frame::Lists { known: told, .. })] if *to == world.peers[1].id() && *told == known),
        "{sent:?}"
    );
    world.mention(1, 1, 5, NOW);
    assert_eq!((world.sent(), world.asked()), (Vec::new(), Vec::new()));
}

#[test]
fn whoever_brings_forged_lists_is_not_heard_for_a_while_and_others_are() {
    let mut world = world();
    for _ in 0..100 {
        world.push(0, list(1, 9, false, 0, 100), NOW);
        world.push(1, list(1, 0, true, 0, 100), NOW);
    }
    assert_eq!(
        world.checked(),
        3,
        "three chances; what is old costs nothing"
    );
    assert_eq!(world.dropped("bad_signature"), 3);
    assert_eq!(world.dropped("list_doubted"), 97);
    assert_eq!(world.dropped("list_stale"), 100);
    world.push(1, list(1, 2, true, 0, 100), NOW);
    assert_eq!(count(&world.federation, "lists_learnt", ""), 1);
    // One more chance comes with time.
    world.push(0, list(1, 3, true, 0, 100), NOW + secs(1));
    assert_eq!(world.checked(), 4);
    world.push(0, list(1, 3, true, 0, 100), NOW + secs(11));
    assert_eq!(count(&world.federation, "lists_learnt", ""), 2);
}

#[test]
fn whoever_promises_lists_that_it_does_not_have_is_soon_not_asked() {
    let mut world = world();
    let mut now = NOW;
    for _ in 0..3 {
        world.mention(0, 1, u64::MAX, now);
        let held = vec![(Issuer([1; 16]), 1), (Issuer([2; 16]), 1)];
        world.answer(Vec::new(), held, now);
        now = now + ms(600);
    }
    world.mention(0, 1, u64::MAX, now);
    assert_eq!(world.asked(), []);
    world.mention(1, 1, 2, now);
    assert_eq!(world.asked(), [world.peers[1].id()]);
}

#[test]
fn what_is_handed_in_is_judged_and_refused_with_a_reason() {
    let mut world = world();
    let mut hand = |crl: &[u8]| world.federation.hand_in_list(crl, NOW);
    let taken = hand(&list(1, 3, true, 0, 100)).unwrap();
    assert!(taken.news && taken.number == 3);
    assert!(!hand(&list(1, 3, true, 0, 100)).unwrap().news);
    let stale = ListError::Stale { number: 2, held: 3 };
    assert_eq!(hand(&list(1, 2, true, 0, 100)), Err(stale));
    // The same number over other contents is as old.
    let stale = ListError::Stale { number: 3, held: 3 };
    assert_eq!(hand(&list(1, 3, true, 7, 100)), Err(stale));
    let unknown = ListError::Refused(Refusal::UNKNOWN_ISSUER);
    assert_eq!(hand(&list(8, 1, true, 0, 100)), Err(unknown));
    let forged = ListError::Refused(Refusal("bad_signature"));
    assert_eq!(hand(&list(1, 4, false, 0, 100)), Err(forged));
    let large = list(1, 4, true, 0, MAX_LIST + 1);
    assert_eq!(hand(&large), Err(ListError::TooLarge(large.len())));
    assert!(!world.sent().is_empty());
}
