//! Claims that are well signed and must not be believed: in somebody else's name, beside the signer's certificate, or beyond
//! what its role may say.

use super::liar::{accusation, incarnation, record};
use crate::{trust::SimTrust, world::World};
use pelago_proto::{
    claim::{Alive, Body, Claim, Head, Leave, Record},
    identity::{Incarnation, Label, Role},
    trust::{Authority, Certified, Refusal, Trust},
    wire::{Frame, HeadItem, Item},
};
use rand::{RngExt, rngs::ChaCha8Rng};
use std::{sync::Arc, time::Duration};

/// A key that signs in the name of whoever `own` is.
struct Impostor<'a> {
    hand: &'a SimTrust,
    own: Arc<Certified>,
}

impl Trust for Impostor<'_> {
    fn trust_domain(&self) -> &str {
        self.hand.trust_domain()
    }
    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.hand.certify(leaf)
    }
    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        self.hand.certify_ended(leaf)
    }
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        self.hand.verify(key, message, signature)
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.hand.sign(message)
    }
    fn own(&self) -> Arc<Certified> {
        Arc::clone(&self.own)
    }
    fn authorities(&self) -> Vec<Authority> {
        self.hand.authorities()
    }
    fn admit_authority(&self, certificate: &[u8], crl: &[u8]) -> Result<bool, Refusal> {
        self.hand.admit_authority(certificate, crl)
    }
    fn unix_time(&self) -> u64 {
        self.hand.unix_time()
    }
    fn lan_public_key(&self) -> [u8; 32] {
        self.hand.lan_public_key()
    }
}

/// Claims in the victim's name, and a record of the liar's own that says what its certificate does not.
pub(super) fn claims(
    world: &World,
    host: usize,
    victim: usize,
    third: usize,
    dice: &mut ChaCha8Rng,
) -> Vec<Item> {
    let (Some(process), Some(whom)) = (&world.slots[host].process, world.certified(victim)) else {
        return Vec::new();
    };
    let leaf = &world.slots[host].identity.leaf;
    let item = |trust: &dyn Trust, body: Body| Item {
        leaf: matches!(body, Body::Record(_)).then(|| Arc::clone(leaf)),
        claim: Arc::clone(Claim::sign(trust, body).bytes()),
    };
    let hand: &SimTrust = &process.trust;
    let impostor = Impostor { hand, own: whom };
    let later = next(incarnation(world, victim));
    let stolen = Record {
        incarnation: later,
        ..record(world, host, later)
    };
    let named = match dice.random_range(0..4) {
        0 => Body::Alive(Alive {
            incarnation: later,
            record: [0; 8],
        }),
        1 => Body::Leave(Leave { incarnation: later }),
        2 => accusation(world, third, 0),
        _ => Body::Record(Arc::new(stolen)),
    };
    // Not remembered by the world as a claim that somebody verified: it goes through an impostor of the liar itself.
    let myself = Impostor {
        hand,
        own: hand.own(),
    };
    let mine = embellished(world, host, victim, dice);
    vec![
        item(&impostor, named),
        item(&myself, Body::Record(Arc::new(mine))),
    ]
}

/// The liar's next record, with one thing in it that is not so.
fn embellished(world: &World, host: usize, victim: usize, dice: &mut ChaCha8Rng) -> Record {
    let mut mine = record(world, host, next(incarnation(world, host)));
    let other = Label::new("elsewhere").unwrap_or_else(|_| mine.name.clone());
    let abroad = world
        .slots
        .iter()
        .find(|slot| slot.who.datacenter != mine.location.datacenter);
    match dice.random_range(0..6) {
        0 => mine.name = world.slots[victim].who.name.clone(),
        1 => mine.location.rack = other,
        2 => mine.location.zone = other,
        3 => mine.location.datacenter = abroad.map_or(other, |slot| slot.who.datacenter.clone()),
        4 if mine.role == Role::Client => {
            mine.seat = true;
            mine.wan = Some(world.slots[victim].settings.lan);
        }
        4 => mine.role = Role::Client,
        _ => mine.lan.set_ip([192, 0, 2, 1].into()),
    }
    mine
}

/// A head that a client signed.
pub(super) fn heads(world: &World, host: usize) -> Option<Frame> {
    let slot = &world.slots[host];
    let process = slot
        .process
        .as_ref()
        .filter(|_| slot.who.role == Role::Client)?;
    let head = Head {
        incarnation: next(incarnation(world, host)),
        digest: 1,
        members: 1,
        alive: 1,
        seats: Vec::new(),
    };
    let myself = Impostor {
        hand: &process.trust,
        own: process.trust.own(),
    };
    let item = Item {
        claim: Arc::clone(Claim::sign(&myself, Body::Head(head)).bytes()),
        leaf: None,
    };
    Some(Frame::Heads {
        heads: vec![HeadItem {
            item,
            age: Duration::ZERO,
            direct: true,
        }],
    })
}

fn next(incarnation: Incarnation) -> Incarnation {
    Incarnation {
        seq: incarnation.seq + 1,
        ..incarnation
    }
}
