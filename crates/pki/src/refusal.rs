//! Why a certificate, an authority or a CRL of somebody else was not accepted. One flat, copyable
//! enum, because a refusal of a peer is something to count and to show, never an error to unwind.

/// The reason for refusing something a peer presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not parsable as what it claims to be.
    #[error("malformed certificate or CRL")]
    Malformed,
    /// Larger than any certificate or CRL of ours.
    #[error("larger than allowed")]
    TooLarge,
    /// No root or datacenter authority that we know issued it.
    #[error("issued by an unknown authority")]
    UnknownIssuer,
    /// The issuer is known, the signature is not its own.
    #[error("the signature is not the issuer's")]
    BadSignature,
    /// Past its end.
    #[error("expired")]
    Expired,
    /// Before its beginning.
    #[error("not yet valid")]
    NotYetValid,
    /// On its issuer's CRL, or its authority is on the root's.
    #[error("revoked")]
    Revoked,
    /// We hold no CRL of an issuer in the chain, so nobody can say: closed.
    #[error("revocation status unknown: no CRL of an issuer in the chain is known")]
    UnknownRevocation,
    /// A CRL is past its next update and the policy is to fail closed.
    #[error("the issuer's CRL is past its next update")]
    RevocationExpired,
    /// Belongs to another federation.
    #[error("wrong trust domain")]
    WrongTrustDomain,
    /// Names a datacenter that its issuer does not speak for, or one that is not admitted here.
    #[error("wrong datacenter")]
    WrongDatacenter,
    /// Outside the strict name grammar.
    #[error("the name breaks the grammar")]
    BadName,
    /// The DNS name is not the one derived from the URI.
    #[error("the URI and DNS names disagree")]
    NameMismatch,
    /// Not exactly one URI and one DNS name.
    #[error("not exactly one URI and one DNS name")]
    SanCount,
    /// This role has no business here.
    #[error("role not admitted here")]
    Role,
    /// Valid, but not the node that was dialled.
    #[error("not the expected peer")]
    WrongPeer,
    /// A small-order public key, for which anybody can sign.
    #[error("weak public key")]
    WeakKey,
    /// Not an Ed25519 key.
    #[error("not an Ed25519 key")]
    KeyType,
    /// Valid for longer than the policy allows.
    #[error("valid for too long")]
    Lifetime,
    /// Not exactly a leaf and its datacenter authority, or a path too long for an authority.
    #[error("the chain is not exactly a leaf and its datacenter authority")]
    ChainLength,
    /// An authority where a leaf belongs, or the other way round.
    #[error("an authority presented as a leaf, or a leaf as an authority")]
    WrongKind,
    /// Key usages other than those of our profile.
    #[error("key usages do not fit")]
    Usage,
    /// Name constraints missing or other than exactly the datacenter's own subtree.
    #[error("name constraints do not fit the datacenter")]
    Constraint,
    /// An extension outside the profile.
    #[error("an extension outside the profile")]
    Extension,
    /// A CRL with a lower number than the one held.
    #[error("a CRL older than the one held")]
    Rollback,
    /// A CRL from the future.
    #[error("a CRL from the future")]
    FromFuture,
    /// The table of authorities is full.
    #[error("too many authorities")]
    Full,
}

impl Refusal {
    /// Every refusal, in declaration order.
    pub const ALL: [Self; 27] = [
        Self::Malformed,
        Self::TooLarge,
        Self::UnknownIssuer,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::UnknownRevocation,
        Self::RevocationExpired,
        Self::WrongTrustDomain,
        Self::WrongDatacenter,
        Self::BadName,
        Self::NameMismatch,
        Self::SanCount,
        Self::Role,
        Self::WrongPeer,
        Self::WeakKey,
        Self::KeyType,
        Self::Lifetime,
        Self::ChainLength,
        Self::WrongKind,
        Self::Usage,
        Self::Constraint,
        Self::Extension,
        Self::Rollback,
        Self::FromFuture,
        Self::Full,
    ];

    /// A stable word for metric labels and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::UnknownIssuer => "unknown-issuer",
            Self::BadSignature => "bad-signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::UnknownRevocation => "unknown-revocation",
            Self::RevocationExpired => "revocation-expired",
            Self::WrongTrustDomain => "wrong-trust-domain",
            Self::WrongDatacenter => "wrong-datacenter",
            Self::BadName => "bad-name",
            Self::NameMismatch => "name-mismatch",
            Self::SanCount => "san-count",
            Self::Role => "role",
            Self::WrongPeer => "wrong-peer",
            Self::WeakKey => "weak-key",
            Self::KeyType => "key-type",
            Self::Lifetime => "lifetime",
            Self::ChainLength => "chain-length",
            Self::WrongKind => "wrong-kind",
            Self::Usage => "usage",
            Self::Constraint => "constraint",
            Self::Extension => "extension",
            Self::Rollback => "rollback",
            Self::FromFuture => "from-future",
            Self::Full => "full",
        }
    }

    /// Its place in [`Refusal::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_indices_fit() {
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index);
            let same = Refusal::ALL.iter().filter(|o| o.label() == refusal.label());
            assert_eq!(same.count(), 1);
        }
    }
}
