//! `pelago status`: the verdict, and what speaks against a better one.

use super::{
    client::Client,
    question::Question,
    sheet::{Cell, Sheet},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{Datacenter, StatusBody, Verdict},
    output,
};
use clap::Args;

/// Of the answering node and all it knows.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Status {}

impl Question for Status {
    type Body = StatusBody;
    type Item = Datacenter;

    async fn ask(&self, client: &Client) -> Result<StatusBody, Failure> {
        client.get("/v1/status").await
    }

    fn items<'a>(&self, body: &'a StatusBody) -> &'a [Datacenter] {
        &body.datacenters
    }

    fn sheet(&self, body: &StatusBody) -> Sheet {
        super::datacenters::table(&body.datacenters)
    }

    fn text(&self, body: &StatusBody) -> Option<String> {
        let node = &body.node;
        let mut pairs = Sheet::pairs();
        pairs.pair("verdict", Cell::state(word(body.verdict)));
        for reason in &body.reasons {
            pairs.pair("", format!("- {reason}"));
        }
        for notice in &body.notices {
            pairs.pair("", format!("- {notice}"));
        }
        let elected = if node.elected { ", elected" } else { "" };
        pairs.pair(
            "node",
            format!(
                "{}.{} ({}{elected}, {})",
                node.name, node.datacenter, node.role, node.version
            ),
        );
        pairs.pair(
            "location",
            format!(
                "{} / {} / zone {} / rack {}",
                node.region, node.datacenter, node.zone, node.rack
            ),
        );
        pairs.pair("trust domain", node.trust_domain.as_str());
        pairs.pair(
            "lan",
            format!("{} (streams {})", node.address, node.stream_address),
        );
        if let Some(wan) = &node.wan_address {
            pairs.pair("wan", wan.as_str());
        }
        pairs.pair("certificate", format!("ends {}", node.not_after));
        let lists: Vec<_> = node
            .revocation_lists
            .iter()
            .map(|list| format!("{} {}", list.issuer, list.number))
            .collect();
        pairs.pair("revocation lists", lists.join(", "));
        pairs.pair("up", words::millis(node.uptime_ms));
        let api = &body.api;
        let tcp = api
            .address
            .as_ref()
            .map(|it| format!("{}://{it}", if api.tls { "https" } else { "http" }));
        let listening: Vec<_> = api
            .socket
            .iter()
            .map(|it| format!("unix://{it}"))
            .chain(tcp)
            .collect();
        pairs.pair("api", listening.join(", "));
        if !api.plain_read.is_empty() {
            pairs.pair(
                "",
                format!(
                    "plaintext reading allowed from {}",
                    api.plain_read.join(", ")
                ),
            );
        }
        let colour = output::colour();
        let table = self.sheet(body).table(false, true, colour);
        Some(format!("{}\n{table}", pairs.table(true, false, colour)))
    }

    fn exit(&self, body: &StatusBody) -> Exit {
        match body.verdict {
            Verdict::Healthy | Verdict::Degraded => Exit::Ok,
            Verdict::Unhealthy => Exit::Check,
        }
    }
}

pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded => "degraded",
        Verdict::Unhealthy => "unhealthy",
    }
}
