//! Between datacenters: heads, news told once per datacenter, and how seat holders find each other.

use super::{
    Federation, Peer, Tier,
    admit::Arrival,
    stream::{PATIENCE, Purpose, weight},
};
use crate::{
    catalog::RESIGN,
    claim::{Body, Claim, Head, Heard, hash8, verify},
    identity::{Incarnation, Label, NodeId},
    roster::Entry,
    time::Time,
    view::Status,
    wire::{Ask, AuthorityItem, Bundle, Frame, HeadItem, Item, Reply},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// Heads in one datagram.
const PER_FRAME: usize = 7;
/// Bytes of seat holders in one answer; authorities come beside them.
const SEATS: usize = 128 * 1024;
/// Bytes of authorities in one answer.
const AUTHORITIES: usize = 96 * 1024;
/// Seats of a datacenter that are told about news of ours, by the first of our seats and by the second: as many as it has by
/// default, and two again. What nobody hears is noticed by the next comparison of heads only, up to two seconds later.
const TOLD: [usize; 2] = [3, 2];
/// Who heard nothing of a datacenter for so long did not miss the last news only.
const SILENCE: Duration = Duration::from_secs(5);
/// Servers of our own that are told about news from abroad.
const FELLOWS: usize = 8;
/// Heads of a roster that changes all the time are signed at most this often.
const SETTLED: Duration = Duration::from_millis(250);
/// A head that a relay calls older than this is not worth keeping.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

impl Federation {
    /// Signs a head when the roster changed, and at least every 2 s.
    pub(super) fn tick_head(&mut self, now: Time) {
        if !self.is_seated() {
            return;
        }
        let own = self.own();
        let digest = own.roster.digests().current();
        if let Some((made, last)) = own.last_of(&self.me.id) {
            let due = if last == digest {
                RESIGN * 3 / 4
            } else {
                SETTLED
            };
            if now.since(made) < due {
                return;
            }
        }
        let present = own.roster.present();
        let alive = own.roster.stand(Status::Alive);
        let mut seats: Vec<[u8; 4]> = self
            .own_seats()
            .iter()
            .filter_map(|id| id.0.first_chunk().copied())
            .collect();
        seats.sort_unstable();
        seats.truncate(7);
        self.heads_signed += 1;
        let head = Head {
            incarnation: Incarnation {
                boot: self.incarnation.boot,
                seq: self.heads_signed,
            },
            digest,
            members: u32::try_from(present).unwrap_or(u32::MAX),
            alive: u32::try_from(alive).unwrap_or(u32::MAX),
            seats,
        };
        let claim = Claim::sign(&*self.trust, Body::Head(head));
        let datacenter = self.me.datacenter.clone();
        if let Some(known) = self.catalog.get_mut(&datacenter) {
            known.merge_head(&claim, Duration::ZERO, true, now);
        }
    }

    /// Living seat holders of our own datacenter.
    pub(super) fn own_seats(&self) -> Vec<NodeId> {
        let servers = self.own().roster.servers();
        let sits = |s| matches!(s, Status::Alive | Status::Suspect);
        servers
            .filter(|(_, e)| e.record().seat && sits(e.status))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Our own newest head and the newest of each other datacenter, to one peer.
    pub(super) fn send_heads(&mut self, to: NodeId, now: Time) {
        let their = self.home(&to).cloned();
        let own = self.own().head_of(&self.me.id, now);
        let others = self
            .catalog
            .iter()
            .filter(|(dc, _)| **dc != self.me.datacenter && Some(*dc) != their.as_ref());
        let heads: Vec<HeadItem> = own
            .into_iter()
            .chain(others.filter_map(|(_, k)| k.newest(now)))
            .collect();
        for some in heads.chunks(PER_FRAME) {
            self.wan.send(
                to,
                Frame::Heads {
                    heads: some.to_vec(),
                },
            );
        }
    }

    /// Heads came in: kept if newer, and compared with what we hold of their rosters.
    pub(super) fn take_heads(&mut self, heads: Vec<HeadItem>, from: NodeId, tier: Tier, now: Time) {
        let mut behind = Vec::new();
        for HeadItem { item, age, direct } in heads {
            let Ok(claim) = Heard::read(&*self.trust, &item.claim) else {
                self.drop("claim_malformed");
                continue;
            };
            let Body::Head(head) = &claim.body else {
                self.drop("head_kind");
                continue;
            };
            if claim.signer == self.me.id || age > MAX_AGE {
                continue;
            }
            let Some(datacenter) = self.home(&claim.signer).cloned() else {
                self.miss_signer(Arrival {
                    from: Some(from),
                    tier,
                    bulk: true,
                    age,
                });
                continue;
            };
            let own = datacenter == self.me.datacenter;
            if (own && tier == Tier::Wan) || (!own && !self.is_server()) {
                continue;
            }
            // Direct is what came from the signer itself, or what one of our own seats says did.
            let direct = match tier {
                Tier::Wan => claim.signer == from,
                Tier::Lan => direct,
            };
            let (digest, boot) = (head.digest, head.incarnation.boot);
            let Some(known) = self.catalog.get_mut(&datacenter) else {
                continue;
            };
            if !known.is_newer(&claim) {
                known.seen_again(&claim, direct);
                // An earlier boot than the one it was in: it forgot, and so did all of its datacenter, or it would know.
                let held = known.roster.get(&claim.signer);
                let forgotten =
                    held.filter(|e| tier == Tier::Wan && direct && boot < e.incarnation().boot);
                if let Some(entry) = forgotten {
                    let record = Item::bare(entry.card().bytes());
                    self.wan.push_to(from, &[record]);
                }
                continue;
            }
            let entry = known.roster.get(&claim.signer);
            let Some(signer) = entry
                .filter(|e| e.status != Status::Removed)
                .map(|e| Arc::clone(e.certified()))
            else {
                continue;
            };
            if !self.may_verify_head(from, now) {
                self.drop("relay_budget");
                continue;
            }
            let verified = verify(&*self.trust, claim, &signer);
            let Some(known) = self.catalog.get_mut(&datacenter) else {
                continue;
            };
            match verified {
                Ok(claim) => {
                    let silence = known.age(now).is_none_or(|age| age >= SILENCE);
                    known.merge_head(&claim, age, direct, now);
                    // What a fellow passes on it need not hold itself: it says what it holds beside its heads.
                    if tier == Tier::Wan
                        && self.lacks_at_once(&datacenter, digest, from, silence, now)
                    {
                        behind.push(datacenter);
                    }
                    self.count("heads_verified");
                }
                Err(refused) => self.drop(refused.label()),
            }
        }
        for datacenter in behind {
            self.reconcile(tier, from, &datacenter, now);
        }
    }

    /// A fellow server said which rosters of other datacenters it holds.
    pub(super) fn compare_held(&mut self, held: Vec<(Label, u64)>, from: NodeId, now: Time) {
        let seated = self.is_seated();
        for (datacenter, digest) in held {
            if datacenter == self.me.datacenter {
                continue;
            }
            let age = self.catalog.get(&datacenter).and_then(|k| k.age(now));
            // Not every standby server is told everything: what differs is missing here, not on its way.
            let missing = !seated || age.is_none_or(|age| age >= SILENCE);
            if self.lacks_at_once(&datacenter, digest, from, missing, now) {
                self.reconcile(Tier::Lan, from, &datacenter, now);
            }
        }
    }

    /// A peer showed a set hash of another datacenter's roster. What differs may be on its way, and is waited for; if it is known to
    /// be missing, a reconciliation begins.
    fn lacks_at_once(
        &mut self,
        datacenter: &Label,
        digest: u64,
        from: NodeId,
        missing: bool,
        now: Time,
    ) -> bool {
        let Some(known) = self.catalog.get_mut(datacenter) else {
            return false;
        };
        let alike = known.roster.digests().knows(digest, now);
        known.repair.compare(from, alike, &mut self.rng, now);
        !alike && missing && known.repair.begin(from, now)
    }

    /// Tells each other datacenter about news of ours: one of our seats, by lot, tells three of theirs, and the next one by lot
    /// two, in case the first has not heard it, is gone, or loses its packets.
    pub(super) fn tell_abroad(&mut self, item: &Item) {
        for (datacenter, seats) in self.turns_to_tell(&item.claim) {
            self.tell_seats(item, &datacenter, seats);
        }
    }

    /// The datacenters that the lot has us tell of these bytes, and how many seats of each.
    pub(super) fn turns_to_tell(&self, bytes: &[u8]) -> Vec<(Label, usize)> {
        if !self.is_seated() {
            return Vec::new();
        }
        let name = hash8(bytes);
        let lot = |id: &NodeId, datacenter: &Label| {
            let bytes = [&name[..], &id.0, datacenter.as_str().as_bytes()].concat();
            hash8(&bytes)
        };
        // A seat that is itself accused may not be able to tell.
        let well = |id: &NodeId| {
            self.own()
                .roster
                .get(id)
                .is_some_and(|e| e.status == Status::Alive)
        };
        let seats: Vec<NodeId> = self.own_seats().into_iter().filter(well).collect();
        let datacenters: BTreeSet<Label> = self
            .wan
            .peers()
            .map(|p| p.contact.place.rack.clone())
            .collect();
        let turn = |datacenter: Label| {
            let mine = lot(&self.me.id, &datacenter);
            let others = seats.iter().filter(|id| **id != self.me.id);
            let before_us = others.filter(|id| lot(id, &datacenter) < mine).count();
            TOLD.get(before_us).map(|seats| (datacenter, *seats))
        };
        datacenters.into_iter().filter_map(turn).collect()
    }

    /// Tells the datacenter that it is about, if we are one of those who talk to it.
    pub(super) fn tell_home(&mut self, item: &Item, datacenter: &Label) {
        if self.is_seated() {
            self.tell_seats(item, datacenter, TOLD[0]);
        }
    }

    /// Tells this many seats of a datacenter.
    fn tell_seats(&mut self, item: &Item, datacenter: &Label, count: usize) {
        for to in self.some_of(datacenter, count) {
            self.count("told_abroad");
            self.wan.push_to(to, std::slice::from_ref(item));
        }
    }

    /// This many seats of a datacenter, to be told something.
    pub(super) fn some_of(&mut self, datacenter: &Label, count: usize) -> Vec<NodeId> {
        let fits = |p: &crate::pool::Peer| p.contact.place.rack == *datacenter;
        let mut told = self.wan.draw(count, fits);
        // A draw looks at a bounded number of peers; with many datacenters it may miss the few of this one.
        if told.is_empty() {
            let peers = self.wan.peers().map(|p| &p.contact);
            let theirs = peers.filter(|contact| contact.place.rack == *datacenter);
            told = theirs.map(|contact| contact.id).take(count).collect();
        }
        told
    }

    /// News from abroad goes on to our own servers: those who sit first, and no more than [`FELLOWS`]; the others fetch it.
    /// What a fellow seat told us goes on to those without a seat, who hear it from nobody else if that one packet is lost.
    pub(super) fn tell_fellow_servers(&mut self, item: &Item, by_fellow: bool) {
        let servers = self.own().roster.servers();
        let here = servers.filter(|(id, e)| {
            let lacks = !by_fellow || !e.record().seat;
            **id != self.me.id && lacks && matches!(e.status, Status::Alive | Status::Suspect)
        });
        let mut fellows: Vec<(bool, NodeId)> =
            here.map(|(id, e)| (!e.record().seat, *id)).collect();
        fellows.sort_unstable();
        for (_, id) in fellows.into_iter().take(FELLOWS) {
            self.lan.push_to(id, std::slice::from_ref(item));
        }
    }

    /// Seat holders of a datacenter by this node's catalog: (id, WAN address), for queries.
    pub fn seat_holders(&self, datacenter: &str) -> Vec<(NodeId, SocketAddr)> {
        let mut all = self.catalog.iter();
        let Some((_, known)) = all.find(|(label, _)| label.as_str() == datacenter) else {
            return Vec::new();
        };
        let sits = |s| matches!(s, Status::Alive | Status::Suspect | Status::Unreachable);
        let holders = known
            .roster
            .servers()
            .filter(|(_, e)| e.record().seat && sits(e.status));
        holders
            .filter_map(|(id, e)| e.record().wan.map(|a| (*id, a)))
            .collect()
    }

    /// Living servers of the own datacenter: (id, LAN stream address), elected ones first. For forwarding.
    pub fn servers(&self) -> Vec<(NodeId, SocketAddr)> {
        let roster = &self.own().roster;
        let mut servers: Vec<_> = roster
            .servers()
            .filter(|(id, e)| {
                let here = matches!(e.status, Status::Alive | Status::Suspect);
                **id != self.me.id && here
            })
            .map(|(id, e)| (!e.record().seat, e.status, *id, e.record().stream()))
            .collect();
        servers.sort();
        servers
            .into_iter()
            .map(|(_, _, id, address)| (id, address))
            .collect()
    }

    /// WAN peers that this node keeps links to: (id, address).
    pub fn wan_peers(&self) -> Vec<(NodeId, SocketAddr)> {
        self.wan
            .peers()
            .map(|p| (p.contact.id, p.contact.address))
            .collect()
    }

    /// Bundles of all seat holders of one datacenter.
    fn seat_bundles(&self, datacenter: &Label, now: Time) -> Vec<Bundle> {
        let Some(known) = self.catalog.get(datacenter) else {
            return Vec::new();
        };
        let holders = known.roster.servers().filter(|(_, e)| {
            e.record().seat && !matches!(e.status, Status::Dead | Status::Removed)
        });
        // What is held against them comes with the roster: here only who they are and where.
        let plain = |(id, e): (&NodeId, &Entry)| Bundle {
            claims: e.claims().take(1).map(Arc::clone).collect(),
            ..self.bundle_of(datacenter, id, e, now)
        };
        holders.take(8).map(plain).collect()
    }

    /// Any server answers this one, elected or not: it keeps a `join` list of fixed names working.
    pub(super) fn answer_seats(
        &mut self,
        tier: Tier,
        from: &Peer,
        known: &[(Label, u64)],
        mine: &[Bundle],
        now: Time,
    ) -> Reply {
        let arrival = Arrival {
            from: Some(from.certified.id),
            tier,
            bulk: false,
            age: Duration::ZERO,
        };
        // What was held about the asker itself, if it is not what it says: an earlier life that its datacenter forgot, or a
        // process with its key that took its place, so that nobody here reaches it any more.
        let shown = mine.iter().flat_map(|bundle| &bundle.claims);
        let you = self
            .bundle(&from.certified.datacenter, &from.certified.id, now)
            .filter(|you| {
                let record = you.claims.first();
                tier == Tier::Wan && !shown.clone().any(|claim| Some(claim) == record)
            });
        for bundle in mine.iter().take(8) {
            self.accept_bundle(bundle, arrival, now);
        }
        let held: BTreeMap<&Label, u64> = known.iter().map(|(dc, number)| (dc, *number)).collect();
        let authorities = self.trust.authorities();
        let newer = authorities
            .iter()
            .filter(|a| held.get(&a.datacenter).is_none_or(|n| *n < a.crl_number));
        let mut room = AUTHORITIES;
        let authorities = newer
            .map(|a| AuthorityItem {
                certificate: Arc::clone(&a.certificate),
                crl: Arc::clone(&a.crl),
            })
            .take_while(|a| {
                room = room.saturating_sub(a.certificate.len() + a.crl.len());
                room > 0
            })
            .collect();
        let asker = from.certified.datacenter.clone();
        let datacenters: Vec<Label> = self
            .catalog
            .keys()
            .filter(|dc| **dc != asker)
            .cloned()
            .collect();
        let mut size = 0;
        let bundles = you
            .into_iter()
            .chain(datacenters.iter().flat_map(|dc| self.seat_bundles(dc, now)))
            .take_while(|bundle| {
                size += weight(bundle);
                size < SEATS
            })
            .collect();
        Reply::Seats {
            bundles,
            authorities,
        }
    }

    /// Asks somebody for the seat holders and authorities it knows.
    pub(super) fn ask_seats(
        &mut self,
        tier: Tier,
        to: Option<NodeId>,
        address: Option<SocketAddr>,
        now: Time,
    ) {
        let known = self
            .trust
            .authorities()
            .into_iter()
            .map(|a| (a.datacenter, a.crl_number))
            .collect();
        let mine = if tier == Tier::Wan {
            self.seat_bundles(&self.me.datacenter, now)
        } else {
            Vec::new()
        };
        let ask = Ask::Seats { known, mine };
        self.ask(
            tier,
            to,
            address,
            &ask,
            PATIENCE,
            Purpose::Seats { address },
        );
    }

    pub(super) fn take_seats(
        &mut self,
        tier: Tier,
        address: Option<SocketAddr>,
        bundles: &[Bundle],
        authorities: &[AuthorityItem],
        from: NodeId,
        now: Time,
    ) {
        let mut learnt = false;
        for authority in authorities.iter().take(64) {
            match self
                .trust
                .admit_authority(&authority.certificate, &authority.crl)
            {
                Ok(news) => {
                    if news {
                        self.count("authorities_learnt");
                        learnt = true;
                    }
                }
                Err(refusal) => self.drop(refusal.0),
            }
        }
        if learnt {
            self.lists_changed(Some(from), tier, now);
        }
        let arrival = Arrival {
            from: Some(from),
            tier,
            bulk: true,
            age: Duration::ZERO,
        };
        self.accept_bundles(bundles, arrival, now);
        // A datacenter heard of for the first time is fetched at once, from whoever told of it.
        let new: Vec<Label> = self
            .catalog
            .iter()
            .filter(|(dc, known)| **dc != self.me.datacenter && !known.synced)
            .map(|(dc, _)| dc.clone())
            .collect();
        for datacenter in new {
            if let Some(known) = self.catalog.get_mut(&datacenter) {
                known.synced = true;
            }
            self.reconcile(tier, from, &datacenter, now);
        }
        if let Some(address) = address {
            self.duties.seats_answered(address, now);
            self.remember_wan(address);
        }
    }

    pub(super) fn remember_wan(&mut self, address: SocketAddr) {
        if !self.memory.wan_peers.contains(&address) && self.settings.wan != Some(address) {
            self.memory.wan_peers.insert(0, address);
            self.memory.wan_peers.truncate(32);
            self.memory_out = Some(self.memory.clone());
        }
    }
}
