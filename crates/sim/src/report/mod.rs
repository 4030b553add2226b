//! What came of a run, as plain data: for tables, for JSON and for pages.

mod html;
mod plot;
mod table;

use crate::ledger::Wrong;
use serde::Serialize;
use std::time::Duration;

pub use html::page;
pub(crate) use table::number;
pub use table::{sheet, text};

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it was about.
    pub title: String,
    /// And in some more words.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// Nodes of each datacenter.
    pub datacenters: Vec<(String, usize)>,
    /// Virtual time of the timeline, seconds.
    pub seconds: f64,
    /// What was done.
    pub timeline: Vec<Done>,
    /// How fast it was noticed.
    pub spreads: Vec<Noticed>,
    /// The state of things over time.
    pub series: Vec<Point>,
    /// What was sent on average, by kind.
    pub traffic: Vec<Sent>,
    /// Signatures made, all nodes together.
    pub signed: u64,
    /// Signatures checked, all nodes together.
    pub verified: u64,
    /// Deaths reported of members that live.
    pub wrong_deaths: Wrong,
    /// Undisturbed members that anybody reported dead.
    pub wrongly_dead: usize,
    /// Suspicions of undisturbed members that live.
    pub wrong_suspicions: u64,
    /// All other suspicions.
    pub right_suspicions: u64,
    /// Wrong suspicions a second, scaled to 10,000 nodes.
    pub suspicion_rate: f64,
    /// Seats taken during the timeline.
    pub elected: u64,
    /// Seats given up.
    pub resigned: u64,
    /// Whether what was expected came true.
    pub expectations: Vec<Expectation>,
}

/// Something that was done to nodes.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// When, seconds since the timeline began.
    pub at: f64,
    /// What.
    pub what: String,
}

/// How something spread, over all times that it happened. Times are milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Noticed {
    /// What happened.
    pub cause: &'static str,
    /// What was noticed of it.
    pub seen: &'static str,
    /// By servers of other datacenters, not at home.
    pub abroad: bool,
    /// How often it happened.
    pub times: usize,
    /// Observers that should have noticed and did not.
    pub missing: usize,
    /// When the first observer noticed, each time.
    pub first: Cdf,
    /// When 99 in 100 observers had, each time.
    pub most: Cdf,
    /// When all observers had, each time.
    pub all: Cdf,
    /// When each observer noticed.
    pub each: Cdf,
}

impl Noticed {
    /// What happened, and what was noticed where.
    pub fn name(&self) -> String {
        let place = if self.abroad { " abroad" } else { "" };
        format!("{} → {}{place}", self.cause, self.seen)
    }
}

/// One look at the world.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// When, seconds since the timeline began.
    pub at: f64,
    /// Share of (observer, member) pairs whose status is not the truth.
    pub divergence: f64,
    /// Share of observers whose whole view is true.
    pub complete: f64,
    /// Bytes a second and node sent since the last look, by kind as in [`Report::traffic`].
    pub bytes: Vec<f64>,
    /// Suspicions and deaths reported since the last look, by all observers together.
    pub suspicions: u64,
    /// See `suspicions`.
    pub deaths: u64,
    /// Seats that were taken or given up since the last look.
    pub seats: u64,
}

/// What a kind of message takes.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    /// Which kind.
    pub kind: &'static str,
    /// Bytes a second and node, headers included.
    pub bytes: f64,
    /// Packets a second and node.
    pub packets: f64,
}

/// What a scenario expected.
#[derive(Clone, Debug, Serialize)]
pub struct Expectation {
    /// Of what.
    pub what: &'static str,
    /// At most this.
    pub most: f64,
    /// What it was; nothing if it never came about.
    pub was: Option<f64>,
    /// Whether that is good.
    pub met: bool,
}

/// Measurements in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cdf(Vec<f64>);

impl Cdf {
    /// Of these measurements.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// In milliseconds.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(
            times
                .into_iter()
                .map(|time| time.as_secs_f64() * 1e3)
                .collect(),
        )
    }

    /// The least measurement that this share of all do not exceed.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied()
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Steps of the curve, at most so many: (measurement, share that does not exceed it).
    pub fn steps(&self, most: usize) -> Vec<(f64, f64)> {
        let count = self.0.len();
        let shown = count.min(most.max(2));
        (0..shown)
            .filter_map(|step| {
                let index = if shown < 2 {
                    0
                } else {
                    step * (count - 1) / (shown - 1)
                };
                let value = self.0.get(index)?;
                Some((*value, (index + 1) as f64 / count as f64))
            })
            .collect()
    }
}

impl Extend<f64> for Cdf {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, values: T) {
        self.0.extend(values);
        self.0.sort_by(f64::total_cmp);
    }
}

impl Serialize for Cdf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Cdf", 6)?;
        out.serialize_field("count", &self.len())?;
        out.serialize_field("mean", &self.mean())?;
        out.serialize_field("median", &self.quantile(0.5))?;
        out.serialize_field("p99", &self.quantile(0.99))?;
        out.serialize_field("most", &self.quantile(1.0))?;
        out.serialize_field("steps", &self.steps(100))?;
        out.end()
    }
}

impl Report {
    /// Whether everything expected came true.
    pub fn is_as_expected(&self) -> bool {
        self.expectations.iter().all(|one| one.met)
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.datacenters.iter().map(|(_, nodes)| nodes).sum()
    }

    /// Bytes a second and node, all kinds together.
    pub fn bytes(&self) -> f64 {
        self.traffic.iter().map(|sent| sent.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let cdf = Cdf::new((1..=200).rev().map(f64::from).collect());
        assert_eq!(cdf.quantile(0.5), Some(100.0));
        assert_eq!(cdf.quantile(0.99), Some(198.0));
        assert_eq!(cdf.quantile(1.0), Some(200.0));
        assert_eq!(cdf.quantile(0.0), Some(1.0));
        assert_eq!(Cdf::default().quantile(0.5), None);
        assert_eq!(cdf.steps(3), [(1.0, 0.005), (100.0, 0.5), (200.0, 1.0)]);
        assert_eq!(Cdf::new(vec![5.0]).steps(10), [(5.0, 1.0)]);
    }
}
