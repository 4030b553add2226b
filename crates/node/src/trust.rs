//! What the protocol and QUIC believe: certificates and keys out of files, re-read while the node runs.
//!
//! A reload that fails leaves everything as it was, says so in the node's condition, and is tried again.

use crate::{config::Pki, kept::Kept, links::close, seal::BootKey};
use arc_swap::ArcSwap;
use pelago_pki::{
    Accept, Admission, Expect, INTRO_ALPN, Identity, Life, ListEntry, Policy, TrustStore,
};
use pelago_proto::{
    federation::Tier,
    identity::{Label, NodeId, Role},
    trust::{Authority, Certified, Issuer, List, Refusal, Trust, Weighed},
};
use quinn::{
    Connection, TransportConfig,
    crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The protocols spoken over QUIC. A new major version is a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    Lan,
    Wan,
    Intro,
}

impl Alpn {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Lan => b"pelago-lan/1",
            Self::Wan => b"pelago-wan/1",
            Self::Intro => INTRO_ALPN,
        }
    }

    /// What a connection was made for.
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let data = connection
            .handshake_data()?
            .downcast::<HandshakeData>()
            .ok()?;
        let name = data.protocol?;
        [Self::Lan, Self::Wan, Self::Intro]
            .into_iter()
            .find(|a| a.as_bytes() == name)
    }
}

/// Certificates, keys and the wall clock of one node.
#[derive(Debug)]
pub(crate) struct NodeTrust {
    store: TrustStore,
    own: ArcSwap<Own>,
    me: NodeId,
    boot: Arc<BootKey>,
    files: Pki,
    /// The latest wall clock seen: a clock that jumps back revives no certificate.
    latest: AtomicU64,
    /// Why what was kept of lists could not be used, if so.
    pub(crate) unkept: Option<String>,
    /// Modification times when the files were last read well.
    read: Mutex<Stamps>,
}

/// What tells that a file was replaced: time, size and inode. Time and size alone do not tell a file replaced within one tick of the file system's clock, and renewed certificates are
/// often of one size; the inode does, since files are replaced by renaming.
type Stamps = BTreeMap<PathBuf, Option<(SystemTime, u64, u64)>>;

#[derive(Debug)]
struct Own {
    identity: Identity,
    certified: Arc<Certified>,
}

/// Why certificates and keys could not be used. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("authorities and revocation lists: {0}")]
    Store(String),
    #[error("own certificate and key: {0}")]
    Identity(String),
    #[error("own certificate is not valid: {0}")]
    Refused(String),
    #[error("the new certificate is for another node: it needs a restart")]
    Another,
    #[error("no randomness for this boot's key")]
    Random,
}

impl NodeTrust {
    /// Reads everything for the first time, and takes back what was kept of lists and authorities.
    pub(crate) fn load(files: &Pki, kept: Option<&Kept>) -> Result<Self, TrustError> {
        let stamps = stamps(files);
        let policy = Policy {
            fail_closed: files.fail_closed,
            ..Policy::default()
        };
        let store = TrustStore::load(&files.ca, files.crl_dir.as_deref(), policy)
            .map_err(|e| TrustError::Store(e.to_string()))?;
        let now = wall();
        let mut unkept = None;
        match kept.map(|kept| kept.recall(&store, now)) {
            None | Some(Ok(0)) => {}
            Some(Ok(news)) => tracing::info!(news, "took back revocation lists of the last run"),
            Some(Err(error)) => {
                tracing::error!(%error, "the revocation lists of the last run are not used");
                unkept = Some(format!(
                    "kept revocation lists were not used: the file {error}"
                ));
            }
        }
        let own = load_own(files, &store, now)?;
        Ok(Self {
            unkept,
            me: own.certified.id,
            store,
            own: ArcSwap::from_pointee(own),
            boot: Arc::new(BootKey::generate().ok_or(TrustError::Random)?),
            files: files.clone(),
            latest: AtomicU64::new(now),
            read: Mutex::new(stamps),
        })
    }

    /// Whether any file is newer than what is in force.
    pub(crate) fn files_changed(&self) -> bool {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.files)
    }

    /// Re-reads every file. Each half that can be used is put in force; `true` if anything is different now.
    pub(crate) fn reload(&self) -> (bool, Result<(), TrustError>) {
        // Stamps first: what is written while we read is read again next time.
        let stamps = stamps(&self.files);
        let store = self
            .store
            .reload(&self.files.ca, self.files.crl_dir.as_deref());
        let own = load_own(&self.files, &self.store, self.unix_time()).and_then(|own| {
            // Name and location are part of what everybody has been told; a new key is a new node.
            if own.certified.id == self.me {
                Ok(own)
            } else {
                Err(TrustError::Another)
            }
        });
        let mut changed = matches!(store, Ok(true));
        let result = match (store, own) {
            (store, Ok(own)) => {
                if own.certified.leaf != self.own.load().certified.leaf {
                    self.own.store(Arc::new(own));
                    changed = true;
                }
                store
                    .map(|_| ())
                    .map_err(|e| TrustError::Store(e.to_string()))
            }
            (_, Err(error)) => Err(error),
        };
        if result.is_ok() {
            *self.read.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        }
        (changed, result)
    }

    /// Moves whenever authorities or revocations changed, by file or by peer.
    pub(crate) fn generation(&self) -> u64 {
        self.store.generation()
    }

    pub(crate) fn me(&self) -> NodeId {
        self.me
    }

    pub(crate) fn boot_key(&self) -> Arc<BootKey> {
        self.boot.clone()
    }

    /// Until when everything is good that certificates are judged by.
    pub(crate) fn lives(&self) -> Vec<Life> {
        self.store.lives(self.unix_time())
    }

    /// The newest lists.
    pub(crate) fn entries(&self) -> Vec<ListEntry> {
        self.store.lists(self.unix_time())
    }

    /// What everything here is judged by; clones see every change.
    pub(crate) fn store(&self) -> TrustStore {
        self.store.clone()
    }

    /// Whether a list names this node itself.
    pub(crate) fn is_own_revoked(&self) -> bool {
        self.is_revoked(&self.own())
    }

    /// For accepting on a pool.
    pub(crate) fn server_config(
        &self,
        tier: Tier,
        transport: Arc<TransportConfig>,
    ) -> Result<quinn::ServerConfig, String> {
        let own = self.own.load();
        let alpn: &[&[u8]] = match tier {
            Tier::Lan => &[Alpn::Lan.as_bytes()],
            Tier::Wan => &[Alpn::Wan.as_bytes(), Alpn::Intro.as_bytes()],
        };
        let tls = pelago_pki::server_config(
            &self.store,
            &own.identity,
            &accept(tier, &own.certified),
            alpn,
        )
        .map_err(|e| e.to_string())?;
        let crypto = QuicServerConfig::try_from(tls).map_err(|e| e.to_string())?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(transport)
            .migration(false)
            .max_incoming(256)
            .incoming_buffer_size(64 * 1024)
            .incoming_buffer_size_total(4 * 1024 * 1024);
        Ok(config)
    }

    /// For one dial. Whom it reached is bound afterwards.
    pub(crate) fn client_config(
        &self,
        alpn: Alpn,
        transport: Arc<TransportConfig>,
    ) -> Result<quinn::ClientConfig, String> {
        let own = self.own.load();
        let tier = if alpn == Alpn::Lan {
            Tier::Lan
        } else {
            Tier::Wan
        };
        let accept = accept(tier, &own.certified);
        let tls = pelago_pki::client_config(
            &self.store,
            &own.identity,
            &accept,
            Expect::Any,
            &[alpn.as_bytes()],
        )
        .map_err(|e| e.to_string())?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|e| e.to_string())?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport).version(1);
        Ok(config)
    }

    /// Judges a connection made for a first contact: anybody whom the root vouches for.
    pub(crate) fn judge_stranger(&self, connection: &Connection) -> Result<(), Refusal> {
        let chain = connection
            .peer_identity()
            .and_then(|i| {
                i.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
                    .ok()
            })
            .ok_or(Refusal("no-certificate"))?;
        pelago_pki::judge_peer(
            &self.store,
            &Accept::wan(),
            &chain,
            INTRO_ALPN,
            self.unix_time(),
        )
        .map(|_| ())
        .map_err(refusal)
        .inspect_err(|r| connection.close(close::REFUSED.into(), r.0.as_bytes()))
    }
}

impl Trust for NodeTrust {
    fn trust_domain(&self) -> &str {
        self.store.trust_domain()
    }

    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let certified = self
            .store
            .certify(leaf, self.unix_time())
            .map_err(refusal)?;
        convert(&certified, leaf).map(Arc::new)
    }

    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let certified = self
            .store
            .certify_ended(leaf, self.unix_time())
            .map_err(refusal)?;
        convert(&certified, leaf).map(Arc::new)
    }

    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        pelago_pki::verify(key, message, signature)
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.own.load().identity.sign(message)
    }

    fn own(&self) -> Arc<Certified> {
        self.own.load().certified.clone()
    }

    fn authorities(&self) -> Vec<Authority> {
        let known = self
            .store
            .authorities()
            .into_iter()
            .filter(|a| !a.crl.is_empty());
        let entry = |a: pelago_pki::AuthorityEntry| {
            let datacenter = Label::new(&a.datacenter).ok()?;
            Some(Authority {
                datacenter,
                certificate: a.certificate,
                crl: a.crl,
                crl_number: a.crl_number,
            })
        };
        let mut all: Vec<_> = known.filter_map(entry).collect();
        all.sort_by(|a, b| a.datacenter.cmp(&b.datacenter));
        all
    }

    fn admit_authority(&self, certificate: &[u8], crl: &[u8]) -> Result<bool, Refusal> {
        let admitted = self
            .store
            .admit_authority(certificate, crl, self.unix_time())
            .map_err(refusal)?;
        Ok(admitted != Admission::Known)
    }

    fn lists(&self) -> Vec<List> {
        let list = |list: ListEntry| {
            let (issuer, _) = list.issuer.split_first_chunk()?;
            let datacenter = match &list.datacenter {
                Some(name) => Some(Label::new(name).ok()?),
                None => None,
            };
            Some(List {
                issuer: Issuer(*issuer),
                datacenter,
                number: list.number,
                certificate: list.certificate,
                crl: list.crl,
            })
        };
        self.entries().into_iter().filter_map(list).collect()
    }

    fn weigh_list(&self, crl: &[u8]) -> Result<Weighed, Refusal> {
        let weighed = self.store.weigh_crl(crl).map_err(refusal)?;
        Ok(Weighed {
            number: weighed.number,
            held: weighed.held,
        })
    }

    fn admit_list(&self, crl: &[u8]) -> Result<bool, Refusal> {
        match self.store.admit_crl(crl, self.unix_time()) {
            // Two keys with one name, and it is of the one whose list is newer.
            Ok(Admission::Known) | Err(pelago_pki::Refusal::Rollback) => Ok(false),
            Ok(_) => Ok(true),
            Err(other) => Err(refusal(other)),
        }
    }

    fn is_revoked(&self, certified: &Certified) -> bool {
        let (datacenter, now) = (certified.datacenter.as_str(), self.unix_time());
        self.store
            .is_revoked(datacenter, &certified.serial, &certified.leaf, now)
    }

    fn unix_time(&self) -> u64 {
        let now = wall();
        self.latest.fetch_max(now, Relaxed).max(now)
    }

    fn lan_public_key(&self) -> [u8; 32] {
        self.boot.public()
    }
}

fn load_own(files: &Pki, store: &TrustStore, now: u64) -> Result<Own, TrustError> {
    let identity =
        Identity::load(&files.cert, &files.key).map_err(|e| TrustError::Identity(e.to_string()))?;
    let certified = store
        .certify(identity.leaf_der(), now)
        .map_err(|r| TrustError::Refused(r.to_string()))?;
    let certified =
        convert(&certified, identity.leaf_der()).map_err(|r| TrustError::Refused(r.to_string()))?;
    if certified.role == Role::Operator {
        return Err(TrustError::Refused(
            "an operator's certificate is not a node's".into(),
        ));
    }
    Ok(Own {
        identity,
        certified: Arc::new(certified),
    })
}

fn accept(tier: Tier, own: &Certified) -> Accept {
    match tier {
        Tier::Lan => Accept::lan(own.datacenter.as_str()),
        Tier::Wan => Accept::wan(),
    }
}

fn convert(c: &pelago_pki::Certified, leaf: &[u8]) -> Result<Certified, Refusal> {
    let label = |name: &str| Label::new(name).map_err(|_| refusal(pelago_pki::Refusal::BadName));
    let (cert_hash, _) = c
        .cert_hash
        .split_first_chunk()
        .ok_or(Refusal("malformed"))?;
    Ok(Certified {
        id: NodeId(c.node_id),
        public_key: c.public_key,
        name: label(&c.name.node)?,
        datacenter: label(&c.name.datacenter)?,
        zone: label(&c.name.zone)?,
        rack: label(&c.name.rack)?,
        role: match c.name.role {
            pelago_pki::Role::Client => Role::Client,
            pelago_pki::Role::Server => Role::Server,
            pelago_pki::Role::Operator => Role::Operator,
        },
        serial: c.serial.as_slice().into(),
        not_before: c.not_before,
        not_after: c.not_after,
        cert_hash: *cert_hash,
        leaf: leaf.into(),
    })
}

fn refusal(refusal: pelago_pki::Refusal) -> Refusal {
    match refusal {
        pelago_pki::Refusal::UnknownIssuer => Refusal::UNKNOWN_ISSUER,
        other => Refusal(other.label()),
    }
}

fn wall() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

fn stamps(files: &Pki) -> Stamps {
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len(), inode(&meta)))
    };
    let mut all: Stamps = [&files.ca, &files.cert, &files.key]
        .into_iter()
        .map(|p| (p.clone(), stamp(p)))
        .collect();
    if let Some(Ok(dir)) = files.crl_dir.as_ref().map(fs::read_dir) {
        for path in dir.filter_map(|e| Some(e.ok()?.path())).take(1024) {
            let stamp = stamp(&path);
            all.insert(path, stamp);
        }
    }
    all
}
