//! `hunt` and `replay`: the search for faults on the command line.

use crate::cli::print;
use clap::Args;
use pelago_sim::hunt::{self, Finding, Progress, Schedule, Search, Violation};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// What to search.
#[derive(Args, Debug)]
pub(crate) struct HuntArgs {
    /// How many schedules
    #[arg(long, default_value_t = 1_000)]
    schedules: u64,
    /// Seed of the first; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Some members have valid certificates and mean harm
    #[arg(long)]
    hostile: bool,
    /// Schedules at once; as many as there are processors if this is not said
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop at the first that fails, without making it small
    #[arg(long)]
    fail_fast: bool,
    /// Where what failed is saved
    #[arg(long, default_value = ".")]
    save: PathBuf,
}

/// What to play again.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// Schedules, TOML, as `hunt` saves them
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Plays random schedules.
pub(crate) fn hunt(args: &HuntArgs) -> Result<ExitCode, String> {
    let HuntArgs {
        schedules,
        seed,
        hostile,
        fail_fast,
        ..
    } = *args;
    let jobs = args
        .jobs
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let search = Search {
        schedules,
        seed,
        hostile,
        fail_fast,
        jobs,
    };
    let kind = if hostile { "hostile" } else { "honest" };
    say(&format!(
        "{schedules} {kind} schedules from seed {seed}, {jobs} at once"
    ));
    // A panic is a finding like any other, and is printed with it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut shown = Instant::now();
    let progress = hunt::hunt(&search, |progress, finding| {
        if let Some(finding) = finding {
            say(&format!("\n{}", described(finding, hostile)));
            let file = args.save.join(file_name(finding, hostile));
            match write(&file, &finding.schedule) {
                Ok(()) => say(&format!("saved as {}", file.display())),
                Err(problem) => say(&format!("not saved: {problem}")),
            }
        }
        if shown.elapsed() >= SHOWN_EVERY {
            shown = Instant::now();
            say(&line(progress));
        }
    });
    say(&line(&progress));
    if let Some((took, seed)) = progress.slowest {
        say(&format!(
            "slowest to settle: {:.1} s, seed {seed}",
            took.as_secs_f64()
        ));
    }
    Ok(ExitCode::from(u8::from(progress.failed > 0)))
}

/// Plays saved schedules again.
pub(crate) fn replay(args: &ReplayArgs) -> Result<ExitCode, String> {
    let mut failed = false;
    for file in &args.files {
        let (name, text) = (file.display(), fs::read_to_string(file));
        let text = text.map_err(|problem| format!("{name}: {problem}"))?;
        let schedule: Schedule = toml::from_str(&text).map_err(|why| format!("{name}: {why}"))?;
        let outcome = hunt::play(&schedule);
        match &outcome.violation {
            Some(violation) => {
                failed = true;
                say(&format!("{name}: {violation}\n{}", outcome.report));
            }
            None => {
                let settled = outcome.settled.unwrap_or_default().as_secs_f64();
                say(&format!(
                    "{name}: nothing wrong; settled after {settled:.1} s"
                ));
            }
        }
        say(&format!("log hash {:016x}", outcome.hash));
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn line(progress: &Progress) -> String {
    format!(
        "{} played, {} failed, {:.0} an hour",
        progress.played,
        progress.failed,
        progress.per_hour()
    )
}

fn described(finding: &Finding, hostile: bool) -> String {
    let small = finding
        .outcome
        .violation
        .as_ref()
        .map(Violation::to_string)
        .unwrap_or_default();
    let events = finding.schedule.events.len();
    let nodes = finding.schedule.nodes().len();
    format!(
        "FAILED: seed {}{}\n  {}\n  made small, {nodes} nodes and {events} events: {small}",
        finding.seed,
        if hostile { " (hostile)" } else { "" },
        finding.first,
    )
}

fn file_name(finding: &Finding, hostile: bool) -> String {
    let kind = if hostile { "hostile-" } else { "" };
    format!("{kind}{}.toml", finding.seed)
}

fn write(file: &Path, schedule: &Schedule) -> Result<(), String> {
    let text = toml::to_string(schedule).map_err(|why| why.to_string())?;
    fs::write(file, text).map_err(|why| format!("{}: {why}", file.display()))
}

fn say(line: &str) {
    print(&format!("{line}\n"));
}
