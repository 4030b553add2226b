//! Changing calls: join, leave, reload. Who may make them is decided in [`super::access`].

use super::{Api, fault::Fault};
use crate::model::{Cause, JoinBody, LeaveBody, ReloadBody};
use axum::{Json, body::Bytes, extract::State};
use serde::Deserialize;

const MAX_ADDRESSES: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinRequest {
    addresses: Vec<String>,
}

pub(super) async fn join(State(shared): Api, body: Bytes) -> Result<Json<JoinBody>, Fault> {
    let example = "send {\"addresses\": [\"10.81.0.11\"]}";
    let request: JoinRequest = serde_json::from_slice(&body).map_err(|error| {
        Fault::bad_parameter(format!("the body is not understood: {error}")).hint(example)
    })?;
    if request.addresses.is_empty() || request.addresses.len() > MAX_ADDRESSES {
        return Err(
            Fault::bad_parameter(format!("expected 1 to {MAX_ADDRESSES} addresses")).hint(example),
        );
    }
    if request
        .addresses
        .iter()
        .any(|address| address.is_empty() || address.len() > 260)
    {
        return Err(Fault::bad_parameter(
            "an address is a host name or IP, with or without a port",
        )
        .hint(example));
    }
    tracing::info!(addresses = ?request.addresses, "asked to join");
    let report = shared.backend.join(request.addresses).await;
    let failed = report.failed.iter().map(Cause::from).collect();
    Ok(Json(JoinBody {
        schema: JoinBody::SCHEMA.to_owned(),
        joined: report.joined,
        failed,
    }))
}

pub(super) async fn leave(State(shared): Api) -> Json<LeaveBody> {
    tracing::info!("asked to leave");
    shared.backend.leave().await;
    shared.left.notify_one();
    Json(LeaveBody {
        schema: LeaveBody::SCHEMA.to_owned(),
        left: true,
    })
}

pub(super) async fn reload(State(shared): Api) -> Json<ReloadBody> {
    tracing::info!("asked to reload");
    let report = shared.backend.reload().await;
    Json(ReloadBody {
        schema: ReloadBody::SCHEMA.to_owned(),
        applied: report.applied,
        failed: report.failed,
    })
}
