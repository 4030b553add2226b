//! The evidence behind a status.

use super::{Clock, Incarnation, Member, from_unix_seconds};
use jiff::Timestamp;
use pelago_proto::view;
use serde::{Deserialize, Serialize};

/// `GET /v1/members/{node}/why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WhyBody {
    pub(crate) schema: String,
    /// Who shows it.
    pub(crate) viewer: String,
    /// When.
    pub(crate) at: Timestamp,
    pub(crate) member: Member,
    /// One sentence.
    pub(crate) summary: String,
    /// What an operator signed, if it was removed.
    #[serde(default)]
    pub(crate) removal: Option<Removal>,
    /// Two processes with its key, if they were seen in the last ten minutes.
    #[serde(default)]
    pub(crate) clone: Option<CloneSeen>,
    /// The incarnation that the accusations name.
    pub(crate) accused: Option<Incarnation>,
    /// Each signed by its accuser, in order of arrival.
    pub(crate) accusations: Vec<Accusation>,
    /// Distinct accusers that a verdict needs.
    pub(crate) needed: u8,
    /// Distinct racks that a verdict needs.
    pub(crate) needed_racks: u8,
    /// Silence that an accusation with basis `timeout` must reach to count.
    pub(crate) floor_ms: u64,
}

/// Two processes with one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloneSeen {
    /// When they were last seen.
    pub(crate) seen: Timestamp,
    /// Hashes of what one signed and of what the other did.
    pub(crate) claims: [String; 2],
}

/// A removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removal {
    /// The name in the certificate of whoever signed it.
    pub(crate) operator: String,
    pub(crate) operator_id: String,
    /// Until when the member may not return.
    pub(crate) until: Timestamp,
    /// In the operator's words; may be empty.
    pub(crate) reason: String,
}

impl From<&view::RemovalView> for Removal {
    fn from(it: &view::RemovalView) -> Self {
        Self {
            operator: it.operator_name.to_string(),
            operator_id: it.operator.to_string(),
            until: from_unix_seconds(it.until),
            reason: it.reason.clone(),
        }
    }
}

/// One accusation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accusation {
    /// The accuser's name, or its id where its certificate is not known.
    pub(crate) accuser: String,
    pub(crate) accuser_id: String,
    pub(crate) zone: Option<String>,
    pub(crate) rack: Option<String>,
    /// For how long the accused had not answered.
    pub(crate) silent_ms: u64,
    /// `timeout` or `port-closed`.
    pub(crate) basis: String,
    /// Whether the accuser could still reach half of its datacenter.
    pub(crate) quorate: bool,
    /// Whether it counts for a verdict.
    pub(crate) counts: bool,
    /// When it arrived at the viewer.
    pub(crate) heard: Timestamp,
}

impl WhyBody {
    pub(crate) const SCHEMA: &str = "pelago.why/1";

    /// `wall` is the wall clock at [`view::Evidence::at`].
    pub(crate) fn new(
        evidence: &view::Evidence,
        viewer: String,
        wall: std::time::SystemTime,
    ) -> Self {
        let clock = Clock {
            at: evidence.at,
            wall,
        };
        let mut accusations: Vec<_> = evidence
            .accusations
            .iter()
            .map(|it| Accusation::new(it, &clock))
            .collect();
        accusations.sort_by(|a, b| (a.heard, &a.accuser_id).cmp(&(b.heard, &b.accuser_id)));
        Self {
            schema: Self::SCHEMA.to_owned(),
            viewer,
            at: clock.date(evidence.at),
            member: Member::new(&evidence.member, &clock),
            summary: evidence.summary.clone(),
            removal: evidence.removal.as_ref().map(Removal::from),
            clone: evidence.clone.as_ref().map(|it| CloneSeen {
                seen: clock.date(it.seen),
                claims: it.claims.clone(),
            }),
            accused: evidence.accused.map(Incarnation::from),
            accusations,
            needed: evidence.needed,
            needed_racks: evidence.needed_racks,
            floor_ms: evidence.floor_ms,
        }
    }
}

impl Accusation {
    fn new(it: &view::AccusationView, clock: &Clock) -> Self {
        let place = it.accuser_rack.as_ref();
        Self {
            accuser: it
                .accuser_name
                .as_ref()
                .map_or_else(|| it.accuser.to_string(), ToString::to_string),
            accuser_id: it.accuser.to_string(),
            zone: place.map(|(zone, _)| zone.to_string()),
            rack: place.map(|(_, rack)| rack.to_string()),
            silent_ms: it.silent_ms,
            basis: it.basis.clone(),
            quorate: it.quorate,
            counts: it.counts,
            heard: clock.date(it.heard),
        }
    }
}
