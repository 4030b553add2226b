//! Who watches whom: each member's first k + 2 unaccused successors on a ring.
//!
//! Random probing leaves a crashed member unprobed for up to 920 ms (p99) at one probe per node and 200 ms; a fixed set of
//! observers that space themselves out leaves it 200 ms. The ring is ordered by a hash over certificate serials, which
//! holders cannot choose, so nobody picks whom to watch. Observers come from at least two racks where there are two.

use super::{Peer, Profile, Standing};
use crate::{identity::NodeId, roster::k, sampler::Place};
use std::{collections::BTreeMap, time::Duration};

/// One member on the ring.
#[derive(Clone, Debug)]
pub struct Seat<'a> {
    /// Where.
    pub position: u64,
    /// Who.
    pub id: NodeId,
    /// Its failure domain.
    pub place: &'a Place,
    /// Accused members are watched but do not watch.
    pub standing: Standing,
}

impl<'a> Seat<'a> {
    pub(super) fn of(peer: &'a Peer) -> Self {
        Self {
            position: peer.contact.position,
            id: peer.contact.id,
            place: &peer.contact.place,
            standing: peer.standing,
        }
    }
}

/// The stretch of the ring that decides whom somebody watches: what changes elsewhere does not concern it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    from: u64,
    to: u64,
}

impl Horizon {
    /// Whether a position lies in it, ends included.
    pub fn holds(self, position: u64) -> bool {
        if self.from <= self.to {
            (self.from..=self.to).contains(&position)
        } else {
            position >= self.from || position <= self.to
        }
    }
}

/// Somebody to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom.
    pub id: NodeId,
    /// Our rank among its observers, from 0.
    pub rank: usize,
    /// How many observers it has: each pings it once per that many intervals.
    pub observers: usize,
}

/// Up to this size everybody is everybody's concern.
const SMALL: usize = 16;
impl Target {
    /// How often each of its observers pings it.
    pub(super) fn interval(&self, profile: &Profile) -> Duration {
        profile.probe_interval * u32::try_from(self.observers.max(1)).unwrap_or(1)
    }
}

/// How many places a search looks back: bounds the cost when one rack fills a whole stretch of the ring.
const REACH: usize = 1_024;

/// Everybody whom `me` watches, and which part of the ring decided it (`None`: all of it). `ring` is sorted by
/// (position, id) and holds the living, `me` among them.
pub fn targets(ring: &[Seat<'_>], me: &NodeId) -> (Vec<Target>, Option<Horizon>) {
    let Some(at) = ring.iter().position(|s| s.id == *me) else {
        return (Vec::new(), None);
    };
    let wanted = k(ring.len()) + 2;
    let mut targets = Vec::new();
    let (mut behind, mut ahead) = (0, 0);
    // Going back, unaccused members between the target and us fill its observers; once they are enough, out of two
    // racks, nobody further back can need us.
    let mut between = 0;
    let mut first_rack: Option<&Place> = None;
    let mut two_racks = false;
    for back in 1..ring.len().min(REACH) {
        let seat = &ring[(at + ring.len() - back) % ring.len()];
        if between >= wanted && two_racks {
            break;
        }
        let (observers, seen) = observers(ring, (at + ring.len() - back) % ring.len(), wanted);
        (behind, ahead) = (back, ahead.max(seen.saturating_sub(back)));
        if let Some(rank) = observers.iter().position(|id| id == me) {
            targets.push(Target {
                id: seat.id,
                rank,
                observers: observers.len(),
            });
        }
        if seat.standing == Standing::Alive {
            between += 1;
            match first_rack {
                None => first_rack = Some(seat.place),
                Some(rack) => two_racks |= rack != seat.place,
            }
        }
    }
    // One seat more on either side: equal positions are told apart by id. In a small ring k itself depends on everybody.
    let far = behind + ahead + 4;
    let horizon = (far < ring.len() && ring.len() > SMALL).then(|| Horizon {
        from: ring[(at + ring.len() - behind - 1) % ring.len()].position,
        to: ring[(at + ahead + 1) % ring.len()].position,
    });
    (targets, horizon)
}

/// The rank of those who probe a member without being one of its observers: they sign long after those.
const STRANGER: usize = 50;

/// Makes everybody a target, in turn, as in SWIM. The observers among us keep their ranks: they confirm what others find.
pub fn everybody(targets: &mut Vec<Target>, ring: &[Seat<'_>], me: &NodeId) {
    let observers = ring.len().saturating_sub(1).max(1);
    let ranks: BTreeMap<NodeId, usize> = targets.drain(..).map(|t| (t.id, t.rank)).collect();
    let others = ring.iter().filter(|seat| seat.id != *me);
    targets.extend(others.map(|seat| Target {
        id: seat.id,
        rank: ranks.get(&seat.id).copied().unwrap_or(STRANGER),
        observers,
    }));
}

impl Target {
    /// Whether we probe it without being one of its observers.
    pub fn is_strange(&self) -> bool {
        self.rank == STRANGER
    }
}

/// The observers of the member at `at`: its first unaccused successors, the last replaced if all share one rack. And how
/// many seats were looked at to find them.
pub fn observers(ring: &[Seat<'_>], at: usize, wanted: usize) -> (Vec<NodeId>, usize) {
    let mut found: Vec<&Seat<'_>> = Vec::with_capacity(wanted);
    let mut seen = 0;
    let successors = (1..ring.len()).map(|n| (n, &ring[(at + n) % ring.len()]));
    for (n, seat) in successors
        .filter(|(_, s)| s.standing == Standing::Alive)
        .take(REACH)
    {
        seen = n;
        if found.len() < wanted {
            found.push(seat);
        } else if found.iter().all(|s| s.place == found[0].place) {
            if seat.place != found[0].place {
                found.pop();
                found.push(seat);
                break;
            }
        } else {
            break;
        }
    }
    if found.len() < wanted {
        seen = ring.len();
    }
    (found.into_iter().map(|s| s.id).collect(), seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Label;

    fn places(racks: &[&str]) -> Vec<Place> {
        let place = |rack: &&str| Place {
            zone: Label::new("a").unwrap(),
            rack: Label::new(rack).unwrap(),
        };
        racks.iter().map(place).collect()
    }

    fn ring(places: &[Place]) -> Vec<Seat<'_>> {
        let seat = |(n, place)| {
            let mut id = NodeId::default();
            id.0[..2].copy_from_slice(&(n as u16).to_be_bytes());
            Seat {
                position: n as u64,
                id,
                place,
                standing: Standing::Alive,
            }
        };
        places.iter().enumerate().map(seat).collect()
    }

    #[test]
    fn everybody_has_k_plus_two_observers_and_each_finds_its_targets() {
        let places = places(&["r1", "r2", "r3"].repeat(10));
        let ring = ring(&places);
        for (at, seat) in ring.iter().enumerate() {
            let (observers, _) = observers(&ring, at, 5);
            assert_eq!(observers.len(), 5);
            for (rank, observer) in observers.iter().enumerate() {
                let (found, _) = targets(&ring, observer);
                assert!(found.contains(&Target {
                    id: seat.id,
                    rank,
                    observers: 5
                }));
            }
        }
        let load: usize = ring.iter().map(|s| targets(&ring, &s.id).0.len()).sum();
        assert_eq!(load, 30 * 5);
    }

    #[test]
    fn a_whole_stretch_in_one_rack_gets_an_observer_from_another() {
        let racks: Vec<&str> = std::iter::repeat_n("r1", 20).chain(["r2"]).collect();
        let places = places(&racks);
        let ring = ring(&places);
        for at in 0..20 {
            let (found, _) = observers(&ring, at, 5);
            assert!(found.contains(&ring[20].id), "member {at}");
            assert!(
                targets(&ring, &ring[20].id)
                    .0
                    .iter()
                    .any(|t| t.id == ring[at].id),
                "member {at}"
            );
        }
    }

    #[test]
    fn the_accused_are_watched_but_do_not_watch() {
        let places = places(&["r1", "r2"].repeat(5));
        let mut ring = ring(&places);
        ring[3].standing = Standing::Suspect;
        for at in 0..10 {
            assert!(!observers(&ring, at, 5).0.contains(&ring[3].id));
        }
        assert_eq!(observers(&ring, 3, 5).0.len(), 5);
    }

    #[test]
    fn two_members_watch_each_other() {
        let places = places(&["r1", "r1"]);
        let ring = ring(&places);
        assert_eq!(
            targets(&ring, &ring[0].id).0,
            vec![Target {
                id: ring[1].id,
                rank: 0,
                observers: 1
            }]
        );
    }

    #[test]
    fn what_changes_beyond_the_horizon_changes_nobody_watched() {
        let mut racks = vec!["r1"; 30];
        racks.extend(["r2", "r3", "r1"].repeat(30));
        let places = places(&racks);
        let whole = ring(&places);
        for me in [0, 5, 28, 29, 35, 60, 119] {
            let (watched, horizon) = targets(&whole, &whole[me].id);
            let horizon = horizon.expect("a large ring");
            let mut concerned = 0;
            for other in (0..whole.len()).filter(|other| *other != me) {
                let mut gone = whole.clone();
                gone.remove(other);
                let mut accused = whole.clone();
                accused[other].standing = Standing::Suspect;
                for changed in [gone, accused] {
                    let now = targets(&changed, &whole[me].id).0;
                    assert!(
                        now == watched || horizon.holds(other as u64),
                        "{me} {other}"
                    );
                    concerned += usize::from(now != watched);
                }
            }
            assert!(concerned > 0);
            assert!(!horizon.holds((me as u64 + 60) % 120));
        }
    }
}
