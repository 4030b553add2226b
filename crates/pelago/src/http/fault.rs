//! Errors of the API: each with a stable code, and a hint that says what to do next.

use crate::model::Problem;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use pelago_node::{FindError, RemoveError, RevokeError};
use pelago_proto::federation::{ListError, RemovalError};

/// A problem on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Fault(Box<Problem>);

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            kind: format!("urn:pelago:problem:{code}"),
            title: sentence(code),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            hint: None,
            causes: Vec::new(),
            candidates: Vec::new(),
        }))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub(crate) fn candidates(mut self, candidates: Vec<String>) -> Self {
        self.0.candidates = candidates;
        self
    }

    pub(crate) fn bad_parameter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", detail)
    }

    pub(crate) fn not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-allowed", detail)
    }

    pub(crate) fn unknown_datacenter(name: &str, known: Vec<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown-datacenter",
            format!("no datacenter \"{name}\" is known here"),
        )
        .hint("GET /v1/datacenters lists those that are")
        .candidates(known)
    }

    /// A member that could not be named.
    pub(crate) fn find(needle: &str, error: &FindError) -> Self {
        match error {
            FindError::None => Self::new(
                StatusCode::NOT_FOUND,
                "no-such-member",
                format!("no member \"{needle}\" is known here"),
            )
            .hint("a member is named by its name, name.datacenter, or the start of its id"),
            FindError::Ambiguous(candidates) => {
                let detail = format!("\"{needle}\" fits {} members", candidates.len());
                Self::new(StatusCode::CONFLICT, "ambiguous-member", detail)
                    .hint("add the datacenter, or use the start of the id")
                    .candidates(candidates.clone())
            }
        }
    }

    /// A removal that was not taken.
    pub(crate) fn remove(error: RemoveError) -> Self {
        use RemovalError as E;
        let (status, code) = match &error {
            RemoveError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            RemoveError::Refused(E::Malformed | E::Over) => {
                (StatusCode::BAD_REQUEST, "bad-parameter")
            }
            RemoveError::Refused(E::Certificate(_) | E::Refused(_) | E::Elsewhere { .. }) => {
                (StatusCode::FORBIDDEN, "not-allowed")
            }
            RemoveError::Refused(E::NoWay(_)) => (StatusCode::NOT_FOUND, "unknown-datacenter"),
            RemoveError::Refused(E::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            RemoveError::Refused(_) => (StatusCode::INSUFFICIENT_STORAGE, "full"),
        };
        let fault = Self::new(status, code, error.to_string());
        match error {
            RemoveError::Refused(E::Certificate(_) | E::Refused(_)) => {
                fault.hint("a removal is signed with an operator certificate of the member's datacenter: pelago pki issue --role operator")
            }
            RemoveError::Refused(E::Elsewhere { member, .. }) => {
                fault.hint(format!("sign it with an operator certificate of {member}"))
            }
            _ => fault,
        }
    }

    /// A revocation list that was not taken.
    pub(crate) fn revoke(error: RevokeError) -> Self {
        use ListError as E;
        let (status, code, hint) = match &error {
            RevokeError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", ""),
            RevokeError::Refused(E::TooLarge(_)) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "rekey the authority rather than revoke so many",
            ),
            RevokeError::Refused(E::Stale { .. }) => (
                StatusCode::CONFLICT,
                "stale-list",
                "pelago pki crl signs the list anew with a higher number",
            ),
            RevokeError::Refused(E::Refused(refusal)) => match refusal.0 {
                "malformed" => (
                    StatusCode::BAD_REQUEST,
                    "bad-parameter",
                    "pelago pki revoke and pelago pki crl write lists",
                ),
                "from-future" => (
                    StatusCode::FORBIDDEN,
                    "not-allowed",
                    "compare the clocks here and where it was signed",
                ),
                _ => (
                    StatusCode::FORBIDDEN,
                    "not-allowed",
                    "only the root and the datacenters' authorities issue lists",
                ),
            },
            RevokeError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy", ""),
        };
        let detail = match &error {
            RevokeError::Refused(E::Refused(refusal)) => match refusal.0 {
                "malformed" => "this is not a revocation list".to_owned(),
                "unknown-issuer" | "unknown_issuer" => {
                    "the list's issuer is not known here".to_owned()
                }
                "bad-signature" => "the list's signature is not its issuer's".to_owned(),
                "from-future" => "the list was issued more than 5 minutes ahead of now".to_owned(),
                _ => error.to_string(),
            },
            _ => error.to_string(),
        };
        let fault = Self::new(status, code, detail);
        if hint.is_empty() {
            fault
        } else {
            fault.hint(hint)
        }
    }

    #[cfg(test)]
    pub(crate) fn problem(&self) -> &Problem {
        &self.0
    }
}

/// `no-such-member` → `No such member`.
fn sentence(code: &str) -> String {
    let words = code.replace('-', " ");
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
