//! Pelago as a library: start a node, read the membership of every datacenter, follow its events.
//!
//! The runtime around [`pelago_proto`]: tokio, UDP sealed per pair, QUIC with mutual TLS, and a small state file.

pub mod api;
pub mod config;
pub mod fault;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "hostile")]
pub mod hostile;

mod admit;
mod ask;
mod clock;
mod count;
mod dial;
mod driver;
mod expiry;
mod inputs;
mod intro;
mod kept;
mod links;
mod node;
mod peer;
mod publish;
mod quic;
mod samples;
mod seal;
mod seeds;
mod socket;
mod start;
mod store;
mod streams;
mod tap;
mod trust;
mod udp;
mod upkeep;
mod window;

pub use node::Node;

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

/// Why a removal was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// It is not acceptable.
    #[error(transparent)]
    Refused(#[from] pelago_proto::federation::RemovalError),
    /// Nobody is left to take it.
    #[error("the node is stopping")]
    Stopping,
}

/// Why a revocation list was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// It is not acceptable.
    #[error(transparent)]
    Refused(#[from] pelago_proto::federation::ListError),
    /// Nobody is left to take it.
    #[error("the node is stopping")]
    Stopping,
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
