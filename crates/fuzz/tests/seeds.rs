//! A short run of every fuzz target: golden vectors as they are, and what random changes make of them.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::{fs, path::PathBuf};

/// Changed copies of each seed.
const ROUNDS: usize = 200;

fn seeds() -> Vec<Vec<u8>> {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/vectors");
    let mut seeds = Vec::new();
    for file in ["asks", "claims", "frames", "replies"] {
        let text = fs::read_to_string(vectors.join(file).with_extension("txt")).expect("vectors");
        seeds.extend(
            text.lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(_, hex)| unhex(hex)),
        );
    }
    assert!(seeds.len() > 20, "{}", seeds.len());
    seeds
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Flips, drops, doubles and splices, as a fuzzer would.
fn changed(seeds: &[Vec<u8>], seed: &[u8], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..dice.random_range(1..4) {
        let at = dice.random_range(0..bytes.len().max(1));
        match dice.random_range(0..5) {
            _ if bytes.is_empty() => bytes.push(dice.random()),
            0 => bytes[at] = dice.random(),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, dice.random()),
            3 => drop(bytes.remove(at)),
            _ => {
                let other = &seeds[dice.random_range(0..seeds.len())];
                bytes.splice(at.., other[at.min(other.len())..].iter().copied());
            }
        }
    }
    bytes
}

fn run(target: fn(&[u8]), prefix: impl Fn(&[u8], &mut ChaCha8Rng) -> Vec<u8>) {
    run_on(&seeds(), target, prefix);
}

fn run_on(
    seeds: &[Vec<u8>],
    target: fn(&[u8]),
    prefix: impl Fn(&[u8], &mut ChaCha8Rng) -> Vec<u8>,
) {
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    for seed in seeds {
        target(&prefix(seed, &mut dice));
        for _ in 0..ROUNDS {
            let bytes = changed(seeds, seed, &mut dice);
            target(&prefix(&bytes, &mut dice));
        }
    }
}

#[test]
fn claims() {
    run(pelago_fuzz::claim, |bytes, _| bytes.to_vec());
}

#[test]
fn frames() {
    run(pelago_fuzz::frame, |bytes, _| bytes.to_vec());
}

#[test]
fn certificates() {
    run(pelago_fuzz::certificate, |bytes, dice| {
        [&[dice.random()], bytes].concat()
    });
}

#[test]
fn pools() {
    // Three operations around each seed: it as some payload, and time to act on it.
    run(pelago_fuzz::pool, |bytes, dice| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        let kind: u8 = dice.random_range(0..4);
        [
            &[kind, length[0], length[1]],
            bytes,
            &[7, 0, dice.random()],
            &[5, 0, 1],
        ]
        .concat()
    });
}

#[test]
fn genuine_certificates_and_lists() {
    let seeds: Vec<Vec<u8>> = (0..30).map(|kind| vec![kind]).collect();
    run_on(&seeds, pelago_fuzz::genuine, |bytes, dice| {
        let mut bytes = bytes.to_vec();
        for _ in 0..dice.random_range(1..3) {
            bytes.extend(dice.random::<[u8; 3]>());
        }
        bytes
    });
}

#[test]
fn sealed_datagrams() {
    // Each seed in a genuine seal, the same with a byte changed, and time to act on it.
    run(pelago_fuzz::sealed, |bytes, dice| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        let forged: [u8; 3] = [6 + 8 * dice.random_range(1..32_u8), dice.random(), 0];
        [
            &[0, length[0], length[1]],
            bytes,
            &forged,
            &[7, 0, dice.random()],
        ]
        .concat()
    });
}

#[test]
fn state_files() {
    // The fuzzer starts from this too.
    let kept = include_str!("../seeds/state.txt");
    let (_, hex) = kept.trim_end().split_once(' ').expect("a vector");
    assert_eq!(unhex(hex), pelago_fuzz::state_seed());
    let seeds = [pelago_fuzz::state_seed()];
    for _ in 0..20 {
        run_on(&seeds, pelago_fuzz::state, |bytes, _| bytes.to_vec());
    }
}

#[test]
fn configurations() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seeds = Vec::new();
    for folder in ["ap-south", "compose", "eu-west", "us-east"] {
        for entry in fs::read_dir(examples.join(folder)).expect("examples") {
            seeds.push(fs::read(entry.expect("readable").path()).expect("readable"));
        }
    }
    seeds.sort();
    assert!(seeds.len() > 6, "{}", seeds.len());
    run_on(&seeds, pelago_fuzz::configuration, |bytes, _| {
        bytes.to_vec()
    });
}

#[test]
fn requests() {
    let lines = include_str!("../seeds/requests.txt").lines();
    let seeds: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
    run_on(&seeds, pelago_fuzz::request, |bytes, _| bytes.to_vec());
}
