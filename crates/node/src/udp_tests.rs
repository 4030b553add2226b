use super::*;
use crate::{count::Label as _, inputs, seal::BootKey};
use pelago_proto::federation::{Introduction, Tier};
use std::collections::HashMap;

const DEADLINE: Duration = Duration::from_secs(10);

/// Members as the tests want them: introductions are `[id, key…]` and believed.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) keys: HashMap<NodeId, [u8; 32]>,
    introductions: usize,
    pub(crate) received: Vec<(NodeId, Vec<u8>)>,
    /// Nobody's introduction is understood.
    pub(crate) unreadable: bool,
}

impl Members for Fake {
    fn lan_key(&self, from: NodeId) -> Option<[u8; 32]> {
        self.keys.get(&from).copied()
    }
    fn introduce(&mut self, record: &[u8], _leaf: &[u8]) -> Option<(NodeId, [u8; 32])> {
        self.introductions += 1;
        if self.unreadable {
            return None;
        }
        let (id, key) = record.split_first()?;
        let (id, key) = (NodeId([*id; 16]), key.try_into().ok()?);
        self.keys.insert(id, key);
        Some((id, key))
    }
    fn receive(&mut self, from: NodeId, payload: &[u8]) {
        self.received.push((from, payload.to_vec()));
    }
}

pub(crate) struct End {
    pub(crate) udp: Udp,
    pub(crate) key: Arc<BootKey>,
    pub(crate) id: NodeId,
    at: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    inputs: tokio::sync::mpsc::Receiver<inputs::Queued>,
}

pub(crate) fn end(id: u8) -> End {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    let at = socket.local_addr().expect("address");
    let counts = Arc::new(Counts::default());
    let key = Arc::new(BootKey::generate().expect("key"));
    let id = NodeId([id; 16]);
    let socket = LanSocket::new(socket, None, counts.clone()).expect("socket");
    let sealer = Sealer::new(id, key.clone(), "example.org");
    let (sender, inputs) = inputs::channel();
    let allow = vec!["127.0.0.0/8".parse().expect("net")];
    let udp = Udp::new(
        socket,
        sealer,
        (allow, crate::config::Limits::default().datagrams),
        counts.clone(),
        sender,
        at.ip(),
    );
    End {
        udp,
        key,
        id,
        at,
        counts,
        inputs,
    }
}

impl End {
    fn transmit(&mut self, to: &Self, introduction: Option<Introduction>, payload: &[u8]) {
        self.udp.transmit(Transmit {
            tier: Tier::Lan,
            to: to.id,
            address: to.at,
            key: to.key.public(),
            introduction,
            path: Path::Main,
            payload: payload.into(),
        });
    }

    fn introduction(&self) -> Introduction {
        let record: Vec<u8> = self
            .id
            .0
            .iter()
            .copied()
            .take(1)
            .chain(self.key.public())
            .collect();
        Introduction {
            record: record.into(),
            leaf: vec![1].into(),
        }
    }

    async fn receive(&mut self, members: &mut Fake) {
        let socket = self.udp.socket();
        while !self.udp.receive(members) {
            timeout(DEADLINE, socket.readable())
                .await
                .expect("in time")
                .expect("readable");
        }
    }

    fn dropped(&self) -> Vec<(&'static str, u64)> {
        let counted = |d: &Dropped| (d.as_str(), self.counts.dropped.get(*d));
        Dropped::ALL
            .iter()
            .map(counted)
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}

#[tokio::test]
async fn a_stranger_is_heard_only_after_its_introduction() {
    let (mut a, mut b, mut members) = (end(1), end(2), Fake::default());
    a.transmit(&b, None, b"one");
    b.receive(&mut members).await;
    assert_eq!(b.dropped(), [("unknown_sender", 1)]);
    a.transmit(&b, Some(a.introduction()), b"two");
    b.receive(&mut members).await;
    a.transmit(&b, None, b"three");
    b.receive(&mut members).await;
    assert_eq!(
        members.received,
        [(a.id, b"two".to_vec()), (a.id, b"three".to_vec())]
    );
    assert_eq!(members.introductions, 1);
}

#[tokio::test]
async fn a_member_that_started_again_is_heard_by_its_new_introduction() {
    let (old, mut new, mut b, mut members) = (end(1), end(1), end(2), Fake::default());
    members.keys.insert(old.id, old.key.public());
    new.transmit(&b, None, b"one");
    b.receive(&mut members).await;
    assert_eq!(b.dropped(), [("forged", 1)]);
    new.transmit(&b, Some(new.introduction()), b"two");
    b.receive(&mut members).await;
    assert_eq!(members.received, [(new.id, b"two".to_vec())]);
}

#[tokio::test]
async fn an_introduction_that_names_somebody_else_is_refused() {
    let (mut a, c, mut b, mut members) = (end(1), end(3), end(2), Fake::default());
    a.transmit(&b, Some(c.introduction()), b"one");
    b.receive(&mut members).await;
    assert_eq!(
        (b.dropped(), members.received.len()),
        (vec![("introduction", 1)], 0)
    );
}

#[tokio::test]
async fn garbage_is_counted_by_reason_and_never_answered() {
    let (mut a, mut b, mut members) = (end(1), end(2), Fake::default());
    members.keys.insert(a.id, a.key.public());
    let good = a
        .udp
        .sealer
        .seal(b.id, b.key.public(), None, b"x")
        .expect("sealed");
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let mut version = good.clone();
    *version.get_mut(0).expect("byte") = 9;
    let mut flags = good.clone();
    *flags.get_mut(1).expect("byte") = 0x80;
    let mut tag = good.clone();
    *tag.get_mut(18).expect("byte") ^= 1;
    let mut forged = good.clone();
    *forged.last_mut().expect("byte") ^= 1;
    let mut lengths = good.clone();
    *lengths.get_mut(1).expect("byte") = 1;
    lengths.resize(60, 0xff);
    let bad: [&[u8]; 10] = [
        &[],
        &[1; 43],
        &[1; 1201],
        &[0; 2000],
        &version,
        &flags,
        &tag,
        &forged,
        &lengths,
        &[1; 1200],
    ];
    for datagram in bad {
        stranger.send_to(datagram, b.at).await.expect("sent");
        b.receive(&mut members).await;
    }
    stranger.send_to(&good, b.at).await.expect("sent");
    stranger.send_to(&good, b.at).await.expect("sent");
    b.receive(&mut members).await;
    b.receive(&mut members).await;
    let expected = [
        ("short", 2),
        ("oversized", 2),
        ("version", 2),
        ("malformed", 1),
        ("receiver_key", 2),
        ("replay", 1),
        ("forged", 1),
    ];
    assert_eq!(b.dropped(), expected);
    assert_eq!(
        members.received.len(),
        1,
        "the good one came through once, whoever carried it"
    );
    let mut buffer = [0; 10];
    assert_eq!(
        stranger.try_recv(&mut buffer).map_err(|e| e.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
}

#[tokio::test]
async fn a_source_outside_the_networks_is_not_read_further() {
    let (mut a, mut b, mut members) = (end(1), end(2), Fake::default());
    b.udp.allow = vec!["10.0.0.0/8".parse().expect("net")];
    members.keys.insert(a.id, a.key.public());
    a.transmit(&b, None, b"one");
    b.receive(&mut members).await;
    assert_eq!(
        (b.dropped(), members.received.len()),
        (vec![("source", 1)], 0)
    );
}

#[tokio::test]
async fn a_flood_from_a_members_address_does_not_silence_the_member() {
    let (mut a, mut b, mut members) = (end(1), end(2), Fake::default());
    b.udp.budget = SourceBudget::per_address(Rate::new(1.0, 5.0));
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let c = end(3);
    for i in 0..20 {
        // Every one from a new sender that introduces itself.
        let mut sealer = Sealer::new(NodeId([i; 16]), c.key.clone(), "example.org");
        let introduction = Introduction {
            record: vec![i; 3].into(),
            leaf: vec![1].into(),
        };
        let datagram = sealer
            .seal(b.id, b.key.public(), Some(&introduction), b"x")
            .expect("sealed");
        stranger.send_to(&datagram, b.at).await.expect("sent");
        b.receive(&mut members).await;
    }
    assert_eq!(members.introductions, 5, "introductions are what costs");
    assert_eq!(b.dropped(), [("source_budget", 15), ("introduction", 5)]);
    members.keys.insert(a.id, a.key.public());
    a.transmit(&b, None, b"one");
    b.receive(&mut members).await;
    assert_eq!(members.received, [(a.id, b"one".to_vec())]);
}

#[tokio::test]
async fn a_closed_port_is_heard_and_an_open_silent_one_is_not() {
    let mut a = end(1);
    let closed = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        socket.local_addr().expect("address")
    };
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let b = end(2);
    let mut probe = |id, address| {
        a.udp.transmit(Transmit {
            tier: Tier::Lan,
            to: b.id,
            address,
            key: b.key.public(),
            introduction: None,
            path: Path::Fresh(ProbeId(id)),
            payload: b"ping"[..].into(),
        });
    };
    probe(1, silent.local_addr().expect("address"));
    probe(2, closed);
    let heard = timeout(DEADLINE, a.inputs.recv())
        .await
        .expect("in time")
        .expect("input");
    assert!(
        matches!(heard.input, Input::PortClosed(ProbeId(2))),
        "{heard:?}"
    );
    // The silent one's listening ends by itself; then all permits are back and nothing more was heard.
    let all = timeout(DEADLINE, a.udp.probes.acquire_many(PROBES as u32))
        .await
        .expect("in time");
    assert!(all.is_ok() && a.inputs.try_recv().is_err());
}

#[tokio::test]
async fn closed_port_probes_are_bounded() {
    let mut a = end(1);
    let b = end(2);
    for id in 0..PROBES as u64 + 10 {
        a.udp.transmit(Transmit {
            tier: Tier::Lan,
            to: b.id,
            address: b.at,
            key: b.key.public(),
            introduction: None,
            path: Path::Fresh(ProbeId(id)),
            payload: Vec::new().into(),
        });
    }
    assert_eq!(a.dropped(), [("probes", 10)]);
}
