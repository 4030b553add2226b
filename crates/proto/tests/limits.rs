//! Every bounded table filled to its limit: it stays there, and says so.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Claimant, DOMAIN, Ledger, NOT_AFTER, NOW, Node, Realm, UNIX, at, claimant, count, label, ms,
    secs,
};
use pelago_proto::{
    catalog::MAX_DATACENTERS,
    claim::{Body, Claim, Leave, Verified},
    contact::Contact,
    federation::{Federation, MAX_MESSAGE, Tier},
    identity::{Incarnation, NodeId},
    limit::Bucket,
    pool::{Action, Gain, News, Pool, Profile, Repair, Standing, Tuning},
    roster::{MAX_MEMBERS, MAX_REMOVALS, Outcome, Roster},
    sampler::Place,
    time::Time,
    trust::{Authority, Certified, Refusal, Trust},
    view::EventKind,
    wire::{Ask, Bundle, Frame, HeadItem, Item, MAX_DATAGRAM, MAX_INTRODUCED, Reply},
};
use rand::{SeedableRng, rngs::ChaCha12Rng};
use std::{collections::BTreeSet, sync::Arc};

/// Wide enough for every message, so that only the datagram's own limit is at work.
const WHOLE_DATAGRAM: usize = 1_200;
/// Header, tag and the two lengths of an introduction, as the seal adds them.
const SEAL: usize = 28 + 16 + 4;

struct Pair {
    realm: Arc<Realm>,
    federation: Federation,
    other: Arc<Node>,
}

/// A running node and another that it knows.
fn pair() -> Pair {
    let realm = Realm::new(DOMAIN);
    let mut federation = realm.server(0, "a", "r1").start();
    let other = realm.server(1, "a", "r2");
    federation.handle_introduction(other.record(at(1, 0)).bytes(), &other.leaf, NOW);
    while federation.poll_transmit().is_some() {}
    while federation.poll_event().is_some() {}
    Pair {
        realm,
        federation,
        other,
    }
}

impl Pair {
    fn hear(&mut self, claim: &Verified<Claim>, leaf: bool, now: Time) {
        let leaf = leaf.then(|| Arc::clone(&self.other.leaf));
        let news = vec![Item {
            claim: Arc::clone(claim.bytes()),
            leaf,
        }];
        self.federation.handle_datagram(
            Tier::Lan,
            self.other.id(),
            &Frame::News { news }.encode(),
            now,
        );
    }

    fn ask(&mut self, ask: &Ask) -> Vec<u8> {
        self.federation
            .handle_request(Tier::Lan, &self.other.peer(), &ask.encode(), NOW)
    }

    fn reply(&mut self, ask: &Ask) -> Reply {
        Reply::decode(&self.ask(ask)).unwrap()
    }

    /// Brings in more members, in bulk.
    fn populate(&mut self, members: u32) {
        let nodes: Vec<_> = (10..10 + members)
            .map(|n| self.realm.server(n, "a", "r3"))
            .collect();
        for some in nodes.chunks(100) {
            let give = some.iter().map(|n| bundle(n)).collect();
            self.ask(&Ask::Exchange {
                datacenter: label("dc1"),
                want: Vec::new(),
                give,
            });
        }
    }

    fn entries(&self, table: &str) -> u64 {
        count(&self.federation, "table_entries", table)
    }

    fn dropped(&self, reason: &str) -> u64 {
        count(&self.federation, "dropped", reason)
    }
}

fn bundle(node: &Node) -> Bundle {
    Bundle {
        claims: vec![Arc::clone(node.record(at(1, 0)).bytes())],
        leaf: Arc::clone(&node.leaf),
        ..Bundle::default()
    }
}

#[test]
fn waiting_datagrams() {
    let mut pair = pair();
    let ping = |number| {
        Frame::Ping {
            number,
            watch: false,
            digest: 0,
            news: Vec::new(),
        }
        .encode()
    };
    for number in 0..16_384 + 100 {
        pair.federation
            .handle_datagram(Tier::Lan, pair.other.id(), &ping(number), NOW);
    }
    assert_eq!(
        (pair.entries("transmits"), pair.dropped("transmit_queue")),
        (16_384, 100)
    );
    // The oldest went.
    let first = pair.federation.poll_transmit().unwrap();
    assert!(matches!(
        Frame::decode(&first.payload),
        Ok(Frame::Ack { number: 100, .. })
    ));
}

#[test]
fn heads_that_one_peer_brings() {
    let mut pair = pair();
    let heads = |federation: &Federation| count(federation, "heads_verified", "");
    let mut bring = |seqs: std::ops::Range<u64>, now| {
        for seq in seqs {
            let item = Item::bare(pair.other.head(at(1, seq), seq).bytes());
            let heads = vec![HeadItem {
                item,
                age: secs(0),
                direct: true,
            }];
            let frame = Frame::Heads { heads }.encode();
            pair.federation
                .handle_datagram(Tier::Lan, pair.other.id(), &frame, now);
        }
        (heads(&pair.federation), pair.dropped("relay_budget"))
    };
    assert_eq!(bring(1..1_501, NOW), (1_000, 500));
    // A second later two hundred more, and what it says otherwise was heard all the time.
    assert_eq!(bring(1_501..2_001, NOW + secs(1)), (1_200, 800));
    let word = pair.other.record(at(1, 1));
    pair.hear(&word, false, NOW + secs(1));
    let view = pair.federation.view(NOW + secs(1));
    let members = &view.datacenters["dc1"].members;
    let other = members.iter().find(|m| m.id == pair.other.id()).unwrap();
    assert_eq!(other.incarnation, at(1, 1));
}

#[test]
fn waiting_events() {
    let mut pair = pair();
    pair.populate(16_384 + 10);
    assert_eq!(
        std::iter::from_fn(|| pair.federation.poll_event()).count(),
        16_384
    );
    assert!(pair.dropped("event_queue") > 0, "what was lost is counted");
}

#[test]
fn requests_under_way() {
    let mut pair = pair();
    let seeds = |n: u16| {
        (0..3)
            .map(|m| format!("10.1.{n}.{m}:7001").parse().unwrap())
            .collect()
    };
    for n in 0..100 {
        pair.federation.seeds(seeds(n), Vec::new(), NOW);
    }
    assert_eq!(
        (pair.entries("requests"), pair.dropped("request_table")),
        (256, 44)
    );
}

#[test]
fn datacenters() {
    let mut pair = pair();
    for n in 0..70 {
        let foreigner = pair.realm.issue(&Claimant {
            datacenter: label(&format!("far-{n}")),
            ..claimant(100 + n)
        });
        let ask = Ask::Seats {
            known: Vec::new(),
            mine: vec![bundle(&foreigner)],
        }
        .encode();
        pair.federation
            .handle_request(Tier::Wan, &foreigner.peer(), &ask, NOW);
    }
    // One place is our own datacenter's.
    assert_eq!(
        (
            pair.entries("datacenters"),
            pair.dropped("datacenter_table")
        ),
        (MAX_DATACENTERS as u64, 7)
    );
}

#[test]
fn claims_of_one_signer() {
    let mut pair = pair();
    let record = pair.other.record(at(1, 0));
    for seq in 1..=300 {
        let claim = pair.other.alive(at(1, seq), &record);
        pair.hear(&claim, false, NOW);
    }
    // 200 at once, of which its first record took one.
    assert_eq!(pair.dropped("signer_budget"), 101);
}

#[test]
fn what_a_signer_may_say_comes_back_at_its_rate() {
    let mut pair = pair();
    let record = pair.other.record(at(1, 0));
    for seq in 1..=300 {
        let claim = pair.other.alive(at(1, seq), &record);
        pair.hear(&claim, false, NOW);
    }
    for seq in 301..=400 {
        let claim = pair.other.alive(at(1, seq), &record);
        pair.hear(&claim, false, NOW + secs(1));
    }
    assert_eq!(pair.dropped("signer_budget"), 151);
}

/// Fifty records a second for half a minute are told ten times, once a second, and at the end.
#[test]
fn events_of_one_member() {
    let mut pair = pair();
    let mut now = NOW;
    let mut told = Vec::new();
    let mut newest = at(1, 0);
    for tenth in 0..350 {
        now = now + ms(100);
        for _ in 0..if tenth < 300 { 5 } else { 0 } {
            newest.seq += 1;
            let record = pair.other.record(newest);
            pair.hear(&record, true, now);
        }
        pair.federation.handle_timeout(now);
        let events = std::iter::from_fn(|| pair.federation.poll_event());
        let updates = events.filter(|event| event.kind == EventKind::Updated);
        told.extend(updates.map(|event| event.incarnation.unwrap()));
    }
    assert!((35..=45).contains(&told.len()), "{} times", told.len());
    assert_eq!(
        told[..10],
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|n| at(1, n))
    );
    assert_eq!(told.last(), Some(&newest), "the last one is always told");
    assert!(count(&pair.federation, "events_merged", "") > 1_400);
}

/// Two processes with one key are seen again and again, and reported three times, then every ten seconds; the last time, too.
#[test]
fn reports_of_one_clone() {
    let mut pair = pair();
    let told = |pair: &mut Pair, tenths: std::ops::Range<u64>, seen: bool| {
        let mut told = 0;
        for tenth in tenths {
            let now = NOW + ms(100 * tenth);
            if seen {
                let one = pair.other.record(at(1, tenth));
                let two = pair.other.record_with(at(1, tenth), |r| r.health = 7);
                pair.hear(&one, true, now);
                pair.hear(&two, true, now);
            }
            pair.federation.handle_timeout(now);
            let events = std::iter::from_fn(|| pair.federation.poll_event());
            told += events.filter(|e| e.kind == EventKind::Clone).count();
        }
        told
    };
    assert_eq!(told(&mut pair, 1..50, true), 3);
    assert_eq!(count(&pair.federation, "clones_seen", ""), 49);
    assert_eq!(told(&mut pair, 50..90, false), 0);
    assert_eq!(told(&mut pair, 90..120, false), 1, "what was owed");
    assert_eq!(told(&mut pair, 120..450, false), 0);
    assert_eq!(count(&pair.federation, "table_entries", "reported"), 0);
}

/// A seat is not lost among records, nor is whoever left in the end taken for somebody who is there.
#[test]
fn seats_and_goodbyes_among_many_words() {
    let mut pair = pair();
    for seq in 1..=20 {
        pair.hear(&pair.other.record(at(1, seq)), true, NOW);
    }
    let seated = pair.other.record_with(at(1, 21), |r| r.seat = true);
    pair.hear(&seated, true, NOW);
    let kinds = |pair: &mut Pair, now| {
        pair.federation.handle_timeout(now);
        let events = std::iter::from_fn(|| pair.federation.poll_event());
        let of_it = events.filter(|e| e.member == Some(pair.other.id()));
        of_it.map(|e| e.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&mut pair, NOW).last(), Some(&EventKind::Elected));
    for seq in 22..=40 {
        let seat = seq % 2 == 1;
        let record = pair.other.record_with(at(1, seq), |r| r.seat = seat);
        pair.hear(&record, true, NOW);
    }
    kinds(&mut pair, NOW);
    let later = kinds(&mut pair, NOW + secs(2));
    assert!(later.contains(&EventKind::Resigned), "{later:?}");
    for n in 0..10 {
        pair.hear(&pair.other.leave(at(1, 41 + 2 * n)), false, NOW + secs(2));
        let back = pair.other.record(at(1, 42 + 2 * n));
        pair.hear(&back, true, NOW + secs(2));
    }
    pair.hear(&pair.other.leave(at(1, 61)), false, NOW + secs(2));
    let at_once = kinds(&mut pair, NOW + secs(2));
    let presence = |kind: &&EventKind| matches!(kind, EventKind::Left | EventKind::Alive);
    assert_eq!(at_once.iter().filter(presence).count(), 10);
    assert_eq!(kinds(&mut pair, NOW + secs(4)), [EventKind::Left]);
    // Of somebody removed nothing is owed.
    for n in 31..40 {
        pair.hear(&pair.other.leave(at(1, 2 * n)), false, NOW + secs(4));
        let back = pair.other.record(at(1, 2 * n + 1));
        pair.hear(&back, true, NOW + secs(4));
    }
    let removal = pair.realm.operator(50).remove(pair.other.id(), NOT_AFTER);
    let item = Item::with_leaf(&removal);
    pair.federation
        .hand_in_removal(&item, NOW + secs(4))
        .unwrap();
    let last = kinds(&mut pair, NOW + secs(4));
    assert_eq!(last.last(), Some(&EventKind::Removed));
    assert_eq!(kinds(&mut pair, NOW + secs(9)), []);
}

#[test]
fn introductions_of_strangers() {
    let mut pair = pair();
    let introduce = |pair: &mut Pair, n| {
        let stranger = pair.realm.server(n, "a", "r1");
        pair.federation
            .handle_introduction(stranger.record(at(1, 0)).bytes(), &stranger.leaf, NOW)
            .is_some()
    };
    // One of the budget went for the other of the pair.
    let heard = (100..600).filter(|n| introduce(&mut pair, *n)).count();
    assert_eq!((heard, pair.dropped("introduction_budget")), (399, 101));
}

#[test]
fn known_members_introduce_themselves_without_any_budget() {
    let mut pair = pair();
    for _ in 0..300 {
        let record = pair.other.record(at(1, 0));
        assert!(
            pair.federation
                .handle_introduction(record.bytes(), &pair.other.leaf, NOW)
                .is_some()
        );
    }
}

#[test]
fn pages_stay_small_and_name_everybody_once() {
    let mut pair = pair();
    pair.populate(500);
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let bytes = pair.ask(&Ask::Pull {
            datacenter: label("dc1"),
            after,
        });
        assert!(bytes.len() < MAX_MESSAGE / 2);
        let Ok(Reply::Page { bundles, next, .. }) = Reply::decode(&bytes) else {
            panic!("no page")
        };
        seen.extend(
            bundles
                .iter()
                .map(|b| Claim::parse(&b.claims[0]).unwrap().signer),
        );
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    // Everybody but the asker, the answerer among them.
    assert!(pages > 1);
    assert_eq!((seen.len(), distinct.len()), (501, 501));
}

#[test]
fn joiners_are_sent_elsewhere_when_the_bulk_budget_is_used_up() {
    let mut pair = pair();
    pair.populate(100);
    let ask = Ask::Pull {
        datacenter: label("dc1"),
        after: None,
    };
    let busy = (0..200).find_map(|_| match pair.reply(&ask) {
        Reply::Busy { referrals, .. } => Some(referrals.len()),
        _ => None,
    });
    assert_eq!(busy, Some(8));
}

#[test]
fn an_exchange_answers_at_most_256_members() {
    let mut pair = pair();
    let want = vec![pair.other.id(); 300];
    let Reply::Given { bundles } = pair.reply(&Ask::Exchange {
        datacenter: label("dc1"),
        want,
        give: Vec::new(),
    }) else {
        panic!("no answer")
    };
    assert!(bundles.len() <= 256);
}

#[test]
fn every_datagram_fits() {
    let mut pair = pair();
    pair.populate(60);
    let record = pair.other.record(at(1, 0));
    for n in 1..100 {
        let claim = pair.other.alive(at(1, n), &record);
        pair.hear(&claim, false, NOW);
        let ping = Frame::Ping {
            number: n,
            watch: true,
            digest: 0,
            news: Vec::new(),
        };
        pair.federation
            .handle_datagram(Tier::Lan, pair.other.id(), &ping.encode(), NOW);
        pair.federation.handle_timeout(NOW + ms(50 * n));
    }
    let mut sent = 0;
    while let Some(transmit) = pair.federation.poll_transmit() {
        sent += 1;
        let clear = transmit
            .introduction
            .as_ref()
            .map_or(0, |i| i.record.len() + i.leaf.len());
        assert!(
            transmit.payload.len()
                <= if clear == 0 {
                    MAX_DATAGRAM
                } else {
                    MAX_INTRODUCED
                }
        );
        assert!(SEAL + clear + transmit.payload.len() <= WHOLE_DATAGRAM);
    }
    assert!(sent > 100);
}

#[test]
fn removals() {
    let realm = Realm::new(DOMAIN);
    let operator = realm.operator(1);
    let mut ledger = Ledger::new();
    let mut remove = |n: usize| {
        let mut id = NodeId::default();
        id.0[..8].copy_from_slice(&n.to_be_bytes());
        ledger.tell(&operator.remove(id, NOT_AFTER))
    };
    assert!((0..MAX_REMOVALS).all(|n| remove(n) == Outcome::New));
    assert_eq!(remove(MAX_REMOVALS), Outcome::Full);
}

/// A pool that knows one peer.
fn pool(peer: NodeId) -> Pool {
    let (address, place) = ("10.0.0.1:7000".parse().unwrap(), || Place {
        zone: label("a"),
        rack: label("r1"),
    });
    let rng = ChaCha12Rng::from_seed([7; 32]);
    let mut pool = Pool::new(
        NodeId::default(),
        place(),
        0,
        Profile::lan(ms(200), Tuning::default()),
        rng,
        NOW,
    );
    let contact = Arc::new(Contact {
        id: peer,
        place: place(),
        position: 1,
        address,
        stream: address,
        key: [0; 32],
        incarnation: at(1, 0),
        floor: ms(2_200),
    });
    let news = News {
        contact,
        incarnation: at(1, 0),
        standing: Standing::Alive,
        charges: Vec::new(),
    };
    pool.upsert(news, NOW);
    pool
}

/// Whether an answer to our ping of this number still leads to anything.
fn is_awaited(pool: &mut Pool, peer: NodeId, number: u64) -> bool {
    while pool.poll().is_some() {}
    pool.handle_ack(peer, number, None, NOW);
    matches!(
        pool.poll(),
        Some(Action::Send {
            frame: Frame::Relayed { .. },
            ..
        })
    )
}

#[test]
fn unanswered_pings() {
    let (peer, asker) = (NodeId([1; 16]), NodeId([2; 16]));
    let mut pool = pool(peer);
    for number in 0..4_097 {
        pool.handle_ping_req(asker, number, peer, ms(60), 0, NOW);
    }
    assert!(!is_awaited(&mut pool, peer, 1));
    assert!(is_awaited(&mut pool, peer, 2));
    assert!(is_awaited(&mut pool, peer, 4_097));
}

#[test]
fn differences_with_peers() {
    let mut rng = ChaCha12Rng::from_seed([7; 32]);
    let mut repair = Repair::default();
    for n in 0..300_u16 {
        let mut peer = NodeId::default();
        peer.0[..2].copy_from_slice(&n.to_be_bytes());
        repair.compare(peer, false, &mut rng, NOW);
    }
    let later = NOW + secs(2);
    let mut seen = BTreeSet::new();
    loop {
        let due = repair.due(later);
        assert!(due.len() <= 2);
        if due.is_empty() {
            break;
        }
        for peer in due {
            assert!(seen.insert(peer));
            repair.finished(&peer, Gain::Learnt, later);
        }
    }
    assert_eq!(seen.len(), 256);
}

#[test]
fn remembered_digests() {
    let node = Realm::new(DOMAIN).server(1, "a", "r1");
    let mut ledger = Ledger::of(&[Arc::clone(&node)]);
    let mut past = Vec::new();
    for seq in 1..=70 {
        past.push(ledger.roster.digests().current());
        ledger.tell(&node.record(at(1, seq)));
    }
    let digests = ledger.roster.digests();
    assert_eq!(past.iter().filter(|d| digests.knows(**d, NOW)).count(), 64);
}

#[test]
fn a_bucket_never_holds_more_than_its_burst() {
    let mut bucket = Bucket::new(50.0, 200.0, NOW);
    let later = NOW + secs(3600);
    assert_eq!((0..1_000).filter(|_| bucket.take(1.0, later)).count(), 200);
}

#[test]
fn a_bucket_in_debt_stays_shut_until_it_is_paid() {
    let mut bucket = Bucket::new(100.0, 100.0, NOW);
    bucket.charge(300.0, NOW);
    assert!(!bucket.open(NOW + secs(2)));
    assert!(bucket.open(NOW + secs(2) + ms(10)));
}

/// A trust that signs nothing: for tables that take tens of thousands of members to fill.
struct Cheap(Arc<Certified>);

impl Cheap {
    fn new(n: usize) -> Self {
        let mut id = NodeId::default();
        id.0[..8].copy_from_slice(&n.to_be_bytes());
        let node = Realm::new(DOMAIN).server(0, "a", "r1");
        Self(Arc::new(Certified {
            id,
            ..Certified::clone(&node.certified)
        }))
    }

    fn record(&self, template: &pelago_proto::claim::Record) -> Verified<Claim> {
        Claim::sign(self, Body::Record(Arc::new(template.clone())))
    }
}

impl Trust for Cheap {
    fn trust_domain(&self) -> &str {
        DOMAIN
    }
    fn certify(&self, _: &[u8]) -> Result<Arc<Certified>, Refusal> {
        Err(Refusal("malformed"))
    }
    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.certify(leaf)
    }
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        false
    }
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
    fn own(&self) -> Arc<Certified> {
        Arc::clone(&self.0)
    }
    fn authorities(&self) -> Vec<Authority> {
        Vec::new()
    }
    fn admit_authority(&self, _: &[u8], _: &[u8]) -> Result<bool, Refusal> {
        Ok(false)
    }
    fn unix_time(&self) -> u64 {
        UNIX
    }
    fn lan_public_key(&self) -> [u8; 32] {
        [0; 32]
    }
}

#[test]
fn members() {
    let template = Realm::new(DOMAIN).server(0, "a", "r1").says(at(1, 0));
    let mut cheap = Cheap::new(0);
    let mut roster = Roster::new(label("dc1"));
    let mut join = |roster: &mut Roster, n: usize| {
        Arc::make_mut(&mut cheap.0).id.0[..8].copy_from_slice(&n.to_be_bytes());
        roster.merge(&cheap.record(&template), NOW, UNIX)
    };
    assert!((0..MAX_MEMBERS).all(|n| join(&mut roster, n) == Outcome::New));
    assert_eq!(join(&mut roster, MAX_MEMBERS), Outcome::Full);

    // Whoever left makes room for whoever comes, and that is counted.
    let goodbye = Claim::sign(
        &Cheap::new(7),
        Body::Leave(Leave {
            incarnation: Incarnation { boot: 1, seq: 1 },
        }),
    );
    assert_eq!(roster.merge(&goodbye, NOW, UNIX), Outcome::New);
    assert_eq!(join(&mut roster, MAX_MEMBERS), Outcome::New);
    assert_eq!((roster.len(), roster.dropped), (MAX_MEMBERS, 1));
}
