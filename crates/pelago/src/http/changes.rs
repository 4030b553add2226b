//! Changing calls: join, remove, revoke, leave, reload. Who may make them is decided in [`super::access`].

use super::{Api, fault::Fault};
use crate::model::{
    Cause, CrlBody, JoinBody, LeaveBody, ReloadBody, RemovalBody, from_unix_seconds,
};
use axum::{Json, body::Bytes, extract::State};
use pelago_proto::wire::Item;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use serde::Deserialize;

/// A list of the largest size in hexadecimal digits, and what is around it.
pub(super) const MAX_CRL_BODY: usize = 2 * pelago_pki::MAX_CRL + 4096;
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

/// A claim and the certificate of whoever signed it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovalRequest {
    /// COSE_Sign1, in hexadecimal digits.
    claim: String,
    /// PEM; of several certificates the first.
    certificate: String,
}

pub(super) async fn remove(State(shared): Api, body: Bytes) -> Result<Json<RemovalBody>, Fault> {
    let example = "pelago remove NODE --cert FILE --key FILE signs and sends what belongs here";
    let request: RemovalRequest = serde_json::from_slice(&body).map_err(|error| {
        Fault::bad_parameter(format!("the body is not understood: {error}")).hint(example)
    })?;
    let claim = unhex(&request.claim)
        .ok_or_else(|| Fault::bad_parameter("the claim is not hexadecimal").hint(example))?;
    let leaf = CertificateDer::from_pem_slice(request.certificate.as_bytes()).map_err(|_| {
        Fault::bad_parameter("the certificate is not a certificate in PEM").hint(example)
    })?;
    let item = Item {
        claim: claim.into(),
        leaf: Some(leaf.as_ref().into()),
    };
    let done = shared.backend.remove(item).await.map_err(Fault::remove)?;
    tracing::info!(id = %done.removed, datacenter = %done.datacenter, until = done.until, "took a removal");
    Ok(Json(RemovalBody {
        schema: RemovalBody::SCHEMA.to_owned(),
        id: done.removed.to_string(),
        name: done.name.map(|name| name.to_string()),
        datacenter: done.datacenter.to_string(),
        until: from_unix_seconds(done.until),
    }))
}

/// A revocation list, which proves itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CrlRequest {
    /// PEM, or DER in hexadecimal digits.
    crl: String,
}

pub(super) async fn revoke(State(shared): Api, body: Bytes) -> Result<Json<CrlBody>, Fault> {
    let example = "pelago revoke FILE sends what belongs here";
    let request: CrlRequest = serde_json::from_slice(&body).map_err(|error| {
        Fault::bad_parameter(format!("the body is not understood: {error}")).hint(example)
    })?;
    let pem = CertificateRevocationListDer::from_pem_slice(request.crl.as_bytes());
    let crl = pem
        .ok()
        .map(|crl| crl.as_ref().to_vec())
        .or_else(|| unhex(&request.crl))
        .ok_or_else(|| {
            Fault::bad_parameter("this is not a revocation list, neither PEM nor hexadecimal DER")
                .hint(example)
        })?;
    let done = shared.backend.revoke(crl).await.map_err(Fault::revoke)?;
    let root = || shared.backend.me().trust_domain.clone();
    let issuer = done.datacenter.map_or_else(root, |name| name.to_string());
    if done.news {
        tracing::info!(
            issuer,
            number = done.number,
            gone = done.gone,
            "took a revocation list"
        );
    }
    Ok(Json(CrlBody {
        schema: CrlBody::SCHEMA.to_owned(),
        issuer,
        number: done.number,
        news: done.news,
        gone: done.gone,
    }))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
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
