//! Answers about members: whose view it is stands in the headers too, and an unchanged view is not sent again.

use crate::model::ViewInfo;
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The body with its headers, or 304 if the caller holds the same view already.
pub(crate) fn reply(request: &HeaderMap, view: &ViewInfo, body: &impl Serialize) -> Response {
    let etag = view.etag();
    let mut response = match holds(request, &etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(body).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    for (name, text) in [
        ("etag", &etag),
        ("pelago-viewer", &view.viewer),
        ("pelago-view", &view.mode),
    ] {
        set(headers, name, text);
    }
    if !view.partial.is_empty() {
        set(headers, "pelago-partial", &view.partial.join(", "));
    }
    response
}

fn set(headers: &mut HeaderMap, name: &'static str, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn holds(request: &HeaderMap, etag: &str) -> bool {
    let given = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    given
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag)
}
