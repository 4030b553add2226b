//! Who is meant: `eu-west-c3`, `3 of clients of eu-west`, `25% of eu-west/a`, `@victims`.

use super::file::Scenario;
use crate::world::World;
use pelago_proto::identity::Role;
use rand::seq::SliceRandom;
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

/// A choice of nodes, as a scenario file words it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    amount: Amount,
    kind: Kind,
    place: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    All,
    Count(usize),
    Share(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Servers,
    Clients,
    Elected,
    Standby,
}

impl Choice {
    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut choice = Self {
            amount: Amount::All,
            kind: Kind::Any,
            place: String::new(),
        };
        while let Some((word, more)) = rest.split_once(" of ") {
            match word.trim() {
                "servers" => choice.kind = Kind::Servers,
                "clients" => choice.kind = Kind::Clients,
                "elected" => choice.kind = Kind::Elected,
                "standby" => choice.kind = Kind::Standby,
                amount => {
                    choice.amount = Amount::parse(amount).ok_or_else(|| {
                        format!("`{amount}` is neither a number, a share nor a kind of node")
                    })?;
                }
            }
            rest = more.trim();
        }
        if rest.is_empty() || rest.contains(' ') {
            return Err(format!(
                "`{text}`: whom? For example `3 of clients of eu-west`"
            ));
        }
        choice.place = rest.to_owned();
        Ok(choice)
    }

    pub(super) fn check(&self, scenario: &Scenario, named: &[String]) -> Result<(), String> {
        if let Some(name) = self.place.strip_prefix('@') {
            return if named.iter().any(|known| known == name) {
                Ok(())
            } else {
                Err(format!("nobody was named @{name} before"))
            };
        }
        let datacenter = |name: &str| {
            scenario
                .datacenter
                .iter()
                .map(toml::Spanned::get_ref)
                .find(|dc| dc.name == name)
        };
        let known = match self.place.split_once('/') {
            Some((dc, _)) => datacenter(dc).is_some(),
            None => {
                let is_node = || {
                    let (dc, number) = self.place.rsplit_once('-')?;
                    let dc = datacenter(dc)?;
                    let (most, digits) = match number.split_at_checked(1)? {
                        ("s", digits) => (dc.servers, digits),
                        ("c", digits) => (dc.clients, digits),
                        _ => return None,
                    };
                    (1..=most).contains(&digits.parse().ok()?).then_some(())
                };
                self.place == "all" || datacenter(&self.place).is_some() || is_node().is_some()
            }
        };
        if known {
            Ok(())
        } else {
            Err(format!("nobody is called {}", self.place))
        }
    }

    /// The names of those chosen. Who was named before is meant as a whole; random choices are made among those for whom
    /// `fits` holds.
    pub(crate) fn of(
        &self,
        world: &mut World,
        named: &BTreeMap<String, Vec<String>>,
        fits: impl Fn(&World, &str) -> bool,
    ) -> Vec<String> {
        let mut chosen = if let Some(name) = self.place.strip_prefix('@') {
            named.get(name).cloned().unwrap_or_default()
        } else {
            let mut place = self.place.split('/');
            let (dc, zone, rack) = (place.next().unwrap_or(""), place.next(), place.next());
            world
                .slots
                .iter()
                .filter(|slot| {
                    let who = &slot.who;
                    let here = dc == "all" || who.datacenter.as_str() == dc || slot.name == dc;
                    here && zone.is_none_or(|zone| who.zone.as_str() == zone)
                        && rack.is_none_or(|rack| who.rack.as_str() == rack)
                })
                .map(|slot| slot.name.clone())
                .collect()
        };
        chosen.retain(|name| self.is_of_kind(world, name) && fits(world, name));
        let count = match self.amount {
            Amount::All => return chosen,
            Amount::Count(count) => count,
            Amount::Share(share) => (chosen.len() as f64 * share).round() as usize,
        };
        chosen.shuffle(&mut world.dice);
        chosen.truncate(count);
        chosen
    }

    fn is_of_kind(&self, world: &mut World, name: &str) -> bool {
        let host = world.host(name);
        let is_server = world.slots[host].who.role == Role::Server;
        let holds_seat = |world: &mut World| {
            let datacenter = world.slots[host].who.datacenter.to_string();
            world.slots[host].process.is_some() && world.elected(name, &datacenter).contains(name)
        };
        match self.kind {
            Kind::Any => true,
            Kind::Servers => is_server,
            Kind::Clients => !is_server,
            Kind::Elected => is_server && holds_seat(world),
            Kind::Standby => is_server && !holds_seat(world),
        }
    }
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let share = percent.trim().parse::<f64>().ok()? / 100.0;
                (0.0..=1.0).contains(&share).then_some(Self::Share(share))
            }
            None => text.parse().ok().map(Self::Count),
        }
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, secs};

    #[test]
    fn words_choose_nodes() {
        let mut world = Plan::new(1)
            .datacenter("eu-west")
            .zones(2)
            .racks(2)
            .servers(4)
            .clients(8)
            .build();
        world.start_all();
        world.run_for(secs(10));
        let mut count = |text: &str| {
            let choice = Choice::parse(text).expect("well said");
            choice.of(&mut world, &BTreeMap::new(), |_, _| true).len()
        };
        assert_eq!(count("all"), 12);
        assert_eq!(count("eu-west"), 12);
        assert_eq!(count("eu-west-c3"), 1);
        assert_eq!(count("servers of eu-west"), 4);
        assert_eq!(count("elected of eu-west"), 3);
        assert_eq!(count("standby of eu-west"), 1);
        assert_eq!(count("25% of clients of eu-west"), 2);
        assert_eq!(count("3 of clients of eu-west"), 3);
        assert_eq!(count("eu-west/a"), 6);
        assert_eq!(count("eu-west/a/r1"), 3);
        for wrong in [
            "",
            "5 of ",
            "three of eu-west",
            "120% of eu-west",
            "some body",
        ] {
            assert!(Choice::parse(wrong).is_err(), "{wrong}");
        }
    }
}
