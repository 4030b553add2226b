//! Views of several servers side by side.

use super::Cause;
use pelago_node::api::Answer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/compare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) schema: String,
    /// Whether all that answered hold the same.
    pub(crate) agree: bool,
    /// Who answered, `name.datacenter`.
    pub(crate) servers: Vec<String>,
    /// Datacenters compared.
    pub(crate) datacenters: Vec<String>,
    pub(crate) differences: Vec<Difference>,
    /// Datacenters whose servers could not all be asked.
    pub(crate) partial: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
}

/// One datacenter about which servers disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) datacenter: String,
    /// Digest → the servers that hold it.
    pub(crate) digests: BTreeMap<String, Vec<String>>,
    /// Members that are shown differently.
    pub(crate) members: Vec<MemberDifference>,
}

/// One member that is shown differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberDifference {
    pub(crate) name: String,
    pub(crate) id: String,
    /// `status at incarnation` or `absent` → the servers that show it so.
    pub(crate) shown: BTreeMap<String, Vec<String>>,
}

impl Comparison {
    pub(crate) const SCHEMA: &str = "pelago.compare/1";

    pub(crate) fn new(answer: &Answer) -> Self {
        let viewers: Vec<_> = answer
            .parts
            .iter()
            .map(|part| format!("{}.{}", part.viewer_name, part.viewer_datacenter))
            .collect();
        let names: std::collections::BTreeSet<_> = answer
            .parts
            .iter()
            .flat_map(|part| &part.datacenters)
            .map(|datacenter| datacenter.name.to_string())
            .collect();
        let differences: Vec<_> = names
            .iter()
            .filter_map(|name| difference(answer, &viewers, name))
            .collect();
        Self {
            schema: Self::SCHEMA.to_owned(),
            agree: differences.is_empty(),
            servers: viewers,
            datacenters: names.into_iter().collect(),
            differences,
            partial: answer
                .partial
                .iter()
                .map(|missing| missing.datacenter.to_string())
                .collect(),
            causes: answer.partial.iter().flat_map(Cause::of).collect(),
        }
    }
}

fn difference(answer: &Answer, viewers: &[String], name: &str) -> Option<Difference> {
    // A server that was not asked about this datacenter has no say in it.
    let views = || {
        answer
            .parts
            .iter()
            .zip(viewers)
            .filter_map(|(part, viewer)| {
                let held = part.datacenters.iter().find(|it| it.name.as_str() == name);
                Some((viewer, held?))
            })
    };
    let mut digests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (viewer, datacenter) in views() {
        let servers = digests.entry(datacenter.digest.clone()).or_default();
        servers.push(viewer.clone());
    }
    if digests.len() < 2 {
        return None;
    }
    let all: BTreeMap<_, _> = views()
        .flat_map(|(_, datacenter)| datacenter.members.iter())
        .map(|member| ((&member.name, member.id), member))
        .collect();
    let members = all.into_values().filter_map(|member| {
        let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (viewer, datacenter) in views() {
            let held = datacenter.members.iter().find(|held| held.id == member.id);
            let word = held.map_or_else(
                || "absent".to_owned(),
                |it| format!("{} at {}", it.status, it.incarnation),
            );
            shown.entry(word).or_default().push(viewer.clone());
        }
        let differs = shown.len() > 1;
        differs.then(|| MemberDifference {
            name: member.name.to_string(),
            id: member.id.to_string(),
            shown,
        })
    });
    Some(Difference {
        datacenter: name.to_owned(),
        members: members.collect(),
        digests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;
    use pelago_node::api::Mode;
    use pelago_proto::view::Status;

    #[test]
    fn equal_views_agree_and_others_name_the_member() {
        let mut answer = fixture::answer(Mode::All);
        let mut second = answer.parts[0].clone();
        second.viewer_name = "us-east-s1".parse().expect("a name");
        answer.parts.push(second);
        assert!(Comparison::new(&answer).agree);
        let mut partly = answer.clone();
        partly.parts[1].datacenters.pop();
        assert!(Comparison::new(&partly).agree);
        let datacenter = &mut answer.parts[1].datacenters[0];
        datacenter.digest = "other".into();
        std::sync::Arc::make_mut(&mut datacenter.members)[0].status = Status::Dead;
        let found = Comparison::new(&answer);
        assert!(!found.agree);
        assert_eq!(found.differences.len(), 1);
        assert_eq!(found.differences[0].members.len(), 1);
        assert_eq!(found.differences[0].members[0].shown.len(), 2);
    }
}
