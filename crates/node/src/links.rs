//! The table of live QUIC connections of one pool, by node.
//!
//! Two nodes may dial each other at the same time. Then both connections live for a moment, and both sides must keep
//! the same one: the one that the lower id dialled. The other is closed only after the winner has carried an
//! application round trip, and a moment later, so that nothing in flight is lost. A connection made long after the
//! first is not a mutual dial but a peer that came back: the newer holds.

use crate::streams::STREAMS_PER_PEER;
use pelago_proto::{federation::Peer, identity::NodeId};
use quinn::{Connection, VarInt};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Codes with which connections are closed.
pub(crate) mod close {
    /// The node stops.
    pub(crate) const STOPPING: u32 = 1;
    /// Another connection between the two is kept.
    pub(crate) const DUPLICATE: u32 = 2;
    /// The certificate is no longer valid.
    pub(crate) const REVOKED: u32 = 3;
    /// The certificate is valid, but not here.
    pub(crate) const REFUSED: u32 = 4;
    /// The issuing authority is not known here; a first contact may tell.
    pub(crate) const UNKNOWN_ISSUER: u32 = 5;
    /// Authorities were exchanged.
    pub(crate) const INTRODUCED: u32 = 6;
    /// The table is full.
    pub(crate) const FULL: u32 = 7;
    /// An operator removed the node.
    pub(crate) const REMOVED: u32 = 8;
}

/// Connections made within this time of each other are one mutual dial.
const MUTUAL: Duration = Duration::from_secs(3);
/// How long a connection that lost may finish what it carries.
const GRACE: Duration = Duration::from_secs(1);
/// Connections between one pair of nodes.
const PER_NODE: usize = 4;

/// One live connection to a node whose identity is bound.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) peer: Arc<Peer>,
    /// Whether this node dialled.
    pub(crate) dialled: bool,
    made: Instant,
    used: Instant,
    /// Packets received, and when that number last rose as far as was looked.
    heard: (u64, Instant),
    /// Whether an application round trip was completed.
    pub(crate) up: bool,
    /// Streams of this peer that may be served at a time, over all its connections.
    pub(crate) streams: Arc<Semaphore>,
}

impl Link {
    pub(crate) fn new(connection: Connection, peer: Arc<Peer>, dialled: bool) -> Self {
        let now = Instant::now();
        Self {
            connection,
            peer,
            dialled,
            made: now,
            used: now,
            heard: (0, now),
            up: false,
            streams: Arc::new(Semaphore::new(STREAMS_PER_PEER)),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.peer.certified.id
    }
}

/// The connections of one pool.
#[derive(Debug)]
pub(crate) struct Links {
    me: NodeId,
    limit: usize,
    table: Mutex<HashMap<NodeId, Vec<Link>>>,
}

impl Links {
    pub(crate) fn new(me: NodeId, limit: usize) -> Self {
        Self {
            me,
            limit,
            table: Mutex::default(),
        }
    }

    /// Enters a connection. `false`: this node has too many with that peer. When the whole table is full, the
    /// connection that was idle longest makes room.
    pub(crate) fn insert(&self, link: &mut Link) -> bool {
        let mut table = self.table();
        if !table.contains_key(&link.id()) && table.len() >= self.limit {
            let idle = table
                .iter()
                .filter_map(|(id, l)| Some((l.iter().map(|l| l.used).max()?, *id)))
                .min();
            if let Some((_, id)) = idle {
                let gone = table.remove(&id).unwrap_or_default();
                gone.iter().for_each(|l| {
                    l.connection
                        .close(VarInt::from_u32(close::FULL), b"table full")
                });
            }
        }
        let links = table.entry(link.id()).or_default();
        links.retain(|l| l.connection.close_reason().is_none());
        if links.len() >= PER_NODE {
            return false;
        }
        if let Some(first) = links.first() {
            link.streams = first.streams.clone();
        }
        links.push(link.clone());
        true
    }

    /// An application round trip was completed: the connection is up, and if it is the one to keep, others go.
    pub(crate) fn completed(&self, id: NodeId, connection: &Connection) {
        let mut table = self.table();
        let Some(links) = table.get_mut(&id) else {
            return;
        };
        for link in links
            .iter_mut()
            .filter(|l| l.connection.stable_id() == connection.stable_id())
        {
            link.up = true;
            link.used = Instant::now();
        }
        if links.len() < 2 {
            return;
        }
        let Some(winner) = self
            .preferred(links)
            .filter(|w| w.up)
            .map(|w| w.connection.stable_id())
        else {
            return;
        };
        for loser in links.iter().filter(|l| l.connection.stable_id() != winner) {
            let connection = loser.connection.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GRACE).await;
                connection.close(
                    VarInt::from_u32(close::DUPLICATE),
                    b"another connection is kept",
                );
            });
        }
        links.retain(|l| l.connection.stable_id() == winner);
    }

    /// The connection to use for a node.
    pub(crate) fn get(&self, id: NodeId) -> Option<Link> {
        self.choose(id, None)
    }

    /// The connection to use for a node at exactly this address: a node that started again elsewhere, or a second
    /// process with its key, is somebody else to talk to.
    pub(crate) fn get_at(&self, id: NodeId, address: SocketAddr) -> Option<Link> {
        self.choose(id, Some(address))
    }

    fn choose(&self, id: NodeId, address: Option<SocketAddr>) -> Option<Link> {
        let mut table = self.table();
        let links = table.get_mut(&id)?;
        links.retain(|l| l.connection.close_reason().is_none());
        let there = |l: &&Link| address.is_none_or(|a| l.connection.remote_address() == a);
        let up: Vec<_> = links
            .iter()
            .filter(|l| l.up)
            .filter(there)
            .cloned()
            .collect();
        let chosen = self.preferred(&up)?.connection.stable_id();
        let link = links
            .iter_mut()
            .find(|l| l.connection.stable_id() == chosen)?;
        link.used = Instant::now();
        Some(link.clone())
    }

    /// The node to which a connection with this address is up.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<Link> {
        let at = |l: &&Link| {
            l.up && l.connection.remote_address() == address
                && l.connection.close_reason().is_none()
        };
        let id = self.table().values().flatten().find(at).map(Link::id)?;
        self.get_at(id, address)
    }

    /// Since the peer was last heard: any packet counts, keep-alives included.
    pub(crate) fn last_contact_ms(&self, link: &Link) -> u64 {
        let received = link.connection.stats().udp_rx.datagrams;
        let mut table = self.table();
        let same = |l: &&mut Link| l.connection.stable_id() == link.connection.stable_id();
        let Some(entry) = table
            .get_mut(&link.id())
            .and_then(|l| l.iter_mut().find(same))
        else {
            return 0;
        };
        if received != entry.heard.0 {
            entry.heard = (received, Instant::now());
        }
        u64::try_from(entry.heard.1.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Forgets a connection that ended.
    pub(crate) fn remove(&self, id: NodeId, connection: &Connection) {
        let mut table = self.table();
        if let Some(links) = table.get_mut(&id) {
            links.retain(|l| l.connection.stable_id() != connection.stable_id());
            if links.is_empty() {
                table.remove(&id);
            }
        }
    }

    /// Every connection, in no order that means anything.
    pub(crate) fn all(&self) -> Vec<Link> {
        self.table().values().flatten().cloned().collect()
    }

    /// Of several, the one that both sides keep.
    fn preferred<'a>(&self, links: &'a [Link]) -> Option<&'a Link> {
        let newest = links.iter().map(|l| l.made).max()?;
        let mutual = |l: &&Link| newest.saturating_duration_since(l.made) < MUTUAL;
        let by_lower_id = |l: &&Link| l.dialled == (self.me < l.id());
        links
            .iter()
            .filter(mutual)
            .max_by_key(|l| (by_lower_id(l), l.made))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<NodeId, Vec<Link>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
