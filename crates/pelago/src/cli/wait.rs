//! `pelago wait`: until so many datacenters and members are there, and views agree.

use super::{
    client::{Client, Connect},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{Comparison, MembersBody},
    output,
};
use clap::Args;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const AGAIN: Duration = Duration::from_millis(200);

/// For what.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Wait {
    /// At least so many datacenters with living members
    #[arg(long, value_name = "N", default_value_t = 1)]
    datacenters: usize,
    /// At least so many living members in all
    #[arg(long, value_name = "M", default_value_t = 1)]
    members: usize,
    /// All elected servers hold the same
    #[arg(long)]
    converged: bool,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = words::duration)]
    timeout: Duration,
}

pub(crate) async fn run(args: &Wait, connect: &Connect) -> Result<Exit, Failure> {
    let client = Client::new(connect)?;
    let begun = Instant::now();
    let mut last = String::new();
    loop {
        let left = args.timeout.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, look(args, &client)).await {
            Ok(Ok(Seen { done: true, text })) => {
                output::line(&format!(
                    "{text} after {}",
                    words::millis(millis(begun.elapsed()))
                ));
                return Ok(Exit::Ok);
            }
            Ok(Ok(seen)) => last = seen.text,
            // Nobody there yet is what is waited for; being told no will not change.
            Ok(Err(failure)) if matches!(failure.exit, Exit::Usage | Exit::Denied) => {
                return Err(failure);
            }
            Ok(Err(failure)) => last = failure.message,
            Err(_) => {}
        }
        if begun.elapsed() + AGAIN >= args.timeout {
            let waited = words::millis(millis(args.timeout));
            return Err(
                Failure::new(Exit::Timeout, format!("not complete after {waited}"))
                    .line(format!("last seen: {last}")),
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

struct Seen {
    done: bool,
    text: String,
}

async fn look(args: &Wait, client: &Client) -> Result<Seen, Failure> {
    let body: MembersBody = client.get("/v1/members?dc=*&status=alive").await?;
    let datacenters: BTreeSet<_> = body
        .members
        .iter()
        .map(|member| &member.datacenter)
        .collect();
    let mut done = datacenters.len() >= args.datacenters
        && body.total >= args.members
        && body.view.partial.is_empty();
    let members = words::many(body.total, "member");
    let mut text = format!(
        "{members} alive in {}",
        words::many(datacenters.len(), "datacenter")
    );
    // A node that has not joined may count itself.
    if done && !client.probe("/readyz").await? {
        done = false;
        text.push_str(", but the answering node has not joined yet");
    }
    if args.converged && done {
        let comparison: Comparison = client.get("/v1/compare?dc=*").await?;
        done = comparison.agree && comparison.partial.is_empty();
        text.push_str(if done {
            ", views agree"
        } else {
            ", views differ"
        });
    }
    Ok(Seen { done, text })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
