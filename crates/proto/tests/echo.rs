//! Pushes that come again are known by their bytes; nothing that was not taken in is.

mod common;

use common::{DOMAIN, NOW, Node, Realm, at, count, ms};
use pelago_proto::{
    claim::{Claim, Verified},
    federation::{Federation, Tier},
    time::Time,
    view::Status,
    wire::{Frame, Item},
};
use std::sync::Arc;

struct Three {
    federation: Federation,
    known: Arc<Node>,
    stranger: Arc<Node>,
}

/// A running node, one that it knows, and one that it does not.
fn three() -> Three {
    let realm = Realm::new(DOMAIN);
    let mut federation = realm.server(0, "a", "r1").start();
    let known = realm.server(1, "a", "r2");
    federation.handle_introduction(known.record(at(1, 0)).bytes(), &known.leaf, NOW);
    Three {
        federation,
        known,
        stranger: realm.server(2, "a", "r3"),
    }
}

impl Three {
    fn push(&mut self, claims: &[(&Verified<Claim>, bool)], now: Time) {
        let item = |(claim, with_leaf): &(&Verified<Claim>, bool)| Item {
            claim: Arc::clone(claim.bytes()),
            leaf: with_leaf.then(|| Arc::clone(&claim.signer().leaf)),
        };
        let frame = Frame::News {
            news: claims.iter().map(item).collect(),
        };
        self.federation
            .handle_datagram(Tier::Lan, self.known.id(), &frame.encode(), now);
    }

    fn counted(&self, name: &str) -> u64 {
        count(&self.federation, name, "")
    }
}

#[test]
fn the_same_push_again_costs_no_look_and_changes_nothing() {
    let mut three = three();
    let record = three.stranger.record(at(1, 0));
    three.push(&[(&record, true)], NOW);
    let before = three.federation.generation();
    assert_eq!(three.counted("pushes_echoed"), 0);
    three.push(&[(&record, true)], NOW + ms(1));
    assert_eq!(three.counted("pushes_echoed"), 1);
    assert_eq!(three.counted("claims_known_already"), 0);
    assert_eq!(three.federation.generation(), before);
    // Later it is looked at again: what was known then may have been forgotten.
    three.push(&[(&record, true)], NOW + ms(2_500));
    assert_eq!(three.counted("pushes_echoed"), 1);
    assert_eq!(three.counted("claims_known_already"), 1);
}

#[test]
fn what_was_refused_is_judged_again() {
    let mut three = three();
    let goodbye = three.stranger.leave(at(1, 0));
    three.push(&[(&goodbye, false)], NOW);
    assert_eq!(three.counted("pushes_echoed"), 0);
    let record = three.stranger.record(at(1, 0));
    three.push(&[(&record, true)], NOW + ms(1));
    three.push(&[(&goodbye, false)], NOW + ms(2));
    assert_eq!(three.counted("pushes_echoed"), 0);
    let view = three.federation.view(NOW + ms(3));
    let mut members = view.datacenters.values().flat_map(|dc| dc.members.iter());
    let stranger = members.find(|m| m.id == three.stranger.id());
    assert_eq!(stranger.map(|m| m.status), Some(Status::Left));
}

#[test]
fn a_push_that_was_taken_in_by_half_is_judged_again() {
    let mut three = three();
    let record = three.stranger.record(at(1, 0));
    let old = three.known.record(at(1, 0));
    for _ in 0..2 {
        three.push(&[(&record, true), (&old, false)], NOW);
    }
    assert_eq!(three.counted("pushes_echoed"), 0);
    assert_eq!(three.counted("claims_known_already"), 3);
}
