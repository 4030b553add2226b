//! One node of SWIM as memberlist runs it, with or without Lifeguard: a sans-IO state machine of its own, because what
//! it does differently (any member may kill, timers that grow with the pool, gossip on ticks) is not a setting of ours.
//!
//! After hashicorp/memberlist's documentation and the Lifeguard paper (arXiv 1707.00788): probes in shuffled order, indirect probes, a
//! stream as the last resort, suspicion with a timeout, gossip on a timer with a retransmission limit, and, for Lifeguard,
//! local health (LHA-Probe), timeouts that confirmations shorten (LHA-Suspicion), and the buddy system.

use pelago_proto::time::Time;
use rand::{RngExt, rngs::ChaCha8Rng, seq::SliceRandom};
use std::{collections::BTreeMap, time::Duration};

/// How a node is configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Time between two probes.
    pub probe_interval: Duration,
    /// Patience before others are asked.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect: usize,
    /// Time between two rounds of gossip.
    pub gossip_interval: Duration,
    /// Peers in each.
    pub gossip_nodes: usize,
    /// Each update is sent so many times ⌈log10(n + 1)⌉.
    pub retransmit: u32,
    /// Shortest suspicion: so many times log10(n) probe intervals (α).
    pub alpha: f64,
    /// Longest, as a multiple of the shortest (β).
    pub beta: f64,
    /// Confirmations after which a suspicion is as short as it gets (K).
    pub confirmations: u32,
    /// Local health scales interval and timeout (LHA-Probe).
    pub local_health: bool,
    /// Suspicions begin long (LHA-Suspicion).
    pub long_suspicion: bool,
    /// Suspects are told first (buddy system).
    pub buddies: bool,
}

impl Config {
    /// SWIM in the words of the Lifeguard paper: memberlist's defaults, α = 5, β = 1.
    pub const fn swim() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            retransmit: 4,
            alpha: 5.0,
            beta: 6.0,
            confirmations: 3,
            local_health: false,
            long_suspicion: false,
            buddies: false,
        }
    }

    /// The same with Lifeguard, α = 5, β = 6.
    pub const fn lifeguard() -> Self {
        Self {
            local_health: true,
            long_suspicion: true,
            buddies: true,
            ..Self::swim()
        }
    }
}

/// What is said about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It lives.
    Alive,
    /// It did not answer; who says so.
    Suspect(usize),
    /// It is dead.
    Dead,
}

/// One piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// About whom.
    pub about: usize,
    /// At which incarnation.
    pub incarnation: u64,
    /// What.
    pub claim: Claim,
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// "Are you there?"
    Ping {
        /// Echoed.
        number: u64,
    },
    /// "Ask it for me."
    PingReq {
        /// Echoed.
        number: u64,
        /// Whom.
        target: usize,
    },
    /// "I am", or it is.
    Ack {
        /// The ping's.
        number: u64,
    },
    /// "It has not answered me either, but I am well."
    Nack {
        /// The request's.
        number: u64,
    },
    /// Gossip only.
    Gossip,
    /// A probe over a stream: lost packets do not lose it.
    StreamPing {
        /// Echoed.
        number: u64,
    },
}

/// A message with the news that rides on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What.
    pub message: Message,
    /// News.
    pub news: Vec<Update>,
}

/// Updates that fit a packet of 1,400 bytes, at what memberlist's weigh.
const FIT: usize = 20;
/// The highest local health score (S).
const MOST: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Member {
    incarnation: u64,
    dead: bool,
    suspicion: Option<Suspicion>,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    since: Time,
    /// Who suspects, a bit each by index modulo 128: enough to tell a few confirmations apart.
    by: u128,
    confirmed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    target: usize,
    ask_others: Time,
    ends: Time,
    asked: u32,
    nacks: u32,
}

#[derive(Clone, Copy, Debug)]
struct Relay {
    asker: usize,
    number: u64,
    nack: Time,
    nacked: bool,
}

/// One node.
#[derive(Debug)]
pub struct Swim {
    me: usize,
    config: Config,
    incarnation: u64,
    members: Vec<Member>,
    living: usize,
    order: Vec<usize>,
    probe: Option<Probe>,
    next_probe: Time,
    next_gossip: Time,
    number: u64,
    health: u32,
    queue: BTreeMap<usize, (u32, Update)>,
    relays: BTreeMap<u64, Relay>,
    suspects: BTreeMap<usize, Time>,
    dice: ChaCha8Rng,
    blocked: bool,
    /// What to send.
    pub out: Vec<(usize, Packet)>,
    /// Whom it declared or learnt to be dead since that was last taken.
    pub deaths: Vec<usize>,
    /// Whom it came to suspect by itself.
    pub suspicions: u64,
}

impl Swim {
    /// Number `me` of `count` nodes that know each other.
    pub fn new(me: usize, count: usize, config: Config, mut dice: ChaCha8Rng, now: Time) -> Self {
        let phase = |interval: Duration, dice: &mut ChaCha8Rng| {
            now + interval.mul_f64(dice.random_range(0.0..1.0))
        };
        let member = Member {
            incarnation: 0,
            dead: false,
            suspicion: None,
        };
        Self {
            me,
            config,
            incarnation: 0,
            members: vec![member; count],
            living: count,
            order: Vec::new(),
            probe: None,
            next_probe: phase(config.probe_interval, &mut dice),
            next_gossip: phase(config.gossip_interval, &mut dice),
            number: (me as u64) << 32,
            health: 0,
            queue: BTreeMap::new(),
            relays: BTreeMap::new(),
            suspects: BTreeMap::new(),
            dice,
            blocked: false,
            out: Vec::new(),
            deaths: Vec::new(),
            suspicions: 0,
        }
    }

    /// Whether it sees a member alive, suspected or not.
    pub fn sees_alive(&self, member: usize) -> bool {
        !self.members[member].dead
    }

    /// Whether it sees a member alive and unsuspected.
    pub fn sees_healthy(&self, member: usize) -> bool {
        let known = &self.members[member];
        !known.dead && known.suspicion.is_none()
    }

    /// When it wants to be called next.
    pub fn due(&self) -> Time {
        let suspicion = self.suspects.values().min().copied();
        let suspicion = suspicion.unwrap_or(Time::NEVER);
        if self.blocked {
            let begins = self.probe.map_or(self.next_probe, |_| Time::NEVER);
            return suspicion.min(begins);
        }
        let probe = self.probe.map_or(self.next_probe, |probe| {
            if probe.asked == 0 {
                probe.ask_others.min(probe.ends)
            } else {
                probe.ends
            }
        });
        let relays = self.relays.values().filter(|one| !one.nacked);
        let nack = relays.map(|one| one.nack).min().unwrap_or(Time::NEVER);
        probe.min(self.next_gossip).min(nack).min(suspicion)
    }

    /// From now on each of its loops stands still at the first packet that it sends or receives: one probe at most
    /// begins, nothing is gossiped. Timers of suspicions run.
    pub fn block(&mut self) {
        self.blocked = true;
    }

    /// Goes on. The probe that stood still has had its time: it fails at once.
    pub fn unblock(&mut self, now: Time) {
        self.blocked = false;
        if let Some(probe) = &mut self.probe {
            probe.ask_others = now;
            self.tick_probe(now);
        }
        if let Some(probe) = &mut self.probe {
            probe.ends = now;
            self.tick_probe(now);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time) {
        let over: Vec<usize> = self
            .suspects
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(member, _)| *member)
            .collect();
        for member in over {
            let incarnation = self.members[member].incarnation;
            self.learn(
                Update {
                    about: member,
                    incarnation,
                    claim: Claim::Dead,
                },
                now,
            );
        }
        if self.blocked {
            if self.probe.is_none() && self.next_probe <= now {
                self.begin_probe(now);
            }
            return;
        }
        self.tick_relays(now);
        self.tick_probe(now);
        if self.next_gossip <= now {
            self.next_gossip = now + self.config.gossip_interval;
            if !self.queue.is_empty() {
                for peer in self.draw(self.config.gossip_nodes, self.me) {
                    let news = self.news(None);
                    if !news.is_empty() {
                        let message = Message::Gossip;
                        self.out.push((peer, Packet { message, news }));
                    }
                }
            }
        }
    }

    fn tick_probe(&mut self, now: Time) {
        match self.probe {
            None if self.next_probe <= now => self.begin_probe(now),
            Some(probe) if probe.ends <= now && probe.asked > 0 => {
                self.probe = None;
                if self.config.local_health {
                    // With relays asked, only their silence is our fault.
                    let missed = probe.asked.saturating_sub(probe.nacks);
                    let worse = if probe.asked > 0 { missed } else { 1 };
                    self.health = (self.health + worse).min(MOST);
                }
                let incarnation = self.members[probe.target].incarnation;
                self.suspicions += u64::from(self.sees_healthy(probe.target));
                self.learn(
                    Update {
                        about: probe.target,
                        incarnation,
                        claim: Claim::Suspect(self.me),
                    },
                    now,
                );
                if self.next_probe <= now {
                    self.begin_probe(now);
                }
            }
            Some(probe) if probe.asked == 0 && probe.ask_others <= now => {
                let peers = self.draw(self.config.indirect, probe.target);
                if let Some(probe) = &mut self.probe {
                    probe.asked = u32::try_from(peers.len()).unwrap_or(0).max(1);
                }
                for peer in peers {
                    let message = Message::PingReq {
                        number: probe.number,
                        target: probe.target,
                    };
                    self.send(peer, message);
                }
                let number = probe.number;
                self.send(probe.target, Message::StreamPing { number });
            }
            _ => {}
        }
    }

    fn begin_probe(&mut self, now: Time) {
        let scale = 1 + self.health;
        let interval = self.config.probe_interval * scale;
        self.next_probe = now + interval;
        for _ in 0..=self.members.len() {
            let Some(target) = self.order.pop() else {
                self.order = (0..self.members.len()).collect();
                self.order.shuffle(&mut self.dice);
                continue;
            };
            if target != self.me && !self.members[target].dead {
                self.number += 1;
                self.probe = Some(Probe {
                    number: self.number,
                    target,
                    ask_others: now + self.config.probe_timeout * scale,
                    ends: now + interval,
                    asked: 0,
                    nacks: 0,
                });
                let number = self.number;
                return self.send(target, Message::Ping { number });
            }
        }
    }

    fn tick_relays(&mut self, now: Time) {
        let mut nacks = Vec::new();
        for relay in self.relays.values_mut() {
            if !relay.nacked && relay.nack <= now {
                relay.nacked = true;
                nacks.push((relay.asker, relay.number));
            }
        }
        if self.config.local_health {
            for (asker, number) in nacks {
                self.send(asker, Message::Nack { number });
            }
        }
        let old = self.config.probe_interval * 10;
        self.relays.retain(|_, relay| now.since(relay.nack) < old);
    }

    /// A packet came in.
    pub fn receive(&mut self, from: usize, packet: Packet, now: Time) {
        for update in packet.news {
            self.learn(update, now);
        }
        match packet.message {
            Message::Ping { number } | Message::StreamPing { number } => {
                self.send(from, Message::Ack { number });
            }
            Message::PingReq { number, target } => {
                self.number += 1;
                let nack = now + self.config.probe_timeout * 4 / 5;
                let relay = Relay {
                    asker: from,
                    number,
                    nack,
                    nacked: false,
                };
                self.relays.insert(self.number, relay);
                let number = self.number;
                self.send(target, Message::Ping { number });
            }
            Message::Ack { number } => {
                if self.probe.is_some_and(|probe| probe.number == number) {
                    self.probe = None;
                    if self.config.local_health {
                        self.health = self.health.saturating_sub(1);
                    }
                }
                if let Some(relay) = self.relays.remove(&number) {
                    let number = relay.number;
                    self.send(relay.asker, Message::Ack { number });
                }
            }
            Message::Nack { number } => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
                    probe.nacks += 1;
                }
            }
            Message::Gossip => {}
        }
    }

    /// Takes news in, from others or of its own making.
    fn learn(&mut self, update: Update, now: Time) {
        if update.about == self.me {
            if update.claim != Claim::Alive && update.incarnation >= self.incarnation {
                self.incarnation = update.incarnation + 1;
                if self.config.local_health {
                    self.health = (self.health + 1).min(MOST);
                }
                let incarnation = self.incarnation;
                self.spread(Update {
                    about: self.me,
                    incarnation,
                    claim: Claim::Alive,
                });
            }
            return;
        }
        let known = &mut self.members[update.about];
        match update.claim {
            Claim::Alive if update.incarnation > known.incarnation => {
                self.living += usize::from(known.dead);
                *known = Member {
                    incarnation: update.incarnation,
                    dead: false,
                    suspicion: None,
                };
                self.suspects.remove(&update.about);
                self.spread(update);
            }
            Claim::Suspect(by) if update.incarnation >= known.incarnation && !known.dead => {
                known.incarnation = update.incarnation;
                self.suspect(update, by, now);
            }
            Claim::Dead if update.incarnation >= known.incarnation && !known.dead => {
                known.incarnation = update.incarnation;
                known.dead = true;
                known.suspicion = None;
                self.living -= 1;
                self.suspects.remove(&update.about);
                self.deaths.push(update.about);
                self.spread(update);
            }
            Claim::Alive | Claim::Suspect(_) | Claim::Dead => {}
        }
    }

    fn suspect(&mut self, update: Update, by: usize, now: Time) {
        let bit = 1u128 << (by % 128);
        let most = self.config.confirmations;
        let known = &mut self.members[update.about];
        let is_news = match &mut known.suspicion {
            None => {
                known.suspicion = Some(Suspicion {
                    since: now,
                    by: bit,
                    confirmed: 0,
                });
                true
            }
            Some(suspicion) if suspicion.by & bit == 0 && suspicion.confirmed < most => {
                suspicion.by |= bit;
                suspicion.confirmed += 1;
                // Only Lifeguard passes confirmations on.
                self.config.long_suspicion
            }
            Some(_) => false,
        };
        let Some(suspicion) = known.suspicion else {
            return;
        };
        let ends = suspicion.since + self.patience(suspicion.confirmed);
        self.suspects.insert(update.about, ends);
        if is_news {
            self.spread(update);
        }
    }

    /// How long a suspicion lasts that so many others confirmed.
    fn patience(&self, confirmed: u32) -> Duration {
        let scale = (self.living as f64).log10().max(1.0);
        let least = self.config.probe_interval.as_secs_f64() * self.config.alpha * scale;
        if !self.config.long_suspicion {
            return Duration::from_secs_f64(least);
        }
        let most = least * self.config.beta;
        let share = f64::from(confirmed + 1).ln() / f64::from(self.config.confirmations + 1).ln();
        Duration::from_secs_f64((most - (most - least) * share).max(least))
    }

    fn spread(&mut self, update: Update) {
        self.queue.insert(update.about, (0, update));
    }

    /// News for one packet: the least sent first. A suspect hears of its suspicion first of all.
    fn news(&mut self, to: Option<usize>) -> Vec<Update> {
        let limit = self.config.retransmit * ((self.living + 1) as f64).log10().ceil() as u32;
        let mut news = Vec::new();
        if let Some(to) = to.filter(|_| self.config.buddies)
            && self.members[to].suspicion.is_some()
        {
            news.push(Update {
                about: to,
                incarnation: self.members[to].incarnation,
                claim: Claim::Suspect(self.me),
            });
        }
        let mut waiting: Vec<(u32, usize)> = self
            .queue
            .iter()
            .map(|(about, (sent, _))| (*sent, *about))
            .collect();
        waiting.sort_unstable();
        for (_, about) in waiting.into_iter().take(FIT) {
            if let Some((sent, update)) = self.queue.get_mut(&about) {
                news.push(*update);
                *sent += 1;
                if *sent >= limit {
                    self.queue.remove(&about);
                }
            }
        }
        news
    }

    fn send(&mut self, to: usize, message: Message) {
        let news = self.news(Some(to));
        self.out.push((to, Packet { message, news }));
    }

    fn draw(&mut self, count: usize, except: usize) -> Vec<usize> {
        let mut drawn = Vec::new();
        for _ in 0..count * 10 {
            let peer = self.dice.random_range(0..self.members.len());
            let fits = peer != self.me && peer != except && !self.members[peer].dead;
            if fits && !drawn.contains(&peer) {
                drawn.push(peer);
            }
            if drawn.len() == count {
                break;
            }
        }
        drawn
    }
}

/// What a packet weighs on the wire.
pub(super) fn size(packet: &Packet) -> usize {
    60 + 45 * packet.news.len()
}
