//! What a world consists of, said in a few words: datacenters, zones, servers, clients and the links between them.

use crate::{
    net::{Link, Links, Place},
    slot::Endpoint,
    trust::Claimant,
    world::World,
};
use pelago_proto::{
    federation::{Memory, Settings},
    identity::{Label, Role},
    trust::Authority,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

/// A world to be built. What is said about nodes concerns the datacenter named last.
///
/// ```no_run
/// use pelago_sim::Plan;
/// let mut world = Plan::new(7)
///     .datacenter("eu-west").zones(3).servers(3).clients(2)
///     .datacenter("us-east").zones(3).servers(3).clients(2)
///     .build();
/// world.start_all();
/// ```
///
/// Nodes are called `eu-west-s1`, `eu-west-c1` and so on, and take turns over zones `a`, `b`, … and racks `r1`, `r2`, ….
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    links: Links,
    lifetime: Duration,
    datacenters: Vec<Group>,
    pairs: Vec<(Label, Label, Link)>,
    tune: Tune,
}

/// What is changed about every node's settings.
#[derive(Clone)]
struct Tune(Arc<dyn Fn(&mut Settings) + Send + Sync>);

impl fmt::Debug for Tune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tune")
    }
}

#[derive(Clone, Debug)]
struct Group {
    name: Label,
    region: Label,
    zones: usize,
    racks: usize,
    servers: usize,
    clients: usize,
    stranger: bool,
    lan_join: Vec<String>,
    wan_join: Option<Vec<String>>,
    seats: u8,
    flat: bool,
}

/// One node to be.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) who: Claimant,
    pub(crate) place: Place,
    pub(crate) settings: Settings,
    pub(crate) lan_join: Vec<String>,
    pub(crate) wan_join: Vec<String>,
    /// The datacenters whose authorities it is configured with.
    pub(crate) authorities: Vec<Label>,
}

impl Plan {
    /// An empty world. Everything random in it follows from `seed`, to which the environment's `PELAGO_SIM_SEED` is
    /// added: the same tests, other worlds.
    pub fn new(seed: u64) -> Self {
        let offset = std::env::var("PELAGO_SIM_SEED")
            .ok()
            .and_then(|offset| offset.parse().ok())
            .unwrap_or(0);
        Self::exactly(seed.wrapping_add(offset))
    }

    /// The same without a look at the environment: what was written down must replay anywhere.
    pub(crate) fn exactly(seed: u64) -> Self {
        let lifetime = Duration::from_secs(72 * 3600);
        Self {
            seed,
            links: Links::default(),
            lifetime,
            datacenters: Vec::new(),
            pairs: Vec::new(),
            tune: Tune(Arc::new(|_| {})),
        }
    }

    /// Three datacenters in three regions, three servers in three zones and two clients each.
    pub fn federation(seed: u64) -> Self {
        [
            ("eu-west", "europe"),
            ("us-east", "america"),
            ("ap-south", "asia"),
        ]
        .into_iter()
        .fold(Self::new(seed), |plan, (datacenter, region)| {
            plan.datacenter(datacenter)
                .region(region)
                .zones(3)
                .servers(3)
                .clients(2)
        })
    }

    /// Another datacenter: one zone, one rack, nobody in it yet, three seats, joining others at their first server.
    #[must_use]
    pub fn datacenter(mut self, name: &str) -> Self {
        let name = label(name);
        self.datacenters.push(Group {
            region: name.clone(),
            name,
            zones: 1,
            racks: 1,
            servers: 0,
            clients: 0,
            stranger: false,
            lan_join: Vec::new(),
            wan_join: None,
            seats: 3,
            flat: false,
        });
        self
    }

    /// Its region; its own name if this is not said.
    #[must_use]
    pub fn region(self, region: &str) -> Self {
        self.last(|group| group.region = label(region))
    }

    /// How many zones it has.
    #[must_use]
    pub fn zones(self, zones: usize) -> Self {
        self.last(|group| group.zones = zones.max(1))
    }

    /// How many racks each of its zones has.
    #[must_use]
    pub fn racks(self, racks: usize) -> Self {
        self.last(|group| group.racks = racks.max(1))
    }

    /// How many servers it has.
    #[must_use]
    pub fn servers(self, servers: usize) -> Self {
        self.last(|group| group.servers = servers)
    }

    /// How many clients it has.
    #[must_use]
    pub fn clients(self, clients: usize) -> Self {
        self.last(|group| group.clients = clients)
    }

    /// How many WAN seats its nodes want filled.
    #[must_use]
    pub fn seats(self, seats: u8) -> Self {
        self.last(|group| group.seats = seats)
    }

    /// Its certificates put everybody into one rack, wherever they stand.
    #[must_use]
    pub fn flat(self) -> Self {
        self.last(|group| group.flat = true)
    }

    /// Its authority is not configured anywhere else; it knows the others'.
    #[must_use]
    pub fn stranger(self) -> Self {
        self.last(|group| group.stranger = true)
    }

    /// The seeds its nodes are configured with on the LAN, instead of its first node.
    #[must_use]
    pub fn lan_join(self, names: &[&str]) -> Self {
        self.last(|group| group.lan_join = names.iter().map(ToString::to_string).collect())
    }

    /// The servers its servers are told to join on the WAN, instead of the first of every other datacenter.
    #[must_use]
    pub fn wan_join(self, names: &[&str]) -> Self {
        self.last(|group| group.wan_join = Some(names.iter().map(ToString::to_string).collect()))
    }

    /// Other links than the usual ones.
    #[must_use]
    pub const fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// A link of their own between two datacenters.
    #[must_use]
    pub fn between(mut self, one: &str, other: &str, link: Link) -> Self {
        self.pairs.push((label(one), label(other), link));
        self
    }

    /// How long certificates are valid.
    #[must_use]
    pub const fn certificates_for(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Changes every node's settings.
    #[must_use]
    pub fn tune(mut self, tune: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        self.tune = Tune(Arc::new(tune));
        self
    }

    /// What everything random in it follows from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Builds the world; nothing runs yet.
    pub fn build(self) -> World {
        let mut world = World::new(self.seed, self.links, self.lifetime);
        for (one, other, link) in &self.pairs {
            world
                .net
                .set_pair(self.number(one), self.number(other), *link);
        }
        let mut planned = self.nodes();
        let names: BTreeMap<String, usize> = planned
            .iter()
            .enumerate()
            .map(|(host, node)| (node.who.name.to_string(), host))
            .collect();
        let find = |name: &String| {
            *names
                .get(name)
                .unwrap_or_else(|| panic!("nobody to join is called {name}"))
        };
        let mut known = BTreeMap::<Vec<Label>, Arc<[Authority]>>::new();
        for node in &mut planned {
            let lan = node
                .lan_join
                .iter()
                .map(|name| Endpoint::Stream(find(name)).address())
                .collect();
            let wan = node
                .wan_join
                .iter()
                .map(|name| Endpoint::Wan(find(name)).address())
                .collect();
            let authorities = known
                .entry(std::mem::take(&mut node.authorities))
                .or_insert_with_key(|names| {
                    let none = BTreeSet::new();
                    let authority = |name| world.realm().authority(name, &none, 1);
                    names.iter().map(authority).collect()
                });
            world.add(node, lan, wan, Arc::clone(authorities));
        }
        world
    }

    fn number(&self, datacenter: &Label) -> u16 {
        let at = self
            .datacenters
            .iter()
            .position(|group| group.name == *datacenter);
        small(at.unwrap_or_else(|| panic!("no datacenter is called {datacenter}")))
    }

    fn last(mut self, change: impl FnOnce(&mut Group)) -> Self {
        change(
            self.datacenters
                .last_mut()
                .expect("say first which datacenter"),
        );
        self
    }

    fn nodes(&self) -> Vec<Planned> {
        let mut nodes = Vec::new();
        for (datacenter, group) in self.datacenters.iter().enumerate() {
            let numbered = |role: Role, count: usize| (0..count).map(move |number| (role, number));
            for (role, number) in
                numbered(Role::Server, group.servers).chain(numbered(Role::Client, group.clients))
            {
                let turn = number
                    + if role == Role::Client {
                        group.servers
                    } else {
                        0
                    };
                let (zone, rack) = (turn % group.zones, turn / group.zones % group.racks);
                let letter = if role == Role::Client { 'c' } else { 's' };
                let said = if group.flat { (0, 0) } else { (zone, rack) };
                let who = Claimant {
                    datacenter: group.name.clone(),
                    name: label(&format!("{}-{letter}{}", group.name, number + 1)),
                    zone: zone_name(said.0),
                    rack: label(&format!("r{}", said.1 + 1)),
                    role,
                };
                let place = Place {
                    datacenter: small(datacenter),
                    zone: small(zone),
                    rack: small(rack),
                };
                nodes.push(self.node(group, who, place, nodes.len()));
            }
        }
        nodes
    }

    fn node(&self, group: &Group, who: Claimant, place: Place, host: usize) -> Planned {
        let first = |group: &Group| {
            let letter = if group.servers > 0 { 's' } else { 'c' };
            format!("{}-{letter}1", group.name)
        };
        let own = who.name.to_string();
        let mut lan_join = group.lan_join.clone();
        if lan_join.is_empty() {
            lan_join.push(first(group));
        }
        let wan_join = group.wan_join.clone().unwrap_or_else(|| {
            let others = self
                .datacenters
                .iter()
                .filter(|other| other.name != group.name && other.servers > 0);
            others.filter(|other| !other.stranger).map(first).collect()
        });
        let is_server = who.role == Role::Server;
        let mut settings = Settings {
            region: group.region.clone(),
            lan: Endpoint::Lan(host).address(),
            stream: Endpoint::Stream(host).address(),
            wan: is_server.then(|| Endpoint::Wan(host).address()),
            lan_allow: vec!["10.0.0.0/8".parse().expect("a network")],
            wan_allow: vec!["100.64.0.0/10".parse().expect("a network")],
            wan_datacenters: BTreeMap::new(),
            tags: BTreeMap::new(),
            probe_interval: Duration::from_millis(200),
            pause_tolerance: Duration::from_secs(2),
            tuning: pelago_proto::pool::Tuning::default(),
            seats: group.seats,
            limits: pelago_proto::limit::Limits::default(),
            version: "sim".to_owned(),
            memory: Memory::default(),
        };
        (self.tune.0)(&mut settings);
        let known = self
            .datacenters
            .iter()
            .filter(|other| !other.stranger || other.name == group.name);
        Planned {
            place,
            settings,
            lan_join: lan_join.into_iter().filter(|name| *name != own).collect(),
            wan_join: if is_server { wan_join } else { Vec::new() },
            authorities: known.map(|group| group.name.clone()).collect(),
            who,
        }
    }
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `a` to `z`, then `z26` and so on.
fn zone_name(zone: usize) -> Label {
    let letter = u8::try_from(zone)
        .ok()
        .filter(|zone| *zone < 26)
        .map(|zone| char::from(b'a' + zone));
    letter.map_or_else(
        || label(&format!("z{zone}")),
        |letter| label(&letter.to_string()),
    )
}

fn small(number: usize) -> u16 {
    u16::try_from(number).expect("fewer than 65,536 places")
}
