//! `pelago compare`: do all elected servers hold the same?

use super::{
    client::Client,
    query,
    question::Question,
    sheet::{Sheet, column},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{Comparison, Difference},
};
use clap::Args;

/// About what.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Compare {
    /// All datacenters instead of the answering node's own
    #[arg(long)]
    all: bool,
}

impl Question for Compare {
    type Body = Comparison;
    type Item = Difference;

    async fn ask(&self, client: &Client) -> Result<Comparison, Failure> {
        client
            .get(&format!(
                "/v1/compare{}",
                query(&[("dc", self.all.then_some("*"))])
            ))
            .await
    }

    fn items<'a>(&self, body: &'a Comparison) -> &'a [Difference] {
        &body.differences
    }

    fn sheet(&self, body: &Comparison) -> Sheet {
        let mut sheet = Sheet::new(&["DATACENTER", "ABOUT", "SHOWN AS", "BY"].map(column));
        for difference in &body.differences {
            for (digest, servers) in &difference.digests {
                let by = servers.join(", ");
                sheet.row([
                    difference.datacenter.as_str().into(),
                    "digest".into(),
                    digest.as_str().into(),
                    by.into(),
                ]);
            }
            for member in &difference.members {
                for (shown, servers) in &member.shown {
                    let by = servers.join(", ");
                    let (datacenter, name) = (difference.datacenter.as_str(), member.name.as_str());
                    sheet.row([
                        datacenter.into(),
                        name.into(),
                        shown.as_str().into(),
                        by.into(),
                    ]);
                }
            }
        }
        sheet
    }

    fn text(&self, body: &Comparison) -> Option<String> {
        let servers = words::many(body.servers.len(), "server");
        let about = body.datacenters.join(", ");
        match body.agree {
            true => Some(format!("● {servers} agree about {about}\n")),
            false => Some(format!(
                "✕ {servers} differ\n{}",
                self.sheet(body).table(false, true, crate::output::colour())
            )),
        }
    }

    fn notes(&self, body: &Comparison) -> Vec<String> {
        let mut lines: Vec<_> = body
            .partial
            .iter()
            .map(|name| format!("warning: not every server of {name} could be asked"))
            .collect();
        if !body.agree {
            lines.push(
                "hint: views that were just changed may lag by a second; ask again".to_owned(),
            );
        }
        lines
    }

    fn exit(&self, body: &Comparison) -> Exit {
        match (body.agree, body.partial.is_empty()) {
            (false, _) => Exit::Check,
            (true, false) => Exit::Partial,
            (true, true) => Exit::Ok,
        }
    }
}
