//! Who sees what: the questions that tests ask a world, and the page that is printed when an answer was wrong.

use crate::{
    history::{Sighting, Spread},
    slot::Slot,
    world::World,
};
use pelago_proto::{
    identity::{Incarnation, Label, NodeId, Role},
    view::{
        AccusationView, Datacenter, Event, EventKind, Evidence, Member, Reachability, Status, View,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

/// Columns that fit a page.
const COLUMNS: usize = 40;
const RECENT: usize = 40;

/// How far views are from the truth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Truth {
    /// Views that were looked at.
    pub(crate) viewers: u64,
    /// Views without a fault.
    pub(crate) complete: u64,
    /// Members that these views should show, all together.
    pub(crate) pairs: u64,
    /// How many of these they show wrongly or not at all.
    pub(crate) wrong: u64,
}

/// One node's view.
impl World {
    /// What a running node sees.
    pub fn view(&mut self, viewer: &str) -> Arc<View> {
        let host = self.host(viewer);
        self.view_of(host)
            .unwrap_or_else(|| panic!("{viewer} does not run"))
    }

    /// What a node knows of another.
    pub fn member(&mut self, viewer: &str, whom: &str) -> Option<Member> {
        let (viewer, whom) = (self.host(viewer), self.host(whom));
        let view = self.view_of(viewer)?;
        find(&view, &self.slots[whom]).cloned()
    }

    /// The status of a node in another's eyes.
    pub fn status(&mut self, viewer: &str, whom: &str) -> Option<Status> {
        self.member(viewer, whom).map(|member| member.status)
    }

    /// Whether a node sees another with this status.
    pub fn sees(&mut self, viewer: &str, whom: &str, status: Status) -> bool {
        self.status(viewer, whom) == Some(status)
    }

    /// The signed evidence that a node holds about another.
    pub fn evidence(&self, viewer: &str, whom: &str) -> Option<Evidence> {
        let process = self.slots[self.host(viewer)].process.as_ref()?;
        process.federation.evidence(self.id(whom), self.now)
    }

    /// A datacenter as a node sees it, its age brought up to now.
    pub fn datacenter(&mut self, viewer: &str, datacenter: &str) -> Option<Datacenter> {
        let view = self.view(viewer);
        let mut datacenter = view.datacenters.get(datacenter)?.clone();
        if datacenter.reachability != Reachability::Local {
            let since = self.now.since(view.at).as_millis();
            let since = u64::try_from(since).unwrap_or(u64::MAX);
            datacenter.age_ms = datacenter.age_ms.map(|age| age.saturating_add(since));
        }
        Some(datacenter)
    }

    /// How a node can reach a datacenter.
    pub fn reachability(&mut self, viewer: &str, datacenter: &str) -> Option<Reachability> {
        self.datacenter(viewer, datacenter)
            .map(|datacenter| datacenter.reachability)
    }

    /// Who holds the seats of a datacenter, as one node sees it.
    pub fn elected(&mut self, viewer: &str, datacenter: &str) -> BTreeSet<String> {
        let members = self
            .datacenter(viewer, datacenter)
            .map(|datacenter| datacenter.members);
        let elected = |member: &&Member| member.elected && member.status == Status::Alive;
        members
            .iter()
            .flat_map(|members| members.iter())
            .filter(elected)
            .map(|one| one.name.to_string())
            .collect()
    }

    /// A running node's own incarnation.
    pub fn incarnation(&self, name: &str) -> Incarnation {
        let process = self.slots[self.host(name)].process.as_ref();
        process
            .unwrap_or_else(|| panic!("{name} does not run"))
            .federation
            .incarnation()
    }

    /// One of a running node's own counters, summed over its labels.
    pub fn counter(&self, name: &str, counter: &str) -> f64 {
        let process = self.slots[self.host(name)].process.as_ref();
        let counts = process
            .map(|process| process.federation.counts())
            .unwrap_or_default();
        counts
            .iter()
            .filter(|count| count.name == counter)
            .map(|count| count.value)
            .sum()
    }

    /// The counters of all running nodes, summed by name.
    pub fn total_counts(&self) -> BTreeMap<&'static str, f64> {
        let mut totals = BTreeMap::new();
        for process in self.slots.iter().filter_map(|slot| slot.process.as_ref()) {
            for count in process.federation.counts() {
                *totals.entry(count.name).or_insert(0.0) += count.value;
            }
        }
        totals
    }

    /// What all running nodes dropped, summed by reason.
    pub(crate) fn total_drops(&self) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        for process in self.slots.iter().filter_map(|slot| slot.process.as_ref()) {
            let counts = process.federation.counts().into_iter();
            for count in counts.filter(|count| count.name == "dropped") {
                for (_, reason) in count.labels {
                    *totals.entry(reason).or_insert(0) += count.value as u64;
                }
            }
        }
        totals
    }

    /// A node's id.
    pub fn id(&self, name: &str) -> NodeId {
        self.slots[self.host(name)].id
    }
}

/// What all nodes agree on.
impl World {
    /// Whether every running node sees exactly the running ones alive, each at its own place: servers everywhere,
    /// clients in their own datacenter.
    pub fn everyone_sees_alive(&mut self) -> bool {
        self.running().all(|host| self.sees_the_living(host))
    }

    /// Whether this holds for one node's view.
    pub fn is_complete(&mut self, viewer: &str) -> bool {
        let host = self.host(viewer);
        self.sees_the_living(host)
    }

    /// Whether all running members of its datacenter and all running servers elsewhere, itself aside, see a node so.
    pub fn everyone_sees(&mut self, whom: &str, status: Status) -> bool {
        let whom = self.host(whom);
        self.onlookers(whom)
            .into_iter()
            .all(|viewer| self.host_sees(viewer, whom, status))
    }

    /// Whether all running nodes of one datacenter see a node so.
    pub fn datacenter_sees(&mut self, datacenter: &str, whom: &str, status: Status) -> bool {
        let whom = self.host(whom);
        let inside = |host: &usize| self.slots[*host].who.datacenter.as_str() == datacenter;
        let viewers: Vec<usize> = self.onlookers(whom).into_iter().filter(inside).collect();
        viewers
            .into_iter()
            .all(|viewer| self.host_sees(viewer, whom, status))
    }

    /// Whether all who carry a datacenter's roster carry the same, for every datacenter.
    pub fn digests_agree(&mut self) -> bool {
        let mut digests: BTreeMap<Label, String> = BTreeMap::new();
        for host in self.running() {
            let Some(view) = self.view_of(host) else {
                continue;
            };
            for (name, datacenter) in &view.datacenters {
                let first = digests
                    .entry(name.clone())
                    .or_insert_with(|| datacenter.digest.clone());
                if *first != datacenter.digest {
                    return false;
                }
            }
        }
        true
    }

    /// Who holds the seats of a datacenter, if all its running members agree.
    pub fn agreed_seats(&mut self, datacenter: &str) -> Option<BTreeSet<String>> {
        let inside =
            |slot: &&Slot| slot.process.is_some() && slot.who.datacenter.as_str() == datacenter;
        let names: Vec<String> = self
            .slots
            .iter()
            .filter(inside)
            .map(|slot| slot.name.clone())
            .collect();
        let mut sets = names.iter().map(|name| self.elected(name, datacenter));
        let first = sets.next()?;
        sets.all(|set| set == first).then_some(first)
    }

    /// Compares some running nodes' views with the truth, each from its own place: servers everywhere, clients in their
    /// own datacenter.
    pub(crate) fn compare_with_truth(&mut self, viewers: usize) -> Truth {
        let running: Vec<usize> = self.running().collect();
        let step = running.len().div_ceil(viewers.max(1)).max(1);
        let mut truth = Truth::default();
        for viewer in running.into_iter().step_by(step) {
            let Some(view) = self.view_of(viewer) else {
                continue;
            };
            let own = &self.slots[viewer].who;
            let expected =
                |slot: &&Slot| own.role == Role::Server || slot.who.datacenter == own.datacenter;
            let is_wrong = |slot: &&Slot| {
                let alive = find(&view, slot).map(|member| member.status == Status::Alive);
                alive.unwrap_or(false) != slot.process.is_some()
            };
            let shown = self.slots.iter().filter(expected);
            let (pairs, wrong) = shown.fold((0, 0), |(pairs, wrong), slot| {
                (pairs + 1, wrong + u64::from(is_wrong(&slot)))
            });
            truth.viewers += 1;
            truth.complete += u64::from(wrong == 0);
            truth.pairs += pairs;
            truth.wrong += wrong;
        }
        truth
    }

    fn sees_the_living(&mut self, viewer: usize) -> bool {
        let Some(view) = self.view_of(viewer) else {
            return false;
        };
        let own = &self.slots[viewer].who;
        let expected =
            |slot: &&Slot| own.role == Role::Server || slot.who.datacenter == own.datacenter;
        let is_there = |slot: &Slot| {
            let running = slot.process.is_some();
            find(&view, slot).map_or(!running, |member| {
                let who = &slot.who;
                (member.status == Status::Alive) == running
                    && (&member.zone, &member.rack, member.role) == (&who.zone, &who.rack, who.role)
                    && member.region == slot.settings.region
            })
        };
        let original = |slot: &&Slot| {
            self.ids
                .get(&slot.id)
                .is_some_and(|host| self.slots[*host].name == slot.name)
        };
        view.joined
            && self
                .slots
                .iter()
                .filter(expected)
                .filter(original)
                .all(is_there)
    }

    fn host_sees(&mut self, viewer: usize, whom: usize, status: Status) -> bool {
        let view = self.view_of(viewer);
        view.is_some_and(|view| {
            find(&view, &self.slots[whom]).is_some_and(|member| member.status == status)
        })
    }

    fn running(&self) -> impl Iterator<Item = usize> + use<> {
        let running: Vec<usize> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.process.is_some())
            .map(|(host, _)| host)
            .collect();
        running.into_iter()
    }

    /// Those who should notice what becomes of a node.
    pub(crate) fn onlookers(&self, whom: usize) -> Vec<usize> {
        let datacenter = &self.slots[whom].who.datacenter;
        let looks_on = |host: &usize| {
            let who = &self.slots[*host].who;
            *host != whom && (who.role == Role::Server || who.datacenter == *datacenter)
        };
        self.running().filter(looks_on).collect()
    }

    fn view_of(&mut self, host: usize) -> Option<Arc<View>> {
        let now = self.now;
        self.slots[host]
            .process
            .as_mut()
            .map(|process| process.federation.view(now))
    }
}

/// What happened.
impl World {
    /// How many members all running nodes together keep track of.
    pub fn known_members(&self) -> usize {
        let running = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        running.map(|process| process.federation.members()).sum()
    }

    /// How often anybody reported an event of this kind.
    pub fn count(&self, kind: EventKind) -> u64 {
        self.history.count(kind)
    }

    /// All reports of one kind, as "who: about whom".
    pub fn reports(&self, kind: EventKind) -> Vec<String> {
        let of_kind = self.history.recent().filter(|one| one.event.kind == kind);
        of_kind
            .map(|one| format!("{}: {}", self.slots[one.host].name, one.about()))
            .collect()
    }

    /// What one node reported, in order.
    pub fn events(&self, name: &str) -> Vec<Event> {
        let host = self.host(name);
        self.history
            .recent()
            .filter(|one| one.host == host)
            .map(|one| one.event.clone())
            .collect()
    }

    /// Starts the clock for [`World::spread`]: what becomes of this node is measured from now on.
    pub fn watch(&mut self, name: &str) {
        let id = self.id(name);
        self.history.watch(id, self.now);
    }

    /// When those who should notice reported an event of this kind about a watched node, since it is watched; a death
    /// counts as a suspicion too.
    pub fn spread(&self, name: &str, kind: EventKind) -> Spread {
        let mut reports = self.history.reports(self.id(name), kind);
        if kind == EventKind::Suspect {
            // Who learns of the verdict first never says "suspect".
            for (host, after) in self.history.reports(self.id(name), EventKind::Dead) {
                reports
                    .entry(host)
                    .and_modify(|at| *at = after.min(*at))
                    .or_insert(after);
            }
        }
        let onlookers = self.onlookers(self.host(name));
        Spread::new(
            onlookers
                .iter()
                .filter_map(|host| reports.get(host))
                .copied()
                .collect(),
            onlookers.len(),
        )
    }

    /// When each of these hosts first reported any of these kinds of event about a watched node, those that did.
    pub(crate) fn first_reports(
        &self,
        name: &str,
        kinds: &[EventKind],
        hosts: &[usize],
    ) -> Vec<Duration> {
        let id = self.id(name);
        let reports: Vec<BTreeMap<usize, Duration>> = kinds
            .iter()
            .map(|kind| self.history.reports(id, *kind))
            .collect();
        let first = |host: &usize| reports.iter().filter_map(|of| of.get(host)).min().copied();
        hosts.iter().filter_map(first).collect()
    }

    /// When each host first reported an event of this kind about a watched node.
    pub fn report_times(&self, name: &str, kind: EventKind) -> BTreeMap<usize, Duration> {
        self.history.reports(self.id(name), kind)
    }

    /// How often anybody reported an event of this kind about one of these watched nodes a second time or later.
    pub(crate) fn repeated_reports(&self, names: &[String], kind: EventKind) -> usize {
        let of = |name: &String| self.history.repetitions(self.id(name), kind);
        names.iter().map(of).sum()
    }

    /// Whether at least this share of all running servers carry, for every datacenter, the roster that most of its own
    /// members carry.
    pub(crate) fn catalogs_agree(&mut self, share: f64) -> bool {
        let mut homes: BTreeMap<Label, String> = BTreeMap::new();
        let (mut servers, mut agreeing) = (0u32, 0u32);
        let running: Vec<usize> = self.running().collect();
        for host in &running {
            let who = &self.slots[*host].who;
            if who.role == Role::Client && !homes.contains_key(&who.datacenter) {
                let name = who.datacenter.clone();
                let view = self.view_of(*host);
                let digest =
                    view.and_then(|view| Some(view.datacenters.get(&name)?.digest.clone()));
                homes.extend(digest.map(|digest| (name, digest)));
            }
        }
        for host in running {
            if self.slots[host].who.role != Role::Server {
                continue;
            }
            servers += 1;
            let agrees = self.view_of(host).is_some_and(|view| {
                homes.iter().all(|(name, digest)| {
                    view.datacenters
                        .get(name)
                        .is_some_and(|known| known.digest == *digest)
                })
            });
            agreeing += u32::from(agrees);
        }
        f64::from(agreeing) >= share * f64::from(servers)
    }

    /// Keeps only counts of what happens from now on: for large worlds.
    pub const fn forget_events(&mut self) {
        self.history.terse = true;
    }

    /// A hash over everything that happened so far, in order.
    pub const fn log_hash(&self) -> u64 {
        self.history.hash()
    }

    /// Who sees what at this moment, and what was reported last.
    pub fn report(&mut self) -> String {
        let mut page = format!("seed {}, {:?} after the start\n", self.seed, self.now);
        self.write_views(&mut page);
        self.write_charges(&mut page);
        let _ = writeln!(page, "dropped: {:?}", self.drops);
        for slot in self.slots.iter().take(COLUMNS) {
            let Some(process) = &slot.process else {
                continue;
            };
            let counts = process.federation.counts();
            let dropped = counts
                .iter()
                .filter(|count| count.name == "dropped" && count.value > 0.0);
            let reasons: Vec<String> = dropped
                .flat_map(|count| {
                    count
                        .labels
                        .iter()
                        .map(|(_, why)| format!("{why} {}", count.value))
                })
                .collect();
            if !reasons.is_empty() {
                let _ = writeln!(page, "refused by {:<14} {}", slot.name, reasons.join(", "));
            }
        }
        let _ = writeln!(page, "last events:");
        let recent: Vec<&Sighting> = self.history.recent().rev().take(RECENT).collect();
        for one in recent.into_iter().rev() {
            let (viewer, kind) = (&self.slots[one.host].name, one.event.kind.as_str());
            let _ = writeln!(
                page,
                "  {:?} {viewer}: {} {kind}: {}",
                one.at,
                one.about(),
                one.event.detail
            );
        }
        page
    }

    /// What is held against members who are not held alive, viewer by viewer, as far as a page has room.
    fn write_charges(&self, page: &mut String) {
        let _ = writeln!(page, "who holds what against whom:");
        for viewer in self.slots.iter().take(COLUMNS) {
            let Some(process) = &viewer.process else {
                continue;
            };
            for whom in self.slots.iter().take(COLUMNS) {
                let evidence = process.federation.evidence(whom.id, self.now);
                let Some(evidence) = evidence.filter(|one| !one.accusations.is_empty()) else {
                    continue;
                };
                let charge = |one: &AccusationView| {
                    let name = one.accuser_name.as_ref().map_or("?", |name| name.as_str());
                    let quorate = if one.quorate { "" } else { " alone" };
                    format!("{name} {} ms{quorate} {}", one.silent_ms, one.basis)
                };
                let charges: Vec<String> = evidence.accusations.iter().map(charge).collect();
                let _ = writeln!(
                    page,
                    "  {:<16} {} {} at {}: {}",
                    viewer.name,
                    whom.name,
                    evidence.member.status,
                    evidence.member.incarnation,
                    charges.join(", ")
                );
            }
        }
    }

    fn write_views(&mut self, page: &mut String) {
        let shown = self.slots.len().min(COLUMNS);
        let _ = writeln!(
            page,
            "who sees whom (a alive, s suspect, u unreachable, d dead, l left, r removed, . unknown; * elected):"
        );
        for viewer in 0..shown {
            let Some(view) = self.view_of(viewer) else {
                let state = if self.slots[viewer].up {
                    "down"
                } else {
                    "lost"
                };
                let _ = writeln!(
                    page,
                    "  {:>2} {:<16} {state}",
                    viewer, self.slots[viewer].name
                );
                continue;
            };
            let row: String = self.slots[..shown]
                .iter()
                .map(|slot| cell(find(&view, slot)))
                .collect();
            let paused = self.slots[viewer]
                .process
                .as_ref()
                .is_some_and(|process| process.paused);
            let state = if paused {
                "paused"
            } else if view.joined {
                ""
            } else {
                "not joined"
            };
            let links: Vec<String> = view
                .datacenters
                .values()
                .map(|one| {
                    format!(
                        "{}={}/{:?} ms/{:.6}",
                        one.name, one.reachability, one.age_ms, one.digest
                    )
                })
                .collect();
            let name = &self.slots[viewer].name;
            let _ = writeln!(
                page,
                "  {viewer:>2} {name:<16} {row} {} {state} {}",
                view.incarnation,
                links.join(" ")
            );
        }
    }
}

fn find<'a>(view: &'a View, slot: &Slot) -> Option<&'a Member> {
    let members = &view.datacenters.get(&slot.who.datacenter)?.members;
    let at =
        members.partition_point(|member| (&member.name, member.id) < (&slot.who.name, slot.id));
    members.get(at).filter(|member| member.id == slot.id)
}

fn cell(member: Option<&Member>) -> String {
    let Some(member) = member else {
        return ". ".to_owned();
    };
    let letter = member.status.as_str().chars().next().unwrap_or('?');
    format!("{letter}{}", if member.elected { '*' } else { ' ' })
}
