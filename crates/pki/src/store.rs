//! What one running node trusts: roots, datacenter authorities (configured or learnt), and exactly
//! one CRL per issuer. A single place holds it, so that a new CRL acts on the next handshake and the
//! next datagram alike, and so that no list of CRLs ever reaches webpki, which believes the first
//! one it finds, however old.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage};
use webpki::{RevocationOptions, RevocationOptionsBuilder};

use crate::cert::{Authority, Certified, MAX_LEAF};
use crate::crl::{CLOCK_SKEW, Crl};
use crate::files::FileError;
use crate::key::sha256;
use crate::name::check_trust_domain;
use crate::refusal::Refusal;
use crate::state::{State, issued_by, parse_root, refusal_of};
use crate::{bundle, name::NameError};

/// The most datacenter authorities a node keeps.
pub const MAX_AUTHORITIES: usize = 256;
/// The most roots: one, and its successors during a rollover.
pub const MAX_ROOTS: usize = 8;

/// The longest validity of a leaf that nodes accept, back-dating included.
pub const MAX_LEAF_VALIDITY: Duration = Duration::from_secs(73 * 3600);

/// What a store does where the standards leave a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Refuse everything under an issuer whose CRL is past its next update. Off by default: an
    /// authority that cannot be reached must not dissolve a datacenter, and leaves are short-lived.
    pub fail_closed: bool,
    /// The longest validity of a leaf, back-dating included.
    pub max_leaf_lifetime: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fail_closed: false,
            max_leaf_lifetime: MAX_LEAF_VALIDITY,
        }
    }
}

/// Why a store cannot be built from what was configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file cannot be read or holds something else.
    #[error(transparent)]
    File(#[from] FileError),
    /// The trust domain's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no root certificate.
    #[error("no root certificate: the bundle must hold the federation's root")]
    NoRoot,
    /// A root is not acceptable.
    #[error("root certificate {index}: {refusal}")]
    Root {
        /// Its place in the bundle, from 0.
        index: usize,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A datacenter authority is not acceptable.
    #[error("datacenter authority {index}: {refusal}")]
    Authority {
        /// Its place in the bundle, from 0.
        index: usize,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A CRL is not acceptable.
    #[error("CRL {index}: {refusal}")]
    Crl {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A directory of CRLs without the root's; without it nothing could ever be verified.
    #[error("no CRL of the root: `pelago pki init` writes the first, `pelago pki crl` a new one")]
    NoRootCrl,
}

/// What handing something to a store changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// An authority that was not known, or the first CRL of one.
    New,
    /// A CRL with a higher number than the one held.
    NewCrl,
    /// Nothing that was not known already.
    Known,
}

/// A known datacenter authority, as it is handed on to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityEntry {
    /// The datacenter it speaks for.
    pub datacenter: String,
    /// The certificate, DER.
    pub certificate: Arc<[u8]>,
    /// Its newest CRL, DER; empty while none is known, and then nothing it issued is accepted.
    pub crl: Arc<[u8]>,
    /// The CRL's number; 0 while none is known.
    pub crl_number: u64,
    /// When the next CRL is due, Unix seconds; 0 while none is known.
    pub crl_next_update: u64,
    /// End of the certificate's validity, Unix seconds.
    pub not_after: u64,
}

struct Shared {
    trust_domain: String,
    policy: Policy,
    state: ArcSwap<State>,
    /// Serialises writers; readers never wait.
    writing: Mutex<()>,
    /// How handshakes were judged: accepted, then one cell per refusal.
    judged: [AtomicU64; Refusal::ALL.len() + 1],
}

/// What a node trusts. Clones share one content, so whoever holds one sees every change.
#[derive(Clone)]
pub struct TrustStore(Arc<Shared>);

impl TrustStore {
    /// Builds a store. Authorities must be signed by one of the roots; of several CRLs of one
    /// issuer the highest number is kept. Validity in time and revocation are judged later, at
    /// every use.
    pub fn new(
        trust_domain: &str,
        roots: Vec<CertificateDer<'static>>,
        authorities: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
        policy: Policy,
    ) -> Result<Self, StoreError> {
        check_trust_domain(trust_domain)?;
        let mut state = State::default();
        for (index, der) in roots.iter().enumerate() {
            if index >= MAX_ROOTS {
                let refusal = Refusal::Full;
                return Err(StoreError::Root { index, refusal });
            }
            let root = parse_root(der, trust_domain);
            state
                .roots
                .push(root.map_err(|refusal| StoreError::Root { index, refusal })?);
        }
        if state.roots.is_empty() {
            return Err(StoreError::NoRoot);
        }
        for (index, der) in authorities.iter().enumerate() {
            let failed = |refusal| StoreError::Authority { index, refusal };
            if state.authorities.len() >= MAX_AUTHORITIES {
                return Err(failed(Refusal::Full));
            }
            let root = state.root_of(der).map_err(failed)?;
            let authority = issued_by(&root.authority, der, trust_domain).map_err(failed)?;
            if !state.knows(&authority) {
                state.authorities.push(Arc::new(authority));
            }
        }
        for (index, der) in crls.iter().enumerate() {
            match state.attribute(der) {
                Ok((issuer, crl)) => {
                    // A lower number than one already taken is an old file, not an attack.
                    let _ = state.offer_crl(issuer, crl);
                }
                // Of an authority that is yet to be learnt; what it issued stays refused.
                Err(Refusal::UnknownIssuer) => {}
                // Of a root of the same name that went, or is yet to come: files change one by one.
                Err(Refusal::BadSignature) if state.signs_elsewhere(der) => {}
                Err(refusal) => return Err(StoreError::Crl { index, refusal }),
            }
        }
        Ok(Self(Arc::new(Shared {
            trust_domain: trust_domain.to_owned(),
            policy,
            state: ArcSwap::from_pointee(state),
            writing: Mutex::new(()),
            judged: std::array::from_fn(|_| AtomicU64::new(0)),
        })))
    }

    /// Reads the bundle (`ca.pem`: roots and datacenter authorities) and the directory of CRLs
    /// (`*.crl`, PEM). The trust domain is read from the first root. Without a directory the
    /// store refuses everything until CRLs are admitted.
    pub fn load(
        ca_bundle: &Path,
        crl_dir: Option<&Path>,
        policy: Policy,
    ) -> Result<Self, StoreError> {
        let (roots, authorities) = bundle::read(ca_bundle)?;
        let crls = crl_dir.map(bundle::read_crls).transpose()?;
        let trust_domain = roots.first().ok_or(StoreError::NoRoot)?;
        let trust_domain = Authority::root(trust_domain)
            .map_err(|refusal| StoreError::Root { index: 0, refusal })?
            .name;
        let required = crls.is_some();
        let crls = crls.unwrap_or_default();
        let store = Self::new(&trust_domain, roots, authorities, crls, policy)?;
        if required && store.root_crl().is_none() {
            return Err(StoreError::NoRootCrl);
        }
        Ok(store)
    }

    /// Re-reads the same files into this store. Roots are taken as they are now; authorities and
    /// CRLs that were learnt stay, as long as a present root vouches for them; no CRL goes back.
    /// Says whether anything changed. On an error nothing does.
    pub fn reload(&self, ca_bundle: &Path, crl_dir: Option<&Path>) -> Result<bool, StoreError> {
        let fresh = Self::load(ca_bundle, crl_dir, self.0.policy)?;
        if fresh.trust_domain() != self.trust_domain() {
            let refusal = Refusal::WrongTrustDomain;
            return Err(StoreError::Root { index: 0, refusal });
        }
        let fresh = fresh.0.state.load_full();
        let changed = self.change(|state| {
            let mut next = State::clone(&fresh);
            for authority in &state.authorities {
                let vouched = next.root_of(&authority.der).is_ok();
                if vouched && !next.knows(authority) && next.authorities.len() < MAX_AUTHORITIES {
                    next.authorities.push(Arc::clone(authority));
                }
            }
            for (key, held) in &state.crls {
                let wanted = next.trusts(key);
                let position = next.crls.iter().position(|(k, _)| k == key);
                match position.and_then(|at| next.crls.get_mut(at)) {
                    Some((_, crl)) if crl.number <= held.number => *crl = Arc::clone(held),
                    None if wanted => next.crls.push((*key, Arc::clone(held))),
                    _ => {}
                }
            }
            next.generation = state.generation;
            let same = next.same(state);
            *state = next;
            Ok(!same)
        });
        Ok(changed.unwrap_or(false))
    }

    /// Judges a leaf completely: chain, signatures, revocation, time, names, key, lifetime.
    pub fn certify(&self, leaf: &[u8], now_unix: u64) -> Result<Certified, Refusal> {
        let state = self.0.state.load();
        let parsed = parse_leaf(leaf)?;
        let parsed = EndEntityCert::try_from(&parsed).map_err(|error| refusal_of(&error))?;
        let mut refusal = Refusal::UnknownIssuer;
        for authority in &state.authorities {
            // An authority past its end is as good as unknown: its successor is to be learnt.
            if authority.subject != parsed.issuer() || now_unix > authority.not_after {
                continue;
            }
            let judged = self.judge(&state, leaf, &parsed, authority, now_unix, Revocation::Full);
            match judged {
                Ok(certified) => return Ok(certified),
                // Another authority of the same name may have signed it.
                Err(Refusal::BadSignature) if refusal != Refusal::UnknownIssuer => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// The same for what was signed with it earlier: that the leaf ended since is forgiven.
    pub fn certify_ended(&self, leaf: &[u8], now_unix: u64) -> Result<Certified, Refusal> {
        match self.certify(leaf, now_unix) {
            // Its authority's signature was found good before its end was looked at.
            Err(Refusal::Expired) => {
                let ended = Certified::unjudged(leaf, [0; 32])?.not_after;
                self.certify(leaf, now_unix.min(ended))
            }
            judged => judged,
        }
    }

    /// The authority that issued a judged leaf, DER: the presented one if it is known, because what
    /// was presented beside a good leaf has not been judged itself.
    pub(crate) fn issuer(&self, leaf: &Certified, presented: &[u8]) -> Option<Arc<[u8]>> {
        let state = self.0.state.load();
        let issuers = state.authorities.iter();
        let issuers = issuers.filter(|authority| authority.key_id == leaf.issuer);
        let issuer = issuers.max_by_key(|a| (a.der.as_ref() == presented, a.not_after));
        issuer.map(|authority| Arc::clone(&authority.der))
    }

    /// Judges a leaf under an authority that a root of ours signed but that is not known yet, or
    /// whose CRL is not: everything except what only that CRL could tell. Good for one purpose: to
    /// let both sides hand over authority and CRL.
    pub(crate) fn introduce(
        &self,
        leaf: &[u8],
        authority: &[u8],
        now_unix: u64,
    ) -> Result<Certified, Refusal> {
        let state = self.0.state.load();
        let authority = self.check_authority(&state, authority, now_unix)?;
        if state.crl(&authority.key_id).is_some() && state.knows(&authority) {
            // Nothing is missing, so there is nothing to be lenient about.
            return self.certify(leaf, now_unix);
        }
        let parsed = parse_leaf(leaf)?;
        let parsed = EndEntityCert::try_from(&parsed).map_err(|error| refusal_of(&error))?;
        let revocation = Revocation::LeafUnknown;
        self.judge(&state, leaf, &parsed, &authority, now_unix, revocation)
    }

    /// Learns a datacenter authority that a root of ours signed, with its CRL.
    pub fn admit_authority(
        &self,
        ca: &[u8],
        crl: &[u8],
        now_unix: u64,
    ) -> Result<Admission, Refusal> {
        self.change(|state| {
            let authority = self.check_authority(state, ca, now_unix)?;
            let crl = Crl::parse(crl, &authority)?;
            self.check_crl(&crl, now_unix)?;
            let known = state.knows(&authority);
            if !known {
                if state.authorities.len() >= MAX_AUTHORITIES {
                    state.forget_ended(now_unix);
                }
                if state.authorities.len() >= MAX_AUTHORITIES {
                    return Err(Refusal::Full);
                }
            }
            // Somebody who is behind offers an old CRL in good faith.
            let admission = match state.offer_crl(authority.key_id, crl) {
                Err(Refusal::Rollback) => Admission::Known,
                other => other?,
            };
            if known {
                return Ok(admission);
            }
            state.authorities.push(Arc::new(authority));
            Ok(Admission::New)
        })
    }

    /// Takes a CRL of any known issuer if its number is higher than that of the one held.
    pub fn admit_crl(&self, crl: &[u8], now_unix: u64) -> Result<Admission, Refusal> {
        self.change(|state| {
            let (issuer, crl) = state.attribute(crl)?;
            self.check_crl(&crl, now_unix)?;
            state.offer_crl(issuer, crl)
        })
    }

    /// The known datacenter authorities, with their CRLs.
    pub fn authorities(&self) -> Vec<AuthorityEntry> {
        let state = self.0.state.load();
        let entry = |authority: &Arc<Authority>| {
            let crl = state.crl(&authority.key_id);
            AuthorityEntry {
                datacenter: authority.name.clone(),
                certificate: Arc::clone(&authority.der),
                crl: crl.map_or_else(Arc::default, |crl| Arc::clone(&crl.der)),
                crl_number: crl.map_or(0, |crl| crl.number),
                crl_next_update: crl.map_or(0, |crl| crl.next_update),
                not_after: authority.not_after,
            }
        };
        state.authorities.iter().map(entry).collect()
    }

    /// The root's CRL, DER; during a rollover that of the first root that has one.
    pub fn root_crl(&self) -> Option<Arc<[u8]>> {
        self.root_crls().into_iter().next()
    }

    /// The CRLs of all roots, DER.
    pub fn root_crls(&self) -> Vec<Arc<[u8]>> {
        let state = self.0.state.load();
        let keys = state.roots.iter().map(|root| root.authority.key_id);
        keys.filter_map(|key| Some(Arc::clone(&state.crl(&key)?.der)))
            .collect()
    }

    /// The federation's name.
    pub fn trust_domain(&self) -> &str {
        &self.0.trust_domain
    }

    /// The policy it was built with.
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    /// A short tag of the federation for packets and signatures: the first 8 bytes of
    /// SHA-256("pelago" ‖ 0 ‖ trust domain). No root key goes into it, because signed claims
    /// contain it and must outlive a root rollover; who belongs to the federation is decided by
    /// certificates, never by this tag.
    pub fn cluster_id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&sha256(format!("pelago\0{}", self.0.trust_domain).as_bytes())[..8]);
        id
    }

    /// The content at this moment.
    pub(crate) fn state(&self) -> Arc<State> {
        self.0.state.load_full()
    }

    /// Rises with every change of the content.
    pub fn generation(&self) -> u64 {
        self.0.state.load().generation
    }

    /// How handshakes were judged so far: `accepted`, then every refusal that occurred.
    pub fn handshakes(&self) -> Vec<(&'static str, u64)> {
        let labels = Refusal::ALL.iter().map(|refusal| refusal.label());
        std::iter::once("accepted")
            .chain(labels)
            .zip(&self.0.judged)
            .map(|(label, count)| (label, count.load(Ordering::Relaxed)))
            .filter(|(label, count)| *count > 0 || *label == "accepted")
            .collect()
    }

    pub(crate) fn count<T>(&self, outcome: &Result<T, Refusal>) {
        let index = outcome.as_ref().err().map_or(0, |r| r.index() + 1);
        if let Some(cell) = self.0.judged.get(index) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes the content under the writers' lock; the change is published only if it succeeds
    /// and is not `Known`.
    fn change<T: Changed>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let _writing = self
            .0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut next = State::clone(&self.0.state.load());
        let outcome = change(&mut next)?;
        if outcome.changed() {
            next.generation += 1;
            self.0.state.store(Arc::new(next));
        }
        Ok(outcome)
    }

    /// Verifies an authority against our roots and the root's CRL.
    fn check_authority(&self, state: &State, ca: &[u8], now: u64) -> Result<Authority, Refusal> {
        let root = state.root_of(ca)?;
        let authority = issued_by(&root.authority, ca, &self.0.trust_domain)?;
        root.authority.valid_at(now)?;
        authority.valid_at(now)?;
        let crl = self.usable_crl(state, &root.authority, now)?;
        if crl.revokes(&authority.serial) {
            return Err(Refusal::Revoked);
        }
        Ok(authority)
    }

    fn check_crl(&self, crl: &Crl, now: u64) -> Result<(), Refusal> {
        if crl.this_update > now.saturating_add(CLOCK_SKEW) {
            return Err(Refusal::FromFuture);
        }
        Ok(())
    }

    /// The CRL of an issuer, unless there is none or the policy forbids an expired one.
    fn usable_crl<'a>(
        &self,
        state: &'a State,
        issuer: &Authority,
        now: u64,
    ) -> Result<&'a Crl, Refusal> {
        let crl = state
            .crl(&issuer.key_id)
            .ok_or(Refusal::UnknownRevocation)?;
        if self.0.policy.fail_closed && crl.expired_at(now) {
            return Err(Refusal::RevocationExpired);
        }
        Ok(crl)
    }

    /// webpki first, then everything it does not check.
    fn judge(
        &self,
        state: &State,
        der: &[u8],
        leaf: &EndEntityCert<'_>,
        authority: &Authority,
        now: u64,
        revocation: Revocation,
    ) -> Result<Certified, Refusal> {
        authority.signed(der)?;
        let root = state.root_of(&authority.der)?;
        root.authority.valid_at(now)?; // webpki ignores a trust anchor's dates
        let root_crl = self.usable_crl(state, &root.authority, now)?;
        let mut crls: Vec<&CertRevocationList<'_>> = vec![&root_crl.list];
        if revocation == Revocation::Full {
            crls.push(&self.usable_crl(state, authority, now)?.list);
        }
        let options = match revocation {
            Revocation::Full => Some(self.options(&crls)?),
            // The authority itself was looked up in the root's CRL by `check_authority`.
            Revocation::LeafUnknown => None,
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
        leaf.verify_for_usage(
            &[webpki::aws_lc_rs::ED25519],
            std::slice::from_ref(root.anchor.as_ref()),
            &[CertificateDer::from(authority.der.as_ref())],
            time,
            KeyUsage::client_auth(),
            options,
            None,
        )
        .map_err(|error| refusal_of(&error))?;
        let certified = Certified::of(der, &self.0.trust_domain, authority)?;
        let lifetime = certified.not_after.saturating_sub(certified.not_before);
        if lifetime > self.0.policy.max_leaf_lifetime.as_secs() {
            return Err(Refusal::Lifetime);
        }
        Ok(certified)
    }

    fn options<'a>(
        &self,
        crls: &'a [&'a CertRevocationList<'a>],
    ) -> Result<RevocationOptions<'a>, Refusal> {
        let expiry = if self.0.policy.fail_closed {
            ExpirationPolicy::Enforce
        } else {
            ExpirationPolicy::Ignore
        };
        // Depth "chain" and status "deny" are the defaults, and an empty list is refused here.
        RevocationOptionsBuilder::new(crls)
            .map(|builder| builder.with_expiration_policy(expiry).build())
            .map_err(|_| Refusal::UnknownRevocation)
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.load();
        f.debug_struct("TrustStore")
            .field("trust_domain", &self.0.trust_domain)
            .field("policy", &self.0.policy)
            .field("generation", &state.generation)
            .field("roots", &state.roots.len())
            .field("authorities", &state.authorities.len())
            .field("crls", &state.crls.len())
            .finish()
    }
}

/// How much a missing CRL of the leaf's issuer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revocation {
    Full,
    LeafUnknown,
}

/// Whether an operation on the state changed it.
trait Changed {
    fn changed(&self) -> bool;
}

impl Changed for Admission {
    fn changed(&self) -> bool {
        *self != Self::Known
    }
}

impl Changed for bool {
    fn changed(&self) -> bool {
        *self
    }
}

fn parse_leaf(leaf: &[u8]) -> Result<CertificateDer<'_>, Refusal> {
    if leaf.len() > MAX_LEAF {
        return Err(Refusal::TooLarge);
    }
    Ok(CertificateDer::from(leaf))
}
