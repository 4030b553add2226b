//! Local health (Lifeguard, arXiv 1707.00788 §IV-A): a node that fails at its own duties distrusts itself first.
//!
//! The score stretches its probe interval and its patience alike: stretching only one of them makes probes overlap.

use std::time::Duration;

/// Highest score: intervals and timeouts at most nine times as long.
pub const MAX: u8 = 8;

/// 0 = healthy … [`MAX`].
#[derive(Clone, Copy, Debug)]
pub struct Health {
    score: u8,
    most: u8,
}

impl Health {
    /// A healthy one; if not `counted`, it stays so.
    pub fn new(counted: bool) -> Self {
        Self {
            score: 0,
            most: if counted { MAX } else { 0 },
        }
    }

    /// The score.
    pub fn score(&self) -> u8 {
        self.score
    }

    /// A probe was answered.
    pub fn succeeded(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Something that is our own fault as likely as anybody's: missed nacks, a late loop, an accusation against us.
    pub fn failed(&mut self, by: u8) {
        self.score = self.score.saturating_add(by).min(self.most);
    }

    /// A duration stretched by the score.
    pub fn stretch(&self, duration: Duration) -> Duration {
        duration * (u32::from(self.score) + 1)
    }
}
