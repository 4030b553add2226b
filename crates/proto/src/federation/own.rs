//! What this node says of itself: its record, its refutations, its goodbye, its accusations.

use super::{Federation, Fresh, Settings, Tier, repeats::Matter};
use crate::{
    claim::{Accusation, Alive, Basis, Body, Claim, Leave, Record, Verified, Versions},
    contact::position,
    identity::{Incarnation, Location, NodeId},
    pool::Priority,
    roster::Cloned,
    time::Time,
    trust::Certified,
    view::{EventKind, Status},
    wire::{Bundle, Item, VERSION},
};
use std::{sync::Arc, time::Duration};

/// A second process with our key is answered at most this often.
const CLONE_ANSWER: Duration = Duration::from_secs(60);

pub(super) fn first_record(
    settings: &Settings,
    me: &Certified,
    lan_key: [u8; 32],
    incarnation: Incarnation,
) -> Record {
    Record {
        incarnation,
        name: me.name.clone(),
        location: Location {
            region: settings.region.clone(),
            datacenter: me.datacenter.clone(),
            zone: me.zone.clone(),
            rack: me.rack.clone(),
        },
        role: me.role,
        cert_hash: me.cert_hash,
        lan: settings.lan,
        stream_port: settings.stream.port(),
        wan: settings.wan,
        lan_key,
        pause_tolerance: settings.pause_tolerance,
        health: 0,
        seat: false,
        seats: settings.seats,
        versions: Versions {
            min: VERSION,
            max: VERSION,
        },
        software: settings.version.clone(),
        tags: settings.tags.clone(),
    }
}

impl Federation {
    /// Says goodbye. Drain transmits for a moment, then stop.
    pub fn leave(&mut self, now: Time) {
        if self.left {
            return;
        }
        self.incarnation.seq += 1;
        let claim = Claim::sign(
            &*self.trust,
            Body::Leave(Leave {
                incarnation: self.incarnation,
            }),
        );
        self.publish_own(&claim, now);
        self.settle(now);
        self.left = true;
        self.changed();
    }

    /// The certificate was renewed, or whom we trust changed: judge everybody again, and say anew who we are.
    pub fn handle_trust_changed(&mut self, now: Time) {
        let me = self.trust.own();
        if me.id == self.me.id && me.cert_hash != self.me.cert_hash {
            self.me = me;
            self.lan.set_position(position(&self.me.serial));
            self.republish(now);
        }
        self.lists_changed(None, Tier::Lan, now);
        self.expel(now);
        self.settle(now);
    }

    /// Signs a new record at a higher incarnation and spreads it.
    pub(super) fn republish(&mut self, now: Time) {
        if self.left {
            return;
        }
        self.record_is_stale = false;
        self.incarnation.seq += 1;
        self.sign_record(now);
        let claim = self.record_claim.clone();
        self.spread_own(&claim);
        self.changed();
    }

    fn sign_record(&mut self, now: Time) {
        let mut record = (*self.record).clone();
        record.incarnation = self.incarnation;
        record.cert_hash = self.me.cert_hash;
        record.health = self.health.max(self.lan.health.score() / 2);
        self.record = Arc::new(record);
        self.record_claim = Claim::sign(&*self.trust, Body::Record(Arc::clone(&self.record)));
        self.alive_claim = None;
        self.hold_own(now);
    }

    /// Takes a seat, or gives it up.
    pub(super) fn set_seat(&mut self, seat: bool, now: Time) {
        let mut record = (*self.record).clone();
        record.seat = seat;
        self.record = Arc::new(record);
        self.republish(now);
        self.count(if seat {
            "seats_taken"
        } else {
            "seats_resigned"
        });
        self.refresh_wan(now);
    }

    /// Keeps our own claims in our roster, like everybody's: the set hash includes us.
    pub(super) fn hold_own(&mut self, now: Time) {
        let unix = self.trust.unix_time();
        let claim = self.record_claim.clone();
        let datacenter = self.me.datacenter.clone();
        let mut before = None;
        if let Some(known) = self.catalog.get_mut(&datacenter) {
            before = known.roster.said(&self.me.id);
            known.roster.merge(&claim, now, unix);
        }
        self.after_merge(&datacenter, self.me.id, before, now);
    }

    /// A claim of our own: kept and spread.
    fn publish_own(&mut self, claim: &Verified<Claim>, now: Time) {
        let unix = self.trust.unix_time();
        let datacenter = self.me.datacenter.clone();
        let mut before = None;
        if let Some(known) = self.catalog.get_mut(&datacenter) {
            before = known.roster.said(&claim.subject());
            known.roster.merge(claim, now, unix);
        }
        self.after_merge(&datacenter, claim.subject(), before, now);
        self.spread_own(claim);
    }

    fn spread_own(&mut self, claim: &Verified<Claim>) {
        let leaf = matches!(claim.body, Body::Record(_)).then(|| Arc::clone(&self.me.leaf));
        let item = Item {
            claim: Arc::clone(claim.bytes()),
            leaf,
        };
        self.lan
            .enqueue(&item, claim.subject(), claim.signer, Priority::Own);
        self.fresh.push(Fresh {
            item,
            datacenter: self.me.datacenter.clone(),
            from: None,
            tier: Tier::Lan,
            decision: false,
        });
    }

    /// "Still here": a higher sequence number, pushed at once.
    pub(super) fn refute(&mut self, above: Incarnation, now: Time) {
        if self.left {
            return;
        }
        self.incarnation = self.incarnation.max(above);
        self.incarnation.seq += 1;
        let alive = Alive {
            incarnation: self.incarnation,
            record: self.record_claim.hash(),
        };
        let claim = Claim::sign(&*self.trust, Body::Alive(alive));
        self.alive_claim = Some(claim.clone());
        self.lan.health.failed(1);
        self.count("refutations");
        self.publish_own(&claim, now);
        self.changed();
    }

    /// Signs what the detector found.
    pub(super) fn accuse(
        &mut self,
        accused: NodeId,
        incarnation: Incarnation,
        silent: Duration,
        closed: bool,
        quorate: bool,
        now: Time,
    ) {
        if self.left {
            return;
        }
        let Some(entry) = self.own().roster.get(&accused) else {
            return;
        };
        // Between the probe and now it may have refuted, left, or been found dead.
        if entry.incarnation() != incarnation
            || matches!(entry.status, Status::Dead | Status::Left | Status::Removed)
        {
            return;
        }
        let silent = Duration::from_millis(u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
        let basis = if closed {
            Basis::PortClosed
        } else {
            Basis::Timeout
        };
        let accusation = Accusation {
            accused,
            incarnation,
            silent,
            basis,
            quorate,
        };
        let claim = Claim::sign(&*self.trust, Body::Accusation(accusation));
        self.count("accusations_signed");
        let unix = self.trust.unix_time();
        let datacenter = self.me.datacenter.clone();
        let Some(known) = self.catalog.get_mut(&datacenter) else {
            return;
        };
        let before = known.roster.said(&accused);
        if known.roster.merge(&claim, now, unix).is_news() {
            self.after_merge(&datacenter, accused, before, now);
            let item = Item::bare(claim.bytes());
            self.lan
                .enqueue(&item, accused, self.me.id, Priority::Suspicion);
            // The accused hears it first of all.
            self.lan.push_to(accused, std::slice::from_ref(&item));
            self.fresh.push(Fresh {
                item,
                datacenter,
                from: None,
                tier: Tier::Lan,
                decision: false,
            });
        }
    }

    /// Something about ourselves came in. Own claims above our incarnation are our past, or a second process.
    pub(super) fn handle_about_me(&mut self, claim: &Claim, from: Option<NodeId>, now: Time) {
        let Some(theirs) = claim.incarnation() else {
            return;
        };
        match &claim.body {
            Body::Accusation(_) => {
                if theirs != self.incarnation {
                    return;
                }
                let doubted = self.is_doubted_about_us(&claim.signer, from, now);
                if doubted && self.accusers.must_wait(&claim.signer, now) {
                    return self.drop("accuser_doubted");
                }
                if self.believes(claim, from, now) {
                    self.count("accused");
                    self.refute(theirs, now);
                    self.blame(&(theirs, vec![claim.signer]), self.incarnation, now);
                    if doubted {
                        self.accusers.took_turn(&claim.signer, now);
                    }
                }
            }
            Body::Record(_) | Body::Alive(_) | Body::Leave(_) => {
                let same = theirs == self.incarnation;
                // Our refutations leave our record as it is: a foreign one above it is in force at others, however far we
                // have refuted since.
                let past = match &claim.body {
                    Body::Record(_) => theirs < self.record.incarnation,
                    _ => theirs < self.incarnation,
                };
                let foreign = match &claim.body {
                    Body::Record(record) => record.lan_key != self.record.lan_key,
                    // We sign no goodbye and stay, and at our own incarnation we know what we signed: anything else is our past,
                    // or a second process.
                    Body::Leave(_) => true,
                    Body::Alive(_) => !same,
                    Body::Accusation(_) | Body::Head(_) | Body::Removal(_) => false,
                };
                if past || !foreign || self.left || !self.believes(claim, from, now) {
                    return;
                }
                if self.blank {
                    self.blank = false;
                    self.count("past_adopted");
                    // Others saw two records of one incarnation, and bar both; taken alone, a seat is not worth keeping.
                    if theirs == self.record.incarnation {
                        self.cloned = Some(self.seen_beside(claim, now));
                    }
                    let mut record = (*self.record).clone();
                    record.seat = false;
                    self.record = Arc::new(record);
                    self.incarnation = Incarnation {
                        boot: theirs.boot + 1,
                        seq: 0,
                    };
                    self.sign_record(now);
                    self.remember_boot();
                    self.refresh_wan(now);
                    let record = self.record_claim.clone();
                    self.spread_own(&record);
                    self.changed();
                } else {
                    self.answer_clone(claim, theirs, now);
                }
            }
            Body::Head(_) | Body::Removal(_) => {}
        }
    }

    /// A second process with our key: reported, answered with at most one higher incarnation a minute.
    fn answer_clone(&mut self, claim: &Claim, theirs: Incarnation, now: Time) {
        self.cloned = Some(self.seen_beside(claim, now));
        self.count("clones_seen");
        let datacenter = self.me.datacenter.clone();
        if self.may_report(Matter::Clone, &datacenter, self.me.id, now) {
            let name = self.me.name.clone();
            self.event(
                now,
                EventKind::Clone,
                &datacenter,
                Some((self.me.id, name)),
                Some(theirs),
                "another process uses this node's key; neither is shut down, both are barred from seats".into(),
            );
        }
        if self
            .last_answer_to_clone
            .is_some_and(|at| now.since(at) < CLONE_ANSWER)
        {
            return;
        }
        self.last_answer_to_clone = Some(now);
        // In a boot of its own: within theirs there may be more that we were not told of, and accusations of it.
        self.incarnation = Incarnation {
            boot: theirs.boot.max(self.incarnation.boot) + 1,
            seq: 0,
        };
        let mut record = (*self.record).clone();
        record.seat = false;
        self.record = Arc::new(record);
        self.republish(now);
        self.remember_boot();
        self.refresh_wan(now);
    }

    fn seen_beside(&self, claim: &Claim, now: Time) -> Cloned {
        Cloned {
            at: now,
            claims: [self.record_claim.hash(), claim.hash()],
        }
    }

    fn remember_boot(&mut self) {
        if self.memory.boot != self.incarnation.boot {
            self.memory.boot = self.incarnation.boot;
            self.memory_out = Some(self.memory.clone());
        }
    }

    /// Everything this node says of itself: for contacts that heal, for joins, and for whoever [adopts](Self::adopt) it.
    pub fn own_bundle(&self) -> Bundle {
        let claims = std::iter::once(&self.record_claim).chain(&self.alive_claim);
        Bundle {
            claims: claims.map(|c| Arc::clone(c.bytes())).collect(),
            leaf: Arc::clone(&self.me.leaf),
            removal: None,
            age: Duration::ZERO,
        }
    }

    /// Accusations against a member at its current incarnation: what it is told first of all.
    pub(super) fn held_against(&self, id: &NodeId) -> Vec<Item> {
        let entry = self.own().roster.get(id);
        let standing = entry.into_iter().flat_map(|e| e.standing());
        standing
            .take(2)
            .map(|c| Item::bare(c.claim.bytes()))
            .collect()
    }
}
