//! What must hold after every step, whatever goes wrong: what a process shows is compared with what it showed before and with
//! what really is.

use super::{truth::Truth, verdict, wire::Wire};
use crate::{tap::Tap, world::World};
use pelago_proto::{
    identity::{Incarnation, NodeId, Role},
    roster::k,
    time::Time,
    trust::{Issuer, Trust},
    view::{Datacenter, Member, Reachability, Status, View},
};
use std::{collections::BTreeMap, collections::BTreeSet, fmt, time::Duration};

/// How often the dearer checks are made.
const NOW_AND_THEN: Duration = Duration::from_millis(500);

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// When, since the start.
    pub at: Duration,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(f, "{} after {at:.3} s: {}", self.invariant, self.detail)
    }
}

/// What a checker says.
pub(crate) type Verdict = Result<(), Violation>;

/// That something must not be.
pub(crate) fn broken(world: &World, invariant: &'static str, detail: String) -> Verdict {
    let at = world.now.since(Time::START);
    Err(Violation {
        invariant,
        at,
        detail,
    })
}

/// Checks one world, step by step.
pub(crate) struct Safety {
    pub(crate) truth: Truth,
    wire: Wire,
    shown: BTreeMap<usize, Shown>,
    /// Deaths seen in their own datacenter.
    deaths: BTreeSet<(NodeId, Incarnation)>,
    /// Highest revocation list by host and issuer.
    lists: BTreeMap<(usize, Issuer), u64>,
    /// Deaths that wait to be shown: whose, to whom, and when that was first seen.
    waiting: BTreeMap<(usize, u32, NodeId, Incarnation), Time>,
    next: Time,
}

/// The longest that a death may wait for others to be shown with is 400 ms; a little more, since looks are not made just then.
const HOLD: Duration = Duration::from_millis(450);

/// What a process showed last.
#[derive(Default)]
struct Shown {
    epoch: u32,
    generation: u64,
    incarnation: Incarnation,
    members: BTreeMap<NodeId, (Incarnation, Status)>,
}

impl Safety {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            truth: Truth::default(),
            wire: Wire::new(world),
            shown: BTreeMap::new(),
            deaths: BTreeSet::new(),
            lists: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: world.now,
        }
    }

    /// To be called after every step.
    pub(crate) fn after_step(&mut self, world: &mut World, tap: Tap) -> Verdict {
        for host in tap.touched {
            self.check_process(world, host)?;
        }
        for (host, sent) in tap.sent {
            if self.truth.liars.contains(&host) {
                self.wire.overhear(world, &self.truth, &sent);
            } else {
                self.wire.check(world, &self.truth, host, &sent)?;
            }
        }
        if world.now >= self.next {
            self.next = world.now + NOW_AND_THEN;
            self.truth.look(world);
            for host in 0..world.slots.len() {
                self.check_now_and_then(world, host)?;
            }
        }
        Ok(())
    }

    /// What a process shows after it was handed something.
    fn check_process(&mut self, world: &mut World, host: usize) -> Verdict {
        let now = world.now;
        let slot = &mut world.slots[host];
        let (epoch, id, name) = (slot.epoch, slot.id, slot.name.clone());
        let Some(process) = slot.process.as_mut() else {
            return Ok(());
        };
        let incarnation = process.federation.incarnation();
        let generation = process.federation.generation();
        self.truth.reached(id, incarnation);
        if self.truth.liars.contains(&host) {
            return Ok(());
        }
        let shown = self.shown.entry(host).or_default();
        if shown.epoch != epoch {
            let last = shown.incarnation.boot;
            if incarnation.boot <= last && !self.truth.blank.contains(&host) {
                let detail = format!("{name} starts at {incarnation} after boot {last}");
                return broken(world, "I-28 boots rise over restarts", detail);
            }
            *shown = Shown {
                epoch,
                ..Shown::default()
            };
        }
        if incarnation < shown.incarnation || generation < shown.generation {
            let before = (shown.incarnation, shown.generation);
            let detail = format!("{name} went from {before:?} to ({incarnation}, {generation})");
            return broken(world, "I-02 incarnation and view only go forward", detail);
        }
        let last = self.truth.left.get(&(host, epoch));
        if last.is_some_and(|last| incarnation > *last) {
            let detail = format!("{name} left and went on to {incarnation}");
            return broken(world, "I-19 whoever left says nothing more", detail);
        }
        shown.incarnation = incarnation;
        if generation == shown.generation {
            return Ok(());
        }
        shown.generation = generation;
        let view = process.federation.view(now);
        let before = std::mem::take(&mut shown.members);
        let mut members = BTreeMap::new();
        let at_home = view.datacenters.get(&view.datacenter);
        let dead_now = |member: &&Member| {
            let dead = (member.incarnation, Status::Dead);
            member.status == dead.1 && before.get(&member.id) != Some(&dead)
        };
        let dead = at_home.iter().flat_map(|home| home.members.iter());
        let dead = dead
            .filter(dead_now)
            .filter_map(|one| world.ids.get(&one.id));
        let rightly: Vec<usize> = dead
            .copied()
            .filter(|whom| !self.truth.in_peace(world, *whom))
            .collect();
        for whom in rightly {
            self.truth.found_dead(whom, now);
        }
        for (label, datacenter) in &view.datacenters {
            if view.role == Role::Client && *label != view.datacenter {
                let detail = format!("{name}, a client, shows {label}");
                return broken(world, "I-09 clients keep their own datacenter only", detail);
            }
            for member in datacenter.members.iter() {
                if member.datacenter != *label {
                    let detail = format!("{name} shows {} in {label}", member.name);
                    return broken(world, "I-09 a roster holds its own datacenter", detail);
                }
                self.check_member(world, host, member)?;
                self.check_change(world, host, member, before.get(&member.id).copied())?;
                let is_new = before.get(&member.id) != Some(&(member.incarnation, member.status));
                if member.status == Status::Dead && is_new {
                    self.check_death(world, host, &view, datacenter, member)?;
                }
                members.insert(member.id, (member.incarnation, member.status));
            }
        }
        self.check_nobody_lost(world, host, &before, &members)?;
        if let Some(shown) = self.shown.get_mut(&host) {
            shown.members = members;
        }
        Ok(())
    }

    /// One member as shown, against its certificate and its own words.
    fn check_member(&self, world: &World, host: usize, member: &Member) -> Verdict {
        let name = &world.slots[host].name;
        let Some(whose) = world.ids.get(&member.id).copied() else {
            let detail = format!("{name} shows {}, a key that nobody has", member.name);
            return broken(world, "I-06 only certified members are shown", detail);
        };
        let (slot, who) = (&world.slots[whose], &world.slots[whose].who);
        let certified = (&who.name, &who.datacenter, &who.zone, &who.rack, who.role);
        let claimed = (
            &member.name,
            &member.datacenter,
            &member.zone,
            &member.rack,
            member.role,
        );
        if certified != claimed {
            let detail = format!("{name} shows {claimed:?} for {certified:?}");
            return broken(world, "I-06 records say what certificates say", detail);
        }
        if member.elected && member.role != Role::Server {
            let detail = format!("{name} shows {} elected, a client", member.name);
            return broken(world, "I-08 clients are not elected", detail);
        }
        let honest = !self.truth.liars.contains(&whose);
        let highest = self.truth.highest(&member.id);
        if honest && member.incarnation > highest {
            let detail = format!(
                "{name} shows {} at {}, which itself reached {highest}",
                member.name, member.incarnation
            );
            return broken(world, "I-04 only the owner raises its incarnation", detail);
        }
        let own_address =
            member.address == slot.settings.lan || self.truth.cloned.contains(&member.id);
        if honest && !(own_address && member.region == slot.settings.region) {
            let detail = format!("{name} shows {} at {}", member.name, member.address);
            return broken(world, "I-04 only the owner names its address", detail);
        }
        let allowed = &world.slots[host].settings.lan_allow;
        let own = world.slots[host].who.datacenter == member.datacenter;
        if own && !allowed.iter().any(|net| net.contains(&member.address.ip())) {
            let detail = format!("{name} shows {} at {}", member.name, member.address);
            return broken(world, "I-07 addresses lie where they may", detail);
        }
        // Who is revoked itself still sees itself, and says so.
        if self.truth.revoked.contains(&member.id) && member.id != world.slots[host].id {
            let judge = world.slots[host].process.as_ref();
            let refused = judge.is_some_and(|process| {
                process
                    .trust
                    .certify(&slot.identity.leaf)
                    .is_err_and(|why| why.0 == "revoked")
            });
            if refused {
                let detail = format!("{name} shows {}, whom it holds revoked", member.name);
                return broken(world, "I-10 the revoked are in no table", detail);
            }
        }
        Ok(())
    }

    /// A death that a view shows for the first time.
    fn check_death(
        &mut self,
        world: &World,
        host: usize,
        view: &View,
        datacenter: &Datacenter,
        member: &Member,
    ) -> Verdict {
        let derived = verdict::derived(world, host, datacenter);
        verdict::check(world, host, &derived, member)?;
        let first = view.datacenter == member.datacenter
            && self.deaths.insert((member.id, member.incarnation));
        let Some(whom) = world.ids.get(&member.id).copied() else {
            return Ok(());
        };
        let harmless = self.truth.liars.contains(&whom)
            || self.truth.cloned.contains(&member.id)
            || !self.bears_liars(world, datacenter);
        if first && !harmless && self.truth.in_peace(world, whom) {
            let detail = format!(
                "{} holds {} dead at {}, which nothing happened to",
                world.slots[host].name, member.name, member.incarnation
            );
            return broken(world, "I-12 nobody left in peace is held dead", detail);
        }
        Ok(())
    }

    /// Whether a verdict takes more accusers than lie in this datacenter: whoever knows only some of its members yet needs fewer.
    fn bears_liars(&self, world: &World, datacenter: &Datacenter) -> bool {
        let present = |m: &&Member| !matches!(m.status, Status::Left | Status::Removed);
        let present = datacenter.members.iter().filter(present).count();
        let here = |id: &NodeId| world.ids.get(id).copied();
        let lie = |host: usize| self.truth.liars.contains(&host);
        let liars = datacenter.members.iter().filter_map(|m| here(&m.id));
        liars.filter(|host| lie(*host)).count() < k(present)
    }

    /// Whoever was shown goes on being shown: tombstones outlive every schedule. Liars may hide behind an address that nobody
    /// is allowed to talk to.
    fn check_nobody_lost(
        &self,
        world: &World,
        host: usize,
        before: &BTreeMap<NodeId, (Incarnation, Status)>,
        now: &BTreeMap<NodeId, (Incarnation, Status)>,
    ) -> Verdict {
        let lies = |id: &NodeId| {
            let host = world.ids.get(id);
            host.is_some_and(|host| self.truth.liars.contains(host))
        };
        let lost = before.keys().find(|id| {
            !now.contains_key(id)
                && !lies(id)
                && !self.truth.revoked.contains(id)
                && !self.truth.off_clock.contains(&host)
        });
        let Some(id) = lost else { return Ok(()) };
        let whom = world.ids.get(id).map(|host| &world.slots[*host].name);
        let detail = format!("{} forgot {whom:?}", world.slots[host].name);
        broken(world, "I-02 nobody is forgotten before its time", detail)
    }

    fn check_now_and_then(&mut self, world: &mut World, host: usize) -> Verdict {
        let now = world.now;
        let slot = &mut world.slots[host];
        let (epoch, name) = (slot.epoch, slot.name.clone());
        let Some(process) = slot.process.as_mut() else {
            return Ok(());
        };
        if self.truth.liars.contains(&host) {
            return Ok(());
        }
        let counts = process.federation.counts();
        let sizes = counts.iter().filter(|count| count.name == "table_entries");
        for size in sizes {
            let limit = counts
                .iter()
                .find(|count| count.name == "table_limit" && count.labels == size.labels);
            if limit.is_none_or(|limit| size.value > limit.value) {
                let detail = format!("{name}: {:?} holds {}", size.labels, size.value);
                return broken(world, "I-20 every table keeps its limit", detail);
            }
        }
        for list in process.trust.lists() {
            let before = self.lists.insert((host, list.issuer), list.number);
            // They are kept over restarts, unless what was on the disk is lost.
            let kept = !self.truth.blank.contains(&host);
            if kept && before.is_some_and(|before| before > list.number) {
                let detail = format!("{name} went back to list {}", list.number);
                return broken(world, "I-10 revocation lists only go forward", detail);
            }
        }
        let view = process.federation.view(now);
        let still = process.is_deaf();
        let waited = std::mem::take(&mut self.waiting);
        let others = waited.iter().filter(|((viewer, ..), _)| *viewer != host);
        self.waiting = others.map(|(key, first)| (*key, *first)).collect();
        for (label, datacenter) in &view.datacenters {
            if *label != view.datacenter {
                self.check_heads(world, &name, datacenter)?;
            }
            let derived = verdict::derived(world, host, datacenter);
            for (id, at) in verdict::waiting(world, host, datacenter, &derived)? {
                let key = (host, epoch, id, at);
                let first = waited.get(&key).copied().unwrap_or(now);
                // A process that stands still shows nothing.
                let first = if still { now } else { first };
                if now.since(first) >= HOLD {
                    let detail = format!("{name} has not shown the death of {id} since {first:?}");
                    return broken(world, "I-05 a death is shown at once or soon", detail);
                }
                self.waiting.insert(key, first);
            }
            for member in derived.members.iter() {
                if member.status != Status::Alive {
                    verdict::check(world, host, &derived, member)?;
                } else if let Some(whom) = world.ids.get(&member.id)
                    && *label == view.datacenter
                    && self.truth.is_noticed(world, host, *whom, member.since)
                {
                    let detail = format!("{name} shows {} alive, long gone", member.name);
                    return broken(world, "I-14 who is gone is noticed", detail);
                }
            }
        }
        Ok(())
    }

    /// What a view makes of another datacenter's heads, against who can have signed them and when.
    fn check_heads(&self, world: &World, viewer: &str, datacenter: &Datacenter) -> Verdict {
        let label = &datacenter.name;
        let servers: BTreeSet<NodeId> = world
            .slots
            .iter()
            .filter(|slot| slot.who.datacenter == *label && slot.who.role == Role::Server)
            .map(|slot| slot.id)
            .collect();
        if datacenter.attested && servers.len() < 2 {
            let detail = format!("{viewer} shows {label} attested, which has one server");
            return broken(world, "I-09 it takes two to attest", detail);
        }
        let reachable = datacenter.reachability == Reachability::Reachable;
        if reachable && self.truth.silent(world, label) {
            let detail = format!("{viewer} shows {label} reachable, of which nobody runs");
            return broken(world, "I-09 what nobody says any more goes stale", detail);
        }
        Ok(())
    }

    /// How a member's line may change in one view.
    fn check_change(
        &self,
        world: &World,
        host: usize,
        member: &Member,
        before: Option<(Incarnation, Status)>,
    ) -> Verdict {
        let Some((incarnation, status)) = before else {
            return Ok(());
        };
        let viewer = &world.slots[host].name;
        if member.incarnation < incarnation {
            let detail = format!(
                "{viewer} shows {} at {} after {incarnation}",
                member.name, member.incarnation
            );
            return broken(world, "I-02 incarnations only rise", detail);
        }
        // A verdict can come to fall short when somebody joins; then nobody can tell. An accuser takes its word about an
        // incarnation back by accusing a later one, which honest ones do only when there is one.
        let of_liars = self
            .truth
            .liars
            .iter()
            .any(|liar| world.slots[*liar].who.datacenter == member.datacenter);
        let moved_on = of_liars || self.truth.highest(&member.id) > incarnation;
        let revived = match status {
            Status::Dead => !moved_on && matches!(member.status, Status::Alive | Status::Suspect),
            Status::Left => !matches!(member.status, Status::Left | Status::Removed),
            _ => false,
        };
        if revived && member.incarnation == incarnation {
            let detail = format!(
                "{viewer} shows {} {} after {status} at {incarnation}",
                member.name, member.status
            );
            return broken(world, "I-03 no return at the same incarnation", detail);
        }
        Ok(())
    }
}
