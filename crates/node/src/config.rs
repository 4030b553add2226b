//! What a node needs to know to start: plain data, no files parsed here. The binary reads TOML into it; embedders fill
//! it in directly.

use crate::fault::Faults;
use ipnet::IpNet;
pub use pelago_proto::limit::Rate;
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

/// One node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Groups datacenters; the only part of the location that no certificate fixes.
    pub region: String,
    /// Expected node name; `None` takes the certificate's. A difference is refused at start. So for the next four.
    pub name: Option<String>,
    /// Expected datacenter.
    pub datacenter: Option<String>,
    /// Expected zone.
    pub zone: Option<String>,
    /// Expected rack.
    pub rack: Option<String>,
    /// Expected role, `server` or `client`.
    pub role: Option<String>,
    /// Where boot counter, own record and learnt addresses are kept; `None` keeps nothing.
    pub data_dir: Option<PathBuf>,
    /// Free labels, at most 128 bytes when encoded.
    pub tags: BTreeMap<String, String>,
    /// Certificates and keys.
    pub pki: Pki,
    /// The datacenter's own pool.
    pub lan: Lan,
    /// The pool of elected servers; required for servers, refused for clients.
    pub wan: Option<Wan>,
    /// Budgets for what others send.
    pub limits: Limits,
    /// Injected delay, loss, reordering and cuts; [`Faults::none`] outside tests and `dev`.
    pub faults: Faults,
}

/// Budgets for what others send. Every one is far above what members need, so that only floods meet it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What is read of claims and introductions.
    pub claims: pelago_proto::limit::Limits,
    /// Datagrams from one address that are looked at before anything else is known of them.
    pub datagrams: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            claims: pelago_proto::limit::Limits::default(),
            datagrams: Rate::new(2_000.0, 4.0),
        }
    }
}

/// Where certificates and keys are.
#[derive(Clone, Debug)]
pub struct Pki {
    /// Bundle of root and datacenter authorities, PEM.
    pub ca: PathBuf,
    /// This node's certificate chain, PEM; re-read when it changes.
    pub cert: PathBuf,
    /// Its private key, PEM; refused if others can read it.
    pub key: PathBuf,
    /// Directory of revocation lists.
    pub crl_dir: Option<PathBuf>,
    /// Refuse everything under an expired revocation list instead of serving on with an alert.
    pub fail_closed: bool,
}

/// The LAN pool.
#[derive(Clone, Debug)]
pub struct Lan {
    /// Address to bind and to publish.
    pub address: IpAddr,
    /// UDP port for probes and gossip; 0 takes any free one.
    pub port: u16,
    /// UDP port of QUIC streams; 0 takes any free one. By default `port + 1`.
    pub stream_port: u16,
    /// Sources and member addresses outside these networks are refused. Never empty.
    pub allow: Vec<IpNet>,
    /// Seeds, `host`, `host:port`, `address` or `address:port`; the port is the *stream* port (default 8702).
    pub join: Vec<String>,
    /// One probe per node and interval.
    pub probe_interval: Duration,
    /// Longest pause that must not be taken for a death, 0.5–10 s.
    pub pause_tolerance: Duration,
}

/// The WAN pool.
#[derive(Clone, Debug)]
pub struct Wan {
    /// Address to bind.
    pub address: IpAddr,
    /// QUIC port; 0 takes any free one.
    pub port: u16,
    /// Address to publish, if it differs from the bound one.
    pub advertise: Option<IpAddr>,
    /// Sources and advertised addresses outside these networks are refused. Never empty.
    pub allow: Vec<IpNet>,
    /// The same for servers of one datacenter, which may lie within `allow` only where this says so.
    pub datacenters: BTreeMap<String, Vec<IpNet>>,
    /// Any servers of any datacenter, elected or not; port defaults to 8703.
    pub join: Vec<String>,
    /// WAN seats that this datacenter should fill, 1–7.
    pub seats: u8,
}
