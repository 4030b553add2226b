//! What honest nodes send: only what was truly signed, only where its receiver said it is, and no more than there is to say.

use super::{
    safety::{Verdict, broken},
    truth::Truth,
};
use crate::{slot::Endpoint, tap::Sent, trust::SimTrust, world::World};
use pelago_proto::{
    claim::{Body, Claim, verify},
    federation::{Tier, Transmit},
    identity::Role,
    time::Time,
    wire::{Ask, Bundle, Frame, HeadItem, Item, Reply},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Datagrams that a node may send in a second, and more for each claim that is new in it.
const QUIET: usize = 400;
const PER_CLAIM: usize = 40;

/// Listens to everything that honest nodes send.
pub(crate) struct Wire {
    auditor: SimTrust,
    /// Claims found to be truly signed.
    sound: BTreeSet<[u8; 8]>,
    /// Datagrams by host in this second, and the claims that were new in it and the one before.
    sent: BTreeMap<usize, usize>,
    said: (usize, usize),
    second: Time,
}

impl Wire {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            auditor: SimTrust::new(&world.realm, &world.slots[0].identity, &[], [0; 32]),
            sound: BTreeSet::new(),
            sent: BTreeMap::new(),
            said: (0, 0),
            second: world.now,
        }
    }

    pub(crate) fn check(
        &mut self,
        world: &World,
        truth: &Truth,
        host: usize,
        sent: &Sent,
    ) -> Verdict {
        let name = &world.slots[host].name;
        let tier = match sent {
            Sent::Datagram(transmit) => transmit.tier,
            Sent::Question(tier, _) | Sent::Answer(tier, _) => *tier,
        };
        if tier == Tier::Wan && world.slots[host].who.role != Role::Server {
            let detail = format!("{name}, a client, speaks on the WAN");
            return broken(world, "I-08 clients stay off the WAN", detail);
        }
        if let Sent::Datagram(transmit) = sent {
            self.check_address(world, truth, host, transmit)?;
            self.check_rate(world, host)?;
        }
        for claim in claims(sent) {
            self.check_claim(world, truth, host, &claim)?;
        }
        Ok(())
    }

    /// Datagrams go only where the receiver itself said that it is.
    fn check_address(
        &self,
        world: &World,
        truth: &Truth,
        host: usize,
        transmit: &Transmit,
    ) -> Verdict {
        let at = match Endpoint::at(transmit.address) {
            Some(Endpoint::Lan(at) | Endpoint::Stream(at) | Endpoint::Wan(at)) => at,
            None => usize::MAX,
        };
        let there = world.slots.get(at).map(|slot| slot.id);
        let lies = world
            .ids
            .get(&transmit.to)
            .is_some_and(|to| truth.liars.contains(to));
        if there != Some(transmit.to) && !lies {
            let detail = format!("{} sends to {}", world.slots[host].name, transmit.address);
            return broken(world, "I-26 only to addresses that were signed", detail);
        }
        Ok(())
    }

    fn check_rate(&mut self, world: &World, host: usize) -> Verdict {
        if world.now.since(self.second) >= Duration::from_secs(1) {
            self.second = world.now;
            self.said = (0, self.said.0);
            self.sent.clear();
        }
        let sent = self.sent.entry(host).or_default();
        *sent += 1;
        let most = QUIET + PER_CLAIM * (self.said.0 + self.said.1) + 10 * world.slots.len();
        if *sent > most {
            let detail = format!(
                "{} sent {sent} datagrams in a second",
                world.slots[host].name
            );
            return broken(world, "I-24 no storms", detail);
        }
        Ok(())
    }

    fn check_claim(
        &mut self,
        world: &World,
        truth: &Truth,
        host: usize,
        bytes: &Arc<[u8]>,
    ) -> Verdict {
        let name = &world.slots[host].name;
        let unsound =
            |what: String| broken(world, "I-01 only what was verified is passed on", what);
        let Ok(claim) = Claim::parse(bytes) else {
            return unsound(format!("{name} sends a claim that cannot be read"));
        };
        let slot = &world.slots[host];
        if claim.signer == slot.id
            && let Some(last) = truth.left.get(&(host, slot.epoch))
            && matches!(claim.body, Body::Record(_) | Body::Alive(_))
            && claim.incarnation() > Some(*last)
        {
            let detail = format!("{name} left and signs {:?}", claim.body);
            return broken(world, "I-19 whoever left says nothing more", detail);
        }
        if !self.sound.insert(claim.hash()) {
            return Ok(());
        }
        self.said.0 += 1;
        let operator = matches!(claim.body, Body::Removal(_));
        let Some(signer) = world.ids.get(&claim.signer).filter(|_| !operator) else {
            return unsound(format!("{name} passes on {:?} of nobody", claim.body));
        };
        let Some(certified) = world.certified(*signer) else {
            return unsound(format!("{name} passes on {:?}", claim.body));
        };
        let mut certified = (*certified).clone();
        if let Body::Record(record) = &claim.body {
            // Renewed certificates are over the same key.
            certified.cert_hash = record.cert_hash;
        }
        let body = claim.body.clone();
        match verify(&self.auditor, claim, &Arc::new(certified)) {
            Ok(_) => Ok(()),
            Err(why) => unsound(format!("{name} passes on {body:?}: {why}")),
        }
    }
}

/// Every claim in a message.
fn claims(sent: &Sent) -> Vec<Arc<[u8]>> {
    let mut claims = Vec::new();
    match sent {
        Sent::Datagram(transmit) => {
            claims.extend(
                transmit
                    .introduction
                    .iter()
                    .map(|card| Arc::clone(&card.record)),
            );
            match Frame::decode(&transmit.payload) {
                Ok(Frame::Ping { news, .. } | Frame::Ack { news, .. } | Frame::News { news }) => {
                    items(&news, &mut claims);
                }
                Ok(Frame::Heads { heads: told }) => heads(&told, &mut claims),
                Ok(Frame::PingReq { .. } | Frame::Relayed { .. }) | Err(_) => {}
            }
        }
        Sent::Question(_, body) => match Ask::decode(body) {
            Ok(Ask::Probe { news }) => items(&news, &mut claims),
            Ok(Ask::Introduce { me, you, .. }) => {
                bundles(std::iter::once(&me).chain(&you), &mut claims);
            }
            Ok(Ask::Exchange { give, .. }) => bundles(&give, &mut claims),
            Ok(Ask::Seats { mine, .. }) => bundles(&mine, &mut claims),
            Ok(Ask::Pull { .. } | Ask::Compare { .. } | Ask::Heads) | Err(_) => {}
        },
        Sent::Answer(_, body) => match Reply::decode(body) {
            Ok(Reply::Here { news }) => items(&news, &mut claims),
            Ok(Reply::Page {
                bundles: told, you, ..
            }) => bundles(told.iter().chain(&you), &mut claims),
            Ok(Reply::Busy { referrals, .. }) => bundles(&referrals, &mut claims),
            Ok(Reply::Met { me, you, .. }) => {
                bundles(std::iter::once(&me).chain(&you), &mut claims);
            }
            Ok(Reply::Given { bundles: told } | Reply::Seats { bundles: told, .. }) => {
                bundles(&told, &mut claims);
            }
            Ok(Reply::Heads { heads: told }) => heads(&told, &mut claims),
            Ok(Reply::Differences { .. }) | Err(_) => {}
        },
    }
    claims
}

fn items(items: &[Item], claims: &mut Vec<Arc<[u8]>>) {
    claims.extend(items.iter().map(|item| Arc::clone(&item.claim)));
}

fn heads(heads: &[HeadItem], claims: &mut Vec<Arc<[u8]>>) {
    claims.extend(heads.iter().map(|head| Arc::clone(&head.item.claim)));
}

fn bundles<'a>(bundles: impl IntoIterator<Item = &'a Bundle>, claims: &mut Vec<Arc<[u8]>>) {
    for bundle in bundles {
        claims.extend(bundle.claims.iter().cloned());
        claims.extend(bundle.removal.iter().map(|item| Arc::clone(&item.claim)));
    }
}
