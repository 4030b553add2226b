//! Several datacenters: questions in every mode, links, and what injected faults do to both.

mod common;

use common::{World, eventually, everyone_sees, members, refused, sample, start, status};
use pelago_node::{
    FindError, Node,
    api::{Mode, Scope},
    fault::{Fault, LinkClass},
};
use pelago_pki::Role;
use pelago_proto::{
    identity::Label,
    view::{Reachability, Status},
};

fn label(name: &str) -> Label {
    Label::new(name).expect("label")
}

/// Two datacenters, a server and a client each.
async fn federation(world: &World) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for datacenter in ["east", "west"] {
        let mut config = world.node(datacenter, &format!("{datacenter}-s"), Role::Server);
        if let Some(first) = nodes.first() {
            config.wan.as_mut().expect("server").join =
                vec![first.me().wan.expect("server").to_string()];
        }
        let server = start(config).await;
        let mut config = world.node(datacenter, &format!("{datacenter}-c"), Role::Client);
        config.lan.join = vec![server.me().lan_stream.to_string()];
        nodes.push(server);
        nodes.push(start(config).await);
    }
    let servers: Vec<_> = nodes
        .iter()
        .filter(|n| n.me().role == pelago_proto::identity::Role::Server)
        .collect();
    for node in &nodes {
        everyone_sees(&servers, node.me().name.as_str(), Status::Alive).await;
    }
    for server in &servers {
        eventually("both are elected", || async {
            (members(server).iter().filter(|m| m.elected).count() == 2).then_some(())
        })
        .await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_every_datacenter_in_every_mode() {
    let world = World::new(&["east", "west"]);
    let nodes = federation(&world).await;
    for node in &nodes {
        for mode in [Mode::Local, Mode::Dc, Mode::Home, Mode::All] {
            let what = format!("{mode:?} asked of {}", node.me().name);
            let answer = eventually(&what, || async {
                let answer = node.ask(mode, Scope::All).await;
                let all: usize = answer
                    .parts
                    .iter()
                    .flat_map(|p| &p.datacenters)
                    .map(|d| d.members.len())
                    .sum();
                (answer.partial.is_empty() && all == 4).then_some(answer)
            })
            .await;
            let viewers: Vec<_> = answer
                .parts
                .iter()
                .map(|p| p.viewer_datacenter.as_str())
                .collect();
            if matches!(mode, Mode::Home | Mode::All) {
                assert_eq!(viewers, ["east", "west"], "{what}: each by its own");
            } else {
                assert_eq!(viewers, [node.me().datacenter.as_str()], "{what}");
            }
        }
        assert!(
            node.why("east-c").await.is_ok(),
            "{} knows or asks",
            node.me().name
        );
        assert!(matches!(node.why("nobody").await, Err(FindError::None)));
    }
    let links = nodes[1].links(true).await;
    assert!(
        links
            .iter()
            .any(|l| l.from_datacenter == label("east") && l.state == "up"),
        "{links:?}"
    );
}

/// Everybody is on one network here, so that a datacenter which belongs on another one is where it may not be.
#[tokio::test(flavor = "multi_thread")]
async fn a_datacenter_is_heard_from_its_own_networks_only() {
    let world = World::new(&["east", "west", "north"]);
    let mut config = world.node("east", "east-s", Role::Server);
    let networks = |text: &str| vec![text.parse().expect("a network")];
    let wan = config.wan.as_mut().expect("server");
    wan.datacenters = [
        ("west".to_owned(), networks("10.0.0.0/8")),
        ("north".to_owned(), networks("127.0.0.0/16")),
    ]
    .into();
    let east = start(config).await;
    let join = vec![east.me().wan.expect("server").to_string()];
    let joining = |datacenter: &str| {
        let mut config = world.node(datacenter, &format!("{datacenter}-s"), Role::Server);
        config.wan.as_mut().expect("server").join = join.clone();
        config
    };
    let west = start(joining("west")).await;
    refused(&east, "source").await;
    let north = start(joining("north")).await;
    everyone_sees(&[&east], "north-s", Status::Alive).await;
    assert_eq!(status(&east, "west-s"), None);
    assert!(west.condition().live && north.condition().live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datacenter_cut_off_makes_answers_partial_and_kills_nobody() {
    let world = World::new(&["east", "west"]);
    let nodes = federation(&world).await;
    let east = &nodes[0];
    world.faults.set(
        LinkClass::Wan,
        Fault {
            cut: true,
            ..Fault::default()
        },
    );
    let west = label("west");
    eventually("west is unreachable", || async {
        let snapshot = east.snapshot();
        (snapshot.view.datacenters[&west].reachability == Reachability::Unreachable).then_some(())
    })
    .await;
    assert!(world.faults.counts().cut > 0);
    let answer = east.ask(Mode::Home, Scope::All).await;
    assert_eq!(
        answer
            .partial
            .iter()
            .map(|m| m.datacenter.as_str())
            .collect::<Vec<_>>(),
        ["west"]
    );
    assert!(!answer.partial[0].causes.is_empty());
    let known: usize = answer
        .parts
        .iter()
        .flat_map(|p| &p.datacenters)
        .map(|d| d.members.len())
        .sum();
    assert_eq!(known, 4, "what is known still stands");
    assert!(members(east).iter().all(|m| m.status != Status::Dead));
    world.faults.clear();
    eventually("west is back", || async {
        let snapshot = east.snapshot();
        (snapshot.view.datacenters[&west].reachability == Reachability::Reachable).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_wide_area_network_still_carries_the_federation() {
    let world = World::new(&["east", "west"]);
    let slow = Fault {
        delay: std::time::Duration::from_millis(40),
        jitter: std::time::Duration::from_millis(5),
        loss: 0.05,
        reorder: 0.05,
        cut: false,
    };
    world.faults.set(LinkClass::Wan, slow);
    world.faults.set(
        LinkClass::AnyLan,
        Fault {
            loss: 0.05,
            ..Fault::default()
        },
    );
    let nodes = federation(&world).await;
    let counts = world.faults.counts();
    assert!(counts.lost > 0 && counts.delayed > 0, "{counts:?}");
    let rtt = eventually("a link is up", || async {
        let links = nodes[0].links(false).await;
        links
            .iter()
            .find(|l| l.state == "up")
            .and_then(|l| l.rtt_ms)
    })
    .await;
    assert!(rtt >= 80.0, "{rtt} ms");
    assert!(
        nodes
            .iter()
            .all(|n| members(n).iter().all(|m| m.status != Status::Dead))
    );
    assert!(sample(&nodes[0], "connections", ("pool", "wan")) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_list_of_seeds_may_serve_every_datacenter() {
    let world = World::new(&["east", "west"]);
    let mut nodes: Vec<Node> = Vec::new();
    for (datacenter, name) in [("east", "e0"), ("east", "e1"), ("west", "w0")] {
        let mut config = world.node(datacenter, name, Role::Server);
        let seeds = nodes.iter().filter_map(|n| n.me().wan);
        config.wan.as_mut().expect("server").join = seeds.map(|a| a.to_string()).collect();
        if datacenter == "east" {
            let seeds = nodes.iter().map(|n| n.me().lan_stream.to_string());
            config.lan.join = seeds.collect();
        }
        nodes.push(start(config).await);
    }
    let all: Vec<_> = nodes.iter().collect();
    for name in ["e0", "e1", "w0"] {
        everyone_sees(&all, name, Status::Alive).await;
    }
    // e1 has e0 of its own datacenter among its seeds: that is no link, and none that is down.
    eventually("only the link between the datacenters is shown", || async {
        let links = nodes[1].links(false).await;
        let shown: Vec<_> = links
            .iter()
            .map(|l| (l.to.as_str(), l.state.as_str()))
            .collect();
        (shown == [("w0.west", "up")]).then_some(())
    })
    .await;
}
