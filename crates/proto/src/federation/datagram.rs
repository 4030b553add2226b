//! Datagrams in, and news out.

use super::{Federation, Fresh, MAX_WAITING, Tier, admit::Arrival};
use crate::{
    claim::{Body, Heard},
    identity::NodeId,
    time::Time,
    view::Status,
    wire::{Frame, Item, MAX_DATAGRAM},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

impl Federation {
    /// The LAN key under which packets from `from` are sealed, if that member is known.
    pub fn lan_key(&self, from: NodeId) -> Option<[u8; 32]> {
        // Whom we talk to is known to the pool as the roster has it; whoever left, or is barred, is not.
        if let Some(peer) = self.lan.peer(&from) {
            return Some(peer.contact.key);
        }
        let entry = self.own().roster.get(&from)?;
        let out = entry.status == Status::Removed || self.barred.contains(&from);
        (!out).then_some(entry.record().lan_key)
    }

    /// Verifies a clear introduction, under a budget, and returns whose it is and its LAN key; `None` was counted.
    ///
    /// Call it when `from` is unknown, or when a packet did not open under the known key. The record is a claim like any
    /// other: it enters the roster, and a replayed one is only old news.
    pub fn handle_introduction(
        &mut self,
        record: &[u8],
        leaf: &[u8],
        now: Time,
    ) -> Option<(NodeId, [u8; 32])> {
        let Ok(claim) = Heard::read(&*self.trust, record) else {
            self.drop("introduction_malformed");
            return None;
        };
        let Body::Record(body) = &claim.body else {
            self.drop("introduction_malformed");
            return None;
        };
        let (id, key) = (claim.signer, body.lan_key);
        if id == self.me.id {
            self.handle_about_me(&claim, None, now);
            self.settle(now);
            return None;
        }
        if body.location.datacenter != self.me.datacenter {
            self.drop("introduction_datacenter");
            return None;
        }
        let held = self
            .own()
            .roster
            .get(&id)
            .map(|e| Arc::clone(e.card().bytes()));
        if held.is_none_or(|bytes| *bytes != *record) {
            if !self.introductions.take(1.0, now) {
                self.drop("introduction_budget");
                return None;
            }
            // Nobody is proven yet: the introductions' own budget was charged instead of a peer's.
            let arrival = Arrival {
                from: None,
                tier: Tier::Lan,
                bulk: false,
                age: Duration::ZERO,
            };
            self.accept(&record.into(), Some(&leaf.into()), arrival, now);
            self.settle(now);
        }
        // Whatever was made of it, only the key that the roster now holds may open the packet.
        (self.lan_key(id) == Some(key)).then_some((id, key))
    }

    /// An authenticated datagram's payload: on the LAN opened under the sender's key, on the WAN from its connection.
    pub fn handle_datagram(&mut self, tier: Tier, from: NodeId, payload: &[u8], now: Time) {
        self.notice_lateness(now);
        if self.left {
            return;
        }
        let push =
            (tier == Tier::Lan && Frame::is_news(payload)).then(|| self.echoes.mark(payload));
        if push.is_some_and(|mark| self.echoes.knows(mark, now)) {
            self.touched = now;
            return self.count("pushes_echoed");
        }
        let Ok(frame) = Frame::decode(payload) else {
            self.drop("frame_malformed");
            return;
        };
        // Whoever can seal to our key knows our record of this boot; a peer is neither unknown nor removed.
        if tier == Tier::Wan || !self.lan.introduced(&from) {
            let entry = match tier {
                Tier::Lan => self.own().roster.get(&from),
                Tier::Wan => self.entry(&from),
            };
            match entry.map(|e| e.status) {
                None => return self.drop("unknown_sender"),
                Some(Status::Removed) => return self.drop("removed_sender"),
                Some(_) => {}
            }
        }
        match frame {
            Frame::Ping {
                number,
                watch,
                digest,
                news,
            } => {
                self.take_news(&news, from, tier, now);
                self.compare_digest(tier, from, digest, now);
                // Answered with what we know after the news: the digest shows that it arrived.
                let missed = self.missed_by(tier, digest, now);
                let digest = self.own_digests().current();
                let pool = match tier {
                    Tier::Lan => &mut self.lan,
                    Tier::Wan => &mut self.wan,
                };
                if pool.peer(&from).is_some() {
                    pool.handle_ping(from, number, watch, digest, &missed, now);
                }
            }
            Frame::Ack {
                number,
                spacing,
                digest,
                news,
            } => {
                self.take_news(&news, from, tier, now);
                self.compare_digest(tier, from, digest, now);
                let missed = self.missed_by(tier, digest, now);
                if !missed.is_empty() {
                    self.lan.push_to(from, &missed);
                }
                let pool = match tier {
                    Tier::Lan => &mut self.lan,
                    Tier::Wan => &mut self.wan,
                };
                pool.handle_ack(from, number, spacing, now);
            }
            Frame::PingReq {
                number,
                target,
                within,
            } if tier == Tier::Lan => {
                let own = self.own_digests().current();
                self.lan
                    .handle_ping_req(from, number, target, within, own, now);
            }
            Frame::Relayed { number, answered } if tier == Tier::Lan => {
                self.lan.handle_relayed(from, number, answered, now);
            }
            Frame::News { news } => {
                let all = self.take_news(&news, from, tier, now);
                if let Some(mark) = push.filter(|_| all) {
                    self.echoes.hear(mark);
                }
            }
            Frame::Heads { heads } => self.take_heads(heads, from, tier, now),
            Frame::Lists { digest, known } => self.handle_lists(digest, &known, from, tier, now),
            Frame::List { crl } => self.take_list(&crl, from, tier, now),
            Frame::PingReq { .. } | Frame::Relayed { .. } => self.drop("frame_tier"),
        }
        self.settle(now);
    }

    /// Takes claims in; returns whether each of them was news.
    fn take_news(&mut self, news: &[Item], from: NodeId, tier: Tier, now: Time) -> bool {
        let arrival = Arrival {
            from: Some(from),
            tier,
            bulk: false,
            age: Duration::ZERO,
        };
        let mut all = true;
        for item in news {
            all &= self.accept(&item.claim, item.leaf.as_ref(), arrival, now);
        }
        all
    }

    fn compare_digest(&mut self, tier: Tier, from: NodeId, theirs: u64, now: Time) {
        if tier == Tier::Lan {
            let alike = self.own_digests().knows(theirs, now);
            let (repair, rng) = self.lan.repair_and_rng();
            repair.compare(from, alike, rng, now);
        }
    }

    /// The news that a peer with this set hash has not heard of, as far as a datagram holds it. The hash says which, so nobody
    /// waits for a reconciliation because a push was lost.
    fn missed_by(&self, tier: Tier, theirs: u64, now: Time) -> Vec<Item> {
        if tier == Tier::Wan || !self.settings.tuning.catch_up {
            return Vec::new();
        }
        let roster = &self.own().roster;
        let mut room = MAX_DATAGRAM;
        let mut items = Vec::new();
        for id in roster.digests().missed_by(theirs, now) {
            for item in roster.last_news(&id) {
                let Some(left) = room.checked_sub(item.size()) else {
                    return items;
                };
                room = left;
                items.push(item);
            }
        }
        items
    }

    /// Pushes what became known in this call: inside the datacenter to sampled peers, abroad once per datacenter.
    pub(super) fn push_fresh(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return;
        }
        let mut by_source: BTreeMap<Option<NodeId>, Vec<Item>> = BTreeMap::new();
        for Fresh {
            item,
            datacenter,
            from,
            tier,
            decision,
        } in fresh
        {
            if datacenter == self.me.datacenter {
                self.tell_abroad(&item);
                by_source.entry(from).or_default().push(item);
                continue;
            }
            if decision && tier == Tier::Lan {
                // Handed in far from where it belongs.
                self.tell_home(&item, &datacenter);
            }
            let by_fellow = tier == Tier::Lan && from.is_some();
            if self.is_seated() || !by_fellow {
                self.tell_fellow_servers(&item, by_fellow);
            }
        }
        for (from, items) in by_source {
            if self.transmits.len() < MAX_WAITING {
                self.lan.push(&items, from);
            }
        }
    }
}
