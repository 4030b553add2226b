//! The scenarios that are shipped: all of them are well written, and what the quick ones expect comes true.

use pelago_sim::{
    Progress, report,
    scenario::{Overrides, Scenario},
};

fn load(name: &str) -> Scenario {
    let file = format!("{}/scenarios/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).expect("the file is there");
    Scenario::parse(name, &text).unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn all_files_are_well_written_and_listed() {
    let folder = format!("{}/scenarios", env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).expect("there is one");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let name = entry.expect("readable").file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".toml") {
            load(&name);
            assert!(readme.contains(&*name), "README.md does not list {name}");
            files += 1;
        }
    }
    assert!(files >= 9, "{files} files");
}

#[test]
fn what_is_expected_comes_true() {
    for name in [
        "churn.toml",
        "region-cut.toml",
        "swizzle.toml",
        "zone-lost.toml",
    ] {
        let report = load(name).play(Overrides::default(), &mut Progress::silent());
        assert!(report.is_as_expected(), "{name}\n{}", report::text(&report));
        let page = report::page(&report);
        assert!(page.contains("<svg") && !page.contains("NaN"), "{name}");
    }
}

/// The large ones, small.
#[test]
fn what_is_expected_of_large_worlds_comes_true_in_small_ones() {
    for name in [
        "rounds-1000.toml",
        "rounds-10000.toml",
        "rounds-10000-lossy.toml",
    ] {
        let overrides = Overrides {
            seed: None,
            nodes: Some(60),
        };
        let report = load(name).play(overrides, &mut Progress::silent());
        assert!(report.is_as_expected(), "{name}\n{}", report::text(&report));
    }
}

#[test]
fn one_seed_one_report() {
    let scenario = load("churn.toml");
    let json = |seed| {
        let overrides = Overrides {
            seed: Some(seed),
            nodes: Some(40),
        };
        let report = scenario.play(overrides, &mut Progress::silent());
        serde_json::to_string(&report).expect("plain data")
    };
    assert_eq!(json(3), json(3));
    assert_ne!(json(3), json(4));
}
