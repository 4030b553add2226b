//! The built-in scenarios, each run over several seeds and summed up as medians and p99.

use pelago_proto::view::{EventKind, Status};
use pelago_sim::{Link, Links, Plan, Spread, Traffic, World, millis, secs};
use std::{fmt::Write as _, io::Write, time::Duration};

/// What happens in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Join,
    Kill,
    Leave,
    Lost,
    Pause,
    Quiet,
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Options {
    scenario: Scenario,
    nodes: usize,
    datacenters: usize,
    runs: u64,
    seed: u64,
    lan_loss: f64,
    wan_loss: f64,
    time: u64,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let (scenario, rest) = arguments.split_first().ok_or("no scenario")?;
        let scenario = match scenario.as_str() {
            "join" => Scenario::Join,
            "kill" => Scenario::Kill,
            "leave" => Scenario::Leave,
            "lost" => Scenario::Lost,
            "pause" => Scenario::Pause,
            "quiet" => Scenario::Quiet,
            other => return Err(format!("no scenario is called {other}")),
        };
        let mut options = Self {
            scenario,
            nodes: 100,
            datacenters: 1,
            runs: 10,
            seed: 1,
            lan_loss: 0.0,
            wan_loss: 0.0,
            time: 30,
        };
        for pair in rest.chunks(2) {
            let [option, value] = pair else {
                return Err(format!("{} lacks a value", pair[0]));
            };
            match option.as_str() {
                "--nodes" => options.nodes = number(value)?,
                "--datacenters" => options.datacenters = number(value)?,
                "--runs" => options.runs = number(value)?,
                "--seed" => options.seed = number(value)?,
                "--lan-loss" => options.lan_loss = number(value)?,
                "--wan-loss" => options.wan_loss = number(value)?,
                "--time" => options.time = number(value)?,
                other => return Err(format!("no option is called {other}")),
            }
        }
        let shares = [options.lan_loss, options.wan_loss];
        if options.nodes < 2
            || options.datacenters < 1
            || shares.iter().any(|share| !(0.0..1.0).contains(share))
        {
            return Err("at least two nodes, one datacenter, and losses below 1".to_owned());
        }
        Ok(options)
    }

    /// Racks of about twenty, three zones, five servers.
    fn plan(&self, seed: u64) -> Plan {
        let servers = self.nodes.min(5);
        let mut links = Links::default().losing_on_lan(self.lan_loss);
        links.wan = Link {
            loss: self.wan_loss,
            ..links.wan
        };
        (0..self.datacenters).fold(Plan::new(seed).links(links), |plan, datacenter| {
            plan.datacenter(&format!("dc{datacenter}"))
                .zones(3)
                .racks(self.nodes.div_ceil(60))
                .servers(servers)
                .clients(self.nodes - servers)
        })
    }

    /// A world in which everybody knows everybody.
    fn settled(&self, seed: u64) -> World {
        let mut world = self.plan(seed).build();
        world.forget_events();
        start(&mut world);
        world.run_for(secs(10));
        world
    }
}

/// Starts the first node of each datacenter, then the others within three seconds.
fn start(world: &mut World) {
    let names = world.everybody();
    let (first, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with("-s1"));
    first.iter().for_each(|name| world.start(name));
    world.run_for(secs(2));
    let each = secs(3) / u32::try_from(others.len().max(1)).unwrap_or(u32::MAX);
    for name in others {
        world.start(name);
        world.run_for(each);
    }
    let members = names.len();
    let complete = |world: &mut World| {
        names
            .iter()
            .step_by(members.div_ceil(20))
            .all(|name| world.is_complete(name))
    };
    for _ in 0..120 {
        if complete(world) {
            return;
        }
        world.run_for(secs(1));
    }
    eprintln!(
        "not everybody knows everybody: the figures below are those of an unfinished federation"
    );
}

/// Runs what was asked for and prints what came of it.
pub(crate) fn run(options: &Options, out: &mut impl Write) {
    let mut figures: Vec<(&'static str, Vec<Option<f64>>)> = Vec::new();
    for seed in options.seed..options.seed + options.runs {
        for (name, value) in once(options, seed) {
            match figures.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => figures.push((name, vec![value])),
            }
        }
    }
    let mut page = format!(
        "{options:?}\n{:<34} {:>12} {:>12} {:>6} {:>8}\n",
        "", "median", "p99", "runs", "missing"
    );
    for (name, values) in &figures {
        let mut known: Vec<f64> = values.iter().flatten().copied().collect();
        known.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            known
                .get(((known.len() as f64 * share).ceil() as usize).saturating_sub(1))
                .copied()
        };
        let show = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
        };
        let missing = values.len() - known.len();
        let (median, p99) = (show(rank(0.5)), show(rank(0.99)));
        let _ = writeln!(
            page,
            "{name:<34} {median:>12} {p99:>12} {:>6} {missing:>8}",
            values.len()
        );
    }
    // A closed pipe is the reader's wish.
    let _ = out.write_all(page.as_bytes());
}

fn once(options: &Options, seed: u64) -> Vec<(&'static str, Option<f64>)> {
    match options.scenario {
        Scenario::Join => join(options, seed),
        Scenario::Kill => end(options, seed, secs(10), World::kill, EventKind::Dead),
        Scenario::Lost => end(options, seed, secs(15), World::lose_host, EventKind::Dead),
        Scenario::Leave => end(options, seed, secs(3), World::leave, EventKind::Left),
        Scenario::Pause => pause(options, seed),
        Scenario::Quiet => quiet(options, seed),
    }
}

/// One member comes to an end, and all others notice.
fn end(
    options: &Options,
    seed: u64,
    wait: Duration,
    act: fn(&mut World, &str),
    kind: EventKind,
) -> Vec<(&'static str, Option<f64>)> {
    let mut world = options.settled(seed);
    let names = world.everybody();
    let whom = &names[usize::try_from(seed).unwrap_or(0) * 7919 % names.len()];
    let before = world.total_traffic();
    world.watch(whom);
    act(&mut world, whom);
    world.run_for(wait);
    let spent = world.total_traffic().since(&before);
    let mut figures = Vec::new();
    if kind == EventKind::Dead {
        figures.extend(spread(
            [
                "suspect, first (ms)",
                "suspect, 99 % (ms)",
                "suspect, all (ms)",
            ],
            world.spread(whom, EventKind::Suspect),
        ));
        figures.extend(spread(
            ["dead, first (ms)", "dead, 99 % (ms)", "dead, all (ms)"],
            world.spread(whom, EventKind::Dead),
        ));
    } else {
        figures.extend(spread(
            ["left, first (ms)", "left, 99 % (ms)", "left, all (ms)"],
            world.spread(whom, kind),
        ));
    }
    figures.push(("signatures", Some(spent.signed as f64)));
    figures
}

fn join(options: &Options, seed: u64) -> Vec<(&'static str, Option<f64>)> {
    let mut world = options.plan(seed).build();
    world.forget_events();
    world.start_all();
    let names = world.everybody();
    let limit = 120_000;
    let step = 50;
    let mut took = None;
    // The first that is not complete is asked again until it is: few views are looked at more than once.
    let mut waiting = names.iter().peekable();
    for elapsed in (0..limit).step_by(step) {
        while waiting.next_if(|name| world.is_complete(name)).is_some() {}
        if waiting.peek().is_none() {
            took = Some(elapsed as f64);
            break;
        }
        world.run_for(millis(step as u64));
    }
    let mut figures = vec![("everybody knows everybody (ms)", took)];
    figures.extend(
        rates(&world, &Traffic::default(), 1.0)
            .into_iter()
            .filter(|(name, _)| !name.ends_with("/s")),
    );
    figures.push((
        "bytes sent per node",
        Some(world.total_traffic().total().bytes as f64 / names.len() as f64),
    ));
    figures
}

fn quiet(options: &Options, seed: u64) -> Vec<(&'static str, Option<f64>)> {
    let mut world = options.settled(seed);
    let (before, suspected) = (world.total_traffic(), world.count(EventKind::Suspect));
    world.run_for(secs(options.time));
    let mut figures = rates(&world, &before, options.time as f64);
    let suspicions = (world.count(EventKind::Suspect) - suspected) as f64;
    figures.push(("suspicions seen", Some(suspicions)));
    figures.push(("deaths seen", Some(world.count(EventKind::Dead) as f64)));
    figures
}

fn pause(options: &Options, seed: u64) -> Vec<(&'static str, Option<f64>)> {
    let mut world = options.settled(seed);
    let names = world.everybody();
    let before = world.total_traffic();
    for name in names
        .iter()
        .skip(usize::try_from(seed).unwrap_or(0) % 4)
        .step_by(4)
    {
        world.pause_for(name, secs(2));
    }
    world.run_for(secs(10));
    let wrong = names
        .iter()
        .filter(|name| !world.sees(&names[0], name, Status::Alive))
        .count();
    vec![
        ("deaths seen", Some(world.count(EventKind::Dead) as f64)),
        (
            "suspicions seen",
            Some(world.count(EventKind::Suspect) as f64),
        ),
        ("not alive afterwards", Some(wrong as f64)),
        (
            "signatures",
            Some(world.total_traffic().since(&before).signed as f64),
        ),
    ]
}

fn rates(world: &World, before: &Traffic, seconds: f64) -> Vec<(&'static str, Option<f64>)> {
    let nodes = world.everybody().len() as f64;
    let spent = world.total_traffic().since(before);
    let each = |amount: u64| Some(amount as f64 / nodes / seconds);
    vec![
        ("bytes/node/s", each(spent.total().bytes)),
        ("packets/node/s", each(spent.total().packets)),
        ("of it LAN datagram bytes/node/s", each(spent.lan.bytes)),
        (
            "of it LAN stream bytes/node/s",
            each(spent.lan_streams.bytes),
        ),
        (
            "of it WAN bytes/node/s",
            each(spent.between_datacenters().bytes),
        ),
        ("introduction bytes/node/s", each(spent.introductions.bytes)),
        ("signatures", Some(spent.signed as f64)),
        ("verifications", Some(spent.verified as f64)),
    ]
}

fn spread(names: [&'static str; 3], spread: Spread) -> Vec<(&'static str, Option<f64>)> {
    let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
    names
        .into_iter()
        .zip([ms(spread.first), ms(spread.most), ms(spread.all)])
        .collect()
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("{text} is no such number"))
}
