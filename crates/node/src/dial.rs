//! Dialling: one dial per target at a time, backing off after failures, and not too many in all.
//!
//! A datacenter whose certificates ran out must not saturate anybody's uplink with handshakes.

use crate::{
    admit::allowed,
    count::Refused,
    intro,
    links::{Link, close},
    peer::{self, Refuse},
    quic::{HANDSHAKE, Quic, close_refused},
    streams::{self, StreamError},
    trust::Alpn,
};
use pelago_proto::{
    federation::{RequestError, Tier},
    identity::NodeId,
};
use quinn::{Connection, ConnectionError};
use rand::RngExt;
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Handshakes that a node begins within any second, of both pools together.
const PER_SECOND: usize = 20;
/// How many of these a server keeps for the WAN: neither pool waits for the other's failures.
const WAN_PER_SECOND: usize = 12;
/// Targets whose failures are remembered.
const TARGETS: usize = 1024;

/// What is known of dialling, per target.
#[derive(Debug)]
pub(crate) struct Dials {
    targets: Mutex<HashMap<Target, Arc<Dial>>>,
    per_second: usize,
    /// When the latest began, at most `per_second` of them, all targets together.
    turns: tokio::sync::Mutex<VecDeque<tokio::time::Instant>>,
    /// Handshakes begun.
    begun: AtomicU64,
}

/// Who or, for seeds, where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Node(NodeId, SocketAddr),
    Address(SocketAddr),
}

#[derive(Debug, Default)]
struct Dial {
    /// Held by whoever dials.
    busy: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    failures: u32,
    not_before: Option<Instant>,
    error: Option<String>,
}

impl Dials {
    /// For a pool of a node that is a server or not.
    pub(crate) fn new(tier: Tier, server: bool) -> Self {
        let per_second = match (tier, server) {
            (Tier::Wan, _) => WAN_PER_SECOND,
            (Tier::Lan, true) => PER_SECOND - WAN_PER_SECOND,
            (Tier::Lan, false) => PER_SECOND,
        };
        Self {
            targets: Mutex::default(),
            per_second,
            turns: tokio::sync::Mutex::default(),
            begun: AtomicU64::new(0),
        }
    }

    /// Whether nobody dials this target just now and it need not wait.
    pub(crate) fn idle(&self, to: Option<NodeId>, address: SocketAddr) -> bool {
        self.lock()
            .get(&Target::new(to, address))
            .is_none_or(|dial| {
                let waits = lock(&dial.state)
                    .not_before
                    .is_some_and(|at| at > Instant::now());
                !waits && dial.busy.try_lock().is_ok()
            })
    }

    /// Whether a dial to this address is under way, and the last failure.
    pub(crate) fn status(&self, to: Option<NodeId>, address: SocketAddr) -> (bool, Option<String>) {
        self.lock()
            .get(&Target::new(to, address))
            .map_or((false, None), |dial| {
                let error = lock(&dial.state).error.clone();
                (dial.busy.try_lock().is_err(), error)
            })
    }

    /// Targets remembered.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Handshakes begun so far, first contacts among them.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    fn dial(&self, target: Target) -> Arc<Dial> {
        let mut targets = self.lock();
        if targets.len() >= TARGETS {
            let now = Instant::now();
            targets.retain(|_, dial| {
                Arc::strong_count(dial) > 1
                    || lock(&dial.state).not_before.is_some_and(|at| at > now)
            });
        }
        if targets.len() >= TARGETS {
            // All of them failed within seconds. Forgetting one only lets it be tried a little early.
            let victim = targets
                .iter()
                .find(|(_, d)| Arc::strong_count(d) == 1)
                .map(|(t, _)| *t);
            victim.and_then(|t| targets.remove(&t));
        }
        targets.entry(target).or_default().clone()
    }

    /// Waits for a turn, first come, first served. As many as a second has may go at once after a quiet time. Whoever gives
    /// up while waiting takes no turn from anybody.
    async fn turn(&self) {
        let mut turns = self.turns.lock().await;
        while turns.len() >= self.per_second {
            if let Some(oldest) = turns.front() {
                tokio::time::sleep_until(*oldest + Duration::from_secs(1)).await;
            }
            turns.pop_front();
        }
        turns.push_back(tokio::time::Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Arc<Dial>>> {
        lock(&self.targets)
    }
}

impl Target {
    fn new(to: Option<NodeId>, address: SocketAddr) -> Self {
        to.map_or(Self::Address(address), |id| Self::Node(id, address))
    }
}

impl Quic {
    /// A link that is up: a live one, or one dialled now.
    pub(crate) async fn link(
        self: &Arc<Self>,
        to: Option<NodeId>,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<Link, RequestError> {
        // On the WAN a server may publish another address than its packets come from.
        let live = || match to {
            None => self.links.at(address),
            Some(id) if self.tier == Tier::Wan => self.links.get(id),
            Some(id) => self.links.get_at(id, address),
        };
        if let Some(link) = live() {
            return Ok(link);
        }
        if !allowed(&self.allow, address.ip()) {
            return Err(RequestError::Refused(format!(
                "{address} is outside the allowed networks"
            )));
        }
        let started = Instant::now();
        let dial = self.dials.dial(Target::new(to, address));
        let _busy = dial.busy.lock().await;
        if let Some(link) = live() {
            return Ok(link);
        }
        // Members of one's own LAN are dialled rarely, and at moments that the protocol chose.
        let backs_off = self.tier == Tier::Wan || to.is_none();
        let State {
            not_before, error, ..
        } = lock(&dial.state).clone();
        let wait = not_before.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        });
        if backs_off && started.elapsed() + wait > limit {
            let error = error.unwrap_or_default();
            return Err(RequestError::NoAnswer(format!(
                "not dialled again yet: {error}"
            )));
        }
        let wait = if backs_off { wait } else { Duration::ZERO };
        tokio::time::sleep(wait).await;
        let result = self.dial(to, address).await;
        let mut state = lock(&dial.state);
        match &result {
            Ok(_) => *state = State::default(),
            Err(error) => {
                // Half a second, doubling up to three, each between half of that and all of it.
                let longest =
                    Duration::from_millis(1000).saturating_mul(1 << state.failures.min(3));
                let wait = longest
                    .min(Duration::from_secs(3))
                    .mul_f64(rand::rng().random_range(0.5..1.0));
                let failures = state.failures.saturating_add(1);
                *state = State {
                    failures,
                    not_before: Some(Instant::now() + wait),
                    error: Some(error.to_string()),
                };
            }
        }
        result
    }

    /// Dials strictly; if authorities are unknown on either side, exchanges those and dials strictly again.
    async fn dial(
        self: &Arc<Self>,
        to: Option<NodeId>,
        address: SocketAddr,
    ) -> Result<Link, RequestError> {
        let first = match self.dial_once(to, address).await {
            Err(refuse) if self.tier == Tier::Wan && refuse.curable() => refuse,
            other => return self.outcome(other, address),
        };
        match intro::ask(self, address).await {
            Ok(()) => {}
            Err(refuse) => {
                tracing::debug!(%address, %refuse, "first contact brought nothing");
                return self.outcome(Err(first), address);
            }
        }
        let second = self.dial_once(to, address).await;
        self.outcome(second, address)
    }

    fn outcome(
        &self,
        result: Result<Link, Refuse>,
        address: SocketAddr,
    ) -> Result<Link, RequestError> {
        result.map_err(|refuse| {
            self.counts.handshakes_failed.fetch_add(1, Relaxed);
            match refuse.reason {
                Refused::Timeout => {
                    self.counts.refused.add(Refused::Timeout, 1);
                    RequestError::NoAnswer(refuse.detail)
                }
                Refused::Other => RequestError::NoAnswer(refuse.detail),
                reason => {
                    self.counts.refuse(reason, address, &refuse);
                    RequestError::Refused(refuse.detail)
                }
            }
        })
    }

    async fn dial_once(
        self: &Arc<Self>,
        to: Option<NodeId>,
        address: SocketAddr,
    ) -> Result<Link, Refuse> {
        let alpn = if self.tier == Tier::Lan {
            Alpn::Lan
        } else {
            Alpn::Wan
        };
        let connection = self.connect(alpn, address).await?;
        self.counts.handshakes.fetch_add(1, Relaxed);
        let peer = peer::bind(&connection, &self.trust, self.tier, to)
            .inspect_err(|r| close_refused(&connection, r))?;
        let id = peer.certified.id;
        // The handshake of the dialling side ends before the other side has judged it: only an answer shows that both
        // accepted.
        let hello = timeout(
            HANDSHAKE,
            streams::request(&connection, streams::HELLO, &[]),
        )
        .await;
        match hello.unwrap_or(Err(StreamError::Timeout)) {
            Ok(_) => {}
            Err(StreamError::Connection(error)) => return Err(rejected(&error)),
            Err(StreamError::Timeout) => {
                return Err(Refuse::new(Refused::Timeout, "no answer in time"));
            }
            Err(error) => return Err(Refuse::new(Refused::Other, error.to_string())),
        }
        let full = || Refuse::new(Refused::TooMany, "too many connections with that node");
        let link = self.enter(connection, peer, true).ok_or_else(full)?;
        self.links.completed(id, &link.connection);
        Ok(link)
    }

    /// A handshake with whoever is there, within its deadline.
    pub(crate) async fn connect(
        &self,
        alpn: Alpn,
        address: SocketAddr,
    ) -> Result<Connection, Refuse> {
        let other = |e: String| Refuse::new(Refused::Other, e);
        let config = self
            .trust
            .client_config(alpn, crate::quic::transport(self.tier))
            .map_err(other)?;
        self.dials.turn().await;
        self.dials.begun.fetch_add(1, Relaxed);
        let connecting = self
            .endpoint
            .connect_with(config, address, "pelago.invalid")
            .map_err(|e| other(e.to_string()))?;
        match timeout(HANDSHAKE, connecting).await {
            Err(_) => Err(Refuse::new(Refused::Timeout, "the handshake took too long")),
            Ok(Err(error)) => Err(rejected(&error)),
            Ok(Ok(connection)) => Ok(connection),
        }
    }
}

/// What it means that a connection ended while it was being made.
fn rejected(error: &ConnectionError) -> Refuse {
    match error {
        ConnectionError::ApplicationClosed(closed) => {
            let label = String::from_utf8_lossy(&closed.reason).into_owned();
            let code = u64::from(closed.error_code);
            let unknown_here = code == u64::from(close::UNKNOWN_ISSUER);
            if unknown_here || code == u64::from(close::REFUSED) {
                Refuse {
                    unknown_here,
                    ..Refuse::new(Refused::ByPeer, format!("refused by the peer: {label}"))
                }
            } else {
                Refuse::new(Refused::Other, format!("closed by the peer: {label}"))
            }
        }
        error => peer::broken(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn dials_are_limited_in_all() {
        for (tier, server) in [(Tier::Lan, false), (Tier::Lan, true), (Tier::Wan, true)] {
            let dials = Dials::new(tier, server);
            let first = tokio::time::Instant::now();
            for _ in 0..dials.per_second {
                dials.turn().await;
            }
            assert_eq!(first.elapsed(), Duration::ZERO, "at once");
            dials.turn().await;
            assert!(first.elapsed() >= Duration::from_secs(1), "then no more");
        }
        let both = [Tier::Lan, Tier::Wan].map(|tier| Dials::new(tier, true).per_second);
        assert_eq!(both.iter().sum::<usize>(), PER_SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_takes_no_turn() {
        let dials = Dials::new(Tier::Lan, true);
        let first = tokio::time::Instant::now();
        for _ in 0..dials.per_second {
            dials.turn().await;
        }
        for _ in 0..50 {
            // Those that come first would else push everybody after them into the far future.
            let impatient = timeout(Duration::from_millis(10), dials.turn());
            assert!(impatient.await.is_err());
        }
        dials.turn().await;
        assert!(first.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn remembered_targets_are_bounded() {
        let dials = Dials::new(Tier::Wan, true);
        for port in 0..5000u16 {
            let dial = dials.dial(Target::Address(([10, 0, 0, 1], port).into()));
            lock(&dial.state).not_before = Some(Instant::now() + Duration::from_secs(60));
        }
        assert!(dials.len() <= TARGETS);
    }
}
