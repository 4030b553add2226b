//! Statuses against the evidence for them, by the rules as they are written in `docs/protocol.md`, computed anew.

use super::safety::{Verdict, Violation, broken};
use crate::world::World;
use pelago_proto::{
    identity::{Incarnation, Label, NodeId},
    view::{AccusationView, Datacenter, Evidence, Member, Status},
};
use std::{collections::BTreeSet, sync::Arc};

/// Most accusations kept of one member.
const MAX_CHARGES: usize = 8;

/// A datacenter as the claims have it, where a view may still wait to show a death.
pub(crate) fn derived(world: &World, host: usize, datacenter: &Datacenter) -> Datacenter {
    let process = world.slots[host].process.as_ref();
    let truth = |member: &Member| {
        let evidence = process.filter(|_| member.status != Status::Alive);
        let evidence = evidence.and_then(|p| p.federation.evidence(member.id, world.now));
        evidence.map_or_else(|| member.clone(), |evidence| evidence.member)
    };
    Datacenter {
        members: Arc::new(datacenter.members.iter().map(truth).collect()),
        ..datacenter.clone()
    }
}

/// Members that a view shows as lost while a verdict stands already: their deaths wait for others. Nothing else may differ.
pub(crate) fn waiting(
    world: &World,
    host: usize,
    shown: &Datacenter,
    derived: &Datacenter,
) -> Result<Vec<(NodeId, Incarnation)>, Violation> {
    let mut waiting = Vec::new();
    for (shown, derived) in shown.members.iter().zip(derived.members.iter()) {
        if shown.status == derived.status {
            continue;
        }
        let lost = matches!(shown.status, Status::Suspect | Status::Unreachable);
        if !lost || derived.status != Status::Dead {
            let viewer = &world.slots[host].name;
            let detail = format!(
                "{viewer} shows {} {}, which is {}",
                shown.name, shown.status, derived.status
            );
            broken(world, "I-05 views show what follows from claims", detail)?;
        }
        waiting.push((shown.id, shown.incarnation));
    }
    Ok(waiting)
}

/// Whether a member's status follows from the accusations that a process holds, in a datacenter as [`derived`] has it.
pub(crate) fn check(
    world: &World,
    host: usize,
    datacenter: &Datacenter,
    member: &Member,
) -> Verdict {
    let process = world.slots[host].process.as_ref();
    let Some(evidence) =
        process.and_then(|process| process.federation.evidence(member.id, world.now))
    else {
        return Ok(());
    };
    let viewer = &world.slots[host].name;
    let known: BTreeSet<_> = datacenter.members.iter().map(|one| one.id).collect();
    let is_strange = |one: &&AccusationView| one.accuser == member.id;
    if let Some(strange) = evidence.accusations.iter().find(is_strange) {
        let detail = format!("{viewer} counts {strange:?} against {}", member.name);
        return broken(world, "I-05 accusers are others", detail);
    }
    let accusers: BTreeSet<_> = evidence.accusations.iter().map(|one| one.accuser).collect();
    if accusers.len() < evidence.accusations.len() {
        let detail = format!(
            "{viewer} counts somebody twice against {}: {}",
            member.name, evidence.summary
        );
        return broken(world, "I-05 accusers count once", detail);
    }
    if evidence.accusations.len() > MAX_CHARGES {
        let detail = format!("{viewer} keeps {} of {}", accusers.len(), member.name);
        return broken(world, "I-20 eight accusations of a member are kept", detail);
    }
    // Accusers out of other datacenters say nothing; those whose certificate was revoked since still count.
    let foreign = evidence.accusations.iter().find(|one| {
        !known.contains(&one.accuser)
            && world
                .ids
                .get(&one.accuser)
                .is_none_or(|host| world.slots[*host].who.datacenter != datacenter.name)
    });
    if let Some(foreign) = foreign {
        let detail = format!("{viewer} counts {foreign:?} against {}", member.name);
        return broken(world, "I-05 accusers are members", detail);
    }
    let hidden = hidden(world, host, datacenter);
    let members: Vec<&Member> = datacenter.members.iter().chain(&hidden).collect();
    if usize::from(evidence.needed) != needed(&members) {
        let detail = format!(
            "{viewer} wants {} accusers of {}, not {}",
            evidence.needed,
            member.name,
            needed(&members)
        );
        return broken(
            world,
            "I-05 as many accusers as the present ask for",
            detail,
        );
    }
    let convicted = is_convicted(&members, member, &evidence);
    let shown = member.status;
    let fits = match shown {
        Status::Dead => convicted,
        Status::Alive | Status::Suspect | Status::Unreachable => !convicted,
        Status::Left | Status::Removed => true,
    };
    if !fits {
        let detail = format!(
            "{viewer} shows {} {shown}: {}",
            member.name, evidence.summary
        );
        return broken(world, "I-05 dead by a verdict and only by it", detail);
    }
    let beyond = |one: &AccusationView| {
        one.basis == "port-closed" || one.silent_ms * 10 >= member.pause_tolerance_ms * 11
    };
    let any_beyond = evidence.accusations.iter().any(beyond);
    if shown == Status::Unreachable && !any_beyond {
        let detail = format!("{viewer} shows {}: {}", member.name, evidence.summary);
        return broken(world, "I-05 unreachable beyond the floor only", detail);
    }
    if shown == Status::Suspect && evidence.accusations.is_empty() {
        let detail = format!("{viewer} shows {}: {}", member.name, evidence.summary);
        return broken(world, "I-05 suspect only if accused", detail);
    }
    Ok(())
}

/// Members that are held and not shown, because nobody may talk to their address: they are counted like others.
fn hidden(world: &World, host: usize, datacenter: &Datacenter) -> Vec<Member> {
    let shown: BTreeSet<_> = datacenter.members.iter().map(|one| one.id).collect();
    let Some(process) = &world.slots[host].process else {
        return Vec::new();
    };
    let inside = world.ids.iter().filter(|(id, host)| {
        world.slots[**host].who.datacenter == datacenter.name && !shown.contains(*id)
    });
    inside
        .filter_map(|(id, _)| process.federation.evidence(*id, world.now))
        .map(|evidence| evidence.member)
        .collect()
}

/// How many accusers a verdict takes among these.
fn needed(members: &[&Member]) -> usize {
    let present = members
        .iter()
        .filter(|one| !matches!(one.status, Status::Left | Status::Removed));
    match present.count() {
        0..=2 => 1,
        3..=8 => 2,
        _ => 3,
    }
}

fn is_convicted(members: &[&Member], member: &Member, evidence: &Evidence) -> bool {
    let needed = needed(members);
    let rack = |one: &&Member| (one.zone.clone(), one.rack.clone());
    let living: BTreeSet<(Label, Label)> = members
        .iter()
        .filter(|one| {
            one.id != member.id
                && matches!(
                    one.status,
                    Status::Alive | Status::Suspect | Status::Unreachable
                )
        })
        .map(rack)
        .collect();
    let floor_ms = member.pause_tolerance_ms * 11 / 10;
    let counting: Vec<&AccusationView> = evidence
        .accusations
        .iter()
        .filter(|one| one.quorate && (one.basis == "port-closed" || one.silent_ms >= floor_ms))
        .collect();
    let accusers: BTreeSet<_> = counting.iter().map(|one| one.accuser).collect();
    let racks: BTreeSet<_> = counting
        .iter()
        .filter_map(|one| one.accuser_rack.clone())
        .collect();
    accusers.len() >= needed && racks.len() >= living.len().min(2)
}
