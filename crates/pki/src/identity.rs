//! A node's own certificate and key: what it proves itself with in TLS and signs its claims with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::CertificateDer;

use crate::cert::{Authority, Certified};
use crate::files::FileError;
use crate::key::SecretKey;
use crate::name::SpiffeName;
use crate::pem;
use crate::refusal::Refusal;

/// Why an identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read, or others can read the key.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not exactly a leaf and its datacenter authority.
    #[error("the certificate file must hold the leaf and then its datacenter authority")]
    Chain,
    /// The leaf is not one of ours.
    #[error("the certificate is not usable: {0}")]
    Leaf(Refusal),
    /// The authority did not sign the leaf, or is none.
    #[error("the second certificate is not the leaf's datacenter authority: {0}")]
    Authority(Refusal),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
}

/// A certificate chain of exactly two and the private key; cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    chain: [CertificateDer<'static>; 2],
    leaf: Certified,
    key: Arc<SecretKey>,
}

impl Identity {
    /// Reads certificate chain and key. Validity in time is not judged: an expired identity is
    /// for its peers to refuse and for its owner to renew.
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Self, IdentityError> {
        let chain = pem::read_all(cert_path, "certificate")?;
        Self::new(chain, SecretKey::load(key_path)?)
    }

    /// An identity out of a chain (leaf, datacenter authority) and its key.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: SecretKey) -> Result<Self, IdentityError> {
        let chain: [_; 2] = chain.try_into().map_err(|_| IdentityError::Chain)?;
        let [leaf_der, authority_der] = &chain;
        let mut leaf = Certified::unjudged(leaf_der, [0; 32]).map_err(IdentityError::Leaf)?;
        let authority = Authority::datacenter(authority_der, &leaf.name.trust_domain)
            .map_err(IdentityError::Authority)?;
        authority
            .signed(leaf_der)
            .map_err(IdentityError::Authority)?;
        if authority.name != leaf.name.datacenter {
            return Err(IdentityError::Authority(Refusal::WrongDatacenter));
        }
        leaf.issuer = authority.key_id;
        if leaf.public_key != *key.public_key() {
            return Err(IdentityError::KeyMismatch);
        }
        let key = Arc::new(key);
        Ok(Self(Arc::new(Inner { chain, leaf, key })))
    }

    /// Signs a message with the certified Ed25519 key.
    pub fn sign(&self, msg: &[u8]) -> [u8; 64] {
        self.0.key.sign(msg)
    }

    /// The leaf certificate, DER.
    pub fn leaf_der(&self) -> &[u8] {
        let [leaf, _] = &self.0.chain;
        leaf
    }

    /// The datacenter authority's certificate, DER.
    pub fn authority_der(&self) -> &[u8] {
        let [_, authority] = &self.0.chain;
        authority
    }

    /// What the leaf says, unjudged: nobody has checked revocation, time or root.
    pub fn leaf(&self) -> &Certified {
        &self.0.leaf
    }

    /// Who and where this node is.
    pub fn name(&self) -> &SpiffeName {
        &self.0.leaf.name
    }

    /// The id derived from the key.
    pub fn node_id(&self) -> [u8; 16] {
        self.0.leaf.node_id
    }

    /// The raw public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.0.leaf.public_key
    }

    /// SHA-256 of the leaf.
    pub fn cert_hash(&self) -> [u8; 32] {
        self.0.leaf.cert_hash
    }

    /// Chain and key in rustls' terms.
    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        let key = TlsKey(Arc::clone(&self.0.key));
        Arc::new(CertifiedKey::new(self.0.chain.to_vec(), Arc::new(key)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.0.leaf.name.to_string())
            .field("not_after", &self.0.leaf.not_after)
            .field("key", &"[private]")
            .finish()
    }
}

/// The same key object, lent to TLS: there is one copy of the private key in the process.
#[derive(Clone, Debug)]
struct TlsKey(Arc<SecretKey>);

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
