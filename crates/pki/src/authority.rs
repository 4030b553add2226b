//! The issuing half: what `pelago pki` does with a directory of authorities. Times are handed in,
//! nothing that exists is replaced unless that is the command's purpose, and every certificate is
//! on the ledger before it is on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use crate::cert::{Authority, Certified, MAX_LEAF};
use crate::files::{self, FileError, Write};
use crate::key::{CryptoFailure, SecretKey};
use crate::layout::{Layout, check_datacenter, check_node};
use crate::ledger;
use crate::mint::{self, MintError, Validity};
use crate::name::{NameError, Role, SpiffeName, check_trust_domain};
use crate::refusal::Refusal;
use crate::revoke;
use crate::signer::{
    Signer, key_at, load_datacenter, load_root, parse_any_authority, read_authority, read_first,
    read_leaf, read_root, write_bundle, write_certificates,
};

/// How far validities are back-dated, for clocks that are behind, in seconds.
pub const BACKDATE: u64 = 300;
/// The validity of a leaf unless another is asked for.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(72 * 3600);
/// The longest validity of a leaf that is issued at all: what nodes accept, less the back-dating.
pub const MAX_LEAF_LIFETIME: Duration =
    Duration::from_secs(crate::store::MAX_LEAF_VALIDITY.as_secs() - BACKDATE);
/// The shortest.
pub const MIN_LEAF_LIFETIME: Duration = Duration::from_secs(60);
const ROOT_LIFETIME: u64 = 10 * 365 * 86_400;
const DATACENTER_LIFETIME: u64 = 365 * 86_400;

/// Why a command on the authorities failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name breaks the grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A certificate or CRL could not be made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// No randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
    /// A certificate or CRL on disk is not what it should be.
    #[error("{}: {refusal}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A name whose files would be mistaken for something else.
    #[error("the name {0:?} is reserved")]
    Reserved(String),
    /// The directory belongs to another federation.
    #[error("the root is of trust domain {found:?}, not {asked:?}")]
    TrustDomain {
        /// The root's.
        found: String,
        /// The one asked for.
        asked: String,
    },
    /// No authority of that datacenter.
    #[error("no authority for datacenter {0:?}: run `pelago pki init --datacenter {0}` first")]
    UnknownDatacenter(String),
    /// A certificate too large for the datagrams it travels in.
    #[error(
        "the certificate would be {size} bytes, {over} too many: shorten the trust domain, datacenter, zone, rack or node name"
    )]
    TooLarge {
        /// Its size.
        size: usize,
        /// How far above the limit.
        over: usize,
    },
    /// A validity outside what is issued.
    #[error("a leaf is valid for 1 minute to 72 h 55 min: nodes accept no longer validity")]
    Lifetime,
    /// The authority itself has ended, or is about to.
    #[error("the authority {0:?} has expired: renew it first")]
    AuthorityExpired(String),
    /// A revoked certificate is not renewed.
    #[error("the certificate is revoked: issue a new one, with a new key")]
    Revoked,
    /// There is nothing to revoke.
    #[error("no valid certificate of {0:?} was issued here")]
    NothingIssued(String),
    /// A CRL is gone; a new one would forget what it revoked.
    #[error("{}: the CRL is missing; restore it, a new one would forget what was revoked", .0.display())]
    CrlMissing(PathBuf),
    /// A CRL would become larger than nodes accept.
    #[error("the CRL would exceed 64 KiB")]
    CrlFull,
    /// Another command is at work.
    #[error("{}: another pki command is at work", .0.display())]
    Locked(PathBuf),
}

/// What [`init`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initialised {
    /// Whether the root was made now.
    pub new_root: bool,
    /// Datacenters whose authority was made now.
    pub new_datacenters: Vec<String>,
    /// Datacenters whose authority was there already and was left as it is.
    pub kept_datacenters: Vec<String>,
}

/// A request for a new key and certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// The datacenter, whose authority signs.
    pub datacenter: String,
    /// The zone.
    pub zone: String,
    /// The rack.
    pub rack: String,
    /// The role.
    pub role: Role,
    /// The node's name.
    pub node: String,
    /// How long it is valid from now on.
    pub lifetime: Duration,
    /// Where to put `<node>.pem` and `<node>.key`; by default the datacenter's directory.
    pub out: Option<PathBuf>,
}

/// A certificate that was issued, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Leaf and authority.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// What the leaf says.
    pub leaf: Certified,
}

/// Makes a root and an authority per datacenter, each with its first CRL. Run again it adds what
/// is missing and leaves what is there.
pub fn init(
    dir: &Path,
    trust_domain: &str,
    datacenters: &[String],
    now_unix: u64,
) -> Result<Initialised, PkiError> {
    check_trust_domain(trust_domain)?;
    for datacenter in datacenters {
        check_datacenter(datacenter)?;
    }
    files::create_dir(dir)?;
    let layout = Layout::new(dir);
    let _lock = layout.lock()?;
    files::create_dir(&layout.crls())?;

    let mut done = Initialised {
        new_root: !layout.root().exists(),
        ..Initialised::default()
    };
    if done.new_root {
        let key = key_at(&layout.root_key())?;
        let validity = Validity {
            not_before: now_unix.saturating_sub(BACKDATE),
            not_after: now_unix + ROOT_LIFETIME,
        };
        let der = mint::root(trust_domain, &key, validity)?;
        write_certificates(&layout.root(), &[&der], Write::New)?;
    }
    let (_, root) = read_root(&layout)?;
    if root.name != trust_domain {
        let (found, asked) = (root.name, trust_domain.to_owned());
        return Err(PkiError::TrustDomain { found, asked });
    }
    if layout.datacenters()?.is_empty() && !layout.crl(revoke::ROOT).exists() {
        revoke::first_crl(&layout, revoke::ROOT, &load_root(&layout)?, now_unix)?;
    }
    for datacenter in datacenters {
        if layout.authority(datacenter).exists() {
            done.kept_datacenters.push(datacenter.clone());
        } else {
            let root = load_root(&layout)?;
            add_datacenter(&layout, datacenter, &root, now_unix)?;
            done.new_datacenters.push(datacenter.clone());
        }
    }
    write_bundle(&layout)?;
    Ok(done)
}

/// Makes a key and a certificate for a node. Replaces nothing.
pub fn issue(dir: &Path, request: &IssueRequest, now_unix: u64) -> Result<Issued, PkiError> {
    check_datacenter(&request.datacenter)?;
    check_node(&request.node)?;
    let layout = Layout::new(dir);
    let _lock = layout.lock()?;
    let signer = load_datacenter(&layout, &request.datacenter)?;
    let (_, root) = read_root(&layout)?;
    let name = SpiffeName {
        trust_domain: root.name,
        datacenter: request.datacenter.clone(),
        zone: request.zone.clone(),
        rack: request.rack.clone(),
        role: request.role,
        node: request.node.clone(),
    };
    name.check()?;
    let home = layout.datacenter(&request.datacenter);
    let out = request.out.as_deref().unwrap_or(&home);
    files::create_dir(out)?;
    let (cert, key_path) = (
        out.join(format!("{}.pem", request.node)),
        out.join(format!("{}.key", request.node)),
    );
    if cert.symlink_metadata().is_ok() {
        return Err(FileError::Exists(cert).into());
    }
    let key = SecretKey::generate()?;
    let public_key = *key.public_key();
    let made = make_leaf(&signer, &name, &public_key, request.lifetime, now_unix)?;
    files::write(&key_path, key.to_pem()?.as_bytes(), Write::NewSecret)?;
    record_and_write(&layout, &signer, &made, &cert, Write::New)?;
    Ok(Issued {
        cert,
        key: key_path,
        leaf: made.1,
    })
}

/// Renews the leaf in `cert`, in place: the same name and, unless `rekey`, the same key; always a
/// new serial number. A new key is a new node id. `lifetime` is that of the old one by default.
pub fn renew(
    dir: &Path,
    cert: &Path,
    rekey: bool,
    lifetime: Option<Duration>,
    now_unix: u64,
) -> Result<Issued, PkiError> {
    let layout = Layout::new(dir);
    let _lock = layout.lock()?;
    let (der, old) = read_leaf(cert)?;
    let signer = load_datacenter(&layout, &old.name.datacenter)?;
    let refused = |refusal| PkiError::Refused {
        path: cert.to_owned(),
        refusal,
    };
    signer.authority.signed(&der).map_err(refused)?;
    let crl = revoke::read(&layout, &old.name.datacenter, &signer.authority)?;
    if crl.revokes(&old.serial) {
        return Err(PkiError::Revoked);
    }
    let before = old.not_after.saturating_sub(old.not_before);
    let lifetime = lifetime.unwrap_or_else(|| Duration::from_secs(before.saturating_sub(BACKDATE)));
    let key_path = cert.with_extension("key");
    let made = if rekey {
        let key = SecretKey::generate()?;
        let made = make_leaf(&signer, &old.name, key.public_key(), lifetime, now_unix)?;
        // Between these two writes key and certificate disagree; a node that re-reads them then
        // keeps what it has and tries again.
        files::write(&key_path, key.to_pem()?.as_bytes(), Write::Secret)?;
        made
    } else {
        make_leaf(&signer, &old.name, &old.public_key, lifetime, now_unix)?
    };
    record_and_write(&layout, &signer, &made, cert, Write::Replace)?;
    Ok(Issued {
        cert: cert.to_owned(),
        key: key_path,
        leaf: made.1,
    })
}

/// Renews a datacenter's authority, with the same key, so that what it issued stays valid.
/// Returns the end of its new validity.
pub fn renew_datacenter(dir: &Path, datacenter: &str, now_unix: u64) -> Result<u64, PkiError> {
    let layout = Layout::new(dir);
    let _lock = layout.lock()?;
    let root = load_root(&layout)?;
    let path = layout.authority(datacenter);
    let (_, old) = read_authority(&layout, datacenter)?;
    let crl = revoke::read(&layout, revoke::ROOT, &root.authority)?;
    if crl.revokes(&old.serial) {
        return Err(PkiError::Revoked);
    }
    let validity = root.validity(now_unix, DATACENTER_LIFETIME)?;
    let trust_domain = &root.authority.name;
    let key = &old.public_key;
    let der = mint::datacenter(datacenter, trust_domain, key, root.issuer(), validity)?;
    write_certificates(&path, &[&der], Write::Replace)?;
    write_bundle(&layout)?;
    Ok(validity.not_after)
}

/// Whether the first certificate of a file has used up `fraction` (⅔ is usual) of its validity.
pub fn needs_renewal(cert: &Path, fraction: f64, now_unix: u64) -> Result<bool, PkiError> {
    let (der, _) = read_first(cert)?;
    let (not_before, not_after) = match Certified::unjudged(&der, [0; 32]) {
        Ok(leaf) => (leaf.not_before, leaf.not_after),
        Err(Refusal::WrongKind | Refusal::Extension) => {
            let authority = parse_any_authority(&der).map_err(|refusal| PkiError::Refused {
                path: cert.to_owned(),
                refusal,
            })?;
            (authority.not_before, authority.not_after)
        }
        Err(refusal) => {
            let path = cert.to_owned();
            return Err(PkiError::Refused { path, refusal });
        }
    };
    let used = now_unix.saturating_sub(not_before) as f64;
    Ok(used >= not_after.saturating_sub(not_before) as f64 * fraction)
}

/// A leaf, DER and parsed.
pub(crate) type Made = (CertificateDer<'static>, Certified);

fn make_leaf(
    signer: &Signer,
    name: &SpiffeName,
    public_key: &[u8; 32],
    lifetime: Duration,
    now: u64,
) -> Result<Made, PkiError> {
    if !(MIN_LEAF_LIFETIME..=MAX_LEAF_LIFETIME).contains(&lifetime) {
        return Err(PkiError::Lifetime);
    }
    let validity = signer.validity(now, lifetime.as_secs())?;
    let der = mint::leaf(name, public_key, signer.issuer(), validity)?;
    if der.len() > MAX_LEAF {
        let (size, over) = (der.len(), der.len() - MAX_LEAF);
        return Err(PkiError::TooLarge { size, over });
    }
    // By the eyes of those who will judge it.
    let trust_domain = &name.trust_domain;
    let leaf = Certified::of(&der, trust_domain, &signer.authority);
    let leaf = leaf.map_err(|refusal| PkiError::Mint(MintError::Library(refusal.to_string())))?;
    Ok((der, leaf))
}

fn record_and_write(
    layout: &Layout,
    signer: &Signer,
    (der, leaf): &Made,
    cert: &Path,
    how: Write,
) -> Result<(), PkiError> {
    ledger::append(&layout.ledger(&leaf.name.datacenter), leaf)?;
    write_certificates(cert, &[der, &signer.der], how)
}

fn add_datacenter(
    layout: &Layout,
    datacenter: &str,
    root: &Signer,
    now: u64,
) -> Result<(), PkiError> {
    files::create_dir(&layout.datacenter(datacenter))?;
    let key = key_at(&layout.authority_key(datacenter))?;
    let validity = root.validity(now, DATACENTER_LIFETIME)?;
    let trust_domain = &root.authority.name;
    let public_key = key.public_key();
    let der = mint::datacenter(
        datacenter,
        trust_domain,
        public_key,
        root.issuer(),
        validity,
    )?;
    let authority = Authority::datacenter(&der, trust_domain);
    let authority =
        authority.map_err(|refusal| PkiError::Mint(MintError::Library(refusal.to_string())))?;
    let signer = Signer {
        der,
        authority,
        key,
    };
    // The certificate comes last: with it the datacenter exists.
    revoke::first_crl(layout, datacenter, &signer, now)?;
    write_certificates(&layout.authority(datacenter), &[&signer.der], Write::New)
}
