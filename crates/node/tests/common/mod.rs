//! Shared by the tests: a throw-away federation on loopback, and waiting that polls with a deadline.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test uses another part of it"
)]

pub mod quic;

use pelago_node::{
    Node, StartError,
    config::{Config, Lan, Limits, Pki, Wan},
    fault::Faults,
};
use pelago_pki::{IssueRequest, Role};
use pelago_proto::view::{Member, Status};
use std::{
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

pub const DOMAIN: &str = "pelago.test";
/// Long enough for the slowest machine; nothing waits for it in vain.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Authorities and certificates in a temporary directory.
pub struct World {
    pub dir: TempDir,
    pub faults: Faults,
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

impl World {
    pub fn new(datacenters: &[&str]) -> Self {
        Self::of(DOMAIN, datacenters)
    }

    pub fn of(domain: &str, datacenters: &[&str]) -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("dir"),
            faults: Faults::new(1),
        };
        world.add(domain, datacenters);
        world
    }

    pub fn add(&self, domain: &str, datacenters: &[&str]) {
        self.add_at(domain, datacenters, now());
    }

    pub fn add_at(&self, domain: &str, datacenters: &[&str], when: u64) {
        let names: Vec<_> = datacenters.iter().map(|d| (*d).to_owned()).collect();
        pelago_pki::init(&self.pki(), domain, &names, when).expect("authorities");
    }

    pub fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }

    /// Issues a certificate and returns a configuration that uses it.
    pub fn node(&self, datacenter: &str, name: &str, role: Role) -> Config {
        self.node_at(datacenter, name, role, "a", &format!("rack-{name}"))
    }

    pub fn node_at(
        &self,
        datacenter: &str,
        name: &str,
        role: Role,
        zone: &str,
        rack: &str,
    ) -> Config {
        let out = self.dir.path().join(datacenter).join(name);
        let request = IssueRequest {
            datacenter: datacenter.into(),
            zone: zone.into(),
            rack: rack.into(),
            role,
            node: name.into(),
            lifetime: Duration::from_secs(24 * 3600),
            out: Some(out),
        };
        let issued = pelago_pki::issue(&self.pki(), &request, now()).expect("certificate");
        let loopback = vec!["127.0.0.0/8".parse().expect("network")];
        let address = [127, 0, 0, 1].into();
        Config {
            region: "europe".into(),
            name: Some(name.into()),
            datacenter: Some(datacenter.into()),
            zone: None,
            rack: None,
            role: None,
            data_dir: None,
            tags: std::collections::BTreeMap::new(),
            pki: Pki {
                ca: self.pki().join("ca.pem"),
                cert: issued.cert,
                key: issued.key,
                crl_dir: Some(self.pki().join("crl")),
                fail_closed: false,
            },
            lan: Lan {
                address,
                port: 0,
                stream_port: 0,
                allow: loopback.clone(),
                join: Vec::new(),
                probe_interval: Duration::from_millis(200),
                pause_tolerance: Duration::from_secs(2),
            },
            wan: (role == Role::Server).then(|| Wan {
                address,
                port: 0,
                advertise: None,
                allow: loopback,
                datacenters: std::collections::BTreeMap::new(),
                join: Vec::new(),
                seats: 3,
            }),
            limits: Limits::default(),
            faults: self.faults.clone(),
        }
    }
}

/// A copy of a directory of authorities, as another operator would hold it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("dir");
    for entry in std::fs::read_dir(from).expect("dir") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

pub async fn start(config: Config) -> Node {
    try_start(config).await.expect("starts")
}

/// Two datacenters, two servers and a client each, west-s1 the first of all; `prepare` has the last word on each configuration.
pub async fn two_datacenters(
    world: &World,
    prepare: impl Fn(Config) -> Config,
) -> (Vec<Config>, Vec<Node>) {
    let (mut configs, mut nodes) = (Vec::new(), Vec::<Node>::new());
    for datacenter in ["west", "east"] {
        let mut lan = Vec::new();
        for (name, role) in [
            ("s1", Role::Server),
            ("s2", Role::Server),
            ("c1", Role::Client),
        ] {
            let name = format!("{datacenter}-{name}");
            let mut config = prepare(world.node(datacenter, &name, role));
            config.lan.join.clone_from(&lan);
            if let (Some(wan), Some(first)) = (&mut config.wan, nodes.first()) {
                wan.join = vec![first.me().wan.expect("a server").to_string()];
            }
            let node = start(config.clone()).await;
            lan.push(node.me().lan_stream.to_string());
            configs.push(config);
            nodes.push(node);
        }
    }
    (configs, nodes)
}

pub async fn try_start(config: Config) -> Result<Node, StartError> {
    static LOG: std::sync::Once = std::sync::Once::new();
    LOG.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .init();
    });
    Node::start(config).await
}

/// Polls until it holds.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every member that a node sees, of every datacenter.
pub fn members(node: &Node) -> Vec<Member> {
    let snapshot = node.snapshot();
    snapshot
        .view
        .datacenters
        .values()
        .flat_map(|d| d.members.iter().cloned())
        .collect()
}

pub fn status(node: &Node, name: &str) -> Option<Status> {
    members(node)
        .iter()
        .find(|m| m.name.as_str() == name)
        .map(|m| m.status)
}

/// Waits until every node sees a member so.
pub async fn everyone_sees(nodes: &[&Node], name: &str, wanted: Status) {
    let seen = || {
        nodes
            .iter()
            .map(|n| (n.me().name.to_string(), status(n, name)))
            .collect::<Vec<_>>()
    };
    let start = Instant::now();
    while seen().iter().any(|(_, s)| *s != Some(wanted)) {
        assert!(
            start.elapsed() < DEADLINE,
            "{name} is not {wanted} everywhere: {:?}",
            seen()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One series of a node's samples.
pub fn sample(node: &Node, name: &str, label: (&str, &str)) -> f64 {
    let fits =
        |l: &Vec<(&'static str, String)>| l.iter().any(|(k, v)| *k == label.0 && v == label.1);
    let samples = node.samples();
    let found = samples
        .iter()
        .find(|s| s.name == name && (label.0.is_empty() || fits(&s.labels)));
    found
        .unwrap_or_else(|| panic!("no series {name} {label:?}"))
        .value
}

pub async fn refused(node: &Node, reason: &str) {
    eventually(&format!("refused as {reason}"), || async {
        (sample(node, "peers_refused", ("reason", reason)) > 0.0).then_some(())
    })
    .await;
}
