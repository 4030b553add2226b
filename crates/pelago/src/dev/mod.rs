//! `pelago dev`: a whole federation on loopback, in one process, with real sockets and a throw-away PKI.

mod layout;

use crate::{
    agent::Signals,
    cli::{member_table, words},
    config::{Http, Log},
    exit::{Exit, Failure},
    http::{self, Backend},
    logging,
    model::{Clock, Member},
    output,
};
use layout::{Layout, Place};
use pelago_node::{
    Node,
    api::{Mode, Scope},
    fault::{Fault, Faults, LinkClass},
};
use pelago_proto::{identity::Role, view::Status};
use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Longer than it ever takes: then something is wrong, and is said.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// How large, and where.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DevArgs {
    /// Datacenters
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) datacenters: u8,
    /// Servers in each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) servers: u8,
    /// Clients in each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=200))]
    pub(crate) clients: u8,
    /// The first server's API; the other servers' are on the ports after it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8700")]
    pub(crate) http: SocketAddr,
    /// Keep certificates, state and sockets here [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) network: Network,
}

/// How bad the network between the nodes is made.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Injected faults")]
pub(crate) struct Network {
    /// Packets between datacenters take this much longer, each way
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = words::duration)]
    pub(crate) wan_delay: Duration,
    /// Share of packets lost between datacenters, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) wan_loss: f64,
    /// Packets inside datacenters take this much longer, each way
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = words::duration)]
    pub(crate) lan_delay: Duration,
    /// Share of packets lost inside datacenters, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) lan_loss: f64,
}

impl Network {
    fn faults(&self) -> Faults {
        let faults = Faults::new(std::process::id().into());
        let wan = (LinkClass::Wan, self.wan_delay, self.wan_loss);
        let lan = (LinkClass::AnyLan, self.lan_delay, self.lan_loss);
        for (links, delay, loss) in [wan, lan] {
            if !delay.is_zero() || loss > 0.0 {
                let fault = Fault {
                    delay,
                    jitter: delay / 10,
                    loss,
                    ..Fault::default()
                };
                faults.set(links, fault);
            }
        }
        faults
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, such as 0.05".to_owned())
}

/// One running node with its API.
struct Running {
    place: Place,
    node: Node,
    api: Arc<http::Server>,
    socket: PathBuf,
}

/// Starts everything, shows it, and runs until Ctrl-C.
pub(crate) async fn run(args: &DevArgs) -> Result<Exit, Failure> {
    let begun = Instant::now();
    logging::start(&Log {
        level: "error".to_owned(),
        format: "text".to_owned(),
    });
    let mut signals = Signals::new()?;
    let layout = Layout::new(args)?;
    let mut progress = Progress::new();
    let started = tokio::select! {
        started = start(args, &layout, &mut progress) => started,
        () = signals.end() => return Ok(Exit::Ok),
    };
    let nodes = started?;
    let complete = tokio::select! {
        complete = converged(&nodes, &mut progress) => complete,
        () = signals.end() => {
            stop(nodes).await;
            return Ok(Exit::Ok);
        }
    };
    progress.end();
    if !complete {
        output::warn(
            "not every server sees every member yet; PELAGO_LOG=info pelago dev shows more",
        );
    }
    show(&nodes, &layout, args, begun.elapsed()).await;
    for running in &nodes {
        // One that leaves on request takes its API with it.
        let api = Arc::clone(&running.api);
        tokio::spawn(async move {
            api.left.notified().await;
            api.stop().await;
        });
    }
    signals.end().await;
    output::note("stopping");
    tokio::select! {
        () = stop(nodes) => {}
        () = signals.end() => {}
    }
    Ok(Exit::Ok)
}

/// The first server of each datacenter one after the other, so that the next knows an address; then all others at once.
async fn start(
    args: &DevArgs,
    layout: &Layout,
    progress: &mut Progress,
) -> Result<Vec<Running>, Failure> {
    progress.say("making certificates");
    layout.certificates()?;
    let places = layout.places();
    let total = places.len();
    let (first, rest): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.first);
    let mut nodes: Vec<Running> = Vec::new();
    for place in first {
        let wan: Vec<_> = nodes.iter().filter_map(|it| it.node.me().wan).collect();
        nodes.push(start_one(args, layout, place, None, &wan).await?);
        progress.say(&format!("started {} of {total} nodes", nodes.len()));
    }
    let mut starting = JoinSet::new();
    for place in rest {
        let seed = nodes
            .iter()
            .find(|it| it.place.datacenter == place.datacenter)
            .map(|it| it.node.me().lan_stream);
        let foreign = nodes
            .iter()
            .filter(|it| it.place.datacenter != place.datacenter);
        let wan: Vec<_> = foreign.filter_map(|it| it.node.me().wan).collect();
        let (args, layout) = (args.clone(), layout.clone());
        starting.spawn(async move { start_one(&args, &layout, place, seed, &wan).await });
    }
    while let Some(started) = starting.join_next().await {
        nodes.push(started.map_err(|error| Failure::failed(error.to_string()))??);
        progress.say(&format!("started {} of {total} nodes", nodes.len()));
    }
    nodes.sort_by_key(|running| running.place.number);
    Ok(nodes)
}

async fn start_one(
    args: &DevArgs,
    layout: &Layout,
    place: Place,
    seed: Option<SocketAddr>,
    wan: &[SocketAddr],
) -> Result<Running, Failure> {
    let config = layout.config(&place, seed, wan);
    let pki = config.pki.clone();
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("{} did not start: {error}", place.name))
    };
    let node = Node::start(config).await.map_err(|error| failed(&error))?;
    let socket = layout.socket(&place);
    let bind = place
        .api
        .map(|offset| SocketAddr::new(args.http.ip(), args.http.port().saturating_add(offset)));
    let http = Http {
        socket: Some(socket.clone()),
        bind,
        ..Http::default()
    };
    let backend: Arc<dyn Backend> = Arc::new(node.clone());
    let api = http::start(backend, &http, &pki).await.map_err(|error| {
        failed(&error)
            .line("another federation on this machine? try: pelago dev --http 127.0.0.1:9700")
    })?;
    Ok(Running {
        place,
        node,
        api: Arc::new(api),
        socket,
    })
}

/// Waits until every server sees everybody alive.
async fn converged(nodes: &[Running], progress: &mut Progress) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let fewest = nodes
            .iter()
            .filter(|it| it.place.role == Role::Server)
            .map(alive)
            .min()
            .unwrap_or(0);
        progress.say(&format!(
            "every server sees {fewest} of {} members",
            nodes.len()
        ));
        if fewest >= nodes.len() {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

fn alive(running: &Running) -> usize {
    let snapshot = running.node.snapshot();
    let members = snapshot
        .view
        .datacenters
        .values()
        .flat_map(|datacenter| datacenter.members.iter());
    members
        .filter(|member| member.status == Status::Alive)
        .count()
}

async fn show(nodes: &[Running], layout: &Layout, args: &DevArgs, took: Duration) {
    let Some(first) = nodes.first() else { return };
    let answer = first.node.ask(Mode::Local, Scope::All).await;
    let clock = Clock::from(&answer);
    let datacenters = answer.parts.iter().flat_map(|part| &part.datacenters);
    let members: Vec<_> = datacenters
        .flat_map(|it| it.members.iter())
        .map(|member| Member::new(member, &clock))
        .collect();
    let mut text = member_table(&members).table(false, true, output::colour());
    let took = words::millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let datacenters = words::many(args.datacenters.into(), "datacenter");
    text.push_str(&format!(
        "{} in {datacenters}, ready after {took}\n\n",
        words::many(members.len(), "member")
    ));
    let address = |running: &Running| match running.api.address {
        Some(address) => format!("http://{address}"),
        None => format!("unix://{}", running.socket.display()),
    };
    for (role, title) in [
        (Role::Server, "APIs of the servers"),
        (Role::Client, "APIs of the clients"),
    ] {
        let lines: Vec<_> = nodes.iter().filter(|it| it.place.role == role).collect();
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n"));
        }
        for running in lines {
            text.push_str(&format!(
                "  {:<14} {}\n",
                running.place.name,
                address(running)
            ));
        }
    }
    let servers: Vec<_> = nodes
        .iter()
        .filter(|it| it.place.role == Role::Server)
        .collect();
    let last = servers.last().copied().unwrap_or(first);
    let leaver = nodes
        .iter()
        .find(|it| it.place.role == Role::Client)
        .unwrap_or(last);
    let (cert, key) = layout.operator(&last.place.datacenter);
    text.push_str(&format!(
        "\nTry, in another terminal:\n  pelago members --all --address {}\n  pelago events -f --address {}\n  \
         pelago leave --address unix://{}\nand then: pelago why {} --address {}\n  \
         pelago remove {} --cert {} --key {} --address {}\n\
         or in a browser: {}/\n\nCtrl-C ends it.\n",
        address(last),
        address(first),
        leaver.socket.display(),
        leaver.place.name,
        address(first),
        last.place.name,
        cert.display(),
        key.display(),
        address(first),
        address(first),
    ));
    output::data(&text);
}

async fn stop(nodes: Vec<Running>) {
    let mut stopping = JoinSet::new();
    for running in nodes {
        stopping.spawn(async move {
            running.api.stop().await;
            running.node.stop().await;
        });
    }
    let all = async { while stopping.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(3), all).await;
}

/// One line that is rewritten on a terminal, and lines elsewhere.
struct Progress {
    terminal: bool,
    last: String,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            last: String::new(),
        }
    }

    fn say(&mut self, text: &str) {
        if text == self.last {
            return;
        }
        text.clone_into(&mut self.last);
        match self.terminal {
            true => output::overwrite(text),
            false => output::note(text),
        }
    }

    fn end(&self) {
        if self.terminal {
            output::overwrite("");
        }
    }
}
