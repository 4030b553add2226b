//! One membership pool: probing, spreading, comparing. The LAN pool and the WAN pool are two values of this type with
//! different [`Profile`]s.
//!
//! A pool knows peers, not claims: whom to reach where, how they stand, what to tell them. It never sees a signature;
//! what it wants signed or asked goes out as an [`Action`].

mod answers;
mod deafness;
mod detector;
mod gossip;
pub mod health;
pub mod observers;
mod peers;
mod repair;
mod rtt;
mod spacing;
mod tuning;
mod watches;

use crate::{
    federation::ProbeId,
    identity::{Incarnation, NodeId},
    sampler::Place,
    time::{Deadline, Time},
    wire::{Frame, Item, MAX_DATAGRAM, MAX_INTRODUCED},
};
use detector::Detector;
use gossip::Gossip;
pub use gossip::Priority;
use health::Health;
use observers::{Horizon, Seat};
use peers::Peers;
pub use peers::{News, Peer};
use rand::rngs::ChaCha12Rng;
pub use repair::{Gain, Repair};
use spacing::Spacing;
use std::{collections::VecDeque, time::Duration};
pub use tuning::Tuning;

/// What a ping or an ack weighs without news.
const FRAME: usize = 40;
/// How one pool differs from the other.
#[derive(Clone, Debug)]
pub struct Profile {
    /// One probe per node and interval, and to each target one per interval, all observers together.
    pub probe_interval: Duration,
    /// Bounds for the patience with one answer: least, most, and before anything was measured.
    pub patience: [Duration; 3],
    /// How long relays and the stream get at least after two pings went unanswered; three times the patience if that is more.
    pub last_chance: Duration,
    /// Whether silence leads to accusations (LAN), or only to a link that is down (WAN).
    pub accuses: bool,
    /// The mechanisms.
    pub tuning: Tuning,
}

impl Profile {
    /// Inside a datacenter.
    pub fn lan(probe_interval: Duration, tuning: Tuning) -> Self {
        let ms = Duration::from_millis;
        Self {
            probe_interval,
            patience: [ms(15), ms(60), ms(50)],
            last_chance: ms(60),
            accuses: true,
            tuning,
        }
    }

    /// Between datacenters: slower, and without a say about life and death.
    pub fn wan() -> Self {
        let ms = Duration::from_millis;
        Self {
            probe_interval: ms(1_000),
            patience: [ms(200), ms(900), ms(900)],
            last_chance: ms(500),
            accuses: false,
            tuning: Tuning {
                fanout: 3,
                rides: 2,
                shares: [34, 33, 33],
                ..Tuning::default()
            },
        }
    }
}

/// How a peer stands, as far as the pool cares. Those that left or were removed are not peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Unaccused.
    Alive,
    /// Accused.
    Suspect,
    /// Accused beyond its floor, without a verdict.
    Unreachable,
    /// Dead by verdict: contacted to heal, not probed.
    Dead,
}

/// Which socket a datagram leaves from, and to which of the peer's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The bound socket.
    Main,
    /// A fresh connected socket, to the datagram port.
    Fresh(ProbeId),
    /// A fresh connected socket, to the stream port: the last proof that the process is gone.
    FreshStream(ProbeId),
}

/// What a pool wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a frame.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
        /// How.
        route: Route,
    },
    /// Send the same frames to several peers, over the bound socket.
    Spread {
        /// To whom.
        to: Vec<NodeId>,
        /// What, in this order.
        frames: Vec<Frame>,
    },
    /// Probe over a stream; report with [`Pool::stream_answered`].
    Stream {
        /// Whom.
        to: NodeId,
        /// Give up after this.
        within: Duration,
    },
    /// Sign an accusation.
    Accuse {
        /// Whom.
        accused: NodeId,
        /// At which incarnation.
        incarnation: Incarnation,
        /// Since the first unanswered ping.
        silent: Duration,
        /// Three refusals of two ports.
        closed: bool,
        /// Whether we can still reach at least half of the others.
        quorate: bool,
    },
    /// A link went up or down (WAN).
    Link {
        /// To whom.
        to: NodeId,
        /// Up.
        up: bool,
    },
}

/// Counters of one pool, all rising.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Probes begun.
    pub probes: u64,
    /// First pings without an answer in time.
    pub misses: u64,
    /// Probes in which everything failed.
    pub failures: u64,
    /// Times that our own loop was found late.
    pub late: u64,
    /// Times that nobody, or fewer than half, had answered for long, and then enough did.
    pub deaf: u64,
    /// Pushes of news.
    pub pushes: u64,
}

/// Ourselves on the ring.
#[derive(Debug)]
struct Me {
    position: u64,
    id: NodeId,
    place: Place,
}

/// One membership pool.
#[derive(Debug)]
pub struct Pool {
    me: Me,
    profile: Profile,
    rng: ChaCha12Rng,
    peers: Peers,
    /// Somebody came, went or changed.
    ring_changed: bool,
    /// And whom we watch may depend on it.
    ring_is_stale: bool,
    /// The part of the ring that decides whom we watch; `None` if all of it does.
    horizon: Option<Horizon>,
    detector: Detector,
    spacing: Spacing,
    gossip: Gossip,
    /// Differences between our view and others'.
    pub repair: Repair,
    /// Lifeguard's score.
    pub health: Health,
    /// Counters.
    pub tally: Tally,
    actions: VecDeque<Action>,
}

impl Pool {
    /// A pool around `me`.
    pub fn new(
        me: NodeId,
        place: Place,
        position: u64,
        profile: Profile,
        rng: ChaCha12Rng,
        now: Time,
    ) -> Self {
        let health = Health::new(profile.tuning.local_health);
        Self {
            peers: Peers::new(place.clone(), profile.tuning.shares),
            me: Me {
                position,
                id: me,
                place,
            },
            profile,
            rng,
            ring_changed: true,
            ring_is_stale: true,
            horizon: None,
            detector: Detector::new(now),
            spacing: Spacing::default(),
            gossip: Gossip::default(),
            repair: Repair::default(),
            health,
            tally: Tally::default(),
            actions: VecDeque::new(),
        }
    }

    /// Adds a peer or changes what is known of it.
    pub fn upsert(&mut self, news: News, now: Time) {
        let (id, standing, position) = (news.contact.id, news.standing, news.contact.position);
        let change = self.peers.update(news);
        if change.reborn {
            self.detector.cleared(&id, now);
        }
        if change.moved {
            self.ring_changed(position);
            change.was_at.inspect(|was_at| self.ring_changed(*was_at));
            self.weigh(now);
            if matches!(standing, Standing::Suspect | Standing::Unreachable) {
                self.accused(&id, now);
            }
        }
    }

    /// Takes a peer out: it left, was removed, or lost its seat.
    pub fn remove(&mut self, id: &NodeId, now: Time) {
        if let Some(peer) = self.peers.remove(id) {
            self.ring_changed(peer.contact.position);
            self.weigh(now);
        }
    }

    /// Our own place on the ring changes with our certificate.
    pub fn set_position(&mut self, position: u64) {
        self.ring_is_stale |= self.me.position != position;
        self.ring_changed |= self.ring_is_stale;
        self.me.position = position;
    }

    /// A peer.
    pub fn peer(&self, id: &NodeId) -> Option<&Peer> {
        self.peers.get(id)
    }

    /// Whether a peer's last pings went unanswered, in a pool that accuses nobody.
    pub fn is_down(&self, id: &NodeId) -> bool {
        self.detector
            .watches
            .get(id)
            .is_some_and(|watch| watch.down)
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }

    /// Peers that are not dead.
    pub fn living(&self) -> usize {
        self.peers.count() - self.peers.stand(Standing::Dead)
    }

    /// Peers that are dead or unreachable.
    pub fn lost(&self) -> usize {
        self.peers.stand(Standing::Dead) + self.peers.stand(Standing::Unreachable)
    }

    /// Smoothed round trip to a peer.
    pub fn rtt(&self, id: &NodeId) -> Option<Duration> {
        self.peers.get(id).and_then(|p| p.rtt().smoothed())
    }

    /// Marks a peer as knowing us; returns whether it is one.
    pub fn introduced(&mut self, id: &NodeId) -> bool {
        let peer = self.peers.get_mut(id);
        peer.map(|peer| peer.introduced = true).is_some()
    }

    /// Up to `count` living peers, spread over racks and zones.
    pub fn draw(&mut self, count: usize, fits: impl Fn(&Peer) -> bool) -> Vec<NodeId> {
        self.peers.draw(count, &mut self.rng, fits)
    }

    /// The pool's random numbers, for whoever acts on its behalf.
    pub fn rng(&mut self) -> &mut ChaCha12Rng {
        &mut self.rng
    }

    /// The record of differences, and random numbers for its jitter.
    pub fn repair_and_rng(&mut self) -> (&mut Repair, &mut ChaCha12Rng) {
        (&mut self.repair, &mut self.rng)
    }

    /// Ends a driver's call: who watches whom follows the membership.
    pub fn settle(&mut self, now: Time) {
        self.rebuild_ring(now);
        self.detector.watches.look_ahead();
    }

    /// Next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        crate::federation::pop(&mut self.actions)
    }

    /// When the pool wants to be called next.
    pub fn deadline(&self) -> Deadline {
        let first = self.detector.deadline().min(self.repair.deadline());
        first.min(Deadline {
            at: self.next_random().unwrap_or(Time::NEVER),
            why: "random probe",
        })
    }

    /// Queues a fact to ride on pings and acks.
    pub fn enqueue(&mut self, item: &Item, subject: NodeId, signer: NodeId, priority: Priority) {
        self.gossip
            .insert(item, subject, signer, priority, self.profile.tuning.rides);
    }

    /// Pushes facts at once to `fanout` peers: our successor in our rack, so that whom no lot falls on has somebody who tells it
    /// (Voulgaris and van Steen 2007, RingCast), and others drawn; not to whom they came from. Our own words go to six times as many:
    /// if their first packets are lost, nobody else repeats them.
    pub fn push(&mut self, items: &[Item], from: Option<NodeId>) {
        let targets = self.targets(from);
        self.spread(targets, items);
    }

    /// Pushes a frame to as many, and in the same way.
    pub fn broadcast(&mut self, frame: &Frame, from: Option<NodeId>) {
        let to = self.targets(from);
        self.tally.pushes += to.len() as u64;
        self.actions.push_back(Action::Spread {
            to,
            frames: vec![frame.clone()],
        });
    }

    /// Whom something is pushed to.
    fn targets(&mut self, from: Option<NodeId>) -> Vec<NodeId> {
        let times = if from.is_none() { 6 } else { 1 };
        let fanout = self.profile.tuning.fanout * times;
        let successor = self.peers.successor(&self.me.id).map(|p| p.contact.id);
        let on_a_ring = self.profile.tuning.successor && fanout > 0;
        let next = successor.filter(|id| on_a_ring && Some(*id) != from);
        let drawn = fanout.saturating_sub(next.iter().len());
        let mut targets = self.draw(drawn, |p| {
            Some(p.contact.id) != from && Some(p.contact.id) != next
        });
        targets.extend(next);
        targets
    }

    /// Pushes facts to one peer.
    pub fn push_to(&mut self, to: NodeId, items: &[Item]) {
        self.spread(vec![to], items);
    }

    /// Sends facts to all of these, in as few datagrams as they fit.
    fn spread(&mut self, to: Vec<NodeId>, items: &[Item]) {
        if items.is_empty() || to.is_empty() {
            return;
        }
        let mut frames = Vec::new();
        let mut news = Vec::new();
        let mut size = FRAME;
        for item in items {
            if size + item.size() > MAX_DATAGRAM && !news.is_empty() {
                let news = std::mem::take(&mut news);
                frames.push(Frame::News { news });
                size = FRAME;
            }
            size += item.size();
            news.push(item.clone());
        }
        frames.push(Frame::News { news });
        self.tally.pushes += to.len() as u64;
        self.actions.push_back(Action::Spread { to, frames });
    }

    /// Sends a frame over the bound socket.
    pub fn send(&mut self, to: NodeId, frame: Frame) {
        self.actions.push_back(Action::Send {
            to,
            frame,
            route: Route::Main,
        });
    }

    /// News for one datagram to `to`: what is held against it first, then what it missed, then the queue.
    fn news_for(&mut self, to: &NodeId, missed: &[Item]) -> Vec<Item> {
        let Some(peer) = self.peers.get(to) else {
            return Vec::new();
        };
        let mut room = if peer.introduced {
            MAX_DATAGRAM
        } else {
            MAX_INTRODUCED
        } - FRAME;
        let mut news = Vec::new();
        for item in peer.charges() {
            if self.profile.tuning.buddies && item.size() <= room {
                room -= item.size();
                news.push(item.clone());
            }
        }
        for item in missed {
            if item.size() <= room && !news.contains(item) {
                room -= item.size();
                news.push(item.clone());
            }
        }
        self.gossip.take(&mut room, to, &mut news);
        news
    }

    /// Whether at least half of the others, the dead aside, are unaccused in our view.
    pub fn in_majority(&self) -> bool {
        2 * self.peers.stand(Standing::Alive) >= self.living()
    }

    /// Whether we can still reach at least half of the others, the one we are about to accuse counted as lost: by what we
    /// hold about them, and by trying.
    fn quorate(&self, accused: &NodeId) -> bool {
        let accused = self.peers.get(accused).map(|p| p.standing);
        let lost = usize::from(accused == Some(Standing::Alive));
        let unaccused = self.peers.stand(Standing::Alive) - lost;
        !self.profile.tuning.quorate
            || (2 * unaccused >= self.living() && self.detector.sample_answered())
    }

    /// Somebody came, went or changed at this position: of interest only if whom we watch depends on it.
    fn ring_changed(&mut self, position: u64) {
        self.ring_changed = true;
        self.ring_is_stale |= self.horizon.is_none_or(|horizon| horizon.holds(position));
    }

    fn rebuild_ring(&mut self, now: Time) {
        if !std::mem::take(&mut self.ring_changed) {
            return;
        }
        if !std::mem::take(&mut self.ring_is_stale) {
            return self.detector.hasten(&self.profile, now);
        }
        let targets = if self.profile.accuses {
            let mut ring: Vec<Seat<'_>> = self.peers.living().map(Seat::of).collect();
            ring.push(Seat {
                position: self.me.position,
                id: self.me.id,
                place: &self.me.place,
                standing: Standing::Alive,
            });
            ring.sort_unstable_by_key(|s| (s.position, s.id));
            let (mut targets, horizon) = observers::targets(&ring, &self.me.id);
            self.horizon = horizon;
            if !self.profile.tuning.observers {
                observers::everybody(&mut targets, &ring, &self.me.id);
                self.horizon = None;
            }
            targets
        } else {
            // Every link is watched, at 20 pings a second at most.
            let observers = 1.max(self.peers.count() / 20);
            let mut ids: Vec<NodeId> = self.peers.iter().map(|p| p.contact.id).collect();
            ids.sort_unstable();
            ids.into_iter()
                .map(|id| observers::Target {
                    id,
                    rank: 0,
                    observers,
                })
                .collect()
        };
        self.detector
            .watch(&targets, &self.profile, &mut self.rng, now);
    }

    /// A ping came in. Answers it, with what its sender `missed` as its set hash shows.
    pub fn handle_ping(
        &mut self,
        from: NodeId,
        number: u64,
        watch: bool,
        digest: u64,
        missed: &[Item],
        now: Time,
    ) {
        let spacing = watch
            .then(|| self.spacing.pinged(from, self.profile.probe_interval, now))
            .flatten();
        let news = self.news_for(&from, missed);
        self.send(
            from,
            Frame::Ack {
                number,
                spacing,
                digest,
                news,
            },
        );
    }

    /// Somebody asks us to ping for it.
    pub fn handle_ping_req(
        &mut self,
        from: NodeId,
        number: u64,
        target: NodeId,
        within: Duration,
        digest: u64,
        now: Time,
    ) {
        if self.peers.get(&target).is_none() {
            return;
        }
        // A nack must arrive while it is still of use: at 80 % of what is left.
        let until = now + within.min(Duration::from_secs(1)) * 4 / 5;
        let ping = self.detector.relay(from, number, target, until, now);
        self.send_ping(target, ping, false, Route::Main, digest);
    }

    fn send_ping(&mut self, to: NodeId, number: u64, watch: bool, route: Route, digest: u64) {
        let news = self.news_for(&to, &[]);
        let frame = Frame::Ping {
            number,
            watch,
            digest,
            news,
        };
        self.actions.push_back(Action::Send { to, frame, route });
    }
}
