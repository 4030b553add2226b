//! From a missed answer to an accusation: SWIM's probe, sharpened.
//!
//! ```text
//! ping ─ no answer ─→ second ping, fresh connected socket ─ no answer ─→ relays in other racks + a stream ─ nothing ─→ accuse
//!                          │ refused                                                                        (suspect)
//!                          └→ third, another socket ─ refused ─→ accuse at once, fourth to the stream port ─ refused
//!                                                                 └─ 50 ms without refutation ─→ accuse: port closed
//! suspect: its observers ping it at once, count their own silence, and at its floor ping once more and accuse for good
//! ```
//!
//! Only answers to pings count as signs of life, and only those received directly (or through a relay asked just now): late
//! hearsay masks deaths. Before anything is signed, a sample of others must have answered: else the fault may be ours.

use super::{Action, Pool, Profile, Route, Standing, observers::Target, watches::Watches};
use crate::{
    federation::ProbeId,
    identity::NodeId,
    roster::k,
    sampler::Nearness,
    time::{Deadline, Time},
};
use rand::{Rng, RngExt};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Closed-port accusations wait this long for a refutation.
const CLOSED_GRACE: Duration = Duration::from_millis(50);
/// Observers beyond the k-th sign one step later each, if no verdict stands by then.
const RANK_STEP: Duration = Duration::from_millis(40);
/// Pause between two attempts to sign for good.
const AGAIN: Duration = Duration::from_millis(500);
/// A first contact's stream may take this long before its silence counts.
const FIRST_CONTACT: Duration = Duration::from_secs(2);
/// Most unanswered pings remembered.
const PENDING: usize = 4_096;
/// An answer later than this is of no use.
const FORGET: Duration = Duration::from_secs(5);
/// Members asked whether we are the ones cut off.
const SAMPLE: usize = 8;
/// A sample this young is not drawn again.
const SAMPLE_FRESH: Duration = Duration::from_millis(150);

#[derive(Debug)]
pub(super) enum Stage {
    First,
    Second,
    Last,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) started: Time,
    pub(super) stage: Stage,
    pub(super) deadline: Time,
    /// Relays that were asked and have not answered at all.
    pub(super) nacks: u8,
    /// A stream was opened and has neither answered nor failed.
    pub(super) stream: bool,
}

#[derive(Debug)]
pub(super) struct Signed {
    pub(super) silent: Duration,
    pub(super) closed: bool,
    pub(super) quorate: bool,
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) target: Target,
    pub(super) next: Time,
    pub(super) probe: Option<Probe>,
    /// First unanswered ping.
    pub(super) silent_since: Option<Time>,
    /// Its silence was counted anew since it last answered, because fewer than half were reached.
    pub(super) anew: bool,
    /// When it was accused, by us or others.
    pub(super) suspected: Option<Time>,
    /// When the last ping before signing for good must have been answered.
    pub(super) last_try: Option<Time>,
    /// No new attempt to sign before this.
    pub(super) rest: Time,
    pub(super) signed: Option<Signed>,
    /// Refusals in a row, of fresh sockets: 3 complete the proof.
    pub(super) refusals: u8,
    /// WAN: the link is known to be down.
    pub(super) down: bool,
}

#[derive(Debug)]
pub(super) enum Purpose {
    Watch,
    Sample,
    Random,
    /// For somebody else: (who, its number, nack at).
    Relay(NodeId, u64, Time),
    /// We asked this relay.
    Asked(NodeId),
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) to: NodeId,
    pub(super) sent: Time,
    pub(super) purpose: Purpose,
}

#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) drawn: Option<Time>,
    pub(super) asked: usize,
    pub(super) answered: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub(super) struct Detector {
    pub(super) watches: Watches,
    pub(super) pending: BTreeMap<u64, Pending>,
    pub(super) next_number: u64,
    pub(super) sample: Sample,
    /// When anybody last gave a sign of life.
    pub(super) reached: Time,
    /// Whose pings went unanswered since then.
    pub(super) missed: BTreeSet<NodeId>,
    /// Since when fewer than half of the others are unaccused.
    pub(super) apart: Option<Time>,
    /// Whose turn it was last, from a random start: the fallback while views differ.
    pub(super) turn: Option<usize>,
    pub(super) next_random: Time,
    /// Relays that owe a nack.
    pub(super) next_nack: Time,
}

impl Detector {
    pub(super) fn new(now: Time) -> Self {
        Self {
            watches: Watches::default(),
            pending: BTreeMap::new(),
            next_number: 0,
            sample: Sample::default(),
            reached: now,
            missed: BTreeSet::new(),
            apart: None,
            turn: None,
            next_random: now,
            next_nack: Time::NEVER,
        }
    }

    /// Sets whom to watch. What is known about those who stay is kept.
    pub(super) fn watch(
        &mut self,
        targets: &[Target],
        profile: &Profile,
        rng: &mut impl Rng,
        now: Time,
    ) {
        let mut old = self.watches.take();
        for target in targets {
            let interval = target.interval(profile);
            let watch = match old.remove(&target.id) {
                Some(mut watch) => {
                    watch.target = *target;
                    watch.next = watch.next.min(now + interval);
                    watch
                }
                None => Watch {
                    target: *target,
                    next: now + interval.mul_f64(rng.random_range(0.0..1.0)),
                    probe: None,
                    silent_since: None,
                    anew: false,
                    suspected: None,
                    last_try: None,
                    rest: now,
                    signed: None,
                    refusals: 0,
                    down: false,
                },
            };
            self.watches.insert(target.id, watch);
        }
    }

    /// While the membership changes nobody waits longer than its interval, however it thinks of its own health.
    pub(super) fn hasten(&mut self, profile: &Profile, now: Time) {
        for watch in self.watches.values_mut() {
            watch.next = watch.next.min(now + watch.target.interval(profile));
        }
    }

    /// It signed a newer incarnation: whatever was held against it is void.
    pub(super) fn cleared(&mut self, id: &NodeId, now: Time) {
        if let Some(watch) = self.watches.get_mut(id) {
            watch.silent_since = None;
            watch.anew = false;
            watch.suspected = None;
            watch.last_try = None;
            watch.signed = None;
            watch.refusals = 0;
            watch.rest = now;
            watch.probe = None;
        }
    }

    pub(super) fn number(&mut self, to: NodeId, purpose: Purpose, now: Time) -> u64 {
        self.next_number += 1;
        if self.pending.len() >= PENDING {
            self.pending.pop_first();
        }
        self.pending.insert(
            self.next_number,
            Pending {
                to,
                sent: now,
                purpose,
            },
        );
        self.next_number
    }

    pub(super) fn relay(
        &mut self,
        asker: NodeId,
        number: u64,
        target: NodeId,
        until: Time,
        now: Time,
    ) -> u64 {
        self.next_nack = self.next_nack.min(until);
        self.number(target, Purpose::Relay(asker, number, until), now)
    }

    pub(super) fn sample_answered(&self) -> bool {
        self.sample.drawn.is_some() && 2 * self.sample.answered.len() >= self.sample.asked
    }

    pub(super) fn deadline(&self) -> Deadline {
        let nack = Deadline {
            at: self.next_nack,
            why: "nack",
        };
        nack.min(self.watches.deadline())
    }
}

impl Watch {
    pub(super) fn deadline(&self) -> Deadline {
        let mut first = match &self.probe {
            Some(probe) => Deadline {
                at: probe.deadline,
                why: "probe timeout",
            },
            None => Deadline {
                at: self.next,
                why: "probe",
            },
        };
        if let Some(at) = self.last_try {
            first = first.min(Deadline {
                at,
                why: "sign for good",
            });
        } else if let Some(at) = self.floor_due() {
            first = first.min(Deadline {
                at,
                why: "silence floor",
            });
        }
        if let Some(at) = self.closed_due() {
            first = first.min(Deadline {
                at,
                why: "closed port",
            });
        }
        first
    }

    /// When to try once more and sign: `rest` holds the floor's end from the first unanswered ping on.
    fn floor_due(&self) -> Option<Time> {
        (self.suspected.is_some() && self.silent_since.is_some()).then_some(self.rest)
    }

    fn closed_due(&self) -> Option<Time> {
        let due =
            self.refusals >= 3 && !self.signed.as_ref().is_some_and(|s| s.closed && s.quorate);
        self.suspected
            .filter(|_| due)
            .map(|at| (at + CLOSED_GRACE).max(self.closed_rest()))
    }

    /// A closed-port accusation that was not quorate is tried again, not at once.
    fn closed_rest(&self) -> Time {
        if self.signed.as_ref().is_some_and(|s| s.closed) {
            self.rest
        } else {
            Time::default()
        }
    }

    pub(super) fn fell_silent(&mut self, at: Time, floor: Duration, n: usize) {
        if self.silent_since.is_none() {
            self.silent_since = Some(at);
            let late = u32::try_from((self.target.rank + 1).saturating_sub(k(n))).unwrap_or(0);
            self.rest = at + floor + RANK_STEP * late;
        }
    }

    pub(super) fn answered(&mut self) {
        self.silent_since = None;
        self.anew = false;
        self.last_try = None;
        self.refusals = 0;
        self.down = false;
    }
}

impl Pool {
    /// Calls what is due. `digest` is the pool's own, for the pings that leave.
    pub fn tick(&mut self, digest: u64, now: Time) {
        self.rebuild_ring(now);
        let watches = self.detector.watches.iter();
        let due: Vec<NodeId> = watches
            .filter(|(_, watch)| watch.deadline().at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.tick_watch(&id, digest, now);
        }
        self.tick_nacks(now);
        self.tick_random(digest, now);
        let old = |p: &Pending| now.since(p.sent) >= FORGET;
        while self
            .detector
            .pending
            .first_entry()
            .is_some_and(|first| old(first.get()))
        {
            self.detector.pending.pop_first();
        }
    }

    /// Pings a few peers that may not know us yet: the pings carry our introduction.
    pub fn greet(&mut self, digest: u64, now: Time) {
        let fanout = self.profile.tuning.fanout.max(1);
        for id in self.draw(fanout, |_| true) {
            let number = self.detector.number(id, Purpose::Random, now);
            self.send_ping(id, number, false, Route::Main, digest);
        }
    }

    /// Our own loop was late: what looked like silence of others may have been ours. Start over.
    pub fn was_late(&mut self, now: Time) {
        self.tally.late += 1;
        self.health.failed(1);
        self.detector.pending.clear();
        self.detector.sample = Sample::default();
        for watch in self.detector.watches.values_mut() {
            watch.probe = None;
            watch.answered();
            watch.next = now
                + self
                    .profile
                    .probe_interval
                    .mul_f64(self.rng.random_range(0.0..1.0));
        }
    }

    fn tick_watch(&mut self, id: &NodeId, digest: u64, now: Time) {
        self.tick_closed(id, digest, now);
        self.tick_floor(id, digest, now);
        self.tick_probe(id, digest, now);
    }

    /// Three refusals, and no refutation since: the process is gone.
    fn tick_closed(&mut self, id: &NodeId, digest: u64, now: Time) {
        let Some(watch) = self.detector.watches.get(id) else {
            return;
        };
        if watch.closed_due().is_some_and(|at| at <= now) {
            let silent = now.since(watch.silent_since.unwrap_or(now));
            let quorate = self.quorate(id);
            self.sign(*id, silent, true, quorate, now);
            if !quorate {
                // A refused probe asks nobody else: for the next attempt others must answer anew.
                self.ask_sample(id, digest, now);
            }
        }
    }

    /// Silent beyond its floor: one more ping, then an accusation for good.
    fn tick_floor(&mut self, id: &NodeId, digest: u64, now: Time) {
        let patience = self.patience(id);
        let Some((floor, standing)) = self.peers.get(id).map(|p| (p.contact.floor, p.standing))
        else {
            return;
        };
        let Some(watch) = self.detector.watches.get_mut(id) else {
            return;
        };
        if let Some(at) = watch.last_try {
            if at > now {
                return;
            }
            watch.last_try = None;
            watch.rest = now + AGAIN;
            let silent = now.since(watch.silent_since.unwrap_or(now));
            let quorate = self.quorate(id);
            // One that is not quorate has nothing to add to an accusation beyond the floor.
            if standing != Standing::Dead && (quorate || standing != Standing::Unreachable) {
                self.sign(*id, silent, false, quorate, now);
            }
        } else if watch.floor_due().is_some_and(|at| at <= now) {
            let done = watch
                .signed
                .as_ref()
                .is_some_and(|s| s.quorate && (s.closed || s.silent >= floor));
            if done || standing == Standing::Dead {
                watch.rest = now + AGAIN;
            } else {
                watch.last_try = Some(now + patience);
                self.ping_watched(id, true, digest, now);
                self.ask_sample(id, digest, now);
            }
        }
    }

    /// The probe itself: begins it, or takes it one stage further.
    fn tick_probe(&mut self, id: &NodeId, digest: u64, now: Time) {
        let patience = self.patience(id);
        let Some(floor) = self.peers.get(id).map(|p| p.contact.floor) else {
            return;
        };
        let n = self.living() + 1;
        let Some(watch) = self.detector.watches.get_mut(id) else {
            return;
        };
        match &mut watch.probe {
            None if watch.next <= now => {
                self.tally.probes += 1;
                let fresh = watch.suspected.is_some() && watch.refusals < 3;
                watch.probe = Some(Probe {
                    started: now,
                    stage: Stage::First,
                    deadline: now + patience,
                    nacks: 0,
                    stream: false,
                });
                self.ping_watched(id, fresh, digest, now);
            }
            Some(probe) if probe.deadline <= now => match probe.stage {
                Stage::First => {
                    self.tally.misses += 1;
                    self.detector.missed.insert(*id);
                    let started = probe.started;
                    if watch.suspected.is_some() || watch.down {
                        watch.fell_silent(started, floor, n);
                        self.end_probe(id, now);
                    } else {
                        probe.stage = Stage::Second;
                        probe.deadline = now + patience;
                        watch.fell_silent(started, floor, n);
                        self.ping_watched(id, self.profile.accuses, digest, now);
                    }
                }
                Stage::Second if self.profile.accuses => self.last_chance(id, digest, now),
                Stage::Second => {
                    watch.down = true;
                    self.actions.push_back(Action::Link { to: *id, up: false });
                    self.end_probe(id, now);
                }
                Stage::Last => {
                    let first_contact = !self.peers.get(id).is_some_and(|p| p.introduced);
                    if first_contact && probe.stream && now.since(probe.started) < FIRST_CONTACT {
                        probe.deadline = now + patience;
                        return;
                    }
                    let (missed, since) = (probe.nacks, probe.started);
                    self.everything_failed(id, missed, since, now);
                }
            },
            _ => {}
        }
    }

    /// Pings, relays and stream: nothing came back.
    fn everything_failed(&mut self, id: &NodeId, missed_nacks: u8, started: Time, now: Time) {
        self.tally.failures += 1;
        // Relays that nacked prove that we are well; those that kept silent say the fault may be ours.
        self.health.failed(missed_nacks.min(1));
        self.end_probe(id, now);
        let quorate = self.quorate(id);
        let Some(watch) = self.detector.watches.get(id) else {
            return;
        };
        if watch.signed.is_none() && watch.suspected.is_none() {
            let silent = now.since(watch.silent_since.unwrap_or(started));
            self.sign(*id, silent, false, quorate, now);
        }
    }

    /// Asks for an accusation to be signed, once per strength.
    pub(super) fn sign(
        &mut self,
        id: NodeId,
        silent: Duration,
        closed: bool,
        quorate: bool,
        now: Time,
    ) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let Some(watch) = self.detector.watches.get_mut(&id) else {
            return;
        };
        watch.suspected.get_or_insert(now);
        if closed {
            watch.rest = watch.rest.max(now + AGAIN);
        }
        watch.signed = Some(Signed {
            silent,
            closed,
            quorate,
        });
        self.actions.push_back(Action::Accuse {
            accused: id,
            incarnation: peer.incarnation(),
            silent,
            closed,
            quorate,
        });
    }

    /// The time to wait for one answer from a peer.
    fn patience(&self, id: &NodeId) -> Duration {
        let [least, most, unknown] = self.profile.patience;
        let patience = match self.peers.get(id) {
            _ if !self.profile.tuning.measured_patience => most,
            Some(peer) => peer.rtt().timeout(least, most, unknown),
            None => unknown,
        };
        self.health.stretch(patience)
    }

    pub(super) fn end_probe(&mut self, id: &NodeId, now: Time) {
        let interval = self.profile.probe_interval;
        let Some(watch) = self.detector.watches.get_mut(id) else {
            return;
        };
        let Some(probe) = watch.probe.take() else {
            return;
        };
        // A suspect is pinged every interval by each of its observers; everybody else takes turns.
        let turns = if watch.suspected.is_some() && !watch.target.is_strange() {
            1
        } else {
            watch.target.observers.max(1)
        };
        let step = self
            .health
            .stretch(interval * u32::try_from(turns).unwrap_or(1));
        watch.next = (probe.started + step).max(now);
    }

    pub(super) fn ping_watched(&mut self, id: &NodeId, fresh: bool, digest: u64, now: Time) {
        let number = self.detector.number(*id, Purpose::Watch, now);
        let route = if fresh && self.profile.tuning.closed_ports {
            Route::Fresh(ProbeId(number))
        } else {
            Route::Main
        };
        let spaced = self.profile.tuning.spacing && self.profile.tuning.observers;
        self.send_ping(*id, number, spaced, route, digest);
    }

    /// Two pings went unanswered: relays from other failure domains, a stream, and the question whether it is us.
    fn last_chance(&mut self, id: &NodeId, digest: u64, now: Time) {
        // Through a relay it is two round trips, a new stream takes two and a half.
        let last_chance = self
            .health
            .stretch(self.profile.last_chance)
            .max(3 * self.patience(id));
        let deadline = now + last_chance;
        let relays = self.relays(id);
        for relay in &relays {
            let number = self.detector.number(*id, Purpose::Asked(*relay), now);
            let frame = crate::wire::Frame::PingReq {
                number,
                target: *id,
                within: last_chance,
            };
            self.send(*relay, frame);
        }
        if let Some(probe) = self
            .detector
            .watches
            .get_mut(id)
            .and_then(|w| w.probe.as_mut())
        {
            probe.stage = Stage::Last;
            probe.deadline = deadline;
            probe.nacks = u8::try_from(relays.len()).unwrap_or(u8::MAX);
            probe.stream = true;
        }
        self.actions.push_back(Action::Stream {
            to: *id,
            within: FIRST_CONTACT,
        });
        self.ask_sample(id, digest, now);
    }

    /// Up to k relays out of different failure domains: one in the target's rack, one in its zone, one elsewhere.
    fn relays(&mut self, id: &NodeId) -> Vec<NodeId> {
        let Some(target) = self.peers.get(id).filter(|_| self.profile.tuning.relays) else {
            return Vec::new();
        };
        let place = target.contact.place.clone();
        let wanted = k(self.living() + 1).max(2);
        let drawn = self.draw(4 * wanted, |p| {
            p.contact.id != *id && p.standing == Standing::Alive
        });
        let mut chosen: Vec<NodeId> = Vec::new();
        for near in [Nearness::Rack, Nearness::Zone, Nearness::Far] {
            let fits = |p: &&NodeId| {
                self.peers
                    .get(p)
                    .is_some_and(|p| place.nearness(&p.contact.place) == near)
            };
            chosen.extend(drawn.iter().find(fits));
        }
        for other in drawn {
            if chosen.len() < wanted && !chosen.contains(&other) {
                chosen.push(other);
            }
        }
        chosen
    }

    /// Pings a sample of others, unless that was done just now.
    pub(super) fn ask_sample(&mut self, except: &NodeId, digest: u64, now: Time) {
        if self
            .detector
            .sample
            .drawn
            .is_some_and(|at| now.since(at) < SAMPLE_FRESH)
        {
            return;
        }
        let drawn = self.draw(SAMPLE, |p| p.contact.id != *except);
        self.detector.sample = Sample {
            drawn: Some(now),
            asked: drawn.len(),
            answered: BTreeSet::new(),
        };
        for id in drawn {
            let number = self.detector.number(id, Purpose::Sample, now);
            self.send_ping(id, number, false, Route::Main, digest);
        }
    }

    fn tick_nacks(&mut self, now: Time) {
        if self.detector.next_nack > now {
            return;
        }
        let mut next = Time::NEVER;
        let mut owed = Vec::new();
        for (number, pending) in &self.detector.pending {
            if let Purpose::Relay(asker, asked, until) = &pending.purpose {
                if *until <= now {
                    owed.push((*number, *asker, *asked));
                } else {
                    next = next.min(*until);
                }
            }
        }
        self.detector.next_nack = next;
        for (own, asker, number) in owed {
            // The ping itself stays answerable for our own watch; only the debt is settled.
            if let Some(pending) = self.detector.pending.get_mut(&own) {
                pending.purpose = Purpose::Random;
            }
            self.send(
                asker,
                crate::wire::Frame::Relayed {
                    number,
                    answered: false,
                },
            );
        }
    }

    /// When the next random probe is due, if views differ by then: in step with the one before, however long ago that was.
    pub(super) fn next_random(&self) -> Option<Time> {
        let differed = self.repair.differed().filter(|_| self.profile.accuses)?;
        let step = self.health.stretch(self.profile.probe_interval);
        let behind = differed.since(self.detector.next_random).as_micros();
        let steps = u32::try_from(behind.div_ceil(step.as_micros().max(1))).unwrap_or(u32::MAX);
        let at = self.detector.next_random + step.saturating_mul(steps);
        self.repair.differs(at).then_some(at)
    }

    /// While views differ observers may not agree who they are: one more probe per interval, everybody in turn.
    fn tick_random(&mut self, digest: u64, now: Time) {
        if self.next_random().is_none_or(|at| at > now) {
            return;
        }
        self.detector.next_random = now + self.health.stretch(self.profile.probe_interval);
        let turn = self
            .detector
            .turn
            .map_or_else(|| self.rng.random_range(0..usize::MAX / 2), |turn| turn + 1);
        self.detector.turn = Some(turn);
        if let Some(id) = self.peers.nth(turn).map(|p| p.contact.id) {
            let number = self.detector.number(id, Purpose::Random, now);
            self.send_ping(id, number, false, Route::Main, digest);
        }
    }
}
