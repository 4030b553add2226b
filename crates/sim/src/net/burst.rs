//! Loss that comes in bursts: Gilbert's and Elliott's channel, which is good most of the time and bad for a while.

use pelago_proto::time::Time;
use rand::{Rng, RngExt};
use std::{collections::BTreeMap, time::Duration};

/// How often a path turns bad, for how long, and what that means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Mean time between two bad times.
    pub every: Duration,
    /// Mean length of a bad time.
    pub lasting: Duration,
    /// Share of packets lost during it.
    pub loss: f64,
}

/// The paths that have been used, each on its own: whether it was bad, and when that was known.
#[derive(Debug, Default)]
pub(super) struct Channels(BTreeMap<(u32, u32), (bool, Time)>);

impl Channels {
    /// Whether a path loses a packet now.
    pub(super) fn loses(
        &mut self,
        burst: &Burst,
        path: (u32, u32),
        now: Time,
        dice: &mut impl Rng,
    ) -> bool {
        let (to_bad, to_good) = (
            burst.every.as_secs_f64().recip(),
            burst.lasting.as_secs_f64().recip(),
        );
        let often_bad = to_bad / (to_bad + to_good);
        let known = self.0.get(&path).copied();
        // A chain with two states forgets where it was at the sum of both rates.
        let bad = known.map_or(often_bad, |(was_bad, at)| {
            let memory = (-(to_bad + to_good) * now.since(at).as_secs_f64()).exp();
            often_bad + (f64::from(u8::from(was_bad)) - often_bad) * memory
        });
        let is_bad = dice.random_bool(bad.clamp(0.0, 1.0));
        self.0.insert(path, (is_bad, now));
        is_bad && dice.random_bool(burst.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    #[test]
    fn losses_cluster_and_add_up_to_the_share_of_bad_time() {
        let burst = Burst {
            every: Duration::from_secs(9),
            lasting: Duration::from_secs(1),
            loss: 1.0,
        };
        let mut channels = Channels::default();
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let lost: Vec<bool> = (0..100_000u64)
            .map(|n| channels.loses(&burst, (0, 1), Time::from_micros(n * 100_000), &mut dice))
            .collect();
        let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
        assert!((0.09..0.11).contains(&share), "{share}");
        let again = lost.windows(2).filter(|two| two[0] && two[1]).count() as f64;
        let after_a_loss = again / (share * lost.len() as f64);
        assert!(after_a_loss > 0.85, "{after_a_loss}");
    }
}
