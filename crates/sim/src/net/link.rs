//! How packets fare on one link: how long they take, and what may go wrong on the way.

use super::burst::Burst;
use rand::{Rng, RngExt};
use std::time::Duration;

/// How packets fare between two places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// The least time from one end to the other.
    pub one_way: Duration,
    /// What comes on top at random, as a share of `one_way`; `shape` says how it is distributed.
    pub jitter: f64,
    /// How that is distributed.
    pub shape: Shape,
    /// Share of packets lost, independently.
    pub loss: f64,
    /// Times at which more is lost.
    pub burst: Option<Burst>,
    /// Share of packets that arrive twice.
    pub duplicate: f64,
    /// Share of packets that are overtaken: they take up to four times as long.
    pub reorder: f64,
    /// Bytes a second that fit: of one sender inside a datacenter, of all together between two.
    pub rate: Option<u64>,
}

/// A distribution of what a packet takes beyond the least time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Anything up to the share, equally likely.
    #[default]
    Uniform,
    /// Exponential, the share on average: a queue that is sometimes long.
    Exponential,
    /// Pareto with index 2, the share on average: rare packets are very late.
    Pareto,
}

impl Link {
    /// A link without loss.
    pub const fn new(one_way: Duration) -> Self {
        Self {
            one_way,
            jitter: 0.2,
            shape: Shape::Uniform,
            loss: 0.0,
            burst: None,
            duplicate: 0.0,
            reorder: 0.01,
            rate: None,
        }
    }

    /// The same with loss.
    #[must_use]
    pub const fn losing(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// The same, every packet taking exactly as long as every other.
    #[must_use]
    pub const fn steady(self) -> Self {
        Self {
            jitter: 0.0,
            reorder: 0.0,
            ..self
        }
    }

    /// How long one packet is under way.
    pub(super) fn flight(&self, dice: &mut impl Rng) -> Duration {
        let mut share = 1.0;
        if self.jitter > 0.0 {
            // In (0, 1]: its logarithm and its root are finite.
            let luck = 1.0 - dice.random::<f64>();
            share += self.jitter
                * match self.shape {
                    Shape::Uniform => luck,
                    Shape::Exponential => -luck.ln(),
                    Shape::Pareto => 1.0 / luck.sqrt() - 1.0,
                };
        }
        if self.reorder > 0.0 && dice.random_bool(self.reorder) {
            share += 3.0 * dice.random::<f64>();
        }
        self.one_way.mul_f64(share)
    }
}

/// The links of a world, by the nearest place that both ends share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// Between two nodes of one rack.
    pub rack: Link,
    /// Between racks of one zone.
    pub zone: Link,
    /// Between zones of one datacenter.
    pub datacenter: Link,
    /// Between datacenters.
    pub wan: Link,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            rack: Link::new(Duration::from_micros(200)),
            zone: Link::new(Duration::from_micros(400)),
            datacenter: Link::new(Duration::from_micros(600)),
            wan: Link::new(Duration::from_millis(40)),
        }
    }
}

impl Links {
    /// The same share of loss on everything inside datacenters.
    #[must_use]
    pub const fn losing_on_lan(mut self, loss: f64) -> Self {
        self.rack.loss = loss;
        self.zone.loss = loss;
        self.datacenter.loss = loss;
        self
    }

    /// The same link everywhere inside datacenters.
    #[must_use]
    pub const fn lan(mut self, link: Link) -> Self {
        self.rack = link;
        self.zone = link;
        self.datacenter = link;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    #[test]
    fn jitter_has_the_shape_that_was_asked_for() {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let mut mean_and_most = |shape| {
            let link = Link {
                shape,
                jitter: 1.0,
                reorder: 0.0,
                ..Link::new(Duration::from_millis(1))
            };
            let flights: Vec<f64> = (0..20_000)
                .map(|_| link.flight(&mut dice).as_secs_f64() * 1e3)
                .collect();
            let most = flights.iter().copied().fold(0.0, f64::max);
            (flights.iter().sum::<f64>() / flights.len() as f64, most)
        };
        let (mean, most) = mean_and_most(Shape::Uniform);
        assert!((1.48..1.52).contains(&mean) && most <= 2.0, "{mean} {most}");
        let (mean, most) = mean_and_most(Shape::Exponential);
        assert!((1.95..2.05).contains(&mean) && most > 6.0, "{mean} {most}");
        let (mean, most) = mean_and_most(Shape::Pareto);
        assert!((1.8..2.2).contains(&mean) && most > 30.0, "{mean} {most}");
    }
}
