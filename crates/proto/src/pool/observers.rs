//! Who watches whom: each member's first k + 2 unaccused successors on a ring.
//!
//! Random probing leaves a crashed member unprobed for up to 920 ms (p99) at one probe per node and 200 ms; a fixed set of
//! observers that space themselves out leaves it 200 ms. The ring is ordered by a hash over certificate serials, which
//! holders cannot choose, so nobody picks whom to watch. Observers come from at least two racks where there are two.

use super::Standing;
use crate::{identity::NodeId, roster::k, sampler::Place};
use aws_lc_rs::digest::{SHA256, digest};

/// A member's place on the ring.
pub fn position(serial: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, &[b"ring", serial].concat()).as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// One member on the ring.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Where.
    pub position: u64,
    /// Who.
    pub id: NodeId,
    /// Its failure domain.
    pub place: Place,
    /// Accused members are watched but do not watch.
    pub standing: Standing,
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

/// How many places a search looks back: bounds the cost when one rack fills a whole stretch of the ring.
const REACH: usize = 1_024;

/// Everybody whom `me` watches. `ring` is sorted by (position, id) and holds the living, `me` among them.
pub fn targets(ring: &[Seat], me: &NodeId) -> Vec<Target> {
    let Some(at) = ring.iter().position(|s| s.id == *me) else {
        return Vec::new();
    };
    let wanted = k(ring.len()) + 2;
    let mut targets = Vec::new();
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
        let observers = observers(ring, (at + ring.len() - back) % ring.len(), wanted);
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
                None => first_rack = Some(&seat.place),
                Some(rack) => two_racks |= *rack != seat.place,
            }
        }
    }
    targets
}

/// The observers of the member at `at`: its first unaccused successors, the last replaced if all share one rack.
pub fn observers(ring: &[Seat], at: usize, wanted: usize) -> Vec<NodeId> {
    let mut found: Vec<&Seat> = Vec::with_capacity(wanted);
    let successors = (1..ring.len()).map(|n| &ring[(at + n) % ring.len()]);
    for seat in successors
        .filter(|s| s.standing == Standing::Alive)
        .take(REACH)
    {
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
    found.into_iter().map(|s| s.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Label;

    fn ring(racks: &[&str]) -> Vec<Seat> {
        let seat = |(n, rack): (usize, &&str)| {
            let mut id = NodeId::default();
            id.0[0] = n as u8;
            let place = Place {
                zone: Label::new("a").unwrap(),
                rack: Label::new(rack).unwrap(),
            };
            Seat {
                position: n as u64,
                id,
                place,
                standing: Standing::Alive,
            }
        };
        racks.iter().enumerate().map(seat).collect()
    }

    #[test]
    fn everybody_has_k_plus_two_observers_and_each_finds_its_targets() {
        let ring = ring(&["r1", "r2", "r3"].repeat(10));
        for (at, seat) in ring.iter().enumerate() {
            let observers = observers(&ring, at, 5);
            assert_eq!(observers.len(), 5);
            for (rank, observer) in observers.iter().enumerate() {
                let found = targets(&ring, observer);
                assert!(found.contains(&Target {
                    id: seat.id,
                    rank,
                    observers: 5
                }));
            }
        }
        let load: usize = ring.iter().map(|s| targets(&ring, &s.id).len()).sum();
        assert_eq!(load, 30 * 5);
    }

    #[test]
    fn a_whole_stretch_in_one_rack_gets_an_observer_from_another() {
        let racks: Vec<&str> = std::iter::repeat_n("r1", 20).chain(["r2"]).collect();
        let ring = ring(&racks);
        for at in 0..20 {
            let found = observers(&ring, at, 5);
            assert!(found.contains(&ring[20].id), "member {at}");
            assert!(
                targets(&ring, &ring[20].id)
                    .iter()
                    .any(|t| t.id == ring[at].id),
                "member {at}"
            );
        }
    }

    #[test]
    fn the_accused_are_watched_but_do_not_watch() {
        let mut ring = ring(&["r1", "r2"].repeat(5));
        ring[3].standing = Standing::Suspect;
        for at in 0..10 {
            assert!(!observers(&ring, at, 5).contains(&ring[3].id));
        }
        assert_eq!(observers(&ring, 3, 5).len(), 5);
    }

    #[test]
    fn two_members_watch_each_other() {
        let ring = ring(&["r1", "r1"]);
        assert_eq!(
            targets(&ring, &ring[0].id),
            vec![Target {
                id: ring[1].id,
                rank: 0,
                observers: 1
            }]
        );
    }
}
