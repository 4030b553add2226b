//! Copies of the LAN datagrams that leave the nodes of one process: whoever tests against replays needs some to replay.
//!
//! Off unless asked for, and bounded in packets. QUIC packets are not copied: QUIC has its own protection against replays.

use crate::fault::Faults;
use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// One LAN datagram as it went over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it was to go.
    pub to: SocketAddr,
    /// Everything, sealed.
    pub bytes: Box<[u8]>,
}

/// What was copied so far.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    on: AtomicBool,
    copies: Mutex<(usize, Vec<Datagram>)>,
}

impl Tap {
    pub(crate) fn copy(&self, to: SocketAddr, bytes: &[u8]) {
        if !self.on.load(Relaxed) {
            return;
        }
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let (limit, datagrams) = &mut *copies;
        if datagrams.len() < *limit {
            let bytes = bytes.into();
            datagrams.push(Datagram { to, bytes });
        }
    }
}

impl Faults {
    /// Copies the next LAN datagrams that leave a node of this process, up to `limit`. Nothing on [`Faults::none`].
    pub fn record(&self, limit: usize) {
        if let Some(tap) = self.tap() {
            *tap.copies.lock().unwrap_or_else(PoisonError::into_inner) = (limit, Vec::new());
            tap.on.store(true, Relaxed);
        }
    }

    /// Ends copying and hands out what was copied, in the order in which it left.
    pub fn recorded(&self) -> Vec<Datagram> {
        let Some(tap) = self.tap() else {
            return Vec::new();
        };
        tap.on.store(false, Relaxed);
        let mut copies = tap.copies.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *copies).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_bounded_and_off_unless_asked_for() {
        let faults = Faults::new(1);
        let tap = faults.tap().expect("a layer");
        let to = ([127, 0, 0, 1], 1).into();
        tap.copy(to, &[1]);
        faults.record(2);
        (2..9).for_each(|byte| tap.copy(to, &[byte]));
        let bytes: Vec<_> = faults.recorded().iter().map(|d| d.bytes.to_vec()).collect();
        assert_eq!(bytes, [vec![2], vec![3]]);
        tap.copy(to, &[1]);
        assert_eq!(faults.recorded(), []);
        Faults::none().record(9);
        assert_eq!(Faults::none().recorded(), []);
    }
}
