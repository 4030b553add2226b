//! How large a world can be: its speed, its memory, and where both go. Times are the processor's, not the clock's.

use clap::Args;
use pelago_proto::view::EventKind;
use pelago_sim::{Census, Plan, Progress, World, peak_resident, processor_time, resident, secs};
use std::fmt::Write as _;

/// What `pelago-sim scale` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleArgs {
    /// Members of all datacenters together
    #[arg(long, default_value_t = 6_000)]
    nodes: usize,
    /// Datacenters, of equal size
    #[arg(long, default_value_t = 3)]
    datacenters: usize,
    /// Servers of each datacenter; they hold the rosters of all
    #[arg(long, default_value_t = 5)]
    servers: usize,
    /// New records a second, from all members in turn
    #[arg(long, default_value_t = 10)]
    changes: u64,
    /// Virtual seconds measured
    #[arg(long, default_value_t = 30)]
    time: u64,
    /// Virtual seconds before, in which seats are taken and the WAN comes about
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Builds the world, lets it settle and measures it.
pub(crate) fn run(args: &ScaleArgs) -> Result<String, String> {
    let each = args.nodes / args.datacenters.max(1);
    if args.datacenters == 0 || each <= args.servers || args.servers == 0 {
        return Err("every datacenter needs a server and more members than servers".to_owned());
    }
    let mut progress = Progress::on_stderr("starting");
    let empty = resident();
    let began = processor_time();
    let mut world = plan(args, each).build();
    world.forget_events();
    let nodes = world.everybody().len();
    world.start_settled();
    let started = processor_time() - began;
    let known = world.known_members();
    let mut page = format!("{args:?}\n");
    let mut line = |name: &str, value: f64, unit: &str| {
        let _ = writeln!(page, "{name:<38} {value:>16.2} {unit}");
    };
    line("nodes", nodes as f64, "");
    line("members known, all nodes together", known as f64, "");
    line("started with everybody known in", started, "s");
    line(
        "  of it for one known member",
        started / known as f64 * 1e6,
        "us",
    );
    let settling = processor_time();
    progress.begin("settling");
    let mut unseen = Census::default();
    change(&mut world, args, args.settle, &mut unseen, &mut progress);
    line("settled in", processor_time() - settling, "s");
    let (before, traffic) = (world.count(EventKind::Suspect), world.total_traffic());
    let mut census = Census::default();
    let began = processor_time();
    progress.begin("running");
    change(&mut world, args, args.time, &mut census, &mut progress);
    progress.end();
    let took = processor_time() - began;
    let seconds = args.time as f64;
    let spent = world.total_traffic().since(&traffic);
    line("virtual seconds per processor second", seconds / took, "");
    line(
        "events per processor second",
        census.events() as f64 / took,
        "",
    );
    line(
        "events per virtual second",
        census.events() as f64 / seconds,
        "",
    );
    let bytes = (resident() - empty) as f64;
    line("resident memory", bytes / (1 << 30) as f64, "GiB");
    line("  per node", bytes / nodes as f64, "B");
    line("  per known member", bytes / known as f64, "B");
    let peak = peak_resident() as f64;
    line("  most at any time", peak / (1 << 30) as f64, "GiB");
    line(
        "sent per node",
        spent.total().bytes as f64 / nodes as f64 / seconds,
        "B/s",
    );
    line(
        "packets per node",
        spent.total().packets as f64 / nodes as f64 / seconds,
        "/s",
    );
    line(
        "suspicions reported",
        (world.count(EventKind::Suspect) - before) as f64,
        "",
    );
    let _ = writeln!(
        page,
        "\n{:<18} {:>14} {:>12} {:>10} {:>8}",
        "where it goes", "events", "seconds", "us each", "share"
    );
    let share = took / census.took().as_secs_f64();
    for (kind, (events, time)) in &census.kinds {
        let time = time.as_secs_f64() * share;
        let _ = writeln!(
            page,
            "{kind:<18} {events:>14} {time:>12.2} {:>10.2} {:>7.1}%",
            time / *events as f64 * 1e6,
            time / took * 100.0
        );
    }
    let _ = writeln!(page, "most that waited to happen: {}", census.waiting);
    let _ = writeln!(
        page,
        "all that happened, as one number: {:016x}",
        world.log_hash()
    );
    Ok(page)
}

/// Racks of about twenty in three zones, each datacenter a region.
fn plan(args: &ScaleArgs, each: usize) -> Plan {
    (0..args.datacenters).fold(Plan::new(args.seed), |plan, datacenter| {
        plan.datacenter(&format!("dc{datacenter}"))
            .zones(3)
            .racks(each.div_ceil(60))
            .servers(args.servers)
            .clients(each - args.servers)
    })
}

/// Lets seconds pass in which members publish new records, evenly spaced.
fn change(
    world: &mut World,
    args: &ScaleArgs,
    seconds: u64,
    census: &mut Census,
    progress: &mut Progress,
) {
    let names = world.everybody();
    let changes = args.changes * seconds;
    let step = secs(seconds) / u32::try_from(changes.max(1)).unwrap_or(u32::MAX);
    for number in 0..changes.max(1) {
        if args.changes > 0 {
            world.change_record(&names[usize::try_from(number).unwrap_or(0) * 7_919 % names.len()]);
        }
        world.run_counted(step, census);
        let share = (number + 1) as f64 / changes.max(1) as f64;
        let gib = resident() as f64 / f64::from(1 << 30);
        progress.at(
            share,
            format_args!("{} events, {gib:.1} GiB", census.events()),
        );
    }
}
