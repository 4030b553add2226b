//! Revoking: new CRLs with rising numbers. The previous CRL is the memory of what was revoked, so
//! it is read and verified before every new one, and a missing one is never silently replaced.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateRevocationListDer;

use crate::authority::PkiError;
use crate::cert::Authority;
use crate::crl::{Crl, MAX_CRL};
use crate::files::{self, Write};
use crate::key::hex;
use crate::layout::{Layout, check_datacenter};
use crate::ledger;
use crate::mint::{self, Validity};
use crate::pem;
use crate::signer::{Signer, load_datacenter, load_root, read_authority, read_leaf, read_root};

/// The file name of the root's CRL; no datacenter may be called so.
pub(crate) const ROOT: &str = "root";
/// The root may be offline, so its CRL lives as long as a datacenter's authority.
const ROOT_CRL_LIFETIME: u64 = 365 * 86_400;
const CRL_LIFETIME: u64 = 30 * 86_400;
/// A revoked leaf leaves the CRL when no leaf issued before could still be valid.
const FORGET_AFTER: u64 = 31 * 86_400;

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The node whose certificate is in this file: every certificate of the same key.
    Certificate(PathBuf),
    /// Every certificate issued to a node's name.
    Node {
        /// Its datacenter.
        datacenter: String,
        /// Its name.
        node: String,
    },
    /// A datacenter's authority, and so everything it issued. Needs the root's key.
    Datacenter(String),
}

/// A CRL that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCrl {
    /// The trust domain (root) or datacenter that signed it.
    pub issuer: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// The serial numbers that it revokes and its predecessor did not.
    pub revoked: Vec<Vec<u8>>,
    /// Its contents, DER.
    pub der: Vec<u8>,
}

/// Revokes: writes the issuer's next CRL.
pub fn revoke(dir: &Path, target: &Target, now_unix: u64) -> Result<NewCrl, PkiError> {
    let layout = Layout::new(dir);
    let _lock = layout.lock()?;
    match target {
        Target::Datacenter(datacenter) => {
            check_datacenter(datacenter)?;
            let (_, authority) = read_authority(&layout, datacenter)?;
            let root = load_root(&layout)?;
            next_crl(&layout, ROOT, &root, vec![authority.serial], now_unix)
        }
        Target::Node { datacenter, node } => {
            check_datacenter(datacenter)?;
            let issued = ledger::prune(&layout.ledger(datacenter), now_unix)?;
            let serials: Vec<Vec<u8>> = issued
                .into_iter()
                .filter(|entry| entry.node == *node)
                .map(|entry| entry.serial)
                .collect();
            if serials.is_empty() {
                return Err(PkiError::NothingIssued(node.clone()));
            }
            let signer = load_datacenter(&layout, datacenter)?;
            next_crl(&layout, datacenter, &signer, serials, now_unix)
        }
        Target::Certificate(path) => {
            let (der, leaf) = read_leaf(path)?;
            let datacenter = &leaf.name.datacenter;
            let signer = load_datacenter(&layout, datacenter)?;
            signer
                .authority
                .signed(&der)
                .map_err(|refusal| PkiError::Refused {
                    path: path.clone(),
                    refusal,
                })?;
            let id = hex(&leaf.node_id);
            let mut serials = vec![leaf.serial.clone()];
            let issued = ledger::prune(&layout.ledger(datacenter), now_unix)?;
            for entry in issued.into_iter().filter(|entry| entry.node_id == id) {
                if !serials.contains(&entry.serial) {
                    serials.push(entry.serial);
                }
            }
            next_crl(&layout, datacenter, &signer, serials, now_unix)
        }
    }
}

/// Signs CRLs anew, unchanged but for number and times: those that have used up `fraction` of
/// their validity (0 for all), of every issuer whose key is here.
pub fn refresh_crls(dir: &Path, fraction: f64, now_unix: u64) -> Result<Vec<NewCrl>, PkiError> {
    let layout = Layout::new(dir);
    let _lock = layout.lock()?;
    let mut written = Vec::new();
    let (_, root) = read_root(&layout)?;
    if layout.root_key().exists() && due(&read(&layout, ROOT, &root)?, fraction, now_unix) {
        let root = load_root(&layout)?;
        written.push(next_crl(&layout, ROOT, &root, Vec::new(), now_unix)?);
    }
    for datacenter in layout.datacenters()? {
        let (_, authority) = read_authority(&layout, &datacenter)?;
        let crl = read(&layout, &datacenter, &authority)?;
        if layout.authority_key(&datacenter).exists() && due(&crl, fraction, now_unix) {
            let signer = load_datacenter(&layout, &datacenter)?;
            let crl = next_crl(&layout, &datacenter, &signer, Vec::new(), now_unix)?;
            written.push(crl);
        }
    }
    Ok(written)
}

/// Writes an issuer's first CRL, unless an interrupted run left one.
pub(crate) fn first_crl(
    layout: &Layout,
    issuer: &str,
    signer: &Signer,
    now: u64,
) -> Result<(), PkiError> {
    if !layout.crl(issuer).exists() {
        write(layout, issuer, signer, 1, &[], now)?;
    }
    Ok(())
}

/// The newest CRL of an issuer, verified.
pub(crate) fn read(layout: &Layout, issuer: &str, authority: &Authority) -> Result<Crl, PkiError> {
    let path = layout.crl(issuer);
    if !path.exists() {
        return Err(PkiError::CrlMissing(path));
    }
    let ders = pem::read_all::<CertificateRevocationListDer<'static>>(&path, "CRL")?;
    let mut newest: Option<Crl> = None;
    for der in ders {
        let crl = Crl::parse(&der, authority).map_err(|refusal| PkiError::Refused {
            path: path.clone(),
            refusal,
        })?;
        if newest.as_ref().is_none_or(|held| crl.number > held.number) {
            newest = Some(crl);
        }
    }
    newest.ok_or(PkiError::CrlMissing(path))
}

fn due(crl: &Crl, fraction: f64, now: u64) -> bool {
    let whole = crl.next_update.saturating_sub(crl.this_update);
    now.saturating_sub(crl.this_update) as f64 >= whole as f64 * fraction
}

fn next_crl(
    layout: &Layout,
    issuer: &str,
    signer: &Signer,
    serials: Vec<Vec<u8>>,
    now: u64,
) -> Result<NewCrl, PkiError> {
    let previous = read(layout, issuer, &signer.authority)?;
    let revoked: Vec<Vec<u8>> = serials
        .into_iter()
        .filter(|serial| !previous.revokes(serial))
        .collect();
    // An authority stays on the root's list for good.
    let keep = |at: u64| issuer == ROOT || at.saturating_add(FORGET_AFTER) > now;
    let mut entries: Vec<(Vec<u8>, u64)> = previous
        .entries()
        .filter(|(_, at)| keep(*at))
        .map(|(serial, at)| (serial.to_vec(), at))
        .collect();
    entries.extend(revoked.iter().map(|serial| (serial.clone(), now)));
    let number = previous.number + 1;
    let der = write(layout, issuer, signer, number, &entries, now)?;
    Ok(NewCrl {
        issuer: signer.authority.name.clone(),
        path: layout.crl(issuer),
        number,
        revoked,
        der,
    })
}

fn write(
    layout: &Layout,
    issuer: &str,
    signer: &Signer,
    number: u64,
    entries: &[(Vec<u8>, u64)],
    now: u64,
) -> Result<Vec<u8>, PkiError> {
    let lifetime = if issuer == ROOT {
        ROOT_CRL_LIFETIME
    } else {
        CRL_LIFETIME
    };
    let validity = Validity {
        not_before: now,
        not_after: now + lifetime,
    };
    let der = mint::crl(signer.issuer(), number, validity, entries)?;
    if der.len() > MAX_CRL {
        return Err(PkiError::CrlFull);
    }
    let text = pem::encode("X509 CRL", &der);
    files::write(&layout.crl(issuer), text.as_bytes(), Write::Replace)?;
    Ok(der)
}
