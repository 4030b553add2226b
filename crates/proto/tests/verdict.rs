//! When accusations make a death, when they do not, and how long it is remembered.

mod common;

use common::{
    Claimant, DOMAIN, Ledger, NOT_AFTER, NOW, Node, Realm, UNIX, at, claimant, label, ms, secs,
};
use pelago_proto::{
    claim::{Accusation, Basis, Body, Claim, Verified},
    identity::{Incarnation, NodeId},
    roster::{AFTER_CERTIFICATE, FADED, Outcome, TOMBSTONE, k},
    view::Status,
};
use std::{sync::Arc, time::Duration};

/// The first incarnation of everybody here.
const FIRST: Incarnation = Incarnation { boot: 1, seq: 0 };
/// 1.1 × the pause tolerance of everybody here.
const FLOOR: Duration = Duration::from_millis(2_200);

/// A pool with one member per named rack, each rack in a zone of its own.
struct Pool {
    nodes: Vec<Arc<Node>>,
    ledger: Ledger,
}

impl Pool {
    fn new(racks: &[&str]) -> Self {
        let realm = Realm::new(DOMAIN);
        let server = |(n, rack): (u32, &&str)| realm.server(n, rack, rack);
        let nodes: Vec<_> = (0..).zip(racks).map(server).collect();
        let ledger = Ledger::of(&nodes);
        Self { nodes, ledger }
    }

    fn id(&self, n: usize) -> NodeId {
        self.nodes[n].id()
    }

    fn tell(&mut self, claim: &Verified<Claim>) -> Outcome {
        self.ledger.tell(claim)
    }

    /// Quorate, and beyond the floor.
    fn accuse(&mut self, by: usize, of: usize) {
        self.accuse_as(by, of, FLOOR, Basis::Timeout, true);
    }

    fn accuse_as(&mut self, by: usize, of: usize, silent: Duration, basis: Basis, quorate: bool) {
        let claim = self.nodes[by].accuse_as(self.id(of), FIRST, silent, basis, quorate);
        self.tell(&claim);
    }

    fn status(&self, n: usize) -> Status {
        self.ledger.status(self.id(n))
    }

    fn statuses(&self) -> Vec<Status> {
        (0..self.nodes.len()).map(|n| self.status(n)).collect()
    }

    fn digest(&self) -> u64 {
        self.ledger.roster.digests().current()
    }
}

use Status::{Alive, Dead, Left, Removed, Suspect, Unreachable};

#[test]
fn a_verdict_takes_one_accuser_of_two_two_of_eight_and_three_of_more() {
    let table = [(0, 1), (1, 1), (2, 1), (3, 2), (8, 2), (9, 3), (10_000, 3)];
    assert!(
        table
            .iter()
            .all(|(present, accusers)| k(*present) == *accusers)
    );
}

#[test]
fn two_accusers_out_of_two_racks_are_enough_in_a_pool_of_five() {
    let mut pool = Pool::new(&["a", "a", "b", "b", "b"]);
    pool.accuse(0, 4);
    assert_eq!(pool.status(4), Unreachable);
    pool.accuse(2, 4);
    assert_eq!(pool.status(4), Dead);
}

#[test]
fn accusers_out_of_one_rack_are_not_enough_while_another_lives() {
    let mut pool = Pool::new(&["a", "a", "a", "b", "b"]);
    for by in 0..3 {
        pool.accuse(by, 4);
    }
    assert_eq!(pool.status(4), Unreachable);
}

#[test]
fn any_number_of_accusers_out_of_one_rack_kills_nobody() {
    let mut racks = vec!["a"; 200];
    racks.extend(["b", "b", "c"]);
    let mut pool = Pool::new(&racks);
    for of in 200..203 {
        for by in 0..200 {
            pool.accuse(by, of);
        }
        assert_eq!(pool.status(of), Unreachable);
    }
    // What they hold against others takes nobody's voice away.
    for by in [200, 201, 202] {
        pool.accuse(by, 0);
    }
    assert_eq!(pool.status(0), Dead);
}

#[test]
fn accusers_out_of_one_rack_are_enough_if_nobody_else_lives_elsewhere() {
    let mut pool = Pool::new(&["a", "a", "a", "b"]);
    pool.accuse(0, 3);
    pool.accuse(1, 3);
    assert_eq!(pool.status(3), Dead);
}

#[test]
fn a_rack_is_a_zone_and_a_rack() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = [("a", "r1"), ("b", "r1"), ("c", "r1")]
        .iter()
        .zip(0..)
        .map(|((zone, rack), n)| realm.server(n, zone, rack))
        .collect();
    let mut ledger = Ledger::of(&nodes);
    ledger.tell(&nodes[0].accuse(nodes[2].id(), FIRST, FLOOR));
    ledger.tell(&nodes[1].accuse(nodes[2].id(), FIRST, FLOOR));
    assert_eq!(ledger.status(nodes[2].id()), Dead);
}

#[test]
fn one_of_two_racks_lost_is_unreachable() {
    let mut pool = Pool::new(&["a", "a", "a", "b", "b", "b"]);
    for of in 3..6 {
        for by in 0..3 {
            pool.accuse(by, of);
        }
    }
    assert_eq!(
        pool.statuses(),
        [Alive, Alive, Alive, Unreachable, Unreachable, Unreachable]
    );
}

#[test]
fn one_of_three_racks_lost_is_dead() {
    let mut pool = Pool::new(&["a", "a", "b", "b", "c", "c"]);
    for of in 4..6 {
        for by in [0, 2] {
            pool.accuse(by, of);
        }
    }
    assert_eq!(pool.statuses(), [Alive, Alive, Alive, Alive, Dead, Dead]);
}

#[test]
fn the_larger_part_declares_the_smaller_dead() {
    let mut pool = Pool::new(&["a", "b", "a", "a", "b"]);
    for of in 3..5 {
        for by in 0..3 {
            pool.accuse(by, of);
        }
    }
    assert_eq!(pool.statuses(), [Alive, Alive, Alive, Dead, Dead]);
}

#[test]
fn the_smaller_part_sees_the_larger_unreachable() {
    let mut pool = Pool::new(&["a", "b", "a", "a", "b"]);
    for of in 0..3 {
        for by in 3..5 {
            pool.accuse_as(by, of, FLOOR, Basis::Timeout, false);
        }
    }
    assert_eq!(
        pool.statuses(),
        [Unreachable, Unreachable, Unreachable, Alive, Alive]
    );
}

#[test]
fn what_the_smaller_part_said_is_void_once_it_is_dead() {
    let mut pool = Pool::new(&["a", "b", "a", "a", "b"]);
    for (of, by) in (0..3).flat_map(|one| (3..5).map(move |other| (one, other))) {
        pool.accuse_as(by, of, FLOOR, Basis::Timeout, false);
        pool.accuse(of, by);
    }
    assert_eq!(pool.statuses(), [Alive, Alive, Alive, Dead, Dead]);
}

#[test]
fn the_other_of_two_is_unreachable_to_one_that_cannot_tell() {
    let mut pool = Pool::new(&["a", "a"]);
    pool.accuse_as(0, 1, FLOOR, Basis::Timeout, false);
    assert_eq!(pool.status(1), Unreachable);
}

#[test]
fn one_accuser_is_enough_in_a_pool_of_two() {
    let mut pool = Pool::new(&["a", "b"]);
    pool.accuse(0, 1);
    assert_eq!(pool.status(1), Dead);
}

#[test]
fn both_kinds_of_accusation_add_up() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse_as(0, 2, ms(60), Basis::PortClosed, true);
    // No floor to wait for, and not enough for a verdict: nobody can tell.
    assert_eq!(pool.status(2), Unreachable);
    pool.accuse(1, 2);
    assert_eq!(pool.status(2), Dead);
}

#[test]
fn closed_ports_need_no_floor() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse_as(0, 2, ms(0), Basis::PortClosed, true);
    pool.accuse_as(1, 2, ms(0), Basis::PortClosed, true);
    assert_eq!(pool.status(2), Dead);
}

#[test]
fn silence_below_the_floor_only_makes_suspect() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    for by in 0..2 {
        pool.accuse_as(by, 2, FLOOR - ms(1), Basis::Timeout, true);
    }
    assert_eq!(pool.status(2), Suspect);
}

#[test]
fn the_floor_is_the_accuseds_own() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let patient = pool.nodes[2].record_with(at(1, 1), |r| r.pause_tolerance = secs(5));
    pool.tell(&patient);
    for (silent, status) in [(ms(5_499), Suspect), (ms(5_500), Dead)] {
        for by in 0..2 {
            let claim = pool.nodes[by].accuse(pool.id(2), at(1, 1), silent);
            pool.tell(&claim);
        }
        assert_eq!(pool.status(2), status, "{silent:?}");
    }
}

#[test]
fn accusers_that_are_not_quorate_make_no_verdict() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    for by in 0..3 {
        pool.accuse_as(by, 3, secs(60), Basis::PortClosed, false);
    }
    assert_eq!(pool.status(3), Unreachable);
}

#[test]
fn the_same_accuser_twice_is_one_accuser() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse(0, 2);
    pool.accuse_as(0, 2, secs(9), Basis::Timeout, true);
    assert_eq!(pool.status(2), Unreachable);
}

#[test]
fn of_one_accusers_accusations_one_that_counts_is_not_replaced_by_one_that_does_not() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse_as(0, 2, secs(3), Basis::Timeout, true);
    pool.accuse_as(0, 2, secs(9), Basis::Timeout, false);
    pool.accuse(1, 2);
    assert_eq!(pool.status(2), Dead);
}

#[test]
fn nobody_accuses_itself() {
    let mut pool = Pool::new(&["a", "b"]);
    let claim = pool.nodes[0].accuse(pool.id(0), FIRST, FLOOR);
    assert_eq!(pool.tell(&claim), Outcome::NotAllowed);
}

#[test]
fn nobody_accuses_across_datacenters() {
    let realm = Realm::new(DOMAIN);
    let (member, foreigner) = (
        realm.server(1, "a", "r1"),
        Claimant {
            datacenter: label("dc2"),
            ..claimant(2)
        },
    );
    let mut ledger = Ledger::of(&[Arc::clone(&member)]);
    let claim = realm.issue(&foreigner).accuse(member.id(), FIRST, FLOOR);
    assert_eq!(ledger.tell(&claim), Outcome::NotAllowed);
}

#[test]
fn the_dead_make_nobody_suspect() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    pool.accuse_as(2, 3, secs(60), Basis::Timeout, false);
    assert_eq!(pool.status(3), Unreachable);
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    assert_eq!(pool.statuses(), [Alive, Alive, Dead, Alive]);
}

#[test]
fn what_the_dead_said_while_quorate_leaves_its_doubt() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    pool.accuse(2, 3);
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    assert_eq!(pool.statuses(), [Alive, Alive, Dead, Unreachable]);
}

#[test]
fn the_dead_go_on_counting_for_verdicts() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    pool.accuse(2, 3);
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    pool.accuse(0, 3);
    assert_eq!(pool.statuses(), [Alive, Alive, Dead, Dead]);
}

#[test]
fn the_last_of_a_rack_dies_by_the_other_racks_word_alone() {
    // Both are gone, but the second can be convicted only once the first is: then nobody else lives in their rack.
    let mut pool = Pool::new(&["a", "a", "b", "b"]);
    pool.accuse(0, 3);
    pool.accuse(1, 3);
    assert_eq!(pool.status(3), Unreachable);
    pool.accuse(0, 2);
    pool.accuse(3, 2);
    assert_eq!(pool.statuses(), [Alive, Alive, Dead, Dead]);
}

#[test]
fn a_verdict_that_falls_short_when_a_member_joins_is_completed_by_one_more() {
    let mut pool = Pool::new(&["a", "b", "a", "b", "a", "b", "a", "b"]);
    pool.accuse(0, 7);
    pool.accuse(1, 7);
    assert_eq!(pool.status(7), Dead);
    let ninth = Realm::new(DOMAIN).server(99, "a", "a").record(FIRST);
    pool.tell(&ninth);
    assert_eq!(pool.status(7), Unreachable);
    pool.accuse(2, 7);
    assert_eq!(pool.status(7), Dead);
}

#[test]
fn a_refutation_at_a_higher_incarnation_clears_everything() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    let refutation = pool.nodes[2].alive(at(1, 1), &pool.nodes[2].record(FIRST));
    pool.tell(&refutation);
    assert_eq!(pool.status(2), Alive);
}

#[test]
fn an_accusation_of_an_earlier_incarnation_is_stale() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let newer = pool.nodes[2].record(at(1, 5));
    pool.tell(&newer);
    let claim = pool.nodes[0].accuse(pool.id(2), FIRST, FLOOR);
    assert_eq!(pool.tell(&claim), Outcome::Stale);
}

#[test]
fn an_accusation_of_a_later_incarnation_waits_for_it() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let claim = pool.nodes[0].accuse(pool.id(2), at(1, 5), FLOOR);
    pool.tell(&claim);
    assert_eq!(pool.status(2), Alive);
    let newer = pool.nodes[2].record(at(1, 5));
    pool.tell(&newer);
    assert_eq!(pool.status(2), Unreachable);
}

#[test]
fn left_outranks_dead() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    let goodbye = pool.nodes[2].leave(FIRST);
    pool.tell(&goodbye);
    assert_eq!(pool.status(2), Left);
}

#[test]
fn removed_outranks_left() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let goodbye = pool.nodes[2].leave(at(1, 1));
    pool.tell(&goodbye);
    let removal = Realm::new(DOMAIN)
        .operator(50)
        .remove(pool.id(2), NOT_AFTER);
    pool.tell(&removal);
    assert_eq!(pool.status(2), Removed);
}

#[test]
fn the_removed_do_not_come_back_at_any_incarnation() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let removal = Realm::new(DOMAIN)
        .operator(50)
        .remove(pool.id(2), NOT_AFTER);
    pool.tell(&removal);
    let again = pool.nodes[2].record(at(9, 0));
    pool.tell(&again);
    assert_eq!(pool.status(2), Removed);
}

#[test]
fn a_removal_holds_before_the_member_is_known() {
    let realm = Realm::new(DOMAIN);
    let member = realm.server(1, "a", "r1");
    let mut ledger = Ledger::new();
    ledger.tell(&realm.operator(50).remove(member.id(), NOT_AFTER));
    ledger.tell(&member.record(FIRST));
    assert_eq!(
        (ledger.status(member.id()), ledger.roster.present()),
        (Removed, 0)
    );
}

#[test]
fn a_removal_that_is_over_removes_nobody() {
    let mut pool = Pool::new(&["a", "b"]);
    let removal = Realm::new(DOMAIN).operator(50).remove(pool.id(1), UNIX - 1);
    pool.tell(&removal);
    assert_eq!(pool.status(1), Alive);
}

#[test]
fn those_who_left_do_not_count_for_k() {
    let mut pool = Pool::new(&["a", "b", "a"]);
    let goodbye = pool.nodes[2].leave(at(1, 1));
    pool.tell(&goodbye);
    pool.accuse(0, 1);
    assert_eq!(pool.status(1), Dead);
}

#[test]
fn a_second_accusation_does_not_move_the_digest() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    pool.accuse_as(0, 3, ms(100), Basis::Timeout, true);
    let before = pool.digest();
    pool.accuse_as(1, 3, ms(100), Basis::Timeout, true);
    assert_eq!(pool.digest(), before);
}

#[test]
fn a_change_of_status_moves_the_digest_and_the_old_one_is_remembered() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let before = pool.digest();
    pool.accuse(0, 2);
    let digests = pool.ledger.roster.digests();
    assert!(!digests.agrees(before) && digests.knows(before, NOW));
}

#[test]
fn a_member_that_died_is_like_one_never_seen_once_it_is_forgotten() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    let without = Ledger::of(&pool.nodes[..2]).roster.digests().current();
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    pool.ledger.roster.reap(NOW + TOMBSTONE, UNIX);
    assert_eq!(pool.digest(), without);
}

#[test]
fn what_an_expelled_accuser_said_goes_with_it() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    pool.accuse(0, 3);
    pool.accuse(1, 3);
    assert_eq!(pool.status(3), Dead);
    let out = pool.id(1);
    let roster = &mut pool.ledger.roster;
    roster.expel(NOW, UNIX, |certified| certified.id != out);
    assert_eq!(pool.status(3), Unreachable);
    // As for somebody who joins now, and can verify only what the others said.
    let fellows: Vec<_> = [0, 2, 3].map(|n| Arc::clone(&pool.nodes[n])).into();
    let mut newcomer = Ledger::of(&fellows);
    newcomer.tell(&pool.nodes[0].accuse(pool.id(3), FIRST, FLOOR));
    assert_eq!(pool.digest(), newcomer.roster.digests().current());
    pool.accuse(2, 3);
    assert_eq!(pool.status(3), Dead);
}

#[test]
fn whom_only_the_expelled_accused_nobody_accuses() {
    let mut pool = Pool::new(&["a", "b", "c", "d"]);
    pool.accuse(1, 3);
    let out = pool.id(1);
    let roster = &mut pool.ledger.roster;
    roster.expel(NOW, UNIX, |certified| certified.id != out);
    assert_eq!((pool.status(3), roster_accused(&pool)), (Alive, 0));
}

fn roster_accused(pool: &Pool) -> usize {
    pool.ledger.roster.accused().count()
}

/// A pool whose last member died at the start.
fn bereft() -> Pool {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.accuse(0, 2);
    pool.accuse(1, 2);
    pool
}

#[test]
fn a_tombstone_counts_in_the_digest_for_23_hours() {
    let mut pool = bereft();
    let before = pool.digest();
    pool.ledger.roster.reap(NOW + FADED - secs(1), UNIX);
    assert_eq!(pool.digest(), before);
}

#[test]
fn a_tombstone_leaves_the_digest_at_23_hours() {
    let mut pool = bereft();
    pool.ledger.roster.reap(NOW + FADED, UNIX);
    let entry = pool.ledger.roster.get(&pool.id(2));
    assert_eq!(entry.map(|e| (e.status, e.hash())), Some((Dead, 0)));
}

#[test]
fn a_faded_tombstone_still_refuses_the_same_incarnation() {
    let mut pool = bereft();
    pool.ledger.roster.reap(NOW + FADED, UNIX);
    let ghost = pool.nodes[2].record(FIRST);
    assert_eq!(pool.tell(&ghost), Outcome::Stale);
}

#[test]
fn a_tombstone_is_forgotten_at_24_hours() {
    let mut pool = bereft();
    let last = TOMBSTONE - secs(1);
    assert!(pool.ledger.roster.reap(NOW + last, UNIX).is_empty());
    let gone = pool.ledger.roster.reap(NOW + TOMBSTONE, UNIX);
    assert_eq!(gone, [(pool.id(2), label("n2"))]);
}

#[test]
fn the_living_are_not_forgotten() {
    let mut pool = Pool::new(&["a", "b"]);
    assert!(
        pool.ledger
            .roster
            .reap(NOW + TOMBSTONE * 3, UNIX)
            .is_empty()
    );
}

#[test]
fn anybody_is_forgotten_five_minutes_after_the_certificates_end() {
    let mut pool = Pool::new(&["a", "b"]);
    assert!(
        pool.ledger
            .roster
            .reap(NOW, NOT_AFTER + AFTER_CERTIFICATE)
            .is_empty()
    );
    assert_eq!(
        pool.ledger
            .roster
            .reap(NOW, NOT_AFTER + AFTER_CERTIFICATE + 1)
            .len(),
        2
    );
}

#[test]
fn five_minutes_are_300_seconds() {
    assert_eq!(
        (AFTER_CERTIFICATE, FADED, TOMBSTONE),
        (300, secs(23 * 3600), secs(24 * 3600))
    );
}

#[test]
fn a_removal_is_forgotten_after_its_time() {
    let mut pool = Pool::new(&["a", "b"]);
    let removal = Realm::new(DOMAIN)
        .operator(50)
        .remove(pool.id(1), UNIX + 10);
    pool.tell(&removal);
    pool.ledger.roster.reap(NOW, UNIX + 10);
    assert!(pool.ledger.roster.removal(&pool.id(1)).is_some());
    pool.ledger.roster.reap(NOW, UNIX + 11);
    assert!(pool.ledger.roster.removal(&pool.id(1)).is_none());
}

#[test]
fn an_age_that_came_along_counts_from_there() {
    let mut pool = Pool::new(&["a", "b"]);
    let goodbye = pool.nodes[1].leave(at(1, 1));
    pool.ledger.tell_at(&goodbye, NOW - secs(3600));
    let gone = pool.ledger.roster.reap(NOW + TOMBSTONE - secs(3600), UNIX);
    assert_eq!(gone.len(), 1);
}

#[test]
fn of_two_records_at_one_incarnation_the_larger_hash_holds() {
    let mut pool = Pool::new(&["a"]);
    let (first, second) = (
        pool.nodes[0].record(FIRST),
        pool.nodes[0].record_with(FIRST, |r| r.health = 1),
    );
    let outcome = pool.tell(&second);
    let kept = second.hash() > first.hash();
    assert_eq!(outcome, Outcome::Conflict { kept });
    let held = pool
        .ledger
        .roster
        .get(&pool.id(0))
        .map(|e| e.record().health == 1);
    assert_eq!(held, Some(kept));
}

#[test]
fn at_most_eight_accusations_are_kept_three_of_a_rack_first() {
    let racks: Vec<&str> = std::iter::repeat_n("a", 9).chain(["b", "b", "c"]).collect();
    let mut pool = Pool::new(&racks);
    for by in 0..11 {
        pool.accuse(by, 11);
    }
    let entry = pool.ledger.roster.get(&pool.id(11));
    let kept: Vec<_> = entry
        .into_iter()
        .flat_map(|e| e.charges())
        .map(|c| c.accuser.rack.clone())
        .collect();
    let of_b = kept.iter().filter(|rack| rack.as_str() == "b").count();
    assert_eq!((kept.len(), of_b), (8, 2));
}

#[test]
fn accusations_that_count_are_kept_before_others() {
    let mut pool = Pool::new(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]);
    for by in 0..9 {
        pool.accuse_as(by, 10, ms(100), Basis::Timeout, true);
    }
    pool.accuse(9, 10);
    let body = |c: &Accusation| c.silent == FLOOR;
    let entry = pool.ledger.roster.get(&pool.id(10));
    assert!(
        entry.is_some_and(
            |e| e.charges().len() == 8 && e.charges().iter().any(|c| body(&c.accusation))
        )
    );
}

#[test]
fn a_head_is_no_business_of_a_roster() {
    let mut pool = Pool::new(&["a"]);
    let head = pool.nodes[0].head(FIRST, 1);
    assert!(matches!(head.body, Body::Head(_)));
    assert_eq!(pool.tell(&head), Outcome::Stale);
}
