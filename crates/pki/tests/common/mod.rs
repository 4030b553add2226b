//! A federation in a temporary directory, and a forger who holds its authorities' keys.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use a part of it"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pelago_pki::{
    Identity, IssueRequest, Issued, NewCrl, Policy, Role, Target, TrustStore, init, issue, revoke,
};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tempfile::TempDir;
use time::OffsetDateTime;

/// The trust domain of every federation here.
pub const DOMAIN: &str = "example.test";
/// A fixed present, for tests that need no real clock.
pub const NOW: u64 = 1_800_000_000;
pub const HOUR: u64 = 3600;

pub fn real_now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.unwrap().as_secs()
}

pub struct Federation {
    dir: TempDir,
    pub now: u64,
}

impl Federation {
    pub fn new(now: u64, datacenters: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let federation = Self { dir, now };
        federation.add(datacenters);
        federation
    }

    pub fn add(&self, datacenters: &[&str]) {
        let names: Vec<String> = datacenters.iter().map(|name| (*name).to_owned()).collect();
        init(self.path(), DOMAIN, &names, self.now).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn bundle(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    pub fn crls(&self) -> PathBuf {
        self.path().join("crl")
    }

    pub fn request(datacenter: &str, node: &str, role: Role) -> IssueRequest {
        IssueRequest {
            datacenter: datacenter.to_owned(),
            zone: "a".to_owned(),
            rack: "r1".to_owned(),
            role,
            node: node.to_owned(),
            lifetime: pelago_pki::LEAF_LIFETIME,
            out: None,
        }
    }

    pub fn issue(&self, datacenter: &str, node: &str, role: Role) -> Issued {
        let request = Self::request(datacenter, node, role);
        issue(self.path(), &request, self.now).unwrap()
    }

    pub fn identity(&self, datacenter: &str, node: &str, role: Role) -> Identity {
        let issued = self.issue(datacenter, node, role);
        Identity::load(&issued.cert, &issued.key).unwrap()
    }

    pub fn revoke(&self, issued: &Issued) -> NewCrl {
        revoke(
            self.path(),
            &Target::Certificate(issued.cert.clone()),
            self.now,
        )
        .unwrap()
    }

    pub fn revoke_datacenter(&self, datacenter: &str) -> NewCrl {
        let target = Target::Datacenter(datacenter.to_owned());
        revoke(self.path(), &target, self.now).unwrap()
    }

    pub fn store(&self) -> TrustStore {
        self.store_with(Policy::default())
    }

    pub fn store_with(&self, policy: Policy) -> TrustStore {
        TrustStore::load(&self.bundle(), Some(&self.crls()), policy).unwrap()
    }

    /// A store that knows the root and these datacenters only.
    pub fn store_of(&self, datacenters: &[&str]) -> TrustStore {
        let authorities = datacenters.iter().map(|dc| self.authority(dc)).collect();
        let mut crls = vec![self.crl("root")];
        crls.extend(datacenters.iter().map(|dc| self.crl(dc)));
        let root = vec![self.root()];
        TrustStore::new(DOMAIN, root, authorities, crls, Policy::default()).unwrap()
    }

    pub fn root(&self) -> CertificateDer<'static> {
        first_certificate(&self.path().join("root.pem"))
    }

    pub fn authority(&self, datacenter: &str) -> CertificateDer<'static> {
        first_certificate(&self.path().join(datacenter).join("ca.pem"))
    }

    pub fn crl(&self, issuer: &str) -> CertificateRevocationListDer<'static> {
        let path = self.crls().join(format!("{issuer}.crl"));
        CertificateRevocationListDer::from_pem_file(path).unwrap()
    }

    /// The authority of a datacenter in the forger's hands.
    pub fn stolen(&self, datacenter: &str) -> Issuer<'static, KeyPair> {
        let home = self.path().join(datacenter);
        stolen(&home.join("ca.pem"), &home.join("ca.key"))
    }

    /// The root in the forger's hands.
    pub fn stolen_root(&self) -> Issuer<'static, KeyPair> {
        stolen(&self.path().join("root.pem"), &self.path().join("root.key"))
    }

    /// A leaf that is right in everything but what `forge` changes.
    pub fn forge(&self, datacenter: &str, forge: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        self.forge_for(datacenter, &ed25519(), forge)
    }

    /// The same for a given key.
    pub fn forge_for(
        &self,
        datacenter: &str,
        key: &impl PublicKeyData,
        forge: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let mut params = leaf_params(self.now, datacenter);
        forge(&mut params);
        let signed = params.signed_by(key, &self.stolen(datacenter)).unwrap();
        signed.der().to_vec()
    }
}

pub fn first_certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn stolen(cert: &Path, key: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
    Issuer::from_ca_cert_pem(&fs::read_to_string(cert).unwrap(), key).unwrap()
}

pub fn ed25519() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

pub fn at(unix: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(unix).unwrap()).unwrap()
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// The URI and DNS name of a server in a datacenter.
pub fn names(datacenter: &str, node: &str) -> Vec<SanType> {
    vec![
        uri(&format!(
            "spiffe://{DOMAIN}/dc/{datacenter}/zone/a/rack/r1/server/{node}"
        )),
        dns(&format!("{node}.{datacenter}.{DOMAIN}")),
    ]
}

/// Basic constraints of something that is no authority.
pub fn not_a_ca() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    extension.set_criticality(true);
    extension
}

/// A leaf that is right in everything.
pub fn leaf_params(now: u64, datacenter: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = at(now - 300);
    params.not_after = at(now + 72 * HOUR);
    params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = names(datacenter, "s1");
    params.custom_extensions = vec![not_a_ca()];
    params
}

/// How long a test waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);
