//! Whom to talk to: stratified draws over rack, zone and the rest, without replacement.
//!
//! Uniform choice crosses zones with most messages; always-near choice never leaves the rack. A draw takes about half of
//! its peers from the own rack, a third from other racks of the zone and a fifth from other zones, but at least one from
//! each that exists: news leaves every rack and zone at once. Cost is O(draw), whatever the pool's size.

use crate::identity::Label;
use rand::{Rng, RngExt};

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

/// Up to `count` distinct members of `strata` (rack, zone, far) that `fits` accepts, spread by `shares` in percent.
pub fn draw<'a, T>(
    strata: [&'a [T]; 3],
    shares: [u32; 3],
    count: usize,
    rng: &mut impl Rng,
    fits: impl Fn(&T) -> bool,
) -> Vec<&'a T> {
    let mut drawn = Vec::with_capacity(count);
    let mut decks = strata.map(Deck::new);
    let quotas = quotas(strata.map(<[T]>::is_empty), shares, count, rng);
    for (deck, quota) in decks.iter_mut().zip(quotas) {
        deck.take(quota, rng, &fits, &mut drawn);
    }
    // What a small stratum could not give, the others do, nearest first.
    for deck in &mut decks {
        deck.take(count - drawn.len(), rng, &fits, &mut drawn);
    }
    drawn
}

/// How many of `count` each stratum should give: its share, rounded at random, but at least one if it has any.
fn quotas(empty: [bool; 3], shares: [u32; 3], count: usize, rng: &mut impl Rng) -> [usize; 3] {
    let mut quotas = [0; 3];
    let present = || (0..3).filter(|stratum: &usize| !empty[*stratum]);
    let mut left = count;
    // Far ones first: when there are fewer turns than strata, crossing a zone is what repair cannot do cheaply.
    for stratum in present().rev() {
        if left > 0 {
            quotas[stratum] = 1;
            left -= 1;
        }
    }
    let total: u32 = present().map(|stratum| shares[stratum]).sum();
    for _ in 0..left {
        let mut at = rng.random_range(0..total.max(1));
        for stratum in present() {
            if at < shares[stratum] {
                quotas[stratum] += 1;
                break;
            }
            at -= shares[stratum];
        }
    }
    quotas
}

/// A stratum being shuffled, as far as it is dealt from: Fisher and Yates's way, but the cards stay where they are and
/// only what was swapped is noted.
struct Deck<'a, T> {
    cards: &'a [T],
    /// Places that hold another card than their own.
    swapped: Vec<(usize, usize)>,
    /// So many were dealt.
    dealt: usize,
}

impl<'a, T> Deck<'a, T> {
    fn new(cards: &'a [T]) -> Self {
        Self {
            cards,
            swapped: Vec::new(),
            dealt: 0,
        }
    }

    /// Deals up to `quota` cards that fit.
    fn take(
        &mut self,
        quota: usize,
        rng: &mut impl Rng,
        fits: &impl Fn(&T) -> bool,
        drawn: &mut Vec<&'a T>,
    ) {
        let mut wanted = quota;
        // Unfitting cards cost a turn; a draw looks at a bounded number of them.
        let mut turns = 4 * quota + 8;
        while wanted > 0 && self.dealt < self.cards.len() && turns > 0 {
            turns -= 1;
            let card = self.deal(rng);
            if let Some(card) = card.filter(|card| fits(card)) {
                drawn.push(card);
                wanted -= 1;
            }
        }
    }

    fn deal(&mut self, rng: &mut impl Rng) -> Option<&'a T> {
        let at = rng.random_range(self.dealt..self.cards.len());
        let card = self.at(at);
        let front = self.at(self.dealt);
        self.swapped.retain(|(place, _)| *place != at);
        self.swapped.push((at, front));
        self.dealt += 1;
        self.cards.get(card)
    }

    /// The card that lies at a place.
    fn at(&self, at: usize) -> usize {
        let swapped = self.swapped.iter().find(|(place, _)| *place == at);
        swapped.map_or(at, |(_, card)| *card)
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

    /// Members of three strata: (stratum, number).
    fn strata(rack: u8, zone: u8, far: u8) -> [Vec<(u8, u8)>; 3] {
        [(1, rack), (2, zone), (3, far)]
            .map(|(group, count)| (0..count).map(|n| (group, n)).collect())
    }

    fn drawn(
        from: &[Vec<(u8, u8)>; 3],
        count: usize,
        rng: &mut ChaCha12Rng,
        fits: impl Fn(&(u8, u8)) -> bool,
    ) -> Vec<(u8, u8)> {
        let strata = from.each_ref().map(Vec::as_slice);
        let drawn = draw(strata, [50, 30, 20], count, rng, fits);
        drawn.into_iter().copied().collect()
    }

    #[test]
    fn nearness_is_by_rack_and_zone() {
        let home = place("a", "r1");
        assert_eq!(home.nearness(&place("a", "r1")), Nearness::Rack);
        assert_eq!(home.nearness(&place("a", "r2")), Nearness::Zone);
        assert_eq!(home.nearness(&place("b", "r1")), Nearness::Far);
    }

    #[test]
    fn every_draw_leaves_rack_and_zone() {
        let s = strata(50, 50, 50);
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for _ in 0..200 {
            let drawn = drawn(&s, 5, &mut rng, |_| true);
            assert_eq!(drawn.len(), 5);
            for group in 1..=3 {
                assert!(drawn.iter().any(|one| one.0 == group));
            }
        }
    }

    #[test]
    fn a_draw_has_no_repeats_and_gives_everybody_a_turn() {
        let s = strata(3, 2, 4);
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let drawn: std::collections::BTreeSet<_> =
                drawn(&s, 5, &mut rng, |_| true).into_iter().collect();
            assert_eq!(drawn.len(), 5);
            seen.extend(drawn);
        }
        assert_eq!(seen.len(), 9);
        let all: std::collections::BTreeSet<_> =
            drawn(&s, 20, &mut rng, |_| true).into_iter().collect();
        assert_eq!(all, seen);
    }

    #[test]
    fn within_a_stratum_everybody_is_as_likely() {
        let s = strata(0, 0, 10);
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            for (_, n) in drawn(&s, 4, &mut rng, |_| true) {
                counts[usize::from(n)] += 1;
            }
        }
        assert!(
            counts.iter().all(|n| (3_800..4_200).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_shares_hold_on_average() {
        let s = strata(100, 100, 100);
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let mut counts = [0_u32; 4];
        for _ in 0..1_000 {
            for (group, _) in drawn(&s, 10, &mut rng, |_| true) {
                counts[usize::from(group)] += 1;
            }
        }
        // One of ten is fixed per stratum, seven follow 50/30/20: 4.5, 3.1 and 2.4 of ten.
        assert!((4_300..4_700).contains(&counts[1]), "{counts:?}");
        assert!((2_900..3_300).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn those_who_do_not_fit_are_not_drawn() {
        let s = strata(2, 0, 2);
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        let near = drawn(&s, 4, &mut rng, |one| one.0 == 1);
        assert_eq!(near.len(), 2);
        assert!(near.iter().all(|one| one.0 == 1));
    }
}
