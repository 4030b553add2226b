//! The page for people at `/`, and the contract at `/openapi.json`. Nothing is loaded from elsewhere.

use super::fault::Fault;
use axum::{
    extract::Path,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn index() -> Response {
    file(
        "text/html; charset=utf-8",
        include_str!("assets/index.html"),
    )
}

pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Fault> {
    match name.as_str() {
        "pelago.css" => Ok(file(
            "text/css; charset=utf-8",
            include_str!("assets/pelago.css"),
        )),
        "pelago.js" => Ok(file(
            "text/javascript; charset=utf-8",
            include_str!("assets/pelago.js"),
        )),
        _ => Err(Fault::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "nothing is served there",
        )),
    }
}

pub(super) async fn openapi() -> Response {
    file("application/json", include_str!("assets/openapi.json"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
