//! All certificates of two datacenters run out at once while everybody runs, and all are renewed: nobody stops, nobody
//! storms, and everybody is back without a restart.

mod common;

use common::{World, eventually, everyone_sees, members, now, sample, status, two_datacenters};
use pelago_node::{
    Node,
    api::{Mode, Scope},
    config::Config,
};
use pelago_proto::view::{Reachability, Status};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long certificates live once everybody has started with them.
const LIFE: u64 = 20;
/// How long nobody renews anything.
const OUTAGE: Duration = Duration::from_secs(20);
/// Within which everybody is back.
const BACK: Duration = Duration::from_secs(15);
/// Dials a second and node.
const DIALS: f64 = 20.0;

/// Puts a certificate that ends then over the one of a configuration.
fn ends_at(world: &World, config: &Config, end: u64) {
    let life = Duration::from_secs(3600);
    pelago_pki::renew(
        &world.pki(),
        &config.pki.cert,
        false,
        Some(life),
        end - life.as_secs(),
    )
    .expect("renewed");
}

/// Two datacenters of two servers and a client each, all of whose certificates end then.
async fn federation(world: &World, end: u64) -> (Vec<Config>, Vec<Node>) {
    let ending = |config| {
        ends_at(world, &config, end);
        config
    };
    two_datacenters(world, ending).await
}

fn dials(node: &Node) -> f64 {
    ["lan", "wan"]
        .iter()
        .map(|pool| sample(node, "dials", ("pool", pool)))
        .sum()
}

/// Dials of every node, looked at often: the most within any second, and how many in all.
struct Meter {
    seconds: Vec<VecDeque<(Instant, f64)>>,
    most: f64,
    first: Vec<f64>,
    since: Instant,
}

impl Meter {
    fn new(nodes: &[Node]) -> Self {
        Self {
            seconds: vec![VecDeque::new(); nodes.len()],
            most: 0.0,
            first: nodes.iter().map(dials).collect(),
            since: Instant::now(),
        }
    }

    fn look(&mut self, nodes: &[Node]) {
        for (node, second) in nodes.iter().zip(&mut self.seconds) {
            let at = Instant::now();
            second.push_back((at, dials(node)));
            while second
                .front()
                .is_some_and(|(t, _)| at - *t > Duration::from_secs(1))
            {
                second.pop_front();
            }
            if let (Some((_, first)), Some((_, last))) = (second.front(), second.back()) {
                self.most = self.most.max(last - first);
            }
        }
    }

    /// Dials a second of each node.
    fn mean(&self, nodes: &[Node]) -> String {
        let seconds = self.since.elapsed().as_secs_f64();
        let each = nodes
            .iter()
            .zip(&self.first)
            .map(|(n, first)| format!("{:.1}", (dials(n) - first) / seconds));
        each.collect::<Vec<_>>().join(" ")
    }
}

/// Whom a node does not see alive.
fn missed(node: &Node, names: &[String]) -> Vec<String> {
    let missed = names
        .iter()
        .filter(|n| status(node, n) != Some(Status::Alive));
    missed.cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_expires_at_once_and_is_back_once_renewed() {
    let world = World::new(&["west", "east"]);
    // In whole seconds since 1970, as certificates count.
    let end = now() + LIFE;
    let (configs, nodes) = federation(&world, end).await;
    let names: Vec<_> = nodes.iter().map(|n| n.me().name.to_string()).collect();
    let servers: Vec<_> = [0, 1, 3, 4].map(|at| &nodes[at]).into();
    for name in &names {
        everyone_sees(&servers, name, Status::Alive).await;
    }
    assert!(now() < end, "too slow a machine: raise LIFE");
    let judged = |node: &Node| {
        let condition = node.condition();
        assert!(condition.live, "{} runs", node.me().name);
        condition
    };

    // They end.
    let mut meter = Meter::new(&nodes);
    while now() <= end {
        meter.look(&nodes);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for node in &nodes {
        eventually("it says that its certificate has expired", || async {
            let degraded = judged(node).degraded;
            let said = degraded
                .iter()
                .any(|d| d == "the own certificate has expired");
            said.then_some(())
        })
        .await;
    }
    println!("until they ended: at most {} dials in a second", meter.most);

    // Nobody renews them for a while. All go on answering from what they hold.
    let mut storm = Meter::new(&nodes);
    let mut slowest = Duration::ZERO;
    while storm.since.elapsed() < OUTAGE {
        storm.look(&nodes);
        for node in &nodes {
            judged(node);
            let asked = Instant::now();
            let answer =
                tokio::time::timeout(Duration::from_secs(2), node.ask(Mode::Local, Scope::All))
                    .await
                    .expect("answers at once");
            slowest = slowest.max(asked.elapsed());
            // A client holds nothing of other datacenters and says whom it could not ask.
            let own = answer.parts.iter().flat_map(|p| &p.datacenters);
            let own: usize = own.map(|d| d.members.len()).sum();
            assert!(
                own > 0 && !members(node).is_empty(),
                "it shows what it holds"
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen: Vec<_> = nodes
        .iter()
        .map(|n| (names.len() - missed(n, &names).len()).to_string())
        .collect();
    println!(
        "while expired: at most {} dials in a second, on average {} of each node; slowest answer {slowest:?}; alive as each sees it: {}",
        storm.most,
        storm.mean(&nodes),
        seen.join(" ")
    );
    // That nobody renewed in time is nobody's death.
    for node in &nodes {
        let dead = members(node).iter().any(|m| m.status == Status::Dead);
        assert!(!dead, "{} declares nobody dead", node.me().name);
    }
    for (server, far) in [(&nodes[0], "east"), (&nodes[3], "west")] {
        let snapshot = server.snapshot();
        let far = snapshot
            .view
            .datacenters
            .values()
            .find(|d| d.name.as_str() == far);
        assert_eq!(
            far.map(|d| d.reachability),
            Some(Reachability::Unreachable),
            "whose certificates ended is not listened to"
        );
    }

    // All at once.
    for config in &configs {
        ends_at(&world, config, now() + 3000);
    }
    let renewed = Instant::now();
    let mut back = Meter::new(&nodes);
    loop {
        back.look(&nodes);
        let far = servers.iter().map(|s| {
            let snapshot = s.snapshot();
            let mut all = snapshot.view.datacenters.values();
            let lost = all.any(|d| d.reachability == Reachability::Unreachable);
            (
                s.me().name.to_string(),
                if lost {
                    vec!["a datacenter".into()]
                } else {
                    vec![]
                },
            )
        });
        let missing: Vec<_> = servers
            .iter()
            .map(|n| (n.me().name.to_string(), missed(n, &names)))
            .chain(far)
            .filter(|(_, m)| !m.is_empty())
            .collect();
        if missing.is_empty() {
            break;
        }
        assert!(
            renewed.elapsed() < BACK,
            "not back within {BACK:?}: {missing:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "renewed: everybody back after {:?}, at most {} dials in a second",
        renewed.elapsed(),
        back.most
    );
    for node in &nodes {
        eventually("all is well", || async {
            let condition = judged(node);
            (condition.ready && condition.degraded.is_empty()).then_some(())
        })
        .await;
    }
    for meter in [meter, storm, back] {
        assert!(meter.most <= DIALS, "{} dials in a second", meter.most);
    }
}
