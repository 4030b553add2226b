//! A running member with a valid certificate that says what it should not, as fast as it can.

use crate::{
    common::{DEADLINE, World, eventually},
    kit::{Watch, duration, risen},
};
use pelago_node::{Node, api::Sample, hostile::Strings};
use pelago_proto::{
    federation::{MAX_MESSAGE, Tier},
    identity::NodeId,
    trust::{Certified, Trust},
    view::{Member, Status},
    wire::{Ask, Bundle, Frame, Item, MAX_DATAGRAM},
};
use pelago_sim::lies::{Speaker, Victim, accusation, noise};
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Instant,
};

/// Lies told before the protocol of whoever tells them gets its turn.
const BATCH: u64 = 32;
/// Lies told at least.
const LEAST: u64 = 4_000;

/// One lie: the bytes of a datagram.
pub(crate) type Lie = fn(&Told<'_>, &mut SmallRng) -> Vec<Vec<u8>>;

/// Who lies, and about whom.
pub(crate) struct Told<'a> {
    pub(crate) liar: Speaker<'a>,
    pub(crate) victim: &'a Victim,
    pub(crate) third: &'a Victim,
    /// How many lies it told before this one.
    pub(crate) number: u64,
}

/// Certificates of everybody, as whoever was told them has them, and what they say.
pub(crate) struct Certificates {
    leaves: Vec<Vec<u8>>,
    read: OnceLock<BTreeMap<NodeId, Arc<Certified>>>,
}

impl Certificates {
    /// Of all nodes that this world gave one.
    pub(crate) fn of(world: &World, nodes: &[Node]) -> Self {
        let read = |node: &Node| {
            let (datacenter, name) = (&node.me().datacenter, &node.me().name);
            let own = world
                .dir
                .path()
                .join(datacenter.as_str())
                .join(name.as_str());
            let leaf = CertificateDer::from_pem_file(own.join(format!("{name}.pem")));
            leaf.expect("a certificate").to_vec()
        };
        Self {
            leaves: nodes.iter().map(read).collect(),
            read: OnceLock::new(),
        }
    }

    fn read(&self, trust: &dyn Trust) -> &BTreeMap<NodeId, Arc<Certified>> {
        self.read.get_or_init(|| {
            let certified = self.leaves.iter().map(|leaf| trust.certify(leaf));
            certified
                .map(|c| c.expect("certified"))
                .map(|c| (c.id, c))
                .collect()
        })
    }
}

/// Members of the liar's own datacenter, or servers of others, that it can lie to and about.
fn cast(
    strings: &mut Strings<'_>,
    tier: Tier,
    certificates: &Certificates,
) -> Vec<(Member, Victim)> {
    let known = certificates.read(strings.trust());
    let view = strings.view();
    let members = view.datacenters.values().flat_map(|d| d.members.iter());
    members
        .filter(|m| m.id != view.viewer && m.status != Status::Left)
        .filter(|m| match tier {
            Tier::Lan => m.datacenter == view.datacenter,
            Tier::Wan => m.datacenter != view.datacenter && m.wan_address.is_some(),
        })
        .filter_map(|m| {
            let victim = Victim {
                certified: Arc::clone(known.get(&m.id)?),
                incarnation: m.incarnation,
                lan: m.address,
            };
            Some((m.clone(), victim))
        })
        .collect()
}

/// Tells lies of one kind for as long as a flood lasts; returns how many datagrams that were.
pub(crate) async fn tell(
    liars: &[Node],
    certificates: &Arc<Certificates>,
    tier: Tier,
    lie: Lie,
    watch: &mut Watch,
) -> u64 {
    let start = Instant::now();
    let (mut round, mut sent) = (0, 0);
    // So many at least that each who hears them has to turn some away.
    while start.elapsed() < duration() || sent < LEAST {
        assert!(start.elapsed() < duration() + DEADLINE, "{sent} lies only");
        for liar in liars {
            let certificates = Arc::clone(certificates);
            let told = liar.act(move |strings| batch(strings, &certificates, tier, lie, round));
            sent += told.await.expect("it runs");
        }
        round += 1;
        watch.look();
    }
    sent
}

/// Asks one after another all of this, by turns, for as long as a flood lasts; returns how much was asked, and answered.
pub(crate) async fn ask_on(
    liar: &Node,
    tier: Tier,
    whom: &[&Node],
    questions: &[Vec<u8>],
    watch: &mut Watch,
) -> (u64, u64) {
    let (start, mut asked, mut answered) = (Instant::now(), 0u64, 0u64);
    while start.elapsed() < duration() {
        for question in questions {
            let to = whom[asked as usize % whom.len()].me();
            let address = match tier {
                Tier::Lan => to.lan_stream,
                Tier::Wan => to.wan.expect("a server"),
            };
            let answer = liar.put(tier, to.id, address, question).await;
            answered += u64::from(answer.is_ok());
            asked += 1;
        }
        watch.look();
    }
    (asked, answered)
}

/// Waits until a node has counted a lie, and says under which label and how often.
pub(crate) async fn counted(
    what: &str,
    before: &[Sample],
    node: &Node,
    (series, label): Counted,
) -> (String, u64) {
    eventually(&format!("{what}: counted as {label}"), || async {
        let risen = risen(before, node, series);
        risen.into_iter().find(|(l, _)| l.starts_with(label))
    })
    .await
}

fn batch(
    strings: &mut Strings<'_>,
    certificates: &Certificates,
    tier: Tier,
    lie: Lie,
    round: u64,
) -> u64 {
    let cast = cast(strings, tier, certificates);
    let mut dice = SmallRng::seed_from_u64(round);
    let mut sent = 0;
    for number in 0..BATCH {
        let mut some = || cast.choose(&mut dice).expect("somebody to lie to");
        let ((to, victim), (_, third)) = (some(), some());
        let liar = Speaker::of(strings.trust(), strings.federation()).expect("a record");
        let number = round * BATCH + number;
        let told = Told {
            liar,
            victim,
            third,
            number,
        };
        for payload in lie(&told, &mut dice) {
            sent += u64::from(strings.say(tier, to, payload));
        }
    }
    sent
}

/// A kind of lie, and the series with its label in which whoever hears it must count it: from a member of the own datacenter,
/// and from a server of another.
pub(crate) struct Kind {
    pub(crate) what: &'static str,
    pub(crate) lie: Lie,
    pub(crate) at_home: Counted,
    pub(crate) abroad: Counted,
}

/// A series, and how its last label begins.
pub(crate) type Counted = (&'static str, &'static str);

const fn kind(what: &'static str, lie: Lie, at_home: Counted, abroad: Counted) -> Kind {
    Kind {
        what,
        lie,
        at_home,
        abroad,
    }
}

/// What one member may say that is not so.
pub(crate) const KINDS: [Kind; 9] = {
    let claim = ("dropped", "claim_");
    let signature = ("dropped", "claim_signature");
    let doubted = ("dropped", "accuser_doubted");
    let malformed = ("dropped", "frame_malformed");
    let not_theirs = ("dropped", "own_datacenter_from_wan");
    let (known, clones) = (("claims_known_already", ""), ("clones_seen", ""));
    let heads = ("heads_verified", "");
    let too_much = ("dropped", "signer_budget");
    [
        kind(
            "claims renamed after they were signed",
            renamed,
            signature,
            signature,
        ),
        // One of them bars whoever says it at home: it claims an address that nobody there may have.
        kind(
            "claims in others' names, and false records",
            impersonating,
            ("dropped", ""),
            claim,
        ),
        kind("everybody is dead", dead, doubted, not_theirs),
        kind("everybody will be dead", doomed, known, not_theirs),
        kind("frames nobody asked for", unasked, malformed, malformed),
        kind(
            "arrays in arrays, maps in maps",
            nested,
            malformed,
            malformed,
        ),
        kind("wrong heads", head, claim, heads),
        kind("two records of one incarnation", two_faces, clones, clones),
        kind("a new tag each time", tagged, too_much, too_much),
    ]
};

/// Each as a push of its own.
fn pushes(items: impl IntoIterator<Item = Item>) -> Vec<Vec<u8>> {
    let push = |item| Frame::News { news: vec![item] }.encode();
    items.into_iter().map(push).collect()
}

fn renamed(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    pushes(told.liar.forged(told.victim, told.third))
}

fn impersonating(told: &Told<'_>, dice: &mut SmallRng) -> Vec<Vec<u8>> {
    let abroad = Some(&told.victim.certified.datacenter);
    pushes(
        told.liar
            .impersonating(told.victim, told.third, abroad, dice),
    )
}

pub(crate) fn dead(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    pushes([told.liar.say(accusation(told.third, 0))])
}

pub(crate) fn doomed(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    pushes([told.liar.say(accusation(told.third, 1))])
}

fn unasked(told: &Told<'_>, dice: &mut SmallRng) -> Vec<Vec<u8>> {
    vec![noise(told.third.certified.id, dice)]
}

/// A push whose news is nothing but openings, as deep as a datagram holds.
fn nested(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    let mut frame = Frame::News { news: Vec::new() }.encode();
    let opening = [0x81, 0xa1, 0x9f, 0xbf, 0xc1][told.number as usize % 5];
    frame.resize(MAX_DATAGRAM, opening);
    vec![frame]
}

pub(crate) fn head(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    vec![told.liar.head(told.number, told.number).encode()]
}

fn tagged(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    let (name, value) = (format!("t{}", told.number), "x".repeat(40));
    pushes([told.liar.tagged(told.number, &name, &value)])
}

fn two_faces(told: &Told<'_>, _: &mut SmallRng) -> Vec<Vec<u8>> {
    pushes(told.liar.two_faces(0))
}

/// What may be asked over a stream that is no question, or tells what is not so about the victim.
pub(crate) async fn questions(
    liar: &Node,
    certificates: &Arc<Certificates>,
    tier: Tier,
    victim: NodeId,
) -> Vec<Vec<u8>> {
    let certificates = Arc::clone(certificates);
    let written = liar.act(move |strings| {
        let cast = cast(strings, tier, &certificates);
        let (_, victim) = cast.iter().find(|(m, _)| m.id == victim).expect("known");
        ask(strings, victim)
    });
    written.await.expect("it runs")
}

fn ask(strings: &Strings<'_>, victim: &Victim) -> Vec<Vec<u8>> {
    let own = strings.federation().own_bundle();
    let liar = Speaker::of(strings.trust(), strings.federation()).expect("a record");
    let mut items = liar.forged(victim, victim);
    items.push(liar.say(accusation(victim, 0)));
    let about = Bundle {
        claims: items.iter().map(|item| Arc::clone(&item.claim)).collect(),
        leaf: Arc::clone(&victim.certified.leaf),
        ..Bundle::default()
    };
    let datacenter = victim.certified.datacenter.clone();
    let asks = [
        Ask::Probe { news: items },
        Ask::Introduce {
            me: about.clone(),
            you: Some(own.clone()),
            digest: 7,
        },
        Ask::Introduce {
            me: own.clone(),
            you: Some(about.clone()),
            digest: 7,
        },
        Ask::Compare {
            datacenter: datacenter.clone(),
            bits: 12,
            buckets: vec![7; 4096],
        },
        Ask::Exchange {
            datacenter: datacenter.clone(),
            want: (0..=255).map(|n| NodeId([n; 16])).collect(),
            give: vec![about.clone(); 8],
        },
        Ask::Pull {
            datacenter,
            after: Some(NodeId([0xff; 16])),
        },
        Ask::Seats {
            known: Vec::new(),
            mine: vec![about, own],
        },
        Ask::Heads,
    ];
    let mut questions: Vec<_> = asks.iter().map(Ask::encode).collect();
    let mut deep = Ask::Probe { news: Vec::new() }.encode();
    deep.resize(MAX_MESSAGE, 0x81);
    questions.extend([deep, vec![0xff; MAX_MESSAGE]]);
    questions
}
