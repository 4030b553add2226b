//! Members with genuine certificates that mean harm. Each runs the protocol like everybody, so that it is known, probed and
//! trusted as far as anybody is, and does more than that beside.

use super::{
    impostor,
    schedule::{Liar, Trick},
};
use crate::{
    slot::Endpoint,
    tap::{Sent, Tap},
    trust::LIST_NUMBER,
    world::World,
};
use pelago_proto::{
    claim::{Accusation, Alive, Basis, Body, Claim, Head, Leave, Record, Versions},
    federation::{Path, Tier, Transmit},
    identity::{Incarnation, Location, NodeId, Role},
    time::Time,
    trust::Trust,
    wire::{Frame, HeadItem, Item, MAX_DATAGRAM, VERSION},
};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng, seq::IndexedRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often liars act.
const TURN: Duration = Duration::from_millis(100);
/// Datagrams that each remembers for sending again.
const REMEMBERED: usize = 300;
/// Where in a claim its signer's id stands.
const SIGNER: std::ops::Range<usize> = 7..23;

/// All liars of a world.
pub(crate) struct Liars {
    liars: BTreeMap<usize, Vec<Trick>>,
    overheard: BTreeMap<usize, Vec<Arc<[u8]>>>,
    next: Time,
    dice: ChaCha8Rng,
}

impl Liars {
    pub(crate) fn new(world: &mut World, liars: &[Liar], seed: u64) -> Self {
        let liars: BTreeMap<usize, Vec<Trick>> = liars
            .iter()
            .filter_map(|liar| Some((*world.names.get(&liar.node)?, liar.tricks.clone())))
            .collect();
        for (host, tricks) in &liars {
            world.slots[*host].withholds = tricks.contains(&Trick::Withhold);
        }
        let next = if liars.is_empty() {
            Time::NEVER
        } else {
            world.now + TURN
        };
        Self {
            liars,
            overheard: BTreeMap::new(),
            next,
            dice: ChaCha8Rng::seed_from_u64(!seed),
        }
    }

    pub(crate) fn hosts(&self) -> BTreeSet<usize> {
        self.liars.keys().copied().collect()
    }

    /// When they act next.
    pub(crate) const fn next(&self) -> Time {
        self.next
    }

    /// They are found out and stopped.
    pub(crate) fn stop(&mut self, world: &mut World) {
        self.next = Time::NEVER;
        for host in self.liars.keys() {
            world.slots[*host].withholds = false;
            world.slots[*host].stop();
        }
    }

    /// They keep some of what is sent to them.
    pub(crate) fn overhear(&mut self, world: &World, tap: &Tap) {
        if self.liars.is_empty() {
            return;
        }
        for (_, sent) in &tap.sent {
            let Sent::Datagram(transmit) = sent else {
                continue;
            };
            let Some(to) = world.ids.get(&transmit.to) else {
                continue;
            };
            let replays = |tricks: &Vec<Trick>| tricks.contains(&Trick::Replay);
            if transmit.tier == Tier::Lan && self.liars.get(to).is_some_and(replays) {
                let heard = self.overheard.entry(*to).or_default();
                if heard.len() < REMEMBERED {
                    heard.push(transmit.payload.clone());
                } else {
                    let place = self.dice.random_range(0..REMEMBERED);
                    heard[place].clone_from(&transmit.payload);
                }
            }
        }
    }

    /// Everybody's turn.
    pub(crate) fn act(&mut self, world: &mut World) {
        self.next = world.now + TURN;
        for (host, tricks) in self.liars.clone() {
            for trick in tricks {
                if world.slots[host].awake().is_some() {
                    self.play(world, host, trick);
                }
            }
        }
    }

    fn play(&mut self, world: &mut World, host: usize, trick: Trick) {
        match trick {
            Trick::Forge => self.forge(world, host),
            Trick::Equivocate => self.equivocate(world, host),
            Trick::Accuse => self.accuse(world, host),
            Trick::Replay => self.replay(world, host),
            Trick::Flood => self.flood(world, host),
            Trick::Mislead => self.mislead(world, host),
            Trick::Impersonate => self.impersonate(world, host),
            Trick::Withhold => {}
        }
    }

    /// What others never said: that they are at a later incarnation, that they leave, that they accuse.
    fn forge(&mut self, world: &mut World, host: usize) {
        let Some(victim) = self.fellow(world, host) else {
            return;
        };
        let Some(third) = self.fellow(world, host) else {
            return;
        };
        let now = incarnation(world, victim);
        let later = Incarnation {
            seq: now.seq + 1,
            ..now
        };
        let bodies = [
            Body::Alive(Alive {
                incarnation: later,
                record: [0; 8],
            }),
            Body::Leave(Leave { incarnation: later }),
            accusation(world, third, 0),
        ];
        let mut news = Vec::new();
        for body in bodies {
            let Some(item) = signed(world, host, body) else {
                return;
            };
            let mut bytes = item.claim.to_vec();
            bytes[SIGNER].copy_from_slice(&world.slots[victim].id.0);
            news.push(Item {
                claim: bytes.into(),
                leaf: None,
            });
        }
        self.tell(world, host, &news);
        self.forge_lists(world, host);
    }

    /// A revocation list that no authority signed, and word of one that nobody has.
    fn forge_lists(&mut self, world: &mut World, host: usize) {
        let process = world.slots[host].process.as_ref();
        let lists = process.map(|process| process.trust.lists());
        let (Some(to), Some(list)) = (self.fellow(world, host), lists.and_then(|mut l| l.pop()))
        else {
            return;
        };
        let number = list.number + 1;
        let mut crl = list.crl.to_vec();
        crl[LIST_NUMBER].copy_from_slice(&number.to_be_bytes());
        let forged = Frame::List { crl: crl.into() };
        let promised = Frame::Lists {
            digest: 0,
            known: vec![(list.issuer, number)],
        };
        for frame in [forged, promised] {
            send(world, host, to, Tier::Lan, frame.encode());
        }
    }

    /// One thing to some and another to others, at one incarnation that is now and then far ahead.
    fn equivocate(&mut self, world: &mut World, host: usize) {
        if self.dice.random_bool(0.8) {
            return;
        }
        let mut at = incarnation(world, host);
        at.seq += 1;
        if self.dice.random_bool(0.05) {
            at.boot += self.dice.random_range(1..1_000);
        }
        for face in ["left", "right"] {
            let mut record = record(world, host, at);
            record.tags.insert("face".to_owned(), face.to_owned());
            self.introduce(world, host, record);
        }
    }

    /// Everybody is dead, says it.
    fn accuse(&mut self, world: &mut World, host: usize) {
        for _ in 0..3 {
            let Some(victim) = self.fellow(world, host) else {
                return;
            };
            let ahead = if self.dice.random_bool(0.3) { 1 } else { 0 };
            let body = accusation(world, victim, ahead);
            if let Some(item) = signed(world, host, body) {
                self.tell(world, host, &[item]);
            }
        }
    }

    fn replay(&mut self, world: &mut World, host: usize) {
        for _ in 0..3 {
            let heard = self.overheard.get(&host);
            let payload = heard
                .and_then(|heard| heard.choose(&mut self.dice))
                .cloned();
            if let (Some(payload), Some(to)) = (payload, self.fellow(world, host)) {
                send(world, host, to, Tier::Lan, payload);
            }
        }
    }

    fn flood(&mut self, world: &mut World, host: usize) {
        for _ in 0..15 {
            let (Some(to), Some(other)) = (self.fellow(world, host), self.fellow(world, host))
            else {
                return;
            };
            let number = self.dice.next_u64();
            let payload = match self.dice.random_range(0..4) {
                0 => {
                    let mut garbage = vec![0; self.dice.random_range(0..MAX_DATAGRAM)];
                    self.dice.fill_bytes(&mut garbage);
                    garbage
                }
                1 => Frame::Ping {
                    number,
                    watch: true,
                    digest: number,
                    news: Vec::new(),
                }
                .encode(),
                2 => Frame::PingReq {
                    number,
                    target: world.slots[other].id,
                    within: Duration::from_millis(200),
                }
                .encode(),
                _ => Frame::Ack {
                    number: number % 10_000,
                    spacing: Some((u32::MAX, 0)),
                    digest: number,
                    news: Vec::new(),
                }
                .encode(),
            };
            send(world, host, to, Tier::Lan, payload);
        }
    }

    /// Its address is another's; its datacenter looks different.
    fn mislead(&mut self, world: &mut World, host: usize) {
        if self.dice.random_bool(0.9) {
            return;
        }
        let Some(victim) = self.fellow(world, host) else {
            return;
        };
        let mut at = incarnation(world, host);
        at.seq += 1;
        let mut record = record(world, host, at);
        record.lan = world.slots[victim].settings.lan;
        record.seat = record.role == Role::Server;
        self.introduce(world, host, record);
        if world.slots[host].who.role != Role::Server {
            return;
        }
        let body = Body::Head(Head {
            incarnation: Incarnation {
                boot: at.boot,
                seq: self.dice.random_range(0..1_000_000),
            },
            digest: self.dice.next_u64(),
            members: 1,
            alive: 1,
            seats: Vec::new(),
        });
        let Some(item) = signed(world, host, body) else {
            return;
        };
        let heads = vec![HeadItem {
            item,
            age: Duration::ZERO,
            direct: true,
        }];
        let payload = Frame::Heads { heads }.encode();
        for to in 0..world.slots.len() {
            let slot = &world.slots[to];
            let abroad = slot.who.datacenter != world.slots[host].who.datacenter;
            if abroad && slot.who.role == Role::Server && slot.process.is_some() {
                send(world, host, to, Tier::Wan, payload.clone());
            }
        }
    }

    /// What it has no right to say, signed with its own key.
    fn impersonate(&mut self, world: &mut World, host: usize) {
        let Some(victim) = self.fellow(world, host) else {
            return;
        };
        let Some(third) = self.fellow(world, host) else {
            return;
        };
        let items = impostor::claims(world, host, victim, third, &mut self.dice);
        for item in items {
            self.tell(world, host, &[item]);
        }
        if let Some(frame) = impostor::heads(world, host) {
            send(world, host, victim, Tier::Lan, frame.encode());
        }
    }

    /// Some fellow member that runs.
    fn fellow(&mut self, world: &World, host: usize) -> Option<usize> {
        let own = &world.slots[host].who.datacenter;
        let fellows: Vec<usize> = (0..world.slots.len())
            .filter(|other| {
                let slot = &world.slots[*other];
                *other != host && slot.process.is_some() && slot.who.datacenter == *own
            })
            .collect();
        fellows.choose(&mut self.dice).copied()
    }

    fn introduce(&mut self, world: &mut World, host: usize, record: Record) {
        let leaf = Arc::clone(&world.slots[host].identity.leaf);
        if let Some(mut item) = signed(world, host, Body::Record(Arc::new(record))) {
            item.leaf = Some(leaf);
            self.tell(world, host, &[item]);
        }
    }

    /// News to a few fellows.
    fn tell(&mut self, world: &mut World, host: usize, news: &[Item]) {
        let payload = Frame::News {
            news: news.to_vec(),
        }
        .encode();
        for _ in 0..3 {
            if let Some(to) = self.fellow(world, host) {
                send(world, host, to, Tier::Lan, payload.clone());
            }
        }
    }
}

/// What a process that withholds sends instead: the same without news. `None`: nothing at all.
pub(crate) fn withheld(mut transmit: Transmit) -> Option<Transmit> {
    transmit.payload = match Frame::decode(&transmit.payload).ok()? {
        Frame::Ping {
            number,
            watch,
            digest,
            ..
        } => Frame::Ping {
            number,
            watch,
            digest,
            news: Vec::new(),
        },
        Frame::Ack {
            number,
            spacing,
            digest,
            ..
        } => Frame::Ack {
            number,
            spacing,
            digest,
            news: Vec::new(),
        },
        Frame::News { .. }
        | Frame::Heads { .. }
        | Frame::Relayed { .. }
        | Frame::Lists { .. }
        | Frame::List { .. } => return None,
        other @ Frame::PingReq { .. } => other,
    }
    .encode()
    .into();
    Some(transmit)
}

pub(super) fn incarnation(world: &World, host: usize) -> Incarnation {
    let process = world.slots[host].process.as_ref();
    process
        .map(|process| process.federation.incarnation())
        .unwrap_or_default()
}

/// As damning as an accusation can be, of this incarnation or one that is still to come.
pub(super) fn accusation(world: &World, accused: usize, ahead: u64) -> Body {
    let now = incarnation(world, accused);
    let id: NodeId = world.slots[accused].id;
    Body::Accusation(Accusation {
        accused: id,
        incarnation: Incarnation {
            seq: now.seq + ahead,
            ..now
        },
        silent: Duration::from_secs(60),
        basis: Basis::PortClosed,
        quorate: true,
    })
}

fn signed(world: &World, host: usize, body: Body) -> Option<Item> {
    let process = world.slots[host].process.as_ref()?;
    let claim = Claim::sign(&*process.trust, body);
    Some(Item {
        claim: Arc::clone(claim.bytes()),
        leaf: None,
    })
}

/// Its own record, as good as any other.
pub(super) fn record(world: &World, host: usize, incarnation: Incarnation) -> Record {
    let slot = &world.slots[host];
    let own = slot.process.as_ref().map(|process| process.trust.own());
    Record {
        incarnation,
        name: slot.who.name.clone(),
        location: Location {
            region: slot.settings.region.clone(),
            datacenter: slot.who.datacenter.clone(),
            zone: slot.who.zone.clone(),
            rack: slot.who.rack.clone(),
        },
        role: slot.who.role,
        cert_hash: own.map_or([0; 16], |own| own.cert_hash),
        lan: slot.settings.lan,
        stream_port: slot.settings.stream.port(),
        wan: slot.settings.wan,
        lan_key: slot
            .process
            .as_ref()
            .map_or([0; 32], |process| process.lan_key),
        pause_tolerance: slot.settings.pause_tolerance,
        health: 0,
        seat: false,
        seats: slot.settings.seats,
        versions: Versions {
            min: VERSION,
            max: VERSION,
        },
        software: slot.settings.version.clone(),
        tags: slot.settings.tags.clone(),
    }
}

pub(crate) fn send(
    world: &mut World,
    host: usize,
    to: usize,
    tier: Tier,
    payload: impl Into<Arc<[u8]>>,
) {
    let target = &world.slots[to];
    let Some(process) = &target.process else {
        return;
    };
    let (endpoint, key) = match tier {
        Tier::Lan => (Endpoint::Lan(to), process.lan_key),
        Tier::Wan => (Endpoint::Wan(to), [0; 32]),
    };
    let transmit = Transmit {
        tier,
        to: target.id,
        address: endpoint.address(),
        key,
        introduction: None,
        path: Path::Main,
        payload: payload.into(),
    };
    world.send_as_is(host, transmit);
}
