//! Members lost together are shown as lost together.
//!
//! The verdicts about ten crashed hosts form within some hundred milliseconds of each other, because their observers' last
//! answers were that far apart. Whoever acts on each change of the view (moves shards, say) would act ten times. So a death
//! waits to be *shown* as long as somebody else is about to be judged, [`HOLD`] at most. This is Rapid's cut detection (ATC
//! 2018, §4.2: wait while anybody is between the low and the high watermark) with time as the watermark.
//!
//! Only what is shown waits, and the events that say so: elections, pools, set hashes and claims follow a verdict at once.

use super::Federation;
use crate::{
    identity::{Label, NodeId},
    roster::{Entry, Roster, Transition},
    time::{Deadline, Time},
    view::Status,
};
use std::{collections::BTreeMap, time::Duration};

/// The longest that a death waits for others.
const HOLD: Duration = Duration::from_millis(400);

/// The deaths in one datacenter that wait to be shown.
#[derive(Debug)]
struct Cut {
    until: Time,
    held: BTreeMap<NodeId, Shown>,
}

/// What is shown of a member meanwhile.
#[derive(Clone, Copy, Debug)]
struct Shown {
    status: Status,
    since: Time,
}

/// Deaths that wait to be shown, by datacenter.
#[derive(Debug, Default)]
pub(super) struct Cuts(BTreeMap<Label, Cut>);

impl Cuts {
    pub(super) fn deadline(&self) -> Deadline {
        let first = self.0.values().map(|cut| cut.until).min();
        Deadline {
            at: first.unwrap_or(Time::NEVER),
            why: "cut",
        }
    }

    /// The status to show of a member, and since when it has it.
    pub(super) fn shown(&self, datacenter: &Label, id: &NodeId, entry: &Entry) -> (Status, Time) {
        let held = self.0.get(datacenter).and_then(|cut| cut.held.get(id));
        held.map_or((entry.status, entry.since), |shown| {
            (shown.status, shown.since)
        })
    }

    /// Takes a change of status in: `None` if it waits, else the change as the view has seen it.
    fn admit(&mut self, datacenter: &Label, change: Transition, now: Time) -> Option<Transition> {
        let cut = self.0.get_mut(datacenter);
        let held = cut.and_then(|cut| cut.held.remove(&change.id));
        let change = match held {
            Some(shown) => Transition {
                from: Some(shown.status),
                since: shown.since,
                ..change
            },
            None => change,
        };
        match change.from {
            Some(from) if from == change.to => None,
            Some(status @ (Status::Suspect | Status::Unreachable)) if change.to == Status::Dead => {
                let cut = self.0.entry(datacenter.clone()).or_insert(Cut {
                    until: now + HOLD,
                    held: BTreeMap::new(),
                });
                let since = change.since;
                cut.held.insert(change.id, Shown { status, since });
                None
            }
            _ => Some(change),
        }
    }
}

impl Federation {
    /// Announces a change of status, or lets a death wait for others.
    pub(super) fn show_change(&mut self, datacenter: &Label, change: Transition, now: Time) {
        if let Some(change) = self.cuts.admit(datacenter, change, now) {
            self.announce(datacenter, change, now);
        }
    }

    /// Shows the deaths that need not wait any longer, all of a datacenter at once.
    pub(super) fn show_cuts(&mut self, now: Time) {
        let over = |(datacenter, cut): (&Label, &Cut)| {
            let known = self.catalog.get(datacenter);
            let waits = known.is_some_and(|known| somebody_is_due(&known.roster, cut, now));
            (cut.until <= now || !waits).then(|| datacenter.clone())
        };
        let due: Vec<Label> = self.cuts.0.iter().filter_map(over).collect();
        for datacenter in due {
            let Some(cut) = self.cuts.0.remove(&datacenter) else {
                continue;
            };
            for (id, shown) in cut.held {
                let change = Transition {
                    id,
                    from: Some(shown.status),
                    since: shown.since,
                    to: Status::Dead,
                };
                self.announce(&datacenter, change, now);
            }
            self.changed();
        }
    }
}

/// Whether somebody else has been suspect for so long that a verdict is due within [`HOLD`], or was found silent beyond its
/// floor no longer ago than that.
fn somebody_is_due(roster: &Roster, cut: &Cut, now: Time) -> bool {
    roster.accused().any(|(id, entry)| {
        let age = now.since(entry.since);
        let due = match entry.status {
            Status::Suspect => age + HOLD >= entry.record().floor(),
            Status::Unreachable => age < HOLD,
            _ => false,
        };
        due && !cut.held.contains_key(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Alive, Dead, Left, Suspect, Unreachable};

    fn change(from: impl Into<Option<Status>>, to: Status) -> Transition {
        Transition {
            id: NodeId([1; 16]),
            from: from.into(),
            since: Time::START,
            to,
        }
    }

    /// What the view sees of these changes, one after the other.
    fn seen(changes: &[Transition]) -> Vec<(Option<Status>, Status)> {
        let (mut cuts, place) = (Cuts::default(), Label::new("a").expect("a label"));
        let seen = changes
            .iter()
            .filter_map(|change| cuts.admit(&place, *change, Time::START));
        seen.map(|change| (change.from, change.to)).collect()
    }

    #[test]
    fn only_deaths_out_of_suspicion_wait() {
        assert_eq!(seen(&[change(Suspect, Dead)]), []);
        assert_eq!(seen(&[change(Unreachable, Dead)]), []);
        for other in [
            change(None, Dead),
            change(Alive, Suspect),
            change(Suspect, Left),
            change(Dead, Alive),
        ] {
            assert_eq!(seen(&[other]), [(other.from, other.to)]);
        }
    }

    #[test]
    fn a_death_that_nobody_saw_is_not_told_when_it_is_over() {
        assert_eq!(
            seen(&[change(Suspect, Dead), change(Dead, Alive)]),
            [(Some(Suspect), Alive)]
        );
        assert_eq!(
            seen(&[change(Suspect, Dead), change(Dead, Left)]),
            [(Some(Suspect), Left)]
        );
        assert_eq!(
            seen(&[change(Unreachable, Dead), change(Dead, Unreachable)]),
            []
        );
        let again = [
            change(Suspect, Dead),
            change(Dead, Alive),
            change(Alive, Suspect),
            change(Suspect, Dead),
        ];
        assert_eq!(
            seen(&again),
            [(Some(Suspect), Alive), (Some(Alive), Suspect)]
        );
    }
}
