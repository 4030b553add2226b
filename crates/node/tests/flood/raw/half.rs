//! One packet number space of a connection (RFC 9000, section 12.3): its keys, its numbers and its part of the handshake.

use super::{frames, wire};
use rustls::quic::{Keys, PacketKey, PacketKeySet, Secrets};
use std::collections::{BTreeMap, VecDeque};

/// Acknowledgements in one packet at most, and packets that are remembered for them: who never acknowledges need not
/// remember either.
const TURN: usize = 64;
const REMEMBERED: usize = 1024;

#[derive(Default)]
pub(super) struct Half {
    keys: Option<Keys>,
    /// The keys after those in use, and what further ones follow from.
    ahead: Option<(PacketKeySet, Secrets)>,
    phase: bool,
    next: u64,
    pub(super) largest: Option<u64>,
    /// What came and was not acknowledged yet.
    unacked: VecDeque<u64>,
    /// Bytes of the handshake sent, received, and received too early.
    pub(super) written: u64,
    read: u64,
    early: BTreeMap<u64, Vec<u8>>,
}

impl Half {
    pub(super) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    pub(super) fn set_keys(&mut self, keys: Keys, next: Option<Secrets>) {
        self.keys = Some(keys);
        self.ahead = next.map(|mut next| (next.next_packet_keys(), next));
    }

    /// Protects a packet under the next number.
    pub(super) fn seal(&mut self, mut header: Vec<u8>, payload: &[u8]) -> Vec<u8> {
        header[0] |= u8::from(self.phase) << 2;
        let keys = self.keys.as_ref().expect("keys");
        let packet = wire::seal(&keys.local, header, self.next, payload);
        self.next += 1;
        packet
    }

    /// Opens a packet. The node changes its keys now and then, and we with it (RFC 9001, section 6).
    pub(super) fn open(&mut self, packet: &[u8], number_at: usize) -> Option<(u64, Vec<u8>)> {
        let keys = self.keys.as_mut()?;
        let (header, largest) = (&*keys.remote.header, self.largest);
        let open = |key: &dyn PacketKey| wire::open(header, key, packet, number_at, largest);
        let mut opened = open(&*keys.remote.packet);
        if let (None, Some((ahead, secrets))) = (&opened, &mut self.ahead) {
            opened = open(&*ahead.remote);
            if opened.is_some() {
                let now = std::mem::replace(ahead, secrets.next_packet_keys());
                (keys.local.packet, keys.remote.packet) = (now.local, now.remote);
                self.phase = !self.phase;
            }
        }
        let opened = opened?;
        self.largest = self.largest.max(Some(opened.0));
        Some(opened)
    }

    /// A packet came that has to be acknowledged.
    pub(super) fn owe(&mut self, packet: u64) {
        self.unacked.push_back(packet);
        let old = self.unacked.len().saturating_sub(REMEMBERED);
        self.unacked.drain(..old);
    }

    /// Acknowledges the latest that came, as many as go into one packet.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<u8>) {
        let from = self.unacked.len().saturating_sub(TURN);
        let latest = self.unacked.drain(from..);
        latest.for_each(|number| frames::ack(out, number, 0));
    }

    /// Bytes of the handshake came; returns what can be read now.
    pub(super) fn crypto(&mut self, offset: u64, data: Vec<u8>) -> Vec<u8> {
        self.early.insert(offset, data);
        let mut ready = Vec::new();
        while let Some(data) = self.early.remove(&self.read) {
            self.read += data.len() as u64;
            ready.extend(data);
        }
        ready
    }
}
