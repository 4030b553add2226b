//! Which member a word means: `name`, `name.datacenter`, or the start of an id.

use crate::FindError;
use pelago_proto::{
    identity::NodeId,
    view::{Member, View},
};
use std::collections::BTreeMap;

/// Candidates that are named when a word is ambiguous.
const CANDIDATES: usize = 16;

/// Finds a member. Names come before ids; of two certificates with one name in one datacenter the newer holds.
pub(crate) fn find(view: &View, needle: &str) -> Result<NodeId, FindError> {
    let members = || view.datacenters.values().flat_map(|d| d.members.iter());
    let named = |m: &&Member| {
        m.name.as_str() == needle
            || needle
                .split_once('.')
                .is_some_and(|(n, d)| m.name.as_str() == n && m.datacenter.as_str() == d)
    };
    let mut newest = BTreeMap::new();
    for member in members().filter(named) {
        let held = newest
            .entry((&member.name, &member.datacenter))
            .or_insert(member);
        if age(member) > age(held) {
            *held = member;
        }
    }
    let mut found: Vec<_> = newest.into_values().collect();
    if found.is_empty() && needle.len() >= 2 && needle.bytes().all(|b| b.is_ascii_hexdigit()) {
        let needle = needle.to_ascii_lowercase();
        found = members()
            .filter(|m| m.id.to_string().starts_with(&needle))
            .collect();
    }
    match found.as_slice() {
        [] => Err(FindError::None),
        [one] => Ok(one.id),
        several => {
            let show = |m: &&Member| format!("{}.{} ({})", m.name, m.datacenter, m.id);
            Err(FindError::Ambiguous(
                several.iter().take(CANDIDATES).map(show).collect(),
            ))
        }
    }
}

fn age(member: &Member) -> (u64, pelago_proto::identity::Incarnation) {
    (member.not_after, member.incarnation)
}
