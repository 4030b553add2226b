//! `PELAGO_WAN__SEATS=3`: the environment as a layer of configuration. Unknown names warn, for they may be slips.

use super::{
    finding::{Finding, Origin},
    keys,
    source::Layers,
};

const PREFIX: &str = "PELAGO_";
/// Read elsewhere: where the command line finds its agent, and the log filter.
const RESERVED: [&str; 2] = ["PELAGO_ADDRESS", "PELAGO_LOG"];

/// Takes every variable that begins with `PELAGO_`.
pub(crate) fn add(layers: &mut Layers, variables: impl Iterator<Item = (String, String)>) {
    let mut variables: Vec<_> = variables
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort();
    for (name, text) in variables {
        if RESERVED.contains(&name.as_str()) {
            continue;
        }
        let path = name
            .strip_prefix(PREFIX)
            .unwrap_or(&name)
            .replace("__", ".")
            .to_lowercase();
        if keys::find(&path).is_some() {
            layers.set(&path, &text, Origin::Env(name));
        } else {
            layers.findings.push(unknown(name, &path));
        }
    }
}

fn unknown(name: String, path: &str) -> Finding {
    let found = Finding::warning(
        Origin::Env(name.clone()),
        format!("unknown variable {name}, ignored"),
    );
    // One underscore where two belong is the likeliest slip.
    let split = path.replacen('_', ".", 1);
    match keys::find(&split)
        .map(|key| key.path)
        .or_else(|| keys::nearest(path))
        .map(variable)
    {
        Some(known) => found.help(format!("did you mean {known}?")),
        None => found,
    }
}

fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;

    fn read(variables: &[(&str, &str)]) -> Layers {
        let mut layers = Layers::default();
        add(
            &mut layers,
            variables
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned())),
        );
        layers
    }

    #[test]
    fn double_underscores_are_dots() {
        let layers = read(&[
            ("PELAGO_WAN__SEATS", "5"),
            ("PELAGO_LAN__JOIN", "a,b"),
            ("PELAGO_NODE__TAGS__TEAM", "core"),
            ("PELAGO_ADDRESS", "http://x"),
            ("PELAGO_LOG", "debug"),
            ("HOME", "/"),
        ]);
        assert_eq!(layers.findings, []);
        assert_eq!(layers.entries["wan.seats"].value, Value::Count(5));
        assert_eq!(
            layers.entries["lan.join"].value,
            Value::Names(vec!["a".into(), "b".into()])
        );
        assert_eq!(
            layers.entries["node.tags.team"].value,
            Value::Text("core".into())
        );
    }

    #[test]
    fn slips_are_warnings_with_a_suggestion() {
        let layers = read(&[("PELAGO_WAN_SEATS", "3"), ("PELAGO_WAN__SEETS", "3")]);
        assert_eq!(layers.findings.len(), 2);
        for finding in layers.findings {
            assert!(!finding.fatal);
            assert_eq!(
                finding.help.as_deref(),
                Some("did you mean PELAGO_WAN__SEATS?")
            );
        }
    }
}
