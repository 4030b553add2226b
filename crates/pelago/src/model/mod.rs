//! The JSON of the API: a versioned contract, kept apart from the protocol's own types so that either may change alone.
//!
//! The server writes these structs and the command line reads them. Every document names its `schema`; fields are
//! added, never renamed. Times are RFC 3339 in UTC, durations are numbers of milliseconds named `*_ms`.

mod clock;
mod compare;
mod datacenter;
mod event;
mod find;
mod member;
mod node;
mod problem;
mod server;
mod view;
mod why;

pub(crate) use clock::{Clock, from_unix_seconds};
pub(crate) use compare::{Comparison, Difference};
pub(crate) use datacenter::{Datacenter, DatacenterBody, DatacentersBody};
pub(crate) use event::Event;
pub(crate) use find::find;
pub(crate) use member::{Incarnation, Member, MemberBody, MemberDetail, MembersBody};
pub(crate) use node::{
    Api, CrlBody, JoinBody, LeaveBody, Link, LinksBody, ReloadBody, RemovalBody, SelfBody,
    StatusBody, Verdict,
};
pub(crate) use problem::{Cause, Problem};
pub(crate) use server::{Server, ServersBody};
pub(crate) use view::{ViewInfo, selected};
pub(crate) use why::{Accusation, WhyBody};

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fixture;
#[cfg(test)]
mod golden;
