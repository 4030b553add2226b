//! Revocation lists as nodes hand them on: which are held, what one claims to be before its signature is looked at, and whom
//! they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cert::Authority;
use crate::crl::MAX_CRL;
use crate::der::Signed;
use crate::refusal::Refusal;
use crate::state::State;
use crate::store::TrustStore;

/// The newest list of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// SHA-256 of the issuer's public key (SPKI).
    pub issuer: [u8; 32],
    /// The datacenter whose authority issued it; `None` for a root's.
    pub datacenter: Option<String>,
    /// Its number.
    pub number: u64,
    /// When it was issued, Unix seconds.
    pub this_update: u64,
    /// When the next one is due, Unix seconds.
    pub next_update: u64,
    /// How many certificates it names.
    pub revoked: usize,
    /// The authority's certificate, DER; `None` for a root's.
    pub certificate: Option<Arc<[u8]>>,
    /// The list, DER.
    pub crl: Arc<[u8]>,
}

/// What a list says of itself, and what is held in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Its number.
    pub number: u64,
    /// The number of the list held, if any.
    pub held: Option<u64>,
}

impl TrustStore {
    /// The newest lists of the roots, and of those datacenter authorities that are neither past their end nor revoked.
    pub fn lists(&self, now_unix: u64) -> Vec<ListEntry> {
        let state = self.state();
        let entry = |authority: &Authority, root: bool| {
            let crl = state.crl(&authority.key_id)?;
            Some(ListEntry {
                issuer: authority.key_id,
                datacenter: (!root).then(|| authority.name.clone()),
                number: crl.number,
                this_update: crl.this_update,
                next_update: crl.next_update,
                revoked: crl.entries().count(),
                certificate: (!root).then(|| Arc::clone(&authority.der)),
                crl: Arc::clone(&crl.der),
            })
        };
        let mut newest: BTreeMap<[u8; 32], &Authority> = BTreeMap::new();
        for authority in &state.authorities {
            if now_unix <= authority.not_after && !is_cut_off(&state, authority) {
                // Of several certificates over one key the one that ends last.
                let held = newest.entry(authority.key_id).or_insert(authority);
                if held.not_after < authority.not_after {
                    *held = authority;
                }
            }
        }
        let roots = state.roots.iter();
        let roots = roots.filter_map(|root| entry(&root.authority, true));
        let others = newest
            .values()
            .filter_map(|authority| entry(authority, false));
        let mut lists: Vec<ListEntry> = roots.chain(others).collect();
        lists.sort_by_key(|list| list.issuer);
        lists
    }

    /// What a list claims to be. No signature is checked, so nothing of it can be believed; but a list that is not newer
    /// than the one held need not be looked at any further.
    pub fn weigh_crl(&self, crl: &[u8]) -> Result<Weighed, Refusal> {
        if crl.len() > MAX_CRL {
            return Err(Refusal::TooLarge);
        }
        let signed = Signed::split(crl).ok_or(Refusal::Malformed)?;
        let issuer = signed.crl_issuer().ok_or(Refusal::Malformed)?;
        let number = signed.crl_number().ok_or(Refusal::Malformed)?;
        let state = self.state();
        let roots = state.roots.iter().map(|root| &root.authority);
        let issuers = roots.chain(&state.authorities);
        // Keys may share a name; then only the signature tells them apart, and the one whose list is oldest decides.
        let held = issuers
            .filter(|authority| authority.subject == issuer)
            .map(|authority| state.crl(&authority.key_id).map(|crl| crl.number))
            .min()
            .ok_or(Refusal::UnknownIssuer)?;
        Ok(Weighed { number, held })
    }

    /// Whether a list held names a leaf that was judged earlier, or its authority. A lookup, unless an authority of its
    /// datacenter was revoked.
    pub fn is_revoked(&self, datacenter: &str, serial: &[u8], leaf: &[u8], now_unix: u64) -> bool {
        let state = self.state();
        let mut cut_off = false;
        for authority in state.authorities.iter().filter(|a| a.name == datacenter) {
            let crl = state.crl(&authority.key_id);
            if crl.is_some_and(|crl| crl.revokes(serial)) {
                return true;
            }
            cut_off |= is_cut_off(&state, authority);
        }
        cut_off && self.certify_ended(leaf, now_unix) == Err(Refusal::Revoked)
    }
}

/// Whether a root's list names an authority.
fn is_cut_off(state: &State, authority: &Authority) -> bool {
    let mut roots = state.roots.iter().map(|root| &root.authority);
    roots.any(|root| {
        let crl = state.crl(&root.key_id);
        root.subject == authority.issuer && crl.is_some_and(|crl| crl.revokes(&authority.serial))
    })
}
