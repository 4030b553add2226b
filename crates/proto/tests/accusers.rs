//! Accusers that are refuted again and again: ignored when they are alone, never when they are not, and never for good.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{DOMAIN, NOW, Node, Realm, at, count, label, ms, secs};
use pelago_proto::{
    claim::{Claim, Verified},
    federation::{Federation, Tier},
    identity::Incarnation,
    time::Time,
    view::Status,
    wire::{Ask, Bundle, Frame, Item},
};
use std::{sync::Arc, time::Duration};

/// A pool of ten: verdicts take three accusers, so two may be ignored.
struct Court {
    me: Federation,
    others: Vec<Arc<Node>>,
    /// What each of the others has refuted so far.
    seq: u64,
    now: Time,
}

fn court(size: u32) -> Court {
    let realm = Realm::new(DOMAIN);
    let mut me = realm.server(0, "a", "r1").start();
    let racks = ["r2", "r3", "r4"];
    let others: Vec<_> = (1..size)
        .map(|n| realm.server(n, "a", racks[n as usize % 3]))
        .collect();
    for other in &others {
        me.handle_introduction(other.record(at(1, 0)).bytes(), &other.leaf, NOW);
    }
    Court {
        me,
        others,
        seq: 0,
        now: NOW,
    }
}

impl Court {
    fn told(&mut self, from: usize, claim: &Verified<Claim>) {
        let news = vec![Item {
            claim: Arc::clone(claim.bytes()),
            leaf: None,
        }];
        let from = self.others[from].id();
        self.me
            .handle_datagram(Tier::Lan, from, &Frame::News { news }.encode(), self.now);
    }

    fn accuse(&mut self, by: usize, of: usize) {
        let (victim, at) = (self.others[of].id(), at(1, self.seq));
        let claim = self.others[by].accuse(victim, at, ms(300));
        self.told(by, &claim);
    }

    fn refute(&mut self, of: usize) {
        self.seq += 1;
        let record = self.others[of].record(at(1, 0));
        let claim = self.others[of].alive(at(1, self.seq), &record);
        self.told(of, &claim);
    }

    /// Four times in a row this one accuses that one, which refutes it.
    fn discredit(&mut self, liar: usize, victim: usize) {
        for _ in 0..4 {
            self.accuse(liar, victim);
            assert_eq!(self.status(victim), Status::Suspect);
            self.refute(victim);
            assert_eq!(self.status(victim), Status::Alive);
        }
    }

    /// One more lie, in its turn, and its refutation.
    fn discredit_slowly(&mut self, liar: usize, victim: usize) {
        self.wait(secs(5));
        self.accuse(liar, victim);
        assert_eq!(self.status(victim), Status::Suspect);
        self.refute(victim);
    }

    fn status(&mut self, other: usize) -> Status {
        let id = self.others[other].id();
        let view = self.me.view(self.now);
        let members = &view.datacenters["dc1"].members;
        members.iter().find(|m| m.id == id).unwrap().status
    }

    fn dropped(&self) -> u64 {
        count(&self.me, "dropped", "accuser_doubted")
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn accuse_me(&mut self, by: usize, told_by: usize) -> Incarnation {
        let before = self.me.incarnation();
        let claim = self.others[by].accuse(self.me.me(), before, ms(300));
        self.told(told_by, &claim);
        self.me.incarnation()
    }
}

#[test]
fn who_is_refuted_four_times_is_ignored_when_alone() {
    let mut court = court(10);
    court.discredit(0, 5);
    let verified = count(&court.me, "claims_verified", "");
    court.accuse(0, 5);
    assert_eq!((court.status(5), court.dropped()), (Status::Alive, 1));
    // Not even its signature was looked at.
    assert_eq!(count(&court.me, "claims_verified", ""), verified);
}

#[test]
fn whom_another_accuses_too_it_may_accuse() {
    let mut court = court(10);
    court.discredit(0, 5);
    court.accuse(1, 5);
    court.accuse(0, 5);
    assert_eq!((court.status(5), court.dropped()), (Status::Suspect, 0));
    let id = court.others[5].id();
    assert_eq!(
        court.me.evidence(id, court.now).unwrap().accusations.len(),
        2
    );
}

#[test]
fn two_of_a_kind_do_not_vouch_for_each_other() {
    let mut court = court(10);
    court.discredit(0, 5);
    court.discredit(1, 5);
    court.accuse(0, 5);
    court.accuse(1, 5);
    assert_eq!((court.status(5), court.dropped()), (Status::Alive, 2));
}

#[test]
fn no_more_are_ignored_than_a_verdict_can_do_without() {
    let mut court = court(10);
    for liar in 0..2 {
        court.discredit(liar, 5);
        court.discredit_slowly(liar, 5);
    }
    court.discredit(2, 5);
    // The first one's turn has come again meanwhile.
    court.accuse(0, 5);
    court.refute(5);
    let heard = [0, 1, 2].map(|liar| {
        court.accuse(liar, 5);
        let heard = court.status(5) == Status::Suspect;
        court.refute(5);
        heard
    });
    assert_eq!(heard, [false, false, true], "the two refuted most");
}

#[test]
fn in_a_pool_of_two_the_other_is_always_heard() {
    let mut court = court(3);
    let leave = court.others[1].leave(at(1, 9));
    court.told(1, &leave);
    for _ in 0..20 {
        let before = court.me.incarnation();
        assert!(court.accuse_me(0, 0) > before);
    }
}

#[test]
fn what_it_says_gets_in_every_few_seconds_also_in_bulk() {
    let mut court = court(10);
    court.discredit(0, 5);
    let claim = court.others[0].accuse(court.others[5].id(), at(1, court.seq), ms(300));
    let give = |court: &mut Court| {
        let (leaf, from) = (Arc::clone(&court.others[5].leaf), court.others[0].peer());
        let ask = Ask::Exchange {
            datacenter: label("dc1"),
            want: Vec::new(),
            give: vec![Bundle {
                claims: vec![Arc::clone(claim.bytes())],
                leaf,
                ..Bundle::default()
            }],
        };
        court
            .me
            .handle_request(Tier::Lan, &from, &ask.encode(), court.now);
        court.status(5)
    };
    assert_eq!(give(&mut court), Status::Alive);
    court.wait(secs(5));
    assert_eq!(give(&mut court), Status::Suspect);
}

#[test]
fn it_is_believed_again_ten_minutes_after_its_last_lie() {
    let mut court = court(10);
    for _ in 0..20 {
        court.discredit_slowly(0, 5);
    }
    court.accuse(0, 5);
    assert_eq!((court.status(5), court.dropped()), (Status::Alive, 1));
    court.wait(secs(601));
    for _ in 0..2 {
        court.accuse(0, 5);
        assert_eq!(court.status(5), Status::Suspect);
        court.refute(5);
        court.wait(secs(150));
    }
}

#[test]
fn three_in_ten_minutes_are_forgiven() {
    let mut court = court(10);
    for _ in 0..12 {
        court.accuse(0, 5);
        assert_eq!(court.status(5), Status::Suspect);
        court.refute(5);
        court.wait(secs(200));
    }
    assert_eq!(court.dropped(), 0);
}

#[test]
fn a_verdict_that_was_refuted_discredits_nobody() {
    let mut court = court(10);
    for _ in 0..6 {
        for by in 0..3 {
            court.accuse(by, 5);
        }
        court.refute(5);
    }
    assert_eq!(court.dropped(), 0);
    assert_eq!(count(&court.me, "table_entries", "doubted_accusers"), 0);
}

#[test]
fn a_restart_refutes_nobody() {
    let mut court = court(10);
    for boot in 1..9 {
        let victim = Arc::clone(&court.others[5]);
        let claim = court.others[0].accuse(victim.id(), at(boot, 0), secs(3));
        court.told(0, &claim);
        let record = victim.record(at(boot + 1, 0));
        court
            .me
            .handle_introduction(record.bytes(), &victim.leaf, court.now);
    }
    assert_eq!(court.dropped(), 0);
}

#[test]
fn the_accused_answers_a_doubted_accuser_every_few_seconds() {
    let mut court = court(10);
    let first = court.me.incarnation();
    for _ in 0..100 {
        court.accuse_me(0, 0);
        court.wait(ms(100));
    }
    let answers = court.me.incarnation().seq - first.seq;
    // Four, until it is doubted, and one each time that 5 s have passed.
    assert!((5..=6).contains(&answers), "{answers} answers in 10 s");
}

#[test]
fn the_accused_answers_at_once_what_others_pass_on() {
    let mut court = court(10);
    for _ in 0..10 {
        court.accuse_me(0, 0);
    }
    let before = court.me.incarnation();
    assert!(court.accuse_me(0, 1) > before);
}
