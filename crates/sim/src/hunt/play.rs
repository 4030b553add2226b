//! Playing a schedule: the world forms, things go wrong, everything heals, and checkers look on all the while.

use super::{
    liar::Liars,
    liveness,
    safety::{Safety, Verdict, Violation},
    schedule::{Event, Fault, Schedule, tier},
};
use crate::{net::Links, script::millis, slot::Slot, world::World};
use pelago_proto::{
    time::Time,
    view::{EventKind, Status},
    wire::Item,
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

/// How long a world may take to settle after everything has healed. What takes longest: a key seen twice is answered with
/// one incarnation a minute, and comparing that changes nothing backs off up to a minute.
const PATIENCE: Duration = Duration::from_secs(150);
/// Who began to be silent before all healed may be accused for so long after it: a first contact's stream may take that much.
const LAST_DOUBTS: Duration = Duration::from_secs(2);
/// How long a settled world must stay as it is.
const STAYS: Duration = Duration::from_secs(3);
/// How often it is looked at while it settles.
const GLANCE: Duration = millis(250);

/// What came of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What must not be and was, if anything.
    pub violation: Option<Violation>,
    /// Hash over everything that happened.
    pub hash: u64,
    /// Virtual time from healing until all agreed.
    pub settled: Option<Duration>,
    /// Who saw what at the end, if something was wrong.
    pub report: String,
}

/// Plays a schedule to its end, or to the first thing that must not be. A panic anywhere is one.
pub fn play(schedule: &Schedule) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| Player::new(schedule).play()));
    played.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Outcome {
            violation: Some(Violation {
                invariant: "nothing panics",
                at: Duration::ZERO,
                detail: what.unwrap_or_default(),
            }),
            hash: 0,
            settled: None,
            report: String::new(),
        }
    })
}

struct Player<'a> {
    schedule: &'a Schedule,
    world: World,
    safety: Safety,
    liars: Liars,
    /// What ends when.
    ends: BTreeMap<(Time, usize), End>,
    /// The newest revocation list of each datacenter, and the nodes that it names.
    lists: BTreeMap<String, (Arc<[u8]>, Vec<String>)>,
    /// What operators signed, and about whom.
    removals: Vec<(String, Item)>,
}

enum End {
    Cut(u64, bool),
    Loss(usize),
    Clone(String),
}

impl<'a> Player<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        let mut world = schedule.plan().build();
        world.listen();
        let mut safety = Safety::new(&world);
        let liars = Liars::new(&mut world, &schedule.liars, schedule.seed);
        safety.truth.liars = liars.hosts();
        let ids = liars.hosts().into_iter().map(|host| world.slots[host].id);
        // Their own words contradict each other: nobody lets such a key sit for a while.
        safety.truth.cloned.extend(ids);
        Self {
            schedule,
            world,
            safety,
            liars,
            ends: BTreeMap::new(),
            lists: BTreeMap::new(),
            removals: Vec::new(),
        }
    }

    fn play(mut self) -> Outcome {
        let result = self.run();
        let (violation, settled) = match result {
            Ok(settled) => (None, Some(settled)),
            Err(violation) => (Some(violation), None),
        };
        let report = if violation.is_some() {
            self.world.report()
        } else {
            String::new()
        };
        Outcome {
            violation,
            hash: self.hash(),
            settled,
            report,
        }
    }

    /// What happened, and what came of it.
    fn hash(&self) -> u64 {
        let processes = self.world.slots.iter().flat_map(|slot| &slot.process);
        processes.fold(self.world.log_hash(), |hash, process| {
            let at = process.federation.incarnation();
            [at.boot, at.seq, process.federation.generation()]
                .iter()
                .fold(hash, |hash, word| {
                    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
                })
        })
    }

    fn run(&mut self) -> Result<Duration, Violation> {
        self.world.start_all();
        self.pass(Schedule::forming())?;
        self.world.net.links = self.schedule.weather.links();
        let begin = self.world.now;
        let end = begin + self.schedule.length();
        if self.schedule.weather.is_rough() {
            self.safety.truth.rough_until(end);
        }
        for event in &self.schedule.events {
            let at = begin + Duration::from_millis(event.at_ms);
            if at <= end {
                self.pass_until(at)?;
                self.suffer(event, end)?;
            }
        }
        self.pass_until(end)?;
        self.heal()?;
        self.settle()
    }

    fn check(&mut self) -> Verdict {
        let tap = self.world.drain_tap();
        self.liars.overhear(&self.world, &tap);
        self.safety.after_step(&mut self.world, tap)
    }

    /// Time passes, step by step, with everything that ends in it.
    fn pass_until(&mut self, until: Time) -> Verdict {
        while self.world.now < until {
            let next = self.ends.keys().next().map_or(Time::NEVER, |(at, _)| *at);
            let stop = until.min(next).min(self.liars.next());
            while self.world.step(stop) {
                self.check()?;
            }
            self.world.run_to(stop);
            if self.liars.next() <= stop {
                self.liars.act(&mut self.world);
                self.check()?;
            }
            while let Some(first) = self.ends.first_entry() {
                if first.key().0 > stop {
                    break;
                }
                let end = first.remove();
                self.end(end)?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Verdict {
        self.pass_until(self.world.now + time)
    }

    fn later(&mut self, at: Time, end: End) {
        let number = self.ends.len();
        let key = (0..)
            .map(|n| (at, number + n))
            .find(|key| !self.ends.contains_key(key));
        self.ends.extend(key.zip(Some(end)));
    }

    fn end(&mut self, end: End) -> Verdict {
        match end {
            End::Cut(cut, lan) => {
                if lan {
                    self.safety.truth.healed(&self.world, cut);
                }
                self.world.heal_one(cut);
            }
            End::Loss(host) => self.world.net.set_loss(host, 0.0, 0.0),
            End::Clone(name) => self.world.kill(&name),
        }
        self.check()
    }

    /// Something goes wrong, unless it cannot; nothing lasts beyond `end`.
    fn suffer(&mut self, event: &Event, end: Time) -> Verdict {
        let now = self.world.now;
        let mut fault = event.fault.clone();
        let left = u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX);
        let for_ms = fault
            .lasting()
            .map_or(0, |for_ms| (*for_ms).min(left).max(1));
        let until = now + Duration::from_millis(for_ms);
        let known = fault
            .names()
            .iter()
            .all(|name| self.world.names.contains_key(*name));
        if !known || for_ms > left {
            return Ok(());
        }
        for end in self.apply(fault, until) {
            self.later(until, end);
        }
        self.check()
    }

    /// Does it, and says what is to be undone then.
    fn apply(&mut self, fault: Fault, until: Time) -> Vec<End> {
        let mut ends = Vec::new();
        let (world, truth) = (&mut self.world, &mut self.safety.truth);
        let now = world.now;
        let lasting = until.since(now);
        let host = |world: &World, name: &str| world.host(name);
        let runs = |slot: &Slot| slot.process.is_some();
        match fault {
            Fault::Kill { node } => {
                let host = host(world, &node);
                truth.disturb(host, now);
                world.kill(&node);
            }
            Fault::Lose { node } => {
                let host = host(world, &node);
                truth.disturb(host, now);
                world.lose_host(&node);
            }
            Fault::Start { node, blank } => {
                let host = host(world, &node);
                let slot = &mut world.slots[host];
                if !runs(slot) && truth.is_welcome(&slot.id) {
                    truth.disturb(host, now);
                    if blank {
                        slot.wipe();
                        truth.blank.insert(host);
                    }
                    world.start(&node);
                    truth.off_clock.remove(&host);
                }
            }
            Fault::Leave { node } => {
                let host = host(world, &node);
                let epoch = world.slots[host].epoch;
                if world.slots[host].awake().is_some() && !truth.left.contains_key(&(host, epoch)) {
                    world.leave(&node);
                    let last = world.incarnation(&node);
                    truth.leaves(world, host, last);
                }
            }
            Fault::Pause { node, .. } => {
                let host = host(world, &node);
                if world.slots[host].awake().is_some() {
                    let tolerance = world.slots[host].settings.pause_tolerance;
                    truth.pause(host, now, until, tolerance);
                    truth.hold(host, lasting, until);
                    world.pause_for(&node, lasting);
                }
            }
            Fault::Starve { node, .. } => {
                let host = host(world, &node);
                if world.slots[host].awake().is_some() {
                    let tolerance = world.slots[host].settings.pause_tolerance;
                    truth.pause(host, now, until, tolerance);
                    truth.hold(host, lasting, until);
                    world.starve_for(&node, lasting);
                }
            }
            Fault::Clog { node, .. } => {
                let host = host(world, &node);
                truth.disturb(host, until);
                truth.hold(host, lasting, until);
                world.clog_for(&node, lasting);
            }
            Fault::Loss {
                node,
                sent,
                received,
                ..
            } => {
                let host = host(world, &node);
                truth.disturb(host, until);
                world.make_lossy_one_way(&node, sent, received);
                ends.push(End::Loss(host));
            }
            Fault::Cut {
                wan,
                both_ways,
                from,
                to,
                ..
            } => {
                let hosts = |names: &[String]| names.iter().map(|name| world.host(name)).collect();
                let (sources, targets): (Vec<usize>, Vec<usize>) = (hosts(&from), hosts(&to));
                let mut cuts = vec![world.cut_one_way(tier(wan), &from, &to)];
                if both_ways {
                    cuts.push(world.cut_one_way(tier(wan), &to, &from));
                }
                for cut in cuts {
                    if !wan {
                        truth.cut(cut, sources.clone(), targets.clone(), now);
                    }
                    ends.push(End::Cut(cut, !wan));
                }
            }
            Fault::Clock { node, off_by_s } => {
                let host = host(world, &node);
                if let Some(process) = &world.slots[host].process {
                    process.trust.set_clock_off_by(off_by_s);
                    truth.off_clock.insert(host);
                }
            }
            Fault::Renew { node } => {
                let host = host(world, &node);
                // Whose clock is wrong, or who was revoked, takes no new certificate.
                let slot = &world.slots[host];
                let id = slot.id;
                if slot.process.is_some()
                    && !truth.off_clock.contains(&host)
                    && truth.is_welcome(&slot.id)
                {
                    world.renew_certificate(&node);
                    truth.renewed.insert(id);
                }
            }
            Fault::Revoke { node, teller } => {
                let (host, told) = (host(world, &node), host(world, &teller));
                let id = world.slots[host].id;
                let sane = world.slots[told].awake().is_some()
                    && !truth.off_clock.contains(&told)
                    && truth.is_welcome(&world.slots[told].id);
                // A real list names all certificates of a key, the world's only the newest.
                let plain = !truth.renewed.contains(&id) && truth.is_welcome(&id);
                if sane && plain {
                    truth.revoked.insert(id);
                    truth.disturb(host, now);
                    world.kill(&node);
                    let datacenter = world.slots[host].who.datacenter.to_string();
                    let before = self.lists.remove(&datacenter);
                    let mut names = before.map_or_else(Vec::new, |(_, names)| names);
                    names.push(node);
                    let named: Vec<&str> = names.iter().map(String::as_str).collect();
                    let number = 1 + names.len() as u64;
                    let list = world.revocation(&named, number);
                    // One node is told; the others have to hear it from it.
                    let _ = world.hand_in_list(&list, &teller);
                    self.lists.insert(datacenter, (list, names));
                }
            }
            Fault::Remove { node, teller } => {
                let (host, told) = (host(world, &node), host(world, &teller));
                let id = world.slots[host].id;
                let sane = world.slots[told].awake().is_some()
                    && !truth.off_clock.contains(&told)
                    && truth.is_welcome(&world.slots[told].id);
                if sane && truth.is_welcome(&id) {
                    let datacenter = world.slots[host].who.datacenter.to_string();
                    let removal = world.sign_removal(&node, &datacenter);
                    truth.removals.insert(Arc::clone(&removal.claim));
                    // Clients take none of other datacenters' members.
                    if world.hand_in(&removal, &teller).is_ok() {
                        truth.removed.insert(id);
                        truth.disturb(host, now);
                        world.kill(&node);
                        self.removals.push((node, removal));
                    }
                }
            }
            Fault::Clone { node, .. } => {
                let host = host(world, &node);
                let slot = &world.slots[host];
                if slot.process.is_some() && truth.cloned.insert(slot.id) {
                    let name = world.start_clone(&node);
                    ends.push(End::Clone(name));
                }
            }
        }
        ends
    }

    /// Whoever handed a list, or a removal, to somebody who was lost with it before it told anybody hands it to somebody else.
    fn hand_in_again(&mut self) {
        let (world, truth) = (&mut self.world, &self.safety.truth);
        let honest = (0..world.slots.len()).filter(|host| !truth.liars.contains(host));
        let listening: Vec<(String, String)> = honest
            .map(|host| &world.slots[host])
            .filter(|slot| {
                let process = slot.process.as_ref();
                process.is_some_and(|process| !process.is_deaf()) && truth.is_welcome(&slot.id)
            })
            .map(|slot| (slot.name.clone(), slot.who.datacenter.to_string()))
            .collect();
        for (list, _) in self.lists.values() {
            let lost = !listening
                .iter()
                .any(|(name, _)| world.holds_list(name, list));
            if let Some((name, _)) = listening.first().filter(|_| lost) {
                let _ = world.hand_in_list(list, name);
            }
        }
        for (whom, removal) in &self.removals {
            let home = world.slots[world.host(whom)].who.datacenter.to_string();
            let knows = |world: &mut World, name: &str| world.sees(name, whom, Status::Removed);
            let lost = !listening.iter().any(|(name, _)| knows(world, name));
            let fellow = listening.iter().find(|(_, datacenter)| *datacenter == home);
            if let Some((name, _)) = fellow.filter(|_| lost) {
                let _ = world.hand_in(removal, name);
            }
        }
    }

    /// Everything that went wrong is over; those whom others join at run.
    fn heal(&mut self) -> Verdict {
        self.world.net.links = Links::default();
        self.safety.truth.all_healed(&self.world);
        self.world.heal();
        for (_, end) in std::mem::take(&mut self.ends) {
            self.end(end)?;
        }
        self.liars.stop(&mut self.world);
        for host in 0..self.world.slots.len() {
            self.world.net.set_loss(host, 0.0, 0.0);
            if let Some(process) = &self.world.slots[host].process {
                process.trust.set_clock_off_by(0);
            }
        }
        for name in self.schedule.seeds() {
            let host = self.world.host(&name);
            let slot = &self.world.slots[host];
            let may = self.safety.truth.is_welcome(&slot.id);
            if slot.process.is_none() && may {
                self.safety.truth.disturb(host, self.world.now);
                if self.safety.truth.liars.contains(&host) {
                    self.world.slots[host].wipe();
                    self.safety.truth.blank.insert(host);
                }
                self.world.start(&name);
                self.safety.truth.off_clock.remove(&host);
            }
        }
        self.hand_in_again();
        self.check()
    }

    /// Waits until all agree on what is, and looks whether it stays so.
    fn settle(&mut self) -> Result<Duration, Violation> {
        let took = self.agree(LAST_DOUBTS, PATIENCE)?;
        let truth = &self.safety.truth;
        let clones = self.world.count(EventKind::Clone);
        if clones > 0 && truth.cloned.is_empty() && truth.blank.is_empty() {
            let detail = format!("{clones} clones were reported, and there was none");
            return Err(self.unmet("I-28 nobody takes its past for a clone", detail));
        }
        let agreed = self.world.now;
        self.pass(STAYS)?;
        if let Some(detail) = liveness::doubt(&self.world, &self.safety.truth, agreed) {
            return Err(self.unmet("I-15 what has settled stays", detail));
        }
        // Who was unreachable may have been found dead meanwhile, and heads of that are on their way.
        self.agree(Duration::ZERO, STAYS)?;
        Ok(took)
    }

    /// Waits until all agree on what is, for this long at least and at most. Returns how long it took.
    fn agree(&mut self, least: Duration, most: Duration) -> Result<Duration, Violation> {
        let began = self.world.now;
        loop {
            self.pass(GLANCE)?;
            let met = liveness::settled(&mut self.world, &self.safety.truth);
            let waited = self.world.now.since(began);
            match met {
                Ok(()) if waited >= least => return Ok(waited),
                Err((invariant, detail)) if waited >= most => {
                    return Err(self.unmet(invariant, detail));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    fn unmet(&self, invariant: &'static str, detail: String) -> Violation {
        Violation {
            invariant,
            at: self.world.now.since(Time::START),
            detail,
        }
    }
}
