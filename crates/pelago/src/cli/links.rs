//! `pelago links`

use super::{
    client::Client,
    query,
    question::Question,
    sheet::{Cell, Sheet, column, wide},
    words,
};
use crate::{
    exit::Failure,
    model::{Link, LinksBody},
};
use clap::Args;

/// Whose.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Links {
    /// Those of the answering node only, instead of every elected server's
    #[arg(long)]
    own: bool,
}

impl Question for Links {
    type Body = LinksBody;
    type Item = Link;

    async fn ask(&self, client: &Client) -> Result<LinksBody, Failure> {
        client
            .get(&format!(
                "/v1/links{}",
                query(&[("own", self.own.then_some("true"))])
            ))
            .await
    }

    fn items<'a>(&self, body: &'a LinksBody) -> &'a [Link] {
        &body.links
    }

    fn sheet(&self, body: &LinksBody) -> Sheet {
        let mut sheet = Sheet::new(&[
            column("FROM"),
            column("TO"),
            column("STATE"),
            column("RTT"),
            column("LOSS"),
            column("LAST CONTACT"),
            column("CERTIFICATE ENDS"),
            column("ERROR"),
            wide("FROM DC"),
            wide("TO DC"),
            wide("ADDRESS"),
        ]);
        for link in &body.links {
            sheet.row([
                format!("{}.{}", link.from, link.from_datacenter).into(),
                link.to.as_str().into(),
                Cell::state(&link.state),
                words::rtt(link.rtt_ms).into(),
                link.loss
                    .map_or_else(|| "-".to_owned(), |loss| format!("{:.1}%", loss * 100.0))
                    .into(),
                link.last_contact_ms
                    .map_or_else(|| "-".to_owned(), words::millis)
                    .into(),
                link.not_after
                    .map_or_else(|| "-".to_owned(), |end| end.to_string())
                    .into(),
                words::or_dash(link.error.as_deref()).into(),
                link.from_datacenter.as_str().into(),
                words::or_dash(link.to_datacenter.as_deref()).into(),
                link.address.as_str().into(),
            ]);
        }
        sheet
    }

    fn notes(&self, body: &LinksBody) -> Vec<String> {
        let up = body.links.iter().filter(|link| link.state == "up").count();
        vec![format!(
            "{}, {up} up; each line is one direction",
            words::many(body.links.len(), "link")
        )]
    }
}
