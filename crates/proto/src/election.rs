//! Who sits in the WAN pool: a ranking that every node computes alike from its view, and a seat that its holder signs.
//!
//! No votes, no leader, no term. A vacancy is filled at once by the best-ranked server; a better spread waits for its turn;
//! when too many sit, the worst-ranked resigns. Health ranks and never excludes: under shared overload somebody must sit.

use crate::{
    identity::{Label, NodeId},
    roster::{Entry, Roster},
    time::Time,
    view::Status,
};
use aws_lc_rs::digest::{SHA256, digest};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A holder that is accused for this long counts as vacant.
pub const SUSPECT_FOR: Duration = Duration::from_secs(5);
/// Each rank behind the vacancies waits this much longer.
pub const GRACE: Duration = Duration::from_secs(2);
/// Voluntary swaps are this far apart.
pub const SWAP_EVERY: Duration = Duration::from_secs(30);
/// How long too many may sit, so that the new one overlaps the old.
pub const OVERLAP: Duration = Duration::from_secs(2);
/// From this health score on a server ranks behind the healthy.
const UNWELL: u8 = 4;
/// A key seen twice bars from seats for this long.
pub const CLONE_BAR: Duration = Duration::from_secs(600);

/// What this node should do about its own seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Stay,
    /// Take a seat.
    Sit,
    /// Give it up.
    Resign,
}

/// A server that could sit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub id: NodeId,
    /// Its failure domains.
    pub rack: (Label, Label),
    /// Says of itself that it is well.
    pub healthy: bool,
    /// Holds a seat.
    pub sitting: bool,
    /// Rendezvous hash over (datacenter, serial).
    pub lot: u64,
}

impl Candidate {
    fn of(entry: &Entry, datacenter: &Label) -> Self {
        let hash = digest(
            &SHA256,
            &[
                b"seat",
                datacenter.as_str().as_bytes(),
                &entry.certified().serial,
            ]
            .concat(),
        );
        let mut lot = [0; 8];
        lot.copy_from_slice(&hash.as_ref()[..8]);
        Self {
            id: entry.certified().id,
            rack: entry.rack(),
            healthy: entry.record().health < UNWELL,
            sitting: entry.record().seat,
            lot: u64::from_be_bytes(lot),
        }
    }
}

/// Servers that may sit now.
pub fn candidates(roster: &Roster, now: Time) -> Vec<Candidate> {
    let eligible = |e: &&Entry| {
        let here = match e.status {
            Status::Alive => true,
            Status::Suspect => now.since(e.since) < SUSPECT_FOR,
            Status::Unreachable | Status::Dead | Status::Left | Status::Removed => false,
        };
        let cloned = e
            .cloned()
            .is_some_and(|seen| now.since(seen.at) < CLONE_BAR);
        here && !cloned
    };
    let servers = roster.servers().map(|(_, e)| e);
    servers
        .filter(eligible)
        .map(|e| Candidate::of(e, roster.datacenter()))
        .collect()
}

/// Picks `count` of `from`, beside those who sit already, one by one: healthy first, then the zone and the rack least used,
/// then those who sit, then the lot.
pub fn choose(beside: &[Candidate], from: &[Candidate], count: usize) -> Vec<Candidate> {
    let mut zones = BTreeMap::<&Label, usize>::new();
    let mut racks = BTreeMap::<&(Label, Label), usize>::new();
    for candidate in beside {
        *zones.entry(&candidate.rack.0).or_default() += 1;
        *racks.entry(&candidate.rack).or_default() += 1;
    }
    let mut left: Vec<&Candidate> = from.iter().collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let rank = |c: &Candidate| {
            let zone = zones.get(&c.rack.0).copied().unwrap_or(0);
            let rack = racks.get(&c.rack).copied().unwrap_or(0);
            (!c.healthy, zone, rack, !c.sitting, c.lot, c.id)
        };
        let Some(best) = (0..left.len()).min_by_key(|n| rank(left[*n])) else {
            break;
        };
        let best = left.swap_remove(best);
        *zones.entry(&best.rack.0).or_default() += 1;
        *racks.entry(&best.rack).or_default() += 1;
        chosen.push(best.clone());
    }
    chosen
}

/// How many seats the datacenter wants: the commonest value in its records, ties to the lower.
pub fn seats(roster: &Roster) -> usize {
    let mut votes = BTreeMap::<u8, usize>::new();
    for (_, entry) in roster.servers() {
        if !matches!(entry.status, Status::Left | Status::Removed | Status::Dead) {
            *votes.entry(entry.record().seats).or_default() += 1;
        }
    }
    let best = votes
        .iter()
        .max_by_key(|(seats, votes)| (**votes, std::cmp::Reverse(**seats)));
    best.map_or(3, |(seats, _)| usize::from(*seats))
}

/// What a set of holders is worth: more healthy ones, then more zones, then more racks.
fn worth(holders: &[Candidate]) -> (usize, usize, usize) {
    let healthy = holders.iter().filter(|c| c.healthy).count();
    let zones: BTreeSet<_> = holders.iter().map(|c| &c.rack.0).collect();
    let racks: BTreeSet<_> = holders.iter().map(|c| &c.rack).collect();
    (healthy, zones.len(), racks.len())
}

/// One node's part in its datacenter's election: only how long things have lasted.
#[derive(Debug, Default)]
pub struct Election {
    vacant_since: Option<Time>,
    excess_since: Option<Time>,
    holders: BTreeSet<NodeId>,
    changed: Option<Time>,
}

impl Election {
    /// Decides about our own seat. Call a few times a second.
    pub fn decide(&mut self, me: NodeId, roster: &Roster, now: Time) -> Decision {
        let all = candidates(roster, now);
        let seats = seats(roster);
        let (holders, standby): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| c.sitting);
        let ids: BTreeSet<NodeId> = holders.iter().map(|c| c.id).collect();
        if ids != self.holders {
            self.holders = ids;
            self.changed = Some(now);
        }
        let vacancies = seats.saturating_sub(holders.len());
        self.vacant_since = (vacancies > 0).then(|| self.vacant_since.unwrap_or(now));
        self.excess_since = (holders.len() > seats).then(|| self.excess_since.unwrap_or(now));

        if self.holders.contains(&me) {
            let lasted = self
                .excess_since
                .is_some_and(|since| now.since(since) >= OVERLAP);
            let kept = choose(&[], &holders, seats);
            return if lasted && kept.iter().all(|c| c.id != me) {
                Decision::Resign
            } else {
                Decision::Stay
            };
        }
        if !standby.iter().any(|c| c.id == me) {
            return Decision::Stay;
        }
        if let Some(since) = self.vacant_since {
            let order = choose(&holders, &standby, standby.len());
            let rank = order.iter().position(|c| c.id == me).unwrap_or(order.len());
            let behind = u32::try_from((rank + 1).saturating_sub(vacancies)).unwrap_or(u32::MAX);
            return if now.since(since) >= GRACE.saturating_mul(behind) {
                Decision::Sit
            } else {
                Decision::Stay
            };
        }
        self.swap(me, &holders, &standby, seats, now)
    }

    /// A voluntary swap: only for a better set, seldom, and only by the best of those it would bring in.
    fn swap(
        &self,
        me: NodeId,
        holders: &[Candidate],
        standby: &[Candidate],
        seats: usize,
        now: Time,
    ) -> Decision {
        let rested = self.changed.is_none_or(|at| now.since(at) >= SWAP_EVERY);
        if holders.len() != seats || !rested {
            return Decision::Stay;
        }
        let everybody: Vec<Candidate> = holders.iter().chain(standby).cloned().collect();
        let ideal = choose(&[], &everybody, seats);
        let first = ideal.iter().find(|c| !c.sitting);
        let better = worth(&ideal) > worth(holders);
        if better && first.is_some_and(|c| c.id == me) {
            Decision::Sit
        } else {
            Decision::Stay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(n: u8, zone: &str, rack: &str) -> Candidate {
        Candidate {
            id: NodeId([n; 16]),
            rack: (Label::new(zone).unwrap(), Label::new(rack).unwrap()),
            healthy: true,
            sitting: false,
            lot: u64::from(n),
        }
    }

    #[test]
    fn seats_spread_over_zones_then_racks() {
        let five = [
            candidate(1, "a", "r1"),
            candidate(2, "a", "r2"),
            candidate(3, "a", "r1"),
            candidate(4, "b", "r1"),
            candidate(5, "c", "r1"),
        ];
        let chosen: Vec<u8> = choose(&[], &five, 4).iter().map(|c| c.id.0[0]).collect();
        assert_eq!(chosen, [1, 4, 5, 2]);
    }

    #[test]
    fn the_unwell_sit_only_if_nobody_else_can() {
        let mut three = vec![
            candidate(1, "a", "r1"),
            candidate(2, "b", "r1"),
            candidate(3, "c", "r1"),
        ];
        three[0].healthy = false;
        let chosen: Vec<u8> = choose(&[], &three, 2).iter().map(|c| c.id.0[0]).collect();
        assert_eq!(chosen, [2, 3]);
        assert_eq!(choose(&[], &three, 3).len(), 3);
    }

    #[test]
    fn a_vacancy_goes_to_the_zone_that_lost_its_seat() {
        let holders = [candidate(1, "a", "r1"), candidate(2, "b", "r1")];
        let standby = [candidate(3, "a", "r2"), candidate(4, "c", "r1")];
        assert_eq!(choose(&holders, &standby, 1)[0].id.0[0], 4);
    }

    #[test]
    fn those_who_sit_stay_when_nothing_is_gained() {
        let mut two = vec![candidate(1, "a", "r1"), candidate(2, "a", "r1")];
        two[1].sitting = true;
        assert_eq!(choose(&[], &two, 1)[0].id.0[0], 2);
    }
}
