//! Until when what a node believes in is good: its roots, the authorities under them and their lists.

use crate::cert::Authority;
use crate::store::TrustStore;

/// What has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credential {
    /// A root's certificate.
    Root,
    /// A datacenter authority's certificate.
    Authority,
    /// A revocation list, which is due again at its end.
    List,
}

/// When something begins and ends, Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// What it is.
    pub credential: Credential,
    /// The trust domain of a root, else a datacenter.
    pub name: String,
    /// Its first second.
    pub begins: u64,
    /// Its last.
    pub ends: u64,
}

impl TrustStore {
    /// Everything that is in use: of several certificates over one key the one that ends last.
    pub fn lives(&self, now_unix: u64) -> Vec<Life> {
        let state = self.state();
        let life = |credential, authority: &Authority| Life {
            credential,
            name: authority.name.clone(),
            begins: authority.not_before,
            ends: authority.not_after,
        };
        let newest = |authority: &&Authority, all: &[&Authority]| {
            let rivals = all.iter().filter(|other| other.key_id == authority.key_id);
            rivals
                .map(|other| other.not_after)
                .max()
                .is_some_and(|latest| latest == authority.not_after)
        };
        let roots: Vec<&Authority> = state
            .roots
            .iter()
            .map(|root| root.authority.as_ref())
            .collect();
        let others: Vec<&Authority> = state.authorities.iter().map(AsRef::as_ref).collect();
        let of = |credential, all: &[&Authority]| -> Vec<Life> {
            let used = all.iter().filter(|authority| newest(authority, all));
            used.map(|authority| life(credential, authority)).collect()
        };
        let lists = self.lists(now_unix).into_iter().map(|list| Life {
            credential: Credential::List,
            name: list
                .datacenter
                .unwrap_or_else(|| self.trust_domain().to_owned()),
            begins: list.this_update,
            ends: list.next_update,
        });
        let mut lives = of(Credential::Root, &roots);
        lives.extend(of(Credential::Authority, &others));
        lives.extend(lists);
        lives
    }
}
