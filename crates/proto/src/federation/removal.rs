//! Removals as this node takes them: handed in by an operator, told to whom they concern, kept over restarts.

use super::{Federation, Tier, admit::Arrival};
use crate::{
    claim::{Claim, Refused, verify},
    identity::{Label, NodeId},
    pool::Route,
    time::Time,
    trust::{Certified, Refusal},
    view::Status,
    wire::{Ask, Bundle, Frame, Item, Reply},
};
use std::time::Duration;
use thiserror::Error;

/// A removal that is in force here now, and on its way to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedIn {
    /// Whom it removes.
    pub removed: NodeId,
    /// Its name, if it is known here.
    pub name: Option<Label>,
    /// The datacenter that it is removed from.
    pub datacenter: Label,
    /// Unix seconds: the later end, if one was in force before.
    pub until: u64,
}

/// Why a removal was not taken. The fault of whoever hands it in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// It is something else, or damaged.
    #[error("this is not a signed removal")]
    Malformed,
    /// The operator's certificate.
    #[error("the operator's certificate is not accepted: {0}")]
    Certificate(Refusal),
    /// Its author or its signature.
    #[error("the removal is not accepted: {0}")]
    Refused(Refused),
    /// Its time is over.
    #[error("the removal ended already")]
    Over,
    /// Operators remove members of their own datacenter.
    #[error("the member belongs to {member}, and the operator to {operator}")]
    Elsewhere {
        /// The member's datacenter.
        member: Label,
        /// The operator's.
        operator: Label,
    },
    /// Nobody here could pass it on.
    #[error("this node knows nothing of {0}: hand it to a server, or to a node there")]
    NoWay(Label),
    /// Later, please.
    #[error("too many removals at once: try again in a second")]
    Busy,
    /// Too many are in force.
    #[error("too many removals are in force")]
    Full,
}

impl Federation {
    /// Takes a removal from an operator, whoever carries it here, and spreads it.
    pub fn hand_in_removal(&mut self, item: &Item, now: Time) -> Result<HandedIn, RemovalError> {
        let claim = Claim::parse(&item.claim).map_err(|_| RemovalError::Malformed)?;
        let removal = claim.removal().ok_or(RemovalError::Malformed)?;
        let (removed, until) = (removal.removed, removal.until);
        let leaf = item.leaf.as_ref().ok_or(RemovalError::Malformed)?;
        if !self.decisions.take(1.0, now) {
            return Err(RemovalError::Busy);
        }
        let operator = self
            .trust
            .certify_ended(leaf)
            .map_err(RemovalError::Certificate)?;
        verify(&*self.trust, claim, &operator).map_err(RemovalError::Refused)?;
        if until < self.trust.unix_time() {
            return Err(RemovalError::Over);
        }
        let datacenter = operator.datacenter.clone();
        if let Some(home) = self.home(&removed).filter(|home| **home != datacenter) {
            return Err(RemovalError::Elsewhere {
                member: home.clone(),
                operator: datacenter,
            });
        }
        if !self.catalog.contains(&datacenter) {
            return Err(RemovalError::NoWay(datacenter));
        }
        self.tell_removed(&removed, item, now);
        let arrival = Arrival {
            from: None,
            tier: Tier::Lan,
            bulk: false,
            age: Duration::ZERO,
        };
        self.accept(&item.claim, Some(leaf), arrival, now);
        self.settle(now);
        let roster = self.catalog.get(&datacenter).map(|known| &known.roster);
        let removal = roster.and_then(|roster| roster.removal(&removed));
        let held = removal.ok_or(RemovalError::Full)?;
        let entry = roster.and_then(|roster| roster.get(&removed));
        Ok(HandedIn {
            removed,
            name: entry.map(|entry| entry.record().name.clone()),
            until: held.removal().map_or(until, |removal| removal.until),
            datacenter,
        })
    }

    /// Whom it concerns hears it while it can still be talked to: afterwards its packets are not opened any more.
    fn tell_removed(&mut self, id: &NodeId, item: &Item, now: Time) {
        let frame = Frame::News {
            news: vec![item.clone()],
        };
        self.transmit(
            Tier::Lan,
            *id,
            &frame,
            frame.encode().into(),
            Route::Main,
            now,
        );
    }

    /// A removal in our own datacenter took effect.
    pub(super) fn after_removal(&mut self, removed: NodeId) {
        self.remember_removals();
        let status = self.own().roster.get(&removed).map(|entry| entry.status);
        if removed == self.me.id && status == Some(Status::Removed) && !self.left {
            self.count("removed");
            self.left = true;
        }
    }

    /// A removal of whoever this certificate belongs to.
    pub(super) fn removal_of(&self, peer: &Certified) -> Option<Item> {
        let roster = &self.catalog.get(&peer.datacenter)?.roster;
        let removal = roster.removal(&peer.id)?;
        roster
            .is_removed(&peer.id, self.trust.unix_time())
            .then(|| Item::with_leaf(removal))
    }

    /// Somebody removed gets one answer, whatever it asks, as far as the question has a place for it.
    pub(super) fn answer_removed(&mut self, ask: &Ask, removal: Item) -> Option<Reply> {
        self.count("told_removed");
        let you = Bundle {
            removal: Some(removal.clone()),
            ..Bundle::default()
        };
        match ask {
            Ask::Probe { .. } => Some(Reply::Here {
                news: vec![removal],
            }),
            Ask::Pull { .. } => Some(Reply::Page {
                bundles: Vec::new(),
                next: None,
                you: Some(you),
            }),
            Ask::Introduce { .. } => Some(Reply::Met {
                me: Bundle::default(),
                you: Some(you),
                digest: 0,
            }),
            Ask::Seats { .. } => Some(Reply::Seats {
                bundles: vec![you],
                authorities: Vec::new(),
            }),
            Ask::Compare { .. } | Ask::Exchange { .. } | Ask::Heads | Ask::Lists { .. } => None,
        }
    }

    /// Takes back what was in force when this node last stopped.
    pub(super) fn recall_removals(&mut self, now: Time) {
        let arrival = Arrival {
            from: None,
            tier: Tier::Lan,
            bulk: true,
            age: Duration::ZERO,
        };
        for item in self.memory.removals.clone() {
            self.accept(&item.claim, item.leaf.as_ref(), arrival, now);
        }
        // Without those that are over, or whose authors lost their say meanwhile.
        self.remember_removals();
    }

    /// Removals are kept over restarts.
    pub(super) fn remember_removals(&mut self) {
        let removals: Vec<Item> = self.own().roster.removals().map(Item::with_leaf).collect();
        if removals != self.memory.removals {
            self.memory.removals = removals;
            self.memory_out = Some(self.memory.clone());
        }
    }

    /// Drops the heads of a server that has no voice any more.
    pub(super) fn forget_heads(&mut self, datacenter: &Label, id: &NodeId) {
        if let Some(known) = self.catalog.get_mut(datacenter) {
            known.forget_heads(id);
        }
    }
}
