//! Between certificates as `pelago-pki` reads them and the words of the protocol.

use pelago_proto::identity::Role;
use std::time::SystemTime;

/// The same role in the protocol's terms.
pub(crate) fn role(role: pelago_pki::Role) -> Role {
    match role {
        pelago_pki::Role::Client => Role::Client,
        pelago_pki::Role::Server => Role::Server,
        pelago_pki::Role::Operator => Role::Operator,
    }
}

/// Seconds since 1970, for comparing with certificates' ends.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
