//! Merging claims is commutative, associative and idempotent, and agrees with the rules written down naively.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{DOMAIN, Ledger, NOT_AFTER, Node, Realm, UNIX, at, ms};
use pelago_proto::{
    claim::{Basis, Body, Claim, MIN_FLOOR, Verified},
    identity::{Incarnation, NodeId},
    roster::{Entry, k},
    view::Status,
};
use proptest::{prelude::*, test_runner::TestCaseError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

/// Nine members in three racks, so that there are at most eight accusers: more than that are a matter of limits.
const MEMBERS: usize = 9;

fn nodes() -> &'static [Arc<Node>] {
    static NODES: OnceLock<Vec<Arc<Node>>> = OnceLock::new();
    NODES.get_or_init(|| {
        let realm = Realm::new(DOMAIN);
        let racks = [("a", "r1"), ("a", "r2"), ("b", "r1")];
        let server =
            |n: usize| realm.server(u32::try_from(n).unwrap(), racks[n % 3].0, racks[n % 3].1);
        (0..MEMBERS)
            .map(server)
            .chain([realm.operator(100)])
            .collect()
    })
}

/// One claim, in words.
#[derive(Clone, Debug)]
enum Said {
    Record {
        who: usize,
        seq: u64,
        clone: bool,
    },
    Alive {
        who: usize,
        seq: u64,
    },
    Leave {
        who: usize,
        seq: u64,
    },
    Accusation {
        by: usize,
        of: usize,
        seq: u64,
        silent: u64,
        closed: bool,
        quorate: bool,
    },
    Removal {
        of: usize,
        over: bool,
    },
}

impl Said {
    fn sign(&self) -> Verified<Claim> {
        let nodes = nodes();
        match *self {
            // A clone's record differs in what verdicts look at.
            Self::Record { who, seq, clone } => nodes[who].record_with(at(1, seq), |r| {
                r.pause_tolerance = ms(if clone { 3_000 } else { 2_000 })
            }),
            // Odd for refutations, even for goodbyes: one process never signs both at one incarnation.
            Self::Alive { who, seq } => {
                nodes[who].alive(at(1, 2 * seq + 1), &nodes[who].record(at(1, 0)))
            }
            Self::Leave { who, seq } => nodes[who].leave(at(1, 2 * seq + 2)),
            Self::Accusation {
                by,
                of,
                seq,
                silent,
                closed,
                quorate,
            } => {
                let basis = if closed {
                    Basis::PortClosed
                } else {
                    Basis::Timeout
                };
                nodes[by].accuse_as(nodes[of].id(), at(1, seq), ms(silent), basis, quorate)
            }
            Self::Removal { of, over } => {
                nodes[MEMBERS].remove(nodes[of].id(), if over { UNIX - 1 } else { NOT_AFTER })
            }
        }
    }

    fn is_about_itself(&self) -> bool {
        matches!(self, Self::Accusation { by, of, .. } if by == of)
    }
}

fn said(members: usize) -> impl Strategy<Value = Said> {
    let (who, seq) = (0..members, 0..3_u64);
    let silent = prop::sample::select(vec![100_u64, 2_199, 2_200, 3_300]);
    prop_oneof![
        2 => (who.clone(), 0..6_u64, any::<bool>()).prop_map(|(who, seq, clone)| Said::Record { who, seq, clone }),
        2 => (who.clone(), seq.clone()).prop_map(|(who, seq)| Said::Alive { who, seq }),
        1 => (who.clone(), seq).prop_map(|(who, seq)| Said::Leave { who, seq }),
        // Mostly at the first incarnation, so that verdicts come about.
        12 => (who.clone(), who.clone(), prop_oneof![4 => Just(0_u64), 1 => 0..6_u64], silent, prop::bool::weighted(0.2), prop::bool::weighted(0.8))
            .prop_map(|(by, of, seq, silent, closed, quorate)| Said::Accusation { by, of, seq, silent, closed, quorate }),
        1 => (who, prop::bool::weighted(0.2)).prop_map(|(of, over)| Said::Removal { of, over }),
    ]
}

/// A pool of two to nine, what was said in it, and an order in which everything arrives, some of it twice.
fn stories() -> impl Strategy<Value = (usize, Vec<Said>, Vec<usize>)> {
    let said = (2..=MEMBERS).prop_flat_map(|n| (Just(n), prop::collection::vec(said(n), 1..60)));
    said.prop_flat_map(|(members, mut said)| {
        said.retain(|s| !s.is_about_itself());
        let twice: Vec<usize> = (0..said.len()).chain((0..said.len()).step_by(3)).collect();
        (Just(members), Just(said), Just(twice).prop_shuffle())
    })
}

fn sign(said: &[Said]) -> Vec<Verified<Claim>> {
    said.iter().map(Said::sign).collect()
}

fn ledger(members: usize) -> Ledger {
    Ledger::of(&nodes()[..members])
}

fn told<'a>(members: usize, claims: impl IntoIterator<Item = &'a Verified<Claim>>) -> Ledger {
    let mut ledger = ledger(members);
    for claim in claims {
        ledger.tell(claim);
    }
    ledger
}

/// Claims about a member, and its removal.
type Kept = (BTreeSet<Arc<[u8]>>, Option<Arc<[u8]>>);

/// Everything that a roster keeps about each member, but for refutations that a later goodbye made moot.
fn kept(ledger: &Ledger) -> BTreeMap<NodeId, Kept> {
    let removal = |id| ledger.roster.removal(id).map(|c| Arc::clone(c.bytes()));
    let claims = |e: &Entry| e.claims().map(Arc::clone).collect();
    ledger
        .roster
        .iter()
        .map(|(id, e)| (*id, (claims(e), removal(id))))
        .collect()
}

fn assert_alike(a: &Ledger, b: &Ledger) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.statuses(), b.statuses());
    prop_assert_eq!(kept(a), kept(b));
    prop_assert_eq!(a.roster.digests().current(), b.roster.digests().current());
    Ok(())
}

/// What the rules say about a set of claims, written down without any cleverness.
fn oracle(members: usize, claims: &[Verified<Claim>]) -> BTreeMap<NodeId, Status> {
    let nodes = &nodes()[..members];
    let first: Vec<_> = nodes.iter().map(|n| n.record(at(1, 0))).collect();
    let all: Vec<&Verified<Claim>> = first.iter().chain(claims).collect();
    let place = |n: &Node| (n.certified.zone.clone(), n.certified.rack.clone());

    struct About<'a> {
        rack: (pelago_proto::identity::Label, pelago_proto::identity::Label),
        floor: std::time::Duration,
        gone: Option<Status>,
        standing: Vec<(&'a Verified<Claim>, pelago_proto::claim::Accusation)>,
    }
    let about: BTreeMap<NodeId, About<'_>> = nodes
        .iter()
        .map(|node| {
            let id = node.id();
            let own = || all.iter().filter(|c| c.signer == id && c.subject() == id);
            let newest: Incarnation = own().filter_map(|c| c.incarnation()).max().unwrap();
            let record = own().filter(|c| matches!(c.body, Body::Record(_)));
            let record = record.max_by_key(|c| (c.incarnation(), c.hash())).unwrap();
            let Body::Record(record) = &record.body else {
                unreachable!()
            };
            let left =
                own().any(|c| matches!(c.body, Body::Leave(_)) && c.incarnation() == Some(newest));
            let removed = all
                .iter()
                .any(|c| matches!(&c.body, Body::Removal(r) if r.removed == id && r.until >= UNIX));
            let mut by_accuser: BTreeMap<
                NodeId,
                (&Verified<Claim>, pelago_proto::claim::Accusation),
            > = BTreeMap::new();
            for claim in &all {
                if let Body::Accusation(a) = &claim.body
                    && a.accused == id
                {
                    let could_count = |a: &pelago_proto::claim::Accusation| {
                        a.quorate && (a.basis == Basis::PortClosed || a.silent >= MIN_FLOOR)
                    };
                    let key = |c: &Verified<Claim>, a: &pelago_proto::claim::Accusation| {
                        (
                            (a.incarnation, could_count(a), a.basis, a.silent),
                            Arc::clone(c.bytes()),
                        )
                    };
                    let held = by_accuser.get(&claim.signer);
                    if held.is_none_or(|(c, old)| key(c, old) < key(claim, a)) {
                        by_accuser.insert(claim.signer, (claim, *a));
                    }
                }
            }
            let standing = by_accuser
                .into_values()
                .filter(|(_, a)| a.incarnation == newest)
                .collect();
            let gone = if removed {
                Some(Status::Removed)
            } else {
                left.then_some(Status::Left)
            };
            (
                id,
                About {
                    rack: place(node),
                    floor: record.pause_tolerance * 11 / 10,
                    gone,
                    standing,
                },
            )
        })
        .collect();

    let present = about.values().filter(|a| a.gone.is_none()).count();
    let mut dead: BTreeSet<NodeId> = BTreeSet::new();
    loop {
        let convicted = about.iter().find(|(id, it)| {
            let others = about
                .iter()
                .filter(|(o, a)| o != id && a.gone.is_none() && !dead.contains(*o));
            let racks: BTreeSet<_> = others.map(|(_, a)| &a.rack).collect();
            let counts = it.standing.iter().filter(|(_, a)| {
                a.quorate && (a.basis == Basis::PortClosed || a.silent >= it.floor)
            });
            let accusers: BTreeSet<NodeId> = counts.map(|(c, _)| c.signer).collect();
            let theirs: BTreeSet<_> = accusers.iter().map(|a| &about[a].rack).collect();
            it.gone.is_none()
                && !dead.contains(*id)
                && accusers.len() >= k(present)
                && theirs.len() >= racks.len().min(2)
        });
        match convicted {
            Some((id, _)) => dead.insert(*id),
            None => break,
        };
    }
    let beyond = |it: &About<'_>, a: &pelago_proto::claim::Accusation| {
        a.basis == Basis::PortClosed || a.silent >= it.floor
    };
    let status = |id: &NodeId, it: &About<'_>| {
        let credible = || {
            it.standing
                .iter()
                .filter(|(c, a)| !dead.contains(&c.signer) || (a.quorate && beyond(it, a)))
        };
        match it.gone {
            Some(gone) => gone,
            None if dead.contains(id) => Status::Dead,
            None if credible().any(|(_, a)| beyond(it, a)) => Status::Unreachable,
            None if credible().next().is_some() => Status::Suspect,
            None => Status::Alive,
        }
    };
    about.iter().map(|(id, it)| (*id, status(id, it))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_does_not_matter((members, said, order) in stories()) {
        let claims = sign(&said);
        let straight = told(members, &claims);
        let shuffled = told(members, order.iter().map(|n| &claims[*n]));
        assert_alike(&straight, &shuffled)?;
    }

    #[test]
    fn what_is_known_already_changes_nothing((members, said, _) in stories()) {
        let claims = sign(&said);
        let mut ledger = told(members, &claims);
        let before = (ledger.roster.digests().current(), kept(&ledger));
        for claim in &claims {
            ledger.tell(claim);
        }
        prop_assert_eq!((ledger.roster.digests().current(), kept(&ledger)), before);
    }

    #[test]
    fn two_rosters_that_tell_each_other_what_they_kept_become_the_whole((members, said, _) in stories(), cut in 0.0..1.0) {
        let claims = sign(&said);
        let (left, right) = claims.split_at((claims.len() as f64 * cut) as usize);
        let whole = told(members, &claims);
        let (one, other) = (told(members, left), told(members, right));
        let is_kept = |ledger: &Ledger, claim: &Verified<Claim>| {
            kept(ledger).values().any(|(held, removal)| {
                held.contains(claim.bytes()) || removal.as_ref() == Some(claim.bytes())
            })
        };
        let from_other: Vec<_> = claims.iter().filter(|c| is_kept(&other, c)).collect();
        let from_one: Vec<_> = claims.iter().filter(|c| is_kept(&one, c)).collect();
        assert_alike(&told(members, left.iter().chain(from_other)), &whole)?;
        assert_alike(&told(members, right.iter().chain(from_one)), &whole)?;
    }

    #[test]
    fn statuses_are_what_the_rules_say((members, said, order) in stories()) {
        let claims = sign(&said);
        let ledger = told(members, order.iter().map(|n| &claims[*n]));
        prop_assert_eq!(ledger.statuses(), oracle(members, &claims));
    }

    #[test]
    fn incarnations_never_decrease((members, said, order) in stories()) {
        let claims = sign(&said);
        let mut ledger = ledger(members);
        for n in order {
            let newest = |l: &Ledger| l.roster.iter().map(|(_, e)| e.incarnation()).collect::<Vec<_>>();
            let before = newest(&ledger);
            ledger.tell(&claims[n]);
            prop_assert!(newest(&ledger).iter().zip(before).all(|(after, before)| *after >= before));
        }
    }

    #[test]
    fn a_goodbye_stands_until_the_member_speaks_again((members, said, order) in stories()) {
        let claims = sign(&said);
        let mut ledger = ledger(members);
        for n in order {
            let before: Vec<_> = ledger.roster.iter().map(|(_, e)| (e.status, e.incarnation())).collect();
            ledger.tell(&claims[n]);
            for ((_, entry), (status, incarnation)) in ledger.roster.iter().zip(before) {
                let back = status == Status::Left && !matches!(entry.status, Status::Left | Status::Removed);
                prop_assert!(!back || entry.incarnation() > incarnation);
            }
        }
    }

    #[test]
    fn the_dead_are_not_alive_while_somebody_living_holds_something_against_them((members, said, order) in stories()) {
        let claims = sign(&said);
        let mut ledger = ledger(members);
        for n in order {
            let before: Vec<_> = ledger.roster.iter().map(|(_, e)| (e.status, e.incarnation())).collect();
            ledger.tell(&claims[n]);
            for ((_, entry), (status, incarnation)) in ledger.roster.iter().zip(before) {
                let back = status == Status::Dead && entry.status == Status::Alive;
                let mut accusers = entry.standing().map(|c| ledger.status(c.accuser.id));
                prop_assert!(!back || entry.incarnation() > incarnation || accusers.all(|s| s == Status::Dead));
            }
        }
    }

    #[test]
    fn the_digest_is_a_sum_over_the_members((members, said, _) in stories()) {
        let claims = sign(&said);
        let ledger = told(members, &claims);
        let sum = ledger.roster.hashes().fold(0_u64, |sum, (_, hash)| sum.wrapping_add(hash));
        prop_assert_eq!(ledger.roster.digests().current(), sum);
        let buckets = ledger.roster.buckets(3).iter().fold(0_u64, |sum, b| sum.wrapping_add(*b));
        prop_assert_eq!(buckets, sum);
    }
}
