//! LAN datagrams: what arrives passes the checks in one fixed order, cheapest first; what leaves is sealed.
//!
//! 1. size → 2. version → 3. source inside `allow` → 4. budget of the source → 5. sender known, or an introduction →
//! 6. replay window → 7. opens under the pair's key → the protocol.
//!
//! Nothing before 7 is answered, and nothing before 5 allocates. A source over its budget is not shut out entirely,
//! because sources can be forged: its packets may still open under the key of a member known already, at the price of
//! one failed decryption, but no introduction of it is looked at.

use crate::{
    admit::{SourceBudget, allowed},
    config::Rate,
    count::{Counts, Dropped},
    inputs::{Input, Inputs},
    seal::{MAX_DATAGRAM, OpenError, ParseError, Parsed, Sealer},
    socket::LanSocket,
};
use ipnet::IpNet;
use pelago_proto::{
    federation::{Path, ProbeId, Transmit},
    identity::NodeId,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, sync::Semaphore, time::timeout};

/// Closed-port probes under way.
const PROBES: usize = 64;
/// How long a closed port may take to be heard of.
const LISTEN: Duration = Duration::from_millis(250);

/// What the checks need of the protocol.
pub(crate) trait Members {
    /// The key under which a known member's packets are sealed.
    fn lan_key(&self, from: NodeId) -> Option<[u8; 32]>;
    /// Verifies an introduction and says whose it is.
    fn introduce(&mut self, record: &[u8], leaf: &[u8]) -> Option<(NodeId, [u8; 32])>;
    /// Takes what was opened.
    fn receive(&mut self, from: NodeId, payload: &[u8]);
}

/// The datagram side of the LAN pool.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: LanSocket,
    sealer: Sealer,
    budget: SourceBudget,
    allow: Vec<IpNet>,
    counts: Arc<Counts>,
    inputs: Inputs,
    address: IpAddr,
    probes: Arc<Semaphore>,
    buffer: Box<[u8]>,
}

impl Udp {
    pub(crate) fn new(
        socket: LanSocket,
        sealer: Sealer,
        (allow, rate): (Vec<IpNet>, Rate),
        counts: Arc<Counts>,
        inputs: Inputs,
        address: IpAddr,
    ) -> Self {
        Self {
            socket,
            sealer,
            budget: SourceBudget::per_address(rate),
            allow,
            counts,
            inputs,
            address,
            probes: Arc::new(Semaphore::new(PROBES)),
            buffer: vec![0; 2 * MAX_DATAGRAM].into_boxed_slice(),
        }
    }

    pub(crate) fn socket(&self) -> LanSocket {
        self.socket.clone()
    }

    /// Takes one datagram out of the socket; `false` if none was there.
    pub(crate) fn receive(&mut self, members: &mut impl Members) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = self.socket.try_receive(&mut buffer);
        if let Some((length, from)) = received {
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Err(reason) = self.check(datagram, from, members) {
                self.counts.lose(reason, from);
            }
        }
        self.buffer = buffer;
        received.is_some()
    }

    fn check(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        members: &mut impl Members,
    ) -> Result<(), Dropped> {
        let parsed = Parsed::new(datagram).map_err(|error| match error {
            ParseError::Short => Dropped::Short,
            ParseError::Oversized => Dropped::Oversized,
            ParseError::Version => Dropped::Version,
            ParseError::Malformed => Dropped::Malformed,
        });
        // Size and version speak first; lengths inside are judged only after the source.
        if let Err(error) = parsed
            && error != Dropped::Malformed
        {
            return Err(error);
        }
        if !allowed(&self.allow, from.ip()) {
            return Err(Dropped::Source);
        }
        let within = self.budget.take(from.ip(), Instant::now());
        let parsed = parsed?;
        if parsed.receiver != self.sealer.my_tag() {
            return Err(Dropped::ReceiverKey);
        }
        let known = members.lan_key(parsed.sender);
        let mut refused = if within {
            Dropped::UnknownSender
        } else {
            Dropped::SourceBudget
        };
        if let Some(key) = known {
            match self.sealer.open(&parsed, key, datagram) {
                Ok(payload) => {
                    members.receive(parsed.sender, payload);
                    return Ok(());
                }
                Err(OpenError::Replay) => refused = Dropped::Replay,
                Err(OpenError::Forged) => refused = Dropped::Forged,
            }
        }
        // Unknown, or known under another key: it may have started again and says so.
        let Some((record, leaf)) = parsed.introduction(datagram).filter(|_| within) else {
            return Err(refused);
        };
        let (id, key) = members
            .introduce(record, leaf)
            .ok_or(Dropped::Introduction)?;
        if id != parsed.sender {
            return Err(Dropped::Introduction);
        }
        if known == Some(key) {
            // The same key did not open it.
            return Err(refused);
        }
        match self.sealer.open(&parsed, key, datagram) {
            Ok(payload) => {
                members.receive(parsed.sender, payload);
                Ok(())
            }
            Err(OpenError::Replay) => Err(Dropped::Replay),
            Err(OpenError::Forged) => Err(Dropped::Forged),
        }
    }

    /// Seals and sends.
    pub(crate) fn transmit(&mut self, transmit: Transmit) {
        let Transmit {
            to,
            address,
            key,
            introduction,
            path,
            payload,
            ..
        } = transmit;
        let sealed = self.sealer.seal(to, key, introduction.as_ref(), &payload);
        self.counts
            .pair_keys
            .store(self.sealer.pairs() as u64, Relaxed);
        let datagram = match sealed {
            Ok(datagram) => datagram,
            Err(error) => {
                self.counts
                    .lose(Dropped::TooLarge, format_args!("{address}: {error}"));
                return;
            }
        };
        match path {
            Path::Main => self.socket.send(address, datagram),
            Path::Fresh(probe) => self.probe(probe, address, datagram),
        }
    }

    fn probe(&self, probe: ProbeId, address: SocketAddr, datagram: Vec<u8>) {
        let Ok(permit) = self.probes.clone().try_acquire_owned() else {
            self.counts.lose(Dropped::Probes, address);
            return;
        };
        let (socket, inputs, counts, from) = (
            self.socket(),
            self.inputs.clone(),
            self.counts.clone(),
            self.address,
        );
        tokio::spawn(async move {
            if !socket.passes(address).await {
                return;
            }
            socket.copy(address, &datagram);
            counts.sent(crate::count::Kind::LanDatagram, datagram.len());
            if port_closed(from, address, &datagram).await {
                counts.port_closed.fetch_add(1, Relaxed);
                // If the queue is full, the probe counts as unanswered, which it was.
                inputs.offer(Input::PortClosed(probe));
            }
            drop(permit);
        });
    }
}

/// Sends from a fresh connected socket, the only kind that hears a refusal, and listens for one.
async fn port_closed(from: IpAddr, to: SocketAddr, datagram: &[u8]) -> bool {
    let heard = async {
        let socket = UdpSocket::bind((from, 0)).await?;
        socket.connect(to).await?;
        socket.send(datagram).await?;
        // Answers go to the bound socket. Whatever comes here instead means nothing.
        loop {
            socket.recv(&mut [0; 1]).await?;
        }
    };
    let result: Result<Result<(), io::Error>, _> = timeout(LISTEN, heard).await;
    matches!(result, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "udp_flood.rs"]
mod flood;
