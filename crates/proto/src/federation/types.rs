//! What goes in and out of a [`Federation`](super::Federation).

use crate::{
    identity::{Label, NodeId},
    limit::Limits,
    pool::Tuning,
    trust::Certified,
    wire::Item,
};
use ipnet::IpNet;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

/// Which of the two pools a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Inside one datacenter: sealed UDP datagrams, QUIC streams.
    Lan,
    /// Between elected servers: QUIC datagrams and streams.
    Wan,
}

/// What a node is configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Region, the one part of the location that no certificate fixes.
    pub region: Label,
    /// Published UDP address for LAN datagrams.
    pub lan: SocketAddr,
    /// Published UDP address of QUIC streams on the LAN.
    pub stream: SocketAddr,
    /// Published WAN address; servers only.
    pub wan: Option<SocketAddr>,
    /// LAN addresses of members must lie in one of these.
    pub lan_allow: Vec<IpNet>,
    /// WAN addresses of servers must lie in one of these.
    pub wan_allow: Vec<IpNet>,
    /// WAN addresses of servers of these datacenters must lie in one of these as well.
    pub wan_datacenters: BTreeMap<Label, Vec<IpNet>>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// One probe per node and interval on the LAN (200 ms).
    pub probe_interval: Duration,
    /// Longest own pause that must not be taken for a death (2 s).
    pub pause_tolerance: Duration,
    /// What the LAN pool does beyond plain SWIM.
    pub tuning: Tuning,
    /// WAN seats this node wants its datacenter to fill (3).
    pub seats: u8,
    /// Budgets for what others bring.
    pub limits: Limits,
    /// Software version, shown to others.
    pub version: String,
    /// What was remembered from the last run.
    pub memory: Memory,
}

/// What survives a restart. Losing it is harmless: peers remember a node's last boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Boot counter of the last run; 0 if unknown.
    pub boot: u64,
    /// LAN stream addresses of members met, to try beside the seeds.
    pub lan_peers: Vec<SocketAddr>,
    /// WAN addresses of servers met, to try beside `join`.
    pub wan_peers: Vec<SocketAddr>,
    /// Removals of members of this datacenter: should everybody restart at once, nobody else would know.
    pub removals: Vec<Item>,
}

/// Own record and leaf, sent in clear (and bound as additional data) with packets to a peer that may not know us yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The signed record.
    pub record: Arc<[u8]>,
    /// The leaf certificate it names, DER.
    pub leaf: Arc<[u8]>,
}

/// Names one closed-port probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// Which socket a datagram leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The node's bound socket.
    Main,
    /// A fresh socket *connected* to the address, kept open about 250 ms to hear `ECONNREFUSED`, which is then reported
    /// with [`Federation::handle_port_closed`](super::Federation::handle_port_closed). Answers still come to the bound socket.
    Fresh(ProbeId),
}

/// One datagram to send, at most 1,200 bytes on the wire with everything around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Which pool.
    pub tier: Tier,
    /// The peer.
    pub to: NodeId,
    /// Its signed address (LAN datagram, LAN stream for the last closed-port probe, or WAN).
    pub address: SocketAddr,
    /// The X25519 key the peer published for this boot; LAN only, zero otherwise.
    pub key: [u8; 32],
    /// What to send in clear beside the sealed payload; LAN only.
    pub introduction: Option<Introduction>,
    /// Which socket.
    pub path: Path,
    /// The frame, to be sealed (LAN) or sent as a QUIC datagram (WAN). News goes to many at once, who share it.
    pub payload: Arc<[u8]>,
}

/// Names one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One question over a QUIC stream: one message there, one back (each at most [`MAX_MESSAGE`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// To be given back with the response.
    pub id: RequestId,
    /// Which endpoint and ALPN.
    pub tier: Tier,
    /// Who must answer; `None` for a seed of which only the address is known.
    pub to: Option<NodeId>,
    /// Where.
    pub address: SocketAddr,
    /// The message.
    pub body: Vec<u8>,
    /// Give up after this.
    pub timeout: Duration,
}

/// Largest stream message in bytes, both directions.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// An authenticated peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What its certificate says, judged.
    pub certified: Arc<Certified>,
}

/// Why a request brought no answer. None of these is evidence about the peer's life.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No answer in time, or the connection broke.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The peer's identity was refused, or it refused ours.
    #[error("refused: {0}")]
    Refused(String),
}

/// One counter or gauge of the protocol, for metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// Name, without prefix or `_total`.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only rises.
    pub counter: bool,
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// Value.
    pub value: f64,
}
