//! The content of a trust store at one moment, and the rules by which it changes: a root's signature
//! admits an authority, a higher number a CRL.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::cert::Authority;
use crate::crl::{Crl, named_key, own_key_name};
use crate::der::Signed;
use crate::refusal::Refusal;
use crate::store::Admission;

#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) authority: Arc<Authority>,
    pub(crate) anchor: Arc<TrustAnchor<'static>>,
}

/// An issuer's key and its one CRL.
pub(crate) type Held = ([u8; 32], Arc<Crl>);

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) generation: u64,
    pub(crate) roots: Vec<Root>,
    pub(crate) authorities: Vec<Arc<Authority>>,
    pub(crate) crls: Vec<Held>,
}

impl State {
    pub(crate) fn crl(&self, key_id: &[u8; 32]) -> Option<&Arc<Crl>> {
        self.crls
            .iter()
            .find_map(|(key, crl)| (key == key_id).then_some(crl))
    }

    /// The root that signed a certificate; the signature decides, names only say who claims it.
    pub(crate) fn root_of(&self, der: &[u8]) -> Result<&Root, Refusal> {
        Signed::split(der).ok_or(Refusal::Malformed)?;
        self.roots
            .iter()
            .find(|root| root.authority.signed(der).is_ok())
            .ok_or(Refusal::UnknownIssuer)
    }

    pub(crate) fn knows(&self, authority: &Authority) -> bool {
        self.authorities.iter().any(|a| a.der == authority.der)
    }

    /// Whether a key belongs to a root or to a known authority.
    pub(crate) fn trusts(&self, key_id: &[u8; 32]) -> bool {
        let roots = self.roots.iter().map(|root| &root.authority);
        roots.chain(&self.authorities).any(|a| a.key_id == *key_id)
    }

    /// Drops authorities past their end, and CRLs that nobody needs any more.
    pub(crate) fn forget_ended(&mut self, now: u64) {
        self.authorities.retain(|a| now <= a.not_after);
        let crls = std::mem::take(&mut self.crls).into_iter();
        self.crls = crls.filter(|(key, _)| self.trusts(key)).collect();
    }

    /// Takes a CRL if its number is higher than that of the one held.
    pub(crate) fn offer_crl(&mut self, key_id: [u8; 32], crl: Crl) -> Result<Admission, Refusal> {
        match self.crls.iter_mut().find(|(key, _)| *key == key_id) {
            Some((_, held)) if crl.number > held.number => {
                *held = Arc::new(crl);
                Ok(Admission::NewCrl)
            }
            Some((_, held)) if crl.number == held.number => Ok(Admission::Known),
            Some(_) => Err(Refusal::Rollback),
            None => {
                self.crls.push((key_id, Arc::new(crl)));
                Ok(Admission::New)
            }
        }
    }

    /// Whether a CRL says that a key signed it that nobody here has.
    pub(crate) fn signs_elsewhere(&self, crl: &[u8]) -> bool {
        let roots = self.roots.iter().map(|root| &root.authority);
        let mut issuers = roots.chain(&self.authorities);
        named_key(crl).is_some_and(|key| {
            !issuers.any(|issuer| own_key_name(&issuer.der).is_none_or(|own| own == key))
        })
    }

    /// The issuer of a CRL, and the CRL, verified.
    pub(crate) fn attribute(&self, der: &[u8]) -> Result<([u8; 32], Crl), Refusal> {
        let mut refusal = Refusal::UnknownIssuer;
        let roots = self.roots.iter().map(|root| &root.authority);
        for issuer in roots.chain(&self.authorities) {
            match Crl::parse(der, issuer) {
                Ok(crl) => return Ok((issuer.key_id, crl)),
                Err(Refusal::UnknownIssuer) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }
}

impl State {
    /// Whether two states hold the same, in whatever order.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let sorted = |state: &Self| {
            let roots = state.roots.iter().map(|root| &root.authority);
            let authorities = roots.chain(&state.authorities).map(|a| Arc::clone(&a.der));
            let crls = state.crls.iter().map(|(_, crl)| Arc::clone(&crl.der));
            let mut all: Vec<Arc<[u8]>> = authorities.chain(crls).collect();
            all.sort();
            all
        };
        sorted(self) == sorted(other)
    }
}

pub(crate) fn parse_root(
    der: &CertificateDer<'static>,
    trust_domain: &str,
) -> Result<Root, Refusal> {
    let authority = Authority::root(der)?;
    if authority.name != trust_domain {
        return Err(Refusal::WrongTrustDomain);
    }
    let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| refusal_of(&error))?;
    Ok(Root {
        authority: Arc::new(authority),
        anchor: Arc::new(anchor.to_owned()),
    })
}

/// Parses a datacenter authority whose signature by `root` has been verified.
pub(crate) fn issued_by(
    root: &Authority,
    der: &[u8],
    trust_domain: &str,
) -> Result<Authority, Refusal> {
    let authority = Authority::datacenter(der, trust_domain)?;
    if authority.issuer == root.subject {
        Ok(authority)
    } else {
        Err(Refusal::UnknownIssuer)
    }
}

/// webpki's answer in our words.
pub(crate) fn refusal_of(error: &webpki::Error) -> Refusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => Refusal::Expired,
        E::CertNotValidYet { .. } => Refusal::NotYetValid,
        E::CertRevoked => Refusal::Revoked,
        E::UnknownRevocationStatus => Refusal::UnknownRevocation,
        E::CrlExpired { .. } => Refusal::RevocationExpired,
        E::UnknownIssuer => Refusal::UnknownIssuer,
        E::InvalidSignatureForPublicKey | E::InvalidCrlSignatureForPublicKey => {
            Refusal::BadSignature
        }
        E::NameConstraintViolation => Refusal::WrongDatacenter,
        E::CaUsedAsEndEntity | E::EndEntityUsedAsCa => Refusal::WrongKind,
        E::PathLenConstraintViolated => Refusal::ChainLength,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension | E::IssuerNotCrlSigner => {
            Refusal::Usage
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Refusal::KeyType,
        E::UnsupportedCriticalExtension => Refusal::Extension,
        _ => Refusal::Malformed,
    }
}
