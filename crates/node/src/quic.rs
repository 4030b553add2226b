//! One QUIC endpoint of a pool: settings, accepting, serving and the request that everything else calls.

use crate::{
    admit::{SourceBudget, allowed},
    config::Rate,
    count::{Counts, Kind, Label as _, Refused},
    dial::Dials,
    fault::{Faults, Place},
    inputs::Input,
    intro,
    links::{Link, Links, close},
    peer::{self, Refuse},
    socket::QuicSocket,
    streams::{self, Service},
    trust::{Alpn, NodeTrust},
};
use bytes::Bytes;
use ipnet::IpNet;
use pelago_proto::{
    federation::{Peer, RequestError, Tier},
    identity::{Label, NodeId, Role},
};
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long a handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(3);
/// Handshakes in flight above which further ones are turned away.
const REFUSE_ABOVE: usize = 64;
/// Handshakes in flight above which a source with many failures is not heard.
const SUSPECT_ABOVE: usize = 4;
/// Handshakes that may fail from one network before it has to prove its addresses: eight at once, one more every 7.5 s.
const FAILURES: Rate = Rate::new(8.0 / 60.0, 60.0);
/// A connection without any packet for this long is lost.
const IDLE: Duration = Duration::from_secs(6);

/// One pool's endpoint.
#[derive(Debug)]
pub(crate) struct Quic {
    pub(crate) tier: Tier,
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) links: Links,
    pub(crate) dials: Dials,
    pub(crate) trust: Arc<NodeTrust>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) allow: Vec<IpNet>,
    /// Where peers of some datacenters must come from.
    datacenters: BTreeMap<Label, Vec<IpNet>>,
    service: Service,
    failures: Mutex<SourceBudget>,
    pending: AtomicUsize,
}

/// What an endpoint is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) address: SocketAddr,
    pub(crate) allow: Vec<IpNet>,
    pub(crate) datacenters: BTreeMap<Label, Vec<IpNet>>,
    pub(crate) trust: Arc<NodeTrust>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) service: Service,
    pub(crate) faults: Faults,
    pub(crate) place: Place,
}

impl Quic {
    /// Binds and starts accepting.
    pub(crate) fn start(parts: Parts) -> io::Result<Arc<Self>> {
        let Parts {
            address,
            allow,
            datacenters,
            trust,
            counts,
            service,
            faults,
            place,
        } = parts;
        let tier = service.tier;
        let socket = std::net::UdpSocket::bind(address)?;
        let address = socket.local_addr()?;
        let kind = if tier == Tier::Lan {
            Kind::LanQuic
        } else {
            Kind::WanQuic
        };
        let port = faults.register(address, &place);
        let socket = Arc::new(QuicSocket::new(socket, port, counts.clone(), kind)?);
        let server = trust
            .server_config(tier, transport(tier))
            .map_err(io::Error::other)?;
        let config = endpoint_config(&trust, tier);
        let endpoint = Endpoint::new_with_abstract_socket(
            config,
            Some(server),
            socket,
            Arc::new(TokioRuntime),
        )?;
        let limit = if tier == Tier::Lan { 1024 } else { 256 };
        let quic = Arc::new(Self {
            tier,
            endpoint,
            address,
            links: Links::new(trust.me(), limit),
            dials: Dials::new(
                tier,
                pelago_proto::trust::Trust::own(&*trust).role == Role::Server,
            ),
            trust,
            counts,
            allow,
            datacenters,
            service,
            failures: Mutex::new(SourceBudget::per_prefix(FAILURES)),
            pending: AtomicUsize::new(0),
        });
        tokio::spawn(quic.clone().accept());
        Ok(quic)
    }

    /// Sends a request and waits for the answer, over a live connection or a new one.
    pub(crate) async fn request(
        self: &Arc<Self>,
        to: Option<NodeId>,
        address: SocketAddr,
        body: &[u8],
        limit: Duration,
    ) -> Result<(Peer, Vec<u8>), RequestError> {
        let no_answer = |e: streams::StreamError| match e {
            streams::StreamError::Reset => RequestError::Refused(e.to_string()),
            e => RequestError::NoAnswer(e.to_string()),
        };
        let work = async {
            let link = self.link(to, address, limit).await?;
            let answer = streams::request(&link.connection, streams::PROTOCOL, body)
                .await
                .map_err(no_answer)?;
            Ok(((*link.peer).clone(), answer))
        };
        timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(RequestError::NoAnswer("no answer in time".into())))
    }

    /// Sends a datagram if a link is up; `false` if not, and then one is dialled behind.
    pub(crate) fn datagram(
        self: &Arc<Self>,
        to: NodeId,
        address: SocketAddr,
        payload: Arc<[u8]>,
    ) -> DatagramFate {
        let Some(link) = self.links.get(to) else {
            if self.dials.idle(Some(to), address) {
                let quic = self.clone();
                tokio::spawn(
                    async move { quic.link(Some(to), address, HANDSHAKE).await.map(|_| ()) },
                );
            }
            return DatagramFate::NoLink;
        };
        match link.connection.send_datagram(Bytes::from_owner(payload)) {
            Ok(()) => DatagramFate::Sent,
            Err(quinn::SendDatagramError::TooLarge) => DatagramFate::TooLarge,
            Err(_) => DatagramFate::NoLink,
        }
    }

    /// Enters a connection whose peer is bound, and serves it until it ends.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connection: Connection,
        peer: Peer,
        dialled: bool,
    ) -> Option<Link> {
        let mut link = Link::new(connection, Arc::new(peer), dialled);
        let (from, home) = (
            link.connection.remote_address(),
            &link.peer.certified.datacenter,
        );
        if self
            .datacenters
            .get(home)
            .is_some_and(|nets| !allowed(nets, from.ip()))
        {
            let why = format!("outside the networks of {home}");
            self.counts.refuse(Refused::Source, from, &why);
            link.connection
                .close(VarInt::from_u32(close::REFUSED), why.as_bytes());
            return None;
        }
        if !self.links.insert(&mut link) {
            self.counts.refuse(
                Refused::TooMany,
                link.connection.remote_address(),
                "too many connections",
            );
            link.connection
                .close(VarInt::from_u32(close::FULL), b"too many connections");
            return None;
        }
        tokio::spawn(self.clone().serve(link.clone()));
        Some(link)
    }

    /// Closes every connection whose peer's certificate, as shown at its handshake, no longer holds.
    pub(crate) fn judge_again(&self) {
        use pelago_proto::trust::Trust as _;
        for link in self.links.all() {
            if let Err(refusal) = self.trust.certify(&link.peer.certified.leaf) {
                let certified = &link.peer.certified;
                let name = format!("{}.{}", certified.name, certified.datacenter);
                match Refused::of(refusal) {
                    // What the handshake showed has ended; the peer has most likely renewed since, and the next handshake
                    // will tell. Nobody did anything wrong yet.
                    Refused::Expired => {
                        tracing::debug!(name, "the certificate of a link has ended")
                    }
                    reason => self.counts.refuse(reason, name, "live connection closed"),
                }
                link.connection
                    .close(VarInt::from_u32(close::REVOKED), refusal.0.as_bytes());
            }
        }
    }

    /// Puts renewed certificates and authorities in force for new connections.
    pub(crate) fn reconfigure(&self) -> Result<(), String> {
        let server = self.trust.server_config(self.tier, transport(self.tier))?;
        self.endpoint.set_server_config(Some(server));
        Ok(())
    }

    /// Says goodbye on every connection and waits, within reason, until that is out.
    pub(crate) async fn stop(&self) {
        self.endpoint
            .close(VarInt::from_u32(close::STOPPING), b"stopping");
        let _ = timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await;
    }

    async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.admit(incoming);
        }
    }

    /// The checks before a handshake costs anything, cheapest first.
    fn admit(self: &Arc<Self>, incoming: Incoming) {
        let source = incoming.remote_address();
        if !allowed(&self.allow, source.ip()) {
            self.counts
                .refuse(Refused::Source, source, "outside the allowed networks");
            return incoming.ignore();
        }
        // Everybody proves its address first, which costs a round trip once per link and this node nothing but the answer:
        // otherwise a forged address would hold one of the places below, and would be sent up to a datagram more than the
        // threefold that QUIC allows (quinn finishes the datagram that goes over).
        if !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            return;
        }
        let pending = self.pending.load(Relaxed);
        // Members may share a prefix with whoever fails: such a source must wait its turn, but is never shut out.
        let suspect = !self.failures().has(source.ip(), Instant::now());
        if pending >= REFUSE_ABOVE || (suspect && pending >= SUSPECT_ABOVE) {
            self.counts
                .refuse(Refused::Budget, source, "too many handshakes");
            return if suspect {
                incoming.ignore()
            } else {
                incoming.refuse()
            };
        }
        self.pending.fetch_add(1, Relaxed);
        let quic = self.clone();
        tokio::spawn(async move {
            if let Err(refuse) = quic.handshake(incoming).await {
                quic.counts.handshakes_failed.fetch_add(1, Relaxed);
                quic.counts.refuse(refuse.reason, source, &refuse);
                quic.failures().take(source.ip(), Instant::now());
            }
            quic.pending.fetch_sub(1, Relaxed);
        });
    }

    async fn handshake(self: &Arc<Self>, incoming: Incoming) -> Result<(), Refuse> {
        let connecting = incoming.accept().map_err(|e| peer::broken(&e))?;
        let connection = match timeout(HANDSHAKE, connecting).await {
            Err(_) => return Err(Refuse::new(Refused::Timeout, "the handshake took too long")),
            Ok(Err(error)) => return Err(peer::broken(&error)),
            Ok(Ok(connection)) => connection,
        };
        self.counts.handshakes.fetch_add(1, Relaxed);
        if Alpn::of(&connection) == Some(Alpn::Intro) {
            return intro::answer(self, &connection).await;
        }
        match peer::bind(&connection, &self.trust, self.tier, None) {
            Ok(peer) => {
                self.enter(connection, peer, false);
                Ok(())
            }
            Err(refuse) => {
                close_refused(&connection, &refuse);
                Err(refuse)
            }
        }
    }

    async fn serve(self: Arc<Self>, link: Link) {
        let datagrams = self.tier == Tier::Wan;
        loop {
            tokio::select! {
                stream = link.connection.accept_bi() => {
                    let Ok((send, receive)) = stream else { break };
                    let (quic, link) = (self.clone(), link.clone());
                    tokio::spawn(async move {
                        if quic.service.serve(&link, send, receive).await {
                            quic.links.completed(link.id(), &link.connection);
                        }
                    });
                }
                datagram = link.connection.read_datagram(), if datagrams => {
                    let Ok(payload) = datagram else { break };
                    if !self.service.inputs.offer(Input::Datagram { from: link.id(), payload }) {
                        self.counts.lose(crate::count::Dropped::Queue, link.connection.remote_address());
                    }
                }
            }
        }
        self.links.remove(link.id(), &link.connection);
    }

    pub(crate) fn inputs(&self) -> &crate::inputs::Inputs {
        &self.service.inputs
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, SourceBudget> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramFate {
    Sent,
    NoLink,
    TooLarge,
}

/// Closes a connection whose peer may not be here, saying why.
pub(crate) fn close_refused(connection: &Connection, refuse: &Refuse) {
    let code = if refuse.curable() {
        close::UNKNOWN_ISSUER
    } else {
        close::REFUSED
    };
    connection.close(VarInt::from_u32(code), refuse.reason.as_str().as_bytes());
}

/// Small windows, few streams, no migration: what members send is small, and memory per peer must be bounded.
pub(crate) fn transport(tier: Tier) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(streams::STREAMS_PER_CONNECTION.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window((256u32 * 1024).into())
        .receive_window((1024u32 * 1024).into())
        .send_window(1024 * 1024)
        .max_idle_timeout(Some(
            VarInt::from_u32(u32::try_from(IDLE.as_millis()).unwrap_or(6000)).into(),
        ))
        .crypto_buffer_size(16 * 1024)
        .enable_segmentation_offload(false);
    if tier == Tier::Wan {
        config
            .keep_alive_interval(Some(Duration::from_secs(2)))
            .datagram_receive_buffer_size(Some(64 * 1024))
            .datagram_send_buffer_size(64 * 1024)
            .initial_rtt(Duration::from_millis(100));
    } else {
        // The first retransmission must come within a probe's patience, not after QUIC's default of a second.
        config
            .datagram_receive_buffer_size(None)
            .initial_rtt(Duration::from_millis(10));
    }
    Arc::new(config)
}

/// A node that starts again recognises its old connections and resets them, because both keys come out of its own
/// private key (Ed25519 signatures are deterministic): peers learn of the restart within a round trip.
fn endpoint_config(trust: &NodeTrust, tier: Tier) -> EndpointConfig {
    use pelago_proto::trust::Trust as _;
    let seed = trust.sign(format!("pelago/quic-reset/1 {tier:?}").as_bytes());
    let secret = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &seed);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_ref());
    let ids = aws_lc_rs::hmac::sign(&key, b"connection ids");
    let ids = ids
        .as_ref()
        .first_chunk()
        .map_or(0, |b| u64::from_be_bytes(*b));
    let mut config = EndpointConfig::new(Arc::new(key));
    config
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)))
        .supported_versions(vec![1])
        .min_reset_interval(Duration::from_millis(20));
    config
}
