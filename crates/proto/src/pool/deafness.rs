//! Silence that was our own is not held against others.
//!
//! Starved or cut off, a node finds the others again one after the other. Whoever answers a moment later than the first must not be
//! accused of what everybody was silent for: two in the same position would make a verdict against somebody who runs.

use super::{Pool, detector::Watch};
use crate::time::Time;
use std::time::Duration;

/// Silence of so many for so long is ours. Longer than a few lost packets take, shorter than what is held against others.
const DEAF: Duration = Duration::from_secs(1);

impl Pool {
    /// Somebody answered. If nobody had, whomever we asked, the silence was ours.
    pub(super) fn reached(&mut self, now: Time) {
        let silence = now.since(self.detector.reached);
        self.detector.reached = now;
        let missed = std::mem::take(&mut self.detector.missed).len();
        if silence >= DEAF && missed > 1 && missed >= self.detector.watches.len() {
            self.count_anew(|_| true);
        }
    }

    /// Somebody came, went, or stands differently. What was counted while fewer than half of the others were unaccused counts for
    /// nothing: those who were cut off together hear each other, and accuse everybody else. Of each only once while it is silent: where half
    /// are lost, one that comes and goes would keep all of them from being found dead.
    pub(super) fn weigh(&mut self, now: Time) {
        if !self.in_majority() {
            self.detector.apart.get_or_insert(now);
        } else if let Some(since) = self.detector.apart.take()
            && now.since(since) >= DEAF
        {
            self.count_anew(|watch| !std::mem::replace(&mut watch.anew, true));
        }
    }

    fn count_anew(&mut self, whose: impl Fn(&mut Watch) -> bool) {
        if !self.profile.tuning.deafness {
            return;
        }
        self.tally.deaf += 1;
        let silent = |watch: &&mut Watch| watch.silent_since.is_some();
        for watch in self.detector.watches.values_mut().filter(silent) {
            if whose(watch) {
                watch.silent_since = None;
                watch.last_try = None;
            }
        }
    }
}
