//! What a removal does to one node's knowledge: what it accepts, what it passes over, what it remembers and what it answers.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    DOMAIN, Ledger, NOT_AFTER, NOW, Node, Realm, UNIX, at, claimant, count, label, ms, secs,
};
use pelago_proto::{
    claim::{Body, Claim, LONGEST_LEAF, MAX_REASON, Refused, Removal, Verified, verify},
    federation::{Federation, RemovalError, Tier},
    view::Status,
    wire::{Ask, Bundle, Frame, Item, Reply},
};
use std::sync::Arc;

/// A node that knows three others, and an operator of its datacenter.
struct Desk {
    me: Federation,
    realm: Arc<Realm>,
    operator: Arc<Node>,
    others: Vec<Arc<Node>>,
}

fn desk() -> Desk {
    let realm = Realm::new(DOMAIN);
    let mut me = realm.server(0, "a", "r1").start();
    let others: Vec<_> = (1..4).map(|n| realm.server(n, "a", "r2")).collect();
    for other in &others {
        me.handle_introduction(other.record(at(1, 0)).bytes(), &other.leaf, NOW);
    }
    let operator = realm.operator(50);
    Desk {
        me,
        realm,
        operator,
        others,
    }
}

impl Desk {
    /// One of the others is removed, by somebody who brings the removal here.
    fn remove(&mut self, other: usize) -> Item {
        let item = Item::with_leaf(&self.operator.remove(self.others[other].id(), NOT_AFTER));
        self.me.hand_in_removal(&item, NOW).unwrap();
        item
    }

    fn told_by(&mut self, other: usize, items: &[Item]) {
        let frame = Frame::News {
            news: items.to_vec(),
        };
        let from = self.others[other].id();
        self.me
            .handle_datagram(Tier::Lan, from, &frame.encode(), NOW);
    }

    fn asked_by(&mut self, other: usize, ask: &Ask) -> Option<Reply> {
        let from = self.others[other].peer();
        let answer = self.me.handle_request(Tier::Lan, &from, &ask.encode(), NOW);
        Reply::decode(&answer).ok()
    }

    fn status(&mut self, other: usize) -> Status {
        let id = self.others[other].id();
        let view = self.me.view(NOW);
        let members = &view.datacenters["dc1"].members;
        members.iter().find(|m| m.id == id).unwrap().status
    }

    fn dropped(&self, reason: &str) -> u64 {
        count(&self.me, "dropped", reason)
    }
}

fn plain(claim: &Verified<Claim>) -> Item {
    Item {
        claim: Arc::clone(claim.bytes()),
        leaf: None,
    }
}

#[test]
fn late_words_of_somebody_removed_are_not_even_verified() {
    let mut desk = desk();
    desk.remove(0);
    let gone = Arc::clone(&desk.others[0]);
    let later = gone.record(at(9, 0));
    let words = [
        Item::with_leaf(&later),
        plain(&gone.alive(at(9, 1), &later)),
        plain(&gone.leave(at(9, 2))),
        plain(&gone.accuse(desk.others[2].id(), at(1, 0), secs(3))),
    ];
    let verified = count(&desk.me, "claims_verified", "");
    desk.told_by(1, &words);
    assert_eq!(desk.dropped("removed_signer"), 4);
    assert_eq!(count(&desk.me, "claims_verified", ""), verified);
    assert_eq!(
        (desk.status(0), desk.status(2)),
        (Status::Removed, Status::Alive)
    );
}

#[test]
fn nothing_from_it_is_opened_any_more() {
    let mut desk = desk();
    assert!(desk.me.lan_key(desk.others[0].id()).is_some());
    desk.remove(0);
    assert_eq!(desk.me.lan_key(desk.others[0].id()), None);
    desk.told_by(0, &[]);
    assert_eq!(desk.dropped("removed_sender"), 1);
    let gone = Arc::clone(&desk.others[0]);
    let met = desk
        .me
        .handle_introduction(gone.record(at(2, 0)).bytes(), &gone.leaf, NOW);
    assert_eq!(met, None);
}

#[test]
fn whatever_it_asks_it_gets_its_removal() {
    let mut desk = desk();
    let removal = desk.remove(0);
    let you = Bundle {
        removal: Some(removal.clone()),
        ..Bundle::default()
    };
    let pull = Ask::Pull {
        datacenter: label("dc1"),
        after: None,
    };
    assert_eq!(
        desk.asked_by(0, &pull),
        Some(Reply::Page {
            bundles: Vec::new(),
            next: None,
            you: Some(you.clone()),
        })
    );
    assert_eq!(
        desk.asked_by(0, &Ask::Probe { news: Vec::new() }),
        Some(Reply::Here {
            news: vec![removal],
        })
    );
    assert_eq!(desk.asked_by(0, &Ask::Heads), None);
    let others = desk.asked_by(1, &pull);
    assert!(
        matches!(others, Some(Reply::Page { bundles, .. }) if bundles.len() == 3),
        "others get everybody"
    );
}

#[test]
fn who_hears_of_its_own_removal_says_nothing_any_more() {
    let realm = Realm::new(DOMAIN);
    let me = realm.server(0, "a", "r1");
    let mut federation = me.start();
    let removal = Item::with_leaf(&realm.operator(50).remove(me.id(), NOT_AFTER));
    federation.hand_in_removal(&removal, NOW).unwrap();
    assert!(federation.view(NOW).is_removed());
    while federation.poll_transmit().is_some() {}
    federation.handle_timeout(NOW + secs(60));
    assert_eq!(federation.poll_transmit(), None);
    assert_eq!(
        federation.poll_timeout().at,
        pelago_proto::time::Time::NEVER
    );
    // A new start with what was remembered changes nothing, and asks nobody.
    let mut memory = None;
    while let Some(newer) = federation.poll_memory() {
        memory = Some(newer);
    }
    let mut again = me.start_with(memory.unwrap());
    assert!(again.view(NOW).is_removed());
    again.seeds(vec!["10.9.9.9:7001".parse().unwrap()], Vec::new(), NOW);
    assert_eq!((again.poll_transmit(), again.poll_request()), (None, None));
}

#[test]
fn what_was_remembered_and_is_no_removal_is_forgotten() {
    let realm = Realm::new(DOMAIN);
    let me = realm.server(0, "a", "r1");
    let forged = realm.server(1, "a", "r1").remove(me.id(), NOT_AFTER);
    let over = realm.operator(50).remove(me.id(), UNIX - 1);
    let rubbish = Item {
        claim: [7; 100].into(),
        leaf: None,
    };
    let mut federation = me.start_with(pelago_proto::federation::Memory {
        removals: vec![Item::with_leaf(&forged), Item::with_leaf(&over), rubbish],
        ..Default::default()
    });
    assert!(!federation.view(NOW).is_removed());
    let mut kept = None;
    while let Some(memory) = federation.poll_memory() {
        kept = Some(memory.removals);
    }
    assert_eq!(kept, Some(Vec::new()));
}

#[test]
fn only_a_sound_removal_by_an_operator_of_the_datacenter_is_taken() {
    let mut desk = desk();
    let gone = desk.others[0].id();
    let mut refused = |removal: &Verified<Claim>| {
        let item = Item::with_leaf(removal);
        desk.me.hand_in_removal(&item, NOW).unwrap_err()
    };
    let by_member = desk.others[1].remove(gone, NOT_AFTER);
    assert_eq!(refused(&by_member), RemovalError::Refused(Refused::Role));
    let over = desk.operator.remove(gone, UNIX - 1);
    assert_eq!(refused(&over), RemovalError::Over);
    let not_a_removal = desk.others[1].leave(at(1, 1));
    assert_eq!(refused(&not_a_removal), RemovalError::Malformed);
    let elsewhere = desk.realm.issue(&common::Claimant {
        datacenter: label("dc2"),
        role: pelago_proto::identity::Role::Operator,
        ..claimant(60)
    });
    assert_eq!(
        refused(&elsewhere.remove(gone, NOT_AFTER)),
        RemovalError::Elsewhere {
            member: label("dc1"),
            operator: label("dc2"),
        }
    );
    assert_eq!(
        refused(&elsewhere.remove(desk.realm.server(9, "a", "r1").id(), NOT_AFTER)),
        RemovalError::NoWay(label("dc2"))
    );
    let mut damaged = Item::with_leaf(&desk.operator.remove(gone, NOT_AFTER));
    let mut bytes = damaged.claim.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    damaged.claim = bytes.into();
    let why = desk.me.hand_in_removal(&damaged, NOW).unwrap_err();
    assert_eq!(why, RemovalError::Refused(Refused::Signature));
    assert_eq!(desk.status(0), Status::Alive);
}

/// Whose certificate ended long ago can remove nobody: a removal lasts as long as a certificate of its time could.
#[test]
fn no_removal_outlasts_the_certificates_that_its_author_could_have_known() {
    let realm = Realm::new(DOMAIN);
    let (operator, gone) = (realm.operator(50), realm.server(1, "a", "r1").id());
    let judged = |until| {
        let claim = Claim::clone(&operator.remove(gone, until));
        verify(&*operator, claim, &operator.certified).map(|_| ())
    };
    assert_eq!(judged(NOT_AFTER + LONGEST_LEAF), Ok(()));
    assert_eq!(judged(NOT_AFTER + LONGEST_LEAF + 1), Err(Refused::Until));
    assert_eq!(judged(u64::MAX), Err(Refused::Until));
}

#[test]
fn a_reason_is_one_short_line() {
    let operator = Realm::new(DOMAIN).operator(50);
    let read = |reason: &str| {
        let claim = operator.sign(Body::Removal(Removal {
            removed: operator.id(),
            until: NOT_AFTER,
            reason: reason.into(),
        }));
        Claim::parse(claim.bytes()).is_ok()
    };
    assert!(read("") && read("außer Betrieb, ticket 4711") && read(&"x".repeat(MAX_REASON)));
    assert!(!read("two\nlines") && !read("\u{1b}[31m") && !read(&"x".repeat(MAX_REASON + 1)));
}

/// Rosters are alike if they agree on who is removed, whatever else they heard of those.
#[test]
fn what_is_known_of_the_removed_does_not_tell_rosters_apart() {
    let realm = Realm::new(DOMAIN);
    let nodes: Vec<_> = (0..3).map(|n| realm.server(n, "a", "r1")).collect();
    let removal = realm.operator(50).remove(nodes[2].id(), NOT_AFTER);
    let mut knows = Ledger::of(&nodes);
    knows.tell(&removal);
    knows.tell(&nodes[2].record(at(7, 0)));
    let mut does_not = Ledger::of(&nodes[..2]);
    let before = does_not.roster.digests().current();
    does_not.tell(&removal);
    assert_ne!(does_not.roster.digests().current(), before);
    assert_eq!(
        knows.roster.digests().current(),
        does_not.roster.digests().current()
    );
    assert_eq!(knows.roster.buckets(3), does_not.roster.buckets(3));
    let ids = |ledger: &Ledger| ledger.roster.ids(None).copied().collect::<Vec<_>>();
    assert_eq!(ids(&knows), ids(&does_not));
    assert!(ids(&knows).is_sorted());
    let last = ids(&knows)[1];
    assert_eq!(
        does_not.roster.ids(Some(last)).count(),
        1,
        "pages go on where they stopped"
    );
    // With the removal's end both are what they were without it.
    knows.roster.reap(NOW, NOT_AFTER + 1);
    does_not.roster.reap(NOW, NOT_AFTER + 1);
    assert_eq!(does_not.roster.digests().current(), before);
    assert_eq!(knows.status(nodes[2].id()), Status::Alive);
}

#[test]
fn somebody_unknown_who_was_removed_is_named_in_pages_and_comparisons() {
    let mut desk = desk();
    let stranger = desk.realm.server(9, "a", "r1");
    let removal = Item::with_leaf(&desk.operator.remove(stranger.id(), NOT_AFTER));
    desk.me.hand_in_removal(&removal, NOW).unwrap();
    let told = Bundle {
        removal: Some(removal),
        ..Bundle::default()
    };
    let pull = Ask::Pull {
        datacenter: label("dc1"),
        after: None,
    };
    let Some(Reply::Page { bundles, .. }) = desk.asked_by(1, &pull) else {
        panic!("no page");
    };
    assert!(bundles.contains(&told));
    let compare = Ask::Compare {
        datacenter: label("dc1"),
        bits: 0,
        buckets: vec![0],
    };
    let Some(Reply::Differences { entries, .. }) = desk.asked_by(1, &compare) else {
        panic!("no differences");
    };
    assert!(entries.iter().any(|(id, _)| *id == stranger.id()));
    let exchange = Ask::Exchange {
        datacenter: label("dc1"),
        want: vec![stranger.id()],
        give: Vec::new(),
    };
    assert_eq!(
        desk.asked_by(1, &exchange),
        Some(Reply::Given {
            bundles: vec![told],
        })
    );
}

/// A bundle that names somebody and its removal shows nobody as a newcomer.
#[test]
fn a_newcomer_by_repair_is_removed_from_the_start() {
    let mut desk = desk();
    let stranger = desk.realm.server(9, "a", "r1");
    let bundle = Bundle {
        claims: vec![Arc::clone(stranger.record(at(1, 0)).bytes())],
        leaf: Arc::clone(&stranger.leaf),
        removal: Some(Item::with_leaf(
            &desk.operator.remove(stranger.id(), NOT_AFTER),
        )),
        ..Bundle::default()
    };
    let exchange = Ask::Exchange {
        datacenter: label("dc1"),
        want: Vec::new(),
        give: vec![bundle],
    };
    while desk.me.poll_event().is_some() {}
    desk.asked_by(1, &exchange);
    let shown: Vec<_> = std::iter::from_fn(|| desk.me.poll_event())
        .filter(|event| event.member == Some(stranger.id()))
        .map(|event| event.detail)
        .collect();
    assert_eq!(shown, ["first seen, removed, by n50"]);
}

#[test]
fn decisions_get_through_when_a_relay_has_nothing_left_to_say() {
    let mut desk = desk();
    let other = Arc::clone(&desk.others[2]);
    // Forgeries use up what one peer may have verified.
    for n in 0..1_100_u64 {
        let mut forged = other.record(at(2, n)).bytes().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let item = Item {
            claim: forged.into(),
            leaf: None,
        };
        desk.told_by(1, &[item]);
    }
    assert!(desk.dropped("relay_budget") > 0);
    let removal = Item::with_leaf(&desk.operator.remove(desk.others[0].id(), NOT_AFTER));
    desk.told_by(1, &[removal]);
    assert_eq!(desk.status(0), Status::Removed);
}

#[test]
fn an_end_that_passes_gives_the_name_back() {
    let mut desk = desk();
    let soon = desk.operator.remove(desk.others[0].id(), UNIX + 30);
    desk.me
        .hand_in_removal(&Item::with_leaf(&soon), NOW)
        .unwrap();
    assert_eq!(desk.status(0), Status::Removed);
    desk.realm.set_unix_time(UNIX + 31);
    desk.me.handle_timeout(NOW + secs(11));
    assert_eq!(desk.status(0), Status::Alive);
    assert!(desk.me.lan_key(desk.others[0].id()).is_some());
    let again = desk
        .me
        .hand_in_removal(&Item::with_leaf(&soon), NOW + ms(1));
    assert_eq!(again, Err(RemovalError::Over));
}
