//! How another datacenter can be reached, and whether what its servers say about it agrees.

mod common;

use common::{Claimant, DOMAIN, NOW, Node, Realm, at, claimant, label, ms, secs};
use pelago_proto::{
    catalog::{Known, RESIGN, STALE},
    time::Time,
    view::Reachability::{Degraded, Reachable, Unreachable},
};
use std::{sync::Arc, time::Duration};

fn server(seed: u32) -> Arc<Node> {
    Realm::new(DOMAIN).issue(&claimant(seed))
}

fn known() -> Known {
    Known::new(label("dc1"))
}

/// A head of a server, as it comes in.
fn hear(known: &mut Known, node: &Node, seq: u64, digest: u64, direct: bool, now: Time) -> bool {
    known.merge_head(&node.head(at(1, seq), digest), Duration::ZERO, direct, now)
}

#[test]
fn a_datacenter_nobody_has_spoken_for_is_unreachable() {
    assert_eq!(
        (known().reachability(NOW), known().age(NOW)),
        (Unreachable, None)
    );
}

#[test]
fn a_head_from_its_signer_makes_reachable() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, true, NOW);
    assert_eq!(known.reachability(NOW + STALE - ms(1)), Reachable);
}

#[test]
fn a_relayed_head_makes_degraded() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, false, NOW);
    assert_eq!(known.reachability(NOW), Degraded);
}

#[test]
fn ten_seconds_without_a_head_make_unreachable() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, true, NOW);
    assert_eq!(STALE, secs(10));
    assert_eq!(known.reachability(NOW + STALE), Unreachable);
}

#[test]
fn heads_that_only_come_relayed_any_more_make_degraded() {
    let (mut known, server) = (known(), server(1));
    hear(&mut known, &server, 1, 7, true, NOW);
    for n in 1..12 {
        hear(&mut known, &server, 1 + n, 7, false, NOW + secs(n));
    }
    assert_eq!(known.reachability(NOW + secs(11)), Degraded);
}

#[test]
fn one_server_with_a_direct_link_is_enough() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, false, NOW);
    hear(&mut known, &server(2), 1, 7, true, NOW);
    assert_eq!(known.reachability(NOW), Reachable);
}

#[test]
fn the_age_that_a_relay_tells_counts() {
    let mut known = known();
    known.merge_head(&server(1).head(at(1, 1), 7), secs(6), false, NOW);
    assert_eq!(known.age(NOW), Some(secs(6)));
    assert_eq!(known.reachability(NOW + secs(4)), Unreachable);
}

#[test]
fn the_age_is_the_newest_heads() {
    let mut known = known();
    known.merge_head(&server(1).head(at(1, 1), 7), secs(6), false, NOW);
    known.merge_head(&server(2).head(at(1, 1), 7), secs(2), false, NOW);
    assert_eq!(known.age(NOW), Some(secs(2)));
}

#[test]
fn a_head_on_its_way_again_tells_its_age() {
    let (mut known, server) = (known(), server(1));
    hear(&mut known, &server, 1, 7, true, NOW);
    let passed_on = known.newest(NOW + secs(3));
    assert_eq!(passed_on.map(|h| (h.age, h.direct)), Some((secs(3), true)));
}

#[test]
fn an_older_head_of_a_signer_is_refused() {
    let (mut known, server) = (known(), server(1));
    assert!(hear(&mut known, &server, 5, 7, true, NOW));
    assert!(!hear(&mut known, &server, 4, 8, true, NOW));
    assert!(!hear(&mut known, &server, 5, 7, true, NOW));
}

#[test]
fn a_new_boot_outranks_any_counter() {
    let (mut known, server) = (known(), server(1));
    hear(&mut known, &server, 1_000, 7, true, NOW);
    assert!(known.merge_head(&server.head(at(2, 0), 7), Duration::ZERO, true, NOW));
}

#[test]
fn a_server_of_another_datacenter_does_not_speak_for_this_one() {
    let foreigner = Realm::new(DOMAIN).issue(&Claimant {
        datacenter: label("dc2"),
        ..claimant(1)
    });
    assert!(!hear(&mut known(), &foreigner, 1, 7, true, NOW));
}

#[test]
fn heads_are_signed_again_well_before_they_are_stale() {
    assert!(RESIGN * 4 < STALE);
}

#[test]
fn one_server_alone_attests_nothing() {
    let (mut known, server) = (known(), server(1));
    hear(&mut known, &server, 1, 7, true, NOW);
    hear(&mut known, &server, 2, 7, true, NOW);
    assert!(!known.attested(NOW));
}

#[test]
fn a_second_server_with_the_same_digest_attests() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, true, NOW);
    hear(&mut known, &server(2), 1, 7, true, NOW);
    assert!(known.attested(NOW));
}

#[test]
fn two_servers_that_disagree_do_not_attest() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, true, NOW);
    hear(&mut known, &server(2), 1, 8, true, NOW);
    assert!(!known.attested(NOW));
}

#[test]
fn a_second_server_that_lags_behind_attests() {
    let (mut known, server_1, server_2) = (known(), server(1), server(2));
    hear(&mut known, &server_2, 1, 0, true, NOW);
    for n in 0..16 {
        hear(&mut known, &server_1, 1 + n, n, true, NOW);
    }
    assert!(known.attested(NOW));
}

#[test]
fn one_that_lags_by_more_than_sixteen_digests_does_not() {
    let (mut known, server_1, server_2) = (known(), server(1), server(2));
    hear(&mut known, &server_2, 1, 0, true, NOW);
    for n in 0..17 {
        hear(&mut known, &server_1, 1 + n, n, true, NOW);
    }
    assert!(!known.attested(NOW));
}

#[test]
fn an_attestation_lasts_thirty_seconds() {
    let mut known = known();
    hear(&mut known, &server(1), 1, 7, true, NOW);
    hear(&mut known, &server(2), 1, 7, true, NOW);
    assert!(known.attested(NOW + secs(30) - ms(1)));
    assert!(!known.attested(NOW + secs(30)));
}

#[test]
fn sixteen_servers_heads_are_kept_the_oldest_goes() {
    let mut known = known();
    let servers: Vec<_> = (0..17).map(server).collect();
    for (n, server) in (0..).zip(&servers) {
        hear(&mut known, server, 1, 7, true, NOW + ms(n));
    }
    let now = NOW + secs(1);
    assert_eq!(known.heads(100, now).len(), 16);
    assert!(known.head_of(&servers[0].id(), now).is_none());
}

#[test]
fn a_head_that_comes_again_is_no_younger() {
    let (mut known, head) = (known(), server(1).head(at(1, 1), 7));
    known.merge_head(&head, secs(6), false, NOW);
    known.seen_again(&head, false);
    assert_eq!(known.age(NOW), Some(secs(6)));
}

#[test]
fn two_seats_do_not_keep_each_other_believing_in_a_direct_link() {
    let (mut one, mut other, server) = (known(), known(), server(1));
    hear(&mut one, &server, 0, 7, true, NOW);
    hear(&mut other, &server, 0, 7, false, NOW);
    for n in 1..12 {
        // From now on only a relay brings heads, and the two tell each other what they have.
        let (now, head) = (NOW + secs(n), server.head(at(1, n), 7));
        one.merge_head(&head, ms(100), false, now);
        other.merge_head(&head, ms(100), false, now);
        let (told, heard) = (one.newest(now), other.newest(now));
        other.seen_again(&head, told.is_some_and(|h| h.direct));
        one.seen_again(&head, heard.is_some_and(|h| h.direct));
    }
    assert_eq!(one.reachability(NOW + secs(11)), Degraded);
    assert_eq!(other.reachability(NOW + secs(11)), Degraded);
}
