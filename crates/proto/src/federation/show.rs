//! What this node shows: views, evidence, counters.

use super::{Count, Federation};
use crate::{
    catalog::Known,
    identity::{Label, NodeId, Role},
    roster::{Cloned, Entry},
    time::Time,
    view::{
        AccusationView, CloneView, Datacenter, Evidence, Member, Reachability, RemovalView, Status,
        View,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A key seen twice is shown as a clone this long.
const CLONE_SHOWN: Duration = crate::election::CLONE_BAR;

impl Federation {
    /// Everything this node knows. Cheap while [`Self::generation`] stands still.
    pub fn view(&mut self, now: Time) -> Arc<View> {
        if let Some((generation, view)) = &self.view
            && *generation == self.generation
        {
            return Arc::clone(view);
        }
        let datacenters: BTreeMap<Label, Datacenter> = self
            .catalog
            .iter()
            .map(|(dc, known)| (dc.clone(), self.show_datacenter(dc, known, now)))
            .collect();
        let view = Arc::new(View {
            at: now,
            viewer: self.me.id,
            viewer_name: self.me.name.clone(),
            datacenter: self.me.datacenter.clone(),
            role: self.me.role,
            joined: self.joining.joined().is_some(),
            incarnation: self.incarnation,
            health: self.health.max(self.lan.health.score()),
            datacenters,
        });
        self.view = Some((self.generation, Arc::clone(&view)));
        view
    }

    fn show_datacenter(&self, name: &Label, known: &Known, now: Time) -> Datacenter {
        let own = *name == self.me.datacenter;
        let shown = known
            .roster
            .iter()
            .filter(|(id, _)| !own || !self.barred.contains(id));
        let mut members: Vec<Member> = shown.map(|(id, e)| self.show_member(id, e, now)).collect();
        members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let mut regions = BTreeMap::<&Label, usize>::new();
        for member in &members {
            *regions.entry(&member.region).or_default() += 1;
        }
        let region = regions
            .into_iter()
            .max_by_key(|(region, n)| (*n, std::cmp::Reverse(*region)));
        Datacenter {
            name: name.clone(),
            region: region.map(|(region, _)| region.clone()),
            reachability: if own {
                Reachability::Local
            } else {
                known.reachability(now)
            },
            age_ms: if own {
                Some(0)
            } else {
                known.age(now).map(millis)
            },
            attested: known.attested(now),
            digest: format!("{:016x}", known.roster.digests().current()),
            seats: u8::try_from(crate::election::seats(&known.roster)).unwrap_or(7),
            members: Arc::new(members),
        }
    }

    fn show_member(&self, id: &NodeId, entry: &Entry, now: Time) -> Member {
        let record = entry.record();
        let rtt = self.lan.rtt(id).or_else(|| self.wan.rtt(id));
        let (status, since) = self.cuts.shown(&record.location.datacenter, id, entry);
        // A seat counts while its holder is there.
        let here = matches!(
            status,
            Status::Alive | Status::Suspect | Status::Unreachable
        );
        let elected = record.seat && here;
        Member {
            id: *id,
            name: record.name.clone(),
            datacenter: record.location.datacenter.clone(),
            region: record.location.region.clone(),
            zone: record.location.zone.clone(),
            rack: record.location.rack.clone(),
            role: record.role,
            status,
            since,
            elected,
            elected_since: entry.seated().filter(|_| elected),
            incarnation: entry.incarnation(),
            address: record.lan,
            stream_address: record.stream(),
            wan_address: record.wan,
            tags: record.tags.clone(),
            health: record.health,
            pause_tolerance_ms: millis(record.pause_tolerance),
            not_after: entry.certified().not_after,
            rtt_ms: rtt.map(|d| d.as_secs_f64() * 1_000.0),
            clone: self.cloned(entry, now).is_some(),
            version: record.software.clone(),
        }
    }

    /// Two processes with one key, if they were seen lately. What we see of our own is not in our roster.
    fn cloned(&self, entry: &Entry, now: Time) -> Option<Cloned> {
        let ours = self.cloned.filter(|_| entry.certified().id == self.me.id);
        let seen = [ours, entry.cloned()].into_iter().flatten();
        seen.filter(|seen| now.since(seen.at) < CLONE_SHOWN)
            .max_by_key(|seen| seen.at)
    }

    /// The signed evidence behind a member's status, if the member is known here.
    pub fn evidence(&self, member: NodeId, now: Time) -> Option<Evidence> {
        let datacenter = self.home(&member)?;
        let known = self.catalog.get(datacenter)?;
        let entry = known.roster.get(&member)?;
        let rule = known.roster.rule(entry);
        let floor = entry.record().floor();
        let accusations: Vec<AccusationView> = entry
            .standing()
            .map(|c| AccusationView {
                accuser: c.accuser.id,
                accuser_name: Some(c.accuser.name.clone()),
                accuser_rack: Some((c.accuser.zone.clone(), c.accuser.rack.clone())),
                silent_ms: millis(c.accusation.silent),
                basis: c.accusation.basis.as_str().into(),
                quorate: c.accusation.quorate,
                counts: c.counts(floor),
                heard: c.heard,
            })
            .collect();
        let counting = accusations.iter().filter(|a| a.counts).count();
        let name = &entry.record().name;
        let removal = known.roster.removal(&member).and_then(|claim| {
            let said = claim.removal()?;
            Some(RemovalView {
                operator: claim.signer,
                operator_name: claim.signer().name.clone(),
                until: said.until,
                reason: said.reason.clone(),
            })
        });
        let needs = format!(
            "{} distinct accusers out of {} racks",
            rule.accusers, rule.racks
        );
        let summary = match entry.status {
            Status::Alive => format!(
                "{name} is alive: nothing stands against incarnation {}",
                entry.incarnation()
            ),
            Status::Suspect => format!(
                "{name} is suspect: {} accused it and it has not refuted yet; a verdict needs {needs}",
                accusations.len()
            ),
            Status::Unreachable => format!(
                "{name} is unreachable: silent beyond {} ms, but only {counting} of {} accusations count; a verdict \
                 needs {needs}, so nobody claims that it is dead",
                floor.as_millis(),
                accusations.len()
            ),
            Status::Dead => {
                format!("{name} is dead: {counting} accusations count; the verdict needed {needs}")
            }
            Status::Left => format!(
                "{name} left: it signed its goodbye at incarnation {}",
                entry.incarnation()
            ),
            Status::Removed => removal.as_ref().map_or_else(
                || format!("{name} was removed by an operator"),
                |it| {
                    format!(
                        "{name} was removed by {}{}",
                        it.operator_name,
                        because(&it.reason)
                    )
                },
            ),
        };
        // Evidence is about what is, even while a view waits to show it.
        let shown = Member {
            status: entry.status,
            since: entry.since,
            ..self.show_member(&member, entry, now)
        };
        Some(Evidence {
            at: now,
            member: shown,
            accused: (!accusations.is_empty()).then(|| entry.incarnation()),
            accusations,
            needed: u8::try_from(rule.accusers).unwrap_or(u8::MAX),
            needed_racks: u8::try_from(rule.racks).unwrap_or(u8::MAX),
            floor_ms: millis(floor),
            removal,
            clone: self.cloned(entry, now).map(|seen| CloneView {
                seen: seen.at,
                claims: seen
                    .claims
                    .map(|hash| format!("{:016x}", u64::from_be_bytes(hash))),
            }),
            summary,
        })
    }

    /// How many members of all datacenters are in the tables, tombstones included.
    pub fn members(&self) -> usize {
        self.catalog.values().map(|known| known.roster.len()).sum()
    }

    /// Every counter and gauge, all present from the start.
    pub fn counts(&self) -> Vec<Count> {
        let mut counts = Vec::new();
        let mut add = |name, help, counter, labels: Vec<(&'static str, String)>, value: f64| {
            counts.push(Count {
                name,
                help,
                counter,
                labels,
                value,
            });
        };
        let tally = |what: &str| self.tally.get(what) as f64;
        for reason in DROPS {
            let value = self.drops.get(reason) as f64;
            add(
                "dropped",
                "input dropped by the protocol, by reason",
                true,
                vec![("reason", (*reason).into())],
                value,
            );
        }
        for (reason, value) in self
            .drops
            .by_name()
            .into_iter()
            .filter(|(reason, _)| !DROPS.contains(reason))
        {
            add(
                "dropped",
                "input dropped by the protocol, by reason",
                true,
                vec![("reason", reason.into())],
                value as f64,
            );
        }
        for (what, help) in TALLIES {
            add(what, help, true, Vec::new(), tally(what));
        }
        for frame in [
            "ping", "ack", "ping_req", "relayed", "news", "heads", "lists", "list",
        ] {
            add(
                "frames_sent",
                "frames sent, by kind",
                true,
                vec![("kind", frame.into())],
                tally(frame),
            );
        }
        for (pool, name) in [(&self.lan, "lan"), (&self.wan, "wan")] {
            let label = || vec![("pool", name.to_owned())];
            add(
                "probes",
                "probes begun",
                true,
                label(),
                pool.tally.probes as f64,
            );
            add(
                "probe_misses",
                "first pings without an answer in time",
                true,
                label(),
                pool.tally.misses as f64,
            );
            add(
                "probe_failures",
                "probes in which everything failed",
                true,
                label(),
                pool.tally.failures as f64,
            );
            add(
                "deaf",
                "times that nobody had answered for long, and then somebody did",
                true,
                label(),
                pool.tally.deaf as f64,
            );
            add(
                "late",
                "times that the own loop was found late",
                true,
                label(),
                pool.tally.late as f64,
            );
            add(
                "pushes",
                "datagrams of news pushed on first receipt",
                true,
                label(),
                pool.tally.pushes as f64,
            );
            add(
                "local_health_score",
                "Lifeguard's score, 0 = healthy",
                false,
                label(),
                f64::from(pool.health.score()),
            );
            add(
                "pool_peers",
                "peers in the pool",
                false,
                label(),
                pool.peers().count() as f64,
            );
        }
        let tables = [
            ("requests", self.requests.len(), super::MAX_REQUESTS),
            ("transmits", self.transmits.len(), super::MAX_WAITING),
            (
                "signer_budgets",
                self.budgets.len(),
                super::budgets::MAX_BUDGETS,
            ),
            (
                "relay_budgets",
                self.relays.len().max(self.head_relays.len()),
                super::budgets::MAX_BUDGETS,
            ),
            (
                "doubted_accusers",
                self.accusers.len(),
                super::accusers::MAX_ACCUSERS,
            ),
            (
                "list_doubts",
                self.lists.doubted(),
                super::budgets::MAX_BUDGETS,
            ),
            ("reported", self.repeats.len(), super::repeats::MAX_REPORTED),
            (
                "last_words",
                self.last_words.len(),
                super::abroad::MAX_LAST_WORDS,
            ),
            (
                "datacenters",
                self.catalog.count(),
                crate::catalog::MAX_DATACENTERS,
            ),
            (
                "members",
                self.members(),
                crate::catalog::MAX_DATACENTERS * crate::roster::MAX_MEMBERS,
            ),
        ];
        for (table, size, limit) in tables {
            add(
                "table_entries",
                "entries in a bounded table",
                false,
                vec![("table", table.into())],
                size as f64,
            );
            add(
                "table_limit",
                "limit of a bounded table",
                false,
                vec![("table", table.into())],
                limit as f64,
            );
        }
        let full: u64 = self.catalog.values().map(|k| k.roster.dropped).sum();
        add(
            "tombstones_dropped",
            "tombstones dropped early because a table was full",
            true,
            Vec::new(),
            full as f64,
        );
        add(
            "seated",
            "whether this node holds a WAN seat",
            false,
            Vec::new(),
            f64::from(u8::from(self.is_seated())),
        );
        add(
            "is_server",
            "whether this node may be elected",
            false,
            Vec::new(),
            f64::from(u8::from(self.me.role == Role::Server)),
        );
        counts
    }
}

/// Drop reasons that are always shown, so that a counter exists before it first rises.
const DROPS: &[&str] = &[
    "address_not_allowed",
    "bundle_size",
    "claim_certificate",
    "claim_datacenter",
    "claim_location",
    "claim_malformed",
    "claim_name",
    "claim_role",
    "claim_signature",
    "claim_signer",
    "claim_size",
    "claim_until",
    "datacenter_table",
    "expired",
    "frame_malformed",
    "frame_tier",
    "head_kind",
    "head_outside_its_frame",
    "introduction_budget",
    "introduction_datacenter",
    "introduction_malformed",
    "list_doubted",
    "list_issuer",
    "list_size",
    "list_stale",
    "member_table",
    "no_certificate",
    "not_the_signers_to_say",
    "event_queue",
    "own_datacenter_from_wan",
    "relay_budget",
    "removal_table",
    "removed_sender",
    "removed_signer",
    "request_malformed",
    "request_role",
    "request_table",
    "request_unanswerable",
    "response_kind",
    "response_malformed",
    "response_size",
    "revoked",
    "signer_budget",
    "transmit_queue",
    "unknown_issuer",
    "unknown_member",
    "unknown_sender",
    "unknown_signer",
];

/// Plain counters, with their help.
const TALLIES: &[(&str, &str)] = &[
    ("accusations_signed", "accusations this node signed"),
    (
        "accused",
        "accusations against this node at its incarnation",
    ),
    (
        "authorities_learnt",
        "datacenter authorities learnt from peers",
    ),
    ("claims_known_already", "claims that brought nothing new"),
    ("claims_verified", "signatures of claims verified"),
    (
        "clones_seen",
        "times that two processes with one key were seen",
    ),
    (
        "events_merged",
        "records and clones of a member reported with the next instead of at once",
    ),
    ("heads_verified", "roster heads verified"),
    (
        "healing_contacts",
        "contacts made to lost members and seeds",
    ),
    (
        "joins_referred",
        "joiners sent to others because this node was busy",
    ),
    ("links_down", "WAN links that went down"),
    ("links_up", "WAN links that came back"),
    (
        "lists_asked",
        "questions to peers for newer revocation lists",
    ),
    (
        "lists_known_already",
        "revocation lists that were held already",
    ),
    (
        "lists_learnt",
        "revocation lists taken from peers and from whoever hands them in",
    ),
    (
        "past_adopted",
        "times that an own past was learnt from peers",
    ),
    (
        "pushes_echoed",
        "pushes that had come before, byte for byte",
    ),
    ("reconciliations", "roster comparisons begun"),
    ("refutations", "refutations this node signed"),
    ("removed", "whether an operator removed this node"),
    ("requests_failed", "requests without an answer"),
    ("seats_resigned", "seats this node gave up"),
    ("seats_taken", "seats this node took"),
    ("told_abroad", "news told to another datacenter"),
    (
        "told_of_itself",
        "members told what other datacenters hold them to have said",
    ),
    (
        "told_removed",
        "questions of removed nodes, answered with their removal alone",
    ),
];

/// An operator's reason, behind a sentence.
pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
