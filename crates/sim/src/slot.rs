//! One host with the process on it, if it runs: what a machine keeps while processes come and go.

use crate::{
    traffic::Traffic,
    trust::{Claimant, Identity, SimTrust},
    world::Happening,
};
use pelago_proto::{
    federation::{Federation, Memory, Settings},
    identity::NodeId,
    time::Time,
    trust::{Authority, List, Trust},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

const LAN_PORT: u16 = 8701;
const STREAM_PORT: u16 = 8702;
const WAN_PORT: u16 = 8703;
const LAN_NET: u32 = 10 << 24;
const WAN_NET: u32 = (100 << 24) | (64 << 16);

/// Datagrams that a socket holds while its process does not read.
const SOCKET_BUFFER: usize = 256;

/// A host.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) who: Claimant,
    pub(crate) identity: Identity,
    pub(crate) id: NodeId,
    pub(crate) settings: Settings,
    pub(crate) lan_seeds: Vec<SocketAddr>,
    pub(crate) wan_seeds: Vec<SocketAddr>,
    pub(crate) authorities: Arc<[Authority]>,
    /// What the last process left on disk.
    pub(crate) memory: Memory,
    /// The revocation lists that it believed in, on the same disk.
    pub(crate) kept: Vec<List>,
    /// Whether the host is there at all; if so, it refuses packets to closed ports.
    pub(crate) up: bool,
    /// Rises with every process.
    pub(crate) epoch: u32,
    pub(crate) process: Option<Process>,
    pub(crate) refusals: Refusals,
    /// Whether it keeps to itself what it should pass on.
    pub(crate) withholds: bool,
    pub(crate) traffic: Traffic,
    /// What the process last said of itself, when tests make it say something new.
    pub(crate) said: bool,
    /// When that was.
    pub(crate) said_at: Option<Time>,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) federation: Federation,
    pub(crate) trust: Arc<SimTrust>,
    pub(crate) lan_key: [u8; 32],
    /// When its timer is set to fire; [`Time::NEVER`] if it is not.
    pub(crate) armed: Time,
    /// How often in a row a timeout left the next one due at once.
    pub(crate) spins: u32,
    pub(crate) paused: bool,
    /// Its timers run, but nothing gets out or in: the processor is busy with others (Lifeguard's model, §V).
    pub(crate) starved: bool,
    pub(crate) inbox: VecDeque<Happening>,
}

impl Slot {
    /// The running process, unless it is paused or starved.
    pub(crate) fn awake(&mut self) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| !process.is_deaf())
    }

    /// Ends the process, keeping its counts.
    pub(crate) fn stop(&mut self) {
        if let Some(process) = &self.process {
            self.traffic = self.traffic();
            self.kept = process.trust.lists();
        }
        self.process = None;
        self.said = false;
        self.said_at = None;
        self.refusals = Refusals::default();
    }

    /// Empties its disk.
    pub(crate) fn wipe(&mut self) {
        self.memory = Memory::default();
        self.kept.clear();
    }

    /// What was sent and signed here so far, by this process and those before.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut traffic = self.traffic;
        if let Some(process) = &self.process {
            traffic.signed += process.trust.signed();
            traffic.verified += process.verified();
        }
        traffic
    }
}

impl Process {
    /// Claims of others believed so far, whether their signatures were computed here or remembered by the world.
    fn verified(&self) -> u64 {
        let counts = self.federation.counts();
        let verified = counts
            .iter()
            .filter(|count| matches!(count.name, "claims_verified" | "heads_verified"));
        verified.map(|count| count.value as u64).sum()
    }

    /// Whether what arrives has to wait.
    pub(crate) const fn is_deaf(&self) -> bool {
        self.paused || self.starved
    }

    /// Keeps what arrives while the process does not run: datagrams up to the socket's buffer, streams always.
    pub(crate) fn keep(&mut self, arrival: Happening) {
        let full = self.inbox.len() >= SOCKET_BUFFER;
        if !full || !matches!(arrival, Happening::Datagram { .. }) {
            self.inbox.push_back(arrival);
        }
    }
}

/// How many closed-port errors a host still sends, as Linux limits them: six at once and then one a second to each
/// peer, fifty at once and a thousand a second in all.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    all: Bucket,
    each: BTreeMap<usize, Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    spent: f64,
    at: Time,
}

impl Refusals {
    pub(crate) fn allow(&mut self, peer: usize, now: Time) -> bool {
        self.each.entry(peer).or_default().take(now, 1.0, 6.0) && self.all.take(now, 1_000.0, 50.0)
    }
}

impl Bucket {
    fn take(&mut self, now: Time, rate: f64, burst: f64) -> bool {
        self.spent = (self.spent - rate * now.since(self.at).as_secs_f64()).max(0.0);
        self.at = now;
        let fits = self.spent + 1.0 <= burst;
        if fits {
            self.spent += 1.0;
        }
        fits
    }
}

/// Which endpoint of which host an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Lan(usize),
    Stream(usize),
    Wan(usize),
}

impl Endpoint {
    pub(crate) fn address(self) -> SocketAddr {
        let (net, host, port) = match self {
            Self::Lan(host) => (LAN_NET, host, LAN_PORT),
            Self::Stream(host) => (LAN_NET, host, STREAM_PORT),
            Self::Wan(host) => (WAN_NET, host, WAN_PORT),
        };
        let host = u32::try_from(host + 1).expect("hosts fit their network");
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(net | host)), port)
    }

    pub(crate) fn at(address: SocketAddr) -> Option<Self> {
        let IpAddr::V4(ip) = address.ip() else {
            return None;
        };
        let bits = ip.to_bits();
        let in_net = |net: u32| {
            let host = if bits & net == net { bits & !net } else { 0 };
            (host as usize).checked_sub(1)
        };
        match address.port() {
            LAN_PORT => in_net(LAN_NET).map(Self::Lan),
            STREAM_PORT => in_net(LAN_NET).map(Self::Stream),
            WAN_PORT => in_net(WAN_NET).map(Self::Wan),
            _ => None,
        }
    }
}

/// The next moment at which a timer set for `due` fires: real ones count whole milliseconds.
pub(crate) fn tick(due: Time) -> Time {
    const MILLISECOND: u64 = 1_000;
    if due == Time::NEVER {
        due
    } else {
        Time::from_micros(due.as_micros().div_ceil(MILLISECOND) * MILLISECOND)
    }
}

/// Whether a connection to a process that is gone has been noticed to be dead.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_back_to_their_hosts() {
        for host in [0, 1, 255, 256, 10_000] {
            for endpoint in [
                Endpoint::Lan(host),
                Endpoint::Stream(host),
                Endpoint::Wan(host),
            ] {
                assert_eq!(Endpoint::at(endpoint.address()), Some(endpoint));
            }
        }
        assert_eq!(
            Endpoint::at("10.0.0.1:1".parse().expect("an address")),
            None
        );
    }

    #[test]
    fn closed_ports_answer_a_peer_six_times_and_then_once_a_second() {
        let mut refusals = Refusals::default();
        let heard = (0..20).filter(|_| refusals.allow(1, Time::START)).count();
        assert_eq!(heard, 6);
        assert!(refusals.allow(2, Time::START));
        assert!(refusals.allow(1, Time::START + Duration::from_secs(1)));
        assert!(!refusals.allow(1, Time::START + Duration::from_secs(1)));
    }

    #[test]
    fn timers_fire_on_whole_milliseconds() {
        assert_eq!(tick(Time::from_micros(1)), Time::from_micros(1_000));
        assert_eq!(tick(Time::from_micros(2_000)), Time::from_micros(2_000));
        assert_eq!(tick(Time::NEVER), Time::NEVER);
    }
}
