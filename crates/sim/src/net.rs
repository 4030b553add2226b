//! The network between processes: how long a packet takes and whether it arrives at all.
//!
//! Links are chosen by where the two ends stand. Cuts are one-way and per tier, so that every partition can be built
//! from them. Streams never lose bytes; for them loss and cuts become delay.

use pelago_proto::federation::Tier;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::time::Duration;

/// Seal and framing around every LAN datagram, bytes.
pub(crate) const SEAL: usize = 48;
/// IP and UDP headers, bytes.
pub(crate) const HEADERS: usize = 28;
/// QUIC, IP and UDP around each packet of a stream, bytes.
pub(crate) const STREAM: usize = 60;
/// What each side of a QUIC handshake with mutual TLS and a hybrid key exchange sends, bytes.
pub(crate) const HANDSHAKE: usize = 3_500;
/// Stream payload that one packet carries, bytes.
const PACKET: usize = 1_140;
/// Packets that may be under way before the first acknowledgement.
const FIRST_WINDOW: usize = 10;

/// How packets fare between two places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Time from one end to the other.
    pub one_way: Duration,
    /// Up to this share of `one_way` comes on top, at random.
    pub jitter: f64,
    /// Share of packets lost, independently.
    pub loss: f64,
    /// Share of packets that are overtaken: they take up to four times as long.
    pub reorder: f64,
}

impl Link {
    /// A link without loss.
    pub const fn new(one_way: Duration) -> Self {
        Self {
            one_way,
            jitter: 0.2,
            loss: 0.0,
            reorder: 0.01,
        }
    }

    /// The same with loss.
    #[must_use]
    pub const fn losing(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

/// The links of a world, by the nearest place that both ends share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// Between two nodes of one rack.
    pub rack: Link,
    /// Between racks of one zone.
    pub zone: Link,
    /// Between zones of one datacenter.
    pub datacenter: Link,
    /// Between datacenters.
    pub wan: Link,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            rack: Link::new(Duration::from_micros(200)),
            zone: Link::new(Duration::from_micros(400)),
            datacenter: Link::new(Duration::from_micros(600)),
            wan: Link::new(Duration::from_millis(40)),
        }
    }
}

impl Links {
    /// The same share of loss on everything inside datacenters.
    #[must_use]
    pub const fn losing_on_lan(mut self, loss: f64) -> Self {
        self.rack.loss = loss;
        self.zone.loss = loss;
        self.datacenter.loss = loss;
        self
    }
}

/// Where a node stands, as small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) datacenter: u16,
    pub(crate) zone: u16,
    pub(crate) rack: u16,
}

/// Packets of one tier (or both) from some nodes to some others vanish.
#[derive(Debug)]
struct Cut {
    tier: Option<Tier>,
    from: Vec<bool>,
    to: Vec<bool>,
}

/// All links, cuts and the dice.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) links: Links,
    places: Vec<Place>,
    /// Additional loss at each node, in both directions.
    loss: Vec<f64>,
    cuts: Vec<Cut>,
    dice: ChaCha8Rng,
}

impl Net {
    pub(crate) fn new(links: Links, seed: u64) -> Self {
        Self {
            links,
            places: Vec::new(),
            loss: Vec::new(),
            cuts: Vec::new(),
            dice: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(crate) fn add(&mut self, place: Place) {
        self.places.push(place);
        self.loss.push(0.0);
    }

    pub(crate) fn place(&self, node: usize) -> Place {
        self.places[node]
    }

    pub(crate) fn set_loss(&mut self, node: usize, loss: f64) {
        self.loss[node] = loss;
    }

    pub(crate) fn cut(&mut self, tier: Option<Tier>, from: &[usize], to: &[usize]) {
        let set = |nodes: &[usize]| {
            let mut set = vec![false; self.places.len()];
            nodes.iter().for_each(|node| set[*node] = true);
            set
        };
        let cut = Cut {
            tier,
            from: set(from),
            to: set(to),
        };
        self.cuts.push(cut);
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Whether nothing of this tier gets from one node to the other.
    pub(crate) fn is_cut(&self, tier: Tier, from: usize, to: usize) -> bool {
        let has = |set: &[bool], node| set.get(node).copied().unwrap_or(false);
        let apart = tier == Tier::Lan && self.places[from].datacenter != self.places[to].datacenter;
        apart
            || self.cuts.iter().any(|cut| {
                cut.tier.is_none_or(|only| only == tier) && has(&cut.from, from) && has(&cut.to, to)
            })
    }

    /// How long one packet takes; `None` if it is lost.
    pub(crate) fn packet(&mut self, tier: Tier, from: usize, to: usize) -> Option<Duration> {
        if self.is_cut(tier, from, to) || self.loses(from, to) {
            return None;
        }
        Some(self.flight(from, to))
    }

    /// How long a stream message of `bytes` takes, with retransmissions and slow start; `None` behind a cut.
    pub(crate) fn stream(
        &mut self,
        tier: Tier,
        from: usize,
        to: usize,
        bytes: usize,
    ) -> Option<Duration> {
        if self.is_cut(tier, from, to) || self.is_cut(tier, to, from) {
            return None;
        }
        let packets = packets(bytes);
        let window_rounds = (packets / FIRST_WINDOW)
            .checked_ilog2()
            .map_or(0, |rounds| rounds + 1);
        let mut delay = self.flight(from, to) + self.round_trip(from, to) * window_rounds;
        let mut missing = packets;
        while missing > 0 && delay < Duration::from_secs(60) {
            missing = (0..missing).filter(|_| self.loses(from, to)).count();
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
        self.link(from, to).one_way * 2
    }

    fn flight(&mut self, from: usize, to: usize) -> Duration {
        let link = self.link(from, to);
        let mut share = 1.0 + link.jitter * self.dice.random::<f64>();
        if link.reorder > 0.0 && self.dice.random_bool(link.reorder) {
            share += 3.0 * self.dice.random::<f64>();
        }
        link.one_way.mul_f64(share)
    }

    fn loses(&mut self, from: usize, to: usize) -> bool {
        let kept =
            (1.0 - self.link(from, to).loss) * (1.0 - self.loss[from]) * (1.0 - self.loss[to]);
        kept < 1.0 && !self.dice.random_bool(kept)
    }

    fn link(&self, from: usize, to: usize) -> Link {
        let (a, b) = (self.places[from], self.places[to]);
        if a.datacenter != b.datacenter {
            self.links.wan
        } else if a.zone != b.zone {
            self.links.datacenter
        } else if a.rack != b.rack {
            self.links.zone
        } else {
            self.links.rack
        }
    }
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

    #[test]
    fn distance_decides_how_long_it_takes() {
        let mut net = net(Links::default());
        let mut at_least = |tier, to, micros| {
            let took = net.packet(tier, 0, to).expect("no loss").as_micros();
            assert!((micros..=micros * 9 / 2).contains(&took), "{took}");
        };
        at_least(Tier::Lan, 1, 200);
        at_least(Tier::Lan, 2, 400);
        at_least(Tier::Lan, 3, 600);
        at_least(Tier::Wan, 4, 40_000);
        assert_eq!(
            net.packet(Tier::Lan, 0, 4),
            None,
            "no LAN spans datacenters"
        );
    }

    #[test]
    fn cuts_are_one_way_and_per_tier() {
        let mut net = net(Links::default());
        net.cut(Some(Tier::Lan), &[0], &[1, 2]);
        assert_eq!(net.packet(Tier::Lan, 0, 1), None);
        assert!(net.packet(Tier::Lan, 1, 0).is_some());
        assert!(net.packet(Tier::Wan, 0, 1).is_some());
        assert!(net.packet(Tier::Lan, 0, 3).is_some());
        assert_eq!(
            net.stream(Tier::Lan, 1, 0, 10),
            None,
            "a stream needs both directions"
        );
        net.heal();
        assert!(net.packet(Tier::Lan, 0, 1).is_some());
    }

    #[test]
    fn loss_costs_datagrams_and_delays_streams() {
        let mut net = net(Links::default().losing_on_lan(0.5));
        let arrived = (0..1_000)
            .filter(|_| net.packet(Tier::Lan, 0, 1).is_some())
            .count();
        assert!((400..600).contains(&arrived), "{arrived}");
        let late = (0..100).filter(|_| {
            net.stream(Tier::Lan, 0, 1, 100)
                .is_some_and(|d| d > Duration::from_millis(9))
        });
        assert!((30..70).contains(&late.count()));
    }

    #[test]
    fn large_messages_take_more_rounds() {
        let mut net = net(Links::default());
        let small = net.stream(Tier::Wan, 0, 4, 1_000).expect("open");
        let large = net.stream(Tier::Wan, 0, 4, 250_000).expect("open");
        assert!(
            large >= small + Duration::from_millis(200),
            "{small:?} {large:?}"
        );
    }
}
