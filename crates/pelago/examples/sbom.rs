//! What the release binary is made of, as CycloneDX 1.5: `cargo run --example sbom > sbom.json`.
//!
//! Lists the crates that are linked for one target, from cargo's own resolution, with the hashes of the lock file. Generators that
//! read the lock file alone also name what features and targets leave out.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io::Write,
    path::Path,
    process::Command,
};

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "x86_64-unknown-linux-musl".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args([
            "tree",
            "--locked",
            "--package",
            "pelago",
            "--edges",
            "normal",
        ])
        .args([
            "--prefix", "none", "--format", "{p}|{l}", "--target", &target,
        ])
        .current_dir(&root)
        .output()?;
    if !tree.status.success() {
        return Err(String::from_utf8_lossy(&tree.stderr).into());
    }
    let lock: toml::Table = std::fs::read_to_string(root.join("Cargo.lock"))?.parse()?;
    let bom = bom(&String::from_utf8(tree.stdout)?, &checksums(&lock), &target)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&bom)?)?;
    Ok(())
}

/// Name, version and SHA-256 of every crate that came from a registry.
fn checksums(lock: &toml::Table) -> BTreeMap<(String, String), String> {
    let packages = lock.get("package").and_then(|it| it.as_array());
    packages
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let text = |key| Some(package.get(key)?.as_str()?.to_owned());
            Some(((text("name")?, text("version")?), text("checksum")?))
        })
        .collect()
}

fn bom(
    tree: &str,
    checksums: &BTreeMap<(String, String), String>,
    target: &str,
) -> Result<Value, String> {
    // Macros run in the compiler; nothing of theirs is in the binary. What repeats is marked with a star.
    let linked: BTreeSet<&str> = tree
        .lines()
        .filter(|line| !line.contains("(proc-macro)"))
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let mut components = Vec::new();
    let mut own = None;
    for line in linked {
        let (package, licence) = line.split_once('|').ok_or("a line without a licence")?;
        let mut words = package.split_whitespace();
        let name = words.next().ok_or("a line without a name")?;
        let version = words.next().unwrap_or_default().trim_start_matches('v');
        let mut component = json!({
            "type": "library",
            "name": name,
            "version": version,
            // Older crates write a slash where SPDX has OR.
            "licenses": [{ "expression": licence.replace('/', " OR ") }],
        });
        if name == "pelago" {
            component["type"] = "application".into();
            own = Some(component);
            continue;
        }
        if let Some(hash) = checksums.get(&(name.to_owned(), version.to_owned())) {
            component["purl"] = format!("pkg:cargo/{name}@{version}").into();
            component["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
        } else if !name.starts_with("pelago-") {
            return Err(format!("{name} {version} has no checksum in Cargo.lock"));
        }
        components.push(component);
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": own.ok_or("the program itself is missing")?,
            "properties": [{ "name": "target", "value": target }],
        },
        "components": components,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "pelago v0.1.0 (/src/crates/pelago)|MIT\nquinn v0.11.12|MIT OR Apache-2.0\n\
                        serde_derive v1.0.0 (proc-macro)|MIT\nquinn v0.11.12|MIT OR Apache-2.0 (*)\nold v1.0.0|MIT/Apache-2.0\n";

    fn known() -> BTreeMap<(String, String), String> {
        [("quinn", "0.11.12"), ("old", "1.0.0")]
            .map(|(name, version)| ((name.to_owned(), version.to_owned()), "ab".to_owned()))
            .into()
    }

    #[test]
    fn each_linked_crate_is_listed_once_and_macros_are_not() {
        let bom = bom(TREE, &known(), "x").expect("a bill of materials");
        let names: Vec<_> = bom["components"]
            .as_array()
            .expect("components")
            .iter()
            .map(|it| it["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, ["old", "quinn"]);
        assert_eq!(
            bom["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(bom["metadata"]["component"]["name"], "pelago");
    }

    #[test]
    fn a_crate_of_unknown_origin_is_an_error() {
        let mut known = known();
        known.remove(&("old".to_owned(), "1.0.0".to_owned()));
        assert!(bom(TREE, &known, "x").is_err());
    }
}
