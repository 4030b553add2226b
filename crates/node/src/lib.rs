//! Pelago as a library: start a node, read the membership of every datacenter, follow its events.
//!
//! The runtime around [`pelago_proto`]: tokio, UDP sealed per pair, QUIC with mutual TLS, and a small state file.

pub mod api;
pub mod config;
pub mod fault;

mod admit;
mod clock;
mod count;
mod seal;
mod socket;
mod store;
mod window;

use api::{
    Answer, Condition, JoinReport, Link, Me, Mode, NumberedEvent, ReloadReport, Sample, Scope,
    Snapshot,
};
use config::Config;
use pelago_proto::view::Evidence;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// A running node. Cheap to clone; the node stops when [`Node::stop`] is called or the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Node {}

impl Node {
    /// Binds, loads keys and state, and starts the protocol. Returns once sockets are bound; joining goes on behind.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let _ = config;
        unimplemented!()
    }

    /// Who this node is.
    pub fn me(&self) -> &Me {
        unimplemented!()
    }

    /// What this node knows now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        unimplemented!()
    }

    /// The same, as a stream of whole views: published before the events that they explain.
    pub fn members(&self) -> watch::Receiver<Arc<Snapshot>> {
        unimplemented!()
    }

    /// Events as they happen. A reader that falls behind gets `Lagged` and should read the snapshot again.
    pub fn events(&self) -> broadcast::Receiver<NumberedEvent> {
        unimplemented!()
    }

    /// Events after number `id` that are still remembered (the last 1,024); `None` if some of them are gone already.
    pub fn events_since(&self, id: u64) -> Option<Vec<NumberedEvent>> {
        let _ = id;
        unimplemented!()
    }

    /// Asks in the given mode. Never fails: what could not be asked is named in the answer.
    pub async fn ask(&self, mode: Mode, scope: Scope) -> Answer {
        let _ = (mode, scope);
        unimplemented!()
    }

    /// The evidence behind a member's status. `needle` is `name`, `name.datacenter` or the start of an id.
    pub async fn why(&self, needle: &str) -> Result<Evidence, FindError> {
        let _ = needle;
        unimplemented!()
    }

    /// WAN links of this node (`own`), or of every elected server that answers.
    pub async fn links(&self, everyone: bool) -> Vec<Link> {
        let _ = everyone;
        unimplemented!()
    }

    /// Dials further LAN seeds or, on a server, WAN servers.
    pub async fn join(&self, addresses: Vec<String>) -> JoinReport {
        let _ = addresses;
        unimplemented!()
    }

    /// Says goodbye: signs a leave, spreads it, and stops. Returns when the goodbye has been handed to peers.
    pub async fn leave(&self) {
        unimplemented!()
    }

    /// Re-reads certificates, keys, authorities and revocation lists.
    pub async fn reload(&self) -> ReloadReport {
        unimplemented!()
    }

    /// How well the node does.
    pub fn condition(&self) -> Condition {
        unimplemented!()
    }

    /// Every counter and gauge, all present from the start.
    pub fn samples(&self) -> Vec<Sample> {
        unimplemented!()
    }

    /// Stops without a goodbye, as a crash would look, but closes sockets in order.
    pub async fn stop(&self) {
        unimplemented!()
    }
}

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A configured expectation differs from the certificate.
    #[error("{field} is {configured:?} in the configuration but {certified:?} in the certificate")]
    Mismatch {
        /// Which setting.
        field: &'static str,
        /// What the configuration says.
        configured: String,
        /// What the certificate says.
        certified: String,
    },
    /// Certificates or keys could not be used.
    #[error("certificates: {0}")]
    Pki(String),
    /// A setting is out of its range or contradicts another.
    #[error("{0}")]
    Config(String),
    /// A socket could not be bound.
    #[error("cannot bind {address}: {error}")]
    Bind {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// Why a member could not be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nobody fits.
    #[error("no such member")]
    None,
    /// More than one fits: the candidates, `name.datacenter (id)`.
    #[error("ambiguous: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
}
