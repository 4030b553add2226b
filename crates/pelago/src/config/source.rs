//! From files, environment and flags to one map of values, each with who set it. Later ones win; arrays replace.

use super::{
    finding::{Finding, Origin, Source},
    keys::{self, Kind},
    value::Value,
};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};
use toml::{Spanned, de::DeTable, de::DeValue};

/// No configuration is larger; reading stops there.
const MAX_FILE: u64 = 1024 * 1024;

/// A value and who set it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Everything that was set, by path, and what was wrong on the way.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) sources: Vec<Source>,
    pub(crate) findings: Vec<Finding>,
    /// Tables that appear in a file, even if empty: `[wan]` alone says something.
    pub(crate) tables: BTreeMap<String, Origin>,
}

impl Layers {
    /// Reads a file, or all `*.toml` of a directory in lexicographic order.
    pub(crate) fn add_path(&mut self, path: &Path) {
        if !path.is_dir() {
            return self.add_file(path);
        }
        match files_in(path) {
            Ok(files) if files.is_empty() => {
                self.complain(format!("{} holds no *.toml file", path.display()))
            }
            Ok(files) => files.iter().for_each(|file| self.add_file(file)),
            Err(error) => self.complain(format!("cannot read {}: {error}", path.display())),
        }
    }

    fn complain(&mut self, title: String) {
        self.findings.push(Finding::error(Origin::Default, title));
    }

    fn add_file(&mut self, path: &Path) {
        match read_limited(path) {
            Ok(text) => self.add_text(path.to_owned(), text),
            Err(error) => self.complain(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Takes the text of a file.
    pub(crate) fn add_text(&mut self, path: PathBuf, text: String) {
        let source = self.sources.len();
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let origin = Origin::File {
                source,
                span: error.span().unwrap_or_default(),
            };
            self.findings
                .push(Finding::error(origin, "this is not TOML").label(error.message()));
        }
        self.walk("", table.get_ref(), source, &folder);
        self.sources.push(Source { path, text });
    }

    fn walk(&mut self, prefix: &str, table: &DeTable<'_>, source: usize, folder: &Path) {
        for (name, raw) in table {
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let here = Origin::File {
                source,
                span: name.span(),
            };
            match (keys::find(&path), raw.get_ref()) {
                (Some(key), _) => self.leaf(path, key.kind, raw, source, folder),
                (None, DeValue::Table(inner)) if keys::is_table(&path) => {
                    self.tables.insert(path.clone(), here);
                    self.walk(&path, inner, source, folder);
                }
                (None, other) if keys::is_table(&path) => {
                    let label = format!("expected a table `[{path}]`, found {}", other.type_str());
                    self.findings
                        .push(Finding::error(here, format!("`{path}` is a table")).label(label));
                }
                (None, _) => self.findings.push(unknown(here, &path)),
            }
        }
    }

    fn leaf(
        &mut self,
        path: String,
        kind: Kind,
        raw: &Spanned<DeValue<'_>>,
        source: usize,
        folder: &Path,
    ) {
        match kind.read(raw) {
            Ok(value) => {
                let origin = Origin::File {
                    source,
                    span: raw.span(),
                };
                self.entries.insert(
                    path,
                    Entry {
                        value: anchored(value, folder),
                        origin,
                    },
                );
            }
            Err(complaints) => {
                for complaint in complaints {
                    let span = complaint.span.unwrap_or_else(|| raw.span());
                    let found = Finding::error(
                        Origin::File { source, span },
                        format!("wrong value for `{path}`"),
                    );
                    self.findings.push(Finding {
                        help: complaint.help,
                        ..found.label(complaint.message)
                    });
                }
            }
        }
    }

    /// Takes a value that was given as text, by the environment or a flag.
    pub(crate) fn set(&mut self, path: &str, text: &str, origin: Origin) {
        let Some(key) = keys::find(path) else {
            return self.findings.push(unknown(origin, path));
        };
        match key.kind.parse(text) {
            Ok(value) => {
                self.entries
                    .insert(path.to_owned(), Entry { value, origin });
            }
            Err(complaint) => {
                let found = Finding::error(origin, format!("wrong value for `{path}`"));
                self.findings.push(Finding {
                    help: complaint.help,
                    ..found.label(complaint.message)
                });
            }
        }
    }

    /// Takes `key=value` as `--set` gives it.
    pub(crate) fn add_flag(&mut self, flag: &str) {
        let origin = Origin::Flag(format!("--set {flag}"));
        match flag.split_once('=') {
            Some((path, text)) => self.set(path.trim(), text.trim(), origin),
            None => self
                .findings
                .push(Finding::error(origin, "expected --set KEY=VALUE")),
        }
    }
}

fn unknown(origin: Origin, path: &str) -> Finding {
    let found = Finding::error(origin, format!("unknown key `{path}`"));
    match keys::nearest(path) {
        Some(known) => found.help(format!("did you mean `{known}`?")),
        None => found,
    }
}

/// Relative paths in a file are meant from its folder; elsewhere from where the process was started.
fn anchored(value: Value, folder: &Path) -> Value {
    match value {
        Value::Path(path) if !path.as_os_str().is_empty() => Value::Path(folder.join(path)),
        other => other,
    }
}

fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    Ok(files)
}

fn read_limited(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(
            "larger than 1 MiB, which no configuration is",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(texts: &[&str]) -> Layers {
        let mut layers = Layers::default();
        for (number, text) in texts.iter().enumerate() {
            layers.add_text(
                format!("/etc/pelago/{number}.toml").into(),
                (*text).to_owned(),
            );
        }
        layers
    }

    #[test]
    fn later_files_win_tables_merge_arrays_replace() {
        let merged = layers(&[
            "[wan]\nseats = 1\njoin = [\"a\", \"b\"]\n[node]\ntags = { team = \"core\", tier = \"x\" }",
            "[wan]\njoin = [\"c\"]\n[node.tags]\ntier = \"y\"",
        ]);
        assert_eq!(merged.findings, []);
        assert_eq!(merged.entries["wan.seats"].value, Value::Count(1));
        assert_eq!(
            merged.entries["wan.join"].value,
            Value::Names(vec!["c".into()])
        );
        assert_eq!(
            merged.entries["node.tags.team"].value,
            Value::Text("core".into())
        );
        assert_eq!(
            merged.entries["node.tags.tier"].value,
            Value::Text("y".into())
        );
    }

    #[test]
    fn every_mistake_of_a_file_is_found_at_once() {
        let found = layers(&[
            "[lan]\nprobe_intervall = 1\nport = \"x\"\nallow = [\"10.0.0.0/8\", \"10.0.0.1/8\", 7]\n[wlan]\na = 1\nnode = 3",
        ]);
        let titles: Vec<_> = found
            .findings
            .iter()
            .map(|finding| finding.title.as_str())
            .collect();
        assert_eq!(titles.len(), 5, "{titles:?}");
        assert!(
            found
                .findings
                .iter()
                .any(|finding| finding.help.as_deref() == Some("did you mean `lan`?"))
        );
    }

    #[test]
    fn broken_toml_is_reported_with_its_place() {
        let found = layers(&["[node]\nname = \n[wan\n"]);
        assert!(
            found
                .findings
                .iter()
                .any(|finding| finding.title == "this is not TOML")
        );
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let found = layers(&["[pki]\nca = \"ca.pem\"\nkey = \"/k\""]);
        assert_eq!(
            found.entries["pki.ca"].value,
            Value::Path("/etc/pelago/ca.pem".into())
        );
        assert_eq!(found.entries["pki.key"].value, Value::Path("/k".into()));
    }

    #[test]
    fn a_directory_is_read_in_order_and_large_files_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("b.toml"), "[wan]\nseats = 5").expect("written");
        fs::write(dir.path().join("a.toml"), "[wan]\nseats = 1").expect("written");
        fs::write(dir.path().join("c.txt"), "nonsense").expect("written");
        let mut found = Layers::default();
        found.add_path(dir.path());
        assert_eq!(found.entries["wan.seats"].value, Value::Count(5));
        fs::write(dir.path().join("d.toml"), "#".repeat(2 * 1024 * 1024)).expect("written");
        found.add_path(dir.path());
        assert!(
            found
                .findings
                .iter()
                .any(|finding| finding.title.contains("larger than 1 MiB"))
        );
    }
}
