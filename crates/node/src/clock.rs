//! The protocol's time, out of the machine's monotonic clock.
//!
//! `CLOCK_MONOTONIC` (what [`Instant`] reads) stands still while the machine is suspended but runs on while the process
//! is stopped: exactly what the protocol needs to see that it was paused.

use pelago_proto::time::Time;
use std::time::Instant;

/// Starts at [`Time::START`] when made; copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Time {
        Time::START + self.origin.elapsed()
    }

    /// The moment as tokio's timers want it.
    pub(crate) fn instant(self, at: Time) -> tokio::time::Instant {
        // A century from now stands in for "never"; adding more could overflow.
        let ahead = at
            .since(Time::START)
            .min(std::time::Duration::from_secs(100 * 365 * 24 * 3600));
        tokio::time::Instant::from_std(self.origin + ahead)
    }
}
