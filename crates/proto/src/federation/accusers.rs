//! Accusers that are refuted again and again are ignored for a while (`docs/adr/0010`).
//!
//! Whoever accuses a member that then refutes it, without k of them saying so, runs up a debt that time pays. While the debt
//! is high the accuser is *doubted*: what it alone holds against a member is taken in every few seconds, not at once. Three
//! things keep this from hurting detection:
//!
//! * Ignored are at most k − 1, those refuted most often. Every member has k + 2 observers, so a verdict does without them;
//!   and if more were refuted, it was the network that lied.
//! * Whom somebody else accuses as well, they may accuse too.
//! * It delays and never decides: what is held back stands at its author, comes again by comparing rosters, and gets in a few
//!   seconds later, so that views end alike.

use super::Federation;
use crate::{
    claim::{Body, Claim},
    identity::{Incarnation, NodeId},
    roster::k,
    time::Time,
};
use std::{collections::BTreeMap, time::Duration};

/// What one refuted accusation costs, in time that pays for it.
const COST: Duration = Duration::from_secs(150);
/// Debt up to which an accuser is believed: three refuted within ten minutes are a bad link, or a victim that pauses.
const TRUSTED: Duration = Duration::from_secs(450);
/// No debt beyond this: ten minutes after its last lie anybody is believed again.
const MOST: Duration = Duration::from_secs(1_050);
/// How often one doubted accuser gets something in all the same.
const TURN: Duration = Duration::from_secs(5);
/// Most accusers with a debt.
pub(super) const MAX_ACCUSERS: usize = 16_384;

/// One accuser's account.
#[derive(Debug)]
struct Account {
    /// When its debt is paid.
    paid: Time,
    /// Refuted since it last had no debt.
    refuted: u64,
    /// When it may next get something in, while it is doubted.
    turn: Time,
}

impl Account {
    fn is_doubted(&self, now: Time) -> bool {
        self.paid.since(now) > TRUSTED
    }
}

/// Everybody who was refuted of late.
#[derive(Debug, Default)]
pub(super) struct Accusers(BTreeMap<NodeId, Account>);

impl Accusers {
    /// An accusation of theirs came to nothing.
    fn refuted(&mut self, accuser: NodeId, now: Time) {
        if self.0.len() >= MAX_ACCUSERS {
            self.rest(now);
        }
        if self.0.len() >= MAX_ACCUSERS && !self.0.contains_key(&accuser) {
            return;
        }
        let account = self.0.entry(accuser).or_insert(Account {
            paid: now,
            refuted: 0,
            turn: now,
        });
        account.paid = (account.paid.max(now) + COST).min(now + MOST);
        account.refuted += 1;
        account.turn = now + TURN;
    }

    /// Whether this one is among the `most` that are to be ignored.
    fn ignores(&self, accuser: &NodeId, most: usize, now: Time) -> bool {
        let Some(account) = self.0.get(accuser).filter(|a| a.is_doubted(now)) else {
            return false;
        };
        let worse = |(id, other): &(&NodeId, &Account)| {
            other.is_doubted(now) && (other.refuted, *id) > (account.refuted, accuser)
        };
        self.0.iter().filter(worse).count() < most
    }

    /// Whether it is not this one's turn yet.
    pub(super) fn must_wait(&self, accuser: &NodeId, now: Time) -> bool {
        self.0.get(accuser).is_some_and(|a| now < a.turn)
    }

    /// What this one alone says got in.
    pub(super) fn took_turn(&mut self, accuser: &NodeId, now: Time) {
        if let Some(account) = self.0.get_mut(accuser) {
            account.turn = now + TURN;
        }
    }

    /// Forgets whoever has no debt any more.
    pub(super) fn rest(&mut self, now: Time) {
        self.0.retain(|_, account| account.paid > now);
    }

    /// It is gone.
    pub(super) fn forget(&mut self, accuser: &NodeId) {
        self.0.remove(accuser);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Federation {
    /// Whether nobody but ignored accusers says what this accusation of another member of our datacenter says.
    pub(super) fn is_doubted(&self, claim: &Claim, now: Time) -> bool {
        let Body::Accusation(accusation) = &claim.body else {
            return false;
        };
        let most = self.most_ignored();
        let ignored = |accuser| self.accusers.ignores(accuser, most, now);
        if !ignored(&claim.signer) {
            return false;
        }
        let charges = self.own().roster.get(&accusation.accused);
        let mut charges = charges.into_iter().flat_map(|entry| entry.charges());
        !charges.any(|charge| {
            charge.accusation.incarnation == accusation.incarnation
                && charge.accuser.id != claim.signer
                && !ignored(&charge.accuser.id)
        })
    }

    /// The same for an accusation of ourselves. What somebody else passes on is held against us elsewhere.
    pub(super) fn is_doubted_about_us(
        &self,
        accuser: &NodeId,
        from: Option<NodeId>,
        now: Time,
    ) -> bool {
        from == Some(*accuser) && self.accusers.ignores(accuser, self.most_ignored(), now)
    }

    /// Who accuses a member of our datacenter at which incarnation, if it takes more to make a verdict.
    pub(super) fn accusers_of(&self, subject: &NodeId) -> (Incarnation, Vec<NodeId>) {
        let Some(entry) = self.own().roster.get(subject) else {
            return Default::default();
        };
        let mut accusers: Vec<_> = entry.standing().map(|c| c.accuser.id).collect();
        if !accusers.is_empty() && accusers.len() > self.most_ignored() {
            accusers.clear();
        }
        (entry.incarnation(), accusers)
    }

    /// What they said was refuted, if the member goes on in the boot it was accused in: another boot was a restart.
    pub(super) fn blame(
        &mut self,
        (accused, accusers): &(Incarnation, Vec<NodeId>),
        refutation: Incarnation,
        now: Time,
    ) {
        if refutation > *accused && refutation.boot == accused.boot {
            for accuser in accusers.iter().filter(|id| **id != self.me.id) {
                self.accusers.refuted(*accuser, now);
            }
        }
    }

    /// One fewer than a verdict takes.
    fn most_ignored(&self) -> usize {
        k(self.own().roster.present()) - 1
    }
}
