//! `pelago why NODE`: who accused it, when, on what basis, and what a verdict needs.

use super::{
    client::Client,
    in_path,
    question::Question,
    sheet::{Cell, Sheet, Tone, column},
    words,
};
use crate::{
    exit::Failure,
    model::{Accusation, WhyBody},
    output,
};
use clap::Args;

/// About whom.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Why {
    /// Name, name.datacenter or the start of an id
    node: String,
}

impl Question for Why {
    type Body = WhyBody;
    type Item = Accusation;

    async fn ask(&self, client: &Client) -> Result<WhyBody, Failure> {
        client
            .get(&format!("/v1/members/{}/why", in_path(&self.node)))
            .await
    }

    fn items<'a>(&self, body: &'a WhyBody) -> &'a [Accusation] {
        &body.accusations
    }

    fn sheet(&self, body: &WhyBody) -> Sheet {
        let mut sheet = Sheet::new(
            &[
                "ACCUSER", "HEARD", "ZONE", "RACK", "SILENT", "BASIS", "QUORATE", "COUNTS",
            ]
            .map(column),
        );
        for it in &body.accusations {
            sheet.row([
                it.accuser.as_str().into(),
                words::time(it.heard).into(),
                words::or_dash(it.zone.as_deref()).into(),
                words::or_dash(it.rack.as_deref()).into(),
                format!("{}ms", it.silent_ms).into(),
                it.basis.as_str().into(),
                yes(it.quorate),
                yes(it.counts),
            ]);
        }
        sheet
    }

    fn text(&self, body: &WhyBody) -> Option<String> {
        let member = &body.member;
        let place = format!(
            "{}, zone {}, rack {}",
            member.datacenter, member.zone, member.rack
        );
        let mut text = format!(
            "{} ({place}) is {} since {} ({} ago), incarnation {}.{}\n{}\n",
            member.name,
            member.status.to_uppercase(),
            words::time(member.since),
            words::ago(member.since),
            member.incarnation.boot,
            member.incarnation.seq,
            body.summary,
        );
        if let Some(removal) = &body.removal {
            text.push_str(&format!(
                "this key may not return before {}\n",
                removal.until
            ));
        }
        if let Some(clone) = &body.clone {
            let [one, other] = &clone.claims;
            text.push_str(&format!(
                "two processes use its key, seen {} ({} ago): one signed {one}, the other {other}; neither may hold a seat \
                 for ten minutes\n",
                words::time(clone.seen),
                words::ago(clone.seen),
            ));
        }
        if body.accusations.is_empty() {
            text.push_str("nobody accuses it\n");
            return Some(text);
        }
        if let Some(accused) = body.accused {
            text.push_str(&format!(
                "\nsigned accusations of incarnation {}.{}:\n",
                accused.boot, accused.seq
            ));
        }
        for line in self
            .sheet(body)
            .table(false, true, output::colour())
            .lines()
        {
            text.push_str(&format!("  {line}\n"));
        }
        let counting = body.accusations.iter().filter(|it| it.counts).count();
        text.push_str(&format!(
            "\na verdict needs {} that count, out of {}; here: {counting}.\n\
             those by timeout count from {}ms of silence; closed ports count at once.\n",
            words::many(body.needed.into(), "accuser"),
            words::many(body.needed_racks.into(), "rack"),
            body.floor_ms,
        ));
        Some(text)
    }

    fn notes(&self, body: &WhyBody) -> Vec<String> {
        let next = format!("{}.{}", body.member.name, body.member.datacenter);
        vec![format!(
            "evidence as {} holds it · next: pelago member {next}",
            body.viewer
        )]
    }
}

fn yes(it: bool) -> Cell {
    match it {
        true => Cell::from("yes"),
        false => Cell::toned("no", Tone::Faint),
    }
}
