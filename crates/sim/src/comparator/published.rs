//! Lifeguard's published tables beside what the comparators do here: if SWIM itself came out differently, nothing else
//! that the simulator says could be believed.

use super::{arena, swim::Config};
use crate::{
    goals::{LASTING, RESTS, RUNS, STARVED},
    progress::Progress,
    report::{Cdf, number, sheet},
};
use serde::Serialize;
use std::time::Duration;

/// A published figure and ours.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Of what.
    pub what: String,
    /// As published.
    pub published: f64,
    /// Here.
    pub ours: f64,
}

impl Line {
    /// How far off we are, in percent of what was published.
    pub fn deviation(&self) -> f64 {
        100.0 * (self.ours / self.published - 1.0)
    }
}

/// Name, configuration; table V: first detection and full dissemination (median, 99 %, 99.9 %, s); tables IV and VI: FP,
/// FP−, messages and bytes of an agent in a second.
type Published = (&'static str, Config, [f64; 6], [f64; 4]);

const fn only(probe: bool, suspicion: bool, buddies: bool) -> Config {
    Config {
        local_health: probe,
        long_suspicion: suspicion,
        buddies,
        ..Config::swim()
    }
}

const TABLES: [Published; 5] = [
    (
        "SWIM",
        Config::swim(),
        [12.44, 16.96, 19.40, 12.90, 16.93, 20.17],
        [339_002.0, 1_326.0, 6.19, 2_278.0],
    ),
    (
        "LHA-Probe",
        only(true, false, false),
        [12.42, 17.75, 20.10, 12.90, 17.98, 20.56],
        [229_574.0, 436.0, 6.10, 2_050.0],
    ),
    (
        "LHA-Suspicion",
        only(false, true, false),
        [12.42, 17.47, 25.41, 12.89, 17.33, 23.80],
        [10_174.0, 89.0, 6.89, 2_426.0],
    ),
    (
        "Buddy System",
        only(false, false, true),
        [12.45, 17.12, 19.16, 12.92, 17.18, 19.81],
        [318_935.0, 591.0, 6.20, 2_255.0],
    ),
    (
        "Lifeguard",
        Config::lifeguard(),
        [12.45, 17.90, 21.20, 12.91, 18.05, 21.68],
        [5_193.0, 25.0, 6.85, 2_231.0],
    ),
];

/// Runs both experiments: the threshold one `repeats` times for each size, the interval grid in `cells` of its 432 cells.
pub fn compare(repeats: u64, cells: usize, progress: &mut Progress) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, config, times, counts) in TABLES {
        progress.begin(name);
        let (mut first, mut full) = (Cdf::default(), Cdf::default());
        for seed in 0..repeats {
            progress.at(
                seed as f64 / repeats as f64 / 4.0,
                format_args!("threshold"),
            );
            for (at, starved) in STARVED.into_iter().enumerate() {
                let seed = seed * 100 + at as u64;
                let found = arena::threshold(seed, config, starved, Duration::from_millis(32_768));
                let [a, b] = found.map(|cdf| cdf.steps(usize::MAX));
                first.extend(a.into_iter().map(|(ms, _)| ms / 1e3));
                full.extend(b.into_iter().map(|(ms, _)| ms / 1e3));
            }
        }
        let measures = [(&first, "first detection"), (&full, "full dissemination")];
        for (measure, (cdf, what)) in measures.into_iter().enumerate() {
            for (at, (share, word)) in [(0.5, "median"), (0.99, "99 %"), (0.999, "99.9 %")]
                .into_iter()
                .enumerate()
            {
                lines.push(Line {
                    what: format!("{name}: {what}, {word}, s"),
                    published: times[measure * 3 + at],
                    ours: cdf.quantile(share).unwrap_or(f64::NAN),
                });
            }
        }
        let ours = grid(config, cells, progress);
        for (what, (published, ours)) in [
            "false positives",
            "at healthy",
            "messages/agent/s",
            "bytes/agent/s",
        ]
        .into_iter()
        .zip(counts.into_iter().zip(ours))
        {
            lines.push(Line {
                what: format!("{name}: {what}"),
                published,
                ours,
            });
        }
    }
    progress.end();
    lines
}

/// Some cells of the grid at equal distances, scaled to all of its runs.
fn grid(config: Config, cells: usize, progress: &mut Progress) -> [f64; 4] {
    let mut sums = [0.0; 4];
    for run in 0..cells {
        progress.at(
            0.25 + 0.75 * run as f64 / cells as f64,
            format_args!("interval, run {run} of {cells}"),
        );
        let cell = run * 432 / cells;
        let (starved, lasting, rest) = (STARVED[cell / 48], LASTING[cell / 8 % 6], RESTS[cell % 8]);
        let millis = Duration::from_millis;
        let one = arena::interval(run as u64, config, starved, millis(lasting), millis(rest));
        let values = [
            one.wrong as f64,
            one.at_healthy as f64,
            one.packets,
            one.bytes,
        ];
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value / cells as f64;
        }
    }
    [sums[0] * RUNS, sums[1] * RUNS, sums[2], sums[3]]
}

/// The comparison for people.
pub fn text(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.what.clone(),
                number(line.published),
                number(line.ours),
                format!("{:+.0} %", line.deviation()),
            ]
        })
        .collect();
    sheet(
        &[
            "Lifeguard (DSN-W 2018), tables IV–VI",
            "published",
            "here",
            "deviation",
        ],
        &rows,
    )
}
