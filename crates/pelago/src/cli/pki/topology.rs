//! `pki.toml`: which network is in which zone and rack, so that certificates need not be told one by one.

use crate::exit::{Exit, Failure};
use ipnet::IpNet;
use serde::Deserialize;
use std::{collections::BTreeMap, net::IpAddr, path::Path};

/// A location, as far as the map names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The network counts in this datacenter only; networks of several may overlap.
    datacenter: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) rack: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topology: BTreeMap<IpNet, Place>,
}

/// The location of an address: of several networks that hold it, the narrowest says most.
pub(super) fn find(file: &Path, address: IpAddr, datacenter: &str) -> Result<Place, Failure> {
    let unreadable =
        |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| {
        unreadable(&error)
            .line("expected: [topology]")
            .line("\"10.81.1.0/24\" = { zone = \"a\", rack = \"r1\" }")
    })?;
    let map: File = toml::from_str(&text).map_err(|error| unreadable(&error))?;
    let mut holding: Vec<_> = map
        .topology
        .into_iter()
        .filter(|(net, place)| {
            net.contains(&address)
                && place
                    .datacenter
                    .as_deref()
                    .is_none_or(|it| it == datacenter)
        })
        .collect();
    holding.sort_by_key(|(net, _)| net.prefix_len());
    if holding.is_empty() {
        let message = format!(
            "{}: no network of {datacenter} holds {address}",
            file.display()
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(holding
        .into_iter()
        .fold(Place::default(), |wider, (_, narrower)| Place {
            datacenter: None,
            zone: narrower.zone.or(wider.zone),
            rack: narrower.rack.or(wider.rack),
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_network_holds() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pki.toml");
        let text = "[topology]\n\"10.81.0.0/16\" = { zone = \"a\" }\n\"10.81.2.0/24\" = { zone = \"b\", rack = \"r7\" }\n\
                    \"10.81.2.9/32\" = { rack = \"r8\" }\n\"10.81.2.10/32\" = { datacenter = \"us-east\", rack = \"r9\" }\n";
        std::fs::write(&file, text).expect("written");
        let look = |address: &str| {
            let place = find(&file, address.parse().expect("an address"), "eu-west").ok()?;
            Some((
                place.zone.unwrap_or_default(),
                place.rack.unwrap_or_default(),
            ))
        };
        assert_eq!(look("10.81.1.1"), Some(("a".into(), String::new())));
        assert_eq!(look("10.81.2.1"), Some(("b".into(), "r7".into())));
        assert_eq!(look("10.81.2.9"), Some(("b".into(), "r8".into())));
        assert_eq!(look("10.81.2.10"), Some(("b".into(), "r7".into())));
        assert_eq!(look("10.99.0.1"), None);
        std::fs::write(&file, "[topology]\n\"10.81.0.0/16\" = { zoen = \"a\" }").expect("written");
        assert_eq!(look("10.81.1.1"), None);
    }
}
