//! Links that carry only so many bytes a second: what does not fit waits, and what would wait too long is dropped.

use pelago_proto::time::Time;
use std::{collections::BTreeMap, time::Duration};

/// Longest queue in front of a link, as routers keep them.
const LONGEST: Duration = Duration::from_millis(250);

/// Which sender's (or pair of datacenters') share of which kind of link.
pub(super) type PipeId = (u32, u32, u8);

/// Until when each narrow link is busy with what it was given.
#[derive(Debug, Default)]
pub(super) struct Pipes(BTreeMap<PipeId, Time>);

impl Pipes {
    /// How long a packet waits and takes to be sent; `None` if the queue is full.
    pub(super) fn pass(
        &mut self,
        id: PipeId,
        rate: u64,
        bytes: usize,
        now: Time,
    ) -> Option<Duration> {
        let busy = self.0.entry(id).or_insert(now);
        let wait = busy.since(now);
        if wait > LONGEST {
            return None;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        *busy = now + wait + takes;
        Some(wait + takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_and_then_is_dropped() {
        let mut pipes = Pipes::default();
        let mut pass = |at| pipes.pass((0, 0, 0), 100_000, 1_000, Time::from_micros(at));
        assert_eq!(pass(0), Some(Duration::from_millis(10)));
        assert_eq!(pass(0), Some(Duration::from_millis(20)));
        let waiting = (0..100).filter(|_| pass(0).is_some()).count();
        assert_eq!(waiting, 24, "a quarter of a second fits");
        assert!(pass(1_000_000).is_some(), "it drains");
    }
}
