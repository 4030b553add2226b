//! The one task that owns the protocol: it brings what arrives, carries what leaves, and publishes what is known.
//!
//! Sockets and queue are drained, within bounds, before a timer fires, and the clock is read again after that: an answer
//! that lies unread in a socket is not a missing answer.

use crate::{
    clock::Clock,
    count::{Counts, Dropped},
    inputs::{Command, Input, Inputs, Queued},
    links::close,
    publish::Published,
    quic::{DatagramFate, Quic},
    udp::{Members, Udp},
    upkeep::Upkeep,
};
use pelago_proto::{
    federation::{Federation, Memory, Request, RequestError, Tier, Transmit},
    identity::NodeId,
    time::Time,
    view::EventKind,
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Datagrams and messages taken in before timers get their turn.
const BATCH: usize = 256;
/// Views are published at most this often.
const PUBLISH: Duration = Duration::from_millis(20);
/// Counters are published this often.
const COUNT: Duration = Duration::from_secs(1);
/// Requests of ours under way.
const REQUESTS: usize = 256;
/// How long a goodbye is spread before the node stops.
const GOODBYE: Duration = Duration::from_millis(300);

/// The protocol and everything it is driven with.
pub(crate) struct Driver {
    pub(crate) federation: Federation,
    pub(crate) clock: Clock,
    pub(crate) udp: Udp,
    pub(crate) lan: Arc<Quic>,
    pub(crate) wan: Option<Arc<Quic>>,
    pub(crate) inputs: Inputs,
    pub(crate) queue: mpsc::Receiver<Queued>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) published: Arc<Published>,
    pub(crate) memory: watch::Sender<Memory>,
    pub(crate) upkeep: Arc<Upkeep>,
    pub(crate) stop: CancellationToken,
    pub(crate) state: State,
}

/// What the driver remembers between rounds.
pub(crate) struct State {
    requests: Arc<Semaphore>,
    generation: u64,
    /// Generation of whom we trust when it was last acted upon.
    trust: u64,
    published: Time,
    counted: Time,
    leaving: Option<(Time, oneshot::Sender<()>)>,
    #[cfg(feature = "hostile")]
    pub(crate) mask: crate::hostile::Mask,
}

impl State {
    pub(crate) fn new(federation: &Federation, trust: u64, now: Time) -> Self {
        let requests = Arc::new(Semaphore::new(REQUESTS));
        Self {
            requests,
            generation: federation.generation(),
            trust,
            published: now,
            counted: now,
            leaving: None,
            #[cfg(feature = "hostile")]
            mask: crate::hostile::Mask::default(),
        }
    }
}

/// The protocol as the datagram checks see it, at one moment.
struct Now<'a>(&'a mut Federation, Clock);

impl Members for Now<'_> {
    fn lan_key(&self, from: NodeId) -> Option<[u8; 32]> {
        self.0.lan_key(from)
    }
    fn introduce(&mut self, record: &[u8], leaf: &[u8]) -> Option<(NodeId, [u8; 32])> {
        self.0.handle_introduction(record, leaf, self.1.now())
    }
    fn receive(&mut self, from: NodeId, payload: &[u8]) {
        self.0
            .handle_datagram(Tier::Lan, from, payload, self.1.now());
    }
}

impl Driver {
    /// Runs until stopped.
    pub(crate) async fn run(mut self) {
        let socket = self.udp.socket();
        loop {
            self.flush();
            self.publish();
            let wake = self.clock.instant(self.deadline());
            tokio::select! {
                () = self.stop.cancelled() => break,
                ready = socket.readable() => if ready.is_err() {
                    // Nothing sensible is left to do with a broken socket but to go on slowly without it.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                },
                queued = self.queue.recv() => match queued {
                    Some(queued) => self.input(queued),
                    None => break,
                },
                () = tokio::time::sleep_until(wake) => {
                    // Lets the QUIC tasks hand over what has arrived by now.
                    tokio::task::yield_now().await;
                }
            }
            self.drain();
            let now = self.clock.now();
            let due = self.federation.poll_timeout();
            if due.at <= now {
                tracing::trace!(
                    why = due.why,
                    late_us = now.since(due.at).as_micros(),
                    "due"
                );
                self.federation.handle_timeout(now);
            }
            if self.said_goodbye(now) {
                break;
            }
        }
        self.flush();
    }

    /// When to wake up without anything arriving.
    fn deadline(&self) -> Time {
        let mut at = self
            .federation
            .poll_timeout()
            .at
            .min(self.state.counted + COUNT);
        if self.federation.generation() != self.state.generation {
            at = at.min(self.state.published + PUBLISH);
        }
        if let Some((until, _)) = &self.state.leaving {
            at = at.min(*until);
        }
        at
    }

    fn drain(&mut self) {
        for _ in 0..BATCH {
            if !self.udp.receive(&mut Now(&mut self.federation, self.clock)) {
                break;
            }
        }
        for _ in 0..BATCH {
            let Ok(queued) = self.queue.try_recv() else {
                break;
            };
            self.input(queued);
        }
    }

    fn input(&mut self, queued: Queued) {
        let now = self.clock.now();
        match queued.input {
            Input::Datagram { from, payload } => {
                self.federation
                    .handle_datagram(Tier::Wan, from, &payload, now)
            }
            Input::Request {
                tier,
                peer,
                body,
                answer,
            } => {
                self.counts.requests_in.fetch_add(1, Relaxed);
                let reply = self.federation.handle_request(tier, &peer, &body, now);
                #[cfg(feature = "hostile")]
                let reply = self.state.mask.answers(tier, &body, reply);
                // Whoever asked may be gone by now.
                let _ = answer.send(reply);
            }
            Input::Response { id, result } => self.federation.handle_response(id, result, now),
            Input::PortClosed(probe) => self.federation.handle_port_closed(probe, now),
            Input::Command(command) => self.command(command, now),
        }
    }

    fn command(&mut self, command: Command, now: Time) {
        match command {
            Command::Seeds { lan, wan } => self.federation.seeds(lan, wan, now),
            Command::TrustChanged => self.federation.handle_trust_changed(now),
            Command::Health(health) => self.federation.set_health(health, now),
            Command::Evidence(member, answer) => {
                let _ = answer.send(self.federation.evidence(member, now));
            }
            Command::WanPeers(answer) => {
                let _ = answer.send(self.federation.wan_peers());
            }
            Command::Remove(item, answer) => {
                let _ = answer.send(self.federation.hand_in_removal(&item, now));
            }
            Command::Revoke(crl, answer) => {
                let _ = answer.send(self.federation.hand_in_list(&crl, now));
            }
            #[cfg(feature = "hostile")]
            Command::Act(act) => act.run(self, now),
            Command::Leave(answer) => {
                self.federation.leave(now);
                self.state.leaving = Some((now + GOODBYE, answer));
            }
        }
    }

    fn said_goodbye(&mut self, now: Time) -> bool {
        let over = self
            .state
            .leaving
            .as_ref()
            .is_some_and(|(until, _)| *until <= now);
        if over && let Some((_, answer)) = self.state.leaving.take() {
            // Answered after the last view and events are out.
            self.flush();
            self.show();
            let _ = answer.send(());
        }
        over
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.federation.poll_transmit() {
            #[cfg(feature = "hostile")]
            let Some(transmit) = self.state.mask.says(transmit) else {
                continue;
            };
            self.transmit(transmit);
        }
        while let Some(request) = self.federation.poll_request() {
            self.request(request);
        }
        if self.lan.trust.generation() != self.state.trust {
            self.state.trust = self.lan.trust.generation();
            self.upkeep.trust_moved();
        }
        while let Some(memory) = self.federation.poll_memory() {
            self.memory.send_replace(memory);
        }
        self.counts
            .queue
            .fetch_max(self.inputs.waiting() as u64, Relaxed);
    }

    pub(crate) fn transmit(&mut self, transmit: Transmit) {
        match transmit.tier {
            Tier::Lan => self.udp.transmit(transmit),
            Tier::Wan => self.transmit_wan(transmit),
        }
    }

    fn transmit_wan(&self, transmit: Transmit) {
        let Some(wan) = &self.wan else { return };
        let reason = match wan.datagram(transmit.to, transmit.address, transmit.payload) {
            DatagramFate::Sent => return,
            DatagramFate::NoLink => Dropped::NoLink,
            DatagramFate::TooLarge => Dropped::TooLarge,
        };
        // A link that is not up yet is daily business, not worth a line.
        self.counts.dropped.add(reason, 1);
    }

    fn request(&mut self, request: Request) {
        self.counts.requests_out.fetch_add(1, Relaxed);
        let quic = if request.tier == Tier::Lan {
            Some(self.lan.clone())
        } else {
            self.wan.clone()
        };
        let (Some(quic), Ok(permit)) = (quic, self.state.requests.clone().try_acquire_owned())
        else {
            let error = RequestError::NoAnswer("too many requests under way".into());
            self.federation
                .handle_response(request.id, Err(error), self.clock.now());
            return;
        };
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let Request {
                id,
                to,
                address,
                body,
                timeout,
                ..
            } = request;
            let result = quic.request(to, address, &body, timeout).await;
            if let Err(error) = &result {
                tracing::debug!(%address, %error, "request failed");
            }
            // Only a node that stops refuses it.
            let _ = inputs.send(Input::Response { id, result }).await;
            drop(permit);
        });
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        if self.federation.generation() != self.state.generation
            && now >= self.state.published + PUBLISH
        {
            self.show();
        }
        if now >= self.state.counted + COUNT {
            self.state.counted = now;
            self.published
                .counts
                .store(Arc::new(self.federation.counts()));
        }
    }

    /// Whoever is removed, or whose certificate is revoked, loses its connections at once, or all of ours if that is us.
    fn cut_off(&self, member: Option<NodeId>) {
        let all = member == Some(self.federation.me());
        for quic in [Some(&self.lan), self.wan.as_ref()].into_iter().flatten() {
            for link in quic.links.all() {
                if all || member == Some(link.id()) {
                    link.connection
                        .close(close::REMOVED.into(), b"no longer a member");
                }
            }
        }
    }

    /// The view first, then the events that it explains.
    fn show(&mut self) {
        let now = self.clock.now();
        self.state.published = now;
        self.state.generation = self.federation.generation();
        self.published.show(self.federation.view(now));
        while let Some(event) = self.federation.poll_event() {
            if event.kind == EventKind::Removed {
                self.cut_off(event.member);
            }
            self.published.tell(event);
        }
    }
}
