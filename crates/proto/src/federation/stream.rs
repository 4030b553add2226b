//! Questions over streams: one message there, one back.

use super::{
    Federation, MAX_MESSAGE, Peer, RequestError, RequestId, Tier,
    admit::Arrival,
    reconcile::{Exchange, Shown},
};
use crate::{
    identity::{Label, NodeId, Role},
    pool::Gain,
    roster::Entry,
    time::Time,
    view::Status,
    wire::{Ask, Bundle, Item, Reply},
};
use rand::seq::IndexedRandom;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Bytes of claims in one page or exchange.
pub(super) const PAGE: usize = 60 * 1024;
/// Members wanted in one exchange.
pub(super) const WANTED: usize = 256;
/// Entries shown in one comparison, 27 bytes each: the rest comes with the next one.
const SHOWN: usize = 7_000;
/// Who is named when we are too busy.
const REFERRALS: usize = 8;
/// How long a question may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// What a request under way is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Probe {
        tier: Tier,
        to: NodeId,
    },
    Pull {
        address: SocketAddr,
    },
    Introduce {
        address: SocketAddr,
    },
    Compare {
        tier: Tier,
        to: NodeId,
        datacenter: Label,
        bits: u8,
    },
    Exchange(Exchange),
    Heads,
    Seats {
        address: Option<SocketAddr>,
    },
    Lists {
        tier: Tier,
    },
}

impl Federation {
    /// A request from an authenticated peer; the answer, or nothing if it has none (reset the stream then).
    pub fn handle_request(&mut self, tier: Tier, from: &Peer, body: &[u8], now: Time) -> Vec<u8> {
        self.notice_lateness(now);
        let fits = match tier {
            Tier::Lan => {
                from.certified.datacenter == self.me.datacenter
                    && from.certified.role != Role::Operator
            }
            Tier::Wan => from.certified.role == Role::Server && self.is_server(),
        };
        if !fits || self.left {
            self.drop("request_role");
            return Vec::new();
        }
        // Its connection is about to be closed.
        if self.trust.is_revoked(&from.certified) {
            self.drop("revoked");
            return Vec::new();
        }
        let Ok(ask) = Ask::decode(body) else {
            self.drop("request_malformed");
            return Vec::new();
        };
        let reply = match self.removal_of(&from.certified) {
            Some(removal) => self.answer_removed(&ask, removal),
            None => self.answer(tier, from, ask, now),
        };
        self.settle(now);
        let Some(reply) = reply else {
            self.drop("request_unanswerable");
            return Vec::new();
        };
        let bytes = reply.encode();
        if !matches!(
            reply,
            Reply::Here { .. } | Reply::Met { .. } | Reply::Heads { .. }
        ) {
            self.bulk.charge(bytes.len() as f64, now);
        }
        bytes
    }

    fn answer(&mut self, tier: Tier, from: &Peer, ask: Ask, now: Time) -> Option<Reply> {
        let id = from.certified.id;
        let arrival = Arrival {
            from: Some(id),
            tier,
            bulk: true,
            age: Duration::ZERO,
        };
        match ask {
            Ask::Probe { news } => {
                for item in &news {
                    self.accept(
                        &item.claim,
                        item.leaf.as_ref(),
                        Arrival {
                            bulk: false,
                            ..arrival
                        },
                        now,
                    );
                }
                // What is held about the asker goes along: datagrams fail between two processes with one key as well, and
                // only this tells the one whose place was taken.
                let asker = self.own().roster.get(&id);
                let held: Vec<_> = asker
                    .into_iter()
                    .flat_map(Entry::claims)
                    .take(2)
                    .map(Arc::clone)
                    .collect();
                let claims = self.own_bundle().claims.into_iter().chain(held);
                let news = claims.map(|claim| Item { claim, leaf: None }).collect();
                Some(Reply::Here { news })
            }
            Ask::Pull { datacenter, after } => {
                if tier == Tier::Wan && datacenter == self.me.datacenter && !self.is_seated() {
                    return None;
                }
                if !self.bulk.open(now) {
                    self.count("joins_referred");
                    return Some(self.refer(id));
                }
                self.page(&datacenter, after, id, now)
            }
            Ask::Introduce { me, you, digest } => {
                if tier != Tier::Lan {
                    return None;
                }
                self.accept_bundle(
                    &me,
                    Arrival {
                        bulk: false,
                        ..arrival
                    },
                    now,
                );
                if let Some(you) = you {
                    self.accept_bundle(&you, arrival, now);
                }
                let alike = self.own_digests().knows(digest, now);
                let digest = self.own_digests().current();
                let (repair, rng) = self.lan.repair_and_rng();
                repair.compare(id, alike, rng, now);
                self.compare_lists(id);
                let you = self.bundle(&self.me.datacenter.clone(), &id, now);
                Some(Reply::Met {
                    me: self.own_bundle(),
                    you,
                    digest,
                })
            }
            Ask::Compare {
                datacenter,
                bits,
                buckets,
            } => {
                let known = self.catalog.get(&datacenter)?;
                let (entries, buckets) = known.roster.differences(bits, &buckets, SHOWN);
                Some(Reply::Differences { entries, buckets })
            }
            Ask::Exchange {
                datacenter,
                want,
                give,
            } => {
                self.accept_bundles(&give, arrival, now);
                let mut bundles = Vec::new();
                let mut size = 0;
                let roster = self.catalog.get(&datacenter).map(|known| &known.roster);
                // All are to forget together whom nobody compares any more.
                let faded = |id: &&NodeId| {
                    let entry = roster.and_then(|roster| roster.get(id));
                    entry.is_some_and(|entry| entry.has_faded(now))
                };
                for id in want.iter().take(WANTED).filter(|id| !faded(id)) {
                    if let Some(bundle) = self.bundle(&datacenter, id, now) {
                        size += weight(&bundle);
                        bundles.push(bundle);
                    }
                    // A page more than the asker's own: it comes back while it learns something.
                    if size > 3 * PAGE {
                        break;
                    }
                }
                Some(Reply::Given { bundles })
            }
            Ask::Heads => {
                // Our own datacenter's heads come along: a second server's signature is what attests.
                let heads = self
                    .catalog
                    .values()
                    .flat_map(|k| k.heads(3, now))
                    .collect();
                let abroad = self
                    .catalog
                    .iter()
                    .filter(|(dc, _)| **dc != self.me.datacenter);
                let held = abroad
                    .map(|(dc, k)| (dc.clone(), k.roster.digests().current()))
                    .collect();
                (tier == Tier::Lan && self.is_server()).then_some(Reply::Heads { heads, held })
            }
            Ask::Seats { known, mine } => Some(self.answer_seats(tier, from, &known, &mine, now)),
            Ask::Lists { known } => Some(self.answer_lists(&known)),
        }
    }

    /// A page of a roster after an id.
    fn page(
        &self,
        datacenter: &Label,
        after: Option<NodeId>,
        asker: NodeId,
        now: Time,
    ) -> Option<Reply> {
        let roster = &self.catalog.get(datacenter)?.roster;
        let mut bundles = Vec::new();
        let mut size = 0;
        let mut next = None;
        let faded = |id: &NodeId| roster.get(id).is_some_and(|e| e.has_faded(now));
        for id in roster.ids(after) {
            if faded(id) || *id == asker {
                continue;
            }
            if size > PAGE {
                next = bundles.last().map(|(id, _): &(NodeId, Bundle)| *id);
                break;
            }
            if let Some(bundle) = self.bundle(datacenter, id, now) {
                size += weight(&bundle);
                bundles.push((*id, bundle));
            }
        }
        let bundles = bundles.into_iter().map(|(_, b)| b).collect();
        let you = if after.is_none() {
            self.bundle(datacenter, &asker, now)
        } else {
            None
        };
        Some(Reply::Page { bundles, next, you })
    }

    /// Others who have joined already.
    fn refer(&mut self, asker: NodeId) -> Reply {
        let drawn = self.lan.draw(REFERRALS, |p| p.contact.id != asker);
        let datacenter = self.me.datacenter.clone();
        let entries = drawn
            .iter()
            .filter_map(|id| self.own().roster.get(id).map(|e| (id, e)));
        let referrals = entries
            .map(|(id, e)| self.bundle_of(&datacenter, id, e, Time::default()))
            .collect();
        Reply::Busy {
            after: Duration::from_millis(500),
            referrals,
        }
    }

    /// Everything held about a member.
    pub(super) fn bundle(&self, datacenter: &Label, id: &NodeId, now: Time) -> Option<Bundle> {
        if *id == self.me.id {
            return Some(self.own_bundle());
        }
        let roster = &self.catalog.get(datacenter)?.roster;
        match (roster.get(id), roster.removal(id)) {
            (Some(entry), _) => Some(self.bundle_of(datacenter, id, entry, now)),
            (None, Some(removal)) => Some(Bundle {
                removal: Some(Item::with_leaf(removal)),
                ..Bundle::default()
            }),
            (None, None) => None,
        }
    }

    pub(super) fn bundle_of(
        &self,
        datacenter: &Label,
        id: &NodeId,
        entry: &Entry,
        now: Time,
    ) -> Bundle {
        let removal = self
            .catalog
            .get(datacenter)
            .and_then(|k| k.roster.removal(id));
        let ages = matches!(
            entry.status,
            Status::Dead | Status::Left | Status::Suspect | Status::Unreachable
        );
        Bundle {
            claims: entry.claims().map(Arc::clone).collect(),
            leaf: Arc::clone(&entry.certified().leaf),
            removal: removal.map(Item::with_leaf),
            age: if ages {
                now.since(entry.since)
            } else {
                Duration::ZERO
            },
        }
    }

    /// Several members: removals first, so that nobody removed is taken for a newcomer, then all records, so that accusers
    /// are known before what they say.
    pub(super) fn accept_bundles(
        &mut self,
        bundles: &[Bundle],
        arrival: Arrival,
        now: Time,
    ) -> bool {
        let mut changed = false;
        for removal in bundles.iter().filter_map(|b| b.removal.as_ref()) {
            changed |= self.accept(&removal.claim, removal.leaf.as_ref(), arrival, now);
        }
        for bundle in bundles {
            if let Some(record) = bundle.claims.first() {
                let arrival = Arrival {
                    age: Duration::ZERO,
                    ..arrival
                };
                changed |= self.accept(record, Some(&bundle.leaf), arrival, now);
            }
        }
        for bundle in bundles {
            if bundle.claims.len() > 1 {
                changed |= self.accept_bundle(bundle, arrival, now);
            }
        }
        changed
    }

    /// The answer to a request of ours, or why there is none.
    pub fn handle_response(
        &mut self,
        id: RequestId,
        result: Result<(Peer, Vec<u8>), RequestError>,
        now: Time,
    ) {
        self.notice_lateness(now);
        let Some(purpose) = self.requests.remove(&id) else {
            return;
        };
        if self.left {
            return;
        }
        match result {
            Ok((peer, _)) if self.trust.is_revoked(&peer.certified) => {
                self.drop("revoked");
                self.give_up(&purpose, now);
            }
            // It may not know yet; what it says is nobody's word any more.
            Ok((peer, _)) if self.removal_of(&peer.certified).is_some() => {
                self.drop("removed_sender");
                self.give_up(&purpose, now);
            }
            Ok((peer, body)) if body.len() <= MAX_MESSAGE => match Reply::decode(&body) {
                Ok(reply) => self.take_reply(purpose, &peer, reply, now),
                Err(_) => {
                    self.drop("response_malformed");
                    self.give_up(&purpose, now);
                }
            },
            Ok(_) => {
                self.drop("response_size");
                self.give_up(&purpose, now);
            }
            Err(_) => {
                self.count("requests_failed");
                self.give_up(&purpose, now);
            }
        }
        self.settle(now);
    }

    fn give_up(&mut self, purpose: &Purpose, now: Time) {
        match purpose {
            Purpose::Probe { tier, to } => self.pool_mut(*tier).stream_answered(to, false, now),
            Purpose::Pull { address } => self.pull_failed(*address, now),
            // Asked again by their own clocks.
            Purpose::Introduce { .. }
            | Purpose::Heads
            | Purpose::Seats { .. }
            | Purpose::Lists { .. } => {}
            Purpose::Compare { to, datacenter, .. } => {
                self.repair_done(datacenter, to, Gain::Nothing, now);
            }
            Purpose::Exchange(exchange) => {
                self.repair_done(
                    &exchange.datacenter,
                    &exchange.to,
                    exchange.unanswered(),
                    now,
                );
            }
        }
    }

    fn take_reply(&mut self, purpose: Purpose, peer: &Peer, reply: Reply, now: Time) {
        let from = peer.certified.id;
        let arrival = |tier| Arrival {
            from: Some(from),
            tier,
            bulk: true,
            age: Duration::ZERO,
        };
        match (purpose, reply) {
            (Purpose::Probe { tier, to }, Reply::Here { news }) => {
                for item in &news {
                    self.accept(
                        &item.claim,
                        item.leaf.as_ref(),
                        Arrival {
                            bulk: false,
                            ..arrival(tier)
                        },
                        now,
                    );
                }
                self.pool_mut(tier).stream_answered(&to, from == to, now);
            }
            (Purpose::Pull { address }, Reply::Page { bundles, next, you }) => {
                if let Some(you) = you {
                    self.accept_bundle(&you, arrival(Tier::Lan), now);
                }
                self.accept_bundles(&bundles, arrival(Tier::Lan), now);
                match next {
                    Some(next) => self.pull(address, Some(next)),
                    None => self.pulled(address, now),
                }
            }
            (Purpose::Pull { address }, Reply::Busy { after, referrals }) => {
                self.accept_bundles(&referrals, arrival(Tier::Lan), now);
                self.pull_referred(address, after, now);
            }
            (Purpose::Introduce { address }, Reply::Met { me, you, digest }) => {
                let met = Arrival {
                    bulk: false,
                    ..arrival(Tier::Lan)
                };
                self.accept_bundle(&me, met, now);
                if let Some(you) = you {
                    self.accept_bundle(&you, arrival(Tier::Lan), now);
                }
                self.met(from, address, digest, now);
            }
            (
                Purpose::Compare {
                    tier,
                    to,
                    datacenter,
                    bits,
                },
                Reply::Differences { entries, buckets },
            ) => {
                let shown = Shown {
                    bits,
                    entries,
                    buckets,
                };
                self.exchange(tier, to, datacenter, &shown, now);
            }
            (Purpose::Exchange(exchange), Reply::Given { bundles }) => {
                let news = self.accept_bundles(&bundles, arrival(exchange.tier), now);
                self.exchanged(exchange, &bundles, news, now);
            }
            (Purpose::Heads, Reply::Heads { heads, held }) => {
                self.compare_held(held, from, now);
                self.take_heads(heads, from, Tier::Lan, now);
                self.heads_fetched(now);
            }
            (
                Purpose::Seats { address },
                Reply::Seats {
                    bundles,
                    authorities,
                },
            ) => {
                let tier = if peer.certified.datacenter == self.me.datacenter {
                    Tier::Lan
                } else {
                    Tier::Wan
                };
                self.take_seats(tier, address, &bundles, &authorities, from, now);
            }
            (Purpose::Lists { tier }, Reply::Lists { lists, known }) => {
                self.take_lists(&lists, &known, from, tier, now);
            }
            (purpose, _) => {
                self.drop("response_kind");
                self.give_up(&purpose, now);
            }
        }
    }

    pub(super) fn pool_mut(&mut self, tier: Tier) -> &mut crate::pool::Pool {
        match tier {
            Tier::Lan => &mut self.lan,
            Tier::Wan => &mut self.wan,
        }
    }

    /// Dials one lost member or seed: with probability lost ÷ living, once a second.
    pub(super) fn introduce_to(&mut self, to: Option<NodeId>, address: SocketAddr, now: Time) {
        let datacenter = self.me.datacenter.clone();
        let you = to.and_then(|id| self.bundle(&datacenter, &id, now));
        let ask = Ask::Introduce {
            me: self.own_bundle(),
            you,
            digest: self.own_digests().current(),
        };
        self.count("healing_contacts");
        self.ask(
            Tier::Lan,
            to,
            Some(address),
            &ask,
            PATIENCE,
            Purpose::Introduce { address },
        );
    }

    pub(super) fn random_lost(&mut self) -> Option<(NodeId, SocketAddr)> {
        use crate::pool::Standing::{Dead, Unreachable};
        let lost: Vec<_> = self
            .lan
            .peers()
            .filter(|p| matches!(p.standing, Dead | Unreachable))
            .map(|p| (p.contact.id, p.contact.stream))
            .collect();
        lost.choose(&mut self.rng).copied()
    }
}

pub(super) fn weight(bundle: &Bundle) -> usize {
    bundle.claims.iter().map(|c| c.len() + 4).sum::<usize>() + bundle.leaf.len() + 16
}
