//! Drawing schedules: each takes a random subset of what can go wrong (swarm testing: Groce et al., ISSTA 2012), because
//! schedules in which everything goes wrong all the time hide what a few faults do together.

use super::schedule::{Event, Fault, LAN_SEEDS, Liar, Schedule, Shaped, Trick, Weather};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng, seq::IndexedRandom};
use std::collections::BTreeSet;

/// Kinds of faults that a schedule may have or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Lose,
    Blank,
    Leave,
    LateJoin,
    Pause,
    Starve,
    Clog,
    Loss,
    OneWay,
    TwoWay,
    Partition,
    CutOff,
    Rolling,
    Domain,
    Clock,
    Renew,
    Revoke,
    Clone,
}

const KINDS: [Kind; 19] = [
    Kind::Kill,
    Kind::Lose,
    Kind::Blank,
    Kind::Leave,
    Kind::LateJoin,
    Kind::Pause,
    Kind::Starve,
    Kind::Clog,
    Kind::Loss,
    Kind::OneWay,
    Kind::TwoWay,
    Kind::Partition,
    Kind::CutOff,
    Kind::Rolling,
    Kind::Domain,
    Kind::Clock,
    Kind::Renew,
    Kind::Revoke,
    Kind::Clone,
];

/// The schedule that this seed stands for.
pub fn draw(seed: u64, hostile: bool) -> Schedule {
    let mut dice = ChaCha8Rng::seed_from_u64(seed ^ if hostile { 0x4057_11e5 } else { 0 });
    let datacenters = shape(&mut dice, hostile);
    let length_ms = dice.random_range(5_000..40_000);
    let mut artist = Artist {
        length_ms,
        everybody: datacenters.iter().flat_map(Shaped::nodes).collect(),
        seeds: datacenters
            .iter()
            .flat_map(|one| one.nodes().into_iter().take(LAN_SEEDS))
            .collect(),
        datacenters,
        events: Vec::new(),
        dice,
    };
    let mut liars = if hostile { artist.liars() } else { Vec::new() };
    // Drawn apart, so that old seeds go on standing for what else they stood for.
    let mut apart = ChaCha8Rng::seed_from_u64(!seed);
    for liar in &mut liars {
        if apart.random_bool(0.3) {
            liar.tricks.push(Trick::Impersonate);
        }
    }
    // The more nodes, the fewer kinds at once: a large world is slow enough in itself.
    let count = artist.dice.random_range(if hostile { 0..4 } else { 1..6 });
    let kinds: Vec<Kind> = KINDS.sample(&mut artist.dice, count).copied().collect();
    let weather = artist.weather(hostile);
    let busy = artist.dice.random_range(2..10_usize);
    for kind in &kinds {
        let times = artist.dice.random_range(1..=busy);
        for _ in 0..times {
            artist.add(*kind, &liars);
        }
    }
    let Artist {
        datacenters,
        mut events,
        everybody: names,
        seeds,
        ..
    } = artist;
    if liars.is_empty() && apart.random_bool(0.2) {
        // A removal lowers what a verdict needs, as a goodbye does.
        for _ in 0..apart.random_range(1..=2) {
            let removed = names.choose(&mut apart).zip(names.choose(&mut apart));
            if let Some((node, teller)) = removed
                && node != teller
                && !seeds.contains(node)
            {
                events.push(Event {
                    at_ms: apart.random_range(0..length_ms),
                    fault: Fault::Remove {
                        node: node.clone(),
                        teller: teller.clone(),
                    },
                });
            }
        }
    }
    events.sort_by_key(|event| event.at_ms);
    Schedule {
        found: None,
        seed,
        length_ms,
        weather,
        datacenters,
        liars,
        events,
    }
}

fn shape(dice: &mut ChaCha8Rng, hostile: bool) -> Vec<Shaped> {
    // Mostly small: small worlds are quick, and most of what goes wrong goes wrong in them.
    let budget: usize = match dice.random_range(0..1_000) {
        0..5 => dice.random_range(60..=200),
        5..50 => dice.random_range(20..60),
        50..300 => dice.random_range(10..20),
        _ => dice.random_range(3..10),
    };
    let count = dice.random_range(1..=5_usize).min(budget.div_ceil(3));
    (0..count)
        .map(|number| {
            let least = if hostile { 4 } else { 1 };
            let nodes = (budget / count + dice.random_range(0..2)).max(least);
            let servers = dice.random_range(1..=nodes.min(7));
            Shaped {
                name: format!("dc{number}"),
                zones: dice.random_range(1..=3),
                racks: dice.random_range(1..=3),
                servers,
                clients: nodes - servers,
                seats: *[1, 2, 3, 3, 3, 5].choose(dice).unwrap_or(&3),
            }
        })
        .collect()
}

struct Artist {
    length_ms: u64,
    everybody: Vec<String>,
    seeds: BTreeSet<String>,
    datacenters: Vec<Shaped>,
    events: Vec<Event>,
    dice: ChaCha8Rng,
}

impl Artist {
    /// As many in each datacenter as a verdict there can bear: one fewer than accusers are needed.
    fn liars(&mut self) -> Vec<Liar> {
        let mut liars = Vec::new();
        for datacenter in self.datacenters.clone() {
            let count = self.dice.random_range(0..=datacenter.liars_borne(0));
            let nodes = datacenter.nodes();
            let chosen: Vec<&String> = nodes.sample(&mut self.dice, count).collect();
            for node in chosen {
                let many = self.dice.random_range(1..=3);
                let mut tricks: Vec<Trick> = Trick::COMMON
                    .sample(&mut self.dice, many)
                    .copied()
                    .collect();
                tricks.sort();
                liars.push(Liar {
                    node: node.clone(),
                    tricks,
                });
            }
        }
        liars
    }

    fn weather(&mut self, hostile: bool) -> Weather {
        let mut weather = Weather::default();
        let dice = &mut self.dice;
        if dice.random_bool(0.25) {
            weather.lan_loss = *[0.01, 0.05, 0.1].choose(dice).unwrap_or(&0.01);
        } else if !hostile && dice.random_bool(0.08) {
            weather.lan_loss = *[0.2, 0.35, 0.5].choose(dice).unwrap_or(&0.2);
        }
        if dice.random_bool(0.25) {
            weather.wan_loss = *[0.01, 0.1, 0.3].choose(dice).unwrap_or(&0.01);
        }
        if !hostile && dice.random_bool(0.08) {
            weather.burst = *[0.5, 0.9, 1.0].choose(dice).unwrap_or(&0.9);
        }
        if dice.random_bool(0.2) {
            weather.duplicate = *[0.01, 0.1, 0.5].choose(dice).unwrap_or(&0.1);
        }
        if dice.random_bool(0.2) {
            weather.reorder = *[0.1, 0.5].choose(dice).unwrap_or(&0.1);
        }
        weather.heavy = dice.random_bool(0.1);
        weather
    }

    fn moment(&mut self) -> u64 {
        self.dice.random_range(0..self.length_ms)
    }

    fn while_ms(&mut self) -> u64 {
        // From a blink to half a minute, each order of length as often as the others.
        let power: f64 = self.dice.random_range(2.0..4.5);
        10_f64.powf(power) as u64
    }

    fn one(&mut self) -> String {
        let count = self.everybody.len();
        self.everybody[self.dice.random_range(0..count)].clone()
    }

    /// Some of a datacenter's nodes, and the others of it.
    fn some_and_others(&mut self) -> (Vec<String>, Vec<String>) {
        let at = self.dice.random_range(0..self.datacenters.len());
        let nodes = self.datacenters[at].nodes();
        let share = self.dice.random_range(0.1..0.9);
        nodes
            .into_iter()
            .partition(|_| self.dice.random_bool(share))
    }

    fn push(&mut self, at_ms: u64, fault: Fault) {
        self.events.push(Event { at_ms, fault });
    }

    fn back_later(&mut self, at: u64, node: String, blank: bool) {
        // One in four does not come back; those that others join at do in the end.
        if self.dice.random_bool(0.75) {
            let again = at + self.while_ms();
            self.push(again, Fault::Start { node, blank });
        }
    }

    fn add(&mut self, kind: Kind, liars: &[Liar]) {
        let at = self.moment();
        let for_ms = self.while_ms();
        let node = self.one();
        match kind {
            Kind::Kill => {
                self.push(at, Fault::Kill { node: node.clone() });
                self.back_later(at, node, false);
            }
            Kind::Lose => {
                self.push(at, Fault::Lose { node: node.clone() });
                self.back_later(at, node, false);
            }
            Kind::Blank => {
                self.push(at, Fault::Kill { node: node.clone() });
                self.back_later(at, node, true);
            }
            // A goodbye lowers what a verdict needs; with liars about, their number was chosen by that.
            Kind::Leave if !liars.is_empty() => {}
            Kind::Leave => {
                self.push(at, Fault::Leave { node: node.clone() });
                self.back_later(at, node, false);
            }
            Kind::LateJoin => {
                self.push(0, Fault::Kill { node: node.clone() });
                self.push(at, Fault::Start { node, blank: true });
            }
            Kind::Pause => self.push(at, Fault::Pause { node, for_ms }),
            Kind::Starve => self.push(at, Fault::Starve { node, for_ms }),
            Kind::Clog => self.push(at, Fault::Clog { node, for_ms }),
            Kind::Loss => {
                let shares = [0.0, 0.1, 0.5, 0.9, 1.0];
                let sent = *shares.choose(&mut self.dice).unwrap_or(&0.5);
                let received = *shares.choose(&mut self.dice).unwrap_or(&0.5);
                self.push(
                    at,
                    Fault::Loss {
                        node,
                        sent,
                        received,
                        for_ms,
                    },
                );
            }
            Kind::OneWay | Kind::TwoWay => {
                let other = self.one();
                let wan = self.dice.random_bool(0.3);
                self.push(
                    at,
                    Fault::Cut {
                        wan,
                        both_ways: kind == Kind::TwoWay,
                        from: vec![node],
                        to: vec![other],
                        for_ms,
                    },
                );
            }
            Kind::Partition => {
                let (from, to) = self.some_and_others();
                let both_ways = self.dice.random_bool(0.7);
                self.push(
                    at,
                    Fault::Cut {
                        wan: false,
                        both_ways,
                        from,
                        to,
                        for_ms: for_ms.max(3_000),
                    },
                );
            }
            Kind::CutOff => {
                let chosen = self.dice.random_range(0..self.datacenters.len());
                let from = self.datacenters[chosen].nodes();
                let mut to = Vec::new();
                for number in 0..self.datacenters.len() {
                    if number != chosen && self.dice.random_bool(0.7) {
                        to.extend(self.datacenters[number].nodes());
                    }
                }
                let both_ways = self.dice.random_bool(0.8);
                self.push(
                    at,
                    Fault::Cut {
                        wan: true,
                        both_ways,
                        from,
                        to,
                        for_ms: for_ms.max(3_000),
                    },
                );
            }
            Kind::Rolling => {
                let chosen = self.dice.random_range(0..self.datacenters.len());
                let blank = self.dice.random_bool(0.3);
                let apart = self.dice.random_range(50..3_000);
                let down = self.dice.random_range(10..2_000);
                for (turn, node) in self.datacenters[chosen].nodes().into_iter().enumerate() {
                    let begin = at + apart * turn as u64;
                    self.push(begin, Fault::Kill { node: node.clone() });
                    self.push(begin + down, Fault::Start { node, blank });
                }
            }
            Kind::Domain => {
                // Every so manieth of a datacenter: a rack or a zone, since nodes take turns over them.
                let chosen = self.dice.random_range(0..self.datacenters.len());
                let Shaped { zones, racks, .. } = self.datacenters[chosen];
                let (stride, first) = if self.dice.random_bool(0.5) {
                    (zones, self.dice.random_range(0..zones))
                } else {
                    (zones * racks, self.dice.random_range(0..zones * racks))
                };
                let nodes = self.datacenters[chosen].nodes();
                let back = self.dice.random_bool(0.75).then_some(at + for_ms);
                for node in nodes.into_iter().skip(first).step_by(stride) {
                    self.push(at, Fault::Lose { node: node.clone() });
                    if let Some(back) = back {
                        self.push(back, Fault::Start { node, blank: false });
                    }
                }
            }
            Kind::Clock => {
                let steps = [-86_400, -3_600, -30, 30, 3_600, 86_400];
                let off_by_s = *steps.choose(&mut self.dice).unwrap_or(&30);
                self.push(at, Fault::Clock { node, off_by_s });
            }
            Kind::Renew => self.push(at, Fault::Renew { node }),
            Kind::Revoke => {
                let teller = self.one();
                let mut homes = self.datacenters.iter();
                let home = homes.find(|datacenter| datacenter.nodes().contains(&node));
                let harmless = node != teller
                    && !self.seeds.contains(&node)
                    && liars.iter().all(|liar| liar.node != teller)
                    && home.is_some_and(|home| home.bears(liars, true));
                if harmless {
                    self.push(at, Fault::Revoke { node, teller });
                }
            }
            Kind::Clone => self.push(at, Fault::Clone { node, for_ms }),
        }
    }
}
