//! What readers of bytes from outside promise, for `crates/fuzz`: each function panics if a promise does not hold. Only compiled with
//! the feature `fuzz`, which changes nothing else.

use crate::{
    seal::{BootKey, MAX_DATAGRAM, OpenError, Parsed, Sealer},
    store::Store,
};
use pelago_proto::{federation::Memory, identity::NodeId};
use std::{path::Path, sync::Arc};

/// Header and tag of a datagram without introduction.
const AROUND: usize = 44;

/// Two processes that know each other's keys: `sender` seals, `receiver` opens.
#[derive(Debug)]
pub struct Pair {
    sender: Sealer,
    receiver: Sealer,
    names: [NodeId; 2],
    keys: [[u8; 32]; 2],
    last: Vec<u8>,
}

impl Pair {
    /// # Panics
    ///
    /// If the system has no randomness.
    pub fn new(sender: NodeId, receiver: NodeId) -> Self {
        let names = [sender, receiver];
        let keys = [(); 2].map(|()| Arc::new(BootKey::generate().expect("randomness")));
        let sealer = |at: usize| Sealer::new(names[at], Arc::clone(&keys[at]), "fuzz.test");
        Self {
            sender: sealer(0),
            receiver: sealer(1),
            names,
            keys: [keys[0].public(), keys[1].public()],
            last: Vec::new(),
        }
    }

    /// Seals a payload and opens it at the other end: the same comes out, once.
    ///
    /// # Panics
    ///
    /// If not, or if what is too large is sealed.
    pub fn pass(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let [_, to] = self.names;
        let sealed = self.sender.seal(to, self.keys[1], None, payload);
        let Ok(sealed) = sealed else {
            assert!(
                payload.len() + AROUND > MAX_DATAGRAM,
                "it would have fitted"
            );
            return None;
        };
        assert_eq!(sealed.len(), payload.len() + AROUND);
        let opened = open(&mut self.receiver, self.keys[0], &sealed).expect("it opens");
        assert_eq!(opened, payload, "what was said is heard");
        let again = open(&mut self.receiver, self.keys[0], &sealed);
        assert_eq!(again, Err(OpenError::Replay), "once only");
        self.last = sealed;
        Some(opened)
    }

    /// What was sealed last, with one byte changed, or any bytes at all: they open nowhere.
    ///
    /// # Panics
    ///
    /// If they do.
    pub fn forge(&mut self, at: u16, change: u8, bytes: &[u8]) {
        let mut changed = self.last.clone();
        if change != 0 && !changed.is_empty() {
            let at = usize::from(at) % changed.len();
            changed[at] ^= change;
            let opened = open(&mut self.receiver, self.keys[0], &changed);
            assert!(opened.is_err(), "byte {at} may be changed");
        }
        assert!(
            open(&mut self.receiver, self.keys[0], bytes).is_err(),
            "forged"
        );
        // Sent back to where it came from it opens as little.
        assert!(
            open(&mut self.sender, self.keys[1], &self.last).is_err(),
            "reflected"
        );
    }
}

fn open(sealer: &mut Sealer, key: [u8; 32], datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
    let parsed = Parsed::new(datagram).map_err(|_| OpenError::Forged)?;
    if let Some((record, leaf)) = parsed.introduction(datagram) {
        assert!(record.len() + leaf.len() < datagram.len(), "parts of it");
    }
    sealer.open(&parsed, key, datagram).map(<[u8]>::to_vec)
}

/// A state file: what is believed is of this node, and is written back as the same; nothing that is only nearly one is believed.
/// The file is given as its body; header and hash are put around it.
///
/// # Panics
///
/// If not.
pub fn state(me: NodeId, body: &[u8]) -> Option<Memory> {
    let store = Store::new(Path::new("nowhere"), "fuzz.test", me);
    assert!(store.decode(body).is_err(), "a body is no file");
    let memory = store.decode(&Store::around(body).expect("memory")).ok()?;
    let again = store.encode(&memory).expect("it can be written");
    let read = store.decode(&again).expect("and read");
    assert_eq!(read.boot, memory.boot);
    let kept = |all: &[std::net::SocketAddr]| all.iter().copied().take(256).collect::<Vec<_>>();
    assert_eq!(read.lan_peers, kept(&memory.lan_peers));
    assert_eq!(read.wan_peers, kept(&memory.wan_peers));
    assert_eq!(read.removals, memory.removals);
    Some(memory)
}

/// The body of a sound state file, as a seed.
pub fn state_body(me: NodeId, memory: &Memory) -> Vec<u8> {
    let store = Store::new(Path::new("nowhere"), "fuzz.test", me);
    store.body(memory).expect("it can be written")
}
