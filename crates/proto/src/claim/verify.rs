//! The only place where belief is made: [`Verified`] cannot be built outside this file.

use super::{Body, Claim, LONGEST_LEAF, Record, state_hash, to_be_signed};
use crate::{
    cbor::Malformed,
    contact::Contact,
    identity::Role,
    trust::{Certified, Trust},
    view::Status,
};
use std::{ops::Deref, sync::Arc};
use thiserror::Error;

/// A claim whose signature and authorship were checked, with the certificate that vouches for its signer. Cheap to clone.
#[derive(Debug)]
pub struct Verified<T>(Arc<Judged<T>>);

#[derive(Debug)]
struct Judged<T> {
    claim: T,
    signer: Arc<Certified>,
    /// [`Claim::hash`].
    hash: [u8; 8],
    /// If it is a record.
    card: Option<Arc<Card>>,
}

/// A verified record, with the certificate that vouches for it: what rosters and pools keep of a member. Only a verified
/// record makes one, and everybody in a process who knows the record shares it.
#[derive(Debug)]
pub struct Card {
    /// What the member says about itself.
    pub record: Arc<Record>,
    /// What its certificate says.
    pub certified: Arc<Certified>,
    /// How to reach it in its datacenter.
    pub contact: Arc<Contact>,
    bytes: Arc<[u8]>,
    hash: [u8; 8],
    living: u64,
}

impl Card {
    /// The record as signed.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// [`Claim::hash`] of the record.
    pub fn hash(&self) -> [u8; 8] {
        self.hash
    }

    /// What the member adds to its roster's set hash while it is alive and has said nothing newer.
    pub fn living(&self) -> u64 {
        self.living
    }
}

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Verified<T> {
    /// What the signer's certificate says.
    pub fn signer(&self) -> &Arc<Certified> {
        &self.0.signer
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.claim
    }
}

impl Verified<Claim> {
    fn new(claim: Claim, signer: Arc<Certified>) -> Self {
        let hash = claim.hash();
        let card = match &claim.body {
            Body::Record(record) => Some(Arc::new(Card {
                record: Arc::clone(record),
                certified: Arc::clone(&signer),
                contact: Arc::new(Contact::lan(record, &signer)),
                bytes: Arc::clone(claim.bytes()),
                hash,
                living: state_hash(&claim.signer, record.incarnation, Status::Alive, hash),
            })),
            Body::Alive(_)
            | Body::Leave(_)
            | Body::Accusation(_)
            | Body::Head(_)
            | Body::Removal(_) => None,
        };
        Self(Arc::new(Judged {
            claim,
            signer,
            hash,
            card,
        }))
    }

    /// Own claims are believed because this node made them.
    pub(super) fn own(claim: Claim, own: Arc<Certified>) -> Self {
        Self::new(claim, own)
    }

    /// What to keep of a member, if this is its record.
    pub fn card(&self) -> Option<&Arc<Card>> {
        self.0.card.as_ref()
    }

    /// [`Claim::hash`], computed once.
    pub fn hash(&self) -> [u8; 8] {
        self.0.hash
    }
}

/// A claim that came in: parsed now, or known in this process from before.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Nothing but parsed.
    Parsed(Claim),
    /// Verified by some node of this process; whether under a certificate that this node accepts is still to be seen.
    Before(Verified<Claim>),
}

impl Heard {
    /// Reads a claim, unless it is still remembered.
    pub fn read(trust: &dyn Trust, bytes: &[u8]) -> Result<Self, Malformed> {
        match trust.recall(bytes) {
            Some(known) if same(known.bytes(), bytes) => Ok(Self::Before(known)),
            _ => Claim::parse(bytes).map(Self::Parsed),
        }
    }
}

/// Whether these are the same bytes; at one place in memory they need not be looked at.
fn same(one: &[u8], other: &[u8]) -> bool {
    std::ptr::eq(one, other) || one == other
}

impl From<Claim> for Heard {
    fn from(claim: Claim) -> Self {
        Self::Parsed(claim)
    }
}

impl Deref for Heard {
    type Target = Claim;
    fn deref(&self) -> &Claim {
        match self {
            Self::Parsed(claim) => claim,
            Self::Before(claim) => claim,
        }
    }
}

/// Why a claim was not believed. Always the fault of its sender or signer; nothing was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The certificate belongs to somebody else.
    #[error("certificate of another node")]
    Signer,
    /// The signature does not fit.
    #[error("bad signature")]
    Signature,
    /// A record names another certificate than the one at hand.
    #[error("record names another certificate")]
    CertificateHash,
    /// A record's name differs from the certificate's.
    #[error("name differs from the certificate")]
    Name,
    /// A record's location differs from the certificate's.
    #[error("location differs from the certificate")]
    Location,
    /// A record's datacenter differs from the certificate's.
    #[error("datacenter differs from the certificate")]
    Datacenter,
    /// A record's role differs from the certificate's, or the signer's role may not say this.
    #[error("role does not allow this")]
    Role,
    /// A record beyond its size.
    #[error("too large")]
    Size,
    /// A removal that lasts longer than any certificate its author could have known.
    #[error("lasts longer than a certificate could")]
    Until,
}

impl Refused {
    /// Stable label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Signer => "claim_signer",
            Self::Signature => "claim_signature",
            Self::CertificateHash => "claim_certificate",
            Self::Name => "claim_name",
            Self::Location => "claim_location",
            Self::Datacenter => "claim_datacenter",
            Self::Role => "claim_role",
            Self::Size => "claim_size",
            Self::Until => "claim_until",
        }
    }
}

/// Checks a claim against its signer's certificate: cheap comparisons first, the signature last. What was verified before
/// under this very certificate needs no second look.
///
/// That an accuser belongs to the accused's datacenter, or an operator to the removed node's, depends on what the receiver
/// knows of the subject and is checked where claims are merged.
pub fn verify(
    trust: &dyn Trust,
    claim: impl Into<Heard>,
    signer: &Arc<Certified>,
) -> Result<Verified<Claim>, Refused> {
    let claim = match claim.into() {
        Heard::Before(known) if known.signer() == signer => return Ok(known),
        Heard::Before(known) => Claim::clone(&known),
        Heard::Parsed(claim) => claim,
    };
    if claim.signer != signer.id {
        return Err(Refused::Signer);
    }
    let may = match &claim.body {
        Body::Head(_) => signer.role == Role::Server,
        Body::Removal(_) => signer.role == Role::Operator,
        Body::Record(_) | Body::Alive(_) | Body::Leave(_) | Body::Accusation(_) => {
            signer.role != Role::Operator
        }
    };
    if !may {
        return Err(Refused::Role);
    }
    if let Body::Record(record) = &claim.body {
        if claim.bytes().len() > super::MAX_RECORD {
            return Err(Refused::Size);
        }
        if record.cert_hash != signer.cert_hash {
            return Err(Refused::CertificateHash);
        }
        if record.name != signer.name {
            return Err(Refused::Name);
        }
        if record.location.datacenter != signer.datacenter {
            return Err(Refused::Datacenter);
        }
        if record.location.zone != signer.zone || record.location.rack != signer.rack {
            return Err(Refused::Location);
        }
        // Only servers have a WAN address or a seat.
        let server = signer.role == Role::Server;
        if record.role != signer.role || (!server && (record.seat || record.wan.is_some())) {
            return Err(Refused::Role);
        }
    }
    if let Body::Removal(removal) = &claim.body
        && removal.until > signer.not_after.saturating_add(LONGEST_LEAF)
    {
        return Err(Refused::Until);
    }
    let message = to_be_signed(
        trust.trust_domain(),
        claim.body.kind(),
        &claim.signer,
        claim.payload(),
    );
    let fits = claim
        .signature()
        .is_some_and(|signature| trust.verify(&signer.public_key, &message, signature));
    if fits {
        let verified = Verified::new(claim, Arc::clone(signer));
        trust.remember(&verified);
        Ok(verified)
    } else {
        Err(Refused::Signature)
    }
}
