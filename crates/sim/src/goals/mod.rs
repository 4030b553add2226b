//! The goals of the project as measurements: each row is an experiment, its figures are held against what must be and
//! what is aimed at, and the best published figure of others stands beside them.
//!
//! | file | rows |
//! |---|---|
//! | `spread` | 1–4, 16: how fast and how dear news is |
//! | `detect` | 5–7, 10: how fast the end of a process or host is known |
//! | `wrong` | 8, 9, 11, 17, 22: who is suspected or dies though it lives, and whatever else must not be |
//! | `load` | 12–15, 23: what joining, resting, changing and healing cost |
//! | `bench`, `turns` | what they have in common, and how they share the processor |
//! | `ablation` | what each mechanism buys |
//! | `limits` | how much room the limits leave |
//! | `topology` | what knowing racks and zones is worth |
//! | `page` | the figures as a table |

mod ablation;
mod bench;
mod detect;
mod limits;
mod load;
mod page;
mod revoke;
mod spread;
mod topology;
mod turns;
mod wrong;

use crate::{progress::Progress, report::Cdf};
use serde::Serialize;
use std::{sync::mpsc, thread};

pub use ablation::{ablate, table as ablation_table};
pub use bench::Bench;
pub use limits::{limits, table as limits_table};
pub use page::markdown;
pub use topology::{table as topology_table, topology};
pub(crate) use wrong::{LASTING, RESTS, RUNS, STARVED};

/// One row of the goals, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its number in the list of goals.
    pub number: u8,
    /// What is measured.
    pub measure: &'static str,
    /// The best published figure of anybody else.
    pub peer: &'static str,
    /// Our figures.
    pub figures: Vec<Figure>,
    /// Time that its experiments took of one core, seconds.
    pub took: f64,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Of what, and under which conditions.
    pub what: String,
    /// In what.
    pub unit: &'static str,
    /// One measurement for each time.
    pub values: Cdf,
    /// Times at which it did not come about at all.
    pub missing: usize,
    /// What must hold.
    pub must: Option<Bound>,
    /// What is aimed at.
    pub aim: Option<Bound>,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// No measurement is larger.
    Most(f64),
    /// Ninety-nine in a hundred are not larger.
    P99(f64),
    /// The mean is not larger.
    Mean(f64),
    /// No measurement is smaller.
    Least(f64),
}

/// How a figure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Met {
    /// What is aimed at.
    Aim,
    /// What must be.
    Must,
    /// Not even that.
    No,
    /// It is held against nothing.
    Untold,
}

impl Bound {
    /// Whether it holds.
    pub fn holds(self, values: &Cdf) -> bool {
        let at_most = |value: Option<f64>, most: f64| value.is_some_and(|value| value <= most);
        match self {
            Self::Most(most) => at_most(values.quantile(1.0), most),
            Self::P99(most) => at_most(values.quantile(0.99), most),
            Self::Mean(most) => at_most(values.mean(), most),
            Self::Least(least) => values.quantile(0.0).is_some_and(|value| value >= least),
        }
    }
}

impl Figure {
    /// A figure that is held against nothing yet.
    pub fn new(what: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            what: what.into(),
            unit,
            values: Cdf::new(values),
            missing: 0,
            must: None,
            aim: None,
        }
    }

    /// A figure of things that may not come about.
    pub fn perhaps(what: impl Into<String>, unit: &'static str, values: &[Option<f64>]) -> Self {
        let there: Vec<f64> = values.iter().copied().flatten().collect();
        let missing = values.len() - there.len();
        Self {
            missing,
            ..Self::new(what, unit, there)
        }
    }

    /// What must hold.
    #[must_use]
    pub fn must(self, bound: Bound) -> Self {
        Self {
            must: Some(bound),
            ..self
        }
    }

    /// What is aimed at.
    #[must_use]
    pub fn aim(self, bound: Bound) -> Self {
        Self {
            aim: Some(bound),
            ..self
        }
    }

    /// How it stands.
    pub fn met(&self) -> Met {
        let holds = |bound: Option<Bound>| {
            bound.is_some_and(|bound| self.missing == 0 && bound.holds(&self.values))
        };
        if holds(self.aim) && (self.must.is_none() || holds(self.must)) {
            Met::Aim
        } else if holds(self.must) {
            Met::Must
        } else if self.must.is_none() && self.aim.is_none() {
            Met::Untold
        } else {
            Met::No
        }
    }
}

/// An experiment.
type Experiment = fn(&Bench) -> Vec<Figure>;

/// A row before it is measured: number, measure, best peer, experiment.
type Plain = (u8, &'static str, &'static str, Experiment);

const ROWS: [Plain; 20] = [
    (
        1,
        "rounds to 99 % / 100 % of 1,000 nodes",
        "7.7 (Serf formula)",
        spread::thousand,
    ),
    (
        2,
        "rounds, 10,000 nodes, fan-out 3, also at 5 % loss",
        "9.0 / 10.6 (push)",
        spread::ten_thousand,
    ),
    (
        3,
        "news to 99 % of 10,000 nodes in one LAN",
        "1,840 ms (Serf formula)",
        spread::one_lan,
    ),
    (
        4,
        "news to 99 % of 3 regions × 2,000",
        "~1.2–1.8 s (modelled ticks)",
        spread::three_regions,
    ),
    (
        5,
        "host lost → dead at 99 %",
        "10.4–18.7 s (memberlist)",
        detect::lost,
    ),
    (6, "crash → suspect at 99 %", "~1 s", detect::suspect),
    (
        7,
        "process killed (port closed) → dead at 99 %",
        "none does it",
        detect::killed,
    ),
    (
        8,
        "healthy members declared dead, pauses of 2 s on 25 % of nodes",
        "88 % of single pauses (memberlist rules at 200 ms, N = 128)",
        wrong::pauses,
    ),
    (
        9,
        "Lifeguard interval grid, 128 nodes, 4,320 runs: false positives all / at healthy",
        "5,193 / 25 (Lifeguard)",
        wrong::grid,
    ),
    (
        10,
        "10 of 1,000 crash at once",
        "1 change at ~30 s (Rapid); ≥ 10 at ~15 s (memberlist)",
        detect::ten_at_once,
    ),
    (
        11,
        "1 % of nodes with bad links",
        "Rapid removes exactly those",
        wrong::bad_links,
    ),
    (
        12,
        "2,000 nodes bootstrap from one seed",
        "54 s (Rapid), 97 s (memberlist)",
        load::bootstrap,
    ),
    (
        13,
        "bytes/node/s sent, quiet, 5 probes/s",
        "640 B/s at 1 probe/s",
        load::quiet,
    ),
    (
        14,
        "bytes/node/s, 10,000 nodes, 10 changes/s",
        "~26 KB/s",
        load::changes,
    ),
    (
        15,
        "one region of three cut off for 5 min, 10 changes/s",
        "2,000 wrongly dead; 210–300 s",
        load::region_cut,
    ),
    (
        16,
        "WAN exchanges against uniform gossip",
        "31× fewer (Demers)",
        spread::exchanges,
    ),
    (
        17,
        "suspicions/s, 10,000 nodes, 1 % / 5 % loss",
        "0.096 / 49 (formula)",
        wrong::suspicions,
    ),
    (
        20,
        "revocation to 99 % of 10,000 nodes in 3 regions",
        "none does it",
        revoke::three_regions,
    ),
    (
        22,
        "simulated fault schedules in which an invariant failed",
        "–",
        wrong::schedules,
    ),
    (
        23,
        "simulator speed, 3 × 2,000 nodes, 10 changes/s, virtual ÷ real time",
        "–",
        load::speed,
    ),
];

/// What is not measured here, and why.
pub const LEFT_OUT: [(u8, &str); 3] = [
    (18, "CPU per node: a matter of real processes"),
    (19, "resident memory: a matter of real processes"),
    (21, "forged packets: a matter of real sockets"),
];

/// The numbers of all rows.
pub fn numbers() -> impl Iterator<Item = u8> {
    ROWS.iter().map(|(number, ..)| *number)
}

/// Rows that take longest, which therefore begin first.
const LONGEST: [u8; 9] = [2, 9, 8, 4, 5, 17, 11, 7, 10];
/// Rows that are measured once everything else is done: what runs beside them would change their figures.
const ALONE: [u8; 1] = [23];

/// Measures rows; all of them if none is named. `each` is called with every row as it is done, in any order; returned they are in the
/// order of their numbers.
pub fn measure(wanted: &[u8], bench: &Bench, mut each: impl FnMut(&Row)) -> Vec<Row> {
    let wanted = |plain: &&Plain| wanted.is_empty() || wanted.contains(&plain.0);
    let (alone, mut together): (Vec<&Plain>, Vec<&Plain>) = ROWS
        .iter()
        .filter(wanted)
        .partition(|plain| ALONE.contains(&plain.0));
    together.sort_by_key(|plain| rank(plain.0));
    let mut rows: Vec<Row> = thread::scope(|scope| {
        let (done, rows) = mpsc::channel();
        for plain in together {
            let done = done.clone();
            scope.spawn(move || done.send(measure_one(plain, bench)));
        }
        drop(done);
        rows.into_iter().inspect(&mut each).collect()
    });
    for plain in alone {
        let row = measure_one(plain, bench);
        each(&row);
        rows.push(row);
    }
    rows.sort_by_key(|row| row.number);
    rows
}

fn rank(number: u8) -> usize {
    let longest = LONGEST.iter().position(|row| *row == number);
    longest.unwrap_or(LONGEST.len())
}

fn measure_one(plain: &Plain, bench: &Bench) -> Row {
    let (number, measure, peer, experiment) = *plain;
    let bench = bench.beside(&format!("row {number}"), rank(number));
    let figures = experiment(&bench);
    Row {
        number,
        measure,
        peer,
        figures,
        took: bench.worked(),
    }
}

impl Bench {
    /// For runs by people: progress on stderr.
    pub fn on_stderr(quick: bool, most_nodes: Option<usize>, at_once: usize) -> Self {
        Self::new(quick, most_nodes, at_once, Progress::on_stderr("goals"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_held_against_their_bounds() {
        let figure = |values: &[f64]| {
            Figure::new("x", "ms", values.to_vec())
                .must(Bound::Most(10.0))
                .aim(Bound::Mean(2.0))
        };
        assert_eq!(figure(&[1.0, 2.0]).met(), Met::Aim);
        assert_eq!(figure(&[1.0, 9.0]).met(), Met::Must);
        assert_eq!(figure(&[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 11.0]).met(), Met::No);
        assert_eq!(figure(&[]).met(), Met::No);
        assert_eq!(Figure::new("x", "ms", vec![1.0]).met(), Met::Untold);
        let sometimes = Figure::perhaps("x", "ms", &[Some(1.0), None]).must(Bound::Most(5.0));
        assert_eq!((sometimes.met(), sometimes.missing), (Met::No, 1));
        assert!(Bound::Least(100.0).holds(&Cdf::new(vec![100.0, 200.0])));
    }

    #[test]
    fn every_row_of_the_list_is_measured_or_left_out_with_a_reason() {
        let mut all: Vec<u8> = numbers()
            .chain(LEFT_OUT.map(|(number, _)| number))
            .collect();
        all.sort_unstable();
        assert_eq!(all, (1..=23).collect::<Vec<u8>>());
    }
}
