//! Token buckets: limits delay, they never lose. What overflows arrives by repair.

use crate::time::Time;
use std::ops::Mul;

/// How much may come in: so much a second in the long run, so much at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once, after a rest.
    pub burst: f64,
}

impl Rate {
    /// `per_second` in the long run, what `seconds` of rest save up at once.
    pub const fn new(per_second: f64, seconds: f64) -> Self {
        Self {
            per_second,
            burst: per_second * seconds,
        }
    }
}

impl Mul<f64> for Rate {
    type Output = Self;
    fn mul(self, times: f64) -> Self {
        Self {
            per_second: self.per_second * times,
            burst: self.burst * times,
        }
    }
}

/// What a node looks at of what others bring. Each is several times what honest traffic was measured to need, so that only
/// floods meet them; `pelago-sim limits` measures it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Claims of one signer that are taken in.
    pub signer: Rate,
    /// Signatures checked for one peer, who relays everybody's.
    pub relay: Rate,
    /// Signatures checked in all: a tenth of a core.
    pub verifications: Rate,
    /// Introductions of strangers, whom no peer vouches for.
    pub introductions: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            signer: Rate::new(50.0, 4.0),
            relay: Rate::new(200.0, 5.0),
            verifications: Rate::new(2_000.0, 2.0),
            introductions: Rate::new(400.0, 1.0),
        }
    }
}

impl Mul<f64> for Limits {
    type Output = Self;
    fn mul(self, times: f64) -> Self {
        Self {
            signer: self.signer * times,
            relay: self.relay * times,
            verifications: self.verifications * times,
            introductions: self.introductions * times,
        }
    }
}

/// A budget that refills steadily.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Time,
}

impl Bucket {
    /// A full bucket that refills steadily.
    pub fn of(rate: Rate, now: Time) -> Self {
        Self::new(rate.per_second, rate.burst, now)
    }

    /// A full bucket of `burst` tokens that refills at `per_second`.
    pub fn new(per_second: f64, burst: f64, now: Time) -> Self {
        Self {
            tokens: burst,
            burst,
            per_second,
            at: now,
        }
    }

    fn refill(&mut self, now: Time) {
        self.tokens =
            (self.tokens + now.since(self.at).as_secs_f64() * self.per_second).min(self.burst);
        self.at = self.at.max(now);
    }

    /// Takes `cost` tokens if they are there.
    pub fn take(&mut self, cost: f64, now: Time) -> bool {
        self.refill(now);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }

    /// Takes `cost` tokens even into debt, if the bucket is not in debt yet: for costs known only afterwards.
    pub fn charge(&mut self, cost: f64, now: Time) {
        self.refill(now);
        self.tokens -= cost;
    }

    /// Whether anything is left.
    pub fn open(&mut self, now: Time) -> bool {
        self.refill(now);
        self.tokens > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut bucket = Bucket::new(10.0, 5.0, Time::START);
        assert_eq!((0..20).filter(|_| bucket.take(1.0, Time::START)).count(), 5);
        let later = Time::START + Duration::from_secs(1);
        assert_eq!((0..20).filter(|_| bucket.take(1.0, later)).count(), 5);
        assert!(bucket.take(1.0, later + Duration::from_millis(100)));
    }
}
