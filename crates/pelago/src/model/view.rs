//! Whose knowledge an answer is, how old it is, and what is missing from it.

use super::{Cause, Clock};
use pelago_node::api::{Answer, Me, Mode};
use pelago_proto::view;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Part of every answer about members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViewInfo {
    /// The server whose view it is; with several, the node that asked them.
    pub(crate) viewer: String,
    /// Its id.
    pub(crate) viewer_id: String,
    /// Its datacenter.
    pub(crate) viewer_datacenter: String,
    /// `local`, `dc`, `home` or `all`, as it was used.
    pub(crate) mode: String,
    /// Equal wherever the same datacenters are known to be in the same state.
    pub(crate) digest: String,
    /// By name.
    pub(crate) datacenters: BTreeMap<String, Freshness>,
    /// Datacenters that could not be asked; what is shown of them is older knowledge.
    pub(crate) partial: Vec<String>,
    /// Why not, one per attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
    /// With `all`: datacenters about which the servers do not agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) differing: Vec<String>,
}

/// How old the knowledge of a datacenter is, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Freshness {
    /// `None`: nothing was ever heard of it.
    pub(crate) age_ms: Option<u64>,
    /// `local`, `reachable`, `degraded` or `unreachable`.
    pub(crate) reachability: String,
    /// Whether a second server signed the same.
    pub(crate) attested: bool,
    /// Set hash over its members.
    pub(crate) digest: String,
    /// The server that told.
    pub(crate) viewer: String,
}

/// The word for a mode.
pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Local => "local",
        Mode::Dc => "dc",
        Mode::Home => "home",
        Mode::All => "all",
    }
}

/// One datacenter of an answer: of several tellers the datacenter's own server, then the freshest.
pub(crate) fn selected(answer: &Answer) -> BTreeMap<&str, (&view::Datacenter, &str)> {
    let mut best: BTreeMap<&str, ((bool, u64), &view::Datacenter, &str)> = BTreeMap::new();
    for part in &answer.parts {
        for datacenter in &part.datacenters {
            let foreign = part.viewer_datacenter != datacenter.name;
            let rank = (foreign, datacenter.age_ms.unwrap_or(u64::MAX));
            let name = datacenter.name.as_str();
            if best.get(name).is_none_or(|held| rank < held.0) {
                best.insert(name, (rank, datacenter, part.viewer_name.as_str()));
            }
        }
    }
    best.into_iter()
        .map(|(name, (_, datacenter, viewer))| (name, (datacenter, viewer)))
        .collect()
}

impl ViewInfo {
    pub(crate) fn new(answer: &Answer, me: &Me) -> Self {
        let chosen = selected(answer);
        let (viewer, viewer_id, viewer_datacenter) = match answer.parts.as_slice() {
            [one] => (&one.viewer_name, one.viewer, &one.viewer_datacenter),
            _ => (&me.name, me.id, &me.datacenter),
        };
        let datacenters = chosen.iter().map(|(name, (datacenter, viewer))| {
            let freshness = Freshness {
                age_ms: datacenter.age_ms,
                reachability: datacenter.reachability.to_string(),
                attested: datacenter.attested,
                digest: datacenter.digest.clone(),
                viewer: (*viewer).to_owned(),
            };
            ((*name).to_owned(), freshness)
        });
        Self {
            viewer: viewer.to_string(),
            viewer_id: viewer_id.to_string(),
            viewer_datacenter: viewer_datacenter.to_string(),
            mode: mode_name(answer.mode).to_owned(),
            digest: digest(
                chosen
                    .iter()
                    .map(|(name, (datacenter, _))| (*name, datacenter.digest.as_str())),
            ),
            datacenters: datacenters.collect(),
            partial: answer
                .partial
                .iter()
                .map(|missing| missing.datacenter.to_string())
                .collect(),
            causes: answer.partial.iter().flat_map(Cause::of).collect(),
            differing: differing(answer),
        }
    }

    /// The digest, with a suffix while something is wrong with the freshness: a cached answer must not hide that.
    pub(crate) fn etag(&self) -> String {
        let unsound = self
            .datacenters
            .iter()
            .filter(|(_, it)| !matches!(it.reachability.as_str(), "local" | "reachable"));
        let mut troubles: Vec<_> = unsound
            .map(|(name, it)| (name.as_str(), it.reachability.as_str()))
            .collect();
        troubles.extend(self.partial.iter().map(|name| (name.as_str(), "partial")));
        match troubles.is_empty() {
            true => format!("\"{}\"", self.digest),
            false => format!("\"{}-{}\"", self.digest, digest(troubles.into_iter())),
        }
    }
}

/// Datacenters of which two parts hold different digests.
pub(crate) fn differing(answer: &Answer) -> Vec<String> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut differ = std::collections::BTreeSet::new();
    for datacenter in answer.parts.iter().flat_map(|part| &part.datacenters) {
        let first = seen
            .entry(datacenter.name.as_str())
            .or_insert(&datacenter.digest);
        if **first != datacenter.digest {
            differ.insert(datacenter.name.to_string());
        }
    }
    differ.into_iter().collect()
}

/// FNV-1a over names and digests: it tells views apart and is not meant to withstand anybody.
fn digest<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, digest) in pairs {
        for byte in name.bytes().chain([0]).chain(digest.bytes()).chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// Both clocks of an answer.
impl From<&Answer> for Clock {
    fn from(answer: &Answer) -> Self {
        Self {
            at: answer.at,
            wall: answer.wall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;
    use pelago_proto::view::Reachability;

    #[test]
    fn the_home_server_is_believed_before_others_then_the_freshest() {
        let mut answer = fixture::answer(Mode::All);
        let mut foreign = answer.parts[0].clone();
        foreign.viewer_name = "us-east-s1".parse().expect("a name");
        foreign.viewer_datacenter = "us-east".parse().expect("a name");
        for datacenter in &mut foreign.datacenters {
            let own = datacenter.name.as_str() != "ap-south";
            datacenter.age_ms = Some(if own { 0 } else { 5 });
        }
        answer.parts.push(foreign);
        let chosen = selected(&answer);
        assert_eq!(chosen["eu-west"].1, "eu-west-s1");
        assert_eq!(chosen["us-east"].1, "us-east-s1");
        assert_eq!(chosen["ap-south"].1, "us-east-s1");
    }

    #[test]
    fn the_digest_ignores_freshness_and_the_etag_does_not() {
        let me = fixture::me();
        let mut answer = fixture::answer(Mode::Local);
        let calm = ViewInfo::new(&answer, &me);
        assert_eq!(calm.etag(), format!("\"{}\"", calm.digest));
        answer.parts[0].datacenters[0].reachability = Reachability::Unreachable;
        let cut = ViewInfo::new(&answer, &me);
        assert_eq!(calm.digest, cut.digest);
        assert_ne!(calm.etag(), cut.etag());
        answer.parts[0].datacenters[0].digest = "ffff".into();
        assert_ne!(calm.digest, ViewInfo::new(&answer, &me).digest);
    }

    #[test]
    fn disagreement_is_named() {
        let mut answer = fixture::answer(Mode::All);
        answer.parts.push(answer.parts[0].clone());
        assert_eq!(differing(&answer), Vec::<String>::new());
        answer.parts[1].datacenters[1].digest = "0".into();
        assert_eq!(
            differing(&answer),
            [answer.parts[1].datacenters[1].name.to_string()]
        );
    }
}
