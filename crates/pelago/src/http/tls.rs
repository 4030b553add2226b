//! TLS for the API: the node's own certificate, and client certificates of the federation, judged as on the WAN by what the
//! node believes at that moment. Whoever is revoked loses its open connections too.

use pelago_node::config::Pki;
use pelago_pki::{Accept, Identity, TrustStore, peer_identity, server_config};
use pelago_proto::identity::Role;
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The node's own certificate is read again after this long, since it is renewed.
const FRESH: Duration = Duration::from_secs(5);

/// Accepts TLS connections; clones share certificates.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pki: Pki,
    store: TrustStore,
    held: Mutex<(Arc<ServerConfig>, Instant)>,
}

/// Who is at the other end of a connection, as long as its certificate holds.
#[derive(Clone, Debug)]
pub(crate) struct Holder(Arc<Held>);

#[derive(Debug)]
struct Held {
    role: Role,
    name: String,
    chain: Vec<CertificateDer<'static>>,
    store: TrustStore,
    /// What was believed when it was last judged.
    judged: AtomicU64,
}

impl Acceptor {
    /// Reads the node's certificate and key; callers are judged by `store`.
    pub(crate) fn new(pki: &Pki, store: Option<TrustStore>) -> Result<Self, String> {
        let store = store.ok_or("nothing to judge certificates by")?;
        let config = configure(&store, pki)?;
        let held = Mutex::new((config, Instant::now()));
        Ok(Self(Arc::new(Inner {
            pki: pki.clone(),
            store,
            held,
        })))
    }

    /// Shakes hands; says who is at the other end.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Holder)> {
        let stream = TlsAcceptor::from(self.0.config()).accept(stream).await?;
        let store = self.0.store.clone();
        let judged = AtomicU64::new(store.generation());
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = peer_identity(chain, &store, now()).map_err(io::Error::other)?;
        let held = Held {
            role: crate::pki::role(peer.certified.name.role),
            name: peer.certified.name.to_string(),
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            store,
            judged,
        };
        Ok((stream, Holder(Arc::new(held))))
    }
}

impl Holder {
    /// The name that its certificate bore when the connection began.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// What it may do, if its certificate still holds. Judged anew only when something has changed.
    pub(crate) fn role(&self) -> Option<Role> {
        let held = &self.0;
        let newest = held.store.generation();
        if held.judged.load(Relaxed) != newest {
            peer_identity(&held.chain, &held.store, now()).ok()?;
            held.judged.store(newest, Relaxed);
        }
        Some(held.role)
    }
}

impl Inner {
    fn config(&self) -> Arc<ServerConfig> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.1.elapsed() > FRESH {
            held.1 = Instant::now();
            match configure(&self.store, &self.pki) {
                Ok(config) => held.0 = config,
                Err(error) => tracing::warn!(
                    error,
                    "API keeps its old certificate: the new one cannot be used"
                ),
            }
        }
        Arc::clone(&held.0)
    }
}

fn configure(store: &TrustStore, pki: &Pki) -> Result<Arc<ServerConfig>, String> {
    let identity = Identity::load(&pki.cert, &pki.key).map_err(|error| error.to_string())?;
    let config = server_config(store, &identity, &Accept::anybody(), &[b"http/1.1"])
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
