//! Bugs to be put in on purpose (`seeded/run`): that they still fit the code, without building them.

#[path = "../seeded/bugs.rs"]
mod bugs;

use bugs::Bug;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

fn tree() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn every_bug_still_has_its_place() {
    let all = bugs::read(tree()).expect("the tables are sound");
    assert!(all.len() >= 40, "only {} are left", all.len());
    let names: BTreeSet<&str> = all.iter().map(|bug| bug.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "two bugs have one name");
    let hostile = all.iter().filter(|bug| bug.hostile).count();
    assert!((1..all.len()).contains(&hostile), "{hostile} take liars");
    for Bug {
        name, breaks, edit, ..
    } in &all
    {
        assert!(breaks.starts_with("I-"), "{name} says what it breaks");
        let switch = format!("crate::seeded(\"{name}\")");
        let switched = |edit: &bugs::Edit| edit.replace.contains(&switch);
        assert!(edit.iter().all(switched), "{name} can be switched off");
    }
    // Each place is there once, and no two bugs are in one place.
    let changed = bugs::edited(tree(), &all).expect("all of them fit at once");
    assert!(!changed.is_empty());
}

#[test]
fn a_bug_that_lost_its_place_is_noticed() {
    let mut all = bugs::read(tree()).expect("the tables are sound");
    all[0].edit[0].find.push_str(" not there");
    let why = bugs::edited(tree(), &all).expect_err("it is noticed");
    assert!(why.contains(&all[0].name), "{why}");
    // Twice is as bad as never.
    let twice = BTreeMap::from([("a", "one two one")]);
    assert!(bugs::place(twice["a"], "one").is_none());
    assert_eq!(bugs::place(twice["a"], "two"), Some(4..7));
}
