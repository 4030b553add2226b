//! What once went wrong, each as the smallest trace that showed it.

#![expect(clippy::unwrap_used, reason = "tests")]
mod common;
use common::*;
use pelago_proto::{
    catalog::Known,
    claim::*,
    federation::*,
    roster::*,
    view::{Reachability, Status},
    wire::*,
};
use std::{sync::Arc, time::Duration};

const FLOOR: Duration = Duration::from_millis(2_200);

#[test]
fn two_seats_do_not_keep_each_other_believing_in_a_direct_link() {
    let (a, b) = (&mut Known::new(label("dc1")), &mut Known::new(label("dc1")));
    let server = Realm::new(DOMAIN).server(1, "a", "r1");
    a.merge_head(&server.head(at(1, 0), 7), Duration::ZERO, true, NOW);
    b.merge_head(&server.head(at(1, 0), 7), Duration::ZERO, false, NOW);
    let mut now = NOW;
    for n in 1..60 {
        now = NOW + secs(n);
        // From now on only a relay brings heads; the two seats tell each other what they have.
        let head = server.head(at(1, n), 7);
        a.merge_head(&head, ms(100), false, now);
        b.merge_head(&head, ms(100), false, now);
        let (from_a, from_b) = (a.newest(now).unwrap(), b.newest(now).unwrap());
        b.seen_again(&head, from_a.direct);
        a.seen_again(&head, from_b.direct);
    }
    assert_eq!(a.reachability(now), Reachability::Degraded);
}

fn victim() -> (Arc<Realm>, Federation, Vec<Arc<Node>>) {
    let realm = Realm::new(DOMAIN);
    let mut f = realm.server(0, "a", "r1").start();
    let others: Vec<_> = (1..4).map(|n| realm.server(n, "a", "r2")).collect();
    for o in &others {
        f.handle_introduction(o.record(at(1, 0)).bytes(), &o.leaf, NOW);
    }
    (realm, f, others)
}
fn hear(f: &mut Federation, from: &Node, claim: &[u8], leaf: Option<&Arc<[u8]>>) {
    let news = vec![Item {
        claim: claim.into(),
        leaf: leaf.cloned(),
    }];
    f.handle_datagram(Tier::Lan, from.id(), &Frame::News { news }.encode(), NOW);
}
fn forged(claim: &Claim) -> Vec<u8> {
    let mut bytes = claim.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

#[test]
fn forgeries_of_a_member_do_not_use_up_what_the_member_may_say() {
    let (_, mut f, others) = victim();
    for seq in 1..=200 {
        let bytes = forged(&others[1].alive(at(1, seq), &others[1].record(at(1, 0))));
        hear(&mut f, &others[0], &bytes, None);
    }
    hear(
        &mut f,
        &others[1],
        others[1].leave(at(1, 500)).bytes(),
        None,
    );
    let left = f.view(NOW).datacenters["dc1"]
        .members
        .iter()
        .any(|m| m.status == Status::Left);
    assert!(
        left,
        "signer_budget: {}",
        count(&f, "dropped", "signer_budget")
    );
}

#[test]
fn strangers_cannot_use_up_what_a_member_may_say() {
    let (_, mut f, others) = victim();
    for seq in 1..=200 {
        let bytes = forged(&others[1].record(at(1, seq)));
        f.handle_introduction(&bytes, b"no certificate at all", NOW + ms(10));
    }
    let news = vec![Item {
        claim: Arc::clone(others[1].leave(at(1, 500)).bytes()),
        leaf: None,
    }];
    f.handle_datagram(
        Tier::Lan,
        others[1].id(),
        &Frame::News { news }.encode(),
        NOW + ms(10),
    );
    let left = f.view(NOW).datacenters["dc1"]
        .members
        .iter()
        .any(|m| m.status == Status::Left);
    assert!(
        left,
        "signer_budget: {}",
        count(&f, "dropped", "signer_budget")
    );
}

#[test]
fn budgets_stay_at_their_limit() {
    let (_, mut f, others) = victim();
    let mut bytes = others[1].record(at(1, 9)).bytes().to_vec();
    for n in 0..20_000_u32 {
        bytes[7..11].copy_from_slice(&n.to_be_bytes());
        hear(&mut f, &others[0], &bytes, None);
    }
    let held = count(&f, "table_entries", "signer_budgets");
    assert!(held <= 16_384, "{held}");
}

#[test]
fn a_member_that_moved_racks_is_counted_in_its_new_one() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = [("a", 1), ("a", 2), ("b", 3), ("b", 4)]
        .map(|(z, n)| realm.server(n, z, "r1"))
        .into();
    let moved = realm.issue(&Claimant {
        zone: label("a"),
        serial: 2,
        ..claimant(3)
    });
    let straight = {
        let mut l = Ledger::of(&[nodes[0].clone(), nodes[1].clone(), nodes[3].clone()]);
        l.tell(&moved.record(at(2, 0)));
        l
    };
    let mut l = Ledger::of(&nodes);
    l.tell(&moved.record(at(2, 0)));
    let mut straight = straight;
    for l in [&mut l, &mut straight] {
        l.tell(&nodes[0].accuse(nodes[3].id(), at(1, 0), FLOOR));
        l.tell(&nodes[1].accuse(nodes[3].id(), at(1, 0), FLOOR));
    }
    // Nobody else lives in zone b any more: the two of zone a are enough, whatever the order.
    assert_eq!(straight.status(nodes[3].id()), Status::Dead);
    assert_eq!(l.status(nodes[3].id()), straight.status(nodes[3].id()));
    assert_eq!(
        l.roster.digests().current(),
        straight.roster.digests().current()
    );
}
fn twenty() -> Vec<Arc<Node>> {
    let realm = Realm::new(DOMAIN);
    let mut v: Vec<_> = (0..20)
        .map(|n| realm.server(n, &format!("z{n}"), "r1"))
        .collect();
    v.sort_by_key(|n| n.id());
    v
}

#[test]
fn the_cap_with_accusers_that_turn_non_quorate() {
    let nodes = twenty();
    let x = nodes[19].id();
    let counting: Vec<_> = (0..8)
        .map(|n| nodes[n].accuse(x, at(1, 0), FLOOR))
        .collect();
    let three: Vec<_> = (8..11)
        .map(|n| nodes[n].accuse(x, at(1, 0), FLOOR))
        .collect();
    let weaker: Vec<_> = (0..8)
        .map(|n| nodes[n].accuse_as(x, at(1, 0), secs(9), Basis::Timeout, false))
        .collect();
    let run = |parts: [&Vec<Verified<Claim>>; 3]| {
        let mut l = Ledger::of(&nodes);
        parts.into_iter().flatten().for_each(|c| {
            l.tell(c);
        });
        l.status(x)
    };
    assert_eq!(
        run([&counting, &three, &weaker]),
        run([&weaker, &counting, &three])
    );
}

#[test]
fn the_cap_with_accusations_ahead_of_the_record() {
    let nodes = twenty();
    let x = &nodes[19];
    let early: Vec<_> = (0..8)
        .map(|n| nodes[n].accuse(x.id(), at(1, 1), FLOOR))
        .collect();
    let late: Vec<_> = (8..11)
        .map(|n| nodes[n].accuse(x.id(), at(1, 2), FLOOR))
        .collect();
    let record = vec![x.record(at(1, 2))];
    let run = |parts: [&Vec<Verified<Claim>>; 3]| {
        let mut l = Ledger::of(&nodes);
        parts.into_iter().flatten().for_each(|c| {
            l.tell(c);
        });
        l.status(x.id())
    };
    assert_eq!(run([&early, &late, &record]), run([&record, &early, &late]));
}

#[test]
fn a_refutation_below_a_goodbye() {
    let n = Realm::new(DOMAIN).server(1, "a", "r1");
    let (alive, leave) = (n.alive(at(1, 1), &n.record(at(1, 0))), n.leave(at(1, 2)));
    let kept = |order: [&Verified<Claim>; 2]| {
        let mut l = Ledger::of(std::slice::from_ref(&n));
        for claim in order {
            l.tell(claim);
        }
        l.roster.get(&n.id()).unwrap().claims().count()
    };
    assert_eq!(kept([&alive, &leave]), kept([&leave, &alive]));
}

#[test]
fn two_refutations_at_one_incarnation() {
    let n = Realm::new(DOMAIN).server(1, "a", "r1");
    let (one, two) = (
        n.alive(at(1, 3), &n.record(at(1, 0))),
        n.alive(at(1, 3), &n.record(at(1, 1))),
    );
    let kept = |order: [&Verified<Claim>; 2]| {
        let mut l = Ledger::of(std::slice::from_ref(&n));
        for claim in order {
            l.tell(claim);
        }
        l.roster
            .get(&n.id())
            .unwrap()
            .claims()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(kept([&one, &two]), kept([&two, &one]));
}

#[test]
fn two_removals_with_one_end() {
    let realm = Realm::new(DOMAIN);
    let n = realm.server(1, "a", "r1");
    let (one, two) = (
        realm.operator(8).remove(n.id(), NOT_AFTER),
        realm.operator(9).remove(n.id(), NOT_AFTER),
    );
    let kept = |order: [&Verified<Claim>; 2]| {
        let mut l = Ledger::of(std::slice::from_ref(&n));
        for claim in order {
            l.tell(claim);
        }
        Arc::clone(l.roster.removal(&n.id()).unwrap().bytes())
    };
    assert_eq!(kept([&one, &two]), kept([&two, &one]));
}

#[test]
fn a_faded_tombstone_stays_out_of_the_digest() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = (0..4)
        .map(|n| realm.server(n, &format!("z{n}"), "r1"))
        .collect();
    let mut l = Ledger::of(&nodes);
    let x = nodes[3].id();
    l.tell(&nodes[0].accuse(x, at(1, 0), FLOOR));
    l.tell(&nodes[1].accuse(x, at(1, 0), FLOOR));
    let now = NOW + FADED;
    l.roster.reap(now, UNIX);
    assert_eq!(l.roster.get(&x).unwrap().hash(), 0);
    // A goodbye comes in by repair, half an hour old.
    l.roster
        .merge_aged(&nodes[2].leave(at(1, 1)), now, secs(1800), UNIX);
    assert_eq!(l.roster.get(&x).unwrap().hash(), 0);
}

#[test]
fn a_removal_that_ended_is_over_at_once() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = (0..3).map(|n| realm.server(n, "a", "r1")).collect();
    let mut l = Ledger::of(&nodes);
    l.tell(&realm.operator(9).remove(nodes[2].id(), UNIX + 10));
    l.roster.reap(NOW, UNIX + 11);
    let fresh = Ledger::of(&nodes);
    assert_eq!(
        (l.statuses(), l.roster.present()),
        (fresh.statuses(), fresh.roster.present())
    );
}

#[test]
fn presence_follows_a_removal_that_ended() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = (0..4).map(|n| realm.server(n, "a", "r1")).collect();
    let mut l = Ledger::of(&nodes);
    let x = nodes[2].id();
    l.tell(&nodes[0].accuse(x, at(1, 0), ms(100)));
    l.tell(&realm.operator(9).remove(x, UNIX + 10));
    l.roster.reap(NOW, UNIX + 11);
    // Anything that makes statuses be derived anew.
    l.roster.merge(&nodes[1].record(at(2, 0)), NOW, UNIX + 11);
    assert_eq!(l.status(x), Status::Suspect);
    assert_eq!(l.roster.present(), 4);
}

#[test]
fn a_death_is_not_undone_to_alive_by_a_newcomer() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = (0..9)
        .map(|n| realm.server(n, &format!("z{n}"), "r1"))
        .collect();
    let mut l = Ledger::of(&nodes[..8]);
    let x = nodes[7].id();
    for by in [5, 6] {
        l.tell(&nodes[by].accuse(x, at(1, 0), FLOOR));
    }
    for of in [5, 6] {
        for by in 0..3 {
            l.tell(&nodes[by].accuse(nodes[of].id(), at(1, 0), FLOOR));
        }
    }
    assert_eq!(l.status(x), Status::Dead);
    l.tell(&nodes[8].record(at(1, 0)));
    assert_ne!(l.status(x), Status::Alive);
}

#[test]
fn a_clones_refused_address_does_not_bar_the_member_that_is_held() {
    let realm = Realm::new(DOMAIN);
    let me = realm.server(0, "a", "r1");
    let r = me.says(at(0, 0));
    let settings = Settings {
        region: label("north"),
        lan: r.lan,
        stream: r.stream(),
        wan: r.wan,
        lan_allow: vec!["10.0.0.0/8".parse().unwrap()],
        wan_allow: vec!["0.0.0.0/0".parse().unwrap()],
        wan_datacenters: Default::default(),
        tags: Default::default(),
        probe_interval: ms(200),
        pause_tolerance: secs(2),
        tuning: pelago_proto::pool::Tuning::default(),
        seats: 3,
        limits: pelago_proto::limit::Limits::default(),
        version: "0".into(),
        memory: Default::default(),
    };
    let mut f = Federation::new(settings, me, [7; 32], NOW).unwrap();
    f.seeds(vec![], vec![], NOW);
    let o = realm.server(1, "a", "r2");
    let held = o.record(at(1, 0));
    f.handle_introduction(held.bytes(), &o.leaf, NOW);
    assert!(f.lan_key(o.id()).is_some());
    let lesser = (1..99)
        .map(|n| {
            o.record_with(at(1, 0), |r| {
                r.lan = format!("172.16.0.{n}:7000").parse().unwrap()
            })
        })
        .find(|c| c.hash() < held.hash())
        .unwrap();
    hear(&mut f, &o, lesser.bytes(), Some(&o.leaf));
    assert!(f.lan_key(o.id()).is_some());
}

#[test]
fn an_age_beyond_belief_does_not_bury_a_tombstone() {
    let (_, mut f, others) = victim();
    let b = Bundle {
        claims: vec![
            Arc::clone(others[1].record(at(1, 0)).bytes()),
            Arc::clone(others[1].leave(at(1, 1)).bytes()),
        ],
        leaf: others[1].leaf.clone(),
        removal: None,
        age: Duration::from_millis(u64::MAX),
    };
    let ask = Ask::Exchange {
        datacenter: label("dc1"),
        want: vec![],
        give: vec![b],
    };
    f.handle_request(Tier::Lan, &others[0].peer(), &ask.encode(), NOW);
    for n in 1..200 {
        f.handle_timeout(NOW + ms(100 * n));
    }
    assert!(
        f.view(NOW + secs(21)).datacenters["dc1"]
            .members
            .iter()
            .any(|m| m.id == others[1].id())
    );
}

#[test]
fn an_answer_about_everybody_fits_a_message() {
    let (realm, mut f, others) = victim();
    let nodes: Vec<_> = (10..10_010).map(|n| realm.server(n, "a", "r3")).collect();
    for some in nodes.chunks(100) {
        let give = some
            .iter()
            .map(|n| Bundle {
                claims: vec![Arc::clone(n.record(at(1, 0)).bytes())],
                leaf: Arc::clone(&n.leaf),
                ..Bundle::default()
            })
            .collect();
        f.handle_request(
            Tier::Lan,
            &others[0].peer(),
            &Ask::Exchange {
                datacenter: label("dc1"),
                want: vec![],
                give,
            }
            .encode(),
            NOW,
        );
    }
    let ask = Ask::Compare {
        datacenter: label("dc1"),
        bits: 10,
        buckets: vec![0; 1024],
    };
    let reply = f.handle_request(Tier::Lan, &others[0].peer(), &ask.encode(), NOW);
    assert!(reply.len() <= MAX_MESSAGE, "{} bytes", reply.len());
}

#[test]
fn seats_of_many_datacenters_fit_a_message() {
    let (realm, mut f, _) = victim();
    for dc in 0..63_u32 {
        let nodes: Vec<_> = (0..7)
            .map(|n| {
                realm.issue(&Claimant {
                    datacenter: label(&format!("far-{dc}")),
                    ..claimant(1000 + dc * 10 + n)
                })
            })
            .collect();
        let mine = nodes
            .iter()
            .map(|n| Bundle {
                claims: vec![Arc::clone(
                    n.record_with(at(1, 0), |r| r.seat = true).bytes(),
                )],
                leaf: Arc::clone(&n.leaf),
                ..Bundle::default()
            })
            .collect();
        f.handle_request(
            Tier::Wan,
            &nodes[0].peer(),
            &Ask::Seats {
                known: vec![],
                mine,
            }
            .encode(),
            NOW + secs(u64::from(dc)),
        );
    }
    let new = realm.issue(&Claimant {
        datacenter: label("new"),
        ..claimant(9999)
    });
    let reply = f.handle_request(
        Tier::Wan,
        &new.peer(),
        &Ask::Seats {
            known: vec![],
            mine: vec![],
        }
        .encode(),
        NOW + secs(70),
    );
    assert!(reply.len() <= MAX_MESSAGE, "{} bytes", reply.len());
}

#[test]
fn a_remembered_boot_at_its_end_does_not_stop_a_start() {
    let me = Realm::new(DOMAIN).server(0, "a", "r1");
    let r = me.says(at(0, 0));
    let settings = Settings {
        region: label("north"),
        lan: r.lan,
        stream: r.stream(),
        wan: r.wan,
        lan_allow: vec![],
        wan_allow: vec![],
        wan_datacenters: Default::default(),
        tags: Default::default(),
        probe_interval: ms(200),
        pause_tolerance: secs(2),
        tuning: pelago_proto::pool::Tuning::default(),
        seats: 3,
        limits: pelago_proto::limit::Limits::default(),
        version: "0".into(),
        memory: Memory {
            boot: u64::MAX,
            ..Default::default()
        },
    };
    assert!(Federation::new(settings, me, [7; 32], NOW).is_ok());
}
