//! What this system requires of its certificates beyond what webpki checks. webpki ties a DNS name
//! to its authority's datacenter; it does not look at URI names, counts nothing, and admits
//! wildcards, so every rule of the profile is checked here. Only bytes whose signature was
//! verified get this far.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::FromDer as _;

use crate::der::{Signed, contents};
use crate::key::{is_weak, node_id, public_key_of, sha256, verify};
use crate::name::{SpiffeName, check_label, check_trust_domain};
use crate::refusal::Refusal;

/// The largest leaf certificate, DER: it travels in one datagram beside a record.
pub const MAX_LEAF: usize = 450;
/// The largest authority certificate, DER.
pub const MAX_AUTHORITY: usize = 1024;

/// An authority, root or datacenter, whose profile has been checked.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) der: Arc<[u8]>,
    /// The name with its SEQUENCE header stripped, as webpki compares it.
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    /// The common name: a trust domain (root) or a datacenter.
    pub(crate) name: String,
    pub(crate) public_key: [u8; 32],
    /// SHA-256 of the `SubjectPublicKeyInfo`: survives a renewal with the same key.
    pub(crate) key_id: [u8; 32],
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Authority {
    /// Parses a root: self-signed, pathlen 1, its trust domain as common name.
    pub(crate) fn root(der: &[u8]) -> Result<Self, Refusal> {
        let (root, constraint) = Self::parse(der, 1)?;
        check_trust_domain(&root.name).map_err(|_| Refusal::BadName)?;
        if constraint.is_some() {
            return Err(Refusal::Constraint);
        }
        if root.subject != root.issuer {
            return Err(Refusal::WrongKind);
        }
        root.signed(der)?;
        Ok(root)
    }

    /// Parses a datacenter's authority: pathlen 0, constrained to exactly its own DNS subtree.
    pub(crate) fn datacenter(der: &[u8], trust_domain: &str) -> Result<Self, Refusal> {
        match Self::datacenter_of_any(der)? {
            (authority, domain) if domain == trust_domain => Ok(authority),
            _ => Err(Refusal::WrongTrustDomain),
        }
    }

    /// The same under whatever trust domain, which is returned too.
    pub(crate) fn datacenter_of_any(der: &[u8]) -> Result<(Self, String), Refusal> {
        let (authority, constraint) = Self::parse(der, 0)?;
        check_label("datacenter", &authority.name).map_err(|_| Refusal::BadName)?;
        let constraint = constraint.ok_or(Refusal::Constraint)?;
        let subtree = constraint.strip_prefix(authority.name.as_str());
        let domain = subtree
            .and_then(|rest| rest.strip_prefix('.'))
            .filter(|domain| check_trust_domain(domain).is_ok())
            .ok_or(Refusal::Constraint)?;
        Ok((authority, domain.to_owned()))
    }

    /// Whether this authority signed `der`.
    pub(crate) fn signed(&self, der: &[u8]) -> Result<(), Refusal> {
        let signed = Signed::split(der).ok_or(Refusal::Malformed)?;
        if verify(&self.public_key, signed.tbs, signed.signature) {
            Ok(())
        } else {
            Err(Refusal::BadSignature)
        }
    }

    /// Whether `now` is inside its validity.
    pub(crate) fn valid_at(&self, now: u64) -> Result<(), Refusal> {
        within(now, self.not_before, self.not_after)
    }

    /// The profile common to both kinds, and the DNS constraint if there is one.
    fn parse(der: &[u8], path_length: u32) -> Result<(Self, Option<String>), Refusal> {
        if der.len() > MAX_AUTHORITY {
            return Err(Refusal::TooLarge);
        }
        let certificate = parse(der)?;
        let mut constraint = None;
        let (mut is_ca, mut may_sign) = (false, false);
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(basic) => {
                    if !basic.ca {
                        return Err(Refusal::WrongKind);
                    }
                    if basic.path_len_constraint != Some(path_length) {
                        return Err(Refusal::ChainLength);
                    }
                    is_ca = extension.critical;
                }
                ParsedExtension::KeyUsage(usage) => {
                    // keyCertSign (bit 5) and cRLSign (bit 6), nothing else.
                    may_sign = extension.critical && usage.flags == 0b110_0000;
                }
                ParsedExtension::NameConstraints(names) => {
                    let permitted = names.permitted_subtrees.as_deref().unwrap_or_default();
                    let [subtree] = permitted else {
                        return Err(Refusal::Constraint);
                    };
                    let GeneralName::DNSName(name) = subtree.base else {
                        return Err(Refusal::Constraint);
                    };
                    if names.excluded_subtrees.is_some() || !extension.critical {
                        return Err(Refusal::Constraint);
                    }
                    constraint = Some(name.to_owned());
                }
                ParsedExtension::SubjectKeyIdentifier(_)
                | ParsedExtension::AuthorityKeyIdentifier(_) => {}
                _ => return Err(Refusal::Extension),
            }
        }
        if !is_ca {
            return Err(Refusal::WrongKind);
        }
        if !may_sign {
            return Err(Refusal::Usage);
        }
        let public_key = key_of(&certificate)?;
        let (not_before, not_after) = validity(&certificate)?;
        let mut common_names = certificate.subject().iter_common_name();
        let name = match (common_names.next(), common_names.next()) {
            (Some(name), None) => name.as_str().map_err(|_| Refusal::BadName)?.to_owned(),
            _ => return Err(Refusal::BadName),
        };
        let stripped = |name: &[u8]| contents(name).map(<[u8]>::to_vec).ok_or(Refusal::Malformed);
        let authority = Self {
            subject: stripped(certificate.subject().as_raw())?,
            issuer: stripped(certificate.issuer().as_raw())?,
            serial: certificate.raw_serial().to_vec(),
            key_id: sha256(certificate.public_key().raw),
            der: der.into(),
            name,
            public_key,
            not_before,
            not_after,
        };
        Ok((authority, constraint))
    }
}

/// What a judged leaf certificate establishes about its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// First 16 bytes of SHA-256 of the `SubjectPublicKeyInfo`.
    pub node_id: [u8; 16],
    /// The raw Ed25519 public key.
    pub public_key: [u8; 32],
    /// Who and where the holder is, and what it may do.
    pub name: SpiffeName,
    /// The serial number, as in the certificate.
    pub serial: Vec<u8>,
    /// Start of validity, Unix seconds.
    pub not_before: u64,
    /// End of validity, Unix seconds.
    pub not_after: u64,
    /// SHA-256 of the certificate.
    pub cert_hash: [u8; 32],
    /// SHA-256 of the issuing authority's `SubjectPublicKeyInfo`.
    pub issuer: [u8; 32],
}

impl Certified {
    /// Applies the leaf profile to a certificate that chains to `authority` already.
    pub(crate) fn of(
        der: &[u8],
        trust_domain: &str,
        authority: &Authority,
    ) -> Result<Self, Refusal> {
        let certified = Self::unjudged(der, authority.key_id)?;
        if certified.name.trust_domain != trust_domain {
            return Err(Refusal::WrongTrustDomain);
        }
        if certified.name.datacenter != authority.name {
            return Err(Refusal::WrongDatacenter);
        }
        Ok(certified)
    }

    /// Applies everything that can be told from the leaf alone.
    pub(crate) fn unjudged(der: &[u8], issuer: [u8; 32]) -> Result<Self, Refusal> {
        let certificate = parse(der)?;
        let mut names = None;
        let (mut signs, mut both_sides) = (false, false);
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => {
                    names = Some(san.general_names.as_slice());
                }
                ParsedExtension::BasicConstraints(basic) if basic.ca => {
                    return Err(Refusal::WrongKind);
                }
                // digitalSignature (bit 0), nothing else.
                ParsedExtension::KeyUsage(usage) => signs = usage.flags == 1,
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    both_sides = usage.client_auth && usage.server_auth;
                }
                ParsedExtension::BasicConstraints(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
                | ParsedExtension::AuthorityKeyIdentifier(_) => {}
                // No distribution points above all: they change which CRL webpki believes in.
                _ => return Err(Refusal::Extension),
            }
        }
        if !signs || !both_sides {
            return Err(Refusal::Usage);
        }
        let name = name_of(names.unwrap_or_default())?;
        let public_key = key_of(&certificate)?;
        let (not_before, not_after) = validity(&certificate)?;
        Ok(Self {
            node_id: node_id(&public_key),
            public_key,
            name,
            serial: certificate.raw_serial().to_vec(),
            not_before,
            not_after,
            cert_hash: sha256(der),
            issuer,
        })
    }
}

/// Whether `now` lies between two bounds, both inclusive.
pub(crate) fn within(now: u64, not_before: u64, not_after: u64) -> Result<(), Refusal> {
    if now < not_before {
        Err(Refusal::NotYetValid)
    } else if now > not_after {
        Err(Refusal::Expired)
    } else {
        Ok(())
    }
}

/// Exactly one URI and one DNS name, and these two say the same.
fn name_of(names: &[GeneralName<'_>]) -> Result<SpiffeName, Refusal> {
    let ([GeneralName::URI(uri), GeneralName::DNSName(dns)]
    | [GeneralName::DNSName(dns), GeneralName::URI(uri)]) = names
    else {
        return Err(Refusal::SanCount);
    };
    let name = SpiffeName::parse(uri).map_err(|_| Refusal::BadName)?;
    if name.dns() == *dns {
        Ok(name)
    } else {
        Err(Refusal::NameMismatch)
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if certificate.version().0 == 2 => {
            let ed25519 = oid!(1.3.101.112);
            let signed_by = &certificate.tbs_certificate.signature.algorithm;
            if *signed_by != ed25519 {
                return Err(Refusal::KeyType);
            }
            // Refuses an extension that appears twice.
            certificate
                .extensions_map()
                .map_err(|_| Refusal::Malformed)?;
            Ok(certificate)
        }
        _ => Err(Refusal::Malformed),
    }
}

fn key_of(certificate: &X509Certificate<'_>) -> Result<[u8; 32], Refusal> {
    let key = public_key_of(certificate.public_key().raw).ok_or(Refusal::KeyType)?;
    if is_weak(&key) {
        return Err(Refusal::WeakKey);
    }
    Ok(key)
}

fn validity(certificate: &X509Certificate<'_>) -> Result<(u64, u64), Refusal> {
    let unix = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp());
    let validity = certificate.validity();
    match (unix(validity.not_before), unix(validity.not_after)) {
        (Ok(start), Ok(end)) if start < end => Ok((start, end)),
        _ => Err(Refusal::Malformed),
    }
}
