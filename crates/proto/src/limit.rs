//! Token buckets: limits delay, they never lose. What overflows arrives by repair.

use crate::time::Time;

/// A budget that refills steadily.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Time,
}

impl Bucket {
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
