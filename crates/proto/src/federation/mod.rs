//! One node's whole protocol: LAN pool, WAN pool, election and catalog behind one surface.
//!
//! Contract for drivers, sockets and simulator alike:
//!
//! 1. Hand in what arrived (`handle_*`), each with a fresh `now`. Nothing a peer sends is an error: it is counted.
//! 2. Then drain [`Federation::poll_transmit`], [`Federation::poll_request`] and [`Federation::poll_memory`], publish
//!    [`Federation::view`] if [`Federation::generation`] moved, and only then hand out [`Federation::poll_event`].
//! 3. Sleep until [`Federation::poll_timeout`]; before calling [`Federation::handle_timeout`], drain the sockets (bounded)
//!    and read the clock again: an ack that lies unread in a socket is not a missed ack.

mod abroad;
mod accusers;
mod admit;
mod budgets;
mod changes;
mod cut;
mod datagram;
mod duties;
mod echo;
mod expel;
mod join;
mod lists;
mod own;
mod reconcile;
mod removal;
mod repeats;
mod show;
mod stream;
mod types;
mod wan;

pub use lists::{HandedList, ListError, MAX_LIST};
pub use removal::{HandedIn, RemovalError};
pub use types::{
    Count, Introduction, MAX_MESSAGE, Memory, Path, Peer, ProbeId, Request, RequestError,
    RequestId, Settings, Tier, Transmit,
};

use crate::{
    catalog::{Catalog, Known},
    claim::{Claim, MAX_RECORD, Record, Verified},
    contact::position,
    election::Election,
    identity::{Incarnation, Label, NodeId, Role},
    limit::Bucket,
    pool::{Action, Pool, Profile, Route},
    roster::{Cloned, Entry},
    sampler::Place,
    tally::Tally,
    time::{Deadline, Time},
    trust::{Certified, Trust},
    view::{Event, View},
    wire::{Ask, Frame, Item},
};
use accusers::Accusers;
use cut::Cuts;
use duties::Duties;
use echo::Echoes;
use join::Joining;
use lists::Lists;
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use repeats::Repeats;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use stream::Purpose;
use thiserror::Error;

/// A tick this much later than it was due means that we, not others, were silent.
const LATE: Duration = Duration::from_millis(100);
/// Most requests under way.
const MAX_REQUESTS: usize = 256;
/// Most events and transmits waiting to be polled; beyond it the oldest go.
const MAX_WAITING: usize = 16_384;

/// Settings that no node can start with. The fault of whoever configured it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Operators are people.
    #[error("the certificate is an operator's: operators are never members")]
    Operator,
    /// A server needs a WAN address, a client has none.
    #[error("a server needs a WAN address, a client must not have one")]
    Wan,
    /// The own record would not travel.
    #[error("the record takes {0} bytes, {MAX_RECORD} at most: use shorter names or fewer tags")]
    RecordSize(usize),
    /// Outside 0.5–10 s.
    #[error("pause_tolerance must lie between 0.5 s and 10 s")]
    PauseTolerance,
    /// Outside 1–7.
    #[error("seats must lie between 1 and 7")]
    Seats,
    /// Outside 20 ms–10 s.
    #[error("probe_interval must lie between 20 ms and 10 s")]
    ProbeInterval,
}

/// One node's whole protocol. See the module's documentation for the contract with its driver.
pub struct Federation {
    settings: Settings,
    trust: Arc<dyn Trust>,
    rng: ChaCha12Rng,

    // Who we are and what we last said of ourselves.
    me: Arc<Certified>,
    incarnation: Incarnation,
    record: Arc<Record>,
    record_claim: Verified<Claim>,
    /// Refutations since the record, if any.
    alive_claim: Option<Verified<Claim>>,
    /// Started without memory, and nothing of our past met yet.
    blank: bool,
    cloned: Option<Cloned>,
    last_answer_to_clone: Option<Time>,
    /// It said goodbye, or was removed: nothing is said or heard any more.
    left: bool,
    health: u8,
    /// What we say of our health is to be said anew, once we are not on the smaller side of a split.
    record_is_stale: bool,

    // What we know of others.
    catalog: Catalog,
    /// Which datacenter a member of another one belongs to.
    abroad: BTreeMap<NodeId, Label>,
    /// Members of our own datacenter whose address our `allow` refuses: in the roster, but never talked to.
    barred: BTreeSet<NodeId>,
    /// Words of members lost here that were heard from abroad only: the newest incarnation, and since when.
    last_words: BTreeMap<NodeId, (Option<Incarnation>, Time)>,
    /// What signers may still say, and what peers may still have verified.
    budgets: BTreeMap<NodeId, Bucket>,
    relays: BTreeMap<NodeId, Bucket>,
    head_relays: BTreeMap<NodeId, Bucket>,
    accusers: Accusers,
    repeats: Repeats,

    // The two pools and the election between them.
    lan: Pool,
    wan: Pool,
    election: Election,
    joining: Joining,
    duties: Duties,
    lists: Lists,
    cuts: Cuts,
    heads_signed: u64,
    memory: Memory,

    // What waits to be polled.
    transmits: VecDeque<Transmit>,
    asks: VecDeque<Request>,
    requests: BTreeMap<RequestId, Purpose>,
    next_request: u64,
    events: VecDeque<Event>,
    memory_out: Option<Memory>,
    /// News to push once the current call is done, with whom it came from.
    fresh: Vec<Fresh>,
    echoes: Echoes,

    introductions: Bucket,
    verifications: Bucket,
    /// Verifications that only removals, and lists that somebody hands in, may use: decisions get through whatever else is said.
    decisions: Bucket,
    bulk: Bucket,
    drops: Tally,
    tally: Tally,
    generation: u64,
    /// When we last did anything: what was due before is not late.
    touched: Time,
    view: Option<(u64, Arc<View>)>,
}

/// A claim to be passed on.
struct Fresh {
    item: Item,
    datacenter: Label,
    from: Option<NodeId>,
    tier: Tier,
    /// Whether its author is an operator, and not a member of that datacenter.
    decision: bool,
}

/// Takes the first of what waits. One burst is no reason to hold room for as much ever after.
pub(crate) fn pop<T>(waiting: &mut VecDeque<T>) -> Option<T> {
    const ROOM: usize = 8;
    let first = waiting.pop_front();
    if first.is_none() && waiting.capacity() > ROOM {
        *waiting = VecDeque::new();
    }
    first
}

/// A boot counter near its end can only be damage, and nothing could follow it: as good as none.
fn remembered_boot(settings: &Settings) -> u64 {
    let boot = settings.memory.boot;
    if boot < u64::MAX / 2 { boot } else { 0 }
}

impl std::fmt::Debug for Federation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Federation({} {})", self.me.name, self.incarnation)
    }
}

impl Federation {
    /// A node at its start: its boot is the remembered one plus one. Nothing is sent before [`Self::seeds`] was called.
    pub fn new(
        settings: Settings,
        trust: Arc<dyn Trust>,
        rng_seed: [u8; 32],
        now: Time,
    ) -> Result<Self, SettingsError> {
        let me = trust.own();
        let ms = |d: Duration| d.as_millis();
        if me.role == Role::Operator {
            return Err(SettingsError::Operator);
        }
        if (me.role == Role::Server) != settings.wan.is_some() {
            return Err(SettingsError::Wan);
        }
        if !(500..=10_000).contains(&ms(settings.pause_tolerance)) {
            return Err(SettingsError::PauseTolerance);
        }
        if !(1..=7).contains(&settings.seats) {
            return Err(SettingsError::Seats);
        }
        if !(20..=10_000).contains(&ms(settings.probe_interval)) {
            return Err(SettingsError::ProbeInterval);
        }
        let mut rng = ChaCha12Rng::from_seed(rng_seed);
        let incarnation = Incarnation {
            boot: remembered_boot(&settings) + 1,
            seq: 0,
        };
        let record = Arc::new(own::first_record(
            &settings,
            &me,
            trust.lan_public_key(),
            incarnation,
        ));
        let record_claim = Claim::sign(&*trust, crate::claim::Body::Record(Arc::clone(&record)));
        if record_claim.bytes().len() > MAX_RECORD {
            return Err(SettingsError::RecordSize(record_claim.bytes().len()));
        }
        let place = Place {
            zone: me.zone.clone(),
            rack: me.rack.clone(),
        };
        let wan_place = Place {
            zone: settings.region.clone(),
            rack: me.datacenter.clone(),
        };
        let ring = position(&me.serial);
        let mut pool_rng = || ChaCha12Rng::from_seed(rng.random());
        let lan = Pool::new(
            me.id,
            place,
            ring,
            Profile::lan(settings.probe_interval, settings.tuning),
            pool_rng(),
            now,
        );
        let wan = Pool::new(me.id, wan_place, ring, Profile::wan(), pool_rng(), now);
        let duties = Duties::new(&mut rng, now);
        let memory = Memory {
            boot: incarnation.boot,
            ..settings.memory.clone()
        };
        let limits = settings.limits;
        let mut federation = Self {
            blank: remembered_boot(&settings) == 0,
            catalog: Catalog::new(&me.datacenter),
            memory_out: Some(memory.clone()),
            memory,
            lists: Lists::new(&trust.lists(), &me.id, now),
            settings,
            trust,
            rng,
            incarnation,
            record,
            record_claim,
            alive_claim: None,
            cloned: None,
            last_answer_to_clone: None,
            left: false,
            health: 0,
            record_is_stale: false,
            abroad: BTreeMap::new(),
            barred: BTreeSet::new(),
            last_words: BTreeMap::new(),
            budgets: BTreeMap::new(),
            relays: BTreeMap::new(),
            head_relays: BTreeMap::new(),
            accusers: Accusers::default(),
            repeats: Repeats::default(),
            lan,
            wan,
            election: Election::default(),
            joining: Joining::default(),
            duties,
            cuts: Cuts::default(),
            heads_signed: 0,
            transmits: VecDeque::new(),
            asks: VecDeque::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            events: VecDeque::new(),
            fresh: Vec::new(),
            echoes: Echoes::new(&rng_seed, now),
            introductions: Bucket::of(limits.introductions, now),
            verifications: Bucket::of(limits.verifications, now),
            decisions: Bucket::new(200.0, 1_000.0, now),
            bulk: Bucket::new(1_048_576.0, 4.0 * 1_048_576.0, now),
            drops: Tally::default(),
            tally: Tally::default(),
            generation: 1,
            touched: now,
            view: None,
            me,
        };
        federation.recall_removals(now);
        federation.hold_own(now);
        federation.after_removal(federation.me.id);
        Ok(federation)
    }

    /// This node's id.
    pub fn me(&self) -> NodeId {
        self.me.id
    }

    /// This node's newest incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Moves when [`Self::view`] would differ.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        pop(&mut self.transmits)
    }

    /// Next request to make.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.asks.pop_front()
    }

    /// Next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        pop(&mut self.events)
    }

    /// What to persist, if it changed.
    pub fn poll_memory(&mut self) -> Option<Memory> {
        self.memory_out.take()
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Deadline {
        if self.left {
            return Deadline {
                at: Time::NEVER,
                why: "gone",
            };
        }
        let mut first = self.duties.deadline().min(self.joining.deadline());
        first = first.min(self.lan.deadline()).min(self.cuts.deadline());
        if self.is_seated() {
            first = first.min(self.wan.deadline());
        }
        first
    }

    /// Calls what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.notice_lateness(now);
        if self.left {
            return self.settle(now);
        }
        let digest = self.own_digests().current();
        if self.lan.deadline().at <= now {
            self.lan.tick(digest, now);
        }
        if self.is_seated() && self.wan.deadline().at <= now {
            self.wan.tick(digest, now);
        }
        self.tick_join(now);
        self.tick_duties(now);
        self.tick_repair(now);
        self.settle(now);
    }

    /// The runtime's word about this node's own health (a full disk, say), 0 = healthy … 8.
    pub fn set_health(&mut self, health: u8, now: Time) {
        let health = health.min(8);
        if health != self.health {
            self.health = health;
            self.record_is_stale = true;
            self.settle(now);
        }
    }

    /// A fresh socket heard `ECONNREFUSED`.
    pub fn handle_port_closed(&mut self, probe: ProbeId, now: Time) {
        self.notice_lateness(now);
        let digest = self.own_digests().current();
        self.lan.handle_port_closed(probe, digest, now);
        self.settle(now);
    }

    /// If our own loop was late, what looked like others' silence may have been ours.
    fn notice_lateness(&mut self, now: Time) {
        let late = LATE.max(self.settings.probe_interval / 2);
        // Nothing was due before we last did anything, and that is mostly just now.
        if now.since(self.touched) <= late {
            return;
        }
        let due = self.poll_timeout().at.max(self.touched);
        if now.since(due) > late {
            self.lan.was_late(now);
            self.wan.was_late(now);
        }
    }

    fn own(&self) -> &Known {
        self.catalog.own()
    }

    /// Which datacenter a member belongs to.
    fn home(&self, id: &NodeId) -> Option<&Label> {
        let own = self.own().roster.get(id).map(|_| &self.me.datacenter);
        own.or_else(|| self.abroad.get(id))
    }

    /// What is known of a member of any datacenter.
    fn entry(&self, id: &NodeId) -> Option<&Entry> {
        self.catalog.get(self.home(id)?)?.roster.get(id)
    }

    fn own_digests(&self) -> &crate::roster::Digests {
        self.own().roster.digests()
    }

    fn is_seated(&self) -> bool {
        // Clients never are, which is known without a look at the record: this is asked for after every packet.
        self.settings.wan.is_some() && self.record.seat && !self.left
    }

    fn is_server(&self) -> bool {
        self.me.role == Role::Server
    }

    fn drop(&mut self, why: &'static str) {
        self.drops.add(why);
    }

    fn count(&mut self, what: &'static str) {
        self.tally.add(what);
    }

    fn changed(&mut self) {
        self.generation += 1;
    }

    /// Ends every call: pushes what is new, settles the rings, turns the pools' wishes into transmits and requests.
    fn settle(&mut self, now: Time) {
        self.touched = now;
        self.show_cuts(now);
        self.push_fresh();
        self.lan.settle(now);
        self.wan.settle(now);
        while let Some(action) = self.lan.poll() {
            self.act(Tier::Lan, action, now);
        }
        while let Some(action) = self.wan.poll() {
            self.act(Tier::Wan, action, now);
        }
        // An accusation signed just now is news as well.
        self.push_fresh();
        while let Some(action) = self.lan.poll() {
            self.act(Tier::Lan, action, now);
        }
        while self.transmits.len() > MAX_WAITING {
            self.transmits.pop_front();
            self.drop("transmit_queue");
        }
        while self.events.len() > MAX_WAITING {
            self.drop("event_queue");
            self.events.pop_front();
        }
    }

    fn act(&mut self, tier: Tier, action: Action, now: Time) {
        match action {
            Action::Send { to, frame, route } => {
                self.transmit(tier, to, &frame, frame.encode().into(), route, now);
            }
            Action::Spread { to, frames } => {
                let encode = |frame: &Frame| frame.encode().into();
                let encoded: Vec<Arc<[u8]>> = frames.iter().map(encode).collect();
                for to in to {
                    for (frame, payload) in frames.iter().zip(&encoded) {
                        self.transmit(tier, to, frame, Arc::clone(payload), Route::Main, now);
                    }
                }
            }
            Action::Stream { to, within } => {
                let news = self.held_against(&to);
                self.ask(
                    tier,
                    Some(to),
                    None,
                    &Ask::Probe { news },
                    within,
                    Purpose::Probe { tier, to },
                );
            }
            Action::Accuse {
                accused,
                incarnation,
                silent,
                closed,
                quorate,
            } => {
                self.accuse(accused, incarnation, silent, closed, quorate, now);
            }
            Action::Link { to: _, up } => {
                self.count(if up { "links_up" } else { "links_down" });
                self.changed();
            }
        }
    }

    /// Queues a frame and what it looks like on the wire.
    fn transmit(
        &mut self,
        tier: Tier,
        to: NodeId,
        frame: &Frame,
        payload: Arc<[u8]>,
        route: Route,
        now: Time,
    ) {
        let pool = match tier {
            Tier::Lan => &self.lan,
            Tier::Wan => &self.wan,
        };
        let Some(peer) = pool.peer(&to) else { return };
        let contact = &peer.contact;
        // Only what makes contact carries the introduction; news and relayed answers go without.
        let contacts = matches!(frame, Frame::Ping { .. } | Frame::Ack { .. });
        let introduced = tier == Tier::Wan || peer.introduced || !contacts;
        let introduction = (!introduced).then(|| self.introduction());
        let (address, path) = match route {
            Route::Main => (contact.address, Path::Main),
            Route::Fresh(probe) => (contact.address, Path::Fresh(probe)),
            Route::FreshStream(probe) => (contact.stream, Path::Fresh(probe)),
        };
        let key = contact.key;
        self.count(frame.name());
        self.transmits.push_back(Transmit {
            tier,
            to,
            address,
            key,
            introduction,
            path,
            payload,
        });
        if tier == Tier::Wan && matches!(frame, Frame::Ping { .. }) {
            self.send_heads(to, now);
        }
    }

    /// Own record and leaf, for peers that may not know us.
    fn introduction(&self) -> Introduction {
        Introduction {
            record: Arc::clone(self.record_claim.bytes()),
            leaf: Arc::clone(&self.me.leaf),
        }
    }

    /// Makes a request, if there is room for one more.
    fn ask(
        &mut self,
        tier: Tier,
        to: Option<NodeId>,
        address: Option<SocketAddr>,
        ask: &Ask,
        timeout: Duration,
        purpose: Purpose,
    ) -> bool {
        let known = to.and_then(|id| self.stream_address(tier, &id));
        let Some(address) = address.or(known) else {
            return false;
        };
        if self.requests.len() >= MAX_REQUESTS {
            self.drop("request_table");
            return false;
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.requests.insert(id, purpose);
        self.asks.push_back(Request {
            id,
            tier,
            to,
            address,
            body: ask.encode(),
            timeout,
        });
        true
    }

    fn stream_address(&self, tier: Tier, id: &NodeId) -> Option<SocketAddr> {
        let entry = self.entry(id)?;
        match tier {
            Tier::Lan => Some(entry.record().stream()),
            Tier::Wan => entry.record().wan,
        }
    }
}
