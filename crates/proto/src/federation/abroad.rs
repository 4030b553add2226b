//! What comes from abroad about our own datacenter: it stays outside, with few exceptions, each for something that would
//! otherwise be wrong abroad for ever (`docs/adr/0002`, `docs/adr/0004`).

use super::{Federation, admit::Arrival};
use crate::{
    claim::{Basis, Body, Claim, Verified},
    identity::NodeId,
    pool::{Peer, Standing},
    roster::{Entry, k},
    time::Time,
    view::Status,
    wire::{Bundle, Item},
};
use std::time::Duration;

/// Members whose last words are known from abroad only.
pub(super) const MAX_LAST_WORDS: usize = 1_024;
/// Accusations short of a verdict, told by other datacenters about our own, count once they have stood this long.
pub(super) const STOOD: Duration = Duration::from_secs(10);

impl Federation {
    /// What the WAN says about our own datacenter stays outside, but for members the LAN has never heard of, and for
    /// accusations short of a verdict that have stood: without these, whoever was lost together with everybody who knew of
    /// it would stay alive abroad for ever.
    pub(super) fn may_enter_from_wan(&self, claim: &Claim, arrival: Arrival) -> bool {
        match (&claim.body, self.own().roster.get(&claim.subject())) {
            (Body::Record(_), None) | (Body::Removal(_), _) => true,
            (Body::Accusation(a), Some(held)) => {
                let later = a.incarnation > held.incarnation();
                arrival.age >= STOOD && !(later && Self::rests_on(held, &claim.signer))
            }
            _ => false,
        }
    }

    /// Whether nobody but this accuser says anything that counts about somebody lost. Its word about a later life takes the place of that, and who is not lost
    /// does not have its last words heard from abroad, without which the later word counts for nothing.
    fn rests_on(held: &Entry, accuser: &NodeId) -> bool {
        let floor = held.record().floor();
        let mut counting = held.standing().filter(|c| c.counts(floor));
        matches!(held.status, Status::Dead | Status::Unreachable)
            && counting.all(|c| c.accuser.id == *accuser)
    }

    /// Whether somebody found it lost in a life whose words are not here. Whoever said that cannot find it lost in this one, since of one
    /// accuser the later incarnation holds.
    fn is_accused_later(held: &Entry) -> bool {
        let (current, floor) = (held.incarnation(), held.record().floor());
        let mut charges = held.charges().iter();
        charges.any(|c| c.accusation.incarnation > current && c.counts(floor))
    }

    /// Last words that reached only other datacenters enter once they have stood there for a while: nobody can be told of them
    /// any more, and what nobody here accuses would stay alive abroad for ever.
    pub(super) fn has_stood_abroad(&mut self, claim: &Verified<Claim>, now: Time) -> bool {
        let (subject, incarnation) = (claim.subject(), claim.incarnation());
        let entry = self.own().roster.get(&subject);
        let status = entry.map(|entry| entry.status);
        // Nobody here asks whom we do not talk to whether it is still there.
        let lost = self.barred.contains(&subject)
            || entry.is_some_and(Self::is_accused_later)
            || matches!(
                status,
                Some(Status::Unreachable | Status::Dead | Status::Left)
            );
        if !lost {
            self.last_words.remove(&subject);
            return false;
        }
        if self.last_words.len() >= MAX_LAST_WORDS && !self.last_words.contains_key(&subject) {
            self.last_words.pop_first();
        }
        let heard = self.last_words.entry(subject).or_insert((incarnation, now));
        if heard.0 < incarnation {
            *heard = (incarnation, now);
        }
        // In the smaller part of a split they bring somebody back who is well on the other side, and seats are taken by that: a
        // split has time to heal first.
        let aside = status == Some(Status::Unreachable) && !self.lan.in_majority();
        let stood = now.since(heard.1) >= if aside { STOOD * 6 } else { STOOD };
        if stood {
            self.last_words.remove(&subject);
        }
        stood
    }

    /// Abroad a member of ours is known by words of its own that nobody here holds: out of an earlier life that all of us
    /// forgot, or another process with its key. Only the member can put that right, so it is told; we believe our own eyes.
    pub(super) fn tell_of_itself(&mut self, claim: &Verified<Claim>, from: Option<NodeId>) {
        let subject = claim.subject();
        let lost = |peer: &Peer| matches!(peer.standing, Standing::Dead | Standing::Unreachable);
        if Some(subject) == from || self.lan.peer(&subject).is_none_or(lost) {
            return;
        }
        self.push_of_itself(claim);
    }

    fn push_of_itself(&mut self, claim: &Claim) {
        self.count("told_of_itself");
        let item = Item::bare(claim.bytes());
        self.lan.push_to(claim.subject(), &[item]);
    }

    /// The accusations in a bundle that count, if they are as many as a verdict in our own datacenter needs and about somebody who
    /// can be reached here. Whom nobody here reaches either may be dead by the word of those who came back without remembering it.
    pub(super) fn verdict_in(&self, bundle: &Bundle) -> Vec<Claim> {
        let claims = bundle.claims.iter().filter_map(|c| Claim::parse(c).ok());
        let counting: Vec<Claim> = claims.filter(|claim| self.counts_here(claim)).collect();
        if counting.len() >= k(self.own().roster.present()) {
            counting
        } else {
            Vec::new()
        }
    }

    fn counts_here(&self, claim: &Claim) -> bool {
        let Body::Accusation(a) = &claim.body else {
            return false;
        };
        let accused = self.own().roster.get(&a.accused);
        a.quorate
            && accused.is_some_and(|e| {
                e.status != Status::Unreachable
                    && a.incarnation == e.incarnation()
                    && (a.basis == Basis::PortClosed || a.silent >= e.record().floor())
            })
    }

    /// A verdict that stands abroad about somebody who is alive here, by accusers who all are alive here: they started again since
    /// and forgot it, and the accused started again at the very incarnation of the life that they accused. Only the accused can put
    /// that right. In the smaller part of a split the accusers are on the other side, and whom they hold dead stays so.
    pub(super) fn tell_of_verdict(&mut self, verdict: &[Claim], from: Option<NodeId>, now: Time) {
        let roster = &self.own().roster;
        let is_alive = |id: &NodeId| roster.get(id).is_some_and(|e| e.status == Status::Alive);
        if !verdict
            .iter()
            .all(|claim| is_alive(&claim.signer) && is_alive(&claim.subject()))
        {
            return;
        }
        for claim in verdict {
            if claim.subject() == self.me.id {
                self.handle_about_me(claim, from, now);
            } else {
                self.push_of_itself(claim);
            }
        }
    }
}
