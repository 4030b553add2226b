//! How a member is reached and where it stands: what pools need of a record, and nothing of who vouches for it.

use crate::{
    claim::Record,
    identity::{Incarnation, NodeId},
    sampler::Place,
    trust::Certified,
};
use aws_lc_rs::digest::{SHA256, digest};
use std::{net::SocketAddr, time::Duration};

/// What one record says about reaching its author. Never changes; shared by everybody in a process who knows the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub id: NodeId,
    /// Failure domain.
    pub place: Place,
    /// Place on the ring.
    pub position: u64,
    /// Datagram address.
    pub address: SocketAddr,
    /// Stream address.
    pub stream: SocketAddr,
    /// LAN key of its boot.
    pub key: [u8; 32],
    /// The record's incarnation.
    pub incarnation: Incarnation,
    /// Silence that counts.
    pub floor: Duration,
}

impl Contact {
    /// In its own datacenter.
    pub fn lan(record: &Record, certified: &Certified) -> Self {
        Self {
            id: certified.id,
            place: Place {
                zone: certified.zone.clone(),
                rack: certified.rack.clone(),
            },
            position: position(&certified.serial),
            address: record.lan,
            stream: record.stream(),
            key: record.lan_key,
            incarnation: record.incarnation,
            floor: record.floor(),
        }
    }

    /// The same member between datacenters, where a region is a zone and a datacenter a rack.
    #[must_use]
    pub fn abroad(&self, record: &Record, address: SocketAddr) -> Self {
        Self {
            place: Place {
                zone: record.location.region.clone(),
                rack: record.location.datacenter.clone(),
            },
            address,
            stream: address,
            ..self.clone()
        }
    }
}

/// A member's place on the ring: a hash over its certificate's serial number, which no holder can choose.
pub fn position(serial: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, &[b"ring", serial].concat()).as_ref()[..8]);
    u64::from_be_bytes(first)
}
