//! Round-trip times, and the patience that follows from them (RFC 6298's estimator, with our bounds).

use std::time::Duration;

/// Smoothed round trip and its deviation, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rtt {
    smoothed: f32,
    deviation: f32,
    measured: bool,
}

impl Rtt {
    /// Takes a measurement in.
    pub(super) fn update(&mut self, sample: Duration) {
        let sample = sample.as_secs_f32();
        if self.measured {
            self.deviation = 0.75 * self.deviation + 0.25 * (self.smoothed - sample).abs();
            self.smoothed = 0.875 * self.smoothed + 0.125 * sample;
        } else {
            *self = Self {
                smoothed: sample,
                deviation: sample / 2.0,
                measured: true,
            };
        }
    }

    /// The smoothed round trip, if one was measured.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.measured
            .then(|| Duration::from_secs_f32(self.smoothed))
    }

    /// How long to wait for an answer: smoothed + 4 deviations, within bounds; `unknown` before the first measurement.
    pub(super) fn timeout(&self, least: Duration, most: Duration, unknown: Duration) -> Duration {
        if !self.measured {
            return unknown;
        }
        Duration::from_secs_f32(self.smoothed + 4.0 * self.deviation).clamp(least, most)
    }
}
