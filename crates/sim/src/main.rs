//! Measures detection, dissemination and traffic in virtual time: the numbers behind tuning.
//!
//! `pelago-sim SCENARIO [--nodes N] [--runs R] [--seed S] [--lan-loss SHARE] [--wan-loss SHARE] [--datacenters D]`

mod measure;

use measure::Options;
use std::process::ExitCode;

const USAGE: &str = "\
usage: pelago-sim SCENARIO [options]

scenarios
  kill       a process is killed: suspect and dead, by its closed port
  lost       a host is lost: suspect and dead, by its silence
  leave      a member leaves: one fresh claim spreads
  quiet      nothing happens: traffic, signatures, suspicions
  join       everybody starts at once: until everybody knows everybody
  pause      a quarter of the members pauses for 2 s: nobody should be dead

options
  --nodes N         members of each datacenter (100)
  --datacenters D   datacenters (1)
  --runs R          repetitions with consecutive seeds (10)
  --seed S          first seed (1)
  --lan-loss SHARE  loss inside datacenters, 0 to 1 (0)
  --wan-loss SHARE  loss between datacenters, 0 to 1 (0)
  --time SECONDS    virtual time for quiet (30)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments) {
        Ok(options) => {
            measure::run(&options, &mut std::io::stdout().lock());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
