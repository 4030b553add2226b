//! Ed25519 keys: the one kind of key in the system. The same key proves a node's identity in TLS
//! and signs its claims; there is one implementation (aws-lc-rs) and one verification rule, because
//! two rules would let two nodes disagree about one signature.

use std::fmt;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::pem;

/// The DER header of an Ed25519 `SubjectPublicKeyInfo` (RFC 8410); the raw key follows.
const SPKI_HEADER: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The y coordinates of all points of small order, with the sign bit cleared, in every encoding
/// that fits 255 bits: orders 4, 1, 8, 8, 2, and the non-canonical forms p and p + 1 of the first two.
/// For such a key anybody can produce signatures that verify (A = R = identity, S = 0 signs every
/// message). Source: libsodium, `ge25519_has_small_order`; the list goes back to "May the Fourth Be
/// With You" (Cremers, Jackson, 2019).
pub const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    first_byte(0x01),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
];

const fn first_byte(byte: u8) -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = byte;
    point
}

/// 2^255 − 256 + `low`, little-endian: p is 2^255 − 19, so `0xed` is p itself.
const fn near_prime(low: u8) -> [u8; 32] {
    let mut point = [0xff; 32];
    point[0] = low;
    point[31] = 0x7f;
    point
}

/// Whether a public key is a point of small order, for which a signature proves nothing.
pub fn is_weak(public_key: &[u8; 32]) -> bool {
    let mut y = *public_key;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

/// Whether `sig` is `public_key`'s signature of `msg`. Weak keys are refused here too.
pub fn verify(public_key: &[u8; 32], msg: &[u8], sig: &[u8; 64]) -> bool {
    !is_weak(public_key)
        && UnparsedPublicKey::new(&ED25519, public_key)
            .verify(msg, sig)
            .is_ok()
}

/// The `SubjectPublicKeyInfo` of a public key.
pub fn spki(public_key: &[u8; 32]) -> [u8; 44] {
    let mut spki = [0; 44];
    spki[..12].copy_from_slice(&SPKI_HEADER);
    spki[12..].copy_from_slice(public_key);
    spki
}

/// The public key in a `SubjectPublicKeyInfo`, if that is Ed25519.
pub(crate) fn public_key_of(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&SPKI_HEADER)?.try_into().ok()
}

/// A node's identity: the first 16 bytes of SHA-256 of its `SubjectPublicKeyInfo`.
pub fn node_id(public_key: &[u8; 32]) -> [u8; 16] {
    let hash = sha256(&spki(public_key));
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The system has no randomness to give, or refused to make a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptography library failed (no randomness?)")]
pub struct CryptoFailure;

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CryptoFailure> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CryptoFailure)?;
    Ok(bytes)
}

/// A private Ed25519 key. The library wipes it when it is dropped; `Debug` shows the public half.
pub struct SecretKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl SecretKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, CryptoFailure> {
        Ok(Self::from(
            Ed25519KeyPair::generate().map_err(|_| CryptoFailure)?,
        ))
    }

    /// Reads a PKCS#8 PEM file, refusing one that others could have read.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let pem = files::read_secret(path)?;
        let not_a_key = || FileError::content(path, "not an Ed25519 private key in PKCS#8 PEM");
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| not_a_key())?;
        let der = Zeroizing::new(der);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self::from).map_err(|_| not_a_key())
    }

    /// The public half.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// Signs a message.
    pub fn sign(&self, msg: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(msg).as_ref());
        signature
    }

    /// PKCS#8 (version 1, which every tool reads) in PEM.
    pub(crate) fn to_pem(&self) -> Result<Zeroizing<String>, CryptoFailure> {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> =
            self.pair.as_der().map_err(|_| CryptoFailure)?;
        Ok(pem::encode("PRIVATE KEY", der.as_ref()))
    }
}

impl From<Ed25519KeyPair> for SecretKey {
    fn from(pair: Ed25519KeyPair) -> Self {
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair, public }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, [private])", hex(&self.public))
    }
}

impl rcgen::PublicKeyData for SecretKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for SecretKey {
    fn sign(&self, msg: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, msg).to_vec())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
