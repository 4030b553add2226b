//! One abuser at a time: a member's own QUIC client sends frames that nobody should, while a new member joins and honest
//! links are watched.

use crate::{
    common::{World, quic},
    kit::{Watch, all_alive, duration, federation, grown, linked, resident, somebody_joins},
    raw::{Client, Close, Traffic},
};
use pelago_node::Node;
use pelago_pki::{Accept, Role};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How soon whoever has to be dropped must be gone.
const DROPPED: Duration = Duration::from_secs(10);

/// Two datacenters that are linked, and a member's certificate that nobody else uses.
pub(crate) struct Scene {
    world: World,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    watch: Watch,
    /// By how many MiB memory may grow.
    pub(crate) memory: u64,
}

/// What became of an abuser.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: Traffic,
    pub(crate) heard: Traffic,
    pub(crate) responses: u64,
    pub(crate) retired: u64,
    /// How often a connection was closed, and how.
    pub(crate) closed: BTreeMap<Close, u64>,
    /// Connections that were open when it was over.
    pub(crate) kept: u64,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let world = World::new(&["west", "east"]);
        let nodes = federation(&world).await;
        let config = world.node("east", "abuser", Role::Server);
        let tls = quic::tls(&config, &Accept::anybody(), quic::WAN);
        let watch = Watch::new(&nodes);
        // What a newcomer takes is not what an abuser takes: one comes and goes before anything is measured.
        somebody_joins(&world, &nodes, nodes.first().expect("a server")).await;
        Self {
            world,
            nodes,
            tls: Arc::new(tls),
            watch,
            memory: 8,
        }
    }

    pub(crate) fn victim(&self) -> &Node {
        self.nodes.first().expect("a server")
    }

    pub(crate) fn target(&self) -> SocketAddr {
        self.victim().me().wan.expect("a server")
    }

    /// One connection after another on which these frames are sent as fast as they can be, each until the node has had
    /// enough. They are made from how many packets were sent before them.
    pub(crate) async fn suffer(
        &mut self,
        what: &str,
        frames: impl FnMut(&mut Client, u64, &mut Vec<u8>) + Clone + Send + 'static,
    ) -> Outcome {
        self.suffer_for(what, Duration::ZERO, frames).await
    }

    /// The same of frames that no member sends: every connection has to be closed for this reason, and soon.
    pub(crate) async fn refuse(
        &mut self,
        what: &str,
        code: u64,
        frames: impl FnMut(&mut Client, u64, &mut Vec<u8>) + Clone + Send + 'static,
    ) {
        let outcome = self.suffer_for(what, DROPPED, frames).await;
        assert_eq!(outcome.kept, 0, "{what}: {outcome:?}");
        let refused = Close::Transport(code);
        assert!(outcome.closed.contains_key(&refused), "{what}: {outcome:?}");
        // Where nothing is acknowledged, a node may find no room for its last word, and forget without one.
        let known = |c: &Close| [refused, Close::Reset].contains(c);
        assert!(outcome.closed.keys().all(known), "{what}: {outcome:?}");
    }

    /// Each connection is given `patience` to be closed even when all else is over.
    async fn suffer_for(
        &mut self,
        what: &str,
        patience: Duration,
        frames: impl FnMut(&mut Client, u64, &mut Vec<u8>) + Clone + Send + 'static,
    ) -> Outcome {
        let before = resident();
        let (tls, to, joined) = (self.tls.clone(), self.target(), Joined::default());
        let over = joined.0.clone();
        let abuser = tokio::task::spawn_blocking(move || {
            let (begun, mut outcome) = (Instant::now(), Outcome::default());
            let goes_on = || begun.elapsed() < duration() || !over.load(Relaxed);
            while goes_on() {
                let mut client = Client::dial(&tls, "127.0.0.1", to);
                let (mut frames, opened) = (frames.clone(), Instant::now());
                while client.closed.is_none() && (goes_on() || opened.elapsed() < patience) {
                    let (mut packet, count) = (Vec::new(), client.sent.packets);
                    frames(&mut client, count, &mut packet);
                    client.send(&packet);
                    client.hear();
                }
                outcome.add(&client);
            }
            outcome
        });
        let outcome = {
            let ends = async {
                somebody_joins(&self.world, &self.nodes, self.victim()).await;
                drop(joined);
                abuser.await.expect("ran")
            };
            tokio::pin!(ends);
            loop {
                tokio::select! {
                    outcome = &mut ends => break outcome,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
                self.links_are_up().await;
            }
        };
        linked(&self.nodes).await;
        all_alive(&self.nodes).await;
        let suspected = self.watch.nobody_died();
        let (sent, heard) = (outcome.sent, outcome.heard);
        println!(
            "{what}: {} packets, {:.2} bytes back for one sent, closed {:?}, {suspected} suspicions, {} KiB",
            sent.packets,
            heard.bytes as f64 / sent.bytes as f64,
            outcome.closed,
            grown(before, self.memory),
        );
        outcome
    }

    /// Asserts that every link of a server which there should be is up now.
    async fn links_are_up(&self) {
        for node in self.nodes.iter().filter(|n| n.me().wan.is_some()) {
            for link in node.links(false).await {
                assert_eq!(link.state, "up", "{link:?}");
            }
        }
    }
}

/// Set when dropped: a test that fails ends its abuser, too.
#[derive(Default)]
struct Joined(Arc<AtomicBool>);

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Outcome {
    fn add(&mut self, client: &Client) {
        for (sum, more) in [
            (&mut self.sent, client.sent),
            (&mut self.heard, client.heard),
        ] {
            sum.packets += more.packets;
            sum.bytes += more.bytes;
        }
        self.responses += client.responses;
        self.retired += client.retired;
        match client.closed {
            Some(how) => *self.closed.entry(how).or_default() += 1,
            None => self.kept += 1,
        }
    }
}
