//! What a test does to a world, in words that read like prose. Nodes go by their names.

use crate::{
    plan::{Plan, Planned},
    queue::Order,
    slot::{Endpoint, Slot},
    traffic::Traffic,
    world::{Happening, World},
};
use pelago_proto::{federation::Tier, identity::Role, time::Time};
use rand::RngExt;
use std::time::Duration;

/// How long a leaving process goes on sending before it stops.
const GOODBYE: Duration = Duration::from_millis(300);
/// How often a wait looks whether it is over.
const GLANCE: Duration = Duration::from_millis(10);

/// So many seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many milliseconds.
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Processes.
impl World {
    /// Starts everybody at the same moment.
    pub fn start_all(&mut self) {
        for host in 0..self.slots.len() {
            if self.slots[host].process.is_none() {
                self.start_process(host);
            }
        }
    }

    /// Starts everybody of one datacenter.
    pub fn start_datacenter(&mut self, datacenter: &str) {
        for name in self.members(datacenter) {
            self.start(&name);
        }
    }

    /// Starts a process with what its last one left on disk.
    pub fn start(&mut self, name: &str) {
        self.start_process(self.host(name));
    }

    /// Ends a process at once; its host answers for the closed port.
    pub fn kill(&mut self, name: &str) {
        let host = self.host(name);
        self.slots[host].stop();
    }

    /// Takes a host away with everything on it: silence from now on. [`World::start`] brings it back.
    pub fn lose_host(&mut self, name: &str) {
        let host = self.host(name);
        self.slots[host].stop();
        self.slots[host].up = false;
    }

    /// Kills a process and starts it again, with what is on its disk.
    pub fn restart(&mut self, name: &str) {
        self.kill(name);
        self.start(name);
    }

    /// Kills a process, empties its disk and starts it again.
    pub fn restart_without_memory(&mut self, name: &str) {
        self.kill(name);
        let host = self.host(name);
        self.slots[host].wipe();
        self.start(name);
    }

    /// Sets a process's wall clock wrong by so many seconds.
    pub fn set_clock(&mut self, name: &str, off_by: i64) {
        let process = self.slots[self.host(name)].process.as_ref();
        let process = process.unwrap_or_else(|| panic!("{name} does not run"));
        process.trust.set_clock_off_by(off_by);
    }

    /// Stops a process where it is: its sockets fill, its timers are late.
    pub fn pause(&mut self, name: &str) {
        let host = self.host(name);
        let process = self.slots[host]
            .process
            .as_mut()
            .unwrap_or_else(|| panic!("{name} does not run"));
        process.paused = true;
    }

    /// Lets a paused process go on.
    pub fn resume(&mut self, name: &str) {
        let host = self.host(name);
        self.resume_process(host, self.slots[host].epoch);
    }

    /// Pauses a process and lets it go on after a while.
    pub fn pause_for(&mut self, name: &str, pause: Duration) {
        self.pause(name);
        let host = self.host(name);
        let epoch = self.slots[host].epoch;
        self.queue.push(
            self.now + pause,
            Order::Arrival,
            Happening::Resume { host, epoch },
        );
    }

    /// Starves a process of its processor for a while: its timers run, but nothing gets out of it or in.
    pub fn starve_for(&mut self, name: &str, time: Duration) {
        let host = self.host(name);
        let slot = &mut self.slots[host];
        let epoch = slot.epoch;
        let process = slot
            .process
            .as_mut()
            .unwrap_or_else(|| panic!("{name} does not run"));
        process.starved = true;
        self.queue.push(
            self.now + time,
            Order::Arrival,
            Happening::Resume { host, epoch },
        );
    }

    /// A process says goodbye, and stops a moment later.
    pub fn leave(&mut self, name: &str) {
        let now = self.now;
        let host = self.host(name);
        let epoch = self.slots[host].epoch;
        let process = self.slots[host]
            .awake()
            .unwrap_or_else(|| panic!("{name} does not run"));
        process.federation.leave(now);
        self.drive(host);
        self.queue
            .push(now + GOODBYE, Order::Timer, Happening::Stop { host, epoch });
    }

    /// A process has something new to say about itself: its record changes, and spreads.
    pub fn change_record(&mut self, name: &str) {
        let now = self.now;
        let host = self.host(name);
        let before = self.slots[host].said;
        let process = self.slots[host]
            .awake()
            .unwrap_or_else(|| panic!("{name} does not run"));
        process.federation.set_health(u8::from(!before), now);
        self.slots[host].said = !before;
        self.slots[host].said_at = Some(now);
        self.drive(host);
    }

    /// Starts a second process with a node's key on another host, and returns what that is called here.
    pub fn start_clone(&mut self, name: &str) -> String {
        let original = self.host(name);
        let clone = self.add_beside(original, &format!("{name}-clone"));
        let (id, identity) = (
            self.slots[original].id,
            self.slots[original].identity.clone(),
        );
        self.ids.insert(id, original);
        let slot = &mut self.slots[clone];
        slot.id = id;
        slot.identity = identity;
        let name = slot.name.clone();
        self.start_process(clone);
        name
    }

    /// Gives a node a new certificate over its key.
    pub fn renew_certificate(&mut self, name: &str) {
        let now = self.now;
        let host = self.host(name);
        let end = self.certificate_end();
        let slot = &mut self.slots[host];
        slot.identity.leaf = self.realm.issue(&slot.who, &slot.identity.key, end);
        let leaf = slot.identity.leaf.clone();
        if let Some(process) = slot.process.as_mut() {
            process
                .trust
                .renew(&leaf)
                .expect("the new certificate is valid");
            process.federation.handle_trust_changed(now);
            self.drive(host);
        }
    }

    fn add_beside(&mut self, other: usize, name: &str) -> usize {
        let host = self.slots.len();
        let Slot {
            who,
            settings,
            lan_seeds,
            wan_seeds,
            authorities,
            ..
        } = &self.slots[other];
        let mut planned = Planned {
            who: who.clone(),
            place: self.net.place(other),
            settings: settings.clone(),
            lan_join: Vec::new(),
            wan_join: Vec::new(),
            authorities: Vec::new(),
        };
        planned.settings.lan = Endpoint::Lan(host).address();
        planned.settings.stream = Endpoint::Stream(host).address();
        planned.settings.wan = planned.settings.wan.map(|_| Endpoint::Wan(host).address());
        let (lan, wan, authorities) = (lan_seeds.clone(), wan_seeds.clone(), authorities.clone());
        let original = self.slots[other].name.clone();
        self.add(&planned, lan, wan, authorities);
        self.slots[host].name = name.to_owned();
        self.names.insert(original, other);
        self.names.insert(name.to_owned(), host);
        host
    }
}

/// The network.
impl World {
    /// Nothing of this tier passes between the two groups any more, in either direction.
    pub fn split<A: AsRef<str>, B: AsRef<str>>(&mut self, tier: Tier, left: &[A], right: &[B]) {
        self.cut_one_way(tier, left, right);
        self.cut_one_way(tier, right, left);
    }

    /// Nothing of this tier passes from one group to the other any more. Returns what [`World::heal_one`] takes.
    pub fn cut_one_way<A: AsRef<str>, B: AsRef<str>>(
        &mut self,
        tier: Tier,
        from: &[A],
        to: &[B],
    ) -> u64 {
        let (from, to) = (self.hosts(from), self.hosts(to));
        self.net.cut(Some(tier), &from, &to)
    }

    /// Takes one cut away.
    pub fn heal_one(&mut self, cut: u64) {
        self.net.heal_one(cut);
    }

    /// Cuts a datacenter off all others.
    pub fn cut_off(&mut self, datacenter: &str) {
        let inside = self.members(datacenter);
        let outside: Vec<String> = self
            .names
            .keys()
            .filter(|name| !inside.contains(name))
            .cloned()
            .collect();
        self.split(Tier::Wan, &inside, &outside);
    }

    /// Cuts everything between two datacenters.
    pub fn cut_between(&mut self, one: &str, other: &str) {
        let (one, other) = (self.members(one), self.members(other));
        self.split(Tier::Wan, &one, &other);
    }

    /// Takes all cuts away.
    pub fn heal(&mut self) {
        self.net.heal();
    }

    /// Loses this share of everything that one node sends or should receive.
    pub fn make_lossy(&mut self, name: &str, loss: f64) {
        let host = self.host(name);
        self.net.set_loss(host, loss, loss);
    }

    /// Loses these shares of what one node sends and of what it should receive.
    pub fn make_lossy_one_way(&mut self, name: &str, sent: f64, received: f64) {
        let host = self.host(name);
        self.net.set_loss(host, sent, received);
    }

    /// Holds back for a while whatever a node sends or should receive.
    pub fn clog_for(&mut self, name: &str, time: Duration) {
        let host = self.host(name);
        self.net.clog(host, self.now + time);
    }

    /// Swizzle-clog: each of these nodes is clogged at a random moment of `time`, and all are free after it.
    pub fn swizzle<S: AsRef<str>>(&mut self, names: &[S], time: Duration) {
        for host in self.hosts(names) {
            let from = self.dice.random_range(0.0..1.0);
            let to = self.dice.random_range(from..=1.0);
            let (from, to) = (time.mul_f64(from), time.mul_f64(to));
            self.queue.push(
                self.now + from,
                Order::Arrival,
                Happening::Clog {
                    host,
                    until: self.now + to,
                },
            );
        }
    }
}

/// Time.
impl World {
    /// The virtual time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Starts everybody, and goes on until everybody sees everybody.
    ///
    /// # Panics
    ///
    /// If that takes longer.
    pub fn form(&mut self, within: Duration) {
        self.start_all();
        self.run_until(
            "everybody sees everybody",
            within,
            Self::everyone_sees_alive,
        );
    }

    /// A world that has formed, agrees on everything and has been at rest for a moment.
    ///
    /// # Panics
    ///
    /// If it does not form within ten seconds, or does not agree five seconds later.
    pub fn settled(plan: Plan) -> Self {
        let mut world = plan.build();
        world.form(secs(10));
        world.run_until("all digests agree", secs(5), Self::digests_agree);
        world.run_for(secs(3));
        world
    }

    /// Lets time pass until something holds, and returns how long that took.
    ///
    /// # Panics
    ///
    /// If it does not hold in time; the message says who saw what, and the seed.
    pub fn run_until(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Duration {
        let begin = self.now;
        loop {
            if holds(self) {
                return self.now.since(begin);
            }
            let waited = self.now.since(begin);
            assert!(
                waited < within,
                "waited {within:?} for: {what}\n{}",
                self.report()
            );
            self.run_for(GLANCE.min(within - waited));
        }
    }

    /// Lets time pass while something must go on holding.
    ///
    /// # Panics
    ///
    /// When it stops holding; the message says who saw what, and the seed.
    pub fn run_while(
        &mut self,
        what: &str,
        time: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) {
        let end = self.now + time;
        while self.now < end {
            assert!(holds(self), "no longer: {what}\n{}", self.report());
            self.run_for((GLANCE * 5).min(end.since(self.now)));
        }
        assert!(holds(self), "no longer: {what}\n{}", self.report());
    }
}

/// Names and numbers.
impl World {
    /// The names of all nodes of a datacenter, servers first.
    pub fn members(&self, datacenter: &str) -> Vec<String> {
        let of = self
            .slots
            .iter()
            .filter(|slot| slot.who.datacenter.as_str() == datacenter);
        of.map(|slot| slot.name.clone()).collect()
    }

    /// The names of its servers.
    pub fn servers(&self, datacenter: &str) -> Vec<String> {
        let of = self
            .slots
            .iter()
            .filter(|slot| slot.who.datacenter.as_str() == datacenter);
        of.filter(|slot| slot.who.role == Role::Server)
            .map(|slot| slot.name.clone())
            .collect()
    }

    /// The names of all nodes.
    pub fn everybody(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.name.clone()).collect()
    }

    /// What a node sent and signed so far.
    pub fn traffic(&self, name: &str) -> Traffic {
        self.slots[self.host(name)].traffic()
    }

    /// What all nodes sent and signed so far.
    pub fn total_traffic(&self) -> Traffic {
        self.slots
            .iter()
            .fold(Traffic::default(), |sum, slot| sum.add(slot.traffic()))
    }

    pub(crate) fn host(&self, name: &str) -> usize {
        *self
            .names
            .get(name)
            .unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    fn hosts<S: AsRef<str>>(&self, names: &[S]) -> Vec<usize> {
        names.iter().map(|name| self.host(name.as_ref())).collect()
    }
}
