//! What each node sent, in packets and in bytes on the wire.

use std::ops::{Add, AddAssign, Sub};

/// Packets and bytes, all headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Meter {
    pub(crate) const fn new(packets: usize, bytes: usize) -> Self {
        Self {
            packets: packets as u64,
            bytes: bytes as u64,
        }
    }
}

impl Add for Meter {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self {
            packets: self.packets + rhs.packets,
            bytes: self.bytes + rhs.bytes,
        }
    }
}

impl AddAssign for Meter {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Sub for Meter {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self {
            packets: self.packets - rhs.packets,
            bytes: self.bytes - rhs.bytes,
        }
    }
}

/// What the frames of datagrams are called, in the order of their numbers, which begin with 1.
const FRAMES: [&str; 5] = ["ping", "ack", "ping-req", "relayed", "news"];

/// One node's sending, by kind. Survives the node's restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sealed datagrams inside the datacenter, introductions included.
    pub lan: Meter,
    /// Of these, pings, acks, questions to relays, their answers, and pushed news.
    pub frames: [Meter; FRAMES.len()],
    /// Of these, those to other zones.
    pub far: Meter,
    /// Of these, the introductions alone: how many, and their bytes.
    pub introductions: Meter,
    /// Datagrams between elected servers.
    pub wan: Meter,
    /// Streams inside the datacenter, both questions and answers, handshakes included.
    pub lan_streams: Meter,
    /// Streams between servers of different datacenters.
    pub wan_streams: Meter,
    /// Signatures made.
    pub signed: u64,
    /// Signatures checked.
    pub verified: u64,
}

impl Traffic {
    /// Everything that left the node.
    pub fn total(&self) -> Meter {
        self.lan + self.wan + self.lan_streams + self.wan_streams
    }

    /// What inter-datacenter links carried of it.
    pub fn between_datacenters(&self) -> Meter {
        self.wan + self.wan_streams
    }

    /// Everything that left the node, by kind.
    pub fn kinds(&self) -> Vec<(&'static str, Meter)> {
        let frames = FRAMES.into_iter().zip(self.frames);
        let rest = [
            ("LAN streams", self.lan_streams),
            ("WAN datagrams", self.wan),
            ("WAN streams", self.wan_streams),
        ];
        frames.chain(rest).collect()
    }

    /// Counts a datagram inside the datacenter. Its third byte says what it is (`proto::wire`).
    pub(crate) fn lan_datagram(&mut self, payload: &[u8], sent: Meter) {
        self.lan += sent;
        let number = payload.get(2).map_or(0, |number| usize::from(*number));
        if let Some(frame) = number.checked_sub(1).and_then(|n| self.frames.get_mut(n)) {
            *frame += sent;
        }
    }

    pub(crate) fn add(self, rhs: Self) -> Self {
        Self {
            lan: self.lan + rhs.lan,
            frames: std::array::from_fn(|n| self.frames[n] + rhs.frames[n]),
            far: self.far + rhs.far,
            introductions: self.introductions + rhs.introductions,
            wan: self.wan + rhs.wan,
            lan_streams: self.lan_streams + rhs.lan_streams,
            wan_streams: self.wan_streams + rhs.wan_streams,
            signed: self.signed + rhs.signed,
            verified: self.verified + rhs.verified,
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            lan: self.lan - earlier.lan,
            frames: std::array::from_fn(|n| self.frames[n] - earlier.frames[n]),
            far: self.far - earlier.far,
            introductions: self.introductions - earlier.introductions,
            wan: self.wan - earlier.wan,
            lan_streams: self.lan_streams - earlier.lan_streams,
            wan_streams: self.wan_streams - earlier.wan_streams,
            signed: self.signed - earlier.signed,
            verified: self.verified - earlier.verified,
        }
    }
}
