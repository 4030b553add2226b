//! The table of bugs, and the sources with all of them in: each edit replaces a text that its file has exactly once.

use serde::Deserialize;
use std::{collections::BTreeMap, fs, ops::Range, path::Path};

/// Where the tables are, from the root of the sources.
const TABLES: &str = "crates/sim/seeded";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    bug: Vec<Bug>,
}

/// A mistake that somebody could make.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bug {
    /// What switches it on.
    pub(crate) name: String,
    /// Which invariant it should trip, and how.
    pub(crate) breaks: String,
    /// Whether it takes liars to be seen.
    #[serde(default)]
    pub(crate) hostile: bool,
    /// What is changed.
    pub(crate) edit: Vec<Edit>,
}

/// One change of one file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// Which, from the root of the sources.
    pub(crate) file: String,
    /// What stands there, once.
    pub(crate) find: String,
    /// What stands there then: the same unless the bug is switched on.
    pub(crate) replace: String,
}

/// All bugs, table by table.
pub(crate) fn read(tree: &Path) -> Result<Vec<Bug>, String> {
    let told = |why: std::io::Error| format!("{TABLES}: {why}");
    let mut files: Vec<_> = fs::read_dir(tree.join(TABLES))
        .map_err(told)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    files.sort();
    let mut bugs = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(told)?;
        let table: Table =
            toml::from_str(&text).map_err(|why| format!("{}: {why}", file.display()))?;
        bugs.extend(table.bug);
    }
    Ok(bugs)
}

/// Where, what to, and which bug it is.
type Change<'a> = (Range<usize>, &'a str, &'a str);

/// The files that change, with all bugs in them. An error names the bug that does not fit.
pub(crate) fn edited(tree: &Path, bugs: &[Bug]) -> Result<BTreeMap<String, String>, String> {
    let mut changes: BTreeMap<&str, Vec<Change<'_>>> = BTreeMap::new();
    let mut texts = BTreeMap::new();
    for bug in bugs {
        for edit in &bug.edit {
            let file = edit.file.as_str();
            if !texts.contains_key(file) {
                let text = fs::read_to_string(tree.join(file));
                texts.insert(
                    file,
                    text.map_err(|why| format!("{}: {file}: {why}", bug.name))?,
                );
            }
            let place = place(&texts[file], &edit.find).ok_or_else(|| {
                format!(
                    "{}: {file} does not have this once: {}",
                    bug.name, edit.find
                )
            })?;
            let change = (place, edit.replace.as_str(), bug.name.as_str());
            changes.entry(file).or_default().push(change);
        }
    }
    let mut edited = BTreeMap::new();
    for (file, mut changes) in changes {
        changes.sort_by_key(|(place, ..)| place.start);
        let mut pairs = changes.windows(2);
        if let Some([_, (_, _, bug)]) = pairs.find(|two| two[0].0.end > two[1].0.start) {
            return Err(format!("{bug}: {file} is changed there already"));
        }
        let mut text = texts[file].clone();
        for (place, replace, _) in changes.into_iter().rev() {
            text.replace_range(place, replace);
        }
        edited.insert(file.to_owned(), text);
    }
    Ok(edited)
}

/// Where a text stands in another, if it stands there once.
pub(crate) fn place(text: &str, find: &str) -> Option<Range<usize>> {
    let mut places = text.match_indices(find);
    let (at, found) = places.next()?;
    places.next().is_none().then(|| at..at + found.len())
}
