//! Whom to talk to: stratified draws over rack, zone and the rest, without replacement.
//!
//! Uniform choice crosses zones with most messages; always-near choice never leaves the rack. A draw takes about half of
//! its peers from the own rack, a third from other racks of the zone and a fifth from other zones, but at least one from
//! each that exists: news leaves every rack and zone at once. Cost is O(draw), whatever the pool's size.

use crate::identity::{Label, NodeId};
use rand::{Rng, RngExt};
use std::collections::BTreeMap;

/// How near a peer is: the strata of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// Same zone and rack.
    Rack = 0,
    /// Same zone, other rack.
    Zone = 1,
    /// Other zone.
    Far = 2,
}

/// Where a peer stands, as far as sampling cares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Zone (in the WAN pool: region).
    pub zone: Label,
    /// Rack (in the WAN pool: datacenter).
    pub rack: Label,
}

impl Place {
    /// How near `other` is to us.
    pub fn nearness(&self, other: &Self) -> Nearness {
        match (self.zone == other.zone, self.rack == other.rack) {
            (true, true) => Nearness::Rack,
            (true, false) => Nearness::Zone,
            (false, _) => Nearness::Far,
        }
    }
}

/// Peers by stratum.
#[derive(Debug)]
pub struct Sampler {
    home: Place,
    shares: [u32; 3],
    strata: [Vec<NodeId>; 3],
    index: BTreeMap<NodeId, (Nearness, usize)>,
}

impl Sampler {
    /// A sampler around `home` with shares in percent for rack, zone and far.
    pub fn new(home: Place, shares: [u32; 3]) -> Self {
        Self {
            home,
            shares,
            strata: Default::default(),
            index: BTreeMap::new(),
        }
    }

    /// Adds a peer, or moves it.
    pub fn insert(&mut self, id: NodeId, place: &Place) {
        let nearness = self.home.nearness(place);
        if self
            .index
            .get(&id)
            .is_some_and(|(held, _)| *held == nearness)
        {
            return;
        }
        self.remove(&id);
        let stratum = &mut self.strata[nearness as usize];
        self.index.insert(id, (nearness, stratum.len()));
        stratum.push(id);
    }

    /// Takes a peer out.
    pub fn remove(&mut self, id: &NodeId) {
        if let Some((nearness, at)) = self.index.remove(id) {
            let stratum = &mut self.strata[nearness as usize];
            stratum.swap_remove(at);
            if let Some(moved) = stratum.get(at) {
                self.index.insert(*moved, (nearness, at));
            }
        }
    }

    /// Number of peers.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Up to `count` distinct peers that `fits` accepts, spread over the strata.
    pub fn draw(
        &mut self,
        count: usize,
        rng: &mut impl Rng,
        fits: impl Fn(&NodeId) -> bool,
    ) -> Vec<NodeId> {
        let mut drawn = Vec::with_capacity(count);
        let mut taken = [0; 3];
        let quotas = self.quotas(count, rng);
        for (stratum, quota) in quotas.into_iter().enumerate() {
            self.take(stratum, quota, &mut taken, rng, &fits, &mut drawn);
        }
        // What a small stratum could not give, the others do, nearest first.
        for stratum in 0..3 {
            let missing = count - drawn.len();
            self.take(stratum, missing, &mut taken, rng, &fits, &mut drawn);
        }
        drawn
    }

    /// How many of `count` each stratum should give: its share, rounded at random, but at least one if it has any.
    fn quotas(&self, count: usize, rng: &mut impl Rng) -> [usize; 3] {
        let mut quotas = [0; 3];
        let present: Vec<usize> = (0..3).filter(|s| !self.strata[*s].is_empty()).collect();
        let mut left = count;
        // Far ones first: when there are fewer turns than strata, crossing a zone is what repair cannot do cheaply.
        for stratum in present.iter().rev() {
            if left > 0 {
                quotas[*stratum] = 1;
                left -= 1;
            }
        }
        let total: u32 = present.iter().map(|s| self.shares[*s]).sum();
        for _ in 0..left {
            let mut at = rng.random_range(0..total.max(1));
            for stratum in &present {
                if at < self.shares[*stratum] {
                    quotas[*stratum] += 1;
                    break;
                }
                at -= self.shares[*stratum];
            }
        }
        quotas
    }

    /// A partial Fisher–Yates shuffle: the first `taken` of the stratum are used up.
    fn take(
        &mut self,
        stratum: usize,
        quota: usize,
        taken: &mut [usize; 3],
        rng: &mut impl Rng,
        fits: &impl Fn(&NodeId) -> bool,
        drawn: &mut Vec<NodeId>,
    ) {
        let peers = &mut self.strata[stratum];
        let mut wanted = quota;
        // Unfitting peers cost a turn; a draw looks at a bounded number of them.
        let mut turns = 4 * quota + 8;
        while wanted > 0 && taken[stratum] < peers.len() && turns > 0 {
            turns -= 1;
            let (front, at) = (
                taken[stratum],
                rng.random_range(taken[stratum]..peers.len()),
            );
            peers.swap(front, at);
            let nearness = [Nearness::Rack, Nearness::Zone, Nearness::Far][stratum];
            self.index.insert(peers[front], (nearness, front));
            self.index.insert(peers[at], (nearness, at));
            taken[stratum] += 1;
            if fits(&peers[front]) {
                drawn.push(peers[front]);
                wanted -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::ChaCha12Rng};

    fn place(zone: &str, rack: &str) -> Place {
        Place {
            zone: Label::new(zone).unwrap(),
            rack: Label::new(rack).unwrap(),
        }
    }

    fn sampler(rack: u8, zone: u8, far: u8) -> Sampler {
        let mut s = Sampler::new(place("a", "r1"), [50, 30, 20]);
        for (group, count, at) in [
            (1, rack, place("a", "r1")),
            (2, zone, place("a", "r2")),
            (3, far, place("b", "r1")),
        ] {
            for n in 0..count {
                let mut id = NodeId::default();
                id.0[0] = group;
                id.0[1] = n;
                s.insert(id, &at);
            }
        }
        s
    }

    #[test]
    fn every_draw_leaves_rack_and_zone() {
        let mut s = sampler(50, 50, 50);
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for _ in 0..200 {
            let drawn = s.draw(5, &mut rng, |_| true);
            assert_eq!(drawn.len(), 5);
            for group in 1..=3 {
                assert!(drawn.iter().any(|id| id.0[0] == group));
            }
        }
    }

    #[test]
    fn a_draw_has_no_repeats_and_gives_everybody_a_turn() {
        let mut s = sampler(3, 2, 4);
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let drawn: std::collections::BTreeSet<_> =
                s.draw(5, &mut rng, |_| true).into_iter().collect();
            assert_eq!(drawn.len(), 5);
            seen.extend(drawn);
        }
        assert_eq!(seen.len(), 9);
        assert_eq!(s.draw(20, &mut rng, |_| true).len(), 9);
    }

    #[test]
    fn the_shares_hold_on_average() {
        let mut s = sampler(100, 100, 100);
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let mut counts = [0_u32; 4];
        for _ in 0..1_000 {
            for id in s.draw(10, &mut rng, |_| true) {
                counts[usize::from(id.0[0])] += 1;
            }
        }
        // One of ten is fixed per stratum, seven follow 50/30/20: 4.5, 3.1 and 2.4 of ten.
        assert!((4_300..4_700).contains(&counts[1]), "{counts:?}");
        assert!((2_900..3_300).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn removal_and_unfitting_peers() {
        let mut s = sampler(2, 0, 2);
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        let first = s.draw(1, &mut rng, |_| true)[0];
        s.remove(&first);
        assert_eq!(s.len(), 3);
        assert!(!s.draw(4, &mut rng, |_| true).contains(&first));
        assert!(
            s.draw(4, &mut rng, |id| id.0[0] == 1)
                .iter()
                .all(|id| id.0[0] == 1)
        );
    }
}
