//! The network between processes: how long a packet takes and whether it arrives at all.
//!
//! Links are chosen by where the two ends stand. Cuts are one-way and per tier, so that every partition can be built
//! from them. Streams never lose bytes; for them loss and cuts become delay. What is clogged comes later, all of it.

mod burst;
mod cut;
mod link;
mod pipe;

pub use burst::Burst;
pub use link::{Link, Links, Shape};

use burst::Channels;
use cut::Cuts;
use pelago_proto::{federation::Tier, time::Time};
use pipe::Pipes;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::{collections::BTreeMap, time::Duration};

/// Seal and framing around every LAN datagram, bytes.
pub(crate) const SEAL: usize = 48;
/// IP and UDP headers, bytes.
pub(crate) const HEADERS: usize = 28;
/// QUIC, IP and UDP around each packet of a stream, bytes.
pub(crate) const STREAM: usize = 60;
/// What each side of a QUIC handshake with mutual TLS and a hybrid key exchange sends, bytes.
pub(crate) const HANDSHAKE: usize = 3_500;
/// What the side that dials sends of it before it heard anything: all that a host that is gone costs.
pub(crate) const FIRST_FLIGHT: usize = 2_400;
/// Bytes on the wire of a QUIC Retry packet, with which a dialler is asked to prove its address (RFC 9000, 17.2.5).
pub(crate) const RETRY: usize = 150;
/// Stream payload that one packet carries, bytes.
const PACKET: usize = 1_140;
/// Packets that may be under way before the first acknowledgement.
const FIRST_WINDOW: usize = 10;

/// Where a node stands, as small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) datacenter: u16,
    pub(crate) zone: u16,
    pub(crate) rack: u16,
}

/// What becomes of one packet: when it arrives, if it does, and when a copy of it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) arrives: Option<Duration>,
    pub(crate) again: Option<Duration>,
}

/// All links, cuts and the dice.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) links: Links,
    /// Links of their own between two datacenters, lower one first.
    pairs: BTreeMap<(u16, u16), Link>,
    places: Vec<Place>,
    /// Additional loss of what each node sends and of what it should receive.
    loss: Vec<(f64, f64)>,
    /// Until when nothing gets out of a node or into it; it comes later.
    clogged: Vec<Time>,
    cuts: Cuts,
    channels: Channels,
    pipes: Pipes,
    dice: ChaCha8Rng,
}

impl Net {
    pub(crate) fn new(links: Links, seed: u64) -> Self {
        Self {
            links,
            pairs: BTreeMap::new(),
            places: Vec::new(),
            loss: Vec::new(),
            clogged: Vec::new(),
            cuts: Cuts::default(),
            channels: Channels::default(),
            pipes: Pipes::default(),
            dice: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(crate) fn add(&mut self, place: Place) {
        self.places.push(place);
        self.loss.push((0.0, 0.0));
        self.clogged.push(Time::START);
    }

    pub(crate) fn place(&self, node: usize) -> Place {
        self.places[node]
    }

    /// Two datacenters have a link of their own.
    pub(crate) fn set_pair(&mut self, one: u16, other: u16, link: Link) {
        self.pairs.insert((one.min(other), one.max(other)), link);
    }

    /// Loses these shares of what a node sends and of what it should receive.
    pub(crate) fn set_loss(&mut self, node: usize, sent: f64, received: f64) {
        self.loss[node] = (sent, received);
    }

    /// Holds everything back that a node sends or should receive, until then.
    pub(crate) fn clog(&mut self, node: usize, until: Time) {
        self.clogged[node] = until;
    }

    /// Cuts one way, and returns the cut's name.
    pub(crate) fn cut(&mut self, tier: Option<Tier>, from: &[usize], to: &[usize]) -> u64 {
        self.cuts.add(tier, from, to)
    }

    /// Takes one cut away.
    pub(crate) fn heal_one(&mut self, cut: u64) {
        self.cuts.heal(cut);
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.heal_all();
    }

    /// Whether nothing of this tier gets from one node to the other.
    pub(crate) fn is_cut(&self, tier: Tier, from: usize, to: usize) -> bool {
        let apart = tier == Tier::Lan && self.places[from].datacenter != self.places[to].datacenter;
        apart || self.cuts.between(tier, from, to)
    }

    /// What becomes of one packet.
    pub(crate) fn packet(
        &mut self,
        tier: Tier,
        from: usize,
        to: usize,
        bytes: usize,
        now: Time,
    ) -> Fate {
        let waits = self.pass(from, to, bytes, now);
        let lost = self.is_cut(tier, from, to) || self.loses(from, to, now);
        let (Some(waits), false) = (waits, lost) else {
            return Fate::default();
        };
        let waits = waits + self.held(from, to, now);
        let (link, _) = self.link(from, to);
        let twice = link.duplicate > 0.0 && self.dice.random_bool(link.duplicate);
        Fate {
            arrives: Some(waits + link.flight(&mut self.dice)),
            again: twice.then(|| waits + link.flight(&mut self.dice)),
        }
    }

    /// How long a stream message of `bytes` takes, with retransmissions and slow start; `None` behind a cut.
    pub(crate) fn stream(
        &mut self,
        tier: Tier,
        from: usize,
        to: usize,
        bytes: usize,
        now: Time,
    ) -> Option<Duration> {
        if self.is_cut(tier, from, to) || self.is_cut(tier, to, from) {
            return None;
        }
        let packets = packets(bytes);
        let window_rounds = (packets / FIRST_WINDOW)
            .checked_ilog2()
            .map_or(0, |rounds| rounds + 1);
        let (link, _) = self.link(from, to);
        let waits = self.pass(from, to, bytes + packets * STREAM, now)?;
        let flight = link.flight(&mut self.dice);
        let mut delay =
            waits + self.held(from, to, now) + flight + self.round_trip(from, to) * window_rounds;
        let mut missing = packets;
        while missing > 0 && delay < Duration::from_secs(60) {
            missing = (0..missing)
                .filter(|_| self.loses(from, to, now + delay))
                .count();
            if missing > 0 {
                delay += self.retransmission(from, to);
            }
        }
        Some(delay)
    }

    /// How long one waits for an acknowledgement before sending again.
    pub(crate) fn retransmission(&self, from: usize, to: usize) -> Duration {
        (self.round_trip(from, to) * 2).max(Duration::from_millis(10))
    }

    /// The undisturbed round trip.
    pub(crate) fn round_trip(&self, from: usize, to: usize) -> Duration {
        self.link(from, to).0.one_way * 2
    }

    /// How long something clogged holds a packet back.
    fn held(&self, from: usize, to: usize, now: Time) -> Duration {
        self.clogged[from].max(self.clogged[to]).since(now)
    }

    /// How long a packet waits for a narrow link; `None` if too many wait already.
    fn pass(&mut self, from: usize, to: usize, bytes: usize, now: Time) -> Option<Duration> {
        let (link, class) = self.link(from, to);
        let Some(rate) = link.rate else {
            return Some(Duration::ZERO);
        };
        let id = if class == WAN {
            let (a, b) = (self.places[from].datacenter, self.places[to].datacenter);
            (a.into(), b.into(), WAN)
        } else {
            (small(from), 0, class)
        };
        self.pipes.pass(id, rate, bytes, now)
    }

    fn loses(&mut self, from: usize, to: usize, now: Time) -> bool {
        let (link, _) = self.link(from, to);
        if let Some(burst) = &link.burst
            && self
                .channels
                .loses(burst, (small(from), small(to)), now, &mut self.dice)
        {
            return true;
        }
        let kept = (1.0 - link.loss) * (1.0 - self.loss[from].0) * (1.0 - self.loss[to].1);
        kept < 1.0 && !self.dice.random_bool(kept)
    }

    /// The link between two nodes, and its class.
    fn link(&self, from: usize, to: usize) -> (Link, u8) {
        let (a, b) = (self.places[from], self.places[to]);
        if a.datacenter != b.datacenter {
            let pair = (
                a.datacenter.min(b.datacenter),
                a.datacenter.max(b.datacenter),
            );
            (
                self.pairs.get(&pair).copied().unwrap_or(self.links.wan),
                WAN,
            )
        } else if a.zone != b.zone {
            (self.links.datacenter, 2)
        } else if a.rack != b.rack {
            (self.links.zone, 1)
        } else {
            (self.links.rack, 0)
        }
    }
}

/// The class of links between datacenters.
const WAN: u8 = 3;

fn small(node: usize) -> u32 {
    u32::try_from(node).unwrap_or(u32::MAX)
}

/// Packets that a stream message takes.
pub(crate) const fn packets(bytes: usize) -> usize {
    if bytes == 0 {
        1
    } else {
        bytes.div_ceil(PACKET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(links: Links) -> Net {
        let mut net = Net::new(links, 1);
        for (datacenter, zone, rack) in [(0, 0, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)] {
            net.add(Place {
                datacenter,
                zone,
                rack,
            });
        }
        net
    }

    fn arrives(net: &mut Net, tier: Tier, from: usize, to: usize) -> Option<Duration> {
        net.packet(tier, from, to, 100, Time::START).arrives
    }

    #[test]
    fn distance_decides_how_long_it_takes() {
        let mut net = net(Links::default());
        let mut at_least = |tier, to, micros| {
            let took = arrives(&mut net, tier, 0, to).expect("no loss").as_micros();
            assert!((micros..=micros * 9 / 2).contains(&took), "{took}");
        };
        at_least(Tier::Lan, 1, 200);
        at_least(Tier::Lan, 2, 400);
        at_least(Tier::Lan, 3, 600);
        at_least(Tier::Wan, 4, 40_000);
        assert_eq!(
            arrives(&mut net, Tier::Lan, 0, 4),
            None,
            "no LAN spans datacenters"
        );
    }

    #[test]
    fn cuts_are_one_way_and_per_tier() {
        let mut net = net(Links::default());
        net.cut(Some(Tier::Lan), &[0], &[1, 2]);
        assert_eq!(arrives(&mut net, Tier::Lan, 0, 1), None);
        assert!(arrives(&mut net, Tier::Lan, 1, 0).is_some());
        assert!(arrives(&mut net, Tier::Wan, 0, 1).is_some());
        assert!(arrives(&mut net, Tier::Lan, 0, 3).is_some());
        assert_eq!(
            net.stream(Tier::Lan, 1, 0, 10, Time::START),
            None,
            "a stream needs both directions"
        );
        net.heal();
        assert!(arrives(&mut net, Tier::Lan, 0, 1).is_some());
    }

    #[test]
    fn loss_costs_datagrams_and_delays_streams() {
        let mut net = net(Links::default().losing_on_lan(0.5));
        let arrived = (0..1_000)
            .filter(|_| arrives(&mut net, Tier::Lan, 0, 1).is_some())
            .count();
        assert!((400..600).contains(&arrived), "{arrived}");
        let late = (0..100).filter(|_| {
            net.stream(Tier::Lan, 0, 1, 100, Time::START)
                .is_some_and(|d| d > Duration::from_millis(9))
        });
        assert!((30..70).contains(&late.count()));
    }

    #[test]
    fn large_messages_take_more_rounds() {
        let mut net = net(Links::default());
        let small = net
            .stream(Tier::Wan, 0, 4, 1_000, Time::START)
            .expect("open");
        let large = net
            .stream(Tier::Wan, 0, 4, 250_000, Time::START)
            .expect("open");
        assert!(
            large >= small + Duration::from_millis(200),
            "{small:?} {large:?}"
        );
    }

    #[test]
    fn copies_arrive_as_often_as_asked_for() {
        let mut links = Links::default();
        links.rack.duplicate = 0.25;
        let mut net = net(links);
        let twice = (0..1_000)
            .filter(|_| {
                net.packet(Tier::Lan, 0, 1, 100, Time::START)
                    .again
                    .is_some()
            })
            .count();
        assert!((200..300).contains(&twice), "{twice}");
    }

    #[test]
    fn what_a_clogged_node_sends_comes_later() {
        let mut net = net(Links::default());
        let until = Time::START + Duration::from_secs(1);
        net.clog(1, until);
        let delayed = arrives(&mut net, Tier::Lan, 0, 1).expect("not lost");
        assert!(delayed > Duration::from_secs(1), "{delayed:?}");
        let after = net.packet(Tier::Lan, 1, 0, 100, until).arrives;
        assert!(after.is_some_and(|after| after < Duration::from_millis(10)));
    }

    #[test]
    fn two_datacenters_may_have_a_link_of_their_own() {
        let mut net = net(Links::default());
        net.set_pair(1, 0, Link::new(Duration::from_millis(200)));
        let took = arrives(&mut net, Tier::Wan, 0, 4).expect("no loss");
        assert!(took >= Duration::from_millis(200), "{took:?}");
    }

    #[test]
    fn one_cut_of_several_can_be_healed() {
        let mut net = net(Links::default());
        let first = net.cut(None, &[0], &[1]);
        net.cut(None, &[0], &[2]);
        net.heal_one(first);
        assert!(arrives(&mut net, Tier::Lan, 0, 1).is_some());
        assert_eq!(arrives(&mut net, Tier::Lan, 0, 2), None);
    }
}
