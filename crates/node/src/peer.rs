//! Who is at the other end of a QUIC connection, and whether that end may be there.
//!
//! A handshake proves only "holds a certificate from this federation". Which node of which datacenter it is, and with
//! which role, is bound here, on both sides of every connection.

use crate::{count::Refused, trust::NodeTrust};
use pelago_proto::{
    federation::{Peer, Tier},
    identity::{NodeId, Role},
    trust::{Refusal, Trust},
};
use quinn::{Connection, ConnectionError};

/// Why a peer was refused, for the counter and for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refuse {
    pub(crate) reason: Refused,
    pub(crate) detail: String,
    /// Whether it is this node's authority that the peer does not know.
    pub(crate) unknown_here: bool,
}

impl Refuse {
    pub(crate) fn new(reason: Refused, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            unknown_here: false,
        }
    }

    /// Whether an exchange of authorities could change the judgement.
    pub(crate) fn curable(&self) -> bool {
        self.unknown_here
            || matches!(
                self.reason,
                Refused::UnknownIssuer | Refused::UnknownRevocation
            )
    }
}

/// Binds a connection whose handshake is complete to a node, datacenter and role.
pub(crate) fn bind(
    connection: &Connection,
    trust: &NodeTrust,
    tier: Tier,
    expected: Option<NodeId>,
) -> Result<Peer, Refuse> {
    let leaf = presented(connection)
        .ok_or_else(|| Refuse::new(Refused::NoCertificate, "no certificate"))?;
    let certified = trust
        .certify(&leaf)
        .map_err(|r| Refuse::new(Refused::of(r), format!("certificate refused: {r}")))?;
    let me = trust.own();
    let name = format!("{}.{}", certified.name, certified.datacenter);
    if certified.id == me.id {
        return Err(Refuse::new(
            Refused::Myself,
            format!("{name} holds this node's own key"),
        ));
    }
    if certified.role == Role::Operator {
        return Err(Refuse::new(
            Refused::Role,
            format!("{name} is an operator, not a member"),
        ));
    }
    if tier == Tier::Lan && certified.datacenter != me.datacenter {
        let why = format!("{name} is not of datacenter {}", me.datacenter);
        return Err(Refuse::new(Refused::WrongDatacenter, why));
    }
    if tier == Tier::Wan && certified.role != Role::Server {
        return Err(Refuse::new(
            Refused::Role,
            format!("{name} is a {} on the WAN", certified.role),
        ));
    }
    if expected.is_some_and(|id| id != certified.id) {
        return Err(Refuse::new(
            Refused::WrongPeer,
            format!("{name} answered where another node was expected"),
        ));
    }
    Ok(Peer { certified })
}

/// The leaf that the peer presented, DER.
pub(crate) fn presented(connection: &Connection) -> Option<Vec<u8>> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .ok()?;
    chain.first().map(|leaf| leaf.to_vec())
}

/// The counter for a handshake that broke. TLS alert numbers are those of RFC 8446.
pub(crate) fn broken(error: &ConnectionError) -> Refuse {
    let detail = error.to_string();
    let (alert, ours) = match error {
        ConnectionError::TransportError(e) => (u64::from(e.code), true),
        ConnectionError::ConnectionClosed(c) => (u64::from(c.error_code), false),
        ConnectionError::TimedOut => return Refuse::new(Refused::Timeout, detail),
        ConnectionError::VersionMismatch => return Refuse::new(Refused::Protocol, detail),
        _ => return Refuse::new(Refused::Other, detail),
    };
    if !(0x100..0x200).contains(&alert) {
        return Refuse::new(Refused::Other, detail);
    }
    let alert = alert & 0xff;
    if !ours {
        let unknown_here = alert == u64::from(pelago_pki::UNKNOWN_CA_ALERT);
        return Refuse {
            unknown_here,
            ..Refuse::new(Refused::ByPeer, detail)
        };
    }
    let reason = match alert {
        116 => Refused::NoCertificate,
        120 => Refused::Protocol,
        // Several refusals share an alert; the text that our own verifier gave tells them apart.
        _ => pelago_pki::Refusal::ALL
            .into_iter()
            .find(|r| detail.contains(&format!("OtherError({r:?})")))
            .map(|r| Refused::of(Refusal(r.label())))
            .unwrap_or(match alert {
                45 => Refused::Expired,
                44 => Refused::Revoked,
                48 => Refused::UnknownIssuer,
                42 => Refused::Malformed,
                51 => Refused::BadSignature,
                _ => Refused::Other,
            }),
    };
    Refuse::new(reason, detail)
}
