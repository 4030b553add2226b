//! What really is, as no node can know it: who runs, who was left in peace, how far each node's own words went. Checkers
//! compare views with it.

use crate::{slot::Slot, world::World};
use pelago_proto::{
    identity::{Incarnation, Label, NodeId, Role},
    time::Time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// A node counts as left in peace when nothing happened to it for this long: whoever accused it because of what happened
/// before has been answered by now, and whoever was cut off and accused it alone has met the others again.
const PEACE: Duration = Duration::from_secs(20);
/// A head counts this long as news, and may be so long on its way.
const STALE: Duration = Duration::from_secs(10);
const UNDER_WAY: Duration = Duration::from_secs(6);
/// Datagrams that a node sends and is sent in a second, generously.
const A_SECOND: usize = 100;
/// Two pauses within the tolerance count as two only if so much lies between them.
const BREATH: Duration = Duration::from_secs(4);

/// What really is.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The highest incarnation that any process with this key reached.
    highest: BTreeMap<NodeId, Incarnation>,
    /// Until when each host was last disturbed.
    disturbed: BTreeMap<usize, Time>,
    /// When a tolerable pause last ended.
    paused: BTreeMap<usize, Time>,
    /// Standing cuts inside datacenters: since when, and who cannot send to whom.
    cuts: BTreeMap<u64, (Time, Vec<usize>, Vec<usize>)>,
    /// When each host was last found dead by somebody in its own datacenter.
    found_dead: BTreeMap<usize, Time>,
    /// Who means harm.
    pub(crate) liars: BTreeSet<usize>,
    /// Whose certificate was revoked.
    pub(crate) revoked: BTreeSet<NodeId>,
    /// Whom an operator removed.
    pub(crate) removed: BTreeSet<NodeId>,
    /// All that operators signed.
    pub(crate) removals: BTreeSet<Arc<[u8]>>,
    /// Whose process started without what its last one had on disk.
    pub(crate) blank: BTreeSet<usize>,
    /// Whose certificate was renewed.
    pub(crate) renewed: BTreeSet<NodeId>,
    /// Whose key was used twice.
    pub(crate) cloned: BTreeSet<NodeId>,
    /// Whose clock is off.
    pub(crate) off_clock: BTreeSet<usize>,
    /// Boots in which a process said goodbye, with its last incarnation.
    pub(crate) left: BTreeMap<(usize, u32), Incarnation>,
    /// Of these, those whom all fellow members could hear.
    pub(crate) left_in_peace: BTreeSet<(usize, u32)>,
    /// Since when the process of each host and epoch was seen to run.
    runs: BTreeMap<(usize, u32), Time>,
    /// When each datacenter was last seen to have a server.
    spoke: BTreeMap<Label, Time>,
    /// For how long messages can have lain with processes that did not run, all of them together.
    held: Duration,
    /// Until when those to each host last waited, and how long.
    backlog: Vec<(usize, Time, Duration)>,
    /// The network itself is too bad for promises until then.
    rough_until: Time,
}

impl Truth {
    /// Nothing is promised about anybody until then.
    pub(crate) fn rough_until(&mut self, until: Time) {
        self.rough_until = self.rough_until.max(until);
    }

    /// Something happens to a host until then.
    pub(crate) fn disturb(&mut self, host: usize, until: Time) {
        let at = self.disturbed.entry(host).or_default();
        *at = until.max(*at);
    }

    /// A pause of a length that must not cost a life, unless it comes right after another.
    pub(crate) fn pause(&mut self, host: usize, from: Time, until: Time, tolerance: Duration) {
        let before = self.paused.insert(host, until);
        let breathed = before.is_none_or(|before| from.since(before) >= BREATH);
        if until.since(from) > tolerance || !breathed {
            self.disturb(host, until);
        }
    }

    /// Messages to somebody wait for so long, until then.
    pub(crate) fn hold(&mut self, host: usize, lasting: Duration, until: Time) {
        self.held += lasting;
        self.backlog.push((host, until, lasting));
    }

    /// How many datagrams may have waited at a host that goes on just now, to be sent or answered all at once: its own, and what
    /// liars sent meanwhile, each packet of which the others may answer.
    pub(crate) fn backlog(&self, world: &World, host: usize) -> usize {
        let over =
            |until: &Time| world.now >= *until && world.now.since(*until) <= Duration::from_secs(2);
        let waited = self
            .backlog
            .iter()
            .filter(|(held, until, _)| over(until) && (*held == host || self.liars.contains(held)));
        waited
            .map(|(.., lasting)| A_SECOND * lasting.as_secs() as usize)
            .sum()
    }

    /// Notes who runs just now.
    pub(crate) fn look(&mut self, world: &World) {
        for (host, slot) in world.slots.iter().enumerate() {
            if slot.process.is_some() {
                self.runs.entry((host, slot.epoch)).or_insert(world.now);
                if slot.who.role == Role::Server {
                    self.spoke.insert(slot.who.datacenter.clone(), world.now);
                }
            }
        }
    }

    /// Since when the process of a host runs, if it is in this boot, which no other process was in.
    pub(crate) fn runs_since(&self, world: &World, host: usize, boot: u64) -> Option<Time> {
        let slot = &world.slots[host];
        let process = slot.process.as_ref()?;
        let is = process.federation.incarnation().boot == boot
            && !self.cloned.contains(&slot.id)
            && !self.blank.contains(&host);
        self.runs
            .get(&(host, slot.epoch))
            .copied()
            .filter(|_| is && !process.is_deaf())
    }

    /// Whether nobody in a datacenter has said anything for so long that nobody may take it for reachable. Liars may say that
    /// old heads are new.
    pub(crate) fn silent(&self, world: &World, datacenter: &Label) -> bool {
        let spoke = self.spoke.get(datacenter).copied().unwrap_or_default();
        self.liars.is_empty() && world.now.since(spoke) > STALE + UNDER_WAY + self.held
    }

    /// A cut inside datacenters begins.
    pub(crate) fn cut(&mut self, cut: u64, from: Vec<usize>, to: Vec<usize>, now: Time) {
        self.cuts.insert(cut, (now, from, to));
    }

    /// Somebody at home finds a host dead that was not left in peace: a death that must not be excuses no other.
    pub(crate) fn found_dead(&mut self, host: usize, now: Time) {
        self.found_dead.insert(host, now);
    }

    /// Whether a host may be dead for those whom the standing cuts part it from: found so since, or so shortly before that its
    /// refutation may not have come through.
    fn may_be_dead_beyond(&self, world: &World, host: usize) -> bool {
        let datacenter = |host: &usize| &world.slots[*host].who.datacenter;
        let here = |hosts: &[usize]| hosts.iter().any(|one| datacenter(one) == datacenter(&host));
        let cuts = self
            .cuts
            .values()
            .filter(|(_, from, to)| here(from) || here(to));
        let first = cuts.map(|(since, ..)| *since).min();
        let found = self.found_dead.get(&host);
        found.is_some_and(|found| first.is_some_and(|first| *found + PEACE >= first))
    }

    /// A cut ends.
    pub(crate) fn healed(&mut self, world: &World, cut: u64) {
        for host in self.cut_off(world) {
            self.disturb(host, world.now);
        }
        self.cuts.remove(&cut);
    }

    /// All cuts end.
    pub(crate) fn all_healed(&mut self, world: &World) {
        for host in self.cut_off(world) {
            self.disturb(host, world.now);
        }
        self.cuts.clear();
    }

    /// Hosts that as many others cannot talk to as a verdict takes accusers.
    fn cut_off(&self, world: &World) -> BTreeSet<usize> {
        let mut apart: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let datacenter = |host: usize| &world.slots[host].who.datacenter;
        for (_, from, to) in self.cuts.values() {
            for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
                if a != b && datacenter(a) == datacenter(b) {
                    apart.entry(a).or_default().insert(b);
                    apart.entry(b).or_default().insert(a);
                }
            }
        }
        // What a verdict takes is never less than two in a datacenter of three and more. A second process with somebody's key
        // makes one of them whoever it is.
        let seen_twice = |label: &Label| {
            let mut fellows = world
                .slots
                .iter()
                .filter(|slot| slot.who.datacenter == *label);
            fellows.any(|slot| self.cloned.contains(&slot.id))
        };
        apart
            .iter()
            .filter(|(host, others)| {
                let label = datacenter(**host);
                let few = others.len() >= 2 || world.members(label.as_str()).len() <= 2;
                seen_twice(label) || (few && !self.is_in_larger_part(world, &apart, **host))
            })
            .map(|(host, _)| *host)
            .collect()
    }

    /// Whether nothing happened to a host for a while: nobody may be led to hold it dead.
    pub(crate) fn in_peace(&self, world: &World, host: usize) -> bool {
        let since = self.disturbed.get(&host).copied().unwrap_or_default();
        world.now >= since + PEACE
            && world.now >= self.rough_until + PEACE
            && world.slots[host].process.is_some()
            && !self.cut_off(world).contains(&host)
    }

    /// Whether a host's process has been gone for so long, with nothing happening to this other one, that it must know.
    /// `shown`: since when the other one shows it as it does; last words that had been known abroad only may bring it back.
    pub(crate) fn is_noticed(&self, world: &World, host: usize, gone: usize, shown: Time) -> bool {
        let slot = &world.slots[gone];
        let since = self.disturbed.get(&gone);
        slot.process.is_none()
            && since.is_some_and(|since| world.now >= shown.max(*since) + PEACE)
            && self.liars.is_empty()
            && self.cuts.is_empty()
            && !self.cloned.contains(&slot.id)
            // Whom a clone outbid hears nothing until it may answer, once a minute.
            && !self.cloned.contains(&world.slots[host].id)
            // Whose clock is behind believes neither a certificate nor a list that was issued since: whom everybody else dropped it
            // keeps, and nobody accuses.
            && (!self.off_clock.contains(&host) || self.is_welcome(&slot.id))
            && self.in_peace(world, host)
    }

    /// A process says goodbye, at this incarnation.
    pub(crate) fn leaves(&mut self, world: &World, host: usize, last: Incarnation) {
        let slot = &world.slots[host];
        let fellow = |other: &usize| world.slots[*other].who.datacenter == slot.who.datacenter;
        // A second process with its key may refute the goodbye.
        if !self.cloned.contains(&slot.id)
            && (0..world.slots.len())
                .filter(fellow)
                .all(|other| self.in_peace(world, other))
        {
            self.left_in_peace.insert((host, slot.epoch));
        }
        self.left.insert((host, slot.epoch), last);
        self.disturb(host, world.now);
    }

    /// Whether a key may be used again: neither revoked nor removed.
    pub(crate) fn is_welcome(&self, id: &NodeId) -> bool {
        !self.revoked.contains(id) && !self.removed.contains(id)
    }

    /// A process with this key reached an incarnation.
    pub(crate) fn reached(&mut self, id: NodeId, incarnation: Incarnation) {
        let highest = self.highest.entry(id).or_default();
        *highest = incarnation.max(*highest);
    }

    /// The highest incarnation that a node itself ever had.
    pub(crate) fn highest(&self, id: &NodeId) -> Incarnation {
        self.highest.get(id).copied().unwrap_or_default()
    }

    /// Whether a host is, with more than half of its datacenter, on one side of a clean split: whoever is on the other side is not
    /// quorate, and holds nobody dead. Those whom the other side may hold dead already do not count there.
    fn is_in_larger_part(
        &self,
        world: &World,
        apart: &BTreeMap<usize, BTreeSet<usize>>,
        host: usize,
    ) -> bool {
        let nobody = BTreeSet::new();
        let cut = |host: usize| apart.get(&host).unwrap_or(&nobody);
        let datacenter = &world.slots[host].who.datacenter;
        let members = || {
            let slots = world.slots.iter().enumerate();
            slots.filter(|(_, slot)| slot.who.datacenter == *datacenter)
        };
        let counts = |other: usize, slot: &Slot| {
            slot.process.is_some()
                && !cut(host).contains(&other)
                && !self.may_be_dead_beyond(world, other)
        };
        let together = members().filter(|(other, slot)| counts(*other, slot));
        let larger = 2 * together.count() > members().count();
        larger
            && cut(host).iter().all(|other| {
                let mut met = members().filter(|(third, _)| !cut(host).contains(third));
                met.all(|(third, _)| cut(*other).contains(&third))
            })
    }
}
