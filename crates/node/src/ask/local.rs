//! What a view says about whom to ask, and moments carried from one node's clock to another's.

use crate::api::{Part, Scope};
use pelago_proto::{
    identity::Label,
    time::Time,
    view::{Evidence, Member, Status, View},
};

/// The datacenters that a question is about, by name.
pub(super) fn datacenters_in(view: &View, scope: &Scope) -> Vec<Label> {
    match scope {
        Scope::Own => vec![view.datacenter.clone()],
        Scope::One(name) => vec![name.clone()],
        Scope::All => view.datacenters.keys().cloned().collect(),
    }
}

/// One viewer's own knowledge.
pub(super) fn part_of(view: &View, scope: &Scope) -> Part {
    let names = datacenters_in(view, scope);
    Part {
        viewer: view.viewer,
        viewer_name: view.viewer_name.clone(),
        viewer_datacenter: view.datacenter.clone(),
        datacenters: names
            .iter()
            .filter_map(|name| view.datacenters.get(name).cloned())
            .collect(),
    }
}

/// Members that may well answer.
pub(super) fn living<'a>(
    view: &'a View,
    datacenter: &Label,
) -> impl Iterator<Item = &'a Member> + use<'a> {
    let members = view
        .datacenters
        .get(datacenter)
        .map(|d| d.members.as_slice())
        .unwrap_or_default();
    members
        .iter()
        .filter(|m| matches!(m.status, Status::Alive | Status::Suspect))
}

/// Elected servers of a datacenter. Of one that is not reachable at all, whoever sat there last may be back.
pub(super) fn elected_of<'a>(view: &'a View, datacenter: &Label) -> Vec<&'a Member> {
    let mut all: Vec<_> = living(view, datacenter).filter(|m| m.elected).collect();
    all.sort_by_key(|m| (m.status, m.health));
    all
}

/// Whether the viewer itself holds a seat.
pub(super) fn elected(view: &View) -> bool {
    living(view, &view.datacenter).any(|m| m.id == view.viewer && m.elected)
}

/// The same age on another clock.
pub(super) fn shift(moment: Time, theirs: Time, ours: Time) -> Time {
    ours - theirs.since(moment)
}

pub(super) fn rebase(mut member: Member, theirs: Time, ours: Time) -> Member {
    member.since = shift(member.since, theirs, ours);
    member.elected_since = member.elected_since.map(|t| shift(t, theirs, ours));
    member
}

pub(super) fn rebase_evidence(mut evidence: Evidence, theirs: Time, ours: Time) -> Evidence {
    evidence.at = shift(evidence.at, theirs, ours);
    evidence.member = rebase(evidence.member, theirs, ours);
    for accusation in &mut evidence.accusations {
        accusation.heard = shift(accusation.heard, theirs, ours);
    }
    if let Some(clone) = &mut evidence.clone {
        clone.seen = shift(clone.seen, theirs, ours);
    }
    evidence
}
