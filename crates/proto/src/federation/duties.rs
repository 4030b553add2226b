//! What is done by the clock: elections, heads, healing contacts, WAN dials, forgetting.

use super::{
    Federation, Tier,
    stream::{PATIENCE, Purpose},
};
use crate::{
    catalog::Known,
    election::Decision,
    identity::{Label, NodeId},
    pool::{Peer, Standing},
    time::{Deadline, Time},
    view::{EventKind, Reachability},
    wire::Ask,
};
use rand::{RngExt, rngs::ChaCha12Rng, seq::IndexedRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

/// The beat of everything that needs no exact moment.
const BEAT: Duration = Duration::from_millis(250);
/// Elections wait this long after joining, so that seats held already are seen.
const SETTLE: Duration = Duration::from_millis(500);
/// A server asks a fellow seat for heads this often.
const HEADS: Duration = Duration::from_secs(1);
/// So many times in a row with every beat instead, while the heads are ahead of the rosters that go with them.
const HURRIED: u8 = 4;
/// A WAN address that answered is asked again after this.
const WAN_AGAIN: Duration = Duration::from_secs(5);
/// One that did not: between half a second and three.
const WAN_RETRY: (u64, u64) = (500, 3_000);
/// How often unknown signers may send us asking.
const WANT_EVERY: Duration = Duration::from_secs(1);
/// Members remembered for the next start.
const REMEMBERED: usize = 16;
/// From this many suspects on a rack or zone counts as one event.
const DOMAIN_MEMBERS: usize = 3;

/// When what is due.
#[derive(Debug)]
pub(super) struct Duties {
    beat: Time,
    second: Time,
    heads: Time,
    /// How often in a row heads were asked for early.
    hurried: u8,
    reap: Time,
    wan_seeds: Vec<SocketAddr>,
    /// Next dial per WAN address.
    wan_next: BTreeMap<SocketAddr, Time>,
    /// Peers that spoke of signers unknown here.
    wanted: BTreeMap<NodeId, Tier>,
    wanted_next: Time,
    /// Members whose addresses are remembered for the next start.
    remembered: BTreeSet<NodeId>,
    /// Racks and zones announced as degraded.
    degraded: BTreeSet<(Label, Option<Label>)>,
    /// Somebody's status changed since they were last looked at.
    pub(super) domains_changed: bool,
}

impl Duties {
    pub(super) fn new(rng: &mut ChaCha12Rng, now: Time) -> Self {
        let jitter = |rng: &mut ChaCha12Rng, ms| Duration::from_millis(rng.random_range(0..ms));
        Self {
            beat: now + jitter(rng, 250),
            second: now + jitter(rng, 1_000),
            heads: now + jitter(rng, 1_000),
            hurried: 0,
            reap: now + Duration::from_secs(10),
            wan_seeds: Vec::new(),
            wan_next: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_next: now,
            remembered: BTreeSet::new(),
            degraded: BTreeSet::new(),
            domains_changed: false,
        }
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline {
            at: self.beat,
            why: "beat",
        }
    }

    pub(super) fn set_wan_seeds(
        &mut self,
        seeds: Vec<SocketAddr>,
        own: Option<SocketAddr>,
        now: Time,
    ) {
        self.wan_seeds = seeds.into_iter().filter(|a| Some(*a) != own).collect();
        for seed in &self.wan_seeds {
            self.wan_next.insert(*seed, now);
        }
    }

    pub(super) fn want_seats(&mut self, from: NodeId, tier: Tier) {
        if self.wanted.len() < 64 {
            self.wanted.insert(from, tier);
        }
    }

    pub(super) fn seats_answered(&mut self, address: SocketAddr, now: Time) {
        self.wan_next.insert(address, now + WAN_AGAIN);
    }
}

impl Federation {
    pub(super) fn tick_duties(&mut self, now: Time) {
        if self.duties.beat > now {
            return;
        }
        self.duties.beat = now + BEAT;
        self.elect(now);
        if self.record_is_stale && self.lan.in_majority() {
            self.republish(now);
        }
        if std::mem::take(&mut self.duties.domains_changed) {
            self.watch_domains(now);
        }
        self.tick_head(now);
        self.tick_lists(now);
        self.dial_wan(now);
        self.fetch_wanted(now);
        if self.duties.second <= now {
            self.duties.second = now + Duration::from_secs(1);
            self.heal(now);
            self.watch_reachability(now);
            self.report_repeats(now);
            if self.is_server() {
                // Ages moved on.
                self.changed();
            }
        }
        if self.duties.heads <= now {
            self.duties.heads = now + HEADS;
            self.fetch_heads();
        }
        if self.duties.reap <= now {
            self.duties.reap = now + Duration::from_secs(10);
            self.reap(now);
            self.rest_budgets(now);
            self.lists.rest(now);
            self.remember_lan();
        }
    }

    fn elect(&mut self, now: Time) {
        let ready = self
            .joining
            .joined()
            .is_some_and(|at| now.since(at) >= SETTLE);
        if !ready || !self.is_server() || self.left {
            return;
        }
        let datacenter = self.me.datacenter.clone();
        let Some(known) = self.catalog.get(&datacenter) else {
            return;
        };
        // A key seen twice is barred; our own entry does not know, so we do.
        let barred = self
            .cloned
            .is_some_and(|seen| now.since(seen.at) < crate::election::CLONE_BAR);
        let decision = self.election.decide(self.me.id, &known.roster, now);
        // A new record is a new incarnation, which the larger part of a split datacenter cannot hear of and so cannot accuse:
        // abroad it would revive whom the larger part holds dead. Somebody sits on our side, so that can wait.
        if !self.lan.in_majority() && !self.own_seats().is_empty() {
            return;
        }
        match decision {
            Decision::Sit if !barred && !self.record.seat => self.set_seat(true, now),
            Decision::Resign if self.record.seat => self.set_seat(false, now),
            _ => {}
        }
    }

    /// With probability lost ÷ living, once a second: one lost member or seed.
    fn heal(&mut self, now: Time) {
        if self.joining.joined().is_none() {
            return;
        }
        let seeds = self.lost_seeds();
        let lost = self.lan.lost() + seeds.len();
        let living = self.lan.living().saturating_sub(self.lan.lost()).max(1);
        if lost == 0 || self.rng.random_range(0..living) >= lost {
            return;
        }
        let member = (self.rng.random_range(0..lost) >= seeds.len())
            .then(|| self.random_lost())
            .flatten();
        match member {
            Some((id, address)) => self.introduce_to(Some(id), address, now),
            None => {
                if let Some(seed) = seeds.choose(&mut self.rng).copied() {
                    self.introduce_to(None, seed, now);
                }
            }
        }
    }

    /// A server asks one of its datacenter's seats for the heads of all datacenters: standby servers live on it, and seats
    /// learn which links their fellows have.
    fn fetch_heads(&mut self) {
        if !self.is_server() || self.joining.joined().is_none() {
            return;
        }
        let seats: Vec<NodeId> = self
            .own_seats()
            .into_iter()
            .filter(|id| *id != self.me.id)
            .collect();
        if let Some(seat) = seats.choose(&mut self.rng).copied() {
            self.ask(
                Tier::Lan,
                Some(seat),
                None,
                &Ask::Heads,
                PATIENCE,
                Purpose::Heads,
            );
        }
    }

    /// A fellow answered. If what it holds itself is behind the heads that it passed on, it will have more in a moment, or another has.
    pub(super) fn heads_fetched(&mut self, now: Time) {
        let own = &self.me.datacenter;
        let behind = |(dc, known): (&Label, &Known)| dc != own && known.is_behind(now);
        if self.is_seated() || !self.catalog.iter().any(behind) {
            self.duties.hurried = 0;
        } else if self.duties.hurried < HURRIED {
            self.duties.hurried += 1;
            self.duties.heads = now;
        }
    }

    fn fetch_wanted(&mut self, now: Time) {
        if self.duties.wanted_next > now {
            return;
        }
        if let Some((from, tier)) = self.duties.wanted.pop_first() {
            self.duties.wanted_next = now + WANT_EVERY;
            // On the LAN only servers know abroad; what a fellow member knows of our own comes by comparing.
            if self.is_server() {
                self.ask_seats(tier, Some(from), None, now);
            }
        }
    }

    /// A seat holder keeps asking `join` names and remembered addresses at which no peer of ours answers: where none sits, and
    /// where one sends what it has for us to somebody else, who took our place there.
    fn dial_wan(&mut self, now: Time) {
        if !self.is_seated() {
            return;
        }
        let answering = self
            .wan
            .peers()
            .filter(|p| !self.wan.is_down(&p.contact.id));
        let peers: BTreeSet<SocketAddr> = answering.map(|p| p.contact.address).collect();
        let servers = self.own().roster.servers();
        let own: BTreeSet<SocketAddr> = servers.filter_map(|(_, e)| e.record().wan).collect();
        let all: Vec<SocketAddr> = self
            .duties
            .wan_seeds
            .iter()
            .chain(&self.memory.wan_peers)
            .copied()
            .collect();
        self.duties
            .wan_next
            .retain(|address, _| all.contains(address));
        let mut dialled = 0;
        for address in all {
            let due = self
                .duties
                .wan_next
                .get(&address)
                .is_none_or(|at| *at <= now);
            if !due || peers.contains(&address) || own.contains(&address) || dialled >= 4 {
                continue;
            }
            dialled += 1;
            let wait = self.rng.random_range(WAN_RETRY.0..WAN_RETRY.1);
            self.duties
                .wan_next
                .insert(address, now + Duration::from_millis(wait));
            self.ask_seats(Tier::Wan, None, Some(address), now);
        }
    }

    fn watch_reachability(&mut self, now: Time) {
        let mut changes: Vec<(Label, Reachability)> = Vec::new();
        for (datacenter, known) in self.catalog.iter_mut() {
            if *datacenter == self.me.datacenter {
                continue;
            }
            let is = known.reachability(now);
            if known.shown.replace(is) != Some(is) {
                changes.push((datacenter.clone(), is));
            }
        }
        for (datacenter, is) in changes {
            self.event(
                now,
                EventKind::Reachability,
                &datacenter,
                None,
                None,
                format!("{datacenter} is {is}"),
            );
        }
    }

    fn reap(&mut self, now: Time) {
        let unix = self.trust.unix_time();
        let datacenters: Vec<Label> = self.catalog.keys().cloned().collect();
        for datacenter in datacenters {
            let Some(known) = self.catalog.get_mut(&datacenter) else {
                continue;
            };
            let removals = known.roster.removals().count();
            let gone = known.roster.reap(now, unix);
            if known.roster.removals().count() < removals {
                self.remember_removals();
                self.after_merge(&datacenter, NodeId::default(), None, now);
            }
            for (id, name) in gone {
                if id == self.me.id {
                    // Our certificate ended long ago; while we run we still know ourselves.
                    self.hold_own(now);
                    continue;
                }
                self.let_go(&datacenter, (id, name), EventKind::Reaped, "forgotten", now);
            }
        }
    }

    /// Remembers where members were met, for the next start.
    fn remember_lan(&mut self) {
        let is_well = |p: &Peer| p.standing == Standing::Alive;
        let lan = &mut self.lan;
        self.duties
            .remembered
            .retain(|id| lan.peer(id).is_some_and(is_well));
        // Out of all racks and zones, so that the loss of one does not take them all.
        for id in lan.draw(REMEMBERED, is_well) {
            if self.duties.remembered.len() < REMEMBERED {
                self.duties.remembered.insert(id);
            }
        }
        let known = |id| lan.peer(id).map(|p| p.contact.stream);
        let mut peers: Vec<SocketAddr> = self.duties.remembered.iter().filter_map(known).collect();
        peers.sort();
        let wan: Vec<SocketAddr> = self.wan.peers().map(|p| p.contact.address).collect();
        for address in wan {
            self.remember_wan(address);
        }
        if !peers.is_empty() && peers != self.memory.lan_peers {
            self.memory.lan_peers = peers;
            self.memory_out = Some(self.memory.clone());
        }
    }

    /// Half of a rack or zone suspected at once is one event, not many.
    pub(super) fn watch_domains(&mut self, now: Time) {
        let roster = &self.own().roster;
        let mut degraded = BTreeSet::new();
        let mut zones: BTreeMap<&Label, usize> = BTreeMap::new();
        let is_degraded = |members: usize, lost| members >= DOMAIN_MEMBERS && 2 * lost >= members;
        for (rack, lost) in roster.lost_by_rack() {
            *zones.entry(&rack.0).or_default() += lost;
            let members = roster.present_by_rack().get(rack).copied();
            if is_degraded(members.unwrap_or(0), *lost) {
                degraded.insert((rack.0.clone(), Some(rack.1.clone())));
            }
        }
        for (zone, lost) in zones {
            let racks = roster.present_by_rack().iter();
            let members = racks.filter(|(rack, _)| rack.0 == *zone).map(|(_, n)| n);
            if is_degraded(members.sum(), lost) {
                degraded.insert((zone.clone(), None));
            }
        }
        let datacenter = self.me.datacenter.clone();
        let new: Vec<_> = degraded
            .difference(&self.duties.degraded)
            .cloned()
            .collect();
        self.duties.degraded = degraded;
        for (zone, rack) in new {
            let (kind, what) = match rack {
                Some(rack) => (
                    EventKind::RackDegraded,
                    format!("half of rack {zone}/{rack} does not answer"),
                ),
                None => (
                    EventKind::ZoneDegraded,
                    format!("half of zone {zone} does not answer"),
                ),
            };
            self.event(now, kind, &datacenter, None, None, what);
        }
    }
}
