//! What a node shows of its knowledge: plain data, published as a whole, safe to keep.

use crate::{
    identity::{Incarnation, Label, NodeId, Role},
    time::Time,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc};

/// What is known of a member's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No standing accusation.
    Alive,
    /// Accused at its current incarnation.
    Suspect,
    /// Accused beyond its pause tolerance, but not by enough: nobody can tell, so nobody claims.
    Unreachable,
    /// A verdict stands.
    Dead,
    /// It said goodbye.
    Left,
    /// An operator removed it.
    Removed,
}

impl Status {
    /// Every status, best first.
    pub const ALL: [Self; 6] = [
        Self::Alive,
        Self::Suspect,
        Self::Unreachable,
        Self::Dead,
        Self::Left,
        Self::Removed,
    ];

    /// The word that users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Unreachable => "unreachable",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a datacenter can be reached from where the answer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// It is the answering node's own.
    Local,
    /// A direct link to one of its elected servers is up.
    Reachable,
    /// Fresh only through another datacenter.
    Degraded,
    /// Nothing new for 10 s.
    Unreachable,
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Reachable => "reachable",
            Self::Degraded => "degraded",
            Self::Unreachable => "unreachable",
        })
    }
}

/// One member as a view shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Key hash.
    pub id: NodeId,
    /// Certified name.
    pub name: Label,
    /// Certified datacenter.
    pub datacenter: Label,
    /// Region the member says it is in.
    pub region: Label,
    /// Certified zone.
    pub zone: Label,
    /// Certified rack.
    pub rack: Label,
    /// Certified role.
    pub role: Role,
    /// What is known of its life.
    pub status: Status,
    /// When that status began, on the viewer's clock ([`View::at`]).
    pub since: Time,
    /// Whether it holds a WAN seat.
    pub elected: bool,
    /// Since when, as far as the viewer knows; `None` without a seat.
    pub elected_since: Option<Time>,
    /// Newest incarnation that it signed.
    pub incarnation: Incarnation,
    /// LAN address; informational for members of other datacenters.
    pub address: SocketAddr,
    /// QUIC address for LAN streams.
    pub stream_address: SocketAddr,
    /// WAN address of a server.
    pub wan_address: Option<SocketAddr>,
    /// Free labels that the member signed.
    pub tags: BTreeMap<String, String>,
    /// 0 = healthy … 8: what the member says of itself.
    pub health: u8,
    /// Longest pause, ms, that must not be taken for a death.
    pub pause_tolerance_ms: u64,
    /// Certificate end, Unix seconds.
    pub not_after: u64,
    /// Smoothed round trip from the viewer, if it measured one.
    pub rtt_ms: Option<f64>,
    /// Two processes were seen with this member's key.
    pub clone: bool,
    /// The software version the member runs.
    pub version: String,
}

/// One datacenter as a view shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datacenter {
    /// Its name.
    pub name: Label,
    /// Region that most of its members name; `None` while it has no members here.
    pub region: Option<Label>,
    /// How it can be reached.
    pub reachability: Reachability,
    /// Age of what is shown: 0 for the own datacenter, `None` if nothing was ever heard of it.
    pub age_ms: Option<u64>,
    /// Whether a second server signed one of its last digests within 30 s.
    pub attested: bool,
    /// Set hash over the roster, 8 bytes as hex.
    pub digest: String,
    /// Seats it wants filled.
    pub seats: u8,
    /// Its members, by name then id, all statuses.
    pub members: Arc<Vec<Member>>,
}

/// Everything one node knows, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The viewer's clock when the view was taken.
    pub at: Time,
    /// Who looks.
    pub viewer: NodeId,
    /// The viewer's name.
    pub viewer_name: Label,
    /// The viewer's datacenter.
    pub datacenter: Label,
    /// The viewer's role: a client's view holds its own datacenter only.
    pub role: Role,
    /// Whether the viewer has joined (or announced itself alone) and its own record is out.
    pub joined: bool,
    /// The viewer's own incarnation.
    pub incarnation: Incarnation,
    /// 0 = healthy … 8: the viewer's Lifeguard score.
    pub health: u8,
    /// Datacenters by name.
    pub datacenters: BTreeMap<Label, Datacenter>,
}

impl View {
    /// Whether the viewer itself was removed: what it shows is what it knew until then.
    pub fn is_removed(&self) -> bool {
        let own = self.datacenters.get(&self.datacenter);
        let mut members = own.iter().flat_map(|datacenter| datacenter.members.iter());
        members.any(|member| member.id == self.viewer && member.status == Status::Removed)
    }
}

/// One accusation as evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccusationView {
    /// Who signed it.
    pub accuser: NodeId,
    /// The accuser's name, if its certificate is known here.
    pub accuser_name: Option<Label>,
    /// The accuser's zone and rack.
    pub accuser_rack: Option<(Label, Label)>,
    /// For how long the accused had not answered the accuser.
    pub silent_ms: u64,
    /// `timeout` or `port-closed`.
    pub basis: String,
    /// Whether the accuser could still reach at least half of its own datacenter.
    pub quorate: bool,
    /// Whether it counts for a verdict.
    pub counts: bool,
    /// When it arrived here.
    pub heard: Time,
}

/// A removal as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalView {
    /// Who signed it.
    pub operator: NodeId,
    /// The operator's name, by its certificate.
    pub operator_name: Label,
    /// Until when the member may not return, Unix seconds.
    pub until: u64,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// Two processes with one key, as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneView {
    /// When they were last seen, on the viewer's clock.
    pub seen: Time,
    /// First eight bytes of the SHA-256 of what one signed and of what the other did, hexadecimal: whoever keeps claims can
    /// tell them by it.
    pub claims: [String; 2],
}

/// The signed evidence behind a member's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The viewer's clock.
    pub at: Time,
    /// The member it is about.
    pub member: Member,
    /// The incarnation that the accusations name.
    pub accused: Option<Incarnation>,
    /// Accusations against that incarnation.
    pub accusations: Vec<AccusationView>,
    /// Distinct accusers that a verdict needs.
    pub needed: u8,
    /// Distinct racks that a verdict needs.
    pub needed_racks: u8,
    /// Silence that a `timeout` accusation must reach to count.
    pub floor_ms: u64,
    /// The removal that holds, if it was removed.
    pub removal: Option<RemovalView>,
    /// Two processes with its key, if they were seen in the last ten minutes.
    #[serde(default)]
    pub clone: Option<CloneView>,
    /// One sentence that says why the status is what it is.
    pub summary: String,
}

/// Something that happened to a member, datacenter or link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, on the viewer's clock.
    pub at: Time,
    /// What.
    pub kind: EventKind,
    /// The datacenter it happened in.
    pub datacenter: Label,
    /// The member it is about.
    pub member: Option<NodeId>,
    /// Its name.
    pub name: Option<Label>,
    /// Its incarnation then.
    pub incarnation: Option<Incarnation>,
    /// One sentence for people.
    pub detail: String,
}

/// Kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A member appeared.
    Joined,
    /// It was accused.
    Suspect,
    /// It refuted, or came back.
    Alive,
    /// Accused beyond its tolerance, without a verdict.
    Unreachable,
    /// A verdict stands.
    Dead,
    /// It left.
    Left,
    /// An operator removed it.
    Removed,
    /// Its record changed (tags, address, health, certificate).
    Updated,
    /// It took a WAN seat.
    Elected,
    /// It gave its seat up.
    Resigned,
    /// A datacenter's reachability changed.
    Reachability,
    /// A second process uses a member's key.
    Clone,
    /// Half of a rack is suspected at once.
    RackDegraded,
    /// Half of a zone is suspected at once.
    ZoneDegraded,
    /// A tombstone's time is over: the member is forgotten.
    Reaped,
}

impl EventKind {
    /// The word that users see, also the SSE event name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Suspect => "suspect",
            Self::Alive => "alive",
            Self::Unreachable => "unreachable",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::Updated => "updated",
            Self::Elected => "elected",
            Self::Resigned => "resigned",
            Self::Reachability => "reachability",
            Self::Clone => "clone",
            Self::RackDegraded => "rack-degraded",
            Self::ZoneDegraded => "zone-degraded",
            Self::Reaped => "reaped",
        }
    }
}
