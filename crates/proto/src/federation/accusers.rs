//! Accusers that are refuted again and again are ignored for a while (`docs/adr/0010`).
//!
//! Whoever accuses a member that then refutes it, without k of them saying so, runs up a debt that time pays. While the debt
//! is high the accuser is *doubted*: what it alone holds against a member is taken in every few seconds, not at once. Three
//! things keep this from hurting detection:
//!
//! * Ignored are at most k − 1, those refuted most often, or any number out of one rack where a verdict takes a second one.
//!   Every member has k + 2 observers, so a verdict does without them; and if more were refuted, it was the network that lied.
//! * Whom somebody else accuses as well, they may accuse too.
//! * It delays and never decides: what is held back stands at its author, comes again by comparing rosters, and gets in a few
//!   seconds later, so that views end alike.

use super::Federation;
use crate::{
    claim::{Body, Claim},
    identity::{Incarnation, NodeId},
    roster::k,
    table::Row,
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

    fn doubts(&self, accuser: &NodeId, now: Time) -> bool {
        self.0.get(accuser).is_some_and(|a| a.is_doubted(now))
    }

    /// The doubted, those refuted most often first.
    fn doubted(&self, now: Time) -> Vec<NodeId> {
        let accounts = self.0.iter().filter(|(_, a)| a.is_doubted(now));
        let mut doubted: Vec<_> = accounts.map(|(id, a)| (a.refuted, *id)).collect();
        doubted.sort_unstable_by(|one, other| other.cmp(one));
        doubted.into_iter().map(|(_, id)| id).collect()
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
        if !self.accusers.doubts(&claim.signer, now) {
            return false;
        }
        let ignored = self.ignored(&accusation.accused, now);
        if !ignored.contains(&claim.signer) {
            return false;
        }
        let charges = self.own().roster.get(&accusation.accused);
        let mut charges = charges.into_iter().flat_map(|entry| entry.charges());
        !charges.any(|charge| {
            charge.accusation.incarnation == accusation.incarnation
                && charge.accuser.id != claim.signer
                && !ignored.contains(&charge.accuser.id)
        })
    }

    /// The same for an accusation of ourselves. What somebody else passes on is held against us elsewhere.
    pub(super) fn is_doubted_about_us(
        &self,
        accuser: &NodeId,
        from: Option<NodeId>,
        now: Time,
    ) -> bool {
        from == Some(*accuser)
            && self.accusers.doubts(accuser, now)
            && self.ignored(&self.me.id, now).contains(accuser)
    }

    /// Who accuses a member of our datacenter at which incarnation, if it takes more to make a verdict.
    pub(super) fn accusers_of(&self, subject: &NodeId) -> (Incarnation, Vec<NodeId>) {
        let Some(entry) = self.own().roster.get(subject) else {
            return Default::default();
        };
        let mut accusers: Vec<_> = entry.standing().map(|c| c.accuser.id).collect();
        let mut racks = entry.standing().map(|c| (&c.accuser.zone, &c.accuser.rack));
        let first = racks.next();
        let of_one = racks.all(|rack| Some(rack) == first);
        if accusers.len() > self.most_ignored() && !(of_one && self.takes_two_racks(subject)) {
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

    /// Of the doubted k − 1; or all of one rack where those are more, if a verdict about this member takes a second rack: whoever else
    /// accuses it vouches for them.
    fn ignored(&self, accused: &NodeId, now: Time) -> Vec<NodeId> {
        let mut doubted = self.accusers.doubted(now);
        let mut racks = BTreeMap::<_, Vec<_>>::new();
        for entry in doubted.iter().filter_map(|id| self.own().roster.get(id)) {
            racks.entry(entry.rack()).or_default().push(*entry.id());
        }
        let most = self.most_ignored();
        match racks.into_values().max_by_key(Vec::len) {
            Some(near) if near.len() > most && self.takes_two_racks(accused) => near,
            _ => {
                doubted.truncate(most);
                doubted
            }
        }
    }

    fn takes_two_racks(&self, accused: &NodeId) -> bool {
        let roster = &self.own().roster;
        let rule = roster.get(accused).map(|entry| roster.rule(entry));
        rule.is_some_and(|rule| rule.racks > 1)
    }

    /// One fewer than a verdict takes.
    fn most_ignored(&self) -> usize {
        k(self.own().roster.present()) - 1
    }
}
