//! Making two rosters alike: set hashes by prefix there, what differs back, then claims for claims.

use super::{
    Federation, Tier,
    stream::{PAGE, PATIENCE, Purpose, WANTED, weight},
};
use crate::{
    claim::{Body, Claim},
    identity::{Label, NodeId},
    pool::Gain,
    roster::{bits_for, bucket_of},
    time::Time,
    wire::{Ask, Bundle},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Members asked for in one reconciliation, and members told that the other lacks: the rest comes with the next one.
const AT_MOST: usize = 1_024;
/// Unknown signers asked for in one reconciliation.
const SIGNERS: usize = 64;
/// No new round after this long: with the comparison before and the last answer after it that is when a reconciliation counts as hanging.
const LASTS: Duration = Duration::from_secs(4);

/// What a peer showed of its roster: the entries in the prefixes that differ.
pub(super) struct Shown {
    /// Length of the prefixes, as we asked.
    pub(super) bits: u8,
    /// (id, entry hash).
    pub(super) entries: Vec<(NodeId, u64)>,
    /// The prefixes that the entries cover.
    pub(super) buckets: Vec<u32>,
}

/// Somebody whom a peer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Known otherwise there, with this hash.
    Otherwise(NodeId, u64),
    /// Signed an accusation that came from there. The set hash does not tell who lacks the record of somebody removed, and without it
    /// nobody can verify what that member said of others.
    Signer(NodeId),
}

impl Wanted {
    fn id(&self) -> &NodeId {
        match self {
            Self::Otherwise(id, _) | Self::Signer(id) => id,
        }
    }

    const fn otherwise(&self) -> Option<NodeId> {
        match self {
            Self::Otherwise(id, _) => Some(*id),
            Self::Signer(_) => None,
        }
    }
}

/// What a peer is asked for and told, in as many rounds as that takes.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) tier: Tier,
    pub(super) to: NodeId,
    pub(super) datacenter: Label,
    /// Still to be asked for.
    ask: Vec<Wanted>,
    /// Asked for in this round.
    asked: Vec<Wanted>,
    /// Signers of what came, asked for since nobody here knows them: each once.
    signers: BTreeSet<NodeId>,
    /// What is still to be told.
    tell: Vec<NodeId>,
    /// A page was told since the last news: who teaches us nothing is not told everything.
    told: bool,
    /// What came of it so far.
    gain: Gain,
    /// No new round after this.
    until: Time,
}

impl Exchange {
    /// What came of it if no answer comes any more: to have told something is no gain if nobody says that it arrived.
    pub(super) fn unanswered(&self) -> Gain {
        match self.gain {
            Gain::Learnt => Gain::Learnt,
            Gain::Told | Gain::Nothing => Gain::Nothing,
        }
    }
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

    /// Second step: what they have otherwise is asked for, what they lack is told. Each peer is asked from its own place on, so that
    /// two asked at once answer with different parts.
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
        let ask = theirs
            .range(to..)
            .chain(theirs.range(..to))
            .filter(|(id, h)| **id != self.me.id && known.roster.hash_of(id) != **h)
            .map(|(id, h)| Wanted::Otherwise(*id, *h))
            .take(AT_MOST)
            .collect();
        let tell = known.roster.hashes().filter(|(id, hash)| {
            let bucket = u32::try_from(bucket_of(id, shown.bits));
            // About ourselves nobody knows better.
            let lacks = match theirs.get(id) {
                Some(theirs) => *id == self.me.id && theirs != hash,
                None => *hash != 0,
            };
            lacks && bucket.is_ok_and(|b| buckets.contains(&b))
        });
        let tell = tell.map(|(id, _)| id).take(AT_MOST).collect();
        let exchange = Exchange {
            tier,
            to,
            datacenter,
            ask,
            asked: Vec::new(),
            signers: BTreeSet::new(),
            tell,
            told: false,
            gain: Gain::Nothing,
            until: now + LASTS,
        };
        self.next_round(exchange, now);
    }

    /// Answers came, in the order of the questions, with news or without. What they have otherwise even now, they are told: we know
    /// more. What they left out is asked for again, and so is who signed what cannot be verified.
    pub(super) fn exchanged(
        &mut self,
        mut exchange: Exchange,
        answers: &[Bundle],
        news: bool,
        now: Time,
    ) {
        let mut asked = std::mem::take(&mut exchange.asked);
        let rest = asked.split_off(answers.len().min(asked.len()));
        if !answers.is_empty() {
            exchange.ask.extend(rest);
        }
        asked.retain(|wanted| self.lacks(&exchange.datacenter, wanted));
        let known_for = exchange.signers.len();
        for signer in self.strangers_who_accuse(&exchange.datacenter, answers) {
            if exchange.signers.len() < SIGNERS && exchange.signers.insert(signer) {
                exchange.ask.push(Wanted::Signer(signer));
            }
        }
        if exchange.signers.len() > known_for {
            // Behind their signers, with whom the accusations come once more.
            exchange.ask.extend(asked);
        } else {
            exchange
                .tell
                .extend(asked.iter().filter_map(|w| w.otherwise()));
        }
        if news {
            exchange.gain = Gain::Learnt;
            exchange.told = false;
        }
        self.next_round(exchange, now);
    }

    /// Asks for as many as are answered at once, and tells a page; ends if there is neither.
    fn next_round(&mut self, mut exchange: Exchange, now: Time) {
        let (tier, to) = (exchange.tier, exchange.to);
        let datacenter = exchange.datacenter.clone();
        if now >= exchange.until {
            return self.repair_done(&datacenter, &to, exchange.gain, now);
        }
        exchange
            .ask
            .retain(|wanted| self.lacks(&datacenter, wanted));
        let rest = exchange.ask.split_off(exchange.ask.len().min(WANTED));
        exchange.asked = std::mem::replace(&mut exchange.ask, rest);
        let mut give = Vec::new();
        let mut size = 0;
        while size < PAGE
            && !exchange.told
            && let Some(id) = exchange.tell.pop()
        {
            let bundle = self.bundle(&datacenter, &id, now);
            size += bundle.as_ref().map_or(0, weight);
            give.extend(bundle);
        }
        if exchange.asked.is_empty() && give.is_empty() {
            return self.repair_done(&datacenter, &to, exchange.gain, now);
        }
        if !give.is_empty() {
            exchange.told = true;
            if exchange.gain == Gain::Nothing {
                exchange.gain = Gain::Told;
            }
        }
        let unanswered = exchange.unanswered();
        let ask = Ask::Exchange {
            datacenter: datacenter.clone(),
            want: exchange.asked.iter().map(|w| *w.id()).collect(),
            give,
        };
        if !self.ask(
            tier,
            Some(to),
            None,
            &ask,
            PATIENCE,
            Purpose::Exchange(exchange),
        ) {
            self.repair_done(&datacenter, &to, unanswered, now);
        }
    }

    /// Whether what is wanted is not here yet.
    fn lacks(&self, datacenter: &Label, wanted: &Wanted) -> bool {
        let known = self.catalog.get(datacenter);
        known.is_some_and(|known| match wanted {
            Wanted::Otherwise(id, theirs) => known.roster.hash_of(id) != *theirs,
            Wanted::Signer(id) => known.roster.get(id).is_none(),
        })
    }

    /// Who signed accusations in these answers without being known here.
    fn strangers_who_accuse(&self, datacenter: &Label, answers: &[Bundle]) -> BTreeSet<NodeId> {
        let Some(known) = self.catalog.get(datacenter) else {
            return BTreeSet::new();
        };
        let claims = answers
            .iter()
            .flat_map(|bundle| bundle.claims.iter().skip(1));
        let read = claims.filter_map(|claim| Claim::parse(claim).ok());
        read.filter(|claim| matches!(claim.body, Body::Accusation(_)))
            .map(|claim| claim.signer)
            .filter(|signer| known.roster.get(signer).is_none())
            .collect()
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
