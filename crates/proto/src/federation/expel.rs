//! Who is dropped because trust in its certificate, or in who issued it, was withdrawn.

use super::Federation;
use crate::{
    claim::{Claim, Verified},
    identity::Label,
    time::Time,
    trust::Certified,
    view::EventKind,
};
use std::sync::Arc;

impl Federation {
    /// Drops everybody whose certificate no longer holds.
    pub(super) fn expel(&mut self, now: Time) {
        let trust = Arc::clone(&self.trust);
        self.expel_unless(now, |c| {
            // An expired certificate has its own, later end; what counts here is that trust was withdrawn.
            trust
                .certify(&c.leaf)
                .map_or_else(|why| why.0 == "expired", |_| true)
        });
    }

    /// Drops everybody whom a revocation list names. Returns how many.
    pub(super) fn expel_revoked(&mut self, now: Time) -> usize {
        let trust = Arc::clone(&self.trust);
        self.expel_unless(now, |c| !trust.is_revoked(c))
    }

    fn expel_unless(&mut self, now: Time, holds: impl Fn(&Certified) -> bool) -> usize {
        let unix = self.trust.unix_time();
        let me = self.me.id;
        let mut expelled = 0;
        let datacenters: Vec<Label> = self.catalog.keys().cloned().collect();
        for datacenter in datacenters {
            let trust = Arc::clone(&self.trust);
            let Some(known) = self.catalog.get_mut(&datacenter) else {
                continue;
            };
            let gone = known.roster.expel(now, unix, |c| c.id == me || holds(c));
            // What an operator signed falls with its certificate; that it ended since is no matter.
            let stands = |removal: &Verified<Claim>| !trust.is_revoked(removal.signer());
            let back = known.roster.revoke_removals(now, unix, stands);
            expelled += gone.len();
            for one in gone {
                let why = "its certificate is no longer trusted";
                self.let_go(&datacenter, one, EventKind::Removed, why, now);
            }
            for id in back {
                self.after_merge(&datacenter, id, None, now);
                self.remember_removals();
            }
            let is_empty = |known: &crate::catalog::Known| known.roster.is_empty();
            if datacenter != self.me.datacenter
                && self.catalog.get(&datacenter).is_some_and(is_empty)
            {
                self.catalog.remove(&datacenter);
            }
        }
        expelled
    }
}
