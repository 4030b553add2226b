//! How a LAN datagram looks and how it is protected: one key per pair of processes, none shared by a group.
//!
//! ```text
//!  0      version = 1
//!  1      flags: bit 0 = introduction follows; the others are zero
//!  2..18  sender's node id
//! 18..20  tag of the receiver's key: first two bytes of its X25519 public key
//! 20..28  counter, big endian
//! [28..   introduction: u16 length, record, u16 length, leaf certificate (DER), lengths big endian]
//!  ..     payload, AES-256-GCM
//!  last 16 tag
//! ```
//!
//! 44 bytes around a payload, 48 plus record and leaf with an introduction. Everything before the payload is
//! additional data. Whole datagrams have at most 1,200 bytes.
//!
//! **Keys.** Every process draws an X25519 key when it starts and publishes it in its signed record; it is never
//! written down. Both ends of a pair compute the same secret and derive, with HKDF-SHA256 (salt: trust domain; info:
//! label, both ids and both public keys in the order of the ids), an AES-256 key and a 12-byte base per *direction*, so
//! a packet reflected to its sender opens nowhere.
//!
//! **Nonces.** nonce = base XOR counter. Each direction counts from 0 and never goes back while the process lives: when
//! a pair is dropped from the cache its counter becomes the floor from which any pair derived again goes on. A new
//! process has a new key. So no (key, nonce) pair is ever used twice.
//!
//! **Replay.** The last 1,024 counters of each peer key are remembered; the window moves only after a packet has
//! opened. At most 16,384 pairs are kept. More than there are members in a datacenter, so only keys of earlier boots go.

use crate::window::Window;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use pelago_proto::{federation::Introduction, identity::NodeId};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// Largest datagram, everything included.
pub(crate) const MAX_DATAGRAM: usize = 1200;
const HEADER: usize = 28;
const TAG: usize = 16;
const VERSION: u8 = 1;
const INTRODUCED: u8 = 1;
/// Pairs per generation of the cache; two generations are kept.
const GENERATION: usize = 8192;

/// A packet that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("shorter than a header and a tag")]
    Short,
    #[error("longer than {MAX_DATAGRAM} bytes")]
    Oversized,
    #[error("another format")]
    Version,
    #[error("lengths do not add up")]
    Malformed,
}

/// A packet that did not open. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("seen before, or too old to tell")]
    Replay,
    #[error("does not open under this key")]
    Forged,
}

/// A packet that could not be sealed. Nothing was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("more than {MAX_DATAGRAM} bytes with everything around it")]
    TooLarge,
    #[error("the peer's key is unusable")]
    Key,
}

/// Where the parts of a datagram are. Says nothing yet about who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) sender: NodeId,
    pub(crate) receiver: [u8; 2],
    counter: u64,
    introduction: Option<(Range<usize>, Range<usize>)>,
    body: usize,
}

impl Parsed {
    /// Splits a datagram. No allocation, no cryptography.
    pub(crate) fn new(datagram: &[u8]) -> Result<Self, ParseError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(ParseError::Oversized);
        }
        let (header, _) = datagram
            .split_first_chunk::<HEADER>()
            .ok_or(ParseError::Short)?;
        if datagram.len() < HEADER + TAG {
            return Err(ParseError::Short);
        }
        let [version, flags, rest @ ..] = header;
        if *version != VERSION || flags & !INTRODUCED != 0 {
            return Err(ParseError::Version);
        }
        let (sender, rest) = rest.split_first_chunk::<16>().ok_or(ParseError::Short)?;
        let (receiver, rest) = rest.split_first_chunk::<2>().ok_or(ParseError::Short)?;
        let counter = u64::from_be_bytes(*rest.first_chunk().ok_or(ParseError::Short)?);
        let mut body = HEADER;
        let introduction = if flags & INTRODUCED == 0 {
            None
        } else {
            let record = field(datagram, body)?;
            let leaf = field(datagram, record.end)?;
            body = leaf.end;
            Some((record, leaf))
        };
        if datagram.len() < body + TAG {
            return Err(ParseError::Malformed);
        }
        Ok(Self {
            sender: NodeId(*sender),
            receiver: *receiver,
            counter,
            introduction,
            body,
        })
    }

    /// Record and leaf, if the sender introduces itself.
    pub(crate) fn introduction<'a>(&self, datagram: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (record, leaf) = self.introduction.clone()?;
        Some((datagram.get(record)?, datagram.get(leaf)?))
    }
}

fn field(datagram: &[u8], at: usize) -> Result<Range<usize>, ParseError> {
    let length = datagram
        .get(at..)
        .and_then(|b| b.first_chunk::<2>())
        .ok_or(ParseError::Malformed)?;
    let start = at + 2;
    let end = start + usize::from(u16::from_be_bytes(*length));
    if end > datagram.len() {
        Err(ParseError::Malformed)
    } else {
        Ok(start..end)
    }
}

/// This process's X25519 key: new at every start, never written down.
pub(crate) struct BootKey {
    private: PrivateKey,
    public: [u8; 32],
}

impl std::fmt::Debug for BootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootKey").finish_non_exhaustive()
    }
}

impl BootKey {
    /// `None` if the system has no randomness.
    pub(crate) fn generate() -> Option<Self> {
        PrivateKey::generate(&X25519).ok().and_then(Self::new)
    }

    fn new(private: PrivateKey) -> Option<Self> {
        let public = private.compute_public_key().ok()?;
        let public = public.as_ref().try_into().ok()?;
        Some(Self { private, public })
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.public
    }
}

/// Seals and opens this node's LAN datagrams.
pub(crate) struct Sealer {
    me: NodeId,
    key: Arc<BootKey>,
    trust_domain: String,
    young: HashMap<(NodeId, [u8; 32]), Pair>,
    old: HashMap<(NodeId, [u8; 32]), Pair>,
    /// No pair that was dropped has counted further than this.
    floor: u64,
    generation: usize,
    /// Holds what was opened last.
    payload: Vec<u8>,
}

struct Pair {
    send: Direction,
    receive: Direction,
    counter: u64,
    window: Window,
}

struct Direction {
    key: LessSafeKey,
    base: [u8; NONCE_LEN],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("me", &self.me)
            .field("pairs", &self.pairs())
            .finish_non_exhaustive()
    }
}

impl Sealer {
    pub(crate) fn new(me: NodeId, key: Arc<BootKey>, trust_domain: &str) -> Self {
        Self {
            me,
            key,
            trust_domain: trust_domain.into(),
            young: HashMap::new(),
            old: HashMap::new(),
            floor: 0,
            generation: GENERATION,
            payload: Vec::with_capacity(MAX_DATAGRAM),
        }
    }

    /// Pairs held.
    pub(crate) fn pairs(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// The tag by which packets sealed to an earlier boot of this node are told apart without cryptography.
    pub(crate) fn my_tag(&self) -> [u8; 2] {
        tag(&self.key.public)
    }

    /// Builds one datagram for `to`, whose key of this boot is `key`.
    pub(crate) fn seal(
        &mut self,
        to: NodeId,
        key: [u8; 32],
        introduction: Option<&Introduction>,
        payload: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let clear = introduction.map_or(0, |i| 4 + i.record.len() + i.leaf.len());
        let length = HEADER + clear + payload.len() + TAG;
        if length > MAX_DATAGRAM {
            return Err(SealError::TooLarge);
        }
        let me = self.me;
        let pair = self.pair(to, key).ok_or(SealError::Key)?;
        let counter = pair.counter;
        pair.counter = counter.checked_add(1).ok_or(SealError::Key)?;
        let mut out = Vec::with_capacity(length);
        out.extend([
            VERSION,
            if introduction.is_some() {
                INTRODUCED
            } else {
                0
            },
        ]);
        out.extend(me.0);
        out.extend(tag(&key));
        out.extend(counter.to_be_bytes());
        for part in introduction.iter().flat_map(|i| [&i.record, &i.leaf]) {
            out.extend(
                u16::try_from(part.len())
                    .map_err(|_| SealError::TooLarge)?
                    .to_be_bytes(),
            );
            out.extend_from_slice(part);
        }
        let body = out.len();
        out.extend_from_slice(payload);
        let (header, sealed) = out.split_at_mut(body);
        let mac = pair
            .send
            .key
            .seal_in_place_separate_tag(pair.send.nonce(counter), Aad::from(&*header), sealed)
            .map_err(|_| SealError::Key)?;
        out.extend_from_slice(mac.as_ref());
        Ok(out)
    }

    /// Opens a datagram as one from `parsed.sender` under `key`; returns the payload. The datagram stays as it is, so
    /// that another key can be tried.
    pub(crate) fn open(
        &mut self,
        parsed: &Parsed,
        key: [u8; 32],
        datagram: &[u8],
    ) -> Result<&[u8], OpenError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let opened = self.open_into(parsed, key, datagram, &mut payload);
        self.payload = payload;
        opened.map(|()| self.payload.as_slice())
    }

    fn open_into(
        &mut self,
        parsed: &Parsed,
        key: [u8; 32],
        datagram: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let pair = self.pair(parsed.sender, key).ok_or(OpenError::Forged)?;
        if !pair.window.is_new(parsed.counter) {
            return Err(OpenError::Replay);
        }
        let (header, sealed) = datagram
            .split_at_checked(parsed.body)
            .ok_or(OpenError::Forged)?;
        let (sealed, mac) = sealed
            .split_at_checked(sealed.len().saturating_sub(TAG))
            .ok_or(OpenError::Forged)?;
        let nonce = pair.receive.nonce(parsed.counter);
        payload.resize(sealed.len(), 0);
        let key = &pair.receive.key;
        key.open_separate_gather(nonce, Aad::from(header), sealed, mac, payload)
            .map_err(|_| OpenError::Forged)?;
        pair.window.mark(parsed.counter);
        Ok(())
    }

    /// Finds or derives a pair. Two generations stand in for "least recently used": what was not asked for while
    /// `generation` others were, goes.
    fn pair(&mut self, peer: NodeId, key: [u8; 32]) -> Option<&mut Pair> {
        let name = (peer, key);
        if !self.young.contains_key(&name) {
            let pair = match self.old.remove(&name) {
                Some(pair) => pair,
                None => self.derive(peer, &key)?,
            };
            if self.young.len() >= self.generation {
                let aged = std::mem::take(&mut self.young);
                let gone = std::mem::replace(&mut self.old, aged);
                let furthest = gone.into_values().map(|p| p.counter).max().unwrap_or(0);
                self.floor = self.floor.max(furthest);
            }
            self.young.insert(name, pair);
        }
        self.young.get_mut(&name)
    }

    fn derive(&self, peer: NodeId, key: &[u8; 32]) -> Option<Pair> {
        let mine = (self.me, self.key.public);
        let theirs = (peer, *key);
        let (low, high) = if mine.0 < theirs.0 {
            (mine, theirs)
        } else {
            (theirs, mine)
        };
        let salt = Salt::new(HKDF_SHA256, self.trust_domain.as_bytes());
        agreement::agree(
            &self.key.private,
            UnparsedPublicKey::new(&X25519, key),
            (),
            |secret| {
                // A low-order key gives a secret that everybody knows. The provider refuses it too; this does not rely on it.
                if secret.iter().all(|b| *b == 0) {
                    return Err(());
                }
                let prk = salt.extract(secret);
                let direction = |from: NodeId| {
                    let info = [
                        b"pelago-lan/1".as_slice(),
                        &low.0.0,
                        &high.0.0,
                        &low.1,
                        &high.1,
                        &from.0,
                    ];
                    let mut okm = [0; Okm::LEN];
                    prk.expand(&info, Okm).ok()?.fill(&mut okm).ok()?;
                    let (key, base) = okm.split_first_chunk::<32>()?;
                    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
                    Some(Direction {
                        key,
                        base: *base.first_chunk()?,
                    })
                };
                let pair = (|| {
                    let (send, receive) = (direction(mine.0)?, direction(theirs.0)?);
                    Some(Pair {
                        send,
                        receive,
                        counter: self.floor,
                        window: Window::default(),
                    })
                })();
                Ok(pair)
            },
        )
        .ok()
        .flatten()
    }
}

impl Direction {
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = self.base;
        for (byte, count) in nonce
            .iter_mut()
            .rev()
            .zip(counter.to_be_bytes().iter().rev())
        {
            *byte ^= count;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Length of what one direction needs: key and nonce base.
struct Okm;

impl Okm {
    const LEN: usize = 32 + NONCE_LEN;
}

impl KeyType for Okm {
    fn len(&self) -> usize {
        Self::LEN
    }
}

fn tag(key: &[u8; 32]) -> [u8; 2] {
    let [a, b, ..] = *key;
    [a, b]
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
