//! Making a schedule that fails smaller while it still fails in the same way: fewer events, fewer nodes, shorter times.

use super::{
    play::{Outcome, play},
    schedule::{Event, Fault, Schedule, Shaped, Weather},
};
use std::collections::BTreeSet;

/// Most replays that shrinking one schedule may take.
const REPLAYS: usize = 400;

/// The smallest schedule found that breaks the same invariant, and what comes of it.
pub fn shrink(schedule: &Schedule, outcome: &Outcome) -> (Schedule, Outcome) {
    let mut search = Search {
        best: schedule.clone(),
        outcome: outcome.clone(),
        left: REPLAYS,
    };
    loop {
        let before = search.best.clone();
        search.fewer_events();
        search.fewer_nodes();
        search.fewer_liars();
        search.fairer_weather();
        search.shorter();
        if search.best == before || search.left == 0 {
            break;
        }
    }
    let mut best = search.best;
    best.found = search.outcome.violation.as_ref().map(ToString::to_string);
    (best, search.outcome)
}

struct Search {
    best: Schedule,
    outcome: Outcome,
    left: usize,
}

impl Search {
    /// Keeps a smaller schedule if it fails in the same way.
    fn try_it(&mut self, smaller: Schedule) -> bool {
        if smaller == self.best || self.left == 0 || !smaller.bears_its_liars() {
            return false;
        }
        self.left -= 1;
        let outcome = play(&smaller);
        let what = |outcome: &Outcome| outcome.violation.as_ref().map(|one| one.invariant);
        let same = what(&outcome) == what(&self.outcome);
        if same {
            self.best = smaller;
            self.outcome = outcome;
        }
        same
    }

    /// Halves of the events first, then quarters, and so on down to single ones.
    fn fewer_events(&mut self) {
        let mut chunk = self.best.events.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            while at < self.best.events.len() {
                let mut smaller = self.best.clone();
                let end = (at + chunk).min(smaller.events.len());
                smaller.events.drain(at..end);
                if !self.try_it(smaller) {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn fewer_nodes(&mut self) {
        let mut number = 0;
        while number < self.best.datacenters.len() {
            let mut smaller = self.best.clone();
            smaller.datacenters.remove(number);
            if smaller.datacenters.is_empty() || !self.try_it(without_strangers(smaller)) {
                number += 1;
            }
        }
        for number in 0..self.best.datacenters.len() {
            for by in [8, 4, 2, 1] {
                loop {
                    let mut smaller = self.best.clone();
                    let datacenter = &mut smaller.datacenters[number];
                    datacenter.clients = datacenter.clients.saturating_sub(by);
                    if !self.try_it(without_strangers(smaller)) {
                        break;
                    }
                }
            }
            loop {
                let mut smaller = self.best.clone();
                let datacenter = &mut smaller.datacenters[number];
                datacenter.servers = datacenter.servers.saturating_sub(1).max(1);
                if !self.try_it(without_strangers(smaller)) {
                    break;
                }
            }
            let plain: [fn(&mut Shaped); 3] = [
                |one| (one.zones, one.racks) = (1, 1),
                |one| one.zones = 1,
                |one| one.racks = 1,
            ];
            for plain in plain {
                let mut smaller = self.best.clone();
                plain(&mut smaller.datacenters[number]);
                self.try_it(smaller);
            }
        }
    }

    fn fewer_liars(&mut self) {
        let mut number = 0;
        while number < self.best.liars.len() {
            let mut smaller = self.best.clone();
            smaller.liars.remove(number);
            if self.try_it(smaller) {
                continue;
            }
            let mut trick = 0;
            while self.best.liars[number].tricks.len() > 1
                && trick < self.best.liars[number].tricks.len()
            {
                let mut smaller = self.best.clone();
                smaller.liars[number].tricks.remove(trick);
                if !self.try_it(smaller) {
                    trick += 1;
                }
            }
            number += 1;
        }
    }

    fn fairer_weather(&mut self) {
        let fair = Weather::default();
        let changes: [fn(&mut Weather, Weather); 6] = [
            |weather, fair| *weather = fair,
            |weather, fair| weather.lan_loss = fair.lan_loss,
            |weather, fair| weather.wan_loss = fair.wan_loss,
            |weather, fair| weather.burst = fair.burst,
            |weather, fair| (weather.duplicate, weather.reorder) = (fair.duplicate, fair.reorder),
            |weather, fair| weather.heavy = fair.heavy,
        ];
        for change in changes {
            let mut smaller = self.best.clone();
            change(&mut smaller.weather, fair);
            self.try_it(smaller);
        }
    }

    /// What lasts lasts half as long; the end comes right after the last event.
    fn shorter(&mut self) {
        for number in 0..self.best.events.len() {
            loop {
                let mut smaller = self.best.clone();
                match smaller
                    .events
                    .get_mut(number)
                    .and_then(|one| one.fault.lasting())
                {
                    Some(for_ms) if *for_ms > 100 => *for_ms /= 2,
                    _ => break,
                }
                if !self.try_it(smaller) {
                    break;
                }
            }
        }
        let mut last = 0;
        for event in &mut self.best.events.clone() {
            last = last.max(event.at_ms + event.fault.lasting().map_or(0, |for_ms| *for_ms));
        }
        for length_ms in [
            last + 100,
            self.best.length_ms / 2,
            self.best.length_ms * 3 / 4,
        ] {
            let mut smaller = self.best.clone();
            smaller.length_ms = length_ms.min(smaller.length_ms);
            self.try_it(smaller);
        }
    }
}

/// A schedule without events about nodes that are not in it.
fn without_strangers(mut schedule: Schedule) -> Schedule {
    let nodes: BTreeSet<String> = schedule.nodes().into_iter().collect();
    let known = |name: &str| nodes.contains(name);
    for Event { fault, .. } in &mut schedule.events {
        if let Fault::Cut { from, to, .. } = fault {
            from.retain(|name| known(name));
            to.retain(|name| known(name));
        }
    }
    schedule
        .events
        .retain(|event| event.fault.names().into_iter().all(known));
    schedule.liars.retain(|liar| known(&liar.node));
    schedule
}
