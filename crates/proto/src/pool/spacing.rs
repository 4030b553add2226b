//! How observers of one member keep an even distance without a common clock.
//!
//! The member is the witness: it saw when its observers' last pings came, so it knows the evenly spaced times that are nearest to
//! them, and tells each observer how much earlier or later its next ping should come. After two turns the distances are even
//! (DESYNC, Degesys, Rose, Patel, Nagpal, IPSN 2007, where each node only sees its two neighbours, takes dozens).

use crate::{identity::NodeId, time::Time};
use std::{collections::VecDeque, time::Duration};

/// Pings remembered: enough for two rounds of all observers.
const REMEMBERED: usize = 16;

/// Observers' pings, as their target sees them.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    /// Who pinged, and when that would have been had it come as it was told to come from then on.
    pings: VecDeque<(NodeId, Time)>,
}

impl Spacing {
    /// Notes a ping; returns by how many milliseconds this observer's pings should come earlier, and later: one of them is 0.
    /// `None` while that cannot be told. Each observer is expected once per `interval` times their number.
    pub(super) fn pinged(
        &mut self,
        from: NodeId,
        interval: Duration,
        now: Time,
    ) -> Option<(u32, u32)> {
        let mut pings = self.pings.iter().rev();
        let previous = pings.find(|(id, _)| *id == from).map(|(_, at)| *at);
        if self.pings.len() == REMEMBERED {
            self.pings.pop_front();
        }
        self.pings.push_back((from, now));
        let since = now.since(previous?);
        let ages = self.ages(now, since * 3 / 2);
        let count = u32::try_from(ages.len()).ok()?;
        let turn = interval * count;
        // A repeated ping, a lost one, or an observer that came or went: the next turn will tell.
        if count == 0 || since * 3 < turn * 2 || since * 3 > turn * 4 {
            return None;
        }
        // Newest first, the n-th should be n steps old. What they are older than that in the mean, this one should be, too.
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX / 64);
        let older = |(n, age): (u32, &Duration)| ms(*age).saturating_sub(ms(interval * n));
        let sum = (0..).zip(&ages).map(older).fold(0, i64::saturating_add);
        let early = sum / i64::from(count);
        let told = u32::try_from(early.unsigned_abs()).ok()?;
        let told = if early > 0 { (told, 0) } else { (0, told) };
        let (later, way) = shift(told, turn);
        if let Some((_, at)) = self.pings.back_mut() {
            *at = if later { now + way } else { now - way };
        }
        Some(told)
    }

    /// How long ago each observer pinged last, newest first, as far as that is less than `most`.
    fn ages(&self, now: Time, most: Duration) -> Vec<Duration> {
        let mut seen: Vec<NodeId> = Vec::new();
        let mut ages = Vec::new();
        for (id, at) in self.pings.iter().rev() {
            let age = now.since(*at);
            if age < most && !seen.contains(id) {
                seen.push(*id);
                ages.push(age);
            }
        }
        ages.sort_unstable();
        ages
    }
}

/// How far an observer moves its next ping, and whether that is later: as it was told, by a quarter of its turn at most.
pub(super) fn shift((earlier, later): (u32, u32), turn: Duration) -> (bool, Duration) {
    let way = Duration::from_millis(u64::from(earlier.abs_diff(later)));
    (later > earlier, way.min(turn / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    /// The gaps between the pings of five observers that first pinged at `at`, after so many turns.
    fn gaps(at: [u64; 5], turns: usize) -> Vec<u128> {
        let turn = INTERVAL * 5;
        let mut next = at.map(|ms| Time::START + Duration::from_millis(ms));
        let mut spacing = Spacing::default();
        for _ in 0..5 * turns {
            let who = (0..5).min_by_key(|n| next[*n]).expect("five");
            let now = next[who];
            next[who] = now + turn;
            let id = NodeId([u8::try_from(who).expect("small"); 16]);
            if let Some(gaps) = spacing.pinged(id, INTERVAL, now) {
                let (later, way) = shift(gaps, turn);
                next[who] = if later {
                    next[who] + way
                } else {
                    next[who] - way
                };
            }
        }
        next.sort();
        let pairs = next.windows(2);
        pairs.map(|two| two[1].since(two[0]).as_millis()).collect()
    }

    #[test]
    fn observers_that_start_together_spread_out_within_three_turns() {
        let gaps = gaps([0, 1, 2, 3, 4], 5);
        assert!(gaps.iter().all(|gap| (160..=240).contains(gap)), "{gaps:?}");
    }

    #[test]
    fn one_that_came_anew_finds_its_place_within_two_turns() {
        let gaps = gaps([0, 210, 390, 600, 610], 4);
        assert!(gaps.iter().all(|gap| (185..=215).contains(gap)), "{gaps:?}");
    }

    #[test]
    fn even_distances_stay_even() {
        assert_eq!(gaps([0, 200, 400, 600, 800], 50), [200; 4]);
    }

    #[test]
    fn a_repeated_ping_moves_nobody() {
        let mut spacing = Spacing::default();
        let id = |n| NodeId([n; 16]);
        let at = |ms| Time::START + Duration::from_millis(ms);
        for n in 0..5_u8 {
            spacing.pinged(id(n), INTERVAL, at(u64::from(n) * 200));
        }
        assert_eq!(spacing.pinged(id(0), INTERVAL, at(1_000)), Some((0, 0)));
        assert_eq!(spacing.pinged(id(0), INTERVAL, at(1_050)), None);
        assert_eq!(spacing.pinged(id(0), INTERVAL, at(1_050)), None);
    }
}
