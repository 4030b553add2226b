//! Makes certificates and CRLs out of decisions taken elsewhere. Every default of rcgen that would
//! be unsafe or surprising is overridden here and nowhere else: validity (1975 to 4096), serial
//! numbers (derived from the key, so that renewing would keep them), key usages (none), basic
//! constraints (absent), subject ("rcgen self signed cert").

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, NameConstraints, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::key::{CryptoFailure, SecretKey, random};
use crate::name::SpiffeName;

/// Why nothing could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// No randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
    /// The certificate library refused.
    #[error("cannot make the certificate: {0}")]
    Library(String),
    /// A time that no certificate can carry.
    #[error("a time outside what certificates can carry")]
    Time,
}

impl From<rcgen::Error> for MintError {
    fn from(error: rcgen::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// First and last second of a validity, Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// A public key to be certified.
struct Subject<'a>(&'a [u8; 32]);

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

/// A self-signed root; its common name is the trust domain.
pub(crate) fn root(
    trust_domain: &str,
    key: &SecretKey,
    validity: Validity,
) -> Result<CertificateDer<'static>, MintError> {
    let params = authority(trust_domain, 1, validity)?;
    Ok(params.self_signed(key)?.into())
}

/// A datacenter's authority; its common name is the datacenter, its constraint the DNS subtree.
pub(crate) fn datacenter(
    datacenter: &str,
    trust_domain: &str,
    public_key: &[u8; 32],
    issuer: (&CertificateDer<'_>, &SecretKey),
    validity: Validity,
) -> Result<CertificateDer<'static>, MintError> {
    let mut params = authority(datacenter, 0, validity)?;
    params.use_authority_key_identifier_extension = true;
    let subtree = format!("{datacenter}.{trust_domain}");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(subtree)],
        excluded_subtrees: Vec::new(),
    });
    let issuer = Issuer::from_ca_cert_der(issuer.0, issuer.1)?;
    Ok(params.signed_by(&Subject(public_key), &issuer)?.into())
}

/// A leaf. No subject and no key identifiers: every byte of it travels in datagrams.
pub(crate) fn leaf(
    name: &SpiffeName,
    public_key: &[u8; 32],
    issuer: (&CertificateDer<'_>, &SecretKey),
    validity: Validity,
) -> Result<CertificateDer<'static>, MintError> {
    let mut params = params(validity)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = vec![
        SanType::URI(name.to_string().try_into()?),
        SanType::DnsName(name.dns().try_into()?),
    ];
    // rcgen's `ExplicitNoCa` would add a subject key identifier; these are its basic constraints
    // (cA false) alone.
    let mut not_a_ca = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    not_a_ca.set_criticality(true);
    params.custom_extensions = vec![not_a_ca];
    let issuer = Issuer::from_ca_cert_der(issuer.0, issuer.1)?;
    Ok(params.signed_by(&Subject(public_key), &issuer)?.into())
}

/// A CRL: serial numbers and when each was revoked.
pub(crate) fn crl(
    issuer: (&CertificateDer<'_>, &SecretKey),
    number: u64,
    validity: Validity,
    revoked: &[(Vec<u8>, u64)],
) -> Result<Vec<u8>, MintError> {
    let mut revoked_certs = Vec::with_capacity(revoked.len());
    for (serial, at) in revoked {
        revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: time(*at)?,
            reason_code: None,
            invalidity_date: None,
        });
    }
    let params = CertificateRevocationListParams {
        this_update: time(validity.not_before)?,
        next_update: time(validity.not_after)?,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::from_ca_cert_der(issuer.0, issuer.1)?;
    Ok(params.signed_by(&issuer)?.der().to_vec())
}

fn authority(
    common_name: &str,
    path_length: u8,
    validity: Validity,
) -> Result<CertificateParams, MintError> {
    let mut params = params(validity)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(validity: Validity) -> Result<CertificateParams, MintError> {
    let mut params = CertificateParams::default();
    params.not_before = time(validity.not_before)?;
    params.not_after = time(validity.not_after)?;
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

/// 16 random bytes, positive and never shortened by DER.
fn serial() -> Result<SerialNumber, CryptoFailure> {
    let mut bytes: [u8; 16] = random()?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn time(unix: u64) -> Result<OffsetDateTime, MintError> {
    i64::try_from(unix)
        .ok()
        .and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok())
        .ok_or(MintError::Time)
}
