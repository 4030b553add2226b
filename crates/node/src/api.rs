//! Questions and answers: what [`Node`](crate::Node) returns to embedders, the HTTP API and other nodes.

use pelago_proto::{
    identity::{Label, NodeId, Role},
    view::{Datacenter, Event, Reachability, View},
};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, sync::Arc, time::SystemTime};

/// A published view, with the wall clock beside it so that its moments can be shown as dates.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the node knew.
    pub view: Arc<View>,
    /// The wall clock when [`View::at`] was read.
    pub wall: SystemTime,
}

/// Whose knowledge an answer should come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// This server's catalog. A client forwards to a server of its datacenter.
    Local,
    /// An elected server of this datacenter.
    Dc,
    /// An elected server of each datacenter asked about, now.
    Home,
    /// Every elected server; differences are reported.
    All,
}

/// Which datacenters a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The answering node's own.
    Own,
    /// One by name.
    One(Label),
    /// All that are known.
    All,
}

/// One server's part of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Who answered.
    pub viewer: NodeId,
    /// Its name.
    pub viewer_name: Label,
    /// Its datacenter.
    pub viewer_datacenter: Label,
    /// What it knows of the datacenters asked about. Moments inside are re-based to the asking node's clock.
    pub datacenters: Vec<Datacenter>,
}

/// Why a datacenter, or one server, could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The datacenter that is missing or shown from older knowledge.
    pub datacenter: Label,
    /// The causes, one per server tried.
    pub causes: Vec<Cause>,
}

/// [`Cause::error`] of a server that has never heard of the datacenter, rather than being unable to reach it.
pub const UNKNOWN_DATACENTER: &str = "unknown datacenter";

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The server tried.
    pub server: String,
    /// Where.
    pub address: Option<SocketAddr>,
    /// What went wrong, in words.
    pub error: String,
}

/// An answer. Always given: what could not be asked is in `partial`, with what is known still in `parts`.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The mode that was used.
    pub mode: Mode,
    /// One part for `local` and `dc`; one per datacenter for `home`; one per server for `all`.
    pub parts: Vec<Part>,
    /// Datacenters that could not be asked in the mode wanted.
    pub partial: Vec<Missing>,
    /// The asking node's clock and wall clock, for turning moments into dates.
    pub at: pelago_proto::time::Time,
    /// See `at`.
    pub wall: SystemTime,
}

/// One direction of a WAN link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The node that reports.
    pub from: Label,
    /// Its datacenter.
    pub from_datacenter: Label,
    /// The other end, or the address while nobody has answered there.
    pub to: String,
    /// Its id, once known.
    pub to_id: Option<NodeId>,
    /// Its datacenter, once known.
    pub to_datacenter: Option<Label>,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// `up`, `dialling` or `down`.
    pub state: String,
    /// Smoothed round-trip time out of QUIC.
    pub rtt_ms: Option<f64>,
    /// Share of packets lost, 0–1, out of QUIC.
    pub loss: Option<f64>,
    /// Since the last packet from there.
    pub last_contact_ms: Option<u64>,
    /// End of the peer's certificate, Unix seconds.
    pub not_after: Option<u64>,
    /// The last failure, in words.
    pub error: Option<String>,
}

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// Key hash.
    pub id: NodeId,
    /// Certified name.
    pub name: Label,
    /// Trust domain.
    pub trust_domain: String,
    /// Configured region.
    pub region: Label,
    /// Certified datacenter.
    pub datacenter: Label,
    /// Certified zone.
    pub zone: Label,
    /// Certified rack.
    pub rack: Label,
    /// Certified role.
    pub role: Role,
    /// Bound LAN address.
    pub lan: SocketAddr,
    /// Bound LAN stream address.
    pub lan_stream: SocketAddr,
    /// Bound WAN address.
    pub wan: Option<SocketAddr>,
    /// End of the certificate, Unix seconds.
    pub not_after: u64,
    /// Version of this software.
    pub version: String,
}

/// What `join` reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReport {
    /// Addresses that answered.
    pub joined: Vec<String>,
    /// Those that did not, with the reason.
    pub failed: Vec<Cause>,
}

/// What `reload` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// What was re-read and is in force.
    pub applied: Vec<String>,
    /// What went wrong; the old state stays in force.
    pub failed: Vec<String>,
}

/// An event with the number that lets a reader resume after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberedEvent {
    /// Rises by one per event of this process.
    pub id: u64,
    /// Wall clock, Unix milliseconds.
    pub unix_ms: u64,
    /// What happened.
    pub event: Event,
}

/// How well the node itself does, for `status` and `health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Serving at all.
    pub live: bool,
    /// Joined, or announced alone.
    pub ready: bool,
    /// What is wrong but survivable: a data directory that cannot be written, an expired revocation list, a certificate
    /// near its end.
    pub degraded: Vec<String>,
    /// What will want attention: certificates and lists of whose life half is over.
    #[serde(default)]
    pub notices: Vec<String>,
}

/// One counter or gauge, for metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name without the `pelago_` prefix and without `_total`.
    pub name: &'static str,
    /// What it counts, one line.
    pub help: &'static str,
    /// Whether it only rises.
    pub counter: bool,
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: f64,
}

/// How a datacenter looks in one line, for `Missing` and status.
pub fn is_fresh(reachability: Reachability) -> bool {
    matches!(
        reachability,
        Reachability::Local | Reachability::Reachable | Reachability::Degraded
    )
}
