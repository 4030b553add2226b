//! What one member makes us report over and over: at first each time, then once in a while, and the last time always.
//!
//! A member may say fifty things a second of itself for as long as its certificate holds. Without this the events that are remembered
//! would soon be about nothing else. What others find of it, suspicions and verdicts, is reported each time.

use super::Federation;
use crate::{
    identity::{Label, NodeId},
    limit::{Bucket, Rate},
    time::Time,
    view::{EventKind, Status},
};
use std::collections::BTreeMap;

/// Members of whom something was reported lately; what others do is reported as it happens.
pub(super) const MAX_REPORTED: usize = 16_384;
/// What it says of itself: ten at once and one a second, far more than a member that is well has to say.
const RECORDS: Rate = Rate::new(1.0, 10.0);
/// Two processes with one key: as long as they both run it is seen again and again, and known.
const CLONES: Rate = Rate::new(0.1, 30.0);

/// What is reported of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    /// It says something new of itself.
    Record,
    /// It takes a seat or gives it up.
    Seat,
    /// It says goodbye or comes back.
    Presence,
    /// Two processes use its key.
    Clone,
}

impl Matter {
    const fn rate(self) -> Rate {
        match self {
            Self::Record | Self::Seat | Self::Presence => RECORDS,
            Self::Clone => CLONES,
        }
    }
}

#[derive(Clone, Debug)]
struct Reported {
    datacenter: Label,
    budget: Bucket,
    /// It happened again and was not reported.
    owed: bool,
}

/// Members of whom something was reported lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(BTreeMap<(NodeId, Matter), Reported>);

impl Repeats {
    /// Whether to report this now; if not, [`Self::due`] names it later.
    fn admit(&mut self, matter: Matter, datacenter: &Label, id: NodeId, now: Time) -> bool {
        if self.0.len() >= MAX_REPORTED && !self.0.contains_key(&(id, matter)) {
            return true;
        }
        let reported = self.0.entry((id, matter)).or_insert_with(|| Reported {
            datacenter: datacenter.clone(),
            budget: Bucket::of(matter.rate(), now),
            owed: false,
        });
        reported.datacenter = datacenter.clone();
        reported.owed = !reported.budget.take(1.0, now);
        !reported.owed
    }

    /// What is owed and may be reported now. Forgets of whom nothing was reported for a while.
    fn due(&mut self, now: Time) -> Vec<(Matter, Label, NodeId)> {
        let mut due = Vec::new();
        self.0.retain(|(id, matter), reported| {
            if reported.owed && reported.budget.take(1.0, now) {
                reported.owed = false;
                due.push((*matter, reported.datacenter.clone(), *id));
            }
            reported.owed || !reported.budget.clone().take(matter.rate().burst, now)
        });
        due
    }

    /// How many that are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing is owed of a member that is gone.
    pub(super) fn forget(&mut self, id: &NodeId) {
        for matter in [
            Matter::Record,
            Matter::Seat,
            Matter::Presence,
            Matter::Clone,
        ] {
            self.0.remove(&(*id, matter));
        }
    }
}

impl Federation {
    /// Whether this is reported now. What is not is counted, and the last of it reported later.
    pub(super) fn may_report(
        &mut self,
        matter: Matter,
        datacenter: &Label,
        id: NodeId,
        now: Time,
    ) -> bool {
        let may = self.repeats.admit(matter, datacenter, id, now);
        if !may {
            self.count("events_merged");
        }
        may
    }

    /// Reports what was not reported when it happened.
    pub(super) fn report_repeats(&mut self, now: Time) {
        for (matter, datacenter, id) in self.repeats.due(now) {
            let known = self.catalog.get(&datacenter);
            let Some(entry) = known.and_then(|known| known.roster.get(&id)) else {
                continue;
            };
            let (kind, detail) = match (matter, entry.status) {
                // That was the last word on it, and was said.
                (_, Status::Removed)
                | (Matter::Record | Matter::Seat, Status::Left | Status::Dead) => continue,
                (Matter::Record, _) => (EventKind::Updated, "published new records"),
                (Matter::Seat, _) if entry.record().seat => {
                    (EventKind::Elected, "holds a WAN seat, after some changes")
                }
                (Matter::Seat, _) => (
                    EventKind::Resigned,
                    "gave its WAN seat up, after some changes",
                ),
                (Matter::Presence, Status::Left) => (EventKind::Left, "left, after some changes"),
                (Matter::Presence, Status::Alive) => {
                    (EventKind::Alive, "came back, after some changes")
                }
                // What others say of it was reported as it came.
                (Matter::Presence, _) => continue,
                (Matter::Clone, _) => (EventKind::Clone, "two processes used one key again"),
            };
            let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
            self.event(
                now,
                kind,
                &datacenter,
                Some((id, name)),
                Some(incarnation),
                detail.into(),
            );
        }
    }
}
