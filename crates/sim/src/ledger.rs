//! What was reported, held against what is true: wrong deaths by the health of who dies and who says so, suspicions,
//! elections.

use crate::world::World;
use pelago_proto::{
    identity::{Incarnation, NodeId},
    view::{Event, EventKind},
};
use std::collections::BTreeSet;

/// Reports of deaths whose subject lives: Lifeguard's false positives, and beside them those about members that something
/// was done to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Wrong {
    /// Undisturbed members, reported by undisturbed ones (Lifeguard's FP−).
    pub at_healthy: u64,
    /// Undisturbed members, reported by disturbed ones.
    pub at_disturbed: u64,
    /// Disturbed members that live, reported by undisturbed ones.
    pub of_disturbed_at_healthy: u64,
    /// Disturbed members that live, reported by disturbed ones.
    pub of_disturbed_at_disturbed: u64,
}

impl Wrong {
    /// Reports about members that nothing was done to (Lifeguard's FP).
    pub const fn about_healthy(&self) -> u64 {
        self.at_healthy + self.at_disturbed
    }
}

/// All that is counted.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Deaths reported of members that live.
    pub wrong_deaths: Wrong,
    /// Undisturbed members that anybody reported dead.
    pub wrongly_dead: BTreeSet<String>,
    /// Suspicions (member and incarnation) of undisturbed members that live.
    pub wrong_suspicions: u64,
    /// Suspicions of all others.
    pub right_suspicions: u64,
    /// Seats taken, as their holders reported it.
    pub elected: u64,
    /// Seats given up.
    pub resigned: u64,
    suspected: BTreeSet<(NodeId, Incarnation)>,
}

impl World {
    /// Takes an event of a process down.
    pub(crate) fn heard(&mut self, host: usize, event: Event) {
        self.judge(host, &event);
        self.history.heard(self.now, host, event);
    }

    /// From now on something is wrong with these nodes, as far as blame goes; with no others.
    pub fn disturb<S: AsRef<str>>(&mut self, names: &[S]) {
        self.disturbed = names.iter().map(|name| self.host(name.as_ref())).collect();
    }

    /// Something is wrong with this node too.
    pub fn disturb_also(&mut self, name: &str) {
        let host = self.host(name);
        self.disturbed.insert(host);
    }

    /// What was counted since the last time.
    pub fn take_ledger(&mut self) -> Ledger {
        std::mem::take(&mut self.ledger)
    }

    /// What was counted so far.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn judge(&mut self, host: usize, event: &Event) {
        let about_itself = event.member == Some(self.slots[host].id);
        match event.kind {
            EventKind::Elected if about_itself => self.ledger.elected += 1,
            EventKind::Resigned if about_itself => self.ledger.resigned += 1,
            EventKind::Dead | EventKind::Suspect => self.judge_claim(host, event),
            _ => {}
        }
    }

    fn judge_claim(&mut self, host: usize, event: &Event) {
        let Some(id) = event.member else { return };
        let Some(subject) = self.ids.get(&id).copied() else {
            return;
        };
        // What is said of an earlier life is true.
        let boot = event.incarnation.map(|incarnation| incarnation.boot);
        let lives = self.slots[subject].process.as_ref().is_some_and(|process| {
            boot.is_none_or(|boot| boot >= process.federation.incarnation().boot)
        });
        let disturbed = self.disturbed.contains(&subject);
        if event.kind == EventKind::Suspect {
            let incarnation = event.incarnation.unwrap_or_default();
            if self.ledger.suspected.insert((id, incarnation)) {
                if lives && !disturbed {
                    self.ledger.wrong_suspicions += 1;
                } else {
                    self.ledger.right_suspicions += 1;
                }
            }
        } else if lives {
            let wrong = &mut self.ledger.wrong_deaths;
            let count = match (disturbed, self.disturbed.contains(&host)) {
                (false, false) => &mut wrong.at_healthy,
                (false, true) => &mut wrong.at_disturbed,
                (true, false) => &mut wrong.of_disturbed_at_healthy,
                (true, true) => &mut wrong.of_disturbed_at_disturbed,
            };
            *count += 1;
            if !disturbed {
                self.ledger
                    .wrongly_dead
                    .insert(self.slots[subject].name.clone());
            }
        }
    }
}
