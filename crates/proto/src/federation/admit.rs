//! How claims get in: cheapest check first, nothing kept before its signature was verified, nothing relayed that was not
//! taken in.

use super::{Federation, Fresh, Tier, abroad::STOOD};
use crate::{
    catalog::MAX_DATACENTERS,
    claim::{Body, Card, Claim, Heard, Record, Verified, verify},
    identity::{Incarnation, Label, NodeId},
    limit::{Bucket, Rate},
    pool::{News, Priority, Standing},
    roster::{Entry, FADED, Outcome, Roster, Transition},
    time::Time,
    trust::{Certified, Refusal},
    view::{Event, EventKind, Status},
    wire::{Bundle, Item},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

/// Peers and signers with a budget of their own.
pub(super) const MAX_BUDGETS: usize = 16_384;
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

    /// Whether this peer, and all peers together, may have one more signature checked.
    fn may_verify(&mut self, relay: Option<NodeId>, now: Time) -> bool {
        let within =
            relay.is_none_or(|id| take(&mut self.relays, id, self.settings.limits.relay, now));
        within && self.verifications.take(1.0, now)
    }

    /// Forgets the budgets of those who are at rest: a new one would be as full.
    pub(super) fn rest_budgets(&mut self, now: Time) {
        let limits = self.settings.limits;
        for (buckets, rate) in [
            (&mut self.budgets, limits.signer),
            (&mut self.relays, limits.relay),
        ] {
            buckets.retain(|_, bucket| !bucket.take(rate.burst, now));
        }
        self.accusers.rest(now);
    }

    /// Whether this signer, who is proven by now, may say one more thing.
    fn may_speak(&mut self, signer: NodeId, now: Time) -> bool {
        take(&mut self.budgets, signer, self.settings.limits.signer, now)
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

    fn saw_clone(&mut self, datacenter: &Label, id: NodeId, now: Time) {
        self.count("clones_seen");
        let entry = self.catalog.get(datacenter).and_then(|k| k.roster.get(&id));
        let Some(entry) = entry else { return };
        let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
        let detail = "two records of one incarnation: two processes use one key";
        self.event(
            now,
            EventKind::Clone,
            datacenter,
            Some((id, name)),
            Some(incarnation),
            detail.into(),
        );
    }

    /// A roster changed: tells the pools, and whoever listens.
    /// `before` is what the subject had said of itself until then.
    pub(super) fn after_merge(
        &mut self,
        datacenter: &Label,
        subject: NodeId,
        before: Option<Arc<Card>>,
        now: Time,
    ) {
        self.changed();
        let Some(known) = self.catalog.get_mut(datacenter) else {
            return;
        };
        let transitions = known.roster.take_transitions();
        let quiet = transitions.iter().all(|t| t.id != subject);
        for transition in &transitions {
            self.show_change(datacenter, *transition, now);
        }
        self.announce_record(datacenter, subject, before, now);
        for id in transitions
            .iter()
            .map(|t| t.id)
            .chain(quiet.then_some(subject))
        {
            self.refresh_contact(datacenter, id, now);
        }
        if *datacenter == self.me.datacenter {
            self.duties.domains_changed |= transitions.iter().any(|t| t.from.is_some());
        }
    }

    /// Brings the pools' knowledge of one member up to date with the roster.
    pub(super) fn refresh_contact(&mut self, datacenter: &Label, id: NodeId, now: Time) {
        if id == self.me.id {
            return;
        }
        let own = *datacenter == self.me.datacenter;
        let entry = self.catalog.get(datacenter).and_then(|k| k.roster.get(&id));
        let Some(entry) = entry else {
            self.lan.remove(&id);
            self.wan.remove(&id);
            self.abroad.remove(&id);
            self.forget_heads(datacenter, &id);
            return;
        };
        if entry.status == Status::Removed {
            self.lan.remove(&id);
            self.wan.remove(&id);
            return self.forget_heads(datacenter, &id);
        }
        let standing = match entry.status {
            Status::Alive => Some(Standing::Alive),
            Status::Suspect => Some(Standing::Suspect),
            Status::Unreachable => Some(Standing::Unreachable),
            Status::Dead => Some(Standing::Dead),
            Status::Left | Status::Removed => None,
        };
        let news = |contact, standing, charges| News {
            contact,
            incarnation: entry.incarnation(),
            standing,
            charges,
        };
        let (record, contact) = (entry.record(), &entry.card().contact);
        let barred = self.barred.contains(&id);
        if own {
            match standing.filter(|_| !barred) {
                Some(standing) => {
                    let charges = entry
                        .standing()
                        .take(2)
                        .map(|c| Item::bare(c.claim.bytes()));
                    let news = news(Arc::clone(contact), standing, charges.collect());
                    self.lan.upsert(news, now);
                }
                None => self.lan.remove(&id),
            }
        } else {
            // Whoever its own datacenter holds to be there and seated is a WAN peer of ours while we sit.
            let wan = record
                .wan
                .filter(|_| !barred)
                .filter(|_| record.seat && standing.is_some_and(|s| s != Standing::Dead));
            match wan.filter(|_| self.is_seated()) {
                Some(address) => {
                    let contact = Arc::new(contact.abroad(record, address));
                    let news = news(contact, Standing::Alive, Vec::new());
                    self.wan.upsert(news, now);
                    self.wan.introduced(&id);
                }
                None => self.wan.remove(&id),
            }
        }
    }

    /// Our seat came or went: the WAN pool fills or empties.
    pub(super) fn refresh_wan(&mut self, now: Time) {
        let foreign = self
            .catalog
            .iter()
            .filter(|(dc, _)| **dc != self.me.datacenter);
        let ids: Vec<(Label, NodeId)> = foreign
            .flat_map(|(dc, k)| k.roster.iter().map(|(id, _)| (dc.clone(), *id)))
            .collect();
        for (datacenter, id) in ids {
            self.refresh_contact(&datacenter, id, now);
        }
    }

    /// Drops everybody whose certificate no longer holds.
    pub(super) fn expel(&mut self, now: Time) {
        let trust = Arc::clone(&self.trust);
        self.expel_unless(now, |c| {
            // An expired certificate has its own, later end; what counts here is that trust was withdrawn.
            trust
                .certify(&c.leaf)
                .map_or_else(|why| why.0 == "expired", |_| true)
        });
    }

    /// Drops everybody whom a revocation list names. Returns how many.
    pub(super) fn expel_revoked(&mut self, now: Time) -> usize {
        let trust = Arc::clone(&self.trust);
        self.expel_unless(now, |c| !trust.is_revoked(c))
    }

    fn expel_unless(&mut self, now: Time, holds: impl Fn(&Certified) -> bool) -> usize {
        let unix = self.trust.unix_time();
        let me = self.me.id;
        let mut expelled = 0;
        let datacenters: Vec<Label> = self.catalog.keys().cloned().collect();
        for datacenter in datacenters {
            let trust = Arc::clone(&self.trust);
            let Some(known) = self.catalog.get_mut(&datacenter) else {
                continue;
            };
            let gone = known.roster.expel(now, unix, |c| c.id == me || holds(c));
            // What an operator signed falls with its certificate; that it ended since is no matter.
            let stands = |removal: &Verified<Claim>| !trust.is_revoked(removal.signer());
            let back = known.roster.revoke_removals(now, unix, stands);
            expelled += gone.len();
            for (id, name) in gone {
                self.budgets.remove(&id);
                self.relays.remove(&id);
                self.accusers.forget(&id);
                self.barred.remove(&id);
                self.event(
                    now,
                    EventKind::Removed,
                    &datacenter,
                    Some((id, name)),
                    None,
                    "its certificate is no longer trusted".into(),
                );
                self.after_merge(&datacenter, id, None, now);
            }
            for id in back {
                self.after_merge(&datacenter, id, None, now);
                self.remember_removals();
            }
            let is_empty = |known: &crate::catalog::Known| known.roster.is_empty();
            if datacenter != self.me.datacenter
                && self.catalog.get(&datacenter).is_some_and(is_empty)
            {
                self.catalog.remove(&datacenter);
            }
        }
        expelled
    }

    /// A seat that came or went, or a record that otherwise changed.
    fn announce_record(
        &mut self,
        datacenter: &Label,
        id: NodeId,
        before: Option<Arc<Card>>,
        now: Time,
    ) {
        let Some(entry) = self.catalog.get(datacenter).and_then(|k| k.roster.get(&id)) else {
            return;
        };
        let (sat, sits) = (before.as_ref().map(|b| b.record.seat), entry.record().seat);
        let (kind, detail) = match (sat, sits) {
            (None | Some(false), true) => (EventKind::Elected, "holds a WAN seat"),
            (Some(true), false) => (EventKind::Resigned, "gave its WAN seat up"),
            (None, false) => return,
            (Some(_), _) => (EventKind::Updated, "published a new record"),
        };
        if before.is_some_and(|b| Arc::ptr_eq(&b, entry.card())) {
            return;
        }
        let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
        self.event(
            now,
            kind,
            datacenter,
            Some((id, name)),
            Some(incarnation),
            detail.into(),
        );
    }

    pub(super) fn announce(&mut self, datacenter: &Label, transition: Transition, now: Time) {
        let entry = self
            .catalog
            .get(datacenter)
            .and_then(|k| k.roster.get(&transition.id));
        let Some(entry) = entry else { return };
        let kind = match (transition.from, transition.to) {
            (None, Status::Alive) => EventKind::Joined,
            (_, Status::Alive) => EventKind::Alive,
            (_, Status::Suspect) => EventKind::Suspect,
            (_, Status::Unreachable) => EventKind::Unreachable,
            (_, Status::Dead) => EventKind::Dead,
            (_, Status::Left) => EventKind::Left,
            (_, Status::Removed) => EventKind::Removed,
        };
        let detail = match transition.from {
            Some(from) => format!("{from} → {}", transition.to),
            None => format!("first seen, {}", transition.to),
        };
        let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
        self.event(
            now,
            kind,
            datacenter,
            Some((transition.id, name)),
            Some(incarnation),
            detail,
        );
    }

    pub(super) fn event(
        &mut self,
        at: Time,
        kind: EventKind,
        datacenter: &Label,
        member: Option<(NodeId, Label)>,
        incarnation: Option<Incarnation>,
        detail: String,
    ) {
        let (member, name) = member.map_or((None, None), |(id, name)| (Some(id), Some(name)));
        self.events.push_back(Event {
            at,
            kind,
            datacenter: datacenter.clone(),
            member,
            name,
            incarnation,
            detail,
        });
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

/// Takes one token from a peer's own bucket. A full table forgets those that are at rest; while nobody is, newcomers wait.
fn take(buckets: &mut BTreeMap<NodeId, Bucket>, id: NodeId, rate: Rate, now: Time) -> bool {
    if buckets.len() >= MAX_BUDGETS && !buckets.contains_key(&id) {
        buckets.retain(|_, bucket| !bucket.take(rate.burst, now));
        if buckets.len() >= MAX_BUDGETS {
            return false;
        }
    }
    let bucket = buckets.entry(id).or_insert_with(|| Bucket::of(rate, now));
    bucket.take(1.0, now)
}
