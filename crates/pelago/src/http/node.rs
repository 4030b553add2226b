//! Questions about the answering node: who it is, how it does, its links; probes and metrics.

use super::{Api, Shared, fault::Fault, metrics, params::Params};
use crate::model::{Datacenter, Link, LinksBody, SelfBody, StatusBody};
use axum::{
    Json,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

fn self_body(shared: &Shared, view: &pelago_proto::view::View) -> SelfBody {
    let uptime = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    SelfBody::new(shared.backend.me(), view, &shared.backend.lists(), uptime)
}

pub(super) async fn own(
    State(shared): Api,
    RawQuery(query): RawQuery,
) -> Result<Json<SelfBody>, Fault> {
    Params::read(query.as_deref(), &[])?;
    Ok(Json(self_body(&shared, &shared.backend.snapshot().view)))
}

pub(super) async fn status(
    State(shared): Api,
    RawQuery(query): RawQuery,
) -> Result<Json<StatusBody>, Fault> {
    Params::read(query.as_deref(), &[])?;
    let snapshot = shared.backend.snapshot();
    let datacenters = snapshot
        .view
        .datacenters
        .values()
        .map(Datacenter::new)
        .collect();
    let node = self_body(&shared, &snapshot.view);
    Ok(Json(StatusBody::new(
        node,
        &shared.backend.condition(),
        datacenters,
        shared.listening.clone(),
    )))
}

pub(super) async fn links(
    State(shared): Api,
    RawQuery(query): RawQuery,
) -> Result<Json<LinksBody>, Fault> {
    let params = Params::read(query.as_deref(), &["own"])?;
    let links = shared.backend.links(!params.flag("own", false)?).await;
    let mut links: Vec<_> = links.iter().map(Link::from).collect();
    links.sort_by(|a, b| {
        (&a.from_datacenter, &a.from, &a.to).cmp(&(&b.from_datacenter, &b.from, &b.to))
    });
    Ok(Json(LinksBody {
        schema: LinksBody::SCHEMA.to_owned(),
        links,
    }))
}

/// About the process alone: a cluster in trouble is no reason to restart it.
pub(super) async fn livez(State(shared): Api) -> Response {
    probe(shared.backend.condition().live, "live")
}

pub(super) async fn readyz(State(shared): Api) -> Response {
    let condition = shared.backend.condition();
    probe(condition.live && condition.ready, "ready")
}

fn probe(good: bool, word: &str) -> Response {
    match good {
        true => (StatusCode::OK, format!("{word}\n")).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("not {word}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(shared): Api) -> Result<Response, Fault> {
    let text = shared.metrics.render(shared.backend.samples());
    let text = text.map_err(|error| {
        Fault::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        )
    })?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
