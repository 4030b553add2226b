//! Events.

use super::{Incarnation, clock};
use jiff::Timestamp;
use pelago_node::api::NumberedEvent;
use serde::{Deserialize, Serialize};

/// The data of a server-sent event; its number is the event's `id`, its kind the event's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) schema: String,
    /// Rises by one per event of the answering process.
    pub(crate) id: u64,
    pub(crate) time: Timestamp,
    /// `joined`, `suspect`, `alive`, `dead`, `left`, `elected`, …
    pub(crate) kind: String,
    pub(crate) datacenter: String,
    /// Id of the member it is about, if it is about one.
    pub(crate) member: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) incarnation: Option<Incarnation>,
    /// One sentence.
    pub(crate) detail: String,
}

impl Event {
    pub(crate) const SCHEMA: &str = "pelago.event/1";
}

impl From<&NumberedEvent> for Event {
    fn from(it: &NumberedEvent) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            id: it.id,
            time: clock::from_unix_millis(it.unix_ms),
            kind: it.event.kind.as_str().to_owned(),
            datacenter: it.event.datacenter.to_string(),
            member: it.event.member.map(|id| id.to_string()),
            name: it.event.name.as_ref().map(ToString::to_string),
            incarnation: it.event.incarnation.map(Incarnation::from),
            detail: it.event.detail.clone(),
        }
    }
}
