//! A whole node under a sequence of operations: datagrams and requests of a member that lies, refused ports, and time.

use pelago_proto::{
    federation::{Federation, Memory, Peer, ProbeId, RequestError, RequestId, Settings, Tier},
    identity::{Incarnation, Label, NodeId, Role},
    pool::Tuning,
    time::Time,
    trust::Trust,
    view::Status,
};
use pelago_sim::trust::{Claimant, Identity, Realm, SimTrust};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// Calendar at the start, Unix seconds.
const UNIX: u64 = 2_000_000_000;
/// Operations of one run.
const MAX_OPERATIONS: usize = 64;

/// A node and the one other that it knows.
pub(crate) struct World {
    realm: Arc<Realm>,
    pub(crate) now: Time,
    pub(crate) node: Federation,
    pub(crate) liar: Peer,
}

/// What must stay as it is: the least incarnation, and who is there.
pub(crate) struct Standing(Incarnation, BTreeMap<NodeId, Status>);

/// A node that knows one other, `liar`, which holds a genuine certificate and signs nothing: whatever it sends, nobody joins, leaves
/// or dies by it, the node's own incarnation never falls, and what is to be sent stays bounded.
///
/// Each operation is a byte that chooses it, two bytes of length or time, and that much payload.
///
/// # Panics
///
/// If one of these does not hold.
pub fn pool(bytes: &[u8]) {
    let mut world = World::new();
    let before = world.standing();
    let mut rest = bytes;
    for _ in 0..MAX_OPERATIONS {
        let Some(([operation, high, low], tail)) = rest.split_first_chunk::<3>() else {
            break;
        };
        let number = u16::from_be_bytes([*high, *low]);
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(number)));
        match operation % 8 {
            0 | 1 => {
                let from = world.liar.certified.id;
                world
                    .node
                    .handle_datagram(Tier::Lan, from, payload, world.now);
                rest = tail;
            }
            2 => {
                let (liar, now) = (world.liar.clone(), world.now);
                let reply = world.node.handle_request(Tier::Lan, &liar, payload, now);
                assert!(
                    reply.len() <= pelago_proto::federation::MAX_MESSAGE,
                    "{}",
                    reply.len()
                );
                rest = tail;
            }
            3 => {
                let (id, liar) = (RequestId(u64::from(*operation)), world.liar.clone());
                world
                    .node
                    .handle_response(id, Ok((liar, payload.to_vec())), world.now);
                rest = tail;
            }
            4 => {
                let error = RequestError::NoAnswer("fuzzed".into());
                world
                    .node
                    .handle_response(RequestId(number.into()), Err(error), world.now);
                rest = &rest[3..];
            }
            5 => {
                world
                    .node
                    .handle_port_closed(ProbeId(number.into()), world.now);
                rest = &rest[3..];
            }
            // Below the floor even when all of it is spent on waiting: the liar is silent, not dead.
            _ => {
                world.now = world.now + Duration::from_millis(u64::from(number) % 50);
                world.node.handle_timeout(world.now);
                rest = &rest[3..];
            }
        }
        world.drain();
    }
    world.check(&before);
}

/// A node starts with what was remembered. Returns the boot that it is in.
pub(crate) fn boot_with(memory: Memory) -> u64 {
    let realm = Realm::new([7; 32], "fuzz.test", UNIX);
    let who = realm.identity(&claimant("one", "r1"), UNIX + 259_200);
    let (_, node) = start(&realm, &who, 1, Time::START, memory);
    node.incarnation().boot
}

impl World {
    pub(crate) fn new() -> Self {
        let realm = Realm::new([7; 32], "fuzz.test", UNIX);
        let (one, two) = (claimant("one", "r1"), claimant("two", "r2"));
        let now = Time::START;
        let (_, mut node) = start(
            &realm,
            &realm.identity(&one, UNIX + 259_200),
            1,
            now,
            Memory::default(),
        );
        let (trust, other) = start(
            &realm,
            &realm.identity(&two, UNIX + 259_200),
            2,
            now,
            Memory::default(),
        );
        let bundle = other.own_bundle();
        let known = node.handle_introduction(&bundle.claims[0], &bundle.leaf, now);
        assert!(known.is_some(), "the world itself is sound");
        let certified = trust.own();
        let mut world = Self {
            realm,
            now,
            node,
            liar: Peer { certified },
        };
        world.drain();
        world
    }

    pub(crate) fn standing(&mut self) -> Standing {
        Standing(self.node.incarnation(), self.members())
    }

    /// Nobody joined, left or died, and the own incarnation did not fall.
    pub(crate) fn check(&mut self, before: &Standing) {
        let Standing(incarnation, members) = before;
        assert!(
            self.node.incarnation() >= *incarnation,
            "the own incarnation fell"
        );
        let after = self.members();
        assert!(after.keys().eq(members.keys()), "{after:?}");
        let gone =
            |status: &Status| matches!(status, Status::Dead | Status::Left | Status::Removed);
        assert!(!after.values().any(gone), "{after:?}");
    }

    pub(crate) fn drain(&mut self) {
        let mut sent = 0;
        while self.node.poll_transmit().is_some() || self.node.poll_request().is_some() {
            sent += 1;
            assert!(sent < 256, "one operation makes a storm");
        }
        while self.node.poll_event().is_some() {}
        while self.node.poll_memory().is_some() {}
    }

    fn members(&mut self) -> BTreeMap<NodeId, Status> {
        let _ = &self.realm;
        let view = self.node.view(self.now);
        let all = view.datacenters.values().flat_map(|it| it.members.iter());
        all.map(|member| (member.id, member.status)).collect()
    }
}

fn label(text: &str) -> Label {
    Label::new(text).expect("a label")
}

fn claimant(name: &str, rack: &str) -> Claimant {
    Claimant {
        datacenter: label("dc"),
        name: label(name),
        zone: label("a"),
        rack: label(rack),
        role: Role::Server,
    }
}

fn start(
    realm: &Arc<Realm>,
    who: &Identity,
    host: u8,
    now: Time,
    memory: Memory,
) -> (Arc<SimTrust>, Federation) {
    let address = |port| SocketAddr::from(([10, 0, 0, host], port));
    let authority = realm.authority(&label("dc"), &BTreeSet::new(), 1);
    let trust = Arc::new(SimTrust::new(realm, who, &[authority], &[], [host; 32]));
    let settings = Settings {
        region: label("here"),
        lan: address(1),
        stream: address(2),
        wan: Some(address(3)),
        lan_allow: vec!["10.0.0.0/8".parse().expect("a network")],
        wan_allow: vec!["10.0.0.0/8".parse().expect("a network")],
        wan_datacenters: BTreeMap::new(),
        tags: BTreeMap::new(),
        probe_interval: Duration::from_millis(200),
        pause_tolerance: Duration::from_secs(10),
        tuning: Tuning::default(),
        seats: 3,
        limits: pelago_proto::limit::Limits::default(),
        version: "fuzz".to_owned(),
        memory,
    };
    let judge: Arc<dyn Trust> = Arc::<SimTrust>::clone(&trust);
    let node = Federation::new(settings, judge, [host; 32], now).expect("starts");
    (trust, node)
}
