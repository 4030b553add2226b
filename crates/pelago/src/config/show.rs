//! `config show`: the values in force, written as the file that would produce them, each with who set it.

use super::{
    finding::{Origin, place},
    keys::{KEYS, Key},
    source::{Entry, Layers},
};
use std::fmt::Write;

/// The effective values. Keys that nobody set and that have no default are left out.
pub(crate) fn show(layers: &Layers, origin: bool) -> String {
    let mut out = String::new();
    let mut table = String::new();
    for (name, value, from) in KEYS.iter().flat_map(|key| lines(layers, key)) {
        let (head, leaf) = name.split_once('.').unwrap_or(("", &name));
        if head != table {
            let blank = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{blank}[{head}]");
            table = head.to_owned();
        }
        let line = format!("{leaf} = {value}");
        let _ = if origin {
            writeln!(out, "{line:<44} # {}", place(&from, &layers.sources))
        } else {
            writeln!(out, "{line}")
        };
    }
    out
}

fn lines(layers: &Layers, key: &Key) -> Vec<(String, String, Origin)> {
    let shown = |(path, entry): (&String, &Entry)| {
        (path.clone(), entry.value.to_string(), entry.origin.clone())
    };
    if let Some(prefix) = key.path.strip_suffix('*') {
        return layers
            .entries
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .map(shown)
            .collect();
    }
    match (layers.entries.get_key_value(key.path), key.default) {
        (Some(set), _) => vec![shown(set)],
        // Without the table there is no WAN, and so nothing to default.
        (None, Some(_)) if key.path.starts_with("wan.") && !has_wan(layers) => Vec::new(),
        (None, Some(default)) => key
            .kind
            .parse(default)
            .map(|value| (key.path.to_owned(), value.to_string(), Origin::Default))
            .into_iter()
            .collect(),
        (None, None) => Vec::new(),
    }
}

fn has_wan(layers: &Layers) -> bool {
    layers.tables.contains_key("wan") || layers.entries.keys().any(|path| path.starts_with("wan."))
}
