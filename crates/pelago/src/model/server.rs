//! Servers: who holds a WAN seat, who stands by, and what speaks for it.

use super::{Clock, ViewInfo};
use jiff::Timestamp;
use pelago_proto::{
    identity::Role,
    view::{self, Status},
};
use serde::{Deserialize, Serialize};

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) datacenter: String,
    pub(crate) zone: String,
    pub(crate) rack: String,
    pub(crate) status: String,
    pub(crate) elected: bool,
    /// When it took its seat, as far as the viewer knows.
    pub(crate) elected_since: Option<Timestamp>,
    /// WAN address.
    pub(crate) address: Option<String>,
    pub(crate) health: u8,
    /// Why it sits or does not, out of what the viewer sees.
    pub(crate) reason: String,
}

/// The servers of a datacenter, elected ones first.
pub(crate) fn servers(datacenter: &view::Datacenter, clock: &Clock) -> Vec<Server> {
    let candidates = datacenter
        .members
        .iter()
        .filter(|member| member.role == Role::Server);
    let mut servers: Vec<_> = candidates
        .map(|member| Server {
            name: member.name.to_string(),
            id: member.id.to_string(),
            datacenter: member.datacenter.to_string(),
            zone: member.zone.to_string(),
            rack: member.rack.to_string(),
            status: member.status.to_string(),
            elected: member.elected,
            elected_since: member.elected_since.map(|since| clock.date(since)),
            address: member.wan_address.map(|address| address.to_string()),
            health: member.health,
            reason: reason(member, datacenter),
        })
        .collect();
    servers.sort_by(|a, b| (!a.elected, &a.name, &a.id).cmp(&(!b.elected, &b.name, &b.id)));
    servers
}

fn reason(member: &view::Member, datacenter: &view::Datacenter) -> String {
    let sitting = |it: &&view::Member| it.elected && it.status == Status::Alive;
    let filled = datacenter.members.iter().filter(sitting).count();
    let seats = usize::from(datacenter.seats);
    if member.status != Status::Alive {
        return match member.elected {
            true => format!("held a seat; is {}", member.status),
            false => format!("no candidate; is {}", member.status),
        };
    }
    if member.elected {
        let same_zone = |it: &&view::Member| sitting(it) && it.zone == member.zone;
        let zone = match datacenter.members.iter().filter(same_zone).count() {
            1 => format!("the only seat in zone {}", member.zone),
            several => format!("one of {several} seats in zone {}", member.zone),
        };
        return match member.health {
            0 => zone,
            health => format!("{zone}; health {health} of 8 asks for another"),
        };
    }
    match (filled < seats, member.health) {
        (true, _) => {
            format!("standby; {filled} of {seats} seats are filled, the next goes by rank")
        }
        (false, 0) => format!("standby; all {seats} seats are filled"),
        (false, health) => {
            format!("standby; all {seats} seats are filled; health {health} of 8 ranks it last")
        }
    }
}

/// `GET /v1/servers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServersBody {
    pub(crate) schema: String,
    pub(crate) view: ViewInfo,
    pub(crate) servers: Vec<Server>,
}

impl ServersBody {
    pub(crate) const SCHEMA: &str = "pelago.servers/1";

    pub(crate) fn new(view: ViewInfo, answer: &pelago_node::api::Answer) -> Self {
        let clock = Clock::from(answer);
        let servers = super::selected(answer)
            .into_values()
            .flat_map(|(datacenter, _)| servers(datacenter, &clock));
        Self {
            schema: Self::SCHEMA.to_owned(),
            view,
            servers: servers.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;
    use pelago_node::api::Mode;

    #[test]
    fn elected_first_and_every_reason_is_what_the_view_shows() {
        let answer = fixture::answer(Mode::Local);
        let clock = Clock::from(&answer);
        let mut eu = answer.parts[0]
            .datacenters
            .iter()
            .find(|it| it.name.as_str() == "eu-west")
            .cloned();
        let eu = eu.as_mut().expect("is there");
        let all = servers(eu, &clock);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].reason, "the only seat in zone a");
        let members = std::sync::Arc::make_mut(&mut eu.members);
        let s1 = members
            .iter_mut()
            .find(|it| it.name.as_str() == "eu-west-s1")
            .expect("is there");
        s1.elected = false;
        let again = servers(eu, &clock);
        assert_eq!(again.last().map(|it| it.name.as_str()), Some("eu-west-s1"));
        assert_eq!(
            again[2].reason,
            "standby; 2 of 3 seats are filled, the next goes by rank"
        );
    }
}
