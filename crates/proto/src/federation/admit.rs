//! How claims get in: cheapest check first, nothing kept before its signature was verified, nothing relayed that was not
//! taken in.

use super::{Federation, Fresh, Tier, abroad::STOOD};
use crate::{
    catalog::MAX_DATACENTERS,
    claim::{Body, Claim, Heard, Record, verify},
    identity::{Label, NodeId},
    pool::Priority,
    roster::{Entry, FADED, Outcome, Roster},
    time::Time,
    trust::{Certified, Refusal},
    view::Status,
    wire::{Bundle, Item},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// How a claim arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The peer that sent it.
    pub(super) from: Option<NodeId>,
    /// Through which pool.
    pub(super) tier: Tier,
    /// In a bulk transfer: not pushed on eagerly, since whoever needs it can get it the same way.
    pub(super) bulk: bool,
    /// How long ago its effect began.
    pub(super) age: Duration,
}

impl Federation {
    /// Takes a claim in, if it is news and true. Returns whether it changed anything.
    pub(super) fn accept(
        &mut self,
        bytes: &Arc<[u8]>,
        leaf: Option<&Arc<[u8]>>,
        arrival: Arrival,
        now: Time,
    ) -> bool {
        let Ok(claim) = Heard::read(&*self.trust, bytes) else {
            self.drop("claim_malformed");
            return false;
        };
        if claim.signer == self.me.id && matches!(claim.body, Body::Head(_)) {
            return false;
        }
        if claim.subject() == self.me.id && !matches!(claim.body, Body::Removal(_)) {
            // Through the WAN a member learns its own past, and what its neighbours hold against it only once that has stood
            // (as others at home take it from there): nobody here may remember it. A verdict stays out: a partitioned half
            // would refute abroad what it cannot refute at home, and look alive there.
            let accuses = matches!(claim.body, Body::Accusation(_));
            if arrival.tier == Tier::Wan && accuses && arrival.age < STOOD {
                self.drop("own_datacenter_from_wan");
            } else {
                self.handle_about_me(&claim, arrival.from, now);
            }
            return false;
        }
        if matches!(claim.body, Body::Head(_)) {
            self.drop("head_outside_its_frame");
            return false;
        }
        let Some(datacenter) = self.datacenter_of(&claim, leaf) else {
            self.drop("unknown_signer");
            self.miss_signer(arrival);
            return false;
        };
        let own = datacenter == self.me.datacenter;
        if !own && !self.is_server() {
            return false;
        }
        if !own && !self.catalog.contains(&datacenter) {
            if self.catalog.count() >= MAX_DATACENTERS {
                self.drop("datacenter_table");
                return false;
            }
            // Kept only if the claim is taken in: an empty one is taken out again below.
            self.catalog.add(&datacenter);
        }
        let changed = self.accept_into(&datacenter, claim, leaf, arrival, now);
        if !own
            && self
                .catalog
                .get(&datacenter)
                .is_some_and(|k| k.roster.is_empty())
        {
            self.catalog.remove(&datacenter);
        }
        changed
    }

    fn accept_into(
        &mut self,
        datacenter: &Label,
        claim: Heard,
        leaf: Option<&Arc<[u8]>>,
        arrival: Arrival,
        now: Time,
    ) -> bool {
        let Some(known) = self.catalog.get(datacenter) else {
            return false;
        };
        if !known.roster.would_change(&claim) {
            self.count("claims_known_already");
            return false;
        }
        if is_silenced(&known.roster, &claim, arrival) {
            self.drop("removed_signer");
            return false;
        }
        let own = *datacenter == self.me.datacenter;
        let stays_out =
            own && arrival.tier == Tier::Wan && !self.may_enter_from_wan(&claim, arrival);
        if stays_out && !claim.body.is_own_word() {
            self.drop("own_datacenter_from_wan");
            return false;
        }
        let doubted = own && self.is_doubted(&claim, now);
        if doubted && self.accusers.must_wait(&claim.signer, now) {
            self.drop("accuser_doubted");
            return false;
        }
        // Before the signature is checked only the peer that sent the claim can be charged for it: whoever it names may
        // know nothing of it.
        let reserved = matches!(claim.body, Body::Removal(_)) && self.decisions.take(1.0, now);
        if !arrival.bulk && !reserved && !self.may_verify(arrival.from, now) {
            self.drop("relay_budget");
            return false;
        }
        let signer = match self.signer_of(datacenter, &claim, leaf) {
            Ok(signer) => signer,
            Err(refusal) => {
                self.drop(refusal.0);
                if refusal == Refusal::UNKNOWN_ISSUER {
                    self.miss_signer(arrival);
                }
                return false;
            }
        };
        let kind = claim.body.kind();
        let verified = match verify(&*self.trust, claim, &signer) {
            Ok(verified) => verified,
            Err(refused) => {
                self.drop(refused.label());
                return false;
            }
        };
        self.count("claims_verified");
        if stays_out && !self.has_stood_abroad(&verified, now) {
            self.drop("own_datacenter_from_wan");
            self.tell_of_itself(&verified, arrival.from);
            return false;
        }
        if !arrival.bulk && !self.may_speak(verified.signer, now) {
            self.drop("signer_budget");
            return false;
        }
        let unix = self.trust.unix_time();
        let subject = verified.subject();
        let accused = own.then(|| self.accusers_of(&subject));
        let Some(known) = self.catalog.get_mut(datacenter) else {
            return false;
        };
        let before = known.roster.said(&subject);
        let outcome = known.roster.merge_aged(&verified, now, arrival.age, unix);
        match outcome {
            Outcome::Conflict { .. } => {
                self.saw_clone(datacenter, subject, now);
                if let (Some(held), Some(from), Tier::Wan) = (&before, arrival.from, arrival.tier) {
                    // Its datacenter knows one of the two only, so nobody there can put it right.
                    let held = Item {
                        claim: Arc::clone(held.bytes()),
                        leaf: Some(Arc::clone(&held.certified.leaf)),
                    };
                    self.wan.push_to(from, &[held]);
                }
            }
            Outcome::New => {}
            Outcome::Stale => return false,
            Outcome::Unknown => {
                self.drop("unknown_member");
                return false;
            }
            Outcome::NotAllowed => {
                self.drop("not_the_signers_to_say");
                return false;
            }
            Outcome::Full => {
                self.drop(match &verified.body {
                    Body::Removal(_) => "removal_table",
                    _ => "member_table",
                });
                return false;
            }
        }
        if !outcome.is_news() {
            return false;
        }
        match (&verified.body, &accused) {
            (Body::Record(_) | Body::Alive(_), Some(accused)) => {
                self.blame(accused, verified.incarnation().unwrap_or_default(), now);
            }
            _ if doubted => self.accusers.took_turn(&verified.signer, now),
            _ => {}
        }
        if let Body::Record(record) = &verified.body {
            if !own {
                self.abroad.insert(subject, datacenter.clone());
            }
            self.bar(subject, record, own);
        }
        self.after_merge(datacenter, subject, before, now);
        if own && kind == crate::claim::Kind::Removal {
            self.after_removal(subject);
        }
        let with_leaf = matches!(
            kind,
            crate::claim::Kind::Record | crate::claim::Kind::Removal
        );
        let item = Item {
            claim: Arc::clone(verified.bytes()),
            leaf: with_leaf.then(|| Arc::clone(&verified.signer().leaf)),
        };
        // What came out of our own memory is nobody's news.
        if own && (arrival.from.is_some() || !arrival.bulk) {
            let priority = match kind {
                crate::claim::Kind::Accusation => Priority::Suspicion,
                crate::claim::Kind::Removal => Priority::Decision,
                _ => Priority::Record,
            };
            self.lan.enqueue(&item, subject, verified.signer, priority);
        }
        if !arrival.bulk {
            self.fresh.push(Fresh {
                item,
                datacenter: datacenter.clone(),
                from: arrival.from,
                tier: arrival.tier,
                decision: kind == crate::claim::Kind::Removal,
            });
        }
        true
    }

    /// Takes in what the driver kept or has from elsewhere, as if a peer had told it in bulk: judged like everything else,
    /// but not passed on. Call [`Self::seeds`] after the last of it.
    pub fn adopt(&mut self, bundles: &[Bundle], now: Time) {
        let arrival = Arrival {
            from: None,
            tier: Tier::Lan,
            bulk: true,
            age: Duration::ZERO,
        };
        self.accept_bundles(bundles, arrival, now);
    }

    /// Everything in a bundle, record first. Returns whether anything changed.
    pub(super) fn accept_bundle(&mut self, bundle: &Bundle, arrival: Arrival, now: Time) -> bool {
        let mut arrival = Arrival {
            // Unsigned: a relay may at most make a tombstone old enough to fade.
            age: bundle.age.min(FADED),
            ..arrival
        };
        if arrival.tier == Tier::Wan {
            let verdict = self.verdict_in(bundle);
            if !verdict.is_empty() {
                if arrival.age >= STOOD {
                    self.tell_of_verdict(&verdict, arrival.from, now);
                }
                // Only what is short of a verdict may enter our own datacenter from abroad.
                arrival.age = Duration::ZERO;
            }
        }
        let mut changed = false;
        if bundle.claims.len() > 32 {
            self.drop("bundle_size");
            return false;
        }
        if let Some(removal) = &bundle.removal {
            changed |= self.accept(&removal.claim, removal.leaf.as_ref(), arrival, now);
        }
        for claim in &bundle.claims {
            // The leaf goes with the member's own record; accusers' certificates are known from their own records.
            changed |= self.accept(claim, Some(&bundle.leaf), arrival, now);
        }
        changed
    }

    /// Whether a claim is truly signed by whom it names: for claims about ourselves, which are not merged.
    pub(super) fn believes(&mut self, claim: &Claim, from: Option<NodeId>, now: Time) -> bool {
        if !self.may_verify(from, now) {
            self.drop("relay_budget");
            return false;
        }
        let signer = if claim.signer == self.me.id {
            // An older or newer certificate may vouch for our other process or our past; the key is the same.
            let mut me = Certified::clone(&self.me);
            if let Body::Record(record) = &claim.body {
                me.cert_hash = record.cert_hash;
            }
            Some(Arc::new(me))
        } else {
            self.own()
                .roster
                .get(&claim.signer)
                .map(|e| Arc::clone(e.certified()))
        };
        let Some(signer) = signer else {
            self.drop("unknown_signer");
            return false;
        };
        match verify(&*self.trust, claim.clone(), &signer) {
            Ok(_) => true,
            Err(refused) => {
                self.drop(refused.label());
                false
            }
        }
    }

    /// Which datacenter a claim concerns: as the record says, or where its signer is at home.
    fn datacenter_of(&self, claim: &Claim, leaf: Option<&Arc<[u8]>>) -> Option<Label> {
        match &claim.body {
            Body::Record(record) => Some(record.location.datacenter.clone()),
            Body::Removal(_) => leaf
                .and_then(|l| self.trust.certify_ended(l).ok())
                .map(|c| c.datacenter.clone()),
            Body::Alive(_) | Body::Leave(_) | Body::Accusation(_) | Body::Head(_) => {
                self.home(&claim.signer).cloned()
            }
        }
    }

    /// The certificate that vouches for a claim's signer: the one held, or the one that came along.
    fn signer_of(
        &self,
        datacenter: &Label,
        claim: &Claim,
        leaf: Option<&Arc<[u8]>>,
    ) -> Result<Arc<Certified>, Refusal> {
        let held = self
            .catalog
            .get(datacenter)
            .and_then(|k| k.roster.get(&claim.signer))
            .map(|e| e.certified());
        match (&claim.body, held) {
            (Body::Record(record), Some(held)) if held.cert_hash == record.cert_hash => {
                Ok(Arc::clone(held))
            }
            (Body::Record(_), _) => self.trust.certify(leaf.ok_or(Refusal("no_certificate"))?),
            (Body::Removal(_), _) => self
                .trust
                .certify_ended(leaf.ok_or(Refusal("no_certificate"))?),
            (_, Some(held)) => Ok(Arc::clone(held)),
            (_, None) => Err(Refusal("unknown_signer")),
        }
    }

    /// A member whose published address our `allow` refuses stays in the roster, so that set hashes agree, and is never
    /// talked to.
    fn bar(&mut self, id: NodeId, record: &Record, own: bool) {
        let within = |nets: &[ipnet::IpNet], a: SocketAddr| {
            let ip = a.ip().to_canonical();
            nets.iter().any(|n| n.contains(&ip))
        };
        let allowed = if own {
            within(&self.settings.lan_allow, record.lan)
        } else {
            let datacenter = &record.location.datacenter;
            let narrower = self.settings.wan_datacenters.get(datacenter);
            record.wan.is_none_or(|a| {
                within(&self.settings.wan_allow, a) && narrower.is_none_or(|nets| within(nets, a))
            })
        };
        if allowed {
            self.barred.remove(&id);
        } else {
            self.barred.insert(id);
            self.drop("address_not_allowed");
        }
    }

    /// A signer is unknown here: whoever sent the claim can tell who it is.
    pub(super) fn miss_signer(&mut self, arrival: Arrival) {
        if let Some(from) = arrival.from {
            self.duties.want_seats(from, arrival.tier);
        }
    }
}

/// Whether the signer was removed and has no voice any more. The first record of somebody removed may come in, to say who it
/// is; what others keep of its accusations comes in bundles, so that all judge by the same.
fn is_silenced(roster: &Roster, claim: &Claim, arrival: Arrival) -> bool {
    let removed = |e: &Entry| e.status == Status::Removed;
    match &claim.body {
        Body::Removal(_) => false,
        Body::Accusation(_) if arrival.bulk => false,
        _ => roster.get(&claim.signer).is_some_and(removed),
    }
}
