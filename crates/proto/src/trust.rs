//! What the protocol needs from certificates and keys, as a trait.
//!
//! Certificates, signatures and the wall clock live outside this crate: the runtime judges real X.509 with them, the
//! simulator stands in something cheap of the same size.

use crate::{
    claim::{Claim, Verified},
    identity::{Label, NodeId, Role},
};
use std::sync::Arc;
use thiserror::Error;

/// What a valid certificate says about its holder. Only an implementation of [`Trust`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Hash of the public key.
    pub id: NodeId,
    /// Ed25519 key that signs the holder's claims.
    pub public_key: [u8; 32],
    /// Node name, unique within its datacenter.
    pub name: Label,
    /// The datacenter whose authority issued the certificate.
    pub datacenter: Label,
    /// Zone within the datacenter.
    pub zone: Label,
    /// Rack within the zone.
    pub rack: Label,
    /// What the holder may do.
    pub role: Role,
    /// Serial number, chosen by the authority: rankings use it because holders cannot.
    pub serial: Arc<[u8]>,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
    /// First 16 bytes of SHA-256 over the certificate.
    pub cert_hash: [u8; 16],
    /// The certificate itself, DER.
    pub leaf: Arc<[u8]>,
}

/// Why a certificate or a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refusal(
    /// Stable label, also used in metrics: `expired`, `revoked`, `unknown_issuer`, ….
    pub &'static str,
);

impl Refusal {
    /// The issuer is not known here (yet): its authority may still be learnt.
    pub const UNKNOWN_ISSUER: Self = Self("unknown_issuer");
    /// Its issuer, or the root its issuer, took it back.
    pub const REVOKED: Self = Self("revoked");
}

/// One datacenter's certificate authority with its newest revocation list, both DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The datacenter it issues for.
    pub datacenter: Label,
    /// Certificate.
    pub certificate: Arc<[u8]>,
    /// Revocation list.
    pub crl: Arc<[u8]>,
    /// Number of that list.
    pub crl_number: u64,
}

/// Names the key that issues a list: the first 16 bytes of SHA-256 over it, as for nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer(pub [u8; 16]);

/// The newest revocation list of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Whose it is.
    pub issuer: Issuer,
    /// The datacenter whose authority issued it; `None` for a root's.
    pub datacenter: Option<Label>,
    /// Its number; of two lists of one issuer the higher one holds.
    pub number: u64,
    /// The authority's certificate, DER, for those who do not know it; `None` for a root's, which is nobody's to learn.
    pub certificate: Option<Arc<[u8]>>,
    /// The list, DER.
    pub crl: Arc<[u8]>,
}

/// What a list says of itself before anybody has looked at its signature, and what is held in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Its number.
    pub number: u64,
    /// The number of the list held of that issuer, if any.
    pub held: Option<u64>,
}

impl Weighed {
    /// Whether it would be taken in if it is genuine.
    pub fn is_news(&self) -> bool {
        self.held.is_none_or(|held| held < self.number)
    }
}

/// Judges certificates and signatures, and signs for this node.
pub trait Trust: Send + Sync {
    /// The federation's name, part of everything that is signed.
    fn trust_domain(&self) -> &str;

    /// Judges a leaf certificate (DER) completely: chain, names, lifetime, revocation.
    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal>;

    /// Judges a leaf as [`Self::certify`] does, but for its end: what an operator signed in time holds on afterwards.
    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal>;

    /// Whether `signature` over `message` was made with `key`. About 31 µs when real.
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;

    /// Signs with this node's own key.
    fn sign(&self, message: &[u8]) -> [u8; 64];

    /// This node's own certificate, judged. Changes when it is renewed.
    fn own(&self) -> Arc<Certified>;

    /// All datacenter authorities known, by datacenter.
    fn authorities(&self) -> Vec<Authority>;

    /// Learns a datacenter authority and its list, after checking both against the root; `true` if that was news.
    fn admit_authority(&self, certificate: &[u8], crl: &[u8]) -> Result<bool, Refusal>;

    /// The newest lists of all roots and of all authorities that are still valid, by issuer. Nodes that hold the same ones agree.
    fn lists(&self) -> Vec<List> {
        Vec::new()
    }

    /// What a list claims to be: cheap, and nothing that can be believed yet.
    fn weigh_list(&self, crl: &[u8]) -> Result<Weighed, Refusal> {
        let _ = crl;
        Err(Refusal::UNKNOWN_ISSUER)
    }

    /// Takes a list of a known issuer whose number is higher than that of the one held, after checking its signature;
    /// `true` if that was news.
    fn admit_list(&self, crl: &[u8]) -> Result<bool, Refusal> {
        let _ = crl;
        Err(Refusal::UNKNOWN_ISSUER)
    }

    /// Whether a list held names this certificate, or its authority. Everybody is asked about when a list arrives, so whoever
    /// can answer it for less should.
    fn is_revoked(&self, certified: &Certified) -> bool {
        self.certify_ended(&certified.leaf).err() == Some(Refusal::REVOKED)
    }

    /// Seconds since 1970 for comparing with certificates' ends, and nothing else.
    fn unix_time(&self) -> u64;

    /// Fresh random bytes for this boot's LAN key; returns the X25519 public key that records publish.
    fn lan_public_key(&self) -> [u8; 32];

    /// A claim that [`Self::remember`] was given earlier and that has these bytes, if it is still at hand.
    ///
    /// Where one process holds many nodes they may share what they verified: its parsing, its signature under one certificate, and its memory.
    /// Nothing rests on the answer being right: the bytes and the certificate are compared before it is used.
    fn recall(&self, bytes: &[u8]) -> Option<Verified<Claim>> {
        let _ = bytes;
        None
    }

    /// Offers a claim that was verified or signed just now.
    fn remember(&self, claim: &Verified<Claim>) {
        let _ = claim;
    }
}
