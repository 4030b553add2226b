//! `pelago members`

use super::{
    client::Client,
    query,
    question::{Question, exit_of, provenance, shortfalls},
    sheet::{Cell, Sheet, Tone, column, wide},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{Member, MembersBody},
};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;

/// Whose knowledge to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    /// What the answering server knows
    Local,
    /// What an elected server of its datacenter knows
    Dc,
    /// What each datacenter says of itself, now
    Home,
    /// What every elected server says
    All,
}

impl View {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Dc => "dc",
            Self::Home => "home",
            Self::All => "all",
        }
    }
}

/// Which members.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub(crate) struct Members {
    /// Of this datacenter instead of the answering node's own
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    dc: Option<String>,
    /// Of all datacenters
    #[arg(long)]
    all: bool,
    /// Members of the WAN pool only: the elected servers, of all datacenters unless --dc is given
    #[arg(long)]
    wan: bool,
    /// In this zone; may be repeated
    #[arg(long)]
    zone: Vec<String>,
    /// In a rack of this name; may be repeated
    #[arg(long)]
    rack: Vec<String>,
    /// With this role
    #[arg(long, value_parser = ["client", "server"])]
    role: Option<String>,
    /// With this status; may be repeated
    #[arg(long, value_parser = ["alive", "suspect", "unreachable", "dead", "left", "removed"])]
    status: Vec<String>,
    /// Whose knowledge
    #[arg(long, value_enum)]
    view: Option<View>,
}

impl Question for Members {
    type Body = MembersBody;
    type Item = Member;

    /// All pages, put together.
    async fn ask(&self, client: &Client) -> Result<MembersBody, Failure> {
        let list = |words: &[String]| (!words.is_empty()).then(|| words.join(","));
        let dc = self
            .dc
            .as_deref()
            .or_else(|| (self.all || self.wan).then_some("*"));
        let (zone, rack, status) = (list(&self.zone), list(&self.rack), list(&self.status));
        let path = |cursor: Option<&str>| {
            let query = query(&[
                ("dc", dc),
                ("zone", zone.as_deref()),
                ("rack", rack.as_deref()),
                ("role", self.role.as_deref()),
                ("status", status.as_deref()),
                ("elected", self.wan.then_some("true")),
                ("view", self.view.map(View::word)),
                ("cursor", cursor),
            ]);
            format!("/v1/members{query}")
        };
        let mut body: MembersBody = client.get(&path(None)).await?;
        while let Some(cursor) = body.next_cursor.take() {
            let page: MembersBody = client.get(&path(Some(&cursor))).await?;
            body.members.extend(page.members);
            body.next_cursor = page.next_cursor;
        }
        Ok(body)
    }

    fn items<'a>(&self, body: &'a MembersBody) -> &'a [Member] {
        &body.members
    }

    fn sheet(&self, body: &MembersBody) -> Sheet {
        table(&body.members)
    }

    fn notes(&self, body: &MembersBody) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for member in &body.members {
            *counts.entry(&member.status).or_default() += 1;
        }
        let counts: Vec<_> = counts
            .into_iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        let members = words::many(body.members.len(), "member");
        let members = if counts.is_empty() {
            members
        } else {
            format!("{members}: {}", counts.join(", "))
        };
        let mut lines = vec![format!("{members} · {}", provenance(&body.view))];
        lines.extend(shortfalls(&body.view));
        let lost =
            |member: &&Member| matches!(member.status.as_str(), "suspect" | "unreachable" | "dead");
        if let Some(member) = body.members.iter().find(lost) {
            lines.push(format!(
                "hint: pelago why {}.{}",
                member.name, member.datacenter
            ));
        }
        lines
    }

    fn exit(&self, body: &MembersBody) -> Exit {
        exit_of(&body.view)
    }
}

/// Members as a table.
pub(crate) fn table(members: &[Member]) -> Sheet {
    let mut sheet = Sheet::new(&[
        column("NAME"),
        column("STATUS"),
        column("ROLE"),
        column("DC"),
        column("ZONE"),
        column("RACK"),
        column("ADDRESS"),
        column("RTT"),
        column("SINCE"),
        wide("REGION"),
        wide("INCARNATION"),
        wide("HEALTH"),
        wide("TAGS"),
        wide("ID"),
    ]);
    for member in members {
        let tags: Vec<_> = member
            .tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let health = match member.health {
            0 => Cell::from("0"),
            ill => Cell::toned(ill.to_string(), Tone::Doubtful),
        };
        sheet.row([
            member.name.as_str().into(),
            Cell::state(&member.status),
            format!("{}{}", member.role, if member.elected { "*" } else { "" }).into(),
            member.datacenter.as_str().into(),
            member.zone.as_str().into(),
            member.rack.as_str().into(),
            member.address.as_str().into(),
            words::rtt(member.rtt_ms).into(),
            words::ago(member.since).into(),
            member.region.as_str().into(),
            format!("{}.{}", member.incarnation.boot, member.incarnation.seq).into(),
            health,
            tags.join(",").into(),
            member.id.as_str().into(),
        ]);
    }
    sheet
}
