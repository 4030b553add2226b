//! How observers of one member keep an even distance without a common clock.
//!
//! Each member tells an observer how long before its ping another observer's came, and how long after its previous ping the
//! next one's; the observer moves towards the middle. The idea is DESYNC's (Degesys, Rose, Patel, Nagpal, IPSN 2007), with
//! the member instead of a broadcast medium as the witness.

use crate::{identity::NodeId, time::Time};
use std::{collections::VecDeque, time::Duration};

/// Pings remembered: enough for two rounds of all observers.
const REMEMBERED: usize = 16;
/// Gaps beyond this say nothing.
const FAR: Duration = Duration::from_secs(5);

/// Observers' pings, as their target sees them.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    pings: VecDeque<(NodeId, Time)>,
}

impl Spacing {
    /// Notes a ping; returns the gaps before it and after the same observer's previous one, in milliseconds.
    pub(super) fn pinged(&mut self, from: NodeId, now: Time) -> Option<(u32, u32)> {
        let before = self
            .pings
            .iter()
            .rev()
            .find(|(id, _)| *id != from)
            .map(|(_, at)| now.since(*at));
        let previous = self.pings.iter().rposition(|(id, _)| *id == from);
        let after = previous.and_then(|at| {
            let (_, then) = self.pings.get(at)?;
            let next = self.pings.iter().skip(at + 1).find(|(id, _)| *id != from)?;
            Some(next.1.since(*then))
        });
        if self.pings.len() == REMEMBERED {
            self.pings.pop_front();
        }
        self.pings.push_back((from, now));
        let (before, after) = (before?, after?);
        let ms = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
        (before < FAR && after < FAR).then(|| (ms(before), ms(after)))
    }
}

/// How far an observer should move its next ping: later if the gap before it is the smaller. Half of the way to the
/// middle, a quarter of the interval at most, so that several observers moving at once settle.
pub(super) fn shift((before, after): (u32, u32), interval: Duration) -> (bool, Duration) {
    let way = Duration::from_millis(u64::from(before.abs_diff(after)) / 4);
    (after >= before, way.min(interval / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observers_that_start_together_spread_out() {
        let interval = Duration::from_millis(1_000);
        let ids: Vec<NodeId> = (0..5_u8).map(|n| NodeId([n; 16])).collect();
        let mut next: Vec<Time> = (0..5)
            .map(|n| Time::START + Duration::from_millis(n))
            .collect();
        let mut spacing = Spacing::default();
        for _ in 0..5 * 60 {
            let at = (0..5).min_by_key(|n| next[*n]).unwrap();
            let now = next[at];
            next[at] = now + interval;
            if let Some(gaps) = spacing.pinged(ids[at], now) {
                let (later, way) = shift(gaps, interval);
                next[at] = if later {
                    next[at] + way
                } else {
                    next[at] - way
                };
            }
        }
        next.sort();
        let gaps: Vec<u128> = next
            .windows(2)
            .map(|w| w[1].since(w[0]).as_millis())
            .collect();
        assert!(gaps.iter().all(|g| (150..=250).contains(g)), "{gaps:?}");
    }
}
