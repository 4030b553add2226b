//! What answers, and refusals, do to a probe: the other half of the [detector](super::detector).
//!
//! Only answers to pings count as signs of life, and only those received directly, or through a relay asked just now.

use super::{Action, Pool, Route, detector::Purpose, spacing};
use crate::{federation::ProbeId, identity::NodeId, time::Time, wire::Frame};

impl Pool {
    /// An ack came in.
    pub fn handle_ack(
        &mut self,
        from: NodeId,
        number: u64,
        spacing: Option<(u32, u32)>,
        now: Time,
    ) {
        match self.detector.pending.remove(&number) {
            Some(pending) if pending.to == from => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.measured(now.since(pending.sent));
                }
                match pending.purpose {
                    Purpose::Relay(asker, number, _) => {
                        self.send(
                            asker,
                            Frame::Relayed {
                                number,
                                answered: true,
                            },
                        );
                    }
                    Purpose::Sample => {
                        self.detector.sample.answered.insert(from);
                    }
                    Purpose::Watch | Purpose::Random | Purpose::Asked(_) => {}
                }
                self.alive(&from, spacing, now);
            }
            Some(pending) => {
                // Not its number to answer: keep waiting for the one who was asked.
                self.detector.pending.insert(number, pending);
            }
            None => {}
        }
    }

    /// A relay answered.
    pub fn handle_relayed(&mut self, from: NodeId, number: u64, answered: bool, now: Time) {
        let Some(pending) = self.detector.pending.remove(&number) else {
            return;
        };
        let Purpose::Asked(relay) = pending.purpose else {
            self.detector.pending.insert(number, pending);
            return;
        };
        if relay != from {
            self.detector.pending.insert(number, pending);
        } else if answered {
            self.alive(&pending.to, None, now);
        } else if let Some(probe) = self
            .detector
            .watches
            .get_mut(&pending.to)
            .and_then(|w| w.probe.as_mut())
        {
            probe.nacks = probe.nacks.saturating_sub(1);
        }
    }

    /// A stream probe ended.
    pub fn stream_answered(&mut self, id: &NodeId, answered: bool, now: Time) {
        if answered {
            // Streams get through and datagrams do not: it may hold another key of ours. Say again who we are.
            if let Some(peer) = self.peers.get_mut(id) {
                peer.introduced = false;
            }
            self.alive(id, None, now);
        } else if let Some(probe) = self
            .detector
            .watches
            .get_mut(id)
            .and_then(|w| w.probe.as_mut())
        {
            probe.stream = false;
        }
    }

    /// A sign of life.
    fn alive(&mut self, id: &NodeId, spacing: Option<(u32, u32)>, now: Time) {
        self.reached(now);
        let Some(watch) = self.detector.watches.get_mut(id) else {
            return;
        };
        if watch.down {
            self.actions.push_back(Action::Link { to: *id, up: true });
        }
        watch.answered();
        if watch.probe.is_some() {
            self.health.succeeded();
            self.end_probe(id, now);
            if let (Some(gaps), Some(watch)) = (spacing, self.detector.watches.get_mut(id)) {
                let interval = self.profile.probe_interval
                    * u32::try_from(watch.target.observers).unwrap_or(1);
                let (later, way) = spacing::shift(gaps, interval);
                watch.next = if later {
                    watch.next + way
                } else {
                    (watch.next - way).max(now)
                };
            }
        }
    }

    /// A fresh socket heard that nobody listens there.
    pub fn handle_port_closed(&mut self, probe: ProbeId, digest: u64, now: Time) {
        let Some(pending) = self.detector.pending.remove(&probe.0) else {
            return;
        };
        let id = pending.to;
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let floor = peer.contact.floor;
        let n = self.living() + 1;
        let Some(watch) = self.detector.watches.get_mut(&id) else {
            return;
        };
        watch.fell_silent(pending.sent, floor, n);
        watch.refusals = watch.refusals.saturating_add(1);
        match watch.refusals {
            1 => {
                self.ping_watched(&id, true, digest, now);
                self.ask_sample(&id, digest, now);
            }
            2 => {
                let unsigned = watch.signed.is_none() && watch.suspected.is_none();
                let silent = now.since(watch.silent_since.unwrap_or(now));
                if unsigned {
                    let quorate = self.quorate(&id);
                    self.sign(id, silent, false, quorate, now);
                }
                let number = self.detector.number(id, Purpose::Watch, now);
                self.send_ping(
                    id,
                    number,
                    true,
                    Route::FreshStream(ProbeId(number)),
                    digest,
                );
            }
            _ => {}
        }
    }

    /// Somebody accused a peer: its observers ping it at once.
    pub(super) fn accused(&mut self, id: &NodeId, now: Time) {
        self.rebuild_ring(now);
        if let Some(watch) = self.detector.watches.get_mut(id)
            && watch.suspected.is_none()
            && !watch.target.is_strange()
        {
            watch.suspected = Some(now);
            watch.next = now;
            if watch.refusals == 0 {
                watch.probe = None;
            }
        }
    }
}
