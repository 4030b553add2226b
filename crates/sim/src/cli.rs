//! The command line of `pelago-sim`.

use crate::search;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pelago_sim::{
    Progress,
    comparator::published,
    goals::{self, Bench},
    report,
    scenario::{Overrides, Scenario},
};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Whole federations in virtual time: what happens to them, and how they take it.
#[derive(Debug, Parser)]
#[command(
    name = "pelago-sim",
    version,
    after_help = "Examples:\n  \
        pelago-sim run crates/sim/scenarios/region-cut.toml -o html > report.html\n  \
        pelago-sim goals --quick --row 5           how long until a lost host counts as dead\n\n\
        Exit codes: 0 ok, 1 something expected did not come true, 2 usage or a bad file"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario file and report
    Run(RunArgs),
    /// Others' protocols in the same network, beside what was published about them
    Compare(CompareArgs),
    /// What each mechanism buys: the same experiments with one switched off at a time
    Ablate {
        /// Nodes of each pool
        #[arg(long, default_value_t = 128)]
        nodes: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What knowing racks and zones is worth: the same faults where all nodes claim to stand in one rack
    Topology {
        /// Nodes of each pool
        #[arg(long, default_value_t = 600)]
        nodes: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// How much room the limits leave: honest busy times with ever smaller budgets
    Limits {
        /// Nodes of each of the three datacenters
        #[arg(long, default_value_t = 200)]
        nodes: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure the rows of the project's goals
    Goals(GoalsArgs),
    /// Play random fault schedules while checkers look on; what fails is made small and saved
    Hunt(search::HuntArgs),
    /// Play saved schedules again
    Replay(search::ReplayArgs),
    /// How large a world can be: speed, memory, and where both go
    Scale(crate::scale::ScaleArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The scenario, TOML; crates/sim/scenarios/README.md documents the format
    file: PathBuf,
    /// Another seed than the file's
    #[arg(long)]
    seed: Option<u64>,
    /// So many nodes in all, spread as the file spreads its own
    #[arg(long)]
    nodes: Option<usize>,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Args, Debug)]
struct CompareArgs {
    /// Repetitions of the threshold experiment for each number of starved nodes
    #[arg(long, default_value_t = 10)]
    repeats: u64,
    /// Cells of the interval grid, of 432
    #[arg(long, default_value_t = 432)]
    cells: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct GoalsArgs {
    /// Only this row; may be given several times
    #[arg(long = "row", value_name = "N")]
    rows: Vec<u8>,
    /// Smaller pools and fewer repetitions: ten minutes instead of hours
    #[arg(long)]
    quick: bool,
    /// Worlds at once; as many as there are cores if not said. A world of 10,000 nodes takes 9 GB of memory
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// No pool larger than this
    #[arg(long, value_name = "N")]
    most_nodes: Option<usize>,
    /// How to print the figures
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: GoalsFormat,
}

/// How to print goals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum GoalsFormat {
    /// The table of docs/measured.md
    #[default]
    Markdown,
    /// For programs
    Json,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For terminals
    #[default]
    Table,
    /// For programs
    Json,
    /// One self-contained page with plots
    Html,
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => scenario(&args),
        Command::Compare(args) => compare(&args),
        Command::Ablate { nodes, json } => ablate(nodes, json),
        Command::Topology { nodes, json } => topology(nodes, json),
        Command::Limits { nodes, json } => limits(nodes, json),
        Command::Goals(args) => measure_goals(&args),
        Command::Hunt(args) => search::hunt(&args),
        Command::Replay(args) => search::replay(&args),
        Command::Scale(args) => scale(&args),
    };
    done.unwrap_or_else(|problem| {
        let _ = writeln!(std::io::stderr().lock(), "error: {problem}");
        ExitCode::from(2)
    })
}

fn scenario(args: &RunArgs) -> Result<ExitCode, String> {
    let file = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).map_err(|error| format!("{file}: {error}"))?;
    let scenario = Scenario::parse(&file, &text).map_err(|fault| fault.to_string())?;
    let overrides = Overrides {
        seed: args.seed,
        nodes: args.nodes,
    };
    let report = scenario.play(overrides, &mut Progress::on_stderr("starting"));
    print(&match args.output {
        Format::Table => report::text(&report),
        Format::Json => json(&report)?,
        Format::Html => report::page(&report),
    });
    Ok(if report.is_as_expected() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn compare(args: &CompareArgs) -> Result<ExitCode, String> {
    let cells = args.cells.clamp(1, 432);
    let mut progress = Progress::on_stderr("comparing");
    let lines = published::compare(args.repeats.max(1), cells, &mut progress);
    table_or_json(&lines, args.json, published::text(&lines))
}

fn ablate(nodes: usize, as_json: bool) -> Result<ExitCode, String> {
    let bench = Bench::on_stderr(true, None, cores());
    let lines = goals::ablate(&bench, nodes.max(16));
    table_or_json(&lines, as_json, goals::ablation_table(&lines))
}

fn topology(nodes: usize, as_json: bool) -> Result<ExitCode, String> {
    let bench = Bench::on_stderr(true, None, cores());
    let lines = goals::topology(&bench, nodes.max(120));
    table_or_json(&lines, as_json, goals::topology_table(&lines))
}

fn limits(nodes: usize, as_json: bool) -> Result<ExitCode, String> {
    let bench = Bench::on_stderr(true, None, cores());
    let rooms = goals::limits(&bench, nodes.max(10));
    table_or_json(&rooms, as_json, goals::limits_table(&rooms))
}

/// Prints figures for programs or for people.
fn table_or_json(
    figures: &impl serde::Serialize,
    as_json: bool,
    table: String,
) -> Result<ExitCode, String> {
    print(&if as_json { json(figures)? } else { table });
    Ok(ExitCode::SUCCESS)
}

fn measure_goals(args: &GoalsArgs) -> Result<ExitCode, String> {
    if let Some(unknown) = args
        .rows
        .iter()
        .find(|row| !goals::numbers().any(|number| number == **row))
    {
        let left_out = goals::LEFT_OUT.iter().find(|(number, _)| number == unknown);
        let why = left_out.map_or("there is no such row", |(_, why)| why);
        return Err(format!("row {unknown}: {why}"));
    }
    let at_once = args.jobs.unwrap_or_else(cores);
    let bench = Bench::on_stderr(args.quick, args.most_nodes, at_once);
    let rows = goals::measure(&args.rows, &bench, |row| {
        let _ = writeln!(
            std::io::stderr().lock(),
            "row {} took {:.0} s of one core",
            row.number,
            row.took
        );
    });
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo run --release -p pelago-sim -- {}", command.join(" "));
    print(&match args.output {
        GoalsFormat::Markdown => goals::markdown(&rows, &command),
        GoalsFormat::Json => json(&rows)?,
    });
    let failed = |row: &goals::Row| {
        row.figures
            .iter()
            .any(|one| one.must.is_some() && one.met() == goals::Met::No)
    };
    Ok(if rows.iter().any(failed) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn scale(args: &crate::scale::ScaleArgs) -> Result<ExitCode, String> {
    print(&crate::scale::run(args)?);
    Ok(ExitCode::SUCCESS)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

/// Prints data. A reader that has gone away is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
