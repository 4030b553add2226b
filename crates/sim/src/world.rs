//! The world itself: it holds the clock, the hosts and the network, and drives every process as a real driver would.
//!
//! Single-threaded, and everything random comes from one seed: the same seed gives the same world, event for event,
//! which [`World::log_hash`] shows.

use crate::{
    history::History,
    ledger::Ledger,
    lies::withheld,
    net::{HEADERS, Links, Net, SEAL},
    plan::Planned,
    queue::{Order, Queue},
    slot::{Endpoint, Process, Refusals, Slot, tick},
    streams::{Reply, Streams},
    tap::{Sent, Tap},
    traffic::{Meter, Traffic},
    trust::{Realm, SimTrust},
};
use pelago_proto::{
    federation::{Federation, Path, ProbeId, Tier, Transmit},
    identity::NodeId,
    time::Time,
    trust::{Authority, Certified, Trust},
};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// Where the calendar of every world begins, Unix seconds.
const EPOCH: u64 = 2_000_000_000;
/// The most that one datagram may take with everything the protocol's drivers put around it.
const MAX_DATAGRAM: usize = 1_200;
/// The most that one QUIC datagram carries.
const MAX_WAN_DATAGRAM: usize = 1_162;
/// An ICMP error, bytes.
const REFUSAL: usize = 56;
/// A process whose timer is due again at once this often in a row makes no progress.
const MAX_SPINS: u32 = 1_000;

/// A world in virtual time, made by a [`Plan`](crate::Plan).
#[derive(Debug)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) queue: Queue<Happening>,
    pub(crate) net: Net,
    pub(crate) slots: Vec<Slot>,
    pub(crate) names: BTreeMap<String, usize>,
    pub(crate) ids: BTreeMap<NodeId, usize>,
    pub(crate) streams: Streams,
    pub(crate) history: History,
    pub(crate) ledger: Ledger,
    /// Hosts that something was done to, as far as blame goes.
    pub(crate) disturbed: BTreeSet<usize>,
    pub(crate) realm: Arc<Realm>,
    pub(crate) lifetime: Duration,
    pub(crate) dice: ChaCha8Rng,
    /// Packets that came to nothing, by reason.
    pub(crate) drops: BTreeMap<&'static str, u64>,
    pub(crate) tap: Option<Tap>,
}

/// Something that will happen to a process. The ones with a call or a datagram wait in its inbox while it is paused.
#[derive(Debug)]
pub(crate) enum Happening {
    Datagram {
        to: usize,
        from: Sender,
        transmit: Transmit,
    },
    PortClosed {
        host: usize,
        epoch: u32,
        probe: ProbeId,
    },
    Wake {
        host: usize,
        epoch: u32,
    },
    Resume {
        host: usize,
        epoch: u32,
    },
    Stop {
        host: usize,
        epoch: u32,
    },
    /// Nothing gets out of a host or into it until then.
    Clog {
        host: usize,
        until: Time,
    },
    /// A question leaves its asker, or tries to again.
    Depart {
        call: u64,
    },
    /// It is there.
    Arrive {
        call: u64,
    },
    /// The answer leaves, or tries to again.
    Reply {
        call: u64,
        reply: Reply,
        attempt: u32,
    },
    /// It is back.
    Return {
        call: u64,
        reply: Reply,
    },
    GiveUp {
        call: u64,
    },
}

/// The process a datagram came from, as it was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    host: usize,
    epoch: u32,
    id: NodeId,
    lan_key: [u8; 32],
}

impl World {
    pub(crate) fn new(seed: u64, links: Links, lifetime: Duration) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut secret = [0; 32];
        dice.fill_bytes(&mut secret);
        Self {
            seed,
            now: Time::START,
            queue: Queue::new(),
            net: Net::new(links, dice.random()),
            slots: Vec::new(),
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            streams: Streams::default(),
            history: History::default(),
            ledger: Ledger::default(),
            disturbed: BTreeSet::new(),
            realm: Realm::new(secret, "sim.test", EPOCH),
            lifetime,
            dice,
            drops: BTreeMap::new(),
            tap: None,
        }
    }

    /// The root of trust and the calendar.
    pub fn realm(&self) -> &Arc<Realm> {
        &self.realm
    }

    pub(crate) fn add(
        &mut self,
        planned: &Planned,
        lan_seeds: Vec<SocketAddr>,
        wan_seeds: Vec<SocketAddr>,
        authorities: Arc<[Authority]>,
    ) {
        let identity = self.realm.identity(&planned.who, self.certificate_end());
        let id = SimTrust::new(&self.realm, &identity, &[], &[], [0; 32])
            .own()
            .id;
        self.net.add(planned.place);
        let host = self.slots.len();
        self.names.insert(planned.who.name.to_string(), host);
        self.ids.insert(id, host);
        self.slots.push(Slot {
            name: planned.who.name.to_string(),
            who: planned.who.clone(),
            identity,
            id,
            settings: planned.settings.clone(),
            lan_seeds,
            wan_seeds,
            authorities,
            memory: planned.settings.memory.clone(),
            kept: Vec::new(),
            up: true,
            epoch: 0,
            process: None,
            refusals: Refusals::default(),
            withholds: false,
            traffic: Traffic::default(),
            said: false,
            said_at: None,
        });
    }

    /// What a node's certificate says, whether or not anybody still trusts it.
    pub(crate) fn certified(&self, host: usize) -> Option<Arc<Certified>> {
        self.realm.read_leaf(&self.slots[host].identity.leaf).ok()
    }

    pub(crate) fn certificate_end(&self) -> u64 {
        self.realm.unix_time() + self.lifetime.as_secs()
    }

    /// Starts a process with what is on disk; a lost host comes back for it.
    pub(crate) fn start_process(&mut self, host: usize) {
        self.make_process(host);
        let now = self.now;
        let slot = &mut self.slots[host];
        if let Some(process) = &mut slot.process {
            let (lan, wan) = (slot.lan_seeds.clone(), slot.wan_seeds.clone());
            process.federation.seeds(lan, wan, now);
        }
        self.drive(host);
    }

    /// A process that knows itself and nobody else, and has not been told whom to ask.
    pub(crate) fn make_process(&mut self, host: usize) {
        let mut lan_key = [0; 32];
        let mut rng_seed = [0; 32];
        self.dice.fill_bytes(&mut lan_key);
        self.dice.fill_bytes(&mut rng_seed);
        let slot = &mut self.slots[host];
        assert!(slot.process.is_none(), "{} runs already", slot.name);
        slot.up = true;
        slot.epoch += 1;
        let mut settings = slot.settings.clone();
        settings.memory = slot.memory.clone();
        let trust = Arc::new(SimTrust::new(
            &self.realm,
            &slot.identity,
            &slot.authorities,
            &slot.kept,
            lan_key,
        ));
        let judge: Arc<dyn Trust> = Arc::<SimTrust>::clone(&trust);
        let federation = Federation::new(settings, judge, rng_seed, self.now)
            .unwrap_or_else(|error| panic!("{} does not start: {error}", slot.name));
        slot.process = Some(Process {
            federation,
            trust,
            lan_key,
            armed: Time::NEVER,
            spins: 0,
            paused: false,
            starved: false,
            inbox: VecDeque::new(),
        });
    }

    /// Lets everything happen that happens up to and including `end`.
    pub(crate) fn run_to(&mut self, end: Time) {
        while self.step(end) {}
        self.set_now(end);
    }

    /// Lets the next thing happen, if it happens by `end`.
    pub(crate) fn step(&mut self, end: Time) -> bool {
        if self.queue.next_at().is_none_or(|at| at > end) {
            return false;
        }
        if let Some((at, happening)) = self.queue.pop() {
            self.set_now(at);
            self.happen(happening);
        }
        true
    }

    fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.realm
            .set_unix_time(EPOCH + self.now.since(Time::START).as_secs());
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram { to, from, transmit } => self.arrive(to, from, transmit),
            Happening::PortClosed { host, epoch, probe } => self.port_closed(host, epoch, probe),
            Happening::Wake { host, epoch } => self.wake(host, epoch),
            Happening::Resume { host, epoch } => self.resume_process(host, epoch),
            Happening::Stop { host, epoch } => {
                if self.slots[host].epoch == epoch {
                    self.slots[host].stop();
                    self.streams.close_all(host);
                }
            }
            Happening::Clog { host, until } => self.net.clog(host, until),
            Happening::Depart { call } => self.depart(call),
            Happening::Arrive { call } => self.serve(call),
            Happening::Reply {
                call,
                reply,
                attempt,
            } => self.reply(call, reply, attempt),
            Happening::Return { call, reply } => self.give_back(call, reply),
            Happening::GiveUp { call } => self.give_up(call),
        }
    }

    /// Takes everything a process has to say, and sets its timer: the driver's half of the contract.
    pub(crate) fn drive(&mut self, host: usize) -> Time {
        self.touch(host);
        if self.process(host).is_some_and(|process| process.starved) {
            return self.drive_starved(host);
        }
        while let Some(transmit) = self
            .process(host)
            .and_then(|process| process.federation.poll_transmit())
        {
            self.send(host, transmit);
        }
        while let Some(request) = self
            .process(host)
            .and_then(|process| process.federation.poll_request())
        {
            self.ask(host, request);
        }
        while let Some(memory) = self
            .process(host)
            .and_then(|process| process.federation.poll_memory())
        {
            self.slots[host].memory = memory;
        }
        while let Some(event) = self
            .process(host)
            .and_then(|process| process.federation.poll_event())
        {
            self.heard(host, event);
        }
        self.arm(host)
    }

    /// Timers run, but whoever sends or receives waits for the processor.
    fn drive_starved(&mut self, host: usize) -> Time {
        while let Some(event) = self
            .process(host)
            .and_then(|process| process.federation.poll_event())
        {
            self.heard(host, event);
        }
        self.arm(host)
    }

    fn process(&mut self, host: usize) -> Option<&mut Process> {
        self.slots[host].process.as_mut()
    }

    /// Sets the timer if it is due earlier than what it is set to; one that is set too early only looks again. Returns when
    /// it is due.
    fn arm(&mut self, host: usize) -> Time {
        let now = self.now;
        let slot = &mut self.slots[host];
        let (epoch, Some(process)) = (slot.epoch, slot.process.as_mut()) else {
            return Time::NEVER;
        };
        let due = process.federation.poll_timeout().at;
        let at = tick(due.max(now + Duration::from_micros(1)));
        if at < process.armed {
            process.armed = at;
            self.queue
                .push(at, Order::Timer, Happening::Wake { host, epoch });
        }
        due
    }

    fn wake(&mut self, host: usize, epoch: u32) {
        let now = self.now;
        let slot = &mut self.slots[host];
        if slot.epoch != epoch {
            return;
        }
        let Some(process) = slot.process.as_mut().filter(|process| process.armed == now) else {
            return;
        };
        process.armed = Time::NEVER;
        if process.paused {
            return;
        }
        if process.federation.poll_timeout().at <= now {
            process.federation.handle_timeout(now);
            self.history.mix(now, host as u64, 1);
            let due = self.drive(host);
            self.notice_spinning(host, due);
        } else {
            self.arm(host);
        }
    }

    /// A timer that is due again as soon as it fired, over and over, is a fault of the protocol.
    fn notice_spinning(&mut self, host: usize, due: Time) {
        let now = self.now;
        let slot = &mut self.slots[host];
        let Some(process) = slot.process.as_mut() else {
            return;
        };
        process.spins = if due > now { 0 } else { process.spins + 1 };
        assert!(
            process.spins < MAX_SPINS,
            "{} makes no progress at {now:?}: {} is due again",
            slot.name,
            process.federation.poll_timeout().why
        );
    }

    /// A process goes on after a pause: first what lies in its sockets, then its timers. One that was starved first sends
    /// what it could not.
    pub(crate) fn resume_process(&mut self, host: usize, epoch: u32) {
        let slot = &mut self.slots[host];
        if slot.epoch != epoch {
            return;
        }
        let Some(process) = slot.process.as_mut().filter(|process| process.is_deaf()) else {
            return;
        };
        process.paused = false;
        if std::mem::take(&mut process.starved) {
            self.drive(host);
        }
        let Some(process) = self.process(host) else {
            return;
        };
        for arrival in std::mem::take(&mut process.inbox) {
            self.happen(arrival);
        }
        let now = self.now;
        if let Some(process) = self.process(host) {
            process.federation.handle_timeout(now);
        }
        self.drive(host);
    }

    fn send(&mut self, host: usize, transmit: Transmit) {
        if !self.slots[host].withholds {
            self.send_as_is(host, transmit);
        } else if let Some(payload) = withheld(&transmit.payload) {
            let payload = payload.into();
            self.send_as_is(
                host,
                Transmit {
                    payload,
                    ..transmit
                },
            );
        }
    }

    /// A datagram leaves a host, whatever its process would have sent.
    pub(crate) fn send_as_is(&mut self, host: usize, transmit: Transmit) {
        self.tell_tap(host, || Sent::Datagram(transmit.clone()));
        let introduced = transmit
            .introduction
            .as_ref()
            .map_or(0, |card| card.record.len() + card.leaf.len());
        let size = transmit.payload.len() + SEAL + introduced;
        let slot = &mut self.slots[host];
        let Some(process) = &slot.process else { return };
        let from = Sender {
            host,
            epoch: slot.epoch,
            id: slot.id,
            lan_key: process.lan_key,
        };
        let bytes = Meter::new(1, size + HEADERS);
        match transmit.tier {
            Tier::Lan => {
                assert!(
                    size <= MAX_DATAGRAM,
                    "{} sends {size} bytes in one datagram",
                    slot.name
                );
                slot.traffic.lan_datagram(&transmit.payload, bytes);
                if introduced > 0 {
                    slot.traffic.introductions += Meter::new(1, introduced);
                }
                let (Some(Endpoint::Lan(to) | Endpoint::Stream(to)), true) =
                    (Endpoint::at(transmit.address), transmit.tier == Tier::Lan)
                else {
                    return self.drop_packet("no such address");
                };
                if to >= self.slots.len() {
                    return self.drop_packet("no such address");
                }
                if self.net.place(host).zone != self.net.place(to).zone {
                    self.slots[host].traffic.far += bytes;
                }
                let fate = self
                    .net
                    .packet(Tier::Lan, host, to, size + HEADERS, self.now);
                if let Some(flight) = fate.again {
                    let transmit = transmit.clone();
                    self.post(flight, Happening::Datagram { to, from, transmit });
                }
                match fate.arrives {
                    Some(flight) => self.post(flight, Happening::Datagram { to, from, transmit }),
                    None => self.drop_packet("lost"),
                }
            }
            Tier::Wan => {
                assert!(
                    transmit.payload.len() <= MAX_WAN_DATAGRAM,
                    "{} sends too much in one WAN datagram",
                    slot.name
                );
                slot.traffic.wan += bytes;
                let Some(Endpoint::Wan(to)) = Endpoint::at(transmit.address) else {
                    return self.drop_packet("no such address");
                };
                match self.over_connection(host, to, size + HEADERS) {
                    Some(flight) => self.post(flight, Happening::Datagram { to, from, transmit }),
                    None => self.drop_packet("lost"),
                }
            }
        }
    }

    fn arrive(&mut self, to: usize, from: Sender, transmit: Transmit) {
        let now = self.now;
        let slot = &mut self.slots[to];
        if !slot.up {
            return self.drop_packet("host lost");
        }
        let Some(process) = slot.process.as_mut() else {
            return self.refuse(to, from, &transmit);
        };
        if process.is_deaf() {
            return process.keep(Happening::Datagram { to, from, transmit });
        }
        self.history
            .mix(now, to as u64, transmit.payload.len() as u64);
        match transmit.tier {
            Tier::Lan => {
                if Endpoint::at(transmit.address) != Some(Endpoint::Lan(to)) {
                    return self.drop_packet("not QUIC");
                }
                if transmit.key != process.lan_key {
                    return self.drop_packet("sealed for an earlier boot");
                }
                let federation = &mut process.federation;
                if federation.lan_key(from.id) != Some(from.lan_key) {
                    let Some(card) = &transmit.introduction else {
                        return self.drop_packet("unknown sender");
                    };
                    let introduced = federation.handle_introduction(&card.record, &card.leaf, now);
                    if introduced != Some((from.id, from.lan_key)) {
                        self.drive(to);
                        return self.drop_packet("introduction refused");
                    }
                }
                federation.handle_datagram(Tier::Lan, from.id, &transmit.payload, now);
                self.drive(to);
            }
            Tier::Wan => {
                if self.slots[from.host].epoch != from.epoch
                    || self.connect(Tier::Wan, from.host, to).is_err()
                {
                    return self.drop_packet("connection refused");
                }
                if let Some(process) = self.slots[to].awake() {
                    process
                        .federation
                        .handle_datagram(Tier::Wan, from.id, &transmit.payload, now);
                    self.drive(to);
                }
            }
        }
    }

    /// Nobody listens on a host that is up: it says so, if it has not said so too often, and a fresh socket hears it.
    fn refuse(&mut self, host: usize, from: Sender, transmit: &Transmit) {
        self.drop_packet("port closed");
        if transmit.tier != Tier::Lan || !self.slots[host].refusals.allow(from.host, self.now) {
            return;
        }
        let Path::Fresh(probe) = transmit.path else {
            return;
        };
        let answer = self
            .net
            .packet(Tier::Lan, host, from.host, REFUSAL, self.now);
        if let Some(flight) = answer.arrives {
            self.post(
                flight,
                Happening::PortClosed {
                    host: from.host,
                    epoch: from.epoch,
                    probe,
                },
            );
        }
    }

    fn port_closed(&mut self, host: usize, epoch: u32, probe: ProbeId) {
        let now = self.now;
        let slot = &mut self.slots[host];
        if slot.epoch != epoch {
            return;
        }
        let Some(process) = slot.process.as_mut() else {
            return;
        };
        if process.is_deaf() {
            return process.keep(Happening::PortClosed { host, epoch, probe });
        }
        process.federation.handle_port_closed(probe, now);
        self.drive(host);
    }

    /// Lets something happen after a while.
    pub(crate) fn post(&mut self, after: Duration, happening: Happening) {
        self.queue.push(self.now + after, Order::Arrival, happening);
    }

    pub(crate) fn drop_packet(&mut self, why: &'static str) {
        *self.drops.entry(why).or_default() += 1;
    }
}
