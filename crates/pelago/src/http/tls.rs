//! TLS for the API: the node's own certificate, and client certificates of the federation, judged as on the WAN.

use pelago_node::config::Pki;
use pelago_pki::{Accept, Identity, Policy, TrustStore, peer_identity, server_config};
use pelago_proto::identity::Role;
use rustls::ServerConfig;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Files are read again after this long, so that renewed certificates and new revocations count.
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

impl Acceptor {
    /// Reads the node's certificate, key and authorities.
    pub(crate) fn new(pki: &Pki) -> Result<Self, String> {
        let policy = Policy {
            fail_closed: pki.fail_closed,
            ..Policy::default()
        };
        let store = TrustStore::load(&pki.ca, pki.crl_dir.as_deref(), policy)
            .map_err(|error| error.to_string())?;
        let config = configure(&store, pki)?;
        let held = Mutex::new((config, Instant::now()));
        Ok(Self(Arc::new(Inner {
            pki: pki.clone(),
            store,
            held,
        })))
    }

    /// Shakes hands; says in which role the other end comes.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Role)> {
        let stream = TlsAcceptor::from(self.0.config()).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let peer = peer_identity(chain, &self.0.store, now).map_err(io::Error::other)?;
        let role = crate::pki::role(peer.certified.name.role);
        Ok((stream, role))
    }
}

impl Inner {
    fn config(&self) -> Arc<ServerConfig> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.1.elapsed() > FRESH {
            held.1 = Instant::now();
            let reloaded = self.store.reload(&self.pki.ca, self.pki.crl_dir.as_deref());
            let fresh = reloaded
                .map_err(|error| error.to_string())
                .and_then(|_| configure(&self.store, &self.pki));
            match fresh {
                Ok(config) => held.0 = config,
                Err(error) => tracing::warn!(
                    error,
                    "API keeps its old certificates: new ones cannot be used"
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
