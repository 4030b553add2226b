//! `/v1/sd/prometheus`: living members as scrape targets, in the form of Prometheus' `http_sd`.

use super::{Api, fault::Fault, params::Params};
use crate::model::selected;
use axum::{
    Json,
    extract::{RawQuery, State},
};
use pelago_node::api::Scope;
use pelago_proto::view::Status;
use serde::Serialize;
use std::{collections::BTreeMap, net::SocketAddr};

/// Where an agent's API listens unless told otherwise.
const PORT: u64 = 8700;

/// Targets that share their labels.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    targets: Vec<String>,
    labels: BTreeMap<&'static str, String>,
}

/// `?port=` names the port to scrape at the members' LAN addresses; the filters are those of `/v1/members`.
pub(super) async fn prometheus(
    State(shared): Api,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Group>>, Fault> {
    let known = [
        "port", "dc", "zone", "rack", "role", "status", "elected", "view",
    ];
    let params = Params::read(query.as_deref(), &known)?;
    let port = params.number("port")?.unwrap_or(PORT);
    let port =
        u16::try_from(port).map_err(|_| Fault::bad_parameter("port: expected 1 to 65535"))?;
    let filter = params.filter()?;
    let answer = shared
        .backend
        .ask(params.mode()?, params.scope(Scope::Own)?)
        .await;
    let living = |status| {
        matches!(
            status,
            Status::Alive | Status::Suspect | Status::Unreachable
        )
    };
    let members = selected(&answer)
        .into_values()
        .flat_map(|(datacenter, _)| datacenter.members.iter());
    let wanted = members.filter(|member| filter.fits(member) && living(member.status));
    let groups = wanted.map(|member| Group {
        targets: vec![SocketAddr::new(member.address.ip(), port).to_string()],
        labels: BTreeMap::from([
            ("__meta_pelago_datacenter", member.datacenter.to_string()),
            ("__meta_pelago_name", member.name.to_string()),
            ("__meta_pelago_rack", member.rack.to_string()),
            ("__meta_pelago_region", member.region.to_string()),
            ("__meta_pelago_role", member.role.to_string()),
            ("__meta_pelago_status", member.status.to_string()),
            ("__meta_pelago_zone", member.zone.to_string()),
        ]),
    });
    Ok(Json(groups.collect()))
}
