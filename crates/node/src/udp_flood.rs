//! Forged packets of every kind straight into the checks (M-08), as many a second as they take: what one core can turn
//! away, and that nothing grows meanwhile. With `PELAGO_FLOOD_SECONDS` each kind goes on for so long, its figures are
//! printed, and resident memory is looked at; run it alone then.

use super::*;
use crate::udp::tests::{End, Fake, end};
use crate::{count::Label as _, seal::BootKey};
use pelago_proto::federation::Introduction;

/// Offered of each kind where no time is given.
const PACKETS: u64 = 20_000;
/// Offered between two looks at the clock.
const BATCH: u64 = 1000;

type Kind = Box<dyn FnMut(u64, &mut Vec<u8>)>;

fn seconds() -> Option<u64> {
    let seconds = std::env::var("PELAGO_FLOOD_SECONDS").ok()?;
    Some(seconds.parse().expect("a number of seconds"))
}

fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("resident size")
}

/// Bytes that nobody could have guessed, cheaply: the checks are measured here, not the randomness.
fn noise(n: u64, to: &mut Vec<u8>, length: usize) {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let target = to.len() + length;
    while to.len() < target {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        to.extend(state.to_le_bytes());
    }
    to.truncate(target);
}

/// A head of this version's form. Counters are far ahead, so that no window knows them.
fn head(to: &mut Vec<u8>, flags: u8, sender: [u8; 16], tag: [u8; 2], n: u64) {
    to.extend([1, flags]);
    to.extend(sender);
    to.extend(tag);
    to.extend((u64::MAX / 2 + n).to_be_bytes());
}

fn somebody(n: u64) -> [u8; 16] {
    let mut id = Vec::new();
    noise(n, &mut id, 16);
    id.try_into().expect("sixteen")
}

fn kinds(a: &mut End, b: &End) -> Vec<(&'static str, Vec<Dropped>, Kind)> {
    use Dropped::{
        Forged, Introduction as Introduced, Malformed, Oversized, ReceiverKey, Replay, Short,
        SourceBudget, UnknownSender, Version,
    };
    let (member, tag) = (a.id.0, b.udp.sealer.my_tag());
    let other = [tag[0] ^ 1, tag[1]];
    let seal = |end: &mut End| end.udp.sealer.seal(b.id, b.key.public(), None, b"once");
    let sealed = seal(a).expect("sealed");
    let newcomers = BootKey::generate().expect("key");
    let mut newcomer = Sealer::new(NodeId([9; 16]), Arc::new(newcomers), "example.org");
    // A record that nobody can read.
    let lie = Introduction {
        record: vec![7; 400].into(),
        leaf: vec![1; 400].into(),
    };
    let newcomer = newcomer.seal(b.id, b.key.public(), Some(&lie), b"x");
    let newcomer = newcomer.expect("sealed");
    vec![
        ("no bytes", vec![Short], Box::new(|_, _| ())),
        (
            "1,400 bytes",
            vec![Oversized],
            Box::new(|n, to| noise(n, to, 1400)),
        ),
        (
            "random bytes",
            vec![Version],
            Box::new(|n, to| {
                to.push(2);
                noise(n, to, 299);
            }),
        ),
        (
            "another boot's tag",
            vec![ReceiverKey],
            Box::new(move |n, to| {
                head(to, 0, member, other, n);
                noise(n, to, 272);
            }),
        ),
        (
            "lengths that do not add up",
            vec![Malformed],
            Box::new(move |n, to| {
                head(to, 1, member, tag, n);
                to.extend([0xff; 272]);
            }),
        ),
        (
            "unknown senders",
            vec![UnknownSender, SourceBudget],
            Box::new(move |n, to| {
                head(to, 0, somebody(n), tag, n);
                noise(n, to, 272);
            }),
        ),
        (
            "a known sender, forged, 300 bytes",
            vec![Forged],
            Box::new(move |n, to| {
                head(to, 0, member, tag, n);
                noise(n, to, 272);
            }),
        ),
        (
            "a known sender, forged, 1,200 bytes",
            vec![Forged],
            Box::new(move |n, to| {
                head(to, 0, member, tag, n);
                noise(n, to, 1172);
            }),
        ),
        (
            "a member's packet, again",
            vec![Replay],
            Box::new(move |_, to| to.extend_from_slice(&sealed)),
        ),
        (
            "introductions nobody can read",
            vec![Introduced, SourceBudget],
            Box::new(move |_, to| to.extend_from_slice(&newcomer)),
        ),
    ]
}

#[tokio::test]
async fn forged_packets_of_every_kind_are_turned_away_and_nothing_grows() {
    let (mut a, mut b) = (end(1), end(2));
    let mut members = Fake::default();
    members.keys.insert(a.id, a.key.public());
    members.unreadable = true;
    // The one packet that is good, so that what comes again has come before.
    let kinds = kinds(&mut a, &b);
    let source = |n: u64| SocketAddr::from(([127, (n >> 16) as u8, (n >> 8) as u8, n as u8], 9));
    let mut offer = |b: &mut End, bytes: &[u8], from| {
        if let Err(reason) = b.udp.check(bytes, from, &mut members) {
            b.counts.lose(reason, from);
        }
        members.received.len()
    };
    for (name, reasons, mut kind) in kinds {
        let mut bytes = Vec::with_capacity(2048);
        kind(0, &mut bytes);
        // Once beforehand: derives the pair's key, and is the first of those that come again.
        offer(&mut b, &bytes, source(0));
        let count = |b: &End| {
            reasons
                .iter()
                .map(|r| b.counts.dropped.get(*r))
                .sum::<u64>()
        };
        let (counted, before, start) = (count(&b), resident(), Instant::now());
        let (mut offered, mut received) = (0, 0);
        while seconds().map_or(offered < PACKETS, |s| {
            start.elapsed() < Duration::from_secs(s)
        }) {
            for n in offered..offered + BATCH {
                bytes.clear();
                kind(n, &mut bytes);
                // From 65,536 addresses, as somebody would who forges them.
                received = offer(&mut b, &bytes, source(n % 65_536));
            }
            offered += BATCH;
        }
        let labels: Vec<_> = reasons.iter().map(|r| r.as_str()).collect();
        assert_eq!(
            count(&b) - counted,
            offered,
            "{name}: all of them as {labels:?}"
        );
        assert!(
            b.udp.sealer.pairs() <= 1,
            "{name}: no key was derived for it"
        );
        assert!(received <= 1, "{name}: none came through");
        let grown = resident() - before;
        if seconds().is_some() {
            let rate = offered as f64 / start.elapsed().as_secs_f64();
            println!("{name}: {rate:.0}/s turned away, {grown} KiB, {labels:?}");
            assert!(grown <= 8 * 1024, "{name}: memory grew by {grown} KiB");
        }
    }
}
