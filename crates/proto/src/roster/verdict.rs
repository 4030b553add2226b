//! When accusations add up to a death.
//!
//! A member X is dead if k distinct accusers, all quorate, from at least min(2, racks that hold a living member other than X)
//! racks, each found it silent beyond its floor (or its ports closed). Whether a rack holds a living member depends on other
//! verdicts; the least fixpoint starts with nobody dead and lets deaths only add up, so every order of arrival ends alike.

use super::{Racks, Roster, Row, entry::Entry};
use crate::identity::NodeId;
use std::{borrow::Cow, collections::BTreeSet};

/// Distinct accusers that a verdict needs among `present` members neither left nor removed.
pub const fn k(present: usize) -> usize {
    match present {
        0..=2 => 1,
        3..=8 => 2,
        _ => 3,
    }
}

/// What a verdict about one member needs, for showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Distinct accusers.
    pub accusers: usize,
    /// Distinct racks among them.
    pub racks: usize,
}

impl Roster {
    /// Everybody dead by verdict: the least fixpoint.
    pub(super) fn verdicts(&self, unix: u64) -> BTreeSet<NodeId> {
        let mut dead = BTreeSet::new();
        if self.accused.is_empty() {
            return dead;
        }
        let present = self.present();
        let mut living = Cow::Borrowed(&self.present);
        loop {
            let before = dead.len();
            for id in &self.accused {
                let Some(entry) = self.entries.get(id) else {
                    continue;
                };
                // Most are accused by fewer than it takes: nothing else need be looked at.
                if entry.charges().len() < k(present) || dead.contains(id) {
                    continue;
                }
                if entry.has_left() || self.is_removed(id, unix) {
                    continue;
                }
                if self.is_convicted(entry, rule(present, &living, entry)) {
                    dead.insert(*id);
                    count_out(&mut living, entry);
                }
            }
            if dead.len() == before {
                return dead;
            }
        }
    }

    fn is_convicted(&self, entry: &Entry, rule: Rule) -> bool {
        let floor = entry.record().floor();
        let mut accusers = BTreeSet::new();
        let mut racks = BTreeSet::new();
        for charge in entry.standing().filter(|c| c.counts(floor)) {
            accusers.insert(charge.accuser.id);
            racks.insert((&charge.accuser.zone, &charge.accuser.rack));
        }
        accusers.len() >= rule.accusers && racks.len() >= rule.racks
    }

    /// What a verdict about this member needs now.
    pub fn rule(&self, entry: &Entry) -> Rule {
        let mut living = Cow::Borrowed(&self.present);
        // The dead do not count, except the one that this is about: the verdict looked at it alive.
        let dead = self.dead.iter().filter(|id| *id != entry.id());
        for other in dead.filter_map(|id| self.entries.get(id)) {
            count_out(&mut living, other);
        }
        rule(self.present(), &living, entry)
    }
}

/// Takes somebody dead out of the living of its rack.
fn count_out(living: &mut Cow<'_, Racks>, dead: &Entry) {
    if let Some(count) = living.to_mut().get_mut(&dead.rack()) {
        *count = count.saturating_sub(1);
    }
}

fn rule(present: usize, living: &Racks, entry: &Entry) -> Rule {
    let own = entry.rack();
    let others = living
        .iter()
        .filter(|(rack, count)| **count > usize::from(**rack == own))
        .take(2)
        .count();
    Rule {
        accusers: k(present),
        racks: others,
    }
}
