//! `pelago agent`: one node and its API, until it is told to go.

use crate::{
    cli::{AgentArgs, configure},
    exit::{Exit, Failure},
    http::{self, Backend},
    logging,
};
use pelago_node::{Node, StartError};
use std::{sync::Arc, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(4);

/// Runs until SIGTERM, SIGINT or `pelago leave`.
pub(crate) async fn run(args: &AgentArgs) -> Result<Exit, Failure> {
    let outcome = configure::load(&args.config, &args.set);
    configure::report(&outcome)?;
    let settings = outcome
        .settings()
        .ok_or_else(|| Failure::new(Exit::Check, "the configuration is incomplete"))?;
    logging::start(&settings.log);
    let mut signals = Signals::new()?;

    let node = Node::start(settings.node.clone())
        .await
        .map_err(|error| not_started(&error))?;
    let backend: Arc<dyn Backend> = Arc::new(node.clone());
    let api = match http::start(backend, &settings.http, &settings.node.pki).await {
        Ok(api) => api,
        Err(error) => {
            node.stop().await;
            return Err(Failure::failed(error.to_string()));
        }
    };
    let me = node.me();
    tracing::info!(
        name = %me.name, id = %me.id, datacenter = %me.datacenter, zone = %me.zone, rack = %me.rack, role = %me.role,
        lan = %me.lan, lan_stream = %me.lan_stream, wan = me.wan.map(tracing::field::display),
        api = api.address.map(tracing::field::display),
        socket = settings.http.socket.as_ref().map(|path| tracing::field::display(path.display())),
        version = env!("CARGO_PKG_VERSION"), "started"
    );

    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Wanted::End => break,
                Wanted::Reload => reload(&node).await,
            },
            () = api.left.notified() => {
                api.stop().await;
                tracing::info!("left");
                return Ok(Exit::Ok);
            }
        }
    }
    tracing::info!("leaving; a second signal ends this at once");
    tokio::select! {
        said = tokio::time::timeout(GOODBYE, node.leave()) => match said {
            Ok(()) => tracing::info!("left"),
            Err(_) => tracing::warn!("nobody took the goodbye in time"),
        },
        () = signals.end() => {
            tracing::warn!("ended at once");
            return Ok(Exit::Failed);
        }
    }
    api.stop().await;
    Ok(Exit::Ok)
}

async fn reload(node: &Node) {
    let report = node.reload().await;
    tracing::info!(applied = ?report.applied, "reloaded");
    for failed in &report.failed {
        tracing::error!(%failed, "reload: the old state stays in force");
    }
}

fn not_started(error: &StartError) -> Failure {
    let failure = Failure::failed(format!("the node did not start: {error}"));
    match error {
        StartError::Bind { .. } => {
            failure.line("is another agent running, or is the address not this host's?")
        }
        StartError::Mismatch { .. } | StartError::Pki(_) | StartError::Config(_) => Failure {
            exit: Exit::Check,
            ..failure
        },
        _ => failure,
    }
}

/// The signals that an agent listens to.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
enum Wanted {
    End,
    Reload,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::End,
            _ = self.interrupt.recv() => Wanted::End,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }

    /// Returns when somebody wants the process to end.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
