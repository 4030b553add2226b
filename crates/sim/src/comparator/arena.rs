//! Comparator nodes in the simulator's network, and Lifeguard's two experiments with them.

use super::swim::{Config, Message, Packet, Swim, size};
use crate::{
    net::{Links, Net, Place},
    queue::{Order, Queue},
    report::Cdf,
    slot::tick,
};
use pelago_proto::{federation::Tier, time::Time};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};
use std::{collections::VecDeque, time::Duration};

enum Happening {
    Wake(usize),
    Arrive {
        to: usize,
        from: usize,
        packet: Packet,
    },
    /// Starved nodes go on.
    Recover,
}

struct Host {
    node: Swim,
    armed: Time,
    /// Sends and receives wait; timers run.
    starved: bool,
    lost: bool,
    inbox: VecDeque<(usize, Packet)>,
    outbox: VecDeque<(usize, Packet)>,
}

/// A death that some node reported.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// When.
    pub at: Time,
    /// Who reported it.
    pub by: usize,
    /// About whom.
    pub about: usize,
}

/// Nodes that know each other from the start, in one rack.
pub struct Arena {
    now: Time,
    hosts: Vec<Host>,
    net: Net,
    queue: Queue<Happening>,
    dice: ChaCha8Rng,
    deaths: Vec<Death>,
    /// Packets sent.
    pub packets: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Arena {
    /// So many nodes.
    pub fn new(seed: u64, count: usize, config: Config, links: Links) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new(links, dice.random());
        let now = Time::START;
        let hosts = (0..count)
            .map(|me| {
                net.add(Place {
                    datacenter: 0,
                    zone: 0,
                    rack: 0,
                });
                let mut own = [0; 32];
                dice.fill_bytes(&mut own);
                Host {
                    node: Swim::new(me, count, config, ChaCha8Rng::from_seed(own), now),
                    armed: Time::NEVER,
                    starved: false,
                    lost: false,
                    inbox: VecDeque::new(),
                    outbox: VecDeque::new(),
                }
            })
            .collect();
        let mut arena = Self {
            now,
            hosts,
            net,
            queue: Queue::new(),
            dice,
            deaths: Vec::new(),
            packets: 0,
            bytes: 0,
        };
        (0..count).for_each(|host| arena.arm(host));
        arena
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.queue.next_at().is_some_and(|at| at <= end) {
            if let Some((at, happening)) = self.queue.pop() {
                self.now = at;
                self.happen(happening);
            }
        }
        self.now = end;
    }

    /// Different nodes, drawn at random.
    pub fn choose(&mut self, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.hosts.len()).collect();
        all.shuffle(&mut self.dice);
        all.truncate(count);
        all
    }

    /// Starves nodes for a while, all at once.
    pub fn starve(&mut self, whom: &[usize], time: Duration) {
        for host in whom {
            self.hosts[*host].starved = true;
            self.hosts[*host].node.block();
        }
        self.queue
            .push(self.now + time, Order::Arrival, Happening::Recover);
    }

    /// Takes a host away.
    pub fn lose(&mut self, host: usize) {
        self.hosts[host].lost = true;
    }

    /// Deaths reported since they were last taken.
    pub fn take_deaths(&mut self) -> Vec<Death> {
        std::mem::take(&mut self.deaths)
    }

    /// Whether everybody sees everybody alive and unsuspected.
    pub fn is_calm(&self) -> bool {
        let there = || (0..self.hosts.len()).filter(|host| !self.hosts[*host].lost);
        there().all(|one| there().all(|other| self.hosts[one].node.sees_healthy(other)))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(host) => {
                if self.hosts[host].armed == self.now && !self.hosts[host].lost {
                    self.hosts[host].armed = Time::NEVER;
                    self.hosts[host].node.tick(self.now);
                    self.drive(host);
                }
            }
            Happening::Arrive { to, from, packet } => {
                let host = &mut self.hosts[to];
                if host.lost {
                } else if host.starved {
                    host.inbox.push_back((from, packet));
                } else {
                    host.node.receive(from, packet, self.now);
                    self.drive(to);
                }
            }
            Happening::Recover => {
                for host in 0..self.hosts.len() {
                    if std::mem::take(&mut self.hosts[host].starved) {
                        self.recover(host);
                    }
                }
            }
        }
    }

    fn recover(&mut self, host: usize) {
        self.hosts[host].node.unblock(self.now);
        self.drive(host);
        for (to, packet) in std::mem::take(&mut self.hosts[host].outbox) {
            self.send(host, to, packet);
        }
        for (from, packet) in std::mem::take(&mut self.hosts[host].inbox) {
            self.hosts[host].node.receive(from, packet, self.now);
            self.drive(host);
        }
    }

    fn drive(&mut self, host: usize) {
        let out = std::mem::take(&mut self.hosts[host].node.out);
        for (to, packet) in out {
            if self.hosts[host].starved {
                self.hosts[host].outbox.push_back((to, packet));
            } else {
                self.send(host, to, packet);
            }
        }
        for about in std::mem::take(&mut self.hosts[host].node.deaths) {
            let (at, by) = (self.now, host);
            self.deaths.push(Death { at, by, about });
        }
        self.arm(host);
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let bytes = size(&packet);
        self.packets += 1;
        self.bytes += bytes as u64;
        let flight = match packet.message {
            Message::StreamPing { .. } => self.net.stream(Tier::Lan, from, to, bytes, self.now),
            _ => {
                self.net
                    .packet(Tier::Lan, from, to, bytes, self.now)
                    .arrives
            }
        };
        if let Some(flight) = flight {
            let happening = Happening::Arrive { to, from, packet };
            self.queue
                .push(self.now + flight, Order::Arrival, happening);
        }
    }

    fn arm(&mut self, host: usize) {
        let due = tick(
            self.hosts[host]
                .node
                .due()
                .max(self.now + Duration::from_micros(1)),
        );
        if due < self.hosts[host].armed {
            self.hosts[host].armed = due;
            self.queue.push(due, Order::Timer, Happening::Wake(host));
        }
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What an interval run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    /// Reports of deaths of nodes that nothing was done to.
    pub wrong: u64,
    /// Those of them by nodes that nothing was done to.
    pub at_healthy: u64,
    /// Packets sent by a node in a second.
    pub packets: f64,
    /// Bytes sent by a node in a second.
    pub bytes: f64,
}

/// Lifeguard's interval experiment: `starved` of 128 nodes starve for `lasting`, rest, and starve again for two minutes.
pub fn interval(
    seed: u64,
    config: Config,
    starved: usize,
    lasting: Duration,
    rest: Duration,
) -> Interval {
    let count = 128;
    let mut arena = Arena::new(seed, count, config, Links::default());
    arena.run_for(Duration::from_secs(15));
    let whom = arena.choose(starved);
    arena.take_deaths();
    let (begin, packets, bytes) = (arena.now, arena.packets, arena.bytes);
    while arena.now.since(begin) < Duration::from_secs(120) {
        arena.starve(&whom, lasting);
        arena.run_for(lasting + rest);
    }
    let wrong: Vec<Death> = arena
        .take_deaths()
        .into_iter()
        .filter(|death| !whom.contains(&death.about))
        .collect();
    let each = arena.now.since(begin).as_secs_f64() * count as f64;
    Interval {
        wrong: wrong.len() as u64,
        at_healthy: wrong
            .iter()
            .filter(|death| !whom.contains(&death.by))
            .count() as u64,
        packets: (arena.packets - packets) as f64 / each,
        bytes: (arena.bytes - bytes) as f64 / each,
    }
}

/// Lifeguard's threshold experiment: `starved` of 128 nodes starve once, long enough to be found. Returns milliseconds to
/// the first report of each at a healthy node, and to the last.
pub fn threshold(seed: u64, config: Config, starved: usize, lasting: Duration) -> [Cdf; 2] {
    let count = 128;
    let mut arena = Arena::new(seed, count, config, Links::default());
    arena.run_for(Duration::from_secs(15));
    let whom = arena.choose(starved);
    arena.take_deaths();
    let begin = arena.now;
    arena.starve(&whom, lasting);
    arena.run_for(lasting);
    let deaths = arena.take_deaths();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for about in &whom {
        let healthy = |death: &&Death| death.about == *about && !whom.contains(&death.by);
        let times: Vec<Duration> = deaths
            .iter()
            .filter(healthy)
            .map(|death| death.at.since(begin))
            .collect();
        first.extend(times.iter().min().copied());
        if times.len() >= count - whom.len() {
            last.extend(times.iter().max().copied());
        }
    }
    [Cdf::of(first), Cdf::of(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_suspected_while_nothing_happens() {
        let mut arena = Arena::new(1, 64, Config::swim(), Links::default());
        arena.run_for(Duration::from_secs(60));
        assert!(arena.is_calm());
        assert!(arena.take_deaths().is_empty());
        // A ping and an ack a second, and nothing to say.
        let each = arena.packets as f64 / 64.0 / 60.0;
        assert!((1.9..2.1).contains(&each), "{each}");
    }

    #[test]
    fn a_lost_host_is_dead_after_the_suspicion() {
        let mut arena = Arena::new(2, 128, Config::swim(), Links::default());
        arena.run_for(Duration::from_secs(5));
        arena.lose(7);
        arena.run_for(Duration::from_secs(30));
        let deaths = arena.take_deaths();
        assert!(deaths.iter().all(|death| death.about == 7));
        assert_eq!(deaths.len(), 127);
        let first = deaths[0].at.since(Time::START + Duration::from_secs(5));
        // A second of probing at least, and 5 log10 128 = 10.5 s of suspicion.
        assert!(first >= Duration::from_millis(10_500), "{first:?}");
    }
}
