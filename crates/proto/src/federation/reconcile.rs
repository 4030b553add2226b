//! Making two rosters alike: set hashes by prefix there, what differs back, then claims for claims.

use super::{
    Federation, Tier,
    stream::{PAGE, PATIENCE, Purpose, WANTED, weight},
};
use crate::{
    identity::{Label, NodeId},
    pool::Gain,
    roster::{bits_for, bucket_of},
    time::Time,
    wire::Ask,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a peer showed of its roster: the entries in the prefixes that differ.
pub(super) struct Shown {
    /// Length of the prefixes, as we asked.
    pub(super) bits: u8,
    /// (id, entry hash).
    pub(super) entries: Vec<(NodeId, u64)>,
    /// The prefixes that the entries cover.
    pub(super) buckets: Vec<u32>,
}

impl Federation {
    /// Begins a reconciliation of one datacenter's roster with one peer.
    pub(super) fn reconcile(&mut self, tier: Tier, with: NodeId, datacenter: &Label, now: Time) {
        let Some(known) = self.catalog.get(datacenter) else {
            return;
        };
        let bits = bits_for(known.roster.len());
        let ask = Ask::Compare {
            datacenter: datacenter.clone(),
            bits,
            buckets: known.roster.buckets(bits),
        };
        let purpose = Purpose::Compare {
            tier,
            to: with,
            datacenter: datacenter.clone(),
            bits,
        };
        self.count("reconciliations");
        if !self.ask(tier, Some(with), None, &ask, PATIENCE, purpose) {
            self.repair_done(datacenter, &with, Gain::Nothing, now);
        }
    }

    /// Second step: asks for what they have otherwise, and tells what we have otherwise.
    pub(super) fn exchange(
        &mut self,
        tier: Tier,
        to: NodeId,
        datacenter: Label,
        shown: &Shown,
        now: Time,
    ) {
        let Some(known) = self.catalog.get(&datacenter) else {
            return;
        };
        let theirs: BTreeMap<NodeId, u64> = shown.entries.iter().copied().collect();
        let buckets: BTreeSet<u32> = shown.buckets.iter().copied().collect();
        let want: Vec<NodeId> = theirs
            .iter()
            .filter(|(id, h)| **id != self.me.id && known.roster.hash_of(id) != **h)
            .map(|(id, _)| *id)
            .take(WANTED)
            .collect();
        let mut give = Vec::new();
        let mut size = 0;
        for (id, hash) in known.roster.hashes() {
            let bucket = u32::try_from(bucket_of(&id, shown.bits));
            let differing = bucket.is_ok_and(|b| buckets.contains(&b));
            let same = theirs.get(&id).is_some_and(|h| *h == hash);
            if differing && !same && hash != 0 && size < PAGE {
                let bundle = self.bundle(&datacenter, &id, now);
                size += bundle.as_ref().map_or(0, weight);
                give.extend(bundle);
            }
        }
        if want.is_empty() && give.is_empty() {
            return self.repair_done(&datacenter, &to, Gain::Nothing, now);
        }
        let purpose = Purpose::Exchange {
            tier,
            to,
            datacenter: datacenter.clone(),
            told: !give.is_empty(),
            more: want.len() == WANTED || size >= PAGE,
        };
        let ask = Ask::Exchange {
            datacenter: datacenter.clone(),
            want,
            give,
        };
        if !self.ask(tier, Some(to), None, &ask, PATIENCE, purpose) {
            self.repair_done(&datacenter, &to, Gain::Nothing, now);
        }
    }

    pub(super) fn repair_done(&mut self, datacenter: &Label, with: &NodeId, gain: Gain, now: Time) {
        if *datacenter == self.me.datacenter {
            self.lan.repair.finished(with, gain, now);
        } else if let Some(known) = self.catalog.get_mut(datacenter) {
            known.repair.finished(with, gain, now);
        }
    }

    /// Starts the reconciliations that are due.
    pub(super) fn tick_repair(&mut self, now: Time) {
        for with in self.lan.repair.due(now) {
            let datacenter = self.me.datacenter.clone();
            self.reconcile(Tier::Lan, with, &datacenter, now);
        }
        let own = &self.me.datacenter;
        let foreign: Vec<Label> = self
            .catalog
            .keys()
            .filter(|dc| *dc != own)
            .cloned()
            .collect();
        for datacenter in foreign {
            let known = self.catalog.get_mut(&datacenter);
            for with in known.map(|k| k.repair.due(now)).unwrap_or_default() {
                let near = self.home(&with) == Some(&self.me.datacenter);
                let tier = if near { Tier::Lan } else { Tier::Wan };
                self.reconcile(tier, with, &datacenter, now);
            }
        }
    }
}
