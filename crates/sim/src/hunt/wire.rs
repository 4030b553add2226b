//! What honest nodes send: only what was truly signed, only where its receiver said it is, and no more than there is to say.

use super::{
    audit,
    safety::{Verdict, broken},
    truth::Truth,
};
use crate::{slot::Endpoint, tap::Sent, trust::SimTrust, world::World};
use pelago_proto::{
    claim::{Accusation, Alive, Basis, Body, Claim},
    federation::{Tier, Transmit},
    identity::{Incarnation, NodeId, Role},
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

/// Records that a member may sign in a second.
const RECORDS: usize = 10;
/// Records that two processes with one key may sign in a minute, both together, and more for each start.
const OUTBID: usize = 15;
const PER_START: usize = 3;
/// Who has run for so long cannot have been found closed lately.
const OPEN_FOR: Duration = Duration::from_secs(10);

/// Listens to everything that honest nodes send.
pub(crate) struct Wire {
    auditor: SimTrust,
    /// Claims found to be truly signed.
    sound: BTreeSet<[u8; 8]>,
    /// Who was truly accused, at which incarnation.
    accused: BTreeSet<(NodeId, Incarnation)>,
    /// Records that each member signed in this second.
    records: BTreeMap<NodeId, usize>,
    /// Records under each key that two processes use, in this minute, and the host's epoch at the first.
    outbid: BTreeMap<NodeId, (usize, u32)>,
    minute: Time,
    /// Datagrams by host in this second, and the claims that were new in it and the one before.
    sent: BTreeMap<usize, usize>,
    said: (usize, usize),
    second: Time,
}

impl Wire {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            auditor: SimTrust::new(&world.realm, &world.slots[0].identity, &[], &[], [0; 32]),
            sound: BTreeSet::new(),
            accused: BTreeSet::new(),
            records: BTreeMap::new(),
            outbid: BTreeMap::new(),
            minute: world.now,
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
            self.check_rate(world, truth, host)?;
        }
        if let Sent::Datagram(transmit) = sent
            && let Ok(Frame::List { crl }) = Frame::decode(&transmit.payload)
            && !is_genuine(world, &crl)
        {
            let detail = format!("{name} passes on a revocation list that nobody signed");
            return broken(world, "I-01 only what was verified is passed on", detail);
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

    fn check_rate(&mut self, world: &World, truth: &Truth, host: usize) -> Verdict {
        if world.now.since(self.second) >= Duration::from_secs(1) {
            self.second = world.now;
            self.said = (0, self.said.0);
            self.sent.clear();
            self.records.clear();
        }
        let sent = self.sent.entry(host).or_default();
        *sent += 1;
        let claims = PER_CLAIM * (self.said.0 + self.said.1);
        let most = QUIET + claims + 10 * world.slots.len() + truth.backlog(world, host);
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
        if let Err(why) = audit::objection(world, truth, &self.auditor, &claim) {
            return unsound(format!("{name} passes on {:?}: {why}", claim.body));
        }
        match &claim.body {
            Body::Alive(alive) => self.check_refutation(world, truth, claim.signer, alive),
            Body::Record(_) => self.check_records(world, truth, claim.signer),
            Body::Accusation(accusation) => {
                self.accused
                    .insert((accusation.accused, accusation.incarnation));
                check_closed(world, truth, claim.signer, accusation)
            }
            Body::Leave(_) | Body::Head(_) | Body::Removal(_) => Ok(()),
        }
    }

    /// What liars say is heard as well: they may truly accuse.
    pub(crate) fn overhear(&mut self, world: &World, truth: &Truth, sent: &Sent) {
        for bytes in claims(sent) {
            let Ok(claim) = Claim::parse(&bytes) else {
                continue;
            };
            if let Body::Accusation(accusation) = &claim.body
                && audit::objection(world, truth, &self.auditor, &claim).is_ok()
            {
                self.accused
                    .insert((accusation.accused, accusation.incarnation));
            }
        }
    }

    /// Whoever refutes was truly accused of just the incarnation before: once for each that it reached.
    fn check_refutation(
        &self,
        world: &World,
        truth: &Truth,
        signer: NodeId,
        alive: &Alive,
    ) -> Verdict {
        let before = Incarnation {
            seq: alive.incarnation.seq.saturating_sub(1),
            ..alive.incarnation
        };
        if let Some(name) = honest(world, truth, signer)
            && !self.accused.contains(&(signer, before))
        {
            let at = alive.incarnation;
            let detail = format!("{name} refutes at {at}: nobody accused it");
            return broken(world, "I-24 refutations answer accusations", detail);
        }
        Ok(())
    }

    /// Nobody has much news about itself, and two processes with one key answer each other seldom.
    fn check_records(&mut self, world: &World, truth: &Truth, signer: NodeId) -> Verdict {
        let signed = self.records.entry(signer).or_default();
        *signed += 1;
        let Some(name) = honest(world, truth, signer) else {
            return Ok(());
        };
        if *signed > RECORDS {
            let detail = format!("{name} signs {signed} records in a second");
            return broken(world, "I-24 no storms", detail);
        }
        if truth.cloned.contains(&signer) {
            if world.now.since(self.minute) >= Duration::from_secs(60) {
                self.minute = world.now;
                self.outbid.clear();
            }
            let host = world.ids.get(&signer);
            let epoch = host.map_or(0, |host| world.slots[*host].epoch);
            let (signed, first) = self.outbid.entry(signer).or_insert((0, epoch));
            *signed += 1;
            let starts = epoch.saturating_sub(*first) as usize;
            if *signed > OUTBID + PER_START * starts {
                let detail =
                    format!("two with the key of {name} sign {signed} records in a minute");
                return broken(world, "I-24 clones do not outbid each other", detail);
            }
        }
        Ok(())
    }
}

/// The name of a member that means no harm.
fn honest<'a>(world: &'a World, truth: &Truth, id: NodeId) -> Option<&'a str> {
    let host = world.ids.get(&id)?;
    let name = &world.slots[*host].name;
    (!truth.liars.contains(host)).then_some(name)
}

/// Ports of whoever runs are open.
fn check_closed(world: &World, truth: &Truth, signer: NodeId, accusation: &Accusation) -> Verdict {
    let Some(accused) = world.ids.get(&accusation.accused) else {
        return Ok(());
    };
    let open = truth.runs_since(world, *accused, accusation.incarnation.boot);
    if let Some(name) = honest(world, truth, signer)
        && accusation.basis == Basis::PortClosed
        && open.is_some_and(|since| world.now.since(since) >= OPEN_FOR)
    {
        let whom = &world.slots[*accused].name;
        let detail = format!("{name} found the ports of {whom} closed, which runs");
        return broken(world, "I-05 ports found closed were closed", detail);
    }
    Ok(())
}

/// Whether some authority, or the root, signed a list.
fn is_genuine(world: &World, crl: &[u8]) -> bool {
    let mut datacenters = world.slots.iter().map(|slot| slot.who.datacenter.as_str());
    let signed = |whose: &str| world.realm.is_list_of(crl, whose);
    signed("") || datacenters.any(signed)
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
                Ok(
                    Frame::PingReq { .. }
                    | Frame::Relayed { .. }
                    | Frame::Lists { .. }
                    | Frame::List { .. },
                )
                | Err(_) => {}
            }
        }
        Sent::Question(_, body) => match Ask::decode(body) {
            Ok(Ask::Probe { news }) => items(&news, &mut claims),
            Ok(Ask::Introduce { me, you, .. }) => {
                bundles(std::iter::once(&me).chain(&you), &mut claims);
            }
            Ok(Ask::Exchange { give, .. }) => bundles(&give, &mut claims),
            Ok(Ask::Seats { mine, .. }) => bundles(&mine, &mut claims),
            Ok(Ask::Pull { .. } | Ask::Compare { .. } | Ask::Heads | Ask::Lists { .. })
            | Err(_) => {}
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
            Ok(Reply::Heads { heads: told, .. }) => heads(&told, &mut claims),
            Ok(Reply::Differences { .. } | Reply::Lists { .. }) | Err(_) => {}
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
