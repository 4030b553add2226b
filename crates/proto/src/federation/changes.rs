//! What follows when a roster changed: the pools learn of it, and whoever listens is told.

use super::{Federation, repeats::Matter, show::because};
use crate::{
    claim::Card,
    identity::{Incarnation, Label, NodeId},
    pool::{News, Standing},
    roster::Transition,
    time::Time,
    view::{Event, EventKind, Status},
    wire::Item,
};
use std::sync::Arc;

impl Federation {
    /// Two records of one incarnation came in.
    pub(super) fn saw_clone(&mut self, datacenter: &Label, id: NodeId, now: Time) {
        self.count("clones_seen");
        let entry = self.catalog.get(datacenter).and_then(|k| k.roster.get(&id));
        let Some(entry) = entry else { return };
        let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
        if !self.may_report(Matter::Clone, datacenter, id, now) {
            return;
        }
        let detail = "two records of one incarnation: two processes use one key";
        self.event(
            now,
            EventKind::Clone,
            datacenter,
            Some((id, name)),
            Some(incarnation),
            detail.into(),
        );
    }

    /// A roster changed: tells the pools, and whoever listens.
    /// `before` is what the subject had said of itself until then.
    pub(super) fn after_merge(
        &mut self,
        datacenter: &Label,
        subject: NodeId,
        before: Option<Arc<Card>>,
        now: Time,
    ) {
        self.changed();
        let Some(known) = self.catalog.get_mut(datacenter) else {
            return;
        };
        let transitions = known.roster.take_transitions();
        let quiet = transitions.iter().all(|t| t.id != subject);
        for transition in &transitions {
            self.show_change(datacenter, *transition, now);
        }
        self.announce_record(datacenter, subject, before, now);
        for id in transitions
            .iter()
            .map(|t| t.id)
            .chain(quiet.then_some(subject))
        {
            self.refresh_contact(datacenter, id, now);
        }
        if *datacenter == self.me.datacenter {
            self.duties.domains_changed |= transitions.iter().any(|t| t.from.is_some());
        }
    }

    /// A member is gone from its roster: nothing else is kept of it either.
    pub(super) fn let_go(
        &mut self,
        datacenter: &Label,
        (id, name): (NodeId, Label),
        kind: EventKind,
        why: &str,
        now: Time,
    ) {
        self.budgets.remove(&id);
        self.relays.remove(&id);
        self.head_relays.remove(&id);
        self.accusers.forget(&id);
        self.repeats.forget(&id);
        self.barred.remove(&id);
        self.event(now, kind, datacenter, Some((id, name)), None, why.into());
        self.after_merge(datacenter, id, None, now);
    }

    /// Brings the pools' knowledge of one member up to date with the roster.
    pub(super) fn refresh_contact(&mut self, datacenter: &Label, id: NodeId, now: Time) {
        if id == self.me.id {
            return;
        }
        let own = *datacenter == self.me.datacenter;
        let entry = self.catalog.get(datacenter).and_then(|k| k.roster.get(&id));
        let Some(entry) = entry else {
            self.lan.remove(&id, now);
            self.wan.remove(&id, now);
            self.abroad.remove(&id);
            self.forget_heads(datacenter, &id);
            return;
        };
        if entry.status == Status::Removed {
            self.lan.remove(&id, now);
            self.wan.remove(&id, now);
            return self.forget_heads(datacenter, &id);
        }
        let standing = match entry.status {
            Status::Alive => Some(Standing::Alive),
            Status::Suspect => Some(Standing::Suspect),
            Status::Unreachable => Some(Standing::Unreachable),
            Status::Dead => Some(Standing::Dead),
            Status::Left | Status::Removed => None,
        };
        let news = |contact, standing, charges| News {
            contact,
            incarnation: entry.incarnation(),
            standing,
            charges,
        };
        let (record, contact) = (entry.record(), &entry.card().contact);
        let barred = self.barred.contains(&id);
        if own {
            match standing.filter(|_| !barred) {
                Some(standing) => {
                    let charges = entry
                        .standing()
                        .take(2)
                        .map(|c| Item::bare(c.claim.bytes()));
                    let news = news(Arc::clone(contact), standing, charges.collect());
                    self.lan.upsert(news, now);
                }
                None => self.lan.remove(&id, now),
            }
        } else {
            // Whoever its own datacenter holds to be there and seated is a WAN peer of ours while we sit.
            let wan = record
                .wan
                .filter(|_| !barred)
                .filter(|_| record.seat && standing.is_some_and(|s| s != Standing::Dead));
            match wan.filter(|_| self.is_seated()) {
                Some(address) => {
                    let contact = Arc::new(contact.abroad(record, address));
                    let news = news(contact, Standing::Alive, Vec::new());
                    self.wan.upsert(news, now);
                    self.wan.introduced(&id);
                }
                None => self.wan.remove(&id, now),
            }
        }
    }

    /// Our seat came or went: the WAN pool fills or empties.
    pub(super) fn refresh_wan(&mut self, now: Time) {
        let foreign = self
            .catalog
            .iter()
            .filter(|(dc, _)| **dc != self.me.datacenter);
        let ids: Vec<(Label, NodeId)> = foreign
            .flat_map(|(dc, k)| k.roster.iter().map(|(id, _)| (dc.clone(), *id)))
            .collect();
        for (datacenter, id) in ids {
            self.refresh_contact(&datacenter, id, now);
        }
    }

    /// A seat that came or went, or a record that otherwise changed.
    fn announce_record(
        &mut self,
        datacenter: &Label,
        id: NodeId,
        before: Option<Arc<Card>>,
        now: Time,
    ) {
        let Some(entry) = self.catalog.get(datacenter).and_then(|k| k.roster.get(&id)) else {
            return;
        };
        let (sat, sits) = (before.as_ref().map(|b| b.record.seat), entry.record().seat);
        let (kind, detail) = match (sat, sits) {
            (None | Some(false), true) => (EventKind::Elected, "holds a WAN seat"),
            (Some(true), false) => (EventKind::Resigned, "gave its WAN seat up"),
            (None, false) => return,
            (Some(_), _) => (EventKind::Updated, "published a new record"),
        };
        if before.is_some_and(|b| Arc::ptr_eq(&b, entry.card())) {
            return;
        }
        let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
        let matter = match kind {
            EventKind::Updated => Matter::Record,
            _ => Matter::Seat,
        };
        if !self.may_report(matter, datacenter, id, now) {
            return;
        }
        self.event(
            now,
            kind,
            datacenter,
            Some((id, name)),
            Some(incarnation),
            detail.into(),
        );
    }

    /// The event of one change of status.
    pub(super) fn announce(&mut self, datacenter: &Label, transition: Transition, now: Time) {
        let Some(known) = self.catalog.get(datacenter) else {
            return;
        };
        let Some(entry) = known.roster.get(&transition.id) else {
            return;
        };
        let kind = match (transition.from, transition.to) {
            (None, Status::Alive) => EventKind::Joined,
            (_, Status::Alive) => EventKind::Alive,
            (_, Status::Suspect) => EventKind::Suspect,
            (_, Status::Unreachable) => EventKind::Unreachable,
            (_, Status::Dead) => EventKind::Dead,
            (_, Status::Left) => EventKind::Left,
            (_, Status::Removed) => EventKind::Removed,
        };
        let mut detail = match transition.from {
            Some(from) => format!("{from} → {}", transition.to),
            None => format!("first seen, {}", transition.to),
        };
        if let (Status::Removed, Some(claim)) =
            (transition.to, known.roster.removal(&transition.id))
        {
            let reason = claim.removal().map(|said| because(&said.reason));
            let operator = &claim.signer().name;
            detail.push_str(&format!(", by {operator}{}", reason.unwrap_or_default()));
        }
        let (name, incarnation) = (entry.record().name.clone(), entry.incarnation());
        let own_word = transition.to == Status::Left
            || (transition.from, transition.to) == (Some(Status::Left), Status::Alive);
        if own_word && !self.may_report(Matter::Presence, datacenter, transition.id, now) {
            return;
        }
        self.event(
            now,
            kind,
            datacenter,
            Some((transition.id, name)),
            Some(incarnation),
            detail,
        );
    }

    pub(super) fn event(
        &mut self,
        at: Time,
        kind: EventKind,
        datacenter: &Label,
        member: Option<(NodeId, Label)>,
        incarnation: Option<Incarnation>,
        detail: String,
    ) {
        let (member, name) = member.map_or((None, None), |(id, name)| (Some(id), Some(name)));
        self.events.push_back(Event {
            at,
            kind,
            datacenter: datacenter.clone(),
            member,
            name,
            incarnation,
            detail,
        });
    }
}
