//! A client of QUIC version 1 that completes an honest handshake with a member's certificate and then sends whatever
//! frames a test makes up (RFC 9000, RFC 9001). It does as little else as it can: of the handshake it sends everything
//! again while nothing comes back; after that it sends nothing twice, keeps no timers and acknowledges only when told to.

pub(crate) mod frames;
mod half;
mod wire;

use self::{
    frames::Heard,
    half::Half,
    wire::{Header, Space},
};
use rustls::{
    CipherSuite, Side,
    quic::{ClientConnection, KeyChange, Keys, Version},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

/// As long as our own connection ids are, and what a datagram may have on every path.
const OWN: usize = 8;
const DATAGRAM: usize = 1200;
/// What a datagram has room for beside a short header and what protects it.
pub(crate) const ROOM: usize = DATAGRAM - 1 - 8 - 4 - 16;
/// How long nothing may come back before the handshake is sent again, and how often that is done before it is begun anew.
const PATIENCE: Duration = Duration::from_millis(100);
const AGAIN: usize = 20;
/// What one call hears at most, so that whoever listens comes to speak again.
const TURN: usize = 64;

/// How a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Close {
    /// With an error of the transport.
    Transport(u64),
    /// By the application.
    Application,
    /// It is not known any more.
    Reset,
}

/// Bytes and packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    to: SocketAddr,
    tls: ClientConnection,
    initial: Half,
    handshake: Half,
    data: Half,
    own: [u8; OWN],
    /// The node's connection id in use, and the token of its Retry.
    peer: Vec<u8>,
    token: Vec<u8>,
    /// What was sent of the handshake, to be sent again.
    flight: Vec<(Space, Vec<u8>)>,
    confirmed: bool,
    /// Further connection ids of the node, by number, and tokens that mean it has forgotten the connection.
    pub(crate) ids: BTreeMap<u64, Vec<u8>>,
    resets: Vec<Vec<u8>>,
    /// Bidirectional streams that may be opened.
    pub(crate) streams: u64,
    pub(crate) responses: u64,
    pub(crate) retired: u64,
    pub(crate) closed: Option<Close>,
    /// Since the handshake.
    pub(crate) sent: Traffic,
    pub(crate) heard: Traffic,
}

/// Our transport parameters (RFC 9000, section 18.2): everything may be sent to us, for a long time.
fn parameters(own: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut parameter = |id: u64, value: &[u8]| {
        wire::put(&mut out, id);
        wire::put(&mut out, value.len() as u64);
        out.extend(value);
    };
    let number = |n: u64| {
        let mut value = Vec::new();
        wire::put(&mut value, n);
        value
    };
    for (id, value) in [
        (0x01, 60_000),  // max_idle_timeout, ms
        (0x04, 1 << 40), // initial_max_data
        (0x05, 1 << 40), // initial_max_stream_data_bidi_local
        (0x06, 1 << 40), // initial_max_stream_data_bidi_remote
        (0x08, 1 << 10), // initial_max_streams_bidi
        (0x0e, 8),       // active_connection_id_limit
        (0x20, 1 << 16), // max_datagram_frame_size (RFC 9221)
    ] {
        parameter(id, &number(value));
    }
    parameter(0x0f, own); // initial_source_connection_id
    out
}

/// The keys of Initial packets, which follow from the first connection id (RFC 9001, section 5.2).
fn initial(tls: &rustls::ClientConfig, id: &[u8]) -> Keys {
    let suites = &tls.crypto_provider().cipher_suites;
    let suite = suites
        .iter()
        .find(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let quic = suite.and_then(|s| s.tls13()?.quic_suite());
    quic.expect("a suite").keys(id, Side::Client, Version::V1)
}

impl Client {
    /// Dials until a handshake was completed, from this address.
    pub(crate) fn dial(tls: &Arc<rustls::ClientConfig>, from: &str, to: SocketAddr) -> Self {
        let begun = Instant::now();
        loop {
            if let Some(client) = Self::attempt(tls, from, to) {
                return client;
            }
            let waited = begun.elapsed();
            assert!(
                waited < crate::common::DEADLINE,
                "no handshake in {waited:?}"
            );
        }
    }

    fn attempt(tls: &Arc<rustls::ClientConfig>, from: &str, to: SocketAddr) -> Option<Self> {
        let own: [u8; OWN] = rand::random();
        let first: [u8; 16] = rand::random();
        let name = "pelago.invalid".try_into().expect("a name");
        let parameters = parameters(&own);
        let connection = ClientConnection::new(tls.clone(), Version::V1, name, parameters);
        let mut client = Self {
            socket: UdpSocket::bind((from, 0)).expect("bound"),
            to,
            tls: connection.expect("a client"),
            initial: Half::default(),
            handshake: Half::default(),
            data: Half::default(),
            own,
            peer: first.to_vec(),
            token: Vec::new(),
            flight: Vec::new(),
            confirmed: false,
            ids: BTreeMap::new(),
            resets: Vec::new(),
            streams: 0,
            responses: 0,
            retired: 0,
            closed: None,
            sent: Traffic::default(),
            heard: Traffic::default(),
        };
        client.initial.set_keys(initial(tls, &first), None);
        client.socket.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut hello = Vec::new();
        client.tls.write_hs(&mut hello);
        client.speak(Space::Initial, &hello);
        let (mut buffer, mut again) = ([0; 2048], 0);
        while !client.confirmed && client.closed.is_none() {
            let Ok(length) = client.socket.recv(&mut buffer) else {
                again += 1;
                let flight = client.flight.clone();
                flight
                    .iter()
                    .for_each(|(space, f)| client.packet(*space, f));
                if again < AGAIN {
                    continue;
                }
                return None;
            };
            let retry = Header::read(&buffer[..length], OWN);
            if let (Some(Header::Retry { id, token }), true) = (retry, client.token.is_empty()) {
                // All over again, with keys of the new connection id (RFC 9000, section 17.2.5.2).
                client.initial.set_keys(initial(tls, &id), None);
                client.initial.written = 0;
                client.flight.clear();
                (client.peer, client.token) = (id, token);
                client.speak(Space::Initial, &hello);
                continue;
            }
            client.receive(&buffer[..length]);
            for space in [Space::Initial, Space::Handshake] {
                let mut acks = Vec::new();
                client.half(space).acknowledge(&mut acks);
                if !acks.is_empty() {
                    client.packet(space, &acks);
                }
            }
        }
        client.socket.set_nonblocking(true).expect("set");
        client.parameters_of_peer();
        (client.sent, client.heard) = Default::default();
        client.closed.is_none().then_some(client)
    }

    /// What the node allows and by what it can be told to have forgotten us.
    fn parameters_of_peer(&mut self) {
        let mut all = self.tls.quic_transport_parameters().unwrap_or_default();
        while let (Some(id), Some(length)) = (wire::number(&mut all), wire::number(&mut all)) {
            let mut value = wire::take(&mut all, length as usize).expect("whole");
            match id {
                0x02 => self.resets.push(value.to_vec()),
                0x08 => self.streams = wire::number(&mut value).expect("a number"),
                _ => {}
            }
        }
    }

    fn half(&mut self, space: Space) -> &mut Half {
        match space {
            Space::Initial => &mut self.initial,
            Space::Handshake => &mut self.handshake,
            Space::Data => &mut self.data,
        }
    }

    /// Sends what TLS has to say, and takes the keys that follow from it.
    fn answer(&mut self) {
        loop {
            let mut bytes = Vec::new();
            let space = if self.handshake.has_keys() {
                Space::Handshake
            } else {
                Space::Initial
            };
            let change = self.tls.write_hs(&mut bytes);
            self.speak(space, &bytes);
            match change {
                None => break,
                Some(KeyChange::Handshake { keys }) => self.handshake.set_keys(keys, None),
                Some(KeyChange::OneRtt { keys, next }) => self.data.set_keys(keys, Some(next)),
            }
        }
    }

    /// Sends bytes of the handshake.
    fn speak(&mut self, space: Space, bytes: &[u8]) {
        // Leaves room for a header with a token.
        for piece in bytes.chunks(DATAGRAM - 300) {
            let mut frames = Vec::new();
            let written = self.half(space).written;
            frames::crypto(&mut frames, written, piece);
            self.half(space).written += piece.len() as u64;
            self.packet(space, &frames);
            self.flight.push((space, frames));
        }
    }

    /// Sends one packet, a datagram of its own.
    fn packet(&mut self, space: Space, frames: &[u8]) {
        let mut payload = frames.to_vec();
        let header = |length| wire::header(space, &self.peer, &self.own, &self.token, length);
        if space == Space::Initial {
            // Padding, by which a client pays for what it asks of a server (RFC 9000, section 14.1).
            let head = header(ROOM).len();
            payload.resize(payload.len().max(DATAGRAM - head - 4 - 16), 0);
        }
        let header = header(payload.len());
        let packet = self.half(space).seal(header, &payload);
        // Full buffers and refusals of earlier packets are what an abuser meets.
        if self.socket.send_to(&packet, self.to).is_ok() {
            self.sent.add(packet.len());
        }
    }

    /// Sends these frames.
    pub(crate) fn send(&mut self, frames: &[u8]) {
        self.packet(Space::Data, frames);
    }

    /// Uses another of the node's connection ids.
    pub(crate) fn switch(&mut self, id: Vec<u8>) {
        self.peer = id;
    }

    /// The largest packet number that came.
    pub(crate) fn largest(&self) -> Option<u64> {
        self.data.largest
    }

    /// Acknowledges what came since the last time, as much of it as fits.
    pub(crate) fn acknowledge(&mut self, frames: &mut Vec<u8>) {
        self.data.acknowledge(frames);
    }

    /// Takes in what has come.
    pub(crate) fn hear(&mut self) {
        let mut buffer = [0; 2048];
        for _ in 0..TURN {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                return;
            };
            self.heard.add(length);
            self.receive(&buffer[..length]);
        }
    }

    fn receive(&mut self, mut datagram: &[u8]) {
        let whole = datagram;
        while let Some(Header::Packet {
            space,
            source,
            number_at,
            end,
        }) = Header::read(datagram, OWN)
        {
            let Some((packet, rest)) = datagram.split_at_checked(end) else {
                return;
            };
            datagram = rest;
            let Some((number, payload)) = self.half(space).open(packet, number_at) else {
                if self.resets.iter().any(|token| whole.ends_with(token)) {
                    self.closed = self.closed.or(Some(Close::Reset));
                }
                continue;
            };
            // What the node chose for itself in its first packet (RFC 9000, section 7.2).
            if let (Some(id), false) = (source, self.confirmed) {
                self.peer = id;
            }
            self.take_in(space, number, &payload);
        }
    }

    fn take_in(&mut self, space: Space, packet: u64, mut payload: &[u8]) {
        let mut acknowledge = false;
        while !payload.is_empty() {
            let frame = Heard::read(&mut payload).expect("a frame");
            acknowledge |= !matches!(frame, Heard::Nothing | Heard::Close(_));
            match frame {
                Heard::Crypto { offset, data } => self.listen(space, offset, data),
                Heard::MaxStreams(limit) => self.streams = self.streams.max(limit),
                Heard::NewConnectionId {
                    sequence,
                    id,
                    reset,
                } => {
                    self.ids.insert(sequence, id);
                    self.resets.push(reset);
                    // Of ids long retired no reset comes any more.
                    let old = self.resets.len().saturating_sub(TURN);
                    self.resets.drain(..old);
                }
                Heard::PathResponse => self.responses += 1,
                Heard::RetireConnectionId => self.retired += 1,
                Heard::Close(code) => {
                    let how = code.map_or(Close::Application, Close::Transport);
                    self.closed = self.closed.or(Some(how));
                    // Why, in words, is all that may follow.
                    return;
                }
                Heard::HandshakeDone => self.confirmed = true,
                Heard::Other | Heard::Nothing => {}
            }
        }
        if acknowledge {
            self.half(space).owe(packet);
        }
    }

    /// Hands bytes of the handshake to TLS, and answers.
    fn listen(&mut self, space: Space, offset: u64, data: Vec<u8>) {
        let ready = self.half(space).crypto(offset, data);
        if !ready.is_empty() {
            self.tls.read_hs(&ready).expect("a handshake");
            self.answer();
        }
    }
}
