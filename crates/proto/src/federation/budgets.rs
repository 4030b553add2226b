//! What others may have verified and say: a budget for each peer that relays, for each signer, and for everybody together.
//!
//! Budgets delay and never lose: what they refuse arrives by comparing rosters.

use super::Federation;
use crate::{
    identity::NodeId,
    limit::{Bucket, Rate},
    time::Time,
};
use std::collections::BTreeMap;

/// Peers and signers with a budget of their own.
pub(super) const MAX_BUDGETS: usize = 16_384;

impl Federation {
    /// Whether this peer, and all peers together, may have one more signature checked.
    pub(super) fn may_verify(&mut self, relay: Option<NodeId>, now: Time) -> bool {
        let within =
            relay.is_none_or(|id| take(&mut self.relays, id, self.settings.limits.relay, now));
        within && self.verifications.take(1.0, now)
    }

    /// The same for heads, which are as many again: a peer's claims need not wait for the heads that it brings.
    pub(super) fn may_verify_head(&mut self, relay: NodeId, now: Time) -> bool {
        let rate = self.settings.limits.relay;
        take(&mut self.head_relays, relay, rate, now) && self.verifications.take(1.0, now)
    }

    /// Forgets the budgets of those who are at rest: a new one would be as full.
    pub(super) fn rest_budgets(&mut self, now: Time) {
        let limits = self.settings.limits;
        for (buckets, rate) in [
            (&mut self.budgets, limits.signer),
            (&mut self.relays, limits.relay),
            (&mut self.head_relays, limits.relay),
        ] {
            buckets.retain(|_, bucket| !bucket.take(rate.burst, now));
        }
        self.accusers.rest(now);
    }

    /// Whether this signer, who is proven by now, may say one more thing.
    pub(super) fn may_speak(&mut self, signer: NodeId, now: Time) -> bool {
        take(&mut self.budgets, signer, self.settings.limits.signer, now)
    }
}

/// Takes one token from a peer's own bucket. A full table forgets those that are at rest; while nobody is, newcomers wait.
fn take(buckets: &mut BTreeMap<NodeId, Bucket>, id: NodeId, rate: Rate, now: Time) -> bool {
    if buckets.len() >= MAX_BUDGETS && !buckets.contains_key(&id) {
        buckets.retain(|_, bucket| !bucket.take(rate.burst, now));
        if buckets.len() >= MAX_BUDGETS {
            return false;
        }
    }
    let bucket = buckets.entry(id).or_insert_with(|| Bucket::of(rate, now));
    bucket.take(1.0, now)
}
