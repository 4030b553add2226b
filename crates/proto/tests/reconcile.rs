//! Two members whose rosters differ compare them once, and exchange what either lacks in as many rounds as it takes. Who holds no
//! more of another datacenter than we do is not asked for it.

#![expect(clippy::unwrap_used, reason = "tests")]
mod common;
use common::*;
use pelago_proto::{
    claim::*,
    federation::*,
    identity::{Label, NodeId},
    time::Time,
    wire::{Ask, Bundle, Frame, HeadItem, Item, Reply},
};
use std::sync::Arc;

struct Pair {
    realm: Arc<Realm>,
    here: Federation,
    there: Federation,
    nodes: [Arc<Node>; 2],
    now: Time,
    pings_are_answered: bool,
    silent: Vec<NodeId>,
    /// The other one answers with one member a time, however many are wanted, and takes 300 ms for it.
    answers_in_bites: bool,
    /// Others who answer questions for heads, as the other one does.
    fellows: Vec<Arc<Node>>,
    heads_asked: usize,
    /// What was asked: comparisons, and in each exchange how many were wanted and how many told.
    comparisons: Vec<Label>,
    exchanges: Vec<(usize, usize)>,
}

fn bundle(node: &Node, claim: &Claim) -> Bundle {
    Bundle {
        claims: vec![Arc::clone(claim.bytes())],
        leaf: Arc::clone(&node.leaf),
        ..Bundle::default()
    }
}

fn tell(to: &mut Federation, from: &Node, about: &Label, bundles: &[Bundle], now: Time) {
    for some in bundles.chunks(100) {
        let ask = Ask::Exchange {
            datacenter: about.clone(),
            want: vec![],
            give: some.to_vec(),
        };
        to.handle_request(Tier::Lan, &from.peer(), &ask.encode(), now);
    }
}

fn pair() -> Pair {
    let realm = Realm::new(DOMAIN);
    let nodes = [realm.server(0, "a", "r1"), realm.server(1, "a", "r2")];
    let (mut here, mut there) = (nodes[0].start(), nodes[1].start());
    here.handle_introduction(nodes[1].record(at(1, 0)).bytes(), &nodes[1].leaf, NOW);
    there.handle_introduction(nodes[0].record(at(1, 0)).bytes(), &nodes[0].leaf, NOW);
    Pair {
        realm,
        here,
        there,
        nodes,
        now: NOW,
        pings_are_answered: false,
        silent: Vec::new(),
        answers_in_bites: false,
        fellows: Vec::new(),
        heads_asked: 0,
        comparisons: Vec::new(),
        exchanges: Vec::new(),
    }
}

impl Pair {
    /// Members of this datacenter as they are known at both ends: which incarnation here, and there.
    fn members(&mut self, seeds: std::ops::Range<u32>, here: Option<u64>, there: Option<u64>) {
        let nodes: Vec<_> = seeds.map(|n| self.realm.server(n, "a", "r3")).collect();
        self.known(&nodes, here, there);
    }

    fn known(&mut self, nodes: &[Arc<Node>], here: Option<u64>, there: Option<u64>) {
        let about = nodes[0].certified.datacenter.clone();
        for (to, from, boot) in [
            (&mut self.here, &self.nodes[1], here),
            (&mut self.there, &self.nodes[0], there),
        ] {
            let Some(boot) = boot else { continue };
            let records = nodes.iter().map(|n| bundle(n, &n.record(at(boot, 0))));
            tell(to, from, &about, &records.collect::<Vec<_>>(), self.now);
        }
    }

    /// The other one's set hash arrives, differs, and stands for a second and a half.
    fn reconcile(&mut self) {
        let digest = u64::from_str_radix(&self.digests()[1], 16).unwrap();
        let ping = Frame::Ping {
            number: 1,
            watch: false,
            digest,
            news: vec![],
        };
        let from = self.nodes[1].id();
        self.here
            .handle_datagram(Tier::Lan, from, &ping.encode(), self.now);
        self.goes_on(15);
    }

    /// Tenths of a second.
    fn goes_on(&mut self, tenths: u32) {
        for _ in 0..tenths {
            self.now = self.now + ms(100);
            self.here.handle_timeout(self.now);
            self.there.handle_timeout(self.now);
            self.answer();
        }
    }

    /// The other one answers questions; pings are answered by everybody who is not silent, if by anybody.
    fn answer(&mut self) {
        while let Some(sent) = self.here.poll_transmit() {
            if self.pings_are_answered
                && !self.silent.contains(&sent.to)
                && let Ok(Frame::Ping { number, digest, .. }) = Frame::decode(&sent.payload)
            {
                let ack = Frame::Ack {
                    number,
                    spacing: None,
                    digest,
                    news: vec![],
                };
                self.here
                    .handle_datagram(Tier::Lan, sent.to, &ack.encode(), self.now);
            }
        }
        while let Some(request) = self.here.poll_request() {
            let ask = Ask::decode(&request.body).unwrap();
            let known = matches!(ask, Ask::Compare { .. } | Ask::Exchange { .. } | Ask::Heads);
            let heads = matches!(ask, Ask::Heads);
            self.heads_asked += usize::from(heads);
            let other = &self.nodes[1];
            let mut fellows = self.fellows.iter().filter(|_| heads);
            let asked = fellows
                .find(|node| request.to == Some(node.id()))
                .unwrap_or(other)
                .peer();
            if request.to != Some(asked.certified.id) || !known {
                let nobody = Err(RequestError::NoAnswer(String::new()));
                self.here.handle_response(request.id, nobody, self.now);
                continue;
            }
            match ask {
                Ask::Compare { datacenter, .. } => self.comparisons.push(datacenter),
                Ask::Exchange { want, give, .. } => self.exchanges.push((want.len(), give.len())),
                _ => {}
            }
            assert!(request.body.len() <= MAX_MESSAGE);
            let asker = self.nodes[0].peer();
            let mut reply = self
                .there
                .handle_request(Tier::Lan, &asker, &request.body, self.now);
            if self.answers_in_bites
                && let Ok(Reply::Given { mut bundles }) = Reply::decode(&reply)
            {
                bundles.truncate(1);
                self.now = self.now + ms(300);
                reply = Reply::Given { bundles }.encode();
            }
            let result = Ok((asked, reply));
            self.here.handle_response(request.id, result, self.now);
        }
    }

    fn digests(&mut self) -> [String; 2] {
        self.digests_of("dc1")
    }

    fn digests_of(&mut self, datacenter: &str) -> [String; 2] {
        let now = self.now;
        [&mut self.here, &mut self.there]
            .map(|f| f.view(now).datacenters[datacenter].digest.clone())
    }
}

#[test]
fn one_comparison_is_enough_however_much_differs() {
    let mut pair = pair();
    pair.members(100..700, Some(1), Some(2));
    pair.reconcile();
    let [here, there] = pair.digests();
    assert_eq!(here, there);
    assert_eq!(pair.comparisons, [label("dc1")]);
    // Beside the members each learns what the other says of itself.
    assert_eq!(pair.exchanges, [(256, 1), (256, 0), (88 + 1, 0)]);
}

#[test]
fn nobody_is_told_what_it_knows_better() {
    let mut pair = pair();
    pair.members(100..150, Some(1), Some(2));
    pair.members(200..230, Some(2), Some(1));
    pair.members(300..310, Some(1), None);
    pair.members(400..420, None, Some(1));
    pair.reconcile();
    let [here, there] = pair.digests();
    assert_eq!(here, there);
    // What they lack goes along at once, what they know less of once their answer taught us nothing about it.
    assert_eq!(pair.exchanges, [(100 + 1, 10 + 1), (0, 30)]);
}

/// Whoever was removed adds the same to both set hashes whether its record is here or not; what it said of others does not.
#[test]
fn whose_accusations_cannot_be_verified_is_asked_for_even_if_it_was_removed() {
    let mut pair = pair();
    pair.pings_are_answered = true;
    // What it answers would say that it holds what we do.
    pair.silent = vec![pair.nodes[1].id()];
    let lost = pair.realm.server(100, "a", "r3");
    let accusers = [(101, "r1"), (102, "r2"), (103, "r3")];
    let accusers = accusers.map(|(n, rack)| pair.realm.server(n, "a", rack));
    let both = [&accusers[..2], &[Arc::clone(&lost)]].concat();
    pair.known(&both, Some(1), Some(1));
    pair.members(200..230, Some(1), Some(1)); // So many that a verdict takes all three.
    pair.known(&accusers[2..], None, Some(1));
    let mut held = bundle(&lost, &lost.record(at(1, 0)));
    let charges = accusers
        .iter()
        .map(|node| node.accuse(lost.id(), at(1, 0), ms(5000)));
    held.claims.extend(charges.map(|c| Arc::clone(c.bytes())));
    let dc1 = label("dc1");
    tell(&mut pair.there, &pair.nodes[0], &dc1, &[held], NOW);
    let removal = pair.realm.operator(50).remove(accusers[2].id(), NOT_AFTER);
    let removed = Bundle {
        removal: Some(Item::with_leaf(&removal)),
        ..Bundle::default()
    };
    for (to, from) in [
        (&mut pair.here, &pair.nodes[1]),
        (&mut pair.there, &pair.nodes[0]),
    ] {
        tell(to, from, &dc1, std::slice::from_ref(&removed), NOW);
    }
    pair.reconcile();
    let wanted: Vec<_> = pair.exchanges.iter().map(|(want, _)| *want).collect();
    let signer = 1;
    assert_eq!(wanted[..2], [2, signer + 2], "and all once more with it");
    let ask = Ask::Exchange {
        datacenter: dc1,
        want: vec![lost.id()],
        give: vec![],
    };
    let from = pair.nodes[1].peer();
    let reply = pair
        .here
        .handle_request(Tier::Lan, &from, &ask.encode(), pair.now);
    let Ok(Reply::Given { bundles }) = Reply::decode(&reply) else {
        panic!("no answer");
    };
    assert_eq!(bundles[0].claims.len(), 1 + 3, "its record, and all three");
}

#[test]
fn who_answers_in_small_bites_does_not_keep_us_at_it_for_ever() {
    let mut pair = pair();
    pair.members(100..200, Some(1), Some(2));
    pair.answers_in_bites = true;
    pair.reconcile();
    let rounds = pair.exchanges.len();
    assert!((2..=15).contains(&rounds), "{rounds} rounds");
    pair.answers_in_bites = false;
    pair.reconcile();
    let shown = pair.here.view(pair.now);
    let mut members = shown.datacenters["dc1"].members.iter();
    assert!(
        members.all(|m| m.rack != label("r3") || m.incarnation == at(2, 0)),
        "what was left comes with the next comparison"
    );
}

#[test]
fn who_is_behind_the_heads_it_passes_on_is_asked_when_it_no_longer_is() {
    let mut pair = pair();
    pair.pings_are_answered = true;
    // Three seats are taken, one by the other one, so that there is none for us.
    let seats = [2, 3].map(|n| pair.realm.server(n, "a", "r3"));
    for node in seats.iter().chain([&pair.nodes[1]]) {
        let record = node.record_with(at(9, 0), |r| r.seat = true);
        pair.here
            .handle_introduction(record.bytes(), &node.leaf, NOW);
    }
    pair.fellows = seats.to_vec();
    let abroad = [100, 101, 102].map(|n| {
        pair.realm.issue(&Claimant {
            datacenter: label("dc2"),
            ..claimant(n)
        })
    });
    pair.known(&abroad, Some(1), Some(1));
    let head = HeadItem {
        item: Item {
            claim: Arc::clone(abroad[0].head(at(1, 1), 999).bytes()),
            leaf: None,
        },
        age: ms(0),
        direct: true,
    };
    let heads = Frame::Heads { heads: vec![head] }.encode();
    pair.there
        .handle_datagram(Tier::Wan, abroad[0].id(), &heads, NOW);
    pair.goes_on(100);
    let shown = pair.here.view(pair.now);
    assert!(
        shown.datacenters["dc2"].age_ms.is_some(),
        "it passed its head on"
    );
    assert_eq!(pair.comparisons, []);
    // Once a second, and sooner while heads are ahead of what is held.
    let asked = pair.heads_asked;
    assert!((10..=12).contains(&asked), "{asked} times");
    pair.known(&abroad, None, Some(2));
    pair.goes_on(50);
    let [here, there] = pair.digests_of("dc2");
    assert_eq!(here, there);
    assert_eq!(pair.comparisons, [label("dc2")]);
}
