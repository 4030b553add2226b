//! `pelago datacenters`

use super::{
    client::Client,
    members::View,
    query,
    question::{Question, exit_of, provenance, shortfalls},
    sheet::{Cell, Sheet, Tone, column, wide},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{Datacenter, DatacentersBody},
};
use clap::Args;

/// From whom.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Datacenters {
    /// Whose knowledge
    #[arg(long, value_enum)]
    view: Option<View>,
}

impl Question for Datacenters {
    type Body = DatacentersBody;
    type Item = Datacenter;

    async fn ask(&self, client: &Client) -> Result<DatacentersBody, Failure> {
        client
            .get(&format!(
                "/v1/datacenters{}",
                query(&[("view", self.view.map(View::word))])
            ))
            .await
    }

    fn items<'a>(&self, body: &'a DatacentersBody) -> &'a [Datacenter] {
        &body.datacenters
    }

    fn sheet(&self, body: &DatacentersBody) -> Sheet {
        table(&body.datacenters)
    }

    fn notes(&self, body: &DatacentersBody) -> Vec<String> {
        let mut lines = vec![provenance(&body.view)];
        lines.extend(shortfalls(&body.view));
        lines
    }

    fn exit(&self, body: &DatacentersBody) -> Exit {
        exit_of(&body.view)
    }
}

/// Datacenters as a table.
pub(crate) fn table(datacenters: &[Datacenter]) -> Sheet {
    let mut sheet = Sheet::new(&[
        column("NAME"),
        column("REACHABILITY"),
        column("AGE"),
        column("MEMBERS"),
        column("ALIVE"),
        column("SUSPECT"),
        column("UNREACHABLE"),
        column("DEAD"),
        column("LEFT"),
        column("SEATS"),
        column("ATTESTED"),
        wide("REMOVED"),
        wide("REGION"),
        wide("DIGEST"),
    ]);
    for datacenter in datacenters {
        let count = |status: &str, tone| match datacenter.count(status) {
            0 => Cell::toned("0", Tone::Faint),
            some => Cell::toned(some.to_string(), tone),
        };
        sheet.row([
            datacenter.name.as_str().into(),
            Cell::state(&datacenter.reachability),
            datacenter
                .age_ms
                .map_or_else(|| "never".into(), |age| words::millis(age).into()),
            datacenter.members.to_string().into(),
            count("alive", Tone::Plain),
            count("suspect", Tone::Doubtful),
            count("unreachable", Tone::Doubtful),
            count("dead", Tone::Bad),
            count("left", Tone::Plain),
            format!("{} of {}", datacenter.elected, datacenter.seats).into(),
            if datacenter.attested { "yes" } else { "no" }.into(),
            count("removed", Tone::Plain),
            words::or_dash(datacenter.region.as_deref()).into(),
            datacenter.digest.as_str().into(),
        ]);
    }
    sheet
}
