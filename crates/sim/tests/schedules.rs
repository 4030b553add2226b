//! Every schedule that once led to something that must not be, played again. `docs/track-record.md` tells their stories.

use pelago_sim::hunt::{Event, Fault, Schedule, draw, play};
use std::{fs, path::Path};

fn schedules() -> Vec<(String, Schedule)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("the directory is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("readable");
            let name = file.display().to_string();
            let schedule = toml::from_str(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
            (name, schedule)
        })
        .collect()
}

#[test]
fn what_once_went_wrong_goes_well() {
    let mut wrong = String::new();
    for (name, schedule) in schedules() {
        let outcome = play(&schedule);
        if let Some(violation) = outcome.violation {
            wrong.push_str(&format!("{name}: {violation}\n{}\n", outcome.report));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_schedule_is_the_same_after_saving_and_a_replay_the_same_life() {
    for hostile in [false, true] {
        let schedule = draw(7, hostile);
        let text = toml::to_string(&schedule).expect("it can be saved");
        let again: Schedule = toml::from_str(&text).expect("and read");
        assert_eq!(again, schedule);
        assert_eq!(play(&again), play(&schedule));
    }
}

#[test]
fn random_schedules_go_well() {
    for seed in 0..10 {
        for hostile in [false, true] {
            let outcome = play(&draw(seed, hostile));
            let violation = outcome.violation;
            assert_eq!(violation, None, "seed {seed}\n{}", outcome.report);
        }
    }
}

#[test]
fn wall_clocks_decide_nothing() {
    for seed in 0..6 {
        let mut schedule = draw(seed, false);
        let judges = |event: &Event| {
            matches!(
                event.fault,
                Fault::Clock { .. } | Fault::Renew { .. } | Fault::Revoke { .. }
            )
        };
        schedule.events.retain(|event| !judges(event));
        let ahead = schedule.with_clocks_ahead().expect("nothing judges");
        assert_eq!(play(&ahead).hash, play(&schedule).hash, "seed {seed}");
    }
}
