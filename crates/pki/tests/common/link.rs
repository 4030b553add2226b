//! Two ends of a QUIC connection on loopback, behaving as acceptors and diallers must.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use a part of it"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelago_pki::{
    Accept, Contact, Expect, INTRO_ALPN, Identity, Refusal, TrustStore, client_config, judge_peer,
    server_config,
};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use crate::common::{DEADLINE, real_now};

pub const WAN: &[u8] = b"pelago-wan/1";

/// An accepting end: echoes to known peers, exchanges authorities with strangers.
pub struct Acceptor {
    pub endpoint: Endpoint,
    pub address: SocketAddr,
    pub judged: Arc<Mutex<Vec<Result<Contact, Refusal>>>>,
}

pub fn quic_server(
    store: &TrustStore,
    identity: &Identity,
    accept: &Accept,
    alpn: &[&[u8]],
) -> quinn::ServerConfig {
    let tls = server_config(store, identity, accept, alpn).unwrap();
    let quic = QuicServerConfig::try_from(tls).unwrap();
    quinn::ServerConfig::with_crypto(Arc::new(quic))
}

impl Acceptor {
    pub fn start(store: &TrustStore, identity: &Identity, accept: Accept, alpn: &[&[u8]]) -> Self {
        let config = quic_server(store, identity, &accept, alpn);
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let acceptor = Self {
            address: endpoint.local_addr().unwrap(),
            judged: Arc::default(),
            endpoint,
        };
        let (endpoint, judged) = (acceptor.endpoint.clone(), Arc::clone(&acceptor.judged));
        let (store, identity) = (store.clone(), identity.clone());
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (store, accept) = (store.clone(), accept.clone());
                let (identity, judged) = (identity.clone(), Arc::clone(&judged));
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection, store, identity, accept, judged).await;
                    }
                });
            }
        });
        acceptor
    }

    /// How the last peers were judged after their handshakes.
    pub fn judged(&self) -> Vec<Result<Contact, Refusal>> {
        self.judged.lock().unwrap().clone()
    }
}

async fn serve(
    connection: Connection,
    store: TrustStore,
    identity: Identity,
    accept: Accept,
    judged: Arc<Mutex<Vec<Result<Contact, Refusal>>>>,
) {
    let (chain, alpn) = (peer_chain(&connection), negotiated(&connection));
    let contact = judge_peer(&store, &accept, &chain, &alpn, real_now());
    judged.lock().unwrap().push(contact.clone());
    if let Err(refusal) = contact {
        let code = VarInt::from_u32(1);
        connection.close(code, refusal.label().as_bytes());
        return;
    }
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let Ok(asked) = receive.read_to_end(100_000).await else {
            return;
        };
        let answer = if alpn == INTRO_ALPN {
            learn(&store, &asked);
            introduction(&store, &identity)
        } else {
            asked
        };
        if send.write_all(&answer).await.is_err() || send.finish().is_err() {
            return;
        }
    }
}

/// This node's authority and its CRL, as one message: length of the first, first, second.
pub fn introduction(store: &TrustStore, identity: &Identity) -> Vec<u8> {
    let own = store.authorities().into_iter();
    let own = own.filter(|entry| entry.certificate.as_ref() == identity.authority_der());
    let own = own.last().unwrap();
    let length = u32::try_from(own.certificate.len()).unwrap();
    [&length.to_be_bytes()[..], &own.certificate, &own.crl].concat()
}

pub fn learn(store: &TrustStore, message: &[u8]) {
    let (length, rest) = message.split_at(4);
    let length = u32::from_be_bytes(length.try_into().unwrap());
    let (authority, crl) = rest.split_at(length as usize);
    store.admit_authority(authority, crl, real_now()).unwrap();
}

pub fn peer_chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity().unwrap();
    *identity.downcast::<Vec<CertificateDer<'static>>>().unwrap()
}

pub fn negotiated(connection: &Connection) -> Vec<u8> {
    let data = connection.handshake_data().unwrap();
    let data = data.downcast::<HandshakeData>().unwrap();
    data.protocol.unwrap()
}

/// A dialling endpoint; configurations come with each dial.
pub fn dialler() -> Endpoint {
    Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

pub fn quic_client(tls: rustls::ClientConfig) -> quinn::ClientConfig {
    let quic = QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(10).try_into().unwrap()));
    config.transport_config(Arc::new(transport));
    config
}

/// Dials as a node of ours over the WAN.
pub async fn dial(
    endpoint: &Endpoint,
    address: SocketAddr,
    store: &TrustStore,
    identity: &Identity,
    expect: Expect,
) -> Result<Connection, ConnectionError> {
    let tls = client_config(store, identity, &Accept::wan(), expect, &[WAN]).unwrap();
    connect(endpoint, address, tls).await
}

pub async fn connect(
    endpoint: &Endpoint,
    address: SocketAddr,
    tls: rustls::ClientConfig,
) -> Result<Connection, ConnectionError> {
    let connecting = endpoint.connect_with(quic_client(tls), address, "node.invalid");
    timeout(DEADLINE, connecting.unwrap()).await.unwrap()
}

/// One round trip: only this proves that the other side accepted us.
pub async fn round_trip(
    connection: &Connection,
    message: &[u8],
) -> Result<Vec<u8>, ConnectionError> {
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await?;
        // Errors on streams are the connection's; it knows why better.
        let sent = send.write_all(message).await.is_ok() && send.finish().is_ok();
        match (sent, receive.read_to_end(100_000).await) {
            (true, Ok(answer)) => Ok(answer),
            _ => Err(connection.closed().await),
        }
    };
    timeout(DEADLINE, exchange).await.unwrap()
}

/// Dials and makes one round trip.
pub async fn works(
    address: SocketAddr,
    store: &TrustStore,
    identity: &Identity,
) -> Result<Vec<u8>, ConnectionError> {
    let endpoint = dialler();
    let connection = dial(&endpoint, address, store, identity, Expect::Any).await?;
    round_trip(&connection, b"hello").await
}

/// The TLS alert with which a connection ended, whoever raised it.
pub fn alert(error: &ConnectionError) -> Option<u8> {
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return None,
    };
    u8::try_from(code.checked_sub(0x100)?).ok()
}
