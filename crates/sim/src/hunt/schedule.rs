//! A schedule: which world, what goes wrong in it and when. Plain data, so that it can be drawn, shrunk, saved and replayed.

use crate::{
    Plan,
    net::{Burst, Links, Shape},
};
use pelago_proto::federation::Tier;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a world forms before anything goes wrong.
const FORMING: Duration = Duration::from_secs(8);
/// How many members of a datacenter its nodes are told to join at, and how many servers of it others are.
pub(crate) const LAN_SEEDS: usize = 3;
const WAN_SEEDS: usize = 2;

/// A world and its troubles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// What was found with it, if anything; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Seed of the world.
    pub seed: u64,
    /// How long things go wrong, ms. Then everything heals.
    pub length_ms: u64,
    /// The network until then.
    #[serde(default)]
    pub weather: Weather,
    /// Who is there.
    pub datacenters: Vec<Shaped>,
    /// Members that mean harm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub liars: Vec<Liar>,
    /// What goes wrong, in order.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// One datacenter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shaped {
    /// Its name.
    pub name: String,
    /// Zones.
    pub zones: usize,
    /// Racks of each zone.
    pub racks: usize,
    /// Servers.
    pub servers: usize,
    /// Clients.
    pub clients: usize,
    /// WAN seats.
    pub seats: u8,
}

/// How packets fare on all links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Loss inside datacenters, 0 to 1.
    pub lan_loss: f64,
    /// Loss between them.
    pub wan_loss: f64,
    /// Loss comes in bursts of a second that lose this much.
    pub burst: f64,
    /// Share of packets that arrive twice.
    pub duplicate: f64,
    /// Share of packets that are overtaken.
    pub reorder: f64,
    /// Packets are rarely very late.
    pub heavy: bool,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, ms after the world has formed.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What can go wrong. What cannot be done when its time comes (killing the dead, say) is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are what they are called")]
pub enum Fault {
    /// A process ends; its ports are closed.
    Kill { node: String },
    /// A host is gone.
    Lose { node: String },
    /// A process starts, if none runs.
    Start { node: String, blank: bool },
    /// A process says goodbye.
    Leave { node: String },
    /// A process stands still.
    Pause { node: String, for_ms: u64 },
    /// A process gets no processor for sending and receiving.
    Starve { node: String, for_ms: u64 },
    /// Nothing gets out of a host or in.
    Clog { node: String, for_ms: u64 },
    /// A node loses packets.
    Loss {
        node: String,
        sent: f64,
        received: f64,
        for_ms: u64,
    },
    /// Nothing gets from some to others, or the other way round.
    Cut {
        wan: bool,
        both_ways: bool,
        from: Vec<String>,
        to: Vec<String>,
        for_ms: u64,
    },
    /// A node's wall clock is wrong by this much from now on.
    Clock { node: String, off_by_s: i64 },
    /// A node gets a new certificate.
    Renew { node: String },
    /// A node's certificate is revoked and its process ends; one node is told, and the others have to hear it from it.
    Revoke { node: String, teller: String },
    /// An operator removes a node, and its process ends; the same.
    Remove { node: String, teller: String },
    /// A second process with the same key runs for a while.
    Clone { node: String, for_ms: u64 },
}

/// A member with a valid certificate that means harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Liar {
    /// Who.
    pub node: String,
    /// What it does beside what everybody does.
    pub tricks: Vec<Trick>,
}

/// What liars do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trick {
    /// Claims in others' names.
    Forge,
    /// Two records at one incarnation, to different members, and leaps of its own incarnation.
    Equivocate,
    /// Accuses everybody, of this incarnation and the next ones.
    Accuse,
    /// Passes no news on and answers questions with nothing.
    Withhold,
    /// Sends again what it heard earlier.
    Replay,
    /// Sends far more than anybody should.
    Flood,
    /// Says that others' addresses are its own, and that nobody else has a seat.
    Mislead,
    /// Signs with its own key what it has no right to say: claims in others' names, records that differ from its
    /// certificate, heads without being a server.
    Impersonate,
}

impl Trick {
    /// Those that a liar has some of. The others are drawn apart.
    pub const COMMON: [Self; 7] = [
        Self::Forge,
        Self::Equivocate,
        Self::Accuse,
        Self::Withhold,
        Self::Replay,
        Self::Flood,
        Self::Mislead,
    ];
}

impl Schedule {
    /// How long the world forms.
    pub(crate) const fn forming() -> Duration {
        FORMING
    }

    /// How long things go wrong.
    pub(crate) const fn length(&self) -> Duration {
        Duration::from_millis(self.length_ms)
    }

    /// Everybody, datacenter by datacenter, servers first.
    pub fn nodes(&self) -> Vec<String> {
        self.datacenters.iter().flat_map(Shaped::nodes).collect()
    }

    /// Those whom others are told to join at: a schedule ends with all of them running, so that everybody can find back.
    pub(crate) fn seeds(&self) -> Vec<String> {
        self.datacenters
            .iter()
            .flat_map(|datacenter| datacenter.nodes().into_iter().take(LAN_SEEDS))
            .collect()
    }

    /// Whether no datacenter has more liars than verdicts there can bear.
    pub(crate) fn bears_its_liars(&self) -> bool {
        self.datacenters.iter().all(|datacenter| {
            let nodes = datacenter.nodes();
            let revoked = self.events.iter().any(
                |event| matches!(&event.fault, Fault::Revoke { node, .. } if nodes.contains(node)),
            );
            datacenter.bears(&self.liars, revoked)
        })
    }

    /// The same with all wall clocks an hour ahead from the start, unless clocks matter in it: certificates are judged by them.
    pub fn with_clocks_ahead(&self) -> Option<Self> {
        let judges = |event: &Event| {
            matches!(
                event.fault,
                Fault::Clock { .. }
                    | Fault::Renew { .. }
                    | Fault::Revoke { .. }
                    | Fault::Remove { .. }
            )
        };
        if self.events.iter().any(judges) {
            return None;
        }
        let mut ahead = self.clone();
        let off_by_s = 3_600;
        let clocks = self.nodes().into_iter().map(|node| Event {
            at_ms: 0,
            fault: Fault::Clock { node, off_by_s },
        });
        ahead.events.splice(0..0, clocks);
        Some(ahead)
    }

    /// The plan of the world, without troubles.
    pub(crate) fn plan(&self) -> Plan {
        let others = |own: &Shaped| -> Vec<String> {
            self.datacenters
                .iter()
                .filter(|other| other.name != own.name)
                .flat_map(|other| other.nodes().into_iter().take(WAN_SEEDS.min(other.servers)))
                .collect()
        };
        self.datacenters
            .iter()
            .fold(Plan::exactly(self.seed), |plan, datacenter| {
                let (seeds, abroad) = (datacenter.nodes(), others(datacenter));
                let seeds: Vec<&str> = seeds.iter().take(LAN_SEEDS).map(String::as_str).collect();
                let abroad: Vec<&str> = abroad.iter().map(String::as_str).collect();
                plan.datacenter(&datacenter.name)
                    .zones(datacenter.zones)
                    .racks(datacenter.racks)
                    .servers(datacenter.servers)
                    .clients(datacenter.clients)
                    .seats(datacenter.seats)
                    .lan_join(&seeds)
                    .wan_join(&abroad)
            })
    }
}

impl Shaped {
    /// Its nodes, servers first.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let numbered = |letter: char, count: usize| {
            (1..=count).map(move |number| format!("{}-{letter}{number}", self.name))
        };
        numbered('s', self.servers)
            .chain(numbered('c', self.clients))
            .collect()
    }

    /// Whether so many of it lie that verdicts can bear it. Whoever is revoked lowers what they need; one is, at most.
    pub(crate) fn bears(&self, liars: &[Liar], revoked: bool) -> bool {
        let nodes = self.nodes();
        let lying = liars.iter().filter(|liar| nodes.contains(&liar.node));
        lying.count() <= self.liars_borne(usize::from(revoked))
    }

    /// One fewer than a verdict takes accusers, once so many of them are not members any more.
    pub(crate) const fn liars_borne(&self, fewer: usize) -> usize {
        match self.len().saturating_sub(fewer) {
            0..=2 => 0,
            3..=8 => 1,
            _ => 2,
        }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.servers + self.clients
    }
}

impl Weather {
    /// The links under it.
    pub(crate) fn links(&self) -> Links {
        let mut links = Links::default();
        let burst = (self.burst > 0.0).then_some(Burst {
            every: Duration::from_secs(15),
            lasting: Duration::from_secs(1),
            loss: self.burst.clamp(0.0, 1.0),
        });
        for link in [&mut links.rack, &mut links.zone, &mut links.datacenter] {
            link.loss = self.lan_loss;
        }
        links.wan.loss = self.wan_loss;
        for link in [
            &mut links.rack,
            &mut links.zone,
            &mut links.datacenter,
            &mut links.wan,
        ] {
            link.burst = burst;
            link.duplicate = self.duplicate;
            link.reorder = self.reorder.max(link.reorder);
            if self.heavy {
                link.shape = Shape::Pareto;
                link.jitter = 1.0;
            }
        }
        links
    }

    /// Whether it alone may cost members the sight of each other.
    pub(crate) fn is_rough(&self) -> bool {
        self.lan_loss > 0.1 || self.burst > 0.0
    }
}

impl Fault {
    /// The nodes it names.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Kill { node }
            | Self::Lose { node }
            | Self::Start { node, .. }
            | Self::Leave { node }
            | Self::Pause { node, .. }
            | Self::Starve { node, .. }
            | Self::Clog { node, .. }
            | Self::Loss { node, .. }
            | Self::Clock { node, .. }
            | Self::Renew { node }
            | Self::Clone { node, .. } => vec![node],
            Self::Revoke { node, teller } | Self::Remove { node, teller } => vec![node, teller],
            Self::Cut { from, to, .. } => from.iter().chain(to).map(String::as_str).collect(),
        }
    }

    /// How long it lasts, where it lasts.
    pub(crate) const fn lasting(&mut self) -> Option<&mut u64> {
        match self {
            Self::Pause { for_ms, .. }
            | Self::Starve { for_ms, .. }
            | Self::Clog { for_ms, .. }
            | Self::Loss { for_ms, .. }
            | Self::Cut { for_ms, .. }
            | Self::Clone { for_ms, .. } => Some(for_ms),
            Self::Kill { .. }
            | Self::Lose { .. }
            | Self::Start { .. }
            | Self::Leave { .. }
            | Self::Clock { .. }
            | Self::Renew { .. }
            | Self::Revoke { .. }
            | Self::Remove { .. } => None,
        }
    }
}

/// The tier that a cut concerns.
pub(crate) const fn tier(wan: bool) -> Tier {
    if wan { Tier::Wan } else { Tier::Lan }
}
