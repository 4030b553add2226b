//! The run of a scenario, and the report about it.

use super::{
    act::Stage,
    bring_up::settle,
    file::{Scenario, Start, Step},
};
use crate::{
    ledger::Ledger,
    plan::Plan,
    progress::Progress,
    report::{Cdf, Expectation, Point, Report, Sent},
    traffic::Traffic,
    world::World,
};
use pelago_proto::{time::Time, view::EventKind};
use std::time::Duration;

/// What a command line may change about a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// Another seed.
    pub seed: Option<u64>,
    /// So many nodes in all, spread as the file spreads its own.
    pub nodes: Option<usize>,
}

impl Scenario {
    /// Runs it.
    pub fn play(&self, overrides: Overrides, progress: &mut Progress) -> Report {
        let seed = overrides.seed.unwrap_or(self.seed);
        let (plan, late) = self.plan(seed, overrides.nodes);
        let mut world = plan.build();
        world.forget_events();
        let names: Vec<String> = world
            .everybody()
            .into_iter()
            .filter(|name| !late.contains(name))
            .collect();
        let mut stage = Stage::default();
        if self.start == Start::Settled {
            progress.begin("starting");
            if late.is_empty() {
                world.start_settled();
            } else {
                settle(&mut world, &names, progress);
            }
            world.run_for(self.settle.0);
        }
        let begin = world.now();
        world.take_ledger();
        let before = world.total_traffic();
        if self.start == Start::Together {
            for name in &names {
                stage.join(&mut world, name);
            }
        }
        progress.begin("running");
        let series = self.run(&mut world, &mut stage, begin, progress);
        progress.end();
        self.report(&mut world, stage, series, (seed, begin, before))
    }

    /// What is to be built, and who does not start by itself.
    fn plan(&self, seed: u64, nodes: Option<usize>) -> (Plan, Vec<String>) {
        let of = |dc: &super::file::Datacenter| dc.servers + dc.clients;
        let planned: usize = self.datacenter.iter().map(|dc| of(dc.get_ref())).sum();
        let mut plan = Plan::new(seed).links(self.links());
        let mut late = Vec::new();
        for dc in self.datacenter.iter().map(toml::Spanned::get_ref) {
            // Servers stay as many as there are: clients make the size.
            let scaled = nodes.map_or_else(|| of(dc), |nodes| of(dc) * nodes / planned);
            let clients = scaled.saturating_sub(dc.servers);
            let racks = match nodes {
                Some(_) => (dc.racks * scaled).div_ceil(of(dc)).max(1),
                None => dc.racks,
            };
            plan = plan
                .datacenter(&dc.name)
                .region(dc.region())
                .zones(dc.zones)
                .racks(racks)
                .servers(dc.servers)
                .clients(clients);
            if let Some(seats) = dc.seats {
                plan = plan.seats(seats);
            }
            let first_late = clients - dc.late.min(clients);
            late.extend((first_late..clients).map(|n| format!("{}-c{}", dc.name, n + 1)));
        }
        for pair in self.link.pair.iter().map(toml::Spanned::get_ref) {
            let link = pair.over(self.links().wan);
            let lies_in = |region: &String| {
                let all = self.datacenter.iter().map(toml::Spanned::get_ref);
                let there: Vec<&String> = all
                    .filter(|dc| dc.region() == region)
                    .map(|dc| &dc.name)
                    .collect();
                there
            };
            for one in lies_in(&pair.between[0]) {
                for other in lies_in(&pair.between[1]) {
                    plan = plan.between(one, other, link);
                }
            }
        }
        let settings = self.settings;
        let plan = plan.tune(move |tuned| {
            if let Some(interval) = settings.probe_interval {
                tuned.probe_interval = interval.0;
            }
            if let Some(tolerance) = settings.pause_tolerance {
                tuned.pause_tolerance = tolerance.0;
            }
            if let Some(fanout) = settings.fanout {
                tuned.tuning.fanout = fanout;
            }
        });
        (plan, late)
    }

    /// Lets the timeline pass, and looks at the world every so often.
    fn run(
        &self,
        world: &mut World,
        stage: &mut Stage,
        begin: Time,
        progress: &mut Progress,
    ) -> Vec<Point> {
        let mut steps = self.steps();
        steps.reverse();
        let every = self.measure.every.0.max(Duration::from_millis(10));
        let mut looks = 0u32;
        let mut eye = Eye::new(world, self.measure.viewers);
        let mut series = vec![eye.look(world, 0.0)];
        loop {
            let next_look = every * (looks + 1);
            let next_step = steps.last().map_or(Duration::MAX, |(at, _)| *at);
            let until = next_look.min(next_step).min(self.time.0);
            world.run_to(begin + until);
            while let Some((at, step)) = steps.pop_if(|(at, _)| *at <= until) {
                stage.perform(world, step, at.as_secs_f64());
            }
            if until == next_look || until == self.time.0 {
                looks += 1;
                series.push(eye.look(world, until.as_secs_f64()));
            }
            let share = until.as_secs_f64() / self.time.0.as_secs_f64().max(1e-9);
            progress.at(
                share,
                format_args!("{:.1} s of {}", until.as_secs_f64(), self.time),
            );
            if until == self.time.0 {
                return series;
            }
        }
    }

    /// All steps with their repetitions, in order of time.
    fn steps(&self) -> Vec<(Duration, &Step)> {
        let mut steps = Vec::new();
        for step in self.at.iter().map(toml::Spanned::get_ref) {
            let every = step.every.map_or(Duration::ZERO, |length| length.0);
            let times = (0..step.times.unwrap_or(1)).map(|n| step.time.0 + every * n);
            steps.extend(
                times
                    .take_while(|at| *at <= self.time.0)
                    .map(|at| (at, step)),
            );
        }
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    fn report(
        &self,
        world: &mut World,
        stage: Stage,
        series: Vec<Point>,
        (seed, begin, before): (u64, Time, Traffic),
    ) -> Report {
        let seconds = world.now().since(begin).as_secs_f64();
        let sent = world.total_traffic().since(&before);
        let nodes = world.slots.len();
        let Ledger {
            wrong_deaths,
            wrongly_dead,
            wrong_suspicions,
            right_suspicions,
            elected,
            resigned,
            ..
        } = world.take_ledger();
        let mut datacenters: Vec<(String, usize)> = Vec::new();
        for slot in &world.slots {
            let name = slot.who.datacenter.to_string();
            match datacenters.last_mut().filter(|(last, _)| *last == name) {
                Some((_, count)) => *count += 1,
                None => datacenters.push((name, 1)),
            }
        }
        let traffic = sent
            .kinds()
            .into_iter()
            .map(|(kind, meter)| Sent {
                kind,
                bytes: meter.bytes as f64 / seconds / nodes as f64,
                packets: meter.packets as f64 / seconds / nodes as f64,
            })
            .collect();
        let mut report = Report {
            title: self.title.clone(),
            about: self.about.clone(),
            seed,
            datacenters,
            seconds,
            timeline: stage.done,
            spreads: stage.watchers.finish(world),
            series,
            traffic,
            signed: sent.signed,
            verified: sent.verified,
            wrong_deaths,
            wrongly_dead: wrongly_dead.len(),
            wrong_suspicions,
            right_suspicions,
            suspicion_rate: wrong_suspicions as f64 / seconds / nodes as f64 * 10_000.0,
            elected,
            resigned,
            expectations: Vec::new(),
        };
        report.expectations = self.judge(&report);
        report
    }

    fn judge(&self, report: &Report) -> Vec<Expectation> {
        let p99 = |seen: &[&str]| {
            let of_kind = |one: &&crate::report::Noticed| seen.contains(&one.seen);
            let mut all = Cdf::default();
            let mut missing = false;
            for one in report.spreads.iter().filter(of_kind) {
                missing |= one.most.len() < one.times;
                all.extend(one.most.steps(usize::MAX).into_iter().map(|(ms, _)| ms));
            }
            all.quantile(0.99).filter(|_| !missing)
        };
        let expect = &self.expect;
        let mut judged = Vec::new();
        let mut judge = |what, most: Option<f64>, was: Option<f64>| {
            if let Some(most) = most {
                judged.push(Expectation {
                    what,
                    most,
                    was,
                    met: was.is_some_and(|was| was <= most),
                });
            }
        };
        let ms = |length: Option<super::Length>| length.map(|one| one.0.as_secs_f64() * 1e3);
        judge(
            "undisturbed living members reported dead",
            expect.wrong_deaths.map(|most| most as f64),
            Some(report.wrong_deaths.about_healthy() as f64),
        );
        let wrong = &report.wrong_deaths;
        judge(
            "disturbed living members reported dead",
            expect.disturbed_deaths.map(|most| most as f64),
            Some((wrong.of_disturbed_at_healthy + wrong.of_disturbed_at_disturbed) as f64),
        );
        judge(
            "dead at 99 % of observers, p99, ms",
            ms(expect.dead),
            p99(&["dead"]),
        );
        judge(
            "suspect at 99 % of observers, p99, ms",
            ms(expect.suspect),
            p99(&["suspect"]),
        );
        judge(
            "news at 99 % of observers, p99, ms",
            ms(expect.news),
            p99(&["left", "known"]),
        );
        judge(
            "bytes a second and node",
            expect.bytes,
            Some(report.bytes()),
        );
        judge(
            "share of wrong pairs at the end",
            expect.divergence,
            report.series.last().map(|point| point.divergence),
        );
        judged
    }
}

/// Looks at the world every so often, and says what changed since the last time.
struct Eye {
    viewers: usize,
    at: f64,
    traffic: Traffic,
    counts: [u64; 3],
}

impl Eye {
    fn new(world: &World, viewers: usize) -> Self {
        Self {
            viewers,
            at: 0.0,
            traffic: world.total_traffic(),
            counts: counts(world),
        }
    }

    fn look(&mut self, world: &mut World, at: f64) -> Point {
        let truth = world.compare_with_truth(self.viewers);
        let (traffic, counted) = (world.total_traffic(), counts(world));
        let sent = traffic.since(&self.traffic);
        let seconds = (at - self.at).max(1e-9) * world.slots.len() as f64;
        let since = |n: usize| counted[n] - self.counts[n];
        let point = Point {
            at,
            divergence: truth.wrong as f64 / truth.pairs.max(1) as f64,
            complete: truth.complete as f64 / truth.viewers.max(1) as f64,
            bytes: sent
                .kinds()
                .iter()
                .map(|(_, meter)| meter.bytes as f64 / seconds)
                .collect(),
            suspicions: since(0),
            deaths: since(1),
            seats: since(2),
        };
        (self.at, self.traffic, self.counts) = (at, traffic, counted);
        point
    }
}

fn counts(world: &World) -> [u64; 3] {
    let ledger = world.ledger();
    [
        world.count(EventKind::Suspect),
        world.count(EventKind::Dead),
        ledger.elected + ledger.resigned,
    ]
}
