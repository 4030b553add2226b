//! `pelago health`: for scripts and container health checks.

use super::client::{Client, Connect};
use crate::{
    exit::{Exit, Failure},
    model::{StatusBody, Verdict},
    output,
};
use clap::Args;

/// Which question.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Health {
    /// Only whether the process serves
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Only whether the node has joined
    #[arg(long)]
    ready: bool,
}

pub(crate) async fn run(args: &Health, connect: &Connect) -> Result<Exit, Failure> {
    let client = Client::new(connect)?;
    if args.live {
        return probe(&client, "/livez", "live").await;
    }
    if args.ready {
        return probe(&client, "/readyz", "ready").await;
    }
    let status: StatusBody = client.get("/v1/status").await?;
    output::line(super::status::word(status.verdict));
    status
        .reasons
        .iter()
        .for_each(|reason| output::note(reason));
    Ok(if status.verdict == Verdict::Unhealthy {
        Exit::Check
    } else {
        Exit::Ok
    })
}

async fn probe(client: &Client, path: &str, word: &str) -> Result<Exit, Failure> {
    let good = client.probe(path).await?;
    output::line(&format!("{}{word}", if good { "" } else { "not " }));
    Ok(if good { Exit::Ok } else { Exit::Check })
}
