//! Members.

use super::{Clock, ViewInfo, clock};
use jiff::Timestamp;
use pelago_proto::view;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A member in lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// 32 hexadecimal digits, a hash of its key.
    pub(crate) id: String,
    pub(crate) datacenter: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) rack: String,
    /// `client` or `server`.
    pub(crate) role: String,
    /// `alive`, `suspect`, `unreachable`, `dead`, `left` or `removed`.
    pub(crate) status: String,
    /// Whether it holds one of its datacenter's WAN seats.
    pub(crate) elected: bool,
    pub(crate) incarnation: Incarnation,
    /// LAN address; informational for members of other datacenters.
    pub(crate) address: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// 0 (healthy) to 8, as the member says of itself.
    pub(crate) health: u8,
    /// When its status began.
    pub(crate) since: Timestamp,
    /// Measured by the viewer; `null` if it never did.
    pub(crate) rtt_ms: Option<f64>,
}

/// The order of a member's own claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incarnation {
    pub(crate) boot: u64,
    pub(crate) seq: u64,
}

impl From<pelago_proto::identity::Incarnation> for Incarnation {
    fn from(it: pelago_proto::identity::Incarnation) -> Self {
        Self {
            boot: it.boot,
            seq: it.seq,
        }
    }
}

impl Member {
    pub(crate) fn new(member: &view::Member, clock: &Clock) -> Self {
        Self {
            name: member.name.to_string(),
            id: member.id.to_string(),
            datacenter: member.datacenter.to_string(),
            region: member.region.to_string(),
            zone: member.zone.to_string(),
            rack: member.rack.to_string(),
            role: member.role.to_string(),
            status: member.status.to_string(),
            elected: member.elected,
            incarnation: member.incarnation.into(),
            address: member.address.to_string(),
            tags: member.tags.clone(),
            health: member.health,
            since: clock.date(member.since),
            rtt_ms: member.rtt_ms,
        }
    }
}

/// `GET /v1/members`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MembersBody {
    pub(crate) schema: String,
    pub(crate) view: ViewInfo,
    pub(crate) members: Vec<Member>,
    /// How many fit the filters, on all pages together.
    pub(crate) total: usize,
    /// Give it as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

impl MembersBody {
    pub(crate) const SCHEMA: &str = "pelago.members/1";
}

/// A member with everything known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberDetail {
    #[serde(flatten)]
    pub(crate) member: Member,
    /// QUIC address for LAN streams.
    pub(crate) stream_address: String,
    /// WAN address of a server.
    pub(crate) wan_address: Option<String>,
    /// When it took its seat.
    pub(crate) elected_since: Option<Timestamp>,
    /// A pause this long must not be taken for a death.
    pub(crate) pause_tolerance_ms: u64,
    /// End of its certificate.
    pub(crate) not_after: Timestamp,
    /// Two processes were seen with its key.
    pub(crate) clone: bool,
    /// The software that it runs.
    pub(crate) version: String,
}

impl MemberDetail {
    pub(crate) fn new(member: &view::Member, clock: &Clock) -> Self {
        Self {
            member: Member::new(member, clock),
            stream_address: member.stream_address.to_string(),
            wan_address: member.wan_address.map(|address| address.to_string()),
            elected_since: member.elected_since.map(|since| clock.date(since)),
            pause_tolerance_ms: member.pause_tolerance_ms,
            not_after: clock::from_unix_seconds(member.not_after),
            clone: member.clone,
            version: member.version.clone(),
        }
    }
}

/// `GET /v1/members/{node}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberBody {
    pub(crate) schema: String,
    pub(crate) view: ViewInfo,
    pub(crate) member: MemberDetail,
}

impl MemberBody {
    pub(crate) const SCHEMA: &str = "pelago.member/1";
}
