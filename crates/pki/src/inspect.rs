//! What is in a file, and whether a node would accept it: the answers of `pelago pki inspect` and
//! `pelago pki verify`.

use std::path::Path;

use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use crate::authority::PkiError;
use crate::cert::{Authority, Certified};
use crate::files::{self, FileError};
use crate::key::{SecretKey, hex, node_id, sha256, spki};
use crate::pem;
use crate::refusal::Refusal;
use crate::store::{AuthorityEntry, Policy, StoreError, TrustStore};

/// What an object in a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The federation's root.
    Root,
    /// A datacenter's authority.
    DatacenterAuthority,
    /// A certificate of a node or an operator.
    Leaf,
    /// A list of revoked certificates.
    Crl,
    /// A private key; only what its public half tells is shown.
    PrivateKey,
}

/// One certificate, CRL or key, described. What does not apply to its kind is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// What it is.
    pub kind: Kind,
    /// The trust domain, the datacenter or the node's URI; of a CRL its issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The federation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// The datacenter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// The zone of a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The rack of a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// The role of a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The node of a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The id derived from the key of a leaf, or from a private key, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// The serial number, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// SHA-256 of the `SubjectPublicKeyInfo`, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Start of validity (of a CRL: this update), RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// End of validity (of a CRL: next update), RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The names of a leaf.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
    /// The number of a CRL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_number: Option<u64>,
    /// The serial numbers a CRL revokes, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Vec<String>>,
    /// Size of the DER, in bytes; absent for a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
}

impl Inspection {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            name: None,
            trust_domain: None,
            datacenter: None,
            zone: None,
            rack: None,
            role: None,
            node: None,
            node_id: None,
            serial: None,
            key_id: None,
            not_before: None,
            not_after: None,
            sans: Vec::new(),
            crl_number: None,
            revoked: None,
            size: None,
        }
    }

    fn authority(kind: Kind, authority: &Authority, trust_domain: String) -> Self {
        Self {
            name: Some(authority.name.clone()),
            datacenter: (kind == Kind::DatacenterAuthority).then(|| authority.name.clone()),
            trust_domain: Some(trust_domain),
            serial: Some(hex(&authority.serial)),
            key_id: Some(hex(&authority.key_id)),
            not_before: rfc3339(authority.not_before),
            not_after: rfc3339(authority.not_after),
            size: Some(authority.der.len()),
            ..Self::of(kind)
        }
    }

    fn leaf(leaf: &Certified, size: usize) -> Self {
        let name = &leaf.name;
        Self {
            name: Some(name.to_string()),
            trust_domain: Some(name.trust_domain.clone()),
            datacenter: Some(name.datacenter.clone()),
            zone: Some(name.zone.clone()),
            rack: Some(name.rack.clone()),
            role: Some(name.role.to_string()),
            node: Some(name.node.clone()),
            node_id: Some(hex(&leaf.node_id)),
            serial: Some(hex(&leaf.serial)),
            key_id: Some(hex(&sha256(&spki(&leaf.public_key)))),
            not_before: rfc3339(leaf.not_before),
            not_after: rfc3339(leaf.not_after),
            sans: vec![format!("URI:{name}"), format!("DNS:{}", name.dns())],
            size: Some(size),
            ..Self::of(Kind::Leaf)
        }
    }

    fn crl(der: &[u8]) -> Option<Self> {
        let (_, crl) = CertificateRevocationList::from_der(der).ok()?;
        let unix = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        let mut names = crl.issuer().iter_common_name();
        let issuer = names.next().and_then(|name| name.as_str().ok());
        let revoked = crl.iter_revoked_certificates();
        Some(Self {
            name: issuer.map(str::to_owned),
            crl_number: crl.crl_number().and_then(|number| number.try_into().ok()),
            not_before: unix(crl.last_update()).and_then(rfc3339),
            not_after: crl.next_update().and_then(unix).and_then(rfc3339),
            revoked: Some(revoked.map(|entry| hex(entry.raw_serial())).collect()),
            size: Some(der.len()),
            ..Self::of(Kind::Crl)
        })
    }

    fn key(key: &SecretKey) -> Self {
        Self {
            node_id: Some(hex(&node_id(key.public_key()))),
            key_id: Some(hex(&sha256(&spki(key.public_key())))),
            ..Self::of(Kind::PrivateKey)
        }
    }
}

/// What a file with a private key contains.
const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// Describes every certificate and CRL, or the private key, in a PEM file. Signatures are not verified.
pub fn inspect(path: &Path) -> Result<Vec<Inspection>, PkiError> {
    let bytes = Zeroizing::new(files::read(path)?);
    if bytes.windows(PRIVATE.len()).any(|window| window == PRIVATE) {
        // Through the door that checks who else could read it, and wipes what it read.
        return Ok(vec![Inspection::key(&SecretKey::load(path)?)]);
    }
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&bytes) {
        let (kind, der) = section.map_err(|error| FileError::content(path, error))?;
        let refused = |refusal| PkiError::Refused {
            path: path.to_owned(),
            refusal,
        };
        found.push(match kind {
            SectionKind::Certificate => certificate(&der).map_err(refused)?,
            SectionKind::Crl => Inspection::crl(&der).ok_or_else(|| refused(Refusal::Malformed))?,
            _ => continue,
        });
    }
    if found.is_empty() {
        let nothing = "no certificate, CRL or private key in PEM in it";
        return Err(FileError::content(path, nothing).into());
    }
    Ok(found)
}

fn certificate(der: &[u8]) -> Result<Inspection, Refusal> {
    if let Ok(root) = Authority::root(der) {
        let trust_domain = root.name.clone();
        return Ok(Inspection::authority(Kind::Root, &root, trust_domain));
    }
    if let Ok((authority, domain)) = Authority::datacenter_of_any(der) {
        let kind = Kind::DatacenterAuthority;
        return Ok(Inspection::authority(kind, &authority, domain));
    }
    Certified::unjudged(der, [0; 32]).map(|leaf| Inspection::leaf(&leaf, der.len()))
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// Checks a certificate file the way a node with this bundle and these CRLs would, and what a node
/// would only warn about. An error means that there is nothing to check it with.
pub fn verify(
    bundle: &Path,
    crl_dir: &Path,
    cert: &Path,
    now_unix: u64,
) -> Result<Vec<Check>, StoreError> {
    let store = TrustStore::load(bundle, Some(crl_dir), Policy::default())?;
    let chain = pem::read_all::<CertificateDer<'static>>(cert, "certificate")?;
    let check = |name, outcome: Result<String, String>| Check {
        name,
        ok: outcome.is_ok(),
        detail: outcome.unwrap_or_else(|error| error),
    };
    let count = match chain.len() {
        2 => Ok("leaf and datacenter authority".to_owned()),
        count => Err(format!("{count} certificates instead of 2")),
    };
    let mut checks = vec![check("chain", count)];
    if let Some(leaf) = chain.first() {
        let judged = store.certify(leaf, now_unix);
        let text = |leaf: Certified| format!("{} ({})", leaf.name, hex(&leaf.node_id));
        let verdict = judged.map(text).map_err(|refusal| refusal.to_string());
        checks.push(check("certificate", verdict));
        checks.push(check("size", Ok(format!("{} bytes", leaf.len()))));
    }
    if let [_, presented, ..] = chain.as_slice() {
        let bundled = store.authorities();
        let same = |known: &AuthorityEntry| known.certificate.as_ref() == presented.as_ref();
        // Renewed, or signed by another root, with the same key: what it issued stays valid.
        let key = |der: &[u8]| Authority::datacenter(der, store.trust_domain()).map(|a| a.key_id);
        let presented_key = key(presented).ok();
        let kin = |known: &AuthorityEntry| key(&known.certificate).ok() == presented_key;
        let known = if bundled.iter().any(same) {
            Ok("in the bundle".to_owned())
        } else if presented_key.is_some() && bundled.iter().any(kin) {
            Ok("in the bundle as another certificate of the same key".to_owned())
        } else {
            Err("not in the bundle".to_owned())
        };
        checks.push(check("authority", known));
    }
    let mut fresh = Vec::new();
    for der in pem_crls(crl_dir)? {
        if let Some(crl) = Inspection::crl(&der) {
            fresh.push((crl.name.unwrap_or_default(), crl.crl_number, crl.not_after));
        }
    }
    for (issuer, number, next_update) in fresh {
        let number = number.unwrap_or_default();
        let due = next_update.unwrap_or_default();
        let text = format!("{issuer}: number {number}, next update {due}");
        let late = rfc3339(now_unix).is_some_and(|now| due <= now);
        checks.push(check("crl", if late { Err(text) } else { Ok(text) }));
    }
    Ok(checks)
}

fn pem_crls(dir: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, StoreError> {
    Ok(crate::bundle::read_crls(dir)?)
}

fn rfc3339(unix: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(unix.try_into().ok()?).ok()?;
    time.format(&Rfc3339).ok()
}
