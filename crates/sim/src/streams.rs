//! Questions and answers over QUIC streams, and the connections below them.
//!
//! The model: a connection is set up once (two and a half round trips: the dialler's address is proven first, then both
//! certificates are judged) and kept while both processes live. A packet lost costs a retransmission, a cut costs retries until the question's own timeout. A
//! connection to a process that is gone swallows everything until the idle timeout notices.

use crate::{
    net::{FIRST_FLIGHT, HANDSHAKE, RETRY, STREAM, packets},
    queue::Order,
    slot::{Endpoint, IDLE_TIMEOUT},
    tap::Sent,
    traffic::Meter,
    world::{Happening, World},
};
use pelago_proto::{
    federation::{MAX_MESSAGE, Peer, Request, RequestError, RequestId, Tier},
    identity::{NodeId, Role},
    time::Time,
    trust::{Refusal, Trust},
};
use std::{collections::BTreeMap, time::Duration};

/// What comes back: the answerer and its answer, or why there is none.
pub(crate) type Reply = Result<(Peer, Vec<u8>), RequestError>;

/// First wait for an answer to a handshake, while no round trip was measured.
const HANDSHAKE_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// Connections by tier and ends (lower host first), and questions under way.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    connections: BTreeMap<(Tier, usize, usize), Connection>,
    calls: BTreeMap<u64, Call>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    /// The processes at its ends.
    epochs: (u32, u32),
    heard: Time,
}

#[derive(Debug)]
struct Call {
    id: RequestId,
    tier: Tier,
    client: usize,
    client_epoch: u32,
    server: usize,
    to: Option<NodeId>,
    body: Vec<u8>,
    attempts: u32,
    /// Whether the two told each other their authorities already.
    introduced: bool,
}

enum Line {
    Open,
    /// Its other end is gone, which will be noticed at this moment.
    Hanging(Time),
    None,
}

impl Streams {
    /// A process said goodbye to all its connections.
    pub(crate) fn close_all(&mut self, host: usize) {
        self.connections
            .retain(|(_, a, b), _| *a != host && *b != host);
    }
}

impl World {
    /// A process asks something.
    pub(crate) fn ask(&mut self, client: usize, request: Request) {
        self.tell_tap(client, || {
            Sent::Question(request.tier, request.body.clone())
        });
        let slot = &self.slots[client];
        assert!(
            request.body.len() <= MAX_MESSAGE,
            "{} asks with {} bytes",
            slot.name,
            request.body.len()
        );
        let client_epoch = slot.epoch;
        self.streams.last += 1;
        let call = self.streams.last;
        let server = match (request.tier, Endpoint::at(request.address)) {
            (Tier::Lan, Some(Endpoint::Stream(host))) | (Tier::Wan, Some(Endpoint::Wan(host))) => {
                host
            }
            _ => usize::MAX,
        };
        self.streams.calls.insert(
            call,
            Call {
                id: request.id,
                tier: request.tier,
                client,
                client_epoch,
                server,
                to: request.to,
                body: request.body,
                attempts: 0,
                introduced: false,
            },
        );
        self.queue.push(
            self.now + request.timeout,
            Order::Timer,
            Happening::GiveUp { call },
        );
        if server < self.slots.len() {
            self.depart(call);
        }
    }

    /// A question sets out, if there is a way; otherwise it tries again later.
    pub(crate) fn depart(&mut self, number: u64) {
        let Some(call) = self.streams.calls.get_mut(&number) else {
            return;
        };
        if self.slots[call.client].epoch != call.client_epoch
            || self.slots[call.client].process.is_none()
        {
            self.streams.calls.remove(&number);
            return;
        }
        call.attempts += 1;
        let (tier, client, server, bytes, attempts) = (
            call.tier,
            call.client,
            call.server,
            call.body.len(),
            call.attempts,
        );
        let (set_up, retry) = match self.line(tier, client, server) {
            Line::Open => (
                Some(Duration::ZERO),
                self.net.retransmission(client, server),
            ),
            Line::Hanging(until) => {
                let reply = Err(RequestError::NoAnswer("connection lost".to_owned()));
                self.queue.push(
                    until,
                    Order::Arrival,
                    Happening::Return {
                        call: number,
                        reply,
                    },
                );
                return;
            }
            Line::None => (self.set_up(tier, client, server), HANDSHAKE_RETRY),
        };
        self.charge_stream(tier, client, bytes);
        match set_up.and_then(|set_up| {
            Some(set_up + self.net.stream(tier, client, server, bytes, self.now)?)
        }) {
            Some(flight) => self.post(flight, Happening::Arrive { call: number }),
            None => self.post(backoff(retry, attempts), Happening::Depart { call: number }),
        }
    }

    /// A question is there.
    pub(crate) fn serve(&mut self, number: u64) {
        let now = self.now;
        let Some(call) = self.streams.calls.get(&number) else {
            return;
        };
        let (tier, client, server, to) = (call.tier, call.client, call.server, call.to);
        let client_is_there = self.slots[client].epoch == call.client_epoch;
        let Some(process) = self.slots[server]
            .process
            .as_mut()
            .filter(|_| client_is_there)
        else {
            return;
        };
        if process.is_deaf() {
            return process.keep(Happening::Arrive { call: number });
        }
        let refused = |refusal: Refusal| Err(RequestError::Refused(refusal.0.to_owned()));
        let reply = match self.connect(tier, client, server) {
            Err(Refusal::UNKNOWN_ISSUER) => {
                // The connection carried authorities and closed; the next one is judged strictly.
                let again = self
                    .streams
                    .calls
                    .get_mut(&number)
                    .is_some_and(|call| !std::mem::replace(&mut call.introduced, true));
                if again {
                    let redial = self.net.round_trip(client, server) * 2;
                    return self.post(redial, Happening::Arrive { call: number });
                }
                refused(Refusal::UNKNOWN_ISSUER)
            }
            Err(refusal) => refused(refusal),
            Ok((_, peer)) if to.is_some_and(|to| to != peer.certified.id) => {
                refused(Refusal("another_identity"))
            }
            Ok((asker, answerer)) => {
                let (Some(call), Some(process)) =
                    (self.streams.calls.get(&number), self.slots[server].awake())
                else {
                    return;
                };
                let answer = process
                    .federation
                    .handle_request(tier, &asker, &call.body, now);
                self.history.mix(now, server as u64, answer.len() as u64);
                self.tell_tap(server, || Sent::Answer(tier, answer.clone()));
                self.drive(server);
                assert!(
                    answer.len() <= MAX_MESSAGE,
                    "{} answers {} bytes",
                    self.slots[server].name,
                    answer.len()
                );
                if answer.is_empty() || self.slots[server].withholds {
                    Err(RequestError::NoAnswer("stream reset".to_owned()))
                } else {
                    Ok((answerer, answer))
                }
            }
        };
        self.reply(number, reply, 0);
    }

    /// An answer sets out, or tries to again.
    pub(crate) fn reply(&mut self, number: u64, reply: Reply, attempt: u32) {
        let Some(call) = self.streams.calls.get(&number) else {
            return;
        };
        let (tier, client, server) = (call.tier, call.client, call.server);
        if self.slots[server].process.is_none() {
            return;
        }
        let bytes = reply.as_ref().map_or(0, |(_, answer)| answer.len());
        self.charge_stream(tier, server, bytes);
        match self.net.stream(tier, server, client, bytes, self.now) {
            Some(flight) => self.post(
                flight,
                Happening::Return {
                    call: number,
                    reply,
                },
            ),
            None => {
                let retry = backoff(self.net.retransmission(server, client), attempt + 1);
                self.post(
                    retry,
                    Happening::Reply {
                        call: number,
                        reply,
                        attempt: attempt + 1,
                    },
                );
            }
        }
    }

    /// An answer is back.
    pub(crate) fn give_back(&mut self, number: u64, reply: Reply) {
        let now = self.now;
        let Some(call) = self.streams.calls.get(&number) else {
            return;
        };
        let (client, id) = (call.client, call.id);
        let epoch_fits = self.slots[client].epoch == call.client_epoch;
        let Some(process) = self.slots[client].process.as_mut().filter(|_| epoch_fits) else {
            self.streams.calls.remove(&number);
            return;
        };
        if process.is_deaf() {
            return process.keep(Happening::Return {
                call: number,
                reply,
            });
        }
        self.streams.calls.remove(&number);
        let size = reply.as_ref().map_or(0, |(_, answer)| answer.len());
        process.federation.handle_response(id, reply, now);
        self.history.mix(now, client as u64, size as u64);
        self.drive(client);
    }

    /// The asker has waited long enough.
    pub(crate) fn give_up(&mut self, number: u64) {
        let Some(call) = self.streams.calls.get(&number) else {
            return;
        };
        let client = call.client;
        let paused = self.slots[client]
            .process
            .as_mut()
            .filter(|process| process.is_deaf());
        match paused {
            Some(process) => process.keep(Happening::GiveUp { call: number }),
            None => self.give_back(number, Err(RequestError::NoAnswer("timed out".to_owned()))),
        }
    }

    /// How long a WAN datagram takes, a new connection included if there is none; `None` if it gets nowhere.
    pub(crate) fn over_connection(
        &mut self,
        from: usize,
        to: usize,
        bytes: usize,
    ) -> Option<Duration> {
        if to >= self.slots.len() {
            return None;
        }
        let set_up = match self.line(Tier::Wan, from, to) {
            Line::Open => Duration::ZERO,
            Line::Hanging(_) => return None,
            Line::None => self.set_up(Tier::Wan, from, to)?,
        };
        let fate = self.net.packet(Tier::Wan, from, to, bytes, self.now);
        Some(set_up + fate.arrives?)
    }

    /// Both ends judge each other. An unknown authority is told on the way, so that a second try may succeed.
    pub(crate) fn connect(
        &mut self,
        tier: Tier,
        client: usize,
        server: usize,
    ) -> Result<(Peer, Peer), Refusal> {
        let peer = |world: &Self, judge: usize, whom: usize| {
            let trust = |host: usize| {
                world.slots[host]
                    .process
                    .as_ref()
                    .map(|process| &process.trust)
            };
            let (Some(judge), Some(whom)) = (trust(judge), trust(whom)) else {
                return Err(Refusal("gone"));
            };
            Ok(Peer {
                certified: judge.certify(&whom.own().leaf)?,
            })
        };
        let (asker, answerer) = (peer(self, server, client), peer(self, client, server));
        for (judged, judge, whom) in [(&asker, server, client), (&answerer, client, server)] {
            if *judged == Err(Refusal::UNKNOWN_ISSUER) {
                self.tell_authority(whom, judge);
            }
        }
        let (asker, answerer) = (asker?, answerer?);
        let (a, b) = (&asker.certified, &answerer.certified);
        match tier {
            Tier::Lan if a.datacenter != b.datacenter => return Err(Refusal("wrong_datacenter")),
            Tier::Wan if a.role != Role::Server || b.role != Role::Server => {
                return Err(Refusal("wrong_role"));
            }
            Tier::Lan | Tier::Wan => {}
        }
        let key = ends(tier, client, server);
        let epochs = (self.slots[key.1].epoch, self.slots[key.2].epoch);
        self.streams.connections.insert(
            key,
            Connection {
                epochs,
                heard: self.now,
            },
        );
        Ok((asker, answerer))
    }

    fn tell_authority(&mut self, whose: usize, to: usize) {
        let datacenter = &self.slots[whose].who.datacenter;
        let Some(teller) = &self.slots[whose].process else {
            return;
        };
        let Some(authority) = teller
            .trust
            .authorities()
            .into_iter()
            .find(|one| one.datacenter == *datacenter)
        else {
            return;
        };
        let now = self.now;
        let Some(learner) = self.slots[to].awake() else {
            return;
        };
        if learner
            .trust
            .admit_authority(&authority.certificate, &authority.crl)
            == Ok(true)
        {
            learner.federation.handle_trust_changed(now);
            self.drive(to);
        }
    }

    fn line(&self, tier: Tier, a: usize, b: usize) -> Line {
        let key = ends(tier, a, b);
        let Some(connection) = self.streams.connections.get(&key) else {
            return Line::None;
        };
        let noticed = connection.heard + IDLE_TIMEOUT;
        let alive = |host: usize| self.slots[host].process.is_some();
        if connection.epochs == (self.slots[key.1].epoch, self.slots[key.2].epoch)
            && alive(a)
            && alive(b)
        {
            Line::Open
        } else if self.own_epoch(key, connection, a) && noticed > self.now {
            Line::Hanging(noticed)
        } else {
            Line::None
        }
    }

    /// Whether the connection belongs to the process that runs at `host` now.
    fn own_epoch(&self, key: (Tier, usize, usize), connection: &Connection, host: usize) -> bool {
        let epoch = if key.1 == host {
            connection.epochs.0
        } else {
            connection.epochs.1
        };
        self.slots[host].epoch == epoch
    }

    /// How long a new connection takes; `None` if there is nobody to talk to.
    fn set_up(&mut self, tier: Tier, client: usize, server: usize) -> Option<Duration> {
        self.charge_handshake(tier, client, FIRST_FLIGHT);
        let mut took = self.net.stream(tier, client, server, 0, self.now)?;
        self.slots[server].process.as_ref()?;
        self.charge_handshake(tier, server, RETRY);
        self.charge_handshake(tier, client, HANDSHAKE);
        self.charge_handshake(tier, server, HANDSHAKE);
        for (from, to) in [(server, client), (client, server)].repeat(2) {
            took += self.net.stream(tier, from, to, 0, self.now)?;
        }
        Some(took)
    }

    fn charge_handshake(&mut self, tier: Tier, host: usize, bytes: usize) {
        self.charge(tier, host, Meter::new(packets(bytes), bytes));
    }

    fn charge_stream(&mut self, tier: Tier, host: usize, bytes: usize) {
        let packets = packets(bytes);
        self.charge(tier, host, Meter::new(packets, bytes + packets * STREAM));
    }

    fn charge(&mut self, tier: Tier, host: usize, sent: Meter) {
        let traffic = &mut self.slots[host].traffic;
        match tier {
            Tier::Lan => traffic.lan_streams += sent,
            Tier::Wan => traffic.wan_streams += sent,
        }
    }
}

fn ends(tier: Tier, a: usize, b: usize) -> (Tier, usize, usize) {
    (tier, a.min(b), a.max(b))
}

fn backoff(first: Duration, attempt: u32) -> Duration {
    (first * 2u32.saturating_pow(attempt.saturating_sub(1).min(10))).min(LONGEST_RETRY)
}
