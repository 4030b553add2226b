//! What every flood needs: nodes to flood, a thread that sends, and eyes on what must not happen meanwhile.

use crate::common::{World, eventually, everyone_sees, members, sample, start};
use pelago_node::{Node, api::NumberedEvent, config::Config};
use pelago_pki::Role;
use pelago_proto::{
    identity::NodeId,
    view::{Event, EventKind, Reachability, Status},
};
use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex, MutexGuard, broadcast, mpsc},
    task::JoinSet,
};

/// How long each flood lasts.
pub(crate) fn duration() -> Duration {
    let seconds = std::env::var("PELAGO_FLOOD_SECONDS").ok();
    seconds.map_or(Duration::from_millis(500), |s| {
        Duration::from_secs(s.parse().expect("a number of seconds"))
    })
}

/// So many in that time, a second.
pub(crate) fn rate(count: u64) -> u64 {
    (count as f64 / duration().as_secs_f64()) as u64
}

/// One flood at a time: they would measure each other.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Resident memory of this process in KiB, nodes, tests and all.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("resident size")
}

/// Asserts that memory grew by no more than this since `before`, and returns by how much in KiB.
pub(crate) fn grown(before: u64, mib: u64) -> i64 {
    let grown = resident().cast_signed() - before.cast_signed();
    assert!(
        grown <= (mib * 1024).cast_signed(),
        "resident memory grew by {grown} KiB"
    );
    grown
}

/// Servers and clients of one datacenter, two of three being servers, all of whom see each other.
pub(crate) async fn datacenter(world: &World, name: &str, count: usize) -> Vec<Node> {
    configured(world, name, count).await.0
}

/// The same with what they were started with.
pub(crate) async fn configured(
    world: &World,
    name: &str,
    count: usize,
) -> (Vec<Node>, Vec<Config>) {
    let (mut nodes, mut configs): (Vec<Node>, Vec<Config>) = (Vec::new(), Vec::new());
    for i in 0..count {
        let role = if i % 3 < 2 {
            Role::Server
        } else {
            Role::Client
        };
        let mut config = world.node(name, &format!("{name}-{i}"), role);
        config.lan.join = nodes
            .iter()
            .map(|n| n.me().lan_stream.to_string())
            .collect();
        nodes.push(start(config.clone()).await);
        configs.push(config);
    }
    all_alive(&nodes).await;
    (nodes, configs)
}

/// Two datacenters that are linked.
pub(crate) async fn federation(world: &World) -> Vec<Node> {
    let mut nodes = datacenter(world, "west", 3).await;
    let seed = nodes.first().and_then(|n| n.me().wan).expect("a server");
    for i in 0..2 {
        let mut config = world.node("east", &format!("east-{i}"), Role::Server);
        config.wan.as_mut().expect("server").join = vec![seed.to_string()];
        let east = nodes.iter().skip(3);
        config.lan.join = east.map(|n| n.me().lan_stream.to_string()).collect();
        nodes.push(start(config).await);
    }
    all_alive(&nodes).await;
    linked(&nodes).await;
    nodes
}

/// Waits until every node sees every one of its own datacenter alive, and servers those of the others too.
pub(crate) async fn all_alive(nodes: &[Node]) {
    for about in nodes {
        let sees = |n: &&Node| {
            n.me().datacenter == about.me().datacenter
                || n.me().role == pelago_proto::identity::Role::Server
        };
        let viewers: Vec<_> = nodes.iter().filter(sees).collect();
        everyone_sees(&viewers, about.me().name.as_str(), Status::Alive).await;
    }
}

/// Waits until every server reaches both datacenters and every link that it should have is up.
pub(crate) async fn linked(nodes: &[Node]) {
    for node in nodes.iter().filter(|n| n.me().wan.is_some()) {
        eventually("links are up", || async {
            let links = node.links(false).await;
            let far = node.snapshot();
            let reached = |d: &pelago_proto::view::Datacenter| {
                matches!(
                    d.reachability,
                    Reachability::Local | Reachability::Reachable
                )
            };
            let reached = far.view.datacenters.values().filter(|d| reached(d)).count();
            (reached == 2 && !links.is_empty() && links.iter().all(|l| l.state == "up"))
                .then_some(())
        })
        .await;
    }
}

/// What every member held of every other: whoever replays or forges must not be able to change it.
pub(crate) fn roster(node: &Node) -> Vec<(String, Status, pelago_proto::identity::Incarnation)> {
    let mut all: Vec<_> = members(node)
        .into_iter()
        .map(|m| (m.name.to_string(), m.status, m.incarnation))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// What nodes said happened since.
pub(crate) struct Watch {
    events: mpsc::UnboundedReceiver<Event>,
    readers: JoinSet<()>,
    liars: Vec<NodeId>,
    suspected: usize,
    doubted: usize,
}

impl Watch {
    pub(crate) fn new(nodes: &[Node]) -> Self {
        let (heard, events) = mpsc::unbounded_channel();
        let mut readers = JoinSet::new();
        for node in nodes {
            readers.spawn(read(node.events(), heard.clone()));
        }
        Self {
            events,
            readers,
            liars: Vec::new(),
            suspected: 0,
            doubted: 0,
        }
    }

    /// This one is known to lie: what happens to it is no concern, and whom it accuses may look unreachable until the answer
    /// is there, for nobody can tell before.
    pub(crate) fn but(mut self, liar: &Node) -> Self {
        self.liars.push(liar.me().id);
        self
    }

    /// Asserts that nobody was taken for dead or gone so far.
    pub(crate) fn look(&mut self) {
        while let Some(reader) = self.readers.try_join_next() {
            reader.expect("no event is missed");
        }
        while let Ok(event) = self.events.try_recv() {
            if event.member.is_some_and(|id| self.liars.contains(&id)) {
                continue;
            }
            if event.kind == EventKind::Unreachable && !self.liars.is_empty() {
                self.doubted += 1;
                continue;
            }
            let lost = [EventKind::Dead, EventKind::Unreachable, EventKind::Clone];
            assert!(!lost.contains(&event.kind), "{event:?}");
            self.suspected += usize::from(event.kind == EventKind::Suspect);
        }
    }

    /// The same; returns how often somebody was suspected since it was last asked.
    pub(crate) fn nobody_died(&mut self) -> usize {
        self.look();
        std::mem::take(&mut self.suspected)
    }

    /// How often somebody looked unreachable since this was last asked.
    pub(crate) fn doubted(&mut self) -> usize {
        std::mem::take(&mut self.doubted)
    }
}

/// Hears one node as fast as it speaks: it remembers only so much for those who read later.
async fn read(mut events: broadcast::Receiver<NumberedEvent>, heard: mpsc::UnboundedSender<Event>) {
    use broadcast::error::RecvError;
    loop {
        match events.recv().await {
            Ok(event) => {
                if heard.send(event.event).is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(missed)) => panic!("{missed} events were missed"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// All series of this name whose value rose, by their last label.
pub(crate) fn risen(
    before: &[pelago_node::api::Sample],
    node: &Node,
    name: &str,
) -> Vec<(String, u64)> {
    let label = |s: &pelago_node::api::Sample| s.labels.last().map(|l| l.1.clone());
    let was = |wanted: &pelago_node::api::Sample| {
        let same = before
            .iter()
            .find(|s| s.name == name && s.labels == wanted.labels);
        same.map_or(0.0, |s| s.value)
    };
    node.samples()
        .iter()
        .filter(|s| s.name == name)
        .map(|s| (label(s).unwrap_or_default(), (s.value - was(s)) as u64))
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// What a flood came to.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) heard: u64,
    pub(crate) heard_packets: u64,
    /// Retries among what was heard, as QUIC version 1 marks them.
    pub(crate) retries: u64,
    pub(crate) sockets: Vec<UdpSocket>,
}

impl Flood {
    /// Sends from one thread, as fast as it can, what `next` writes; hears what comes back between packets.
    pub(crate) async fn run(
        sockets: Vec<UdpSocket>,
        to: SocketAddr,
        mut next: impl FnMut(u64, &mut Vec<u8>) + Send + 'static,
    ) -> Self {
        let sending = tokio::task::spawn_blocking(move || {
            let mut flood = Self {
                sockets,
                ..Self::default()
            };
            let (start, lasts) = (Instant::now(), duration());
            let mut packet = Vec::with_capacity(2048);
            while start.elapsed() < lasts {
                packet.clear();
                next(flood.packets, &mut packet);
                flood.send(&packet, to);
            }
            flood
        });
        sending.await.expect("sent")
    }

    pub(crate) fn send(&mut self, packet: &[u8], to: SocketAddr) {
        let turn = self.packets as usize % self.sockets.len();
        let socket = self.sockets.get(turn).expect("a socket");
        // Full buffers and refusals of earlier packets are what a flood meets.
        if socket.send_to(packet, to).is_ok() {
            self.bytes += packet.len() as u64;
        }
        self.packets += 1;
        self.hear(turn);
    }

    fn hear(&mut self, socket: usize) {
        let mut buffer = [0; 2048];
        let socket = self.sockets.get(socket).expect("a socket");
        while let Ok(length) = socket.recv(&mut buffer) {
            self.heard += length as u64;
            self.heard_packets += 1;
            self.retries += u64::from(buffer[0] & 0xf0 == 0xf0 && buffer[1..5] == [0, 0, 0, 1]);
        }
    }

    /// Hears what has come since.
    pub(crate) fn listen(&mut self) {
        (0..self.sockets.len()).for_each(|s| self.hear(s));
    }
}

/// Sockets that do not block, one for each address of loopback.
pub(crate) fn sockets<'a>(from: impl IntoIterator<Item = &'a str>) -> Vec<UdpSocket> {
    let bound = |from: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("bound");
        socket.set_nonblocking(true).expect("set");
        socket
    };
    from.into_iter().map(bound).collect()
}

/// Waits until a node has taken out of a LAN socket whatever lay in it: its own probes go through it too.
pub(crate) async fn settled(node: &Node) {
    let mut last = f64::NAN;
    let drops = || {
        let samples = node.samples();
        let dropped = samples.iter().filter(|s| s.name == "datagrams_dropped");
        dropped.map(|s| s.value).sum::<f64>()
    };
    eventually("the flood is over for the node too", || {
        let now = drops();
        let still = now == last;
        last = now;
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            still.then_some(())
        }
    })
    .await;
}

/// A new member of the datacenter comes in through this node, and everybody sees it; then it leaves.
pub(crate) async fn somebody_joins(world: &World, nodes: &[Node], through: &Node) {
    static NAMES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NAMES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("late-{number}");
    let datacenter = through.me().datacenter.to_string();
    let mut config = world.node(&datacenter, &name, Role::Client);
    config.lan.join = vec![through.me().lan_stream.to_string()];
    let late = start(config).await;
    let near = |n: &&Node| n.me().datacenter.as_str() == datacenter;
    let mut all: Vec<_> = nodes.iter().filter(near).collect();
    everyone_sees(&all, &name, Status::Alive).await;
    all.push(&late);
    for node in nodes.iter().filter(near) {
        everyone_sees(&all, node.me().name.as_str(), Status::Alive).await;
    }
    late.leave().await;
    late.stop().await;
    all.pop();
    everyone_sees(&all, &name, Status::Left).await;
}

/// The sum of a node's series of this name.
pub(crate) fn total(node: &Node, name: &str) -> f64 {
    let samples = node.samples();
    let found: Vec<_> = samples.iter().filter(|s| s.name == name).collect();
    assert!(!found.is_empty(), "no series {name}");
    found.iter().map(|s| s.value).sum()
}

/// How many packets came in on one kind of socket.
pub(crate) fn packets_in(node: &Node, kind: &str) -> f64 {
    let samples = node.samples();
    let of = |s: &&pelago_node::api::Sample| {
        let has = |k, v: &str| s.labels.iter().any(|l| l.0 == k && l.1 == v);
        s.name == "packets" && has("kind", kind) && has("direction", "in")
    };
    let packets = samples.iter().find(of).map(|s| s.value);
    packets.unwrap_or_else(|| sample(node, "packets", ("kind", kind)))
}
