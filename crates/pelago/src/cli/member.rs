//! `pelago member NODE`

use super::{
    client::Client,
    in_path,
    members::View,
    query,
    question::{Question, exit_of, provenance, shortfalls},
    sheet::{Cell, Sheet, Tone},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::{MemberBody, MemberDetail},
};
use clap::Args;

/// Which member.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct OneMember {
    /// Name, name.datacenter or the start of an id
    node: String,
    /// Whose knowledge
    #[arg(long, value_enum)]
    view: Option<View>,
}

impl Question for OneMember {
    type Body = MemberBody;
    type Item = MemberDetail;

    async fn ask(&self, client: &Client) -> Result<MemberBody, Failure> {
        let query = query(&[("view", self.view.map(View::word))]);
        client
            .get(&format!("/v1/members/{}{query}", in_path(&self.node)))
            .await
    }

    fn items<'a>(&self, body: &'a MemberBody) -> &'a [MemberDetail] {
        std::slice::from_ref(&body.member)
    }

    fn sheet(&self, body: &MemberBody) -> Sheet {
        super::members::table(std::slice::from_ref(&body.member.member))
    }

    fn text(&self, body: &MemberBody) -> Option<String> {
        let detail = &body.member;
        let member = &detail.member;
        let mut sheet = Sheet::pairs();
        sheet.pair("name", member.name.as_str());
        sheet.pair("id", member.id.as_str());
        sheet.pair("status", Cell::state(&member.status));
        sheet.pair(
            "since",
            format!("{} ({} ago)", member.since, words::ago(member.since)),
        );
        sheet.pair("role", member.role.as_str());
        if let Some(since) = detail.elected_since.filter(|_| member.elected) {
            sheet.pair(
                "elected",
                format!("since {since} ({} ago)", words::ago(since)),
            );
        } else if member.elected {
            sheet.pair("elected", "yes");
        }
        sheet.pair("region", member.region.as_str());
        sheet.pair("datacenter", member.datacenter.as_str());
        sheet.pair("zone", member.zone.as_str());
        sheet.pair("rack", member.rack.as_str());
        sheet.pair("address", member.address.as_str());
        sheet.pair("stream address", detail.stream_address.as_str());
        if let Some(wan) = &detail.wan_address {
            sheet.pair("wan address", wan.as_str());
        }
        sheet.pair("rtt", words::rtt(member.rtt_ms));
        sheet.pair(
            "incarnation",
            format!("{}.{}", member.incarnation.boot, member.incarnation.seq),
        );
        sheet.pair("health", format!("{} of 8, 0 is best", member.health));
        sheet.pair(
            "pause tolerance",
            format!("{}ms", detail.pause_tolerance_ms),
        );
        sheet.pair("certificate ends", detail.not_after.to_string());
        sheet.pair("version", detail.version.as_str());
        for (key, value) in &member.tags {
            sheet.pair(&format!("tag {key}"), value.as_str());
        }
        if detail.clone {
            sheet.pair(
                "clone",
                Cell::toned("two processes use this member's key", Tone::Bad),
            );
        }
        Some(sheet.table(true, false, crate::output::colour()))
    }

    fn notes(&self, body: &MemberBody) -> Vec<String> {
        let mut lines = vec![provenance(&body.view)];
        lines.extend(shortfalls(&body.view));
        lines.push(format!(
            "hint: pelago why {}.{}",
            body.member.member.name, body.member.member.datacenter
        ));
        lines
    }

    fn exit(&self, body: &MemberBody) -> Exit {
        exit_of(&body.view)
    }
}
