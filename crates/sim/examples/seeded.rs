//! Puts all seeded bugs into a copy of the sources, and lists them: name, whether it takes liars, what it breaks. The script
//! `seeded/run` does the rest.

#[path = "../seeded/bugs.rs"]
mod bugs;

use std::{fs, path::PathBuf, process::ExitCode};

/// What switches them on and off. It exists in the copy only.
const SWITCH: &str = "
/// Whether this bug is switched on: one at most is, by the environment.
pub(crate) fn seeded(bug: &str) -> bool {
    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var(\"PELAGO_SEEDED\").unwrap_or_default()) == bug
}
";

fn main() -> ExitCode {
    let Some(tree) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeded DIRECTORY, a copy of the sources that is changed");
        return ExitCode::from(2);
    };
    match seed(&tree) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the list is for the script")]
fn seed(tree: &std::path::Path) -> Result<(), String> {
    let bugs = bugs::read(tree)?;
    let mut files = bugs::edited(tree, &bugs)?;
    let root = "crates/proto/src/lib.rs";
    let text = fs::read_to_string(tree.join(root)).map_err(|why| format!("{root}: {why}"))?;
    files.insert(root.to_owned(), text + SWITCH);
    for (file, text) in files {
        fs::write(tree.join(&file), text).map_err(|why| format!("{file}: {why}"))?;
    }
    for bug in bugs {
        let kind = if bug.hostile { "hostile" } else { "honest" };
        println!("{}\t{kind}\t{}", bug.name, bug.breaks);
    }
    Ok(())
}
