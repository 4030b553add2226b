//! A small federation for tests: three datacenters, three servers and two clients each, all known to `eu-west-s1`.

use pelago_node::api::{Answer, Me, Mode, Part, Snapshot};
use pelago_proto::{
    identity::{Incarnation, Label, NodeId, Role},
    time::Time,
    view::{Datacenter, Member, Reachability, Status, View},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(crate) const NOT_AFTER: u64 = 1_800_000_000;

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).expect("a name")
}

/// The same id for the same names, always.
fn id(datacenter: &str, name: &str) -> NodeId {
    let mut id = [0_u8; 16];
    for (at, byte) in datacenter.bytes().chain(name.bytes()).enumerate() {
        id[at % 16] = id[at % 16].wrapping_mul(31).wrapping_add(byte);
    }
    NodeId(id)
}

pub(crate) fn member(datacenter: &str, name: &str) -> Member {
    let number: u8 = name
        .bytes()
        .last()
        .map_or(1, |byte| byte.wrapping_sub(b'0'))
        .clamp(1, 9);
    let client = name.contains("-c");
    let host = if client { 20 + number } else { 10 + number };
    let octet = match datacenter {
        "eu-west" => 81,
        "us-east" => 82,
        _ => 83,
    };
    Member {
        id: id(datacenter, name),
        name: label(name),
        datacenter: label(datacenter),
        region: label(match datacenter {
            "eu-west" => "europe",
            "us-east" => "america",
            _ => "asia",
        }),
        zone: label(["a", "b", "c"][usize::from(number - 1) % 3]),
        rack: label(if client { "r2" } else { "r1" }),
        role: if client { Role::Client } else { Role::Server },
        status: Status::Alive,
        since: Time::START - Duration::from_secs(7_200),
        elected: !client,
        elected_since: (!client).then_some(Time::START - Duration::from_secs(7_000)),
        incarnation: Incarnation { boot: 1, seq: 2 },
        address: format!("10.{octet}.0.{host}:8701")
            .parse()
            .expect("an address"),
        stream_address: format!("10.{octet}.0.{host}:8702")
            .parse()
            .expect("an address"),
        wan_address: (!client).then(|| {
            format!("10.80.{octet}.{host}:8703")
                .parse()
                .expect("an address")
        }),
        tags: BTreeMap::new(),
        health: 0,
        pause_tolerance_ms: 2_000,
        not_after: NOT_AFTER,
        rtt_ms: (datacenter == "eu-west" && name != "eu-west-s1").then_some(0.4),
        clone: false,
        version: "0.1.0".into(),
    }
}

pub(crate) fn datacenter(name: &str) -> Datacenter {
    let names = ["c1", "c2", "s1", "s2", "s3"];
    let members: Vec<_> = names
        .into_iter()
        .map(|suffix| member(name, &format!("{name}-{suffix}")))
        .collect();
    let own = name == "eu-west";
    Datacenter {
        name: label(name),
        region: Some(members[0].region.clone()),
        reachability: if own {
            Reachability::Local
        } else {
            Reachability::Reachable
        },
        age_ms: Some(if own { 0 } else { 300 }),
        attested: true,
        digest: format!("{:016x}", name.len()),
        seats: 3,
        members: Arc::new(members),
    }
}

pub(crate) fn me() -> Me {
    let own = member("eu-west", "eu-west-s1");
    Me {
        id: own.id,
        name: own.name,
        trust_domain: "pelago.example".into(),
        region: own.region,
        datacenter: own.datacenter,
        zone: own.zone,
        rack: own.rack,
        role: own.role,
        lan: own.address,
        lan_stream: own.stream_address,
        wan: own.wan_address,
        not_after: NOT_AFTER,
        version: "0.1.0".into(),
    }
}

pub(crate) fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

pub(crate) fn answer(mode: Mode) -> Answer {
    let me = me();
    let datacenters = ["ap-south", "eu-west", "us-east"].map(datacenter).to_vec();
    let part = Part {
        viewer: me.id,
        viewer_name: me.name,
        viewer_datacenter: me.datacenter,
        datacenters,
    };
    Answer {
        mode,
        parts: vec![part],
        partial: vec![],
        at: Time::START,
        wall: wall(),
    }
}

pub(crate) fn snapshot() -> Snapshot {
    let me = me();
    let datacenters =
        ["ap-south", "eu-west", "us-east"].map(|name| (label(name), datacenter(name)));
    let view = View {
        at: Time::START,
        viewer: me.id,
        viewer_name: me.name,
        datacenter: me.datacenter,
        role: me.role,
        joined: true,
        incarnation: Incarnation { boot: 1, seq: 2 },
        health: 0,
        datacenters: datacenters.into_iter().collect(),
    };
    Snapshot {
        view: Arc::new(view),
        wall: wall(),
    }
}

/// The lists that the node goes by.
pub(crate) fn lists() -> Vec<pelago_pki::ListEntry> {
    let list = |n: u8, datacenter: Option<&str>| pelago_pki::ListEntry {
        issuer: [n; 32],
        datacenter: datacenter.map(str::to_owned),
        number: n.into(),
        this_update: NOT_AFTER - 60,
        next_update: NOT_AFTER,
        revoked: usize::from(n) - 1,
        certificate: None,
        crl: vec![n; 8].into(),
    };
    vec![
        list(3, Some("eu-west")),
        list(1, None),
        list(2, Some("us-east")),
    ]
}
