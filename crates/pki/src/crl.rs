//! Certificate revocation lists. They reach us through peers, so they are hostile until proven
//! otherwise: bounded, signature first, and parsed where a panic cannot get out.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::cert::Authority;
use crate::der::Signed;
use crate::refusal::Refusal;

/// The largest CRL accepted, DER.
pub const MAX_CRL: usize = 64 * 1024;
/// How far ahead of our clock a CRL may have been issued, in seconds.
pub const CLOCK_SKEW: u64 = 300;

/// A CRL that its issuer signed.
#[derive(Debug)]
pub(crate) struct Crl {
    pub(crate) der: Arc<[u8]>,
    pub(crate) list: CertRevocationList<'static>,
    pub(crate) number: u64,
    pub(crate) this_update: u64,
    pub(crate) next_update: u64,
    /// Serial numbers and when each was revoked.
    entries: BTreeMap<Vec<u8>, u64>,
}

impl Crl {
    /// Verifies and parses a CRL of `issuer`.
    pub(crate) fn parse(der: &[u8], issuer: &Authority) -> Result<Self, Refusal> {
        if der.len() > MAX_CRL {
            return Err(Refusal::TooLarge);
        }
        let signed = Signed::split(der).ok_or(Refusal::Malformed)?;
        if signed.crl_issuer() != Some(issuer.subject.as_slice()) {
            return Err(Refusal::UnknownIssuer);
        }
        issuer.signed(der)?;
        catch_unwind(AssertUnwindSafe(|| Self::parse_signed(der)))
            .unwrap_or(Err(Refusal::Malformed))
    }

    fn parse_signed(der: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed;
        let list = OwnedCertRevocationList::from_der(der).map_err(|_| malformed)?;
        let (rest, crl) = CertificateRevocationList::from_der(der).map_err(|_| malformed)?;
        if !rest.is_empty() {
            return Err(malformed);
        }
        // Nothing that narrows what the list is about.
        let foreign = |extension: &ParsedExtension<'_>| {
            !matches!(
                extension,
                ParsedExtension::CRLNumber(_) | ParsedExtension::AuthorityKeyIdentifier(_)
            )
        };
        if crl
            .extensions()
            .iter()
            .any(|e| foreign(e.parsed_extension()))
        {
            return Err(Refusal::Extension);
        }
        let number = crl.crl_number().and_then(|number| number.try_into().ok());
        let unix = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        Ok(Self {
            number: number.ok_or(malformed)?,
            this_update: unix(crl.last_update()).ok_or(malformed)?,
            next_update: crl.next_update().and_then(unix).ok_or(malformed)?,
            entries: crl
                .iter_revoked_certificates()
                .map(|e| Some((e.raw_serial().to_vec(), unix(e.revocation_date)?)))
                .collect::<Option<_>>()
                .ok_or(malformed)?,
            list: list.into(),
            der: der.into(),
        })
    }

    /// Whether it names a serial number.
    pub(crate) fn revokes(&self, serial: &[u8]) -> bool {
        self.entries.contains_key(serial)
    }

    /// What it revokes, and since when.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.entries
            .iter()
            .map(|(serial, at)| (serial.as_slice(), *at))
    }

    /// Whether `now` is past its next update.
    pub(crate) fn expired_at(&self, now: u64) -> bool {
        now >= self.next_update
    }
}

/// The key that a CRL says signed it, by the name that certificates have for keys. Not proven.
pub(crate) fn named_key(der: &[u8]) -> Option<Vec<u8>> {
    let read = || {
        let (_, crl) = CertificateRevocationList::from_der(der).ok()?;
        crl.extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(key) => {
                    key.key_identifier.as_ref().map(|name| name.0.to_vec())
                }
                _ => None,
            })
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}

/// The name that a certificate has for its own key.
pub(crate) fn own_key_name(der: &[u8]) -> Option<Vec<u8>> {
    let read = || {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(name) => Some(name.0.to_vec()),
                _ => None,
            })
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}
