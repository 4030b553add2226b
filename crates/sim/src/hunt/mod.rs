//! The search for faults: worlds in which things go wrong at random while checkers look on.
//!
//! A [`Schedule`] is drawn from a seed ([`draw`]), played ([`play`]) under everything that `safety`, `wire` and `verdict` check
//! after each step and `liveness` asks once all has healed, and if something must not be, made as small as possible
//! ([`shrink`]). [`hunt`] does that many times. The same seed is the same schedule, and the same schedule the same life, on
//! every machine.

mod audit;
mod draw;
mod liar;
mod liveness;
mod play;
mod safety;
mod schedule;
mod shrink;
mod truth;
mod verdict;
mod wire;

pub use draw::draw;
pub use play::{Outcome, play};
pub use safety::Violation;
pub use schedule::{Event, Fault, Liar, Schedule, Shaped, Trick, Weather};
pub use shrink::shrink;

pub(crate) use liar::send;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// One in so many schedules is played again, and with all clocks ahead: the same seed must give the same life.
const TWICE: u64 = 50;

/// What to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// How many schedules.
    pub schedules: u64,
    /// Seed of the first; the others follow.
    pub seed: u64,
    /// Whether some members mean harm.
    pub hostile: bool,
    /// Whether to stop at the first that fails, as it is.
    pub fail_fast: bool,
    /// How many are played at once.
    pub jobs: usize,
}

/// A schedule that failed, as small as it could be made.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// What was seen first.
    pub first: Violation,
    /// The small schedule.
    pub schedule: Schedule,
    /// What comes of that.
    pub outcome: Outcome,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Schedules played.
    pub played: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Real time so far.
    pub took: Duration,
    /// The longest that a world took to settle, and whose.
    pub slowest: Option<(Duration, u64)>,
}

impl Progress {
    /// Schedules an hour.
    pub fn per_hour(&self) -> f64 {
        self.played as f64 / self.took.as_secs_f64().max(1e-3) * 3_600.0
    }
}

/// Plays many schedules. `tell` hears of every one played, with what was found in it.
pub fn hunt(search: &Search, tell: impl FnMut(&Progress, Option<&Finding>) + Send) -> Progress {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let shared = Mutex::new((Progress::default(), tell));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= search.schedules {
                break;
            }
            let seed = search.seed.wrapping_add(number);
            let twice = number.is_multiple_of(TWICE);
            let (settled, finding) = try_one(seed, search, twice);
            if finding.is_some() && search.fail_fast {
                next.store(search.schedules, Ordering::Relaxed);
            }
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (progress, tell) = &mut *shared;
            progress.played += 1;
            progress.failed += u64::from(finding.is_some());
            progress.took = began.elapsed();
            progress.slowest = progress.slowest.max(settled.map(|took| (took, seed)));
            tell(progress, finding.as_ref());
        }
    };
    // One job is done here, where its time is counted.
    if search.jobs <= 1 {
        work();
    } else {
        thread::scope(|scope| {
            for _ in 0..search.jobs {
                scope.spawn(work);
            }
        });
    }
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    shared.0
}

fn try_one(seed: u64, search: &Search, twice: bool) -> (Option<Duration>, Option<Finding>) {
    let schedule = draw(seed, search.hostile);
    let mut outcome = play(&schedule);
    if twice && outcome.violation.is_none() {
        let again = play(&schedule);
        if again.hash != outcome.hash {
            outcome.violation = Some(Violation {
                invariant: "I-34 the same seed gives the same life",
                at: Duration::ZERO,
                detail: format!("{:016x} and {:016x}", outcome.hash, again.hash),
            });
        }
    }
    if twice && outcome.violation.is_none() {
        let ahead = schedule.with_clocks_ahead().map(|ahead| play(&ahead));
        if let Some(ahead) = ahead.filter(|ahead| ahead.hash != outcome.hash) {
            outcome.violation = Some(Violation {
                invariant: "I-27 wall clocks decide no order",
                at: Duration::ZERO,
                detail: format!("{:016x} and {:016x}", outcome.hash, ahead.hash),
            });
        }
    }
    let Some(first) = outcome.violation.clone() else {
        return (outcome.settled, None);
    };
    let (schedule, outcome) = if search.fail_fast {
        (schedule, outcome)
    } else {
        shrink(&schedule, &outcome)
    };
    let finding = Finding {
        seed,
        first,
        schedule,
        outcome,
    };
    (None, Some(finding))
}
