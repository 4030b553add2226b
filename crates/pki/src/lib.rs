//! Authorities, certificates and revocation for Pelago: who is who, and who says so.
//!
//! Two halves that share only the profile of a certificate. The *issuing* half (used by `pelago pki`) keeps a root and one authority per datacenter in a directory. The
//! *judging* half is what every node runs: a [`TrustStore`] decides whether a certificate is a
//! member's, and [`server_config`] and [`client_config`] ask it in every TLS handshake.
//!
//! One key algorithm (Ed25519), one provider (aws-lc-rs), one chain shape (root, datacenter
//! authority, leaf), one CRL per issuer: what does not exist cannot be confused.

mod authority;
mod bundle;
mod cert;
mod crl;
mod der;
mod files;
mod identity;
mod inspect;
mod key;
mod layout;
mod ledger;
mod lists;
mod lives;
mod mint;
mod name;
mod pem;
mod refusal;
mod revoke;
mod signer;
mod state;
mod store;
mod tls;

pub use authority::{
    BACKDATE, Initialised, IssueRequest, Issued, LEAF_LIFETIME, MAX_LEAF_LIFETIME,
    MIN_LEAF_LIFETIME, PkiError, init, issue, needs_renewal, renew, renew_datacenter,
};
pub use cert::{Certified, MAX_AUTHORITY, MAX_LEAF};
pub use crl::{CLOCK_SKEW, MAX_CRL};
pub use files::FileError;
pub use identity::{Identity, IdentityError};
pub use inspect::{Check, Inspection, Kind, inspect, verify as verify_file};
pub use key::{CryptoFailure, SMALL_ORDER, SecretKey, is_weak, node_id, spki, verify};
pub use lists::{ListEntry, Weighed};
pub use lives::{Credential, Life};
pub use mint::MintError;
pub use name::{MAX_LABEL, MAX_URI, NameError, Role, SpiffeName, check_label, check_trust_domain};
pub use refusal::Refusal;
pub use revoke::{NewCrl, Target, refresh_crls, revoke};
pub use store::{
    Admission, AuthorityEntry, MAX_AUTHORITIES, MAX_LEAF_VALIDITY, MAX_ROOTS, Policy, StoreError,
    TrustStore,
};
pub use tls::{
    Accept, Contact, Expect, INTRO_ALPN, Peer, UNKNOWN_CA_ALERT, client_config, judge_peer,
    peer_identity, provider, server_config,
};
