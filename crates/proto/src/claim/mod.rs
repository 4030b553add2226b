//! Signed statements: what is said, by whom, and the only way to come to believe it.
//!
//! A claim on the wire is a COSE_Sign1 (RFC 9052) of one exact form, so that it can be compared literally:
//!
//! ```text
//! 84                                     array of four
//!    55 A2 01 32 04 50 <signer, 16 bytes>   protected header: algorithm Ed25519 (−19, RFC 9864), key id
//!    A0                                     unprotected header: empty, because it is not signed
//!    <bstr payload>                         array-encoded deterministic CBOR, claim type first
//!    58 40 <signature, 64 bytes>
//! ```
//!
//! The protocol, the trust domain and the claim type are bound through the external additional data. The received bytes
//! are what is verified, kept and relayed; nothing is ever re-encoded.

mod body;
mod verify;

pub use body::{
    Accusation, Alive, Basis, Body, Head, Kind, LONGEST_LEAF, Leave, MAX_REASON, MAX_RECORD,
    MIN_FLOOR, Record, Removal, Versions,
};
pub use verify::{Card, Heard, Refused, Verified, verify};

use crate::{
    cbor::Malformed,
    identity::{Incarnation, NodeId},
    trust::Trust,
    view::Status,
};
use aws_lc_rs::digest::{Context, SHA256, digest};
use std::sync::Arc;

/// Largest claim of any kind.
pub const MAX_CLAIM: usize = 320;

/// Everything before the key id.
const BEFORE_SIGNER: [u8; 7] = [0x84, 0x55, 0xa2, 0x01, 0x32, 0x04, 0x50];
/// Where the payload's byte string starts.
const PAYLOAD: usize = BEFORE_SIGNER.len() + 16 + 1;
/// `58 40` and the signature.
const SIGNATURE: usize = 66;
/// What a claim weighs beyond its payload (payloads over 23 bytes).
pub const OVERHEAD: usize = PAYLOAD + 2 + SIGNATURE;

/// A claim that was parsed. Parsed is not believed: see [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who says it.
    pub signer: NodeId,
    /// What is said.
    pub body: Body,
    bytes: Arc<[u8]>,
}

impl Claim {
    /// Reads a claim. The signature is not looked at yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_CLAIM {
            return Err(Malformed::Limit);
        }
        let rest = bytes.strip_prefix(&BEFORE_SIGNER).ok_or(Malformed::Shape)?;
        let (signer, rest) = rest.split_first_chunk::<16>().ok_or(Malformed::Truncated)?;
        let rest = rest.strip_prefix(&[0xa0]).ok_or(Malformed::Shape)?;
        let (payload, rest) = split_bytes(rest)?;
        let signature = rest.strip_prefix(&[0x58, 0x40]).ok_or(Malformed::Shape)?;
        if signature.len() != 64 {
            return Err(Malformed::Trailing);
        }
        Ok(Self {
            signer: NodeId(*signer),
            body: Body::decode(payload)?,
            bytes: bytes.into(),
        })
    }

    /// Signs a claim as this node. The result is verified by construction.
    pub fn sign(trust: &dyn Trust, body: Body) -> Verified<Self> {
        let own = trust.own();
        let claim = Self::sign_as(trust.trust_domain(), own.id, body, |m| trust.sign(m));
        let claim = Verified::own(claim, own);
        trust.remember(&claim);
        claim
    }

    /// Signs a claim with whatever key: what operators say is signed outside any node.
    pub fn sign_as(
        trust_domain: &str,
        signer: NodeId,
        body: Body,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let payload = body.encode();
        let mut bytes = Vec::with_capacity(OVERHEAD + payload.len());
        bytes.extend_from_slice(&BEFORE_SIGNER);
        bytes.extend_from_slice(&signer.0);
        bytes.push(0xa0);
        push_bytes(&mut bytes, &payload);
        let message = to_be_signed(trust_domain, body.kind(), &signer, &payload);
        push_bytes(&mut bytes, &sign(&message));
        Self {
            signer,
            body,
            bytes: bytes.into(),
        }
    }

    /// The claim as received.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// First 8 bytes of SHA-256 over the claim: its name in records' chains and in digests.
    pub fn hash(&self) -> [u8; 8] {
        hash8(&self.bytes)
    }

    /// The member that the claim is about.
    pub fn subject(&self) -> NodeId {
        match &self.body {
            Body::Accusation(a) => a.accused,
            Body::Removal(r) => r.removed,
            Body::Record(_) | Body::Alive(_) | Body::Leave(_) | Body::Head(_) => self.signer,
        }
    }

    /// What it says, if it is a removal.
    pub fn removal(&self) -> Option<&Removal> {
        match &self.body {
            Body::Removal(removal) => Some(removal),
            _ => None,
        }
    }

    /// The incarnation that the claim names, where it names one.
    pub fn incarnation(&self) -> Option<Incarnation> {
        match &self.body {
            Body::Record(r) => Some(r.incarnation),
            Body::Alive(a) => Some(a.incarnation),
            Body::Leave(l) => Some(l.incarnation),
            Body::Accusation(a) => Some(a.incarnation),
            Body::Head(h) => Some(h.incarnation),
            Body::Removal(_) => None,
        }
    }

    fn payload(&self) -> &[u8] {
        // `parse` and `sign` only build bytes of this shape.
        self.bytes
            .get(PAYLOAD..)
            .and_then(|rest| split_bytes(rest).ok())
            .map_or(&[], |(payload, _)| payload)
    }

    fn signature(&self) -> Option<&[u8; 64]> {
        self.bytes.last_chunk::<64>()
    }
}

/// First 8 bytes of SHA-256.
pub fn hash8(bytes: &[u8]) -> [u8; 8] {
    let mut hash = [0; 8];
    hash.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..8]);
    hash
}

/// What a member in this state adds to its roster's set hash: SHA-256 over (id, incarnation, status, record), cut to 8 bytes.
pub(crate) fn state_hash(
    id: &NodeId,
    incarnation: Incarnation,
    status: Status,
    record: [u8; 8],
) -> u64 {
    let mut hash = Context::new(&SHA256);
    hash.update(&id.0);
    hash.update(&incarnation.boot.to_be_bytes());
    hash.update(&incarnation.seq.to_be_bytes());
    hash.update(&[status as u8]);
    hash.update(&record);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish().as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// The Sig_structure of RFC 9052 §4.4.
fn to_be_signed(trust_domain: &str, kind: Kind, signer: &NodeId, payload: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(16 + trust_domain.len());
    bound.extend_from_slice(b"pelago/1/");
    bound.push(kind as u8);
    bound.push(b'/');
    bound.extend_from_slice(trust_domain.as_bytes());
    let mut message = Vec::with_capacity(64 + bound.len() + payload.len());
    message.push(0x84);
    message.push(0x6a);
    message.extend_from_slice(b"Signature1");
    message.extend_from_slice(&BEFORE_SIGNER[1..]);
    message.extend_from_slice(&signer.0);
    push_bytes(&mut message, &bound);
    push_bytes(&mut message, payload);
    message
}

/// Appends a byte string of less than 64 KiB.
fn push_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        n @ 0..=23 => into.push(0x40 | n as u8),
        n @ 24..=255 => into.extend_from_slice(&[0x58, n as u8]),
        n => into.extend_from_slice(&[0x59, (n >> 8) as u8, n as u8]),
    }
    into.extend_from_slice(bytes);
}

/// Splits a byte string in shortest form off the front.
fn split_bytes(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, rest) = match bytes {
        [n @ 0x40..=0x57, rest @ ..] => (usize::from(n & 0x1f), rest),
        [0x58, n @ 24..=255, rest @ ..] => (usize::from(*n), rest),
        [0x59, high @ 1..=255, low, rest @ ..] => {
            (usize::from(*high) << 8 | usize::from(*low), rest)
        }
        _ => return Err(Malformed::Shape),
    };
    rest.split_at_checked(length).ok_or(Malformed::Truncated)
}
