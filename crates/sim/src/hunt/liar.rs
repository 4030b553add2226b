//! Members with genuine certificates that mean harm. Each runs the protocol like everybody, so that it is known, probed and
//! trusted as far as anybody is, and does more than that beside.

use super::schedule::{Liar, Trick};
use crate::{
    lies::{self, Speaker, Victim},
    slot::Endpoint,
    tap::{Sent, Tap},
    trust::LIST_NUMBER,
    world::World,
};
use pelago_proto::{
    federation::{Path, Tier, Transmit},
    identity::{Incarnation, Role},
    time::Time,
    trust::Trust,
    wire::{Frame, Item},
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

    /// What others never said, signed by itself.
    fn forge(&mut self, world: &mut World, host: usize) {
        let Some((_, victim, third)) = self.two(world, host) else {
            return;
        };
        let news = speaker(world, host).map(|liar| liar.forged(&victim, &third));
        self.tell(world, host, &news.unwrap_or_default());
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
        let ahead = if self.dice.random_bool(0.05) {
            self.dice.random_range(1..1_000)
        } else {
            0
        };
        let faces = speaker(world, host).map(|liar| liar.two_faces(ahead));
        for face in faces.into_iter().flatten() {
            self.tell(world, host, &[face]);
        }
    }

    /// Everybody is dead, says it.
    fn accuse(&mut self, world: &mut World, host: usize) {
        for _ in 0..3 {
            let Some(victim) = self.fellow(world, host) else {
                return;
            };
            let ahead = if self.dice.random_bool(0.3) { 1 } else { 0 };
            let item = speaker(world, host)
                .zip(about(world, victim))
                .map(|(liar, victim)| liar.say(lies::accusation(&victim, ahead)));
            self.tell(world, host, item.as_slice());
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
            let payload = lies::noise(world.slots[other].id, &mut self.dice);
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
        let item = speaker(world, host)
            .zip(about(world, victim))
            .map(|(liar, victim)| liar.elsewhere(&victim));
        self.tell(world, host, item.as_slice());
        if world.slots[host].who.role != Role::Server {
            return;
        }
        let (seq, digest) = (self.dice.random_range(0..1_000_000), self.dice.next_u64());
        let Some(payload) = speaker(world, host).map(|liar| liar.head(seq, digest).encode()) else {
            return;
        };
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
        let Some((to, victim, third)) = self.two(world, host) else {
            return;
        };
        let own = &world.slots[host].who.datacenter;
        let mut others = world.slots.iter().map(|slot| &slot.who.datacenter);
        let abroad = others.find(|datacenter| *datacenter != own);
        let Some(liar) = speaker(world, host) else {
            return;
        };
        let items = liar.impersonating(&victim, &third, abroad, &mut self.dice);
        let head = liar.clients_head();
        for item in items {
            self.tell(world, host, &[item]);
        }
        if let Some(frame) = head {
            send(world, host, to, Tier::Lan, frame.encode());
        }
    }

    /// Two fellow members to lie about, and where the first is.
    fn two(&mut self, world: &World, host: usize) -> Option<(usize, Victim, Victim)> {
        let (first, second) = (self.fellow(world, host)?, self.fellow(world, host)?);
        Some((first, about(world, first)?, about(world, second)?))
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

    /// News to a few fellows.
    fn tell(&mut self, world: &mut World, host: usize, news: &[Item]) {
        if news.is_empty() {
            return;
        }
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

/// The liar as it runs now.
fn speaker(world: &World, host: usize) -> Option<Speaker<'_>> {
    let process = world.slots[host].process.as_ref()?;
    Speaker::of(&*process.trust, &process.federation)
}

/// Whom it lies about, as it is now.
fn about(world: &World, host: usize) -> Option<Victim> {
    let slot = &world.slots[host];
    let process = slot.process.as_ref();
    Some(Victim {
        certified: world.certified(host)?,
        incarnation: process.map_or_else(Incarnation::default, |p| p.federation.incarnation()),
        lan: slot.settings.lan,
    })
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
