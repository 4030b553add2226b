//! Who can be talked to: peers by how near they are, which is also how they are drawn.
//!
//! Nothing is kept twice, since a node keeps this of every member of its datacenter: the strata that draws choose from are
//! the table itself.

use super::{Standing, rtt::Rtt};
use crate::{
    contact::Contact,
    identity::{Incarnation, NodeId},
    sampler::{Place, draw},
    table::{Row, Table, head},
    wire::Item,
};
use rand::Rng;
use std::{sync::Arc, time::Duration};

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// How it is reached.
    pub contact: Arc<Contact>,
    more: Option<Box<More>>,
    head: u32,
    /// How it stands.
    pub standing: Standing,
    /// It has shown that it knows our record of this boot.
    pub introduced: bool,
}

/// What is not known of most peers.
#[derive(Debug, Default)]
struct More {
    /// Newer than the record's, if it refuted since.
    incarnation: Incarnation,
    /// What is held against it.
    charges: Vec<Item>,
    rtt: Rtt,
}

impl Row for Peer {
    fn id(&self) -> &NodeId {
        &self.contact.id
    }
    fn head(&self) -> u32 {
        self.head
    }
}

impl Peer {
    /// Newest incarnation.
    pub fn incarnation(&self) -> Incarnation {
        let newer = self.more.as_ref().map(|more| more.incarnation);
        newer.unwrap_or_default().max(self.contact.incarnation)
    }

    /// What is held against it: told to it first of all (Lifeguard's buddy system).
    pub fn charges(&self) -> &[Item] {
        self.more.as_ref().map_or(&[], |more| &more.charges)
    }

    pub(super) fn rtt(&self) -> Rtt {
        self.more.as_ref().map(|more| more.rtt).unwrap_or_default()
    }

    pub(super) fn measured(&mut self, sample: Duration) {
        self.more.get_or_insert_default().rtt.update(sample);
    }
}

/// What the pool is told about a peer.
#[derive(Clone, Debug)]
pub struct News {
    /// How it is reached.
    pub contact: Arc<Contact>,
    /// Newest incarnation.
    pub incarnation: Incarnation,
    /// How it stands.
    pub standing: Standing,
    /// What is held against it.
    pub charges: Vec<Item>,
}

/// What an update of a peer changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// The ring looks different at this position, and at this one where it was before.
    pub(super) moved: bool,
    /// It signed something newer than it was accused at.
    pub(super) reborn: bool,
    /// Where it stood on the ring before.
    pub(super) was_at: Option<u64>,
}

/// The dead, whom no draw chooses.
const DEAD: usize = 3;

/// All peers of a pool.
#[derive(Debug)]
pub(super) struct Peers {
    home: Place,
    shares: [u32; 3],
    /// By [`Nearness`], the dead apart.
    strata: [Table<Peer>; 4],
    /// How many stand how.
    standing: [usize; 4],
}

impl Peers {
    /// Nobody yet, around `home`, with shares of a draw in percent for rack, zone and far.
    pub(super) fn new(home: Place, shares: [u32; 3]) -> Self {
        Self {
            home,
            shares,
            strata: Default::default(),
            standing: [0; 4],
        }
    }

    // Most peers are far away, so that is where to look first.
    pub(super) fn get(&self, id: &NodeId) -> Option<&Peer> {
        let [rack, zone, far, dead] = &self.strata;
        let strata = [far, zone, rack, dead];
        strata.into_iter().find_map(|stratum| stratum.get(id))
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Peer> {
        let [rack, zone, far, dead] = &mut self.strata;
        let strata = [far, zone, rack, dead];
        strata.into_iter().find_map(|stratum| stratum.get_mut(id))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.strata.iter().flat_map(Table::rows)
    }

    pub(super) fn living(&self) -> impl Iterator<Item = &Peer> {
        self.strata[..DEAD].iter().flat_map(Table::rows)
    }

    /// The next unaccused peer of our rack by id, after the last the first; alone in a rack, of our zone.
    pub(super) fn successor(&self, me: &NodeId) -> Option<&Peer> {
        let near = self.strata[..DEAD].iter().find(|s| !s.is_empty())?;
        let ring = near.after(Some(*me)).iter().chain(near.rows());
        ring.take(near.len())
            .find(|peer| peer.standing == Standing::Alive)
    }

    pub(super) fn count(&self) -> usize {
        self.standing.iter().sum()
    }

    pub(super) fn stand(&self, standing: Standing) -> usize {
        self.standing[standing as usize]
    }

    fn stratum(&self, contact: &Contact, standing: Standing) -> usize {
        if standing == Standing::Dead {
            DEAD
        } else {
            self.home.nearness(&contact.place) as usize
        }
    }

    /// Adds a peer or changes what is known of it.
    pub(super) fn update(&mut self, news: News) -> Change {
        let News {
            contact,
            incarnation,
            standing,
            charges,
        } = news;
        let is = self.stratum(&contact, standing);
        let was = self
            .strata
            .iter()
            .position(|stratum| stratum.get(&contact.id).is_some());
        self.standing[standing as usize] += 1;
        let Some(was) = was else {
            let mut peer = Peer {
                head: head(&contact.id),
                more: None,
                contact,
                standing,
                introduced: false,
            };
            peer.hold(incarnation, charges);
            self.strata[is].insert(peer);
            return Change {
                moved: true,
                ..Change::default()
            };
        };
        let mut change = Change::default();
        if let Some(peer) = self.strata[was].get_mut(&contact.id) {
            let held = &peer.contact;
            let elsewhere = held.place != contact.place || held.position != contact.position;
            change = Change {
                moved: elsewhere || peer.standing != standing,
                reborn: incarnation > peer.incarnation(),
                was_at: Some(held.position),
            };
            // A new boot knows nobody yet.
            peer.introduced &= held.key == contact.key;
            self.standing[peer.standing as usize] -= 1;
            peer.standing = standing;
            peer.contact = Arc::clone(&contact);
            peer.hold(incarnation, charges);
        }
        if was != is
            && let Some(peer) = self.strata[was].remove(&contact.id)
        {
            self.strata[is].insert(peer);
        }
        change
    }

    pub(super) fn remove(&mut self, id: &NodeId) -> Option<Peer> {
        let peer = self
            .strata
            .iter_mut()
            .find_map(|stratum| stratum.remove(id))?;
        self.standing[peer.standing as usize] -= 1;
        Some(peer)
    }

    /// Up to `count` living peers that `fits` accepts, spread over the strata.
    pub(super) fn draw(
        &self,
        count: usize,
        rng: &mut impl Rng,
        fits: impl Fn(&Peer) -> bool,
    ) -> Vec<NodeId> {
        let [rack, zone, far, _] = &self.strata;
        let strata = [rack.rows(), zone.rows(), far.rows()];
        let drawn = draw(strata, self.shares, count, rng, fits);
        drawn.into_iter().map(|peer| peer.contact.id).collect()
    }

    /// The living peer at `at` of all, counted round.
    pub(super) fn nth(&self, at: usize) -> Option<&Peer> {
        let living = self.strata[..DEAD].iter().map(Table::len).sum::<usize>();
        let mut at = at.checked_rem(living)?;
        for stratum in &self.strata[..DEAD] {
            match stratum.rows().get(at) {
                Some(peer) => return Some(peer),
                None => at -= stratum.len(),
            }
        }
        None
    }
}

impl Peer {
    /// Keeps what most peers do not need.
    fn hold(&mut self, incarnation: Incarnation, charges: Vec<Item>) {
        let plain = incarnation <= self.contact.incarnation && charges.is_empty();
        if plain && self.more.is_none() {
            return;
        }
        let more = self.more.get_or_insert_default();
        more.incarnation = incarnation;
        more.charges = charges;
    }
}
