//! Authorities as they lie on disk: read, verified, and with the key that belongs to them.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use crate::authority::{BACKDATE, Made, PkiError};
use crate::cert::{Authority, Certified};
use crate::files::{self, FileError, Write};
use crate::key::SecretKey;
use crate::layout::Layout;
use crate::mint::Validity;
use crate::pem;
use crate::refusal::Refusal;

/// An authority's certificate as DER and parsed, and its private key.
pub(crate) struct Signer {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) authority: Authority,
    pub(crate) key: SecretKey,
}

impl Signer {
    pub(crate) fn issuer(&self) -> (&CertificateDer<'static>, &SecretKey) {
        (&self.der, &self.key)
    }

    /// A validity from now on, back-dated, and never beyond the authority's own.
    pub(crate) fn validity(&self, now: u64, lifetime: u64) -> Result<Validity, PkiError> {
        if now >= self.authority.not_after {
            return Err(PkiError::AuthorityExpired(self.authority.name.clone()));
        }
        Ok(Validity {
            not_before: now.saturating_sub(BACKDATE),
            not_after: (now + lifetime).min(self.authority.not_after),
        })
    }
}

/// The key in a file, made now if there is none (an interrupted run left none, or only the key).
pub(crate) fn key_at(path: &Path) -> Result<SecretKey, PkiError> {
    if path.exists() {
        return Ok(SecretKey::load(path)?);
    }
    let key = SecretKey::generate()?;
    files::write(path, key.to_pem()?.as_bytes(), Write::NewSecret)?;
    Ok(key)
}

pub(crate) fn load_root(layout: &Layout) -> Result<Signer, PkiError> {
    let (der, authority) = read_root(layout)?;
    let key = SecretKey::load(&layout.root_key())?;
    signer(der, authority, key, &layout.root_key())
}

pub(crate) fn load_datacenter(layout: &Layout, datacenter: &str) -> Result<Signer, PkiError> {
    let (der, authority) = read_authority(layout, datacenter)?;
    let path = layout.authority_key(datacenter);
    let key = SecretKey::load(&path)?;
    signer(der, authority, key, &path)
}

fn signer(
    der: CertificateDer<'static>,
    authority: Authority,
    key: SecretKey,
    path: &Path,
) -> Result<Signer, PkiError> {
    if authority.public_key != *key.public_key() {
        let name = &authority.name;
        return Err(FileError::content(path, format!("not the key of {name}")).into());
    }
    Ok(Signer {
        der,
        authority,
        key,
    })
}

pub(crate) fn read_root(layout: &Layout) -> Result<(CertificateDer<'static>, Authority), PkiError> {
    let (der, path) = read_first(&layout.root())?;
    match Authority::root(&der) {
        Ok(root) => Ok((der, root)),
        Err(refusal) => Err(PkiError::Refused { path, refusal }),
    }
}

pub(crate) fn read_authority(
    layout: &Layout,
    datacenter: &str,
) -> Result<(CertificateDer<'static>, Authority), PkiError> {
    if !layout.authority(datacenter).exists() {
        return Err(PkiError::UnknownDatacenter(datacenter.to_owned()));
    }
    let (_, root) = read_root(layout)?;
    let (der, path) = read_first(&layout.authority(datacenter))?;
    let authority = Authority::datacenter(&der, &root.name);
    match authority.and_then(|authority| root.signed(&der).map(|()| authority)) {
        Ok(authority) => Ok((der, authority)),
        Err(refusal) => Err(PkiError::Refused { path, refusal }),
    }
}

pub(crate) fn read_leaf(path: &Path) -> Result<Made, PkiError> {
    let (der, path) = read_first(path)?;
    match Certified::unjudged(&der, [0; 32]) {
        Ok(leaf) => Ok((der, leaf)),
        Err(refusal) => Err(PkiError::Refused { path, refusal }),
    }
}

/// A root or a datacenter authority, whichever it is, under whatever trust domain.
pub(crate) fn parse_any_authority(der: &[u8]) -> Result<Authority, Refusal> {
    Authority::root(der).or_else(|_| Ok(Authority::datacenter_of_any(der)?.0))
}

pub(crate) fn read_first(path: &Path) -> Result<(CertificateDer<'static>, PathBuf), PkiError> {
    let mut certificates = pem::read_all::<CertificateDer<'static>>(path, "certificate")?;
    Ok((certificates.swap_remove(0), path.to_owned()))
}

pub(crate) fn write_certificates(path: &Path, ders: &[&[u8]], how: Write) -> Result<(), PkiError> {
    let text: String = ders
        .iter()
        .map(|der| pem::encode("CERTIFICATE", der).to_string())
        .collect();
    Ok(files::write(path, text.as_bytes(), how)?)
}

/// The bundle for the nodes, made anew from what is there.
pub(crate) fn write_bundle(layout: &Layout) -> Result<(), PkiError> {
    let mut certificates = vec![read_root(layout)?.0];
    for datacenter in layout.datacenters()? {
        certificates.push(read_authority(layout, &datacenter)?.0);
    }
    let ders: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    write_certificates(&layout.bundle(), &ders, Write::Replace)
}
