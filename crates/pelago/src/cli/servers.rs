//! `pelago servers`

use super::{
    client::Client,
    query,
    question::{Question, exit_of, provenance, shortfalls},
    sheet::{Cell, Sheet, Tone, column, wide},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{Server, ServersBody},
};
use clap::Args;

/// Of which datacenter.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Servers {
    /// Of this datacenter only
    #[arg(long, value_name = "NAME")]
    dc: Option<String>,
}

impl Question for Servers {
    type Body = ServersBody;
    type Item = Server;

    async fn ask(&self, client: &Client) -> Result<ServersBody, Failure> {
        client
            .get(&format!(
                "/v1/servers{}",
                query(&[("dc", self.dc.as_deref())])
            ))
            .await
    }

    fn items<'a>(&self, body: &'a ServersBody) -> &'a [Server] {
        &body.servers
    }

    fn sheet(&self, body: &ServersBody) -> Sheet {
        let mut sheet = Sheet::new(&[
            column("NAME"),
            column("STATUS"),
            column("SEAT"),
            column("SINCE"),
            column("DC"),
            column("ZONE"),
            column("RACK"),
            column("WAN ADDRESS"),
            column("WHY"),
            wide("HEALTH"),
            wide("ID"),
        ]);
        for server in &body.servers {
            let seat = if server.elected {
                Cell::toned("elected", Tone::Good)
            } else {
                Cell::from("standby")
            };
            sheet.row([
                server.name.as_str().into(),
                Cell::state(&server.status),
                seat,
                server
                    .elected_since
                    .map_or_else(|| "-".to_owned(), words::ago)
                    .into(),
                server.datacenter.as_str().into(),
                server.zone.as_str().into(),
                server.rack.as_str().into(),
                words::or_dash(server.address.as_deref()).into(),
                server.reason.as_str().into(),
                server.health.to_string().into(),
                server.id.as_str().into(),
            ]);
        }
        sheet
    }

    fn notes(&self, body: &ServersBody) -> Vec<String> {
        let elected = body.servers.iter().filter(|server| server.elected).count();
        let servers = words::many(body.servers.len(), "server");
        let mut lines = vec![format!(
            "{servers}, {elected} elected · {}",
            provenance(&body.view)
        )];
        lines.extend(shortfalls(&body.view));
        lines
    }

    fn exit(&self, body: &ServersBody) -> Exit {
        exit_of(&body.view)
    }
}
