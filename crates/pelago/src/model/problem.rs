//! What went wrong, as RFC 9457 asks for: a stable code for programs, a sentence and a hint for people.

use pelago_node::api::{self, Missing};
use serde::{Deserialize, Serialize};

/// `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// `urn:pelago:problem:` and the code.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    /// Stable; programs may match on it.
    pub(crate) code: String,
    pub(crate) detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// One per failed attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
    /// What an ambiguous name may mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) candidates: Vec<String>,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// The datacenter it was about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) datacenter: Option<String>,
    /// The server tried.
    pub(crate) server: String,
    /// Where.
    pub(crate) address: Option<String>,
    /// What went wrong.
    pub(crate) error: String,
}

impl Cause {
    /// The attempts behind a missing datacenter.
    pub(crate) fn of(missing: &Missing) -> impl Iterator<Item = Self> {
        let datacenter = missing.datacenter.to_string();
        missing.causes.iter().map(move |cause| Self {
            datacenter: Some(datacenter.clone()),
            ..cause.into()
        })
    }
}

impl From<&api::Cause> for Cause {
    fn from(cause: &api::Cause) -> Self {
        Self {
            datacenter: None,
            server: cause.server.clone(),
            address: cause.address.map(|address| address.to_string()),
            error: cause.error.clone(),
        }
    }
}
