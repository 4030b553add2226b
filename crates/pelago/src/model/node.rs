//! The answering node itself: who it is, how it does, its links, and what changing calls did.

use super::{Cause, Datacenter, Incarnation, clock};
use jiff::Timestamp;
use pelago_node::api;
use pelago_pki::ListEntry;
use pelago_proto::view::View;
use serde::{Deserialize, Serialize};

/// `GET /v1/self`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SelfBody {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) trust_domain: String,
    pub(crate) region: String,
    pub(crate) datacenter: String,
    pub(crate) zone: String,
    pub(crate) rack: String,
    pub(crate) role: String,
    /// Whether it holds a WAN seat.
    pub(crate) elected: bool,
    pub(crate) incarnation: Incarnation,
    /// LAN address, UDP.
    pub(crate) address: String,
    /// LAN address, QUIC.
    pub(crate) stream_address: String,
    pub(crate) wan_address: Option<String>,
    /// Joined, or announced alone.
    pub(crate) joined: bool,
    /// 0 (healthy) to 8.
    pub(crate) health: u8,
    /// End of its certificate.
    pub(crate) not_after: Timestamp,
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    /// The revocation lists it goes by, the root's first.
    #[serde(default)]
    pub(crate) revocation_lists: Vec<RevocationList>,
}

/// The newest revocation list of one issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevocationList {
    /// A datacenter, or the trust domain for the root's.
    pub(crate) issuer: String,
    pub(crate) number: u64,
    /// Certificates that it names.
    pub(crate) revoked: usize,
    pub(crate) next_update: Timestamp,
}

impl SelfBody {
    pub(crate) const SCHEMA: &str = "pelago.self/1";

    pub(crate) fn new(me: &api::Me, view: &View, lists: &[ListEntry], uptime_ms: u64) -> Self {
        let own = view
            .datacenters
            .get(&me.datacenter)
            .and_then(|it| it.members.iter().find(|it| it.id == me.id));
        Self {
            schema: Self::SCHEMA.to_owned(),
            name: me.name.to_string(),
            id: me.id.to_string(),
            trust_domain: me.trust_domain.clone(),
            region: me.region.to_string(),
            datacenter: me.datacenter.to_string(),
            zone: me.zone.to_string(),
            rack: me.rack.to_string(),
            role: me.role.to_string(),
            elected: own.is_some_and(|member| member.elected),
            incarnation: view.incarnation.into(),
            address: me.lan.to_string(),
            stream_address: me.lan_stream.to_string(),
            wan_address: me.wan.map(|address| address.to_string()),
            joined: view.joined,
            health: view.health,
            // The certificate may have been renewed since the start.
            not_after: clock::from_unix_seconds(own.map_or(me.not_after, |it| it.not_after)),
            version: me.version.clone(),
            uptime_ms,
            revocation_lists: revocation_lists(me, lists),
        }
    }
}

fn revocation_lists(me: &api::Me, lists: &[ListEntry]) -> Vec<RevocationList> {
    let mut lists: Vec<&ListEntry> = lists.iter().collect();
    lists.sort_by_key(|list| (&list.datacenter, list.issuer));
    let shown = |list: &&ListEntry| RevocationList {
        issuer: list
            .datacenter
            .clone()
            .unwrap_or_else(|| me.trust_domain.clone()),
        number: list.number,
        revoked: list.revoked,
        next_update: clock::from_unix_seconds(list.next_update),
    };
    lists.iter().map(shown).collect()
}

/// How things stand, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Healthy,
    /// Serving, with something that wants attention.
    Degraded,
    /// Not serving, or not joined.
    Unhealthy,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatusBody {
    pub(crate) schema: String,
    pub(crate) verdict: Verdict,
    /// What speaks against `healthy`, one sentence each.
    pub(crate) reasons: Vec<String>,
    /// What will want attention: certificates and lists of whose life half is over.
    #[serde(default)]
    pub(crate) notices: Vec<String>,
    pub(crate) live: bool,
    pub(crate) ready: bool,
    pub(crate) node: SelfBody,
    pub(crate) datacenters: Vec<Datacenter>,
    pub(crate) api: Api,
}

/// Where and for whom the API listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Api {
    pub(crate) socket: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) tls: bool,
    /// Sources that may read in plaintext, beside loopback.
    pub(crate) plain_read: Vec<String>,
}

impl StatusBody {
    pub(crate) const SCHEMA: &str = "pelago.status/1";

    pub(crate) fn new(
        node: SelfBody,
        condition: &api::Condition,
        datacenters: Vec<Datacenter>,
        api: Api,
    ) -> Self {
        let mut reasons = Vec::new();
        if !condition.live {
            reasons.push("the node is not serving".to_owned());
        }
        if !condition.ready {
            reasons.push("the node has not joined its datacenter yet".to_owned());
        }
        let unhealthy = !reasons.is_empty();
        reasons.extend(condition.degraded.iter().cloned());
        if node.health > 0 {
            reasons.push(format!(
                "this node is {} of 8 away from healthy: it is late or loses packets",
                node.health
            ));
        }
        reasons.extend(datacenters.iter().flat_map(about));
        let verdict = match (unhealthy, reasons.is_empty()) {
            (true, _) => Verdict::Unhealthy,
            (false, true) => Verdict::Healthy,
            (false, false) => Verdict::Degraded,
        };
        let (live, ready) = (condition.live, condition.ready);
        Self {
            schema: Self::SCHEMA.to_owned(),
            verdict,
            reasons,
            notices: condition.notices.clone(),
            live,
            ready,
            node,
            datacenters,
            api,
        }
    }
}

fn about(datacenter: &Datacenter) -> Vec<String> {
    let name = &datacenter.name;
    let mut reasons = Vec::new();
    match datacenter.reachability.as_str() {
        "degraded" => reasons.push(format!("{name} is reached through another datacenter only")),
        "unreachable" => reasons.push(match datacenter.age_ms {
            None => format!("{name} has never been reached"),
            Some(age) => format!("{name} is unreachable for {} s", age / 1000),
        }),
        _ => {}
    }
    for status in ["suspect", "unreachable", "dead"] {
        let lost = datacenter.count(status);
        if lost > 0 {
            reasons.push(format!(
                "{name}: {lost} of {} members {status}",
                datacenter.members
            ));
        }
    }
    if datacenter.elected == 0 && datacenter.members > 0 && datacenter.reachability != "unreachable"
    {
        reasons.push(format!("{name} has no elected server"));
    }
    reasons
}

/// One direction of a WAN link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) from: String,
    pub(crate) from_datacenter: String,
    /// The other end, or its address while nobody has answered there.
    pub(crate) to: String,
    pub(crate) to_id: Option<String>,
    pub(crate) to_datacenter: Option<String>,
    pub(crate) address: String,
    /// `up`, `dialling` or `down`.
    pub(crate) state: String,
    pub(crate) rtt_ms: Option<f64>,
    /// Share of packets lost, 0 to 1.
    pub(crate) loss: Option<f64>,
    pub(crate) last_contact_ms: Option<u64>,
    /// End of the other end's certificate.
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) error: Option<String>,
}

impl From<&api::Link> for Link {
    fn from(link: &api::Link) -> Self {
        Self {
            from: link.from.to_string(),
            from_datacenter: link.from_datacenter.to_string(),
            to: link.to.clone(),
            to_id: link.to_id.map(|id| id.to_string()),
            to_datacenter: link.to_datacenter.as_ref().map(ToString::to_string),
            address: link.address.to_string(),
            state: link.state.clone(),
            rtt_ms: link.rtt_ms,
            loss: link.loss,
            last_contact_ms: link.last_contact_ms,
            not_after: link.not_after.map(clock::from_unix_seconds),
            error: link.error.clone(),
        }
    }
}

/// `GET /v1/links`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinksBody {
    pub(crate) schema: String,
    pub(crate) links: Vec<Link>,
}

impl LinksBody {
    pub(crate) const SCHEMA: &str = "pelago.links/1";
}

/// `POST /v1/join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinBody {
    pub(crate) schema: String,
    /// Addresses that answered.
    pub(crate) joined: Vec<String>,
    pub(crate) failed: Vec<Cause>,
}

impl JoinBody {
    pub(crate) const SCHEMA: &str = "pelago.join/1";
}

/// `POST /v1/removals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovalBody {
    pub(crate) schema: String,
    /// Whom it removes.
    pub(crate) id: String,
    /// Its name, if it is known here.
    pub(crate) name: Option<String>,
    pub(crate) datacenter: String,
    /// Until when it may not return.
    pub(crate) until: Timestamp,
}

impl RemovalBody {
    pub(crate) const SCHEMA: &str = "pelago.removal/1";
}

/// `POST /v1/crls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrlBody {
    pub(crate) schema: String,
    /// A datacenter, or the trust domain for the root's.
    pub(crate) issuer: String,
    pub(crate) number: u64,
    /// Whether it was not held already.
    pub(crate) news: bool,
    /// Members that were known here and are not any more.
    pub(crate) gone: usize,
}

impl CrlBody {
    pub(crate) const SCHEMA: &str = "pelago.crl/1";
}

/// `POST /v1/leave`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaveBody {
    pub(crate) schema: String,
    /// Always true: the goodbye is out.
    pub(crate) left: bool,
}

impl LeaveBody {
    pub(crate) const SCHEMA: &str = "pelago.leave/1";
}

/// `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadBody {
    pub(crate) schema: String,
    /// What is in force now.
    pub(crate) applied: Vec<String>,
    /// What went wrong; the old state stays in force.
    pub(crate) failed: Vec<String>,
}

impl ReloadBody {
    pub(crate) const SCHEMA: &str = "pelago.reload/1";
}
