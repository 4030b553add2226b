//! A made-up world of certificates with real Ed25519 signatures: keys come from fixed seeds, so every byte repeats.

#![allow(
    dead_code,
    clippy::disallowed_types,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use a part of it"
)]

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use pelago_proto::{
    claim::{
        Accusation, Alive, Basis, Body, Claim, Head, Leave, Record, Removal, Verified, Versions,
    },
    federation::{Federation, Memory, Peer, Settings},
    identity::{Incarnation, Label, Location, NodeId, Role},
    roster::{Outcome, Roster},
    time::Time,
    trust::{Authority, Certified, Refusal, Trust},
    view::Status,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The trust domain of the golden vectors.
pub(crate) const DOMAIN: &str = "example.test";
/// The calendar at the start, Unix seconds.
pub(crate) const UNIX: u64 = 1_800_000_000;
/// When certificates end.
pub(crate) const NOT_AFTER: u64 = UNIX + 72 * 3600;
/// The clock at the start.
pub(crate) const NOW: Time = Time::START;

pub(crate) fn label(name: &str) -> Label {
    Label::new(name).unwrap()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn at(boot: u64, seq: u64) -> Incarnation {
    Incarnation { boot, seq }
}

fn first16(bytes: &[u8]) -> [u8; 16] {
    *digest(&SHA256, bytes).as_ref().first_chunk().unwrap()
}

/// Who issued what, and what day it is.
pub(crate) struct Realm {
    domain: String,
    unix: AtomicU64,
    issued: Mutex<BTreeMap<Vec<u8>, Arc<Certified>>>,
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub(crate) struct Claimant {
    pub(crate) seed: u32,
    pub(crate) name: Label,
    pub(crate) datacenter: Label,
    pub(crate) zone: Label,
    pub(crate) rack: Label,
    pub(crate) role: Role,
    pub(crate) serial: u32,
}

/// A server `n<seed>` in rack `a/r1` of datacenter `dc1`, for changing.
pub(crate) fn claimant(seed: u32) -> Claimant {
    Claimant {
        seed,
        name: label(&format!("n{seed}")),
        datacenter: label("dc1"),
        zone: label("a"),
        rack: label("r1"),
        role: Role::Server,
        serial: 1,
    }
}

impl Realm {
    pub(crate) fn new(domain: &str) -> Arc<Self> {
        let issued = Mutex::default();
        Arc::new(Self {
            domain: domain.to_owned(),
            unix: AtomicU64::new(UNIX),
            issued,
        })
    }

    pub(crate) fn set_unix_time(&self, unix: u64) {
        self.unix.store(unix, Ordering::Relaxed);
    }

    /// A key and a certificate of about the real size over it.
    pub(crate) fn issue(self: &Arc<Self>, who: &Claimant) -> Arc<Node> {
        let mut seed = [0x5e; 32];
        seed[..4].copy_from_slice(&who.seed.to_be_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public_key: [u8; 32] = key.public_key().as_ref().try_into().unwrap();
        let mut leaf = format!("{who:?}").into_bytes();
        leaf.resize(420, b'.');
        let certified = Arc::new(Certified {
            id: NodeId(first16(&public_key)),
            public_key,
            name: who.name.clone(),
            datacenter: who.datacenter.clone(),
            zone: who.zone.clone(),
            rack: who.rack.clone(),
            role: who.role,
            serial: Arc::from(first16(&leaf)),
            not_before: UNIX - 60,
            not_after: NOT_AFTER,
            cert_hash: first16(&leaf),
            leaf: leaf.as_slice().into(),
        });
        self.issued
            .lock()
            .unwrap()
            .insert(leaf.clone(), Arc::clone(&certified));
        Arc::new(Node {
            realm: Arc::clone(self),
            key,
            leaf: leaf.into(),
            certified,
        })
    }

    /// A server in datacenter `dc1`.
    pub(crate) fn server(self: &Arc<Self>, seed: u32, zone: &str, rack: &str) -> Arc<Node> {
        self.issue(&Claimant {
            zone: label(zone),
            rack: label(rack),
            ..claimant(seed)
        })
    }

    /// An operator of datacenter `dc1`.
    pub(crate) fn operator(self: &Arc<Self>, seed: u32) -> Arc<Node> {
        self.issue(&Claimant {
            role: Role::Operator,
            ..claimant(seed)
        })
    }
}

/// A key with its certificate: what a process needs to speak for itself.
pub(crate) struct Node {
    realm: Arc<Realm>,
    key: Ed25519KeyPair,
    pub(crate) leaf: Arc<[u8]>,
    pub(crate) certified: Arc<Certified>,
}

impl Node {
    pub(crate) fn id(&self) -> NodeId {
        self.certified.id
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer {
            certified: Arc::clone(&self.certified),
        }
    }

    pub(crate) fn sign(&self, body: Body) -> Verified<Claim> {
        Claim::sign(self, body)
    }

    /// What it says about itself unless a test wants otherwise.
    pub(crate) fn says(&self, incarnation: Incarnation) -> Record {
        let c = &self.certified;
        let [_, _, third, fourth, ..] = c.id.0;
        let address = SocketAddr::from(([10, 0, third, fourth], 7000));
        let wan = (c.role == Role::Server).then(|| SocketAddr::from(([192, 0, 2, fourth], 7002)));
        Record {
            incarnation,
            name: c.name.clone(),
            location: Location {
                region: label("north"),
                datacenter: c.datacenter.clone(),
                zone: c.zone.clone(),
                rack: c.rack.clone(),
            },
            role: c.role,
            cert_hash: c.cert_hash,
            lan: address,
            stream_port: 7001,
            wan,
            lan_key: [c.id.0[0]; 32],
            pause_tolerance: secs(2),
            health: 0,
            seat: false,
            seats: 3,
            versions: Versions { min: 1, max: 1 },
            software: "0.1.0".into(),
            tags: BTreeMap::new(),
        }
    }

    pub(crate) fn record(&self, incarnation: Incarnation) -> Verified<Claim> {
        self.record_with(incarnation, |_| ())
    }

    pub(crate) fn record_with(
        &self,
        incarnation: Incarnation,
        change: impl FnOnce(&mut Record),
    ) -> Verified<Claim> {
        let mut record = self.says(incarnation);
        change(&mut record);
        self.sign(Body::Record(Arc::new(record)))
    }

    pub(crate) fn alive(&self, incarnation: Incarnation, record: &Claim) -> Verified<Claim> {
        self.sign(Body::Alive(Alive {
            incarnation,
            record: record.hash(),
        }))
    }

    pub(crate) fn leave(&self, incarnation: Incarnation) -> Verified<Claim> {
        self.sign(Body::Leave(Leave { incarnation }))
    }

    pub(crate) fn accuse(
        &self,
        accused: NodeId,
        incarnation: Incarnation,
        silent: Duration,
    ) -> Verified<Claim> {
        self.accuse_as(accused, incarnation, silent, Basis::Timeout, true)
    }

    pub(crate) fn accuse_as(
        &self,
        accused: NodeId,
        incarnation: Incarnation,
        silent: Duration,
        basis: Basis,
        quorate: bool,
    ) -> Verified<Claim> {
        self.sign(Body::Accusation(Accusation {
            accused,
            incarnation,
            silent,
            basis,
            quorate,
        }))
    }

    pub(crate) fn head(&self, incarnation: Incarnation, digest: u64) -> Verified<Claim> {
        self.sign(Body::Head(Head {
            incarnation,
            digest,
            members: 5,
            alive: 5,
            seats: vec![[1; 4]],
        }))
    }

    pub(crate) fn remove(&self, removed: NodeId, until: u64) -> Verified<Claim> {
        self.sign(Body::Removal(Removal {
            removed,
            until,
            reason: String::new(),
        }))
    }

    /// A federation of this node that has announced itself, alone so far.
    pub(crate) fn start(self: &Arc<Self>) -> Federation {
        self.start_with(Memory::default())
    }

    /// The same with what an earlier life left behind.
    pub(crate) fn start_with(self: &Arc<Self>, memory: Memory) -> Federation {
        self.start_believing(Arc::<Self>::clone(self), memory)
    }

    /// The same, with somebody else's judgement.
    pub(crate) fn start_believing(&self, trust: Arc<dyn Trust>, memory: Memory) -> Federation {
        let record = self.says(Incarnation::default());
        let any = || vec!["0.0.0.0/0".parse().unwrap()];
        let settings = Settings {
            region: label("north"),
            lan: record.lan,
            stream: record.stream(),
            wan: record.wan,
            lan_allow: any(),
            wan_allow: any(),
            wan_datacenters: BTreeMap::new(),
            tags: BTreeMap::new(),
            probe_interval: ms(200),
            pause_tolerance: secs(2),
            tuning: pelago_proto::pool::Tuning::default(),
            seats: 3,
            limits: pelago_proto::limit::Limits::default(),
            version: "0.1.0".into(),
            memory,
        };
        let mut federation = Federation::new(settings, trust, [7; 32], NOW).unwrap();
        federation.seeds(Vec::new(), Vec::new(), NOW);
        federation
    }
}

impl Trust for Node {
    fn trust_domain(&self) -> &str {
        &self.realm.domain
    }

    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let issued = self.realm.issued.lock().unwrap();
        issued.get(leaf).cloned().ok_or(Refusal("malformed"))
    }

    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.certify(leaf)
    }

    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, key)
            .verify(message, signature)
            .is_ok()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).as_ref().try_into().unwrap()
    }

    fn own(&self) -> Arc<Certified> {
        Arc::clone(&self.certified)
    }

    fn authorities(&self) -> Vec<Authority> {
        Vec::new()
    }

    fn admit_authority(&self, _: &[u8], _: &[u8]) -> Result<bool, Refusal> {
        Err(Refusal("malformed"))
    }

    fn unix_time(&self) -> u64 {
        self.realm.unix.load(Ordering::Relaxed)
    }

    fn lan_public_key(&self) -> [u8; 32] {
        [self.certified.id.0[0]; 32]
    }
}

/// A roster on its own.
pub(crate) struct Ledger {
    pub(crate) roster: Roster,
}

impl Ledger {
    /// An empty roster of `dc1`.
    pub(crate) fn new() -> Self {
        Self {
            roster: Roster::new(label("dc1")),
        }
    }

    /// With the first record of each of these.
    pub(crate) fn of(nodes: &[Arc<Node>]) -> Self {
        let mut ledger = Self::new();
        for node in nodes {
            ledger.tell(&node.record(at(1, 0)));
        }
        ledger
    }

    /// Merges a claim as the way of a packet does: only if it would change anything.
    pub(crate) fn tell(&mut self, claim: &Verified<Claim>) -> Outcome {
        self.tell_at(claim, NOW)
    }

    pub(crate) fn tell_at(&mut self, claim: &Verified<Claim>, now: Time) -> Outcome {
        if !self.roster.would_change(claim) {
            return Outcome::Stale;
        }
        self.roster.merge(claim, now, UNIX)
    }

    pub(crate) fn status(&self, id: NodeId) -> Status {
        self.roster.get(&id).unwrap().status
    }

    pub(crate) fn statuses(&self) -> BTreeMap<NodeId, Status> {
        self.roster.iter().map(|(id, e)| (*id, e.status)).collect()
    }
}

/// A counter of a federation: `dropped` by reason, everything else by name.
pub(crate) fn count(federation: &Federation, name: &str, label: &str) -> u64 {
    let counts = federation.counts();
    let fits =
        |labels: &[(&str, String)]| label.is_empty() || labels.iter().any(|(_, v)| v == label);
    counts
        .iter()
        .filter(|c| c.name == name && fits(&c.labels))
        .map(|c| c.value as u64)
        .sum()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).unwrap() as u8;
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
