//! Datacenters, with their members counted.

use super::ViewInfo;
use pelago_proto::view::{self, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One datacenter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Datacenter {
    pub(crate) name: String,
    /// The region that most of its members name.
    pub(crate) region: Option<String>,
    /// `local`, `reachable`, `degraded` or `unreachable`.
    pub(crate) reachability: String,
    /// `None`: nothing was ever heard of it.
    pub(crate) age_ms: Option<u64>,
    /// Whether a second server signed the same.
    pub(crate) attested: bool,
    pub(crate) digest: String,
    /// WAN seats that it wants filled.
    pub(crate) seats: u8,
    /// Living members that hold one.
    pub(crate) elected: usize,
    /// All members that are known, whatever their status.
    pub(crate) members: usize,
    /// Members by status; every status is present.
    pub(crate) counts: BTreeMap<String, usize>,
}

impl Datacenter {
    pub(crate) fn new(datacenter: &view::Datacenter) -> Self {
        let count = |status| {
            datacenter
                .members
                .iter()
                .filter(|member| member.status == status)
                .count()
        };
        let living =
            |member: &&view::Member| matches!(member.status, Status::Alive | Status::Suspect);
        Self {
            name: datacenter.name.to_string(),
            region: datacenter.region.as_ref().map(ToString::to_string),
            reachability: datacenter.reachability.to_string(),
            age_ms: datacenter.age_ms,
            attested: datacenter.attested,
            digest: datacenter.digest.clone(),
            seats: datacenter.seats,
            elected: datacenter
                .members
                .iter()
                .filter(living)
                .filter(|member| member.elected)
                .count(),
            members: datacenter.members.len(),
            counts: Status::ALL
                .into_iter()
                .map(|status| (status.to_string(), count(status)))
                .collect(),
        }
    }

    /// Members with this status.
    pub(crate) fn count(&self, status: &str) -> usize {
        self.counts.get(status).copied().unwrap_or(0)
    }
}

/// `GET /v1/datacenters`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatacentersBody {
    pub(crate) schema: String,
    pub(crate) view: ViewInfo,
    pub(crate) datacenters: Vec<Datacenter>,
}

impl DatacentersBody {
    pub(crate) const SCHEMA: &str = "pelago.datacenters/1";
}

/// `GET /v1/datacenters/{dc}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatacenterBody {
    pub(crate) schema: String,
    pub(crate) view: ViewInfo,
    pub(crate) datacenter: Datacenter,
}

impl DatacenterBody {
    pub(crate) const SCHEMA: &str = "pelago.datacenter/1";
}
