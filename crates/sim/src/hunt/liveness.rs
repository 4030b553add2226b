//! What must come true once everything has healed: everybody sees the same, which is what is. Each question answers with the
//! first thing that is not so yet.

use super::truth::Truth;
use crate::{slot::Slot, world::World};
use pelago_proto::{
    identity::{Label, NodeId, Role},
    time::Time,
    trust::Trust,
    view::{Datacenter, Member, Reachability, Status, View},
    wire::Numbers,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Whether something has come true; if not, which invariant is not met yet and by whom.
pub(crate) type Met = Result<(), (&'static str, String)>;

/// Whether everything has come true.
pub(crate) fn settled(world: &mut World, truth: &Truth) -> Met {
    let mut views = Vec::new();
    for host in 0..world.slots.len() {
        let now = world.now;
        if let Some(process) = world.slots[host].process.as_mut() {
            views.push((host, process.federation.view(now)));
        }
    }
    for (host, view) in &views {
        if !view.joined {
            let detail = format!("{} has not joined", world.slots[*host].name);
            return Err(("I-15 everybody joins", detail));
        }
        for whom in 0..world.slots.len() {
            if world.slots[*host].who.datacenter == world.slots[whom].who.datacenter {
                sees(world, truth, *host, view, whom)?;
            }
        }
    }
    // Without anybody seated a datacenter hears nothing of the others, and they nothing of it.
    let mut connected = BTreeSet::new();
    for datacenter in datacenters(world) {
        if seats(world, truth, &views, &datacenter)? {
            connected.insert(datacenter);
        }
    }
    views.retain(|(host, _)| connected.contains(&world.slots[*host].who.datacenter));
    for (host, view) in &views {
        for whom in 0..world.slots.len() {
            if connected.contains(&world.slots[whom].who.datacenter) {
                sees(world, truth, *host, view, whom)?;
            }
        }
    }
    same_lists(world, truth, &connected)?;
    for label in &connected {
        same_digest(world, &views, label)?;
        reachable(world, truth, &views, label)?;
    }
    Ok(())
}

/// All datacenters, by name.
fn datacenters(world: &World) -> BTreeSet<Label> {
    let names = world.slots.iter().map(|slot| slot.who.datacenter.clone());
    names.collect()
}

fn of<'a>(view: &'a View, slot: &Slot) -> Option<&'a Member> {
    let members = &view.datacenters.get(&slot.who.datacenter)?.members;
    members.iter().find(|member| member.id == slot.id)
}

/// One node's view of another, or of itself.
fn sees(world: &World, truth: &Truth, host: usize, view: &View, whom: usize) -> Met {
    let (viewer, slot) = (&world.slots[host], &world.slots[whom]);
    let same = viewer.who.datacenter == slot.who.datacenter;
    // A clone that is over is its original again.
    let original = world.ids.get(&slot.id) == Some(&whom);
    if !original || !(same || viewer.who.role == Role::Server) {
        return Ok(());
    }
    let member = of(view, slot);
    let (viewer, name) = (&viewer.name, &slot.name);
    match &slot.process {
        Some(process) => {
            let Some(member) = member else {
                return Err(("I-15 no member lost", format!("{viewer} lacks {name}")));
            };
            let own = process.federation.incarnation();
            if member.status != Status::Alive {
                let detail = format!(
                    "{viewer} shows {name} {} at {}",
                    member.status, member.incarnation
                );
                return Err(("I-13 who lives is alive everywhere", detail));
            }
            if member.incarnation != own {
                let detail = format!("{viewer} shows {name} at {}, not {own}", member.incarnation);
                return Err(("I-15 all views are equal", detail));
            }
        }
        None => {
            let Some(member) = member else { return Ok(()) };
            if truth.revoked.contains(&slot.id) {
                let detail = format!("{viewer} shows {name}, who was revoked");
                return Err(("I-10 the revoked are in no table", detail));
            }
            if truth.removed.contains(&slot.id) {
                return match member.status {
                    Status::Removed => Ok(()),
                    status => {
                        let detail = format!("{viewer} shows {name} {status}, who was removed");
                        Err(("I-14 the removed are removed everywhere", detail))
                    }
                };
            }
            // Nobody may talk to it where it said that it is, so nobody can tell that it is gone.
            let net = &slot.settings.lan_allow;
            if !net.iter().any(|net| net.contains(&member.address.ip())) {
                return Ok(());
            }
            if matches!(member.status, Status::Alive | Status::Suspect) {
                let detail = format!("{viewer} shows {name} {}", member.status);
                return Err(("I-14 who is gone is gone everywhere", detail));
            }
            let goodbye = truth.left_in_peace.contains(&(whom, slot.epoch));
            if goodbye && member.status != Status::Left {
                let detail = format!("{viewer} shows {name} {}, who left", member.status);
                return Err(("I-14 a goodbye is heard", detail));
            }
            if member.status == Status::Unreachable && is_plain(world, truth, slot) {
                let detail = format!("{viewer} shows {name} {}", member.status);
                return Err(("I-14 who is gone is dead where enough can tell", detail));
            }
        }
    }
    Ok(())
}

/// Whether so many of a datacenter are left, and in so many racks, that they can tell the dead from the unreachable. Who lied may
/// have accused it at an incarnation still to come, and of one accuser the newest accusation holds.
fn is_plain(world: &World, truth: &Truth, gone: &Slot) -> bool {
    let fellows = || {
        let datacenter = &gone.who.datacenter;
        let slots = world.slots.iter().enumerate();
        slots.filter(move |(_, slot)| slot.who.datacenter == *datacenter)
    };
    let running =
        fellows().filter(|(host, slot)| slot.process.is_some() && !truth.liars.contains(host));
    let running: Vec<&Slot> = running.map(|(_, slot)| slot).collect();
    let racks = |slots: &[&Slot]| {
        let racks = slots
            .iter()
            .map(|slot| (slot.who.zone.clone(), slot.who.rack.clone()));
        racks.collect::<BTreeSet<_>>().len()
    };
    let all: Vec<&Slot> = fellows().map(|(_, slot)| slot).collect();
    running.len() * 3 > all.len() * 2
        && running.len() >= 4
        && (racks(&running) >= 2 || racks(&all) == 1)
}

/// Whether all who carry a datacenter's roster carry the same.
fn same_digest(world: &World, views: &[(usize, Arc<View>)], label: &Label) -> Met {
    let mut first: Option<(usize, &String)> = None;
    for (host, view) in views {
        let Some(datacenter) = view.datacenters.get(label) else {
            continue;
        };
        let (other, digest) = *first.get_or_insert((*host, &datacenter.digest));
        if *digest != datacenter.digest {
            let (a, b) = (&world.slots[other].name, &world.slots[*host].name);
            let detail = format!("{a} and {b} differ about {label}");
            return Err(("I-15 all set hashes are equal", detail));
        }
    }
    Ok(())
}

/// Whether all who can hear of each other hold the same revocation lists: none is ever lost.
fn same_lists(world: &World, truth: &Truth, connected: &BTreeSet<Label>) -> Met {
    let mut first: BTreeMap<&Label, (usize, Numbers)> = BTreeMap::new();
    let abroad = connected.first();
    for (host, slot) in world.slots.iter().enumerate() {
        let Some(process) = slot.process.as_ref() else {
            continue;
        };
        if truth.liars.contains(&host) {
            continue;
        }
        let lists = process.trust.lists();
        let held: Numbers = lists
            .iter()
            .map(|list| (list.issuer, list.number))
            .collect();
        let own = &slot.who.datacenter;
        let with = abroad.filter(|_| connected.contains(own)).unwrap_or(own);
        let (other, theirs) = first
            .entry(with)
            .or_insert_with(|| (host, Numbers::clone(&held)));
        if *theirs != held {
            let (a, b) = (&world.slots[*other].name, &slot.name);
            let detail = format!("{a} and {b} hold other revocation lists");
            return Err(("I-10 lists reach everybody", detail));
        }
    }
    Ok(())
}

fn elected(datacenter: &Datacenter) -> BTreeSet<&Label> {
    let sits = |member: &&Member| member.elected && member.status == Status::Alive;
    datacenter
        .members
        .iter()
        .filter(sits)
        .map(|member| &member.name)
        .collect()
}

/// Whether everybody agrees who sits, and it is as many as should. Answers whether anybody must sit at all.
fn seats(
    world: &World,
    truth: &Truth,
    views: &[(usize, Arc<View>)],
    label: &Label,
) -> Result<bool, (&'static str, String)> {
    let inside = |slot: &&Slot| slot.who.datacenter == *label;
    let running: Vec<&Slot> = world
        .slots
        .iter()
        .filter(inside)
        .filter(|slot| slot.process.is_some())
        .collect();
    let members = world.slots.iter().filter(inside).count();
    // A key seen twice is barred for ten minutes by whoever saw it; two lives at one incarnation look the same.
    let seen_twice = |slot: &Slot| {
        let mut shown = views.iter().filter_map(|(_, view)| of(view, slot));
        truth.cloned.contains(&slot.id) || shown.any(|member| member.clone)
    };
    let servers: Vec<&&Slot> = running
        .iter()
        .filter(|slot| slot.who.role == Role::Server)
        .collect();
    let barred = servers.iter().filter(|slot| seen_twice(slot)).count();
    let eligible = servers.len() - barred;
    let wanted = running
        .first()
        .map_or(3, |slot| usize::from(slot.settings.seats));
    // Fewer than half of a datacenter do not fill more seats than one while they cannot know that the others are dead.
    // Who bars somebody does not count that one's seat.
    let most = (wanted + barred).min(servers.len());
    let least = if eligible == 0 {
        0
    } else if 2 * running.len() > members + 1 {
        wanted.min(eligible)
    } else {
        1
    };
    let mut first: Option<(usize, BTreeSet<&Label>)> = None;
    for (host, view) in views {
        let own = world.slots[*host].who.datacenter == *label;
        let Some(datacenter) = view.datacenters.get(label).filter(|_| own) else {
            continue;
        };
        let seated = elected(datacenter);
        let name = &world.slots[*host].name;
        if !(least..=most).contains(&seated.len()) {
            let detail =
                format!("{name} shows {seated:?} seated in {label}, {least} to {most} should");
            return Err(("I-16 as many sit as should", detail));
        }
        let (other, agreed) = first.get_or_insert_with(|| (*host, seated.clone()));
        if *agreed != seated {
            let other = &world.slots[*other].name;
            let detail = format!("{other} shows {agreed:?} seated in {label}, {name} {seated:?}");
            return Err(("I-16 all agree who sits", detail));
        }
    }
    Ok(least > 0)
}

/// Whether every server elsewhere reaches a datacenter directly and sees it fresh and attested.
fn reachable(world: &World, truth: &Truth, views: &[(usize, Arc<View>)], label: &Label) -> Met {
    for (host, view) in views {
        let viewer = &world.slots[*host];
        if viewer.who.role != Role::Server || viewer.who.datacenter == *label {
            continue;
        }
        let name = &viewer.name;
        let Some(datacenter) = view.datacenters.get(label) else {
            return Err((
                "I-15 every datacenter is known",
                format!("{name} lacks {label}"),
            ));
        };
        if datacenter.reachability != Reachability::Reachable {
            let detail = format!("{name} shows {label} {}", datacenter.reachability);
            return Err(("I-15 every datacenter is reachable", detail));
        }
        let several = elected(datacenter).len() >= 2;
        if several && !datacenter.attested && truth.liars.is_empty() {
            let detail = format!("{name} shows {label} unattested");
            return Err(("I-15 two seats attest", detail));
        }
    }
    Ok(())
}

/// Who doubted a fellow member that runs, since then. What liars signed may still come up and be refuted; it kills nobody.
pub(crate) fn doubt(world: &World, truth: &Truth, since: Time) -> Option<String> {
    use pelago_proto::view::EventKind::{Dead, Suspect, Unreachable};
    let doubts = world
        .history
        .recent()
        .rev()
        .take_while(|one| one.at >= since)
        .filter(|one| match one.event.kind {
            Dead => true,
            Suspect | Unreachable => truth.liars.is_empty(),
            _ => false,
        });
    let runs = |id: &NodeId| {
        let host = world.ids.get(id);
        host.is_some_and(|host| world.slots[*host].process.is_some())
    };
    let mut wrong = doubts
        .filter(|one| world.slots[one.host].who.datacenter == one.event.datacenter)
        .filter(|one| one.event.member.as_ref().is_some_and(runs));
    wrong.next().map(|one| {
        let viewer = &world.slots[one.host].name;
        format!("{viewer} doubts {}: {}", one.about(), one.event.detail)
    })
}
