//! What reading commands have in common: ask, print data on stdout, say on stderr what it means, end with the right code.

use super::{
    client::{Client, Connect},
    sheet::{Format, Read, Sheet, render},
};
use crate::{
    exit::{Exit, Failure},
    model::{Cause, ViewInfo},
    output,
};
use serde::Serialize;
use std::{future::Future, io::IsTerminal, time::Duration};

const AGAIN: Duration = Duration::from_secs(2);

/// A question and how its answer is shown.
pub(crate) trait Question {
    /// The whole answer.
    type Body: Serialize;
    /// What is one line of `jsonl`.
    type Item: Serialize;

    fn ask(&self, client: &Client) -> impl Future<Output = Result<Self::Body, Failure>>;
    fn items<'a>(&self, body: &'a Self::Body) -> &'a [Self::Item];
    fn sheet(&self, body: &Self::Body) -> Sheet;

    /// Text that stands in for the sheet where people read.
    fn text(&self, _: &Self::Body) -> Option<String> {
        None
    }

    /// Lines for people, on stderr.
    fn notes(&self, _: &Self::Body) -> Vec<String> {
        Vec::new()
    }

    /// How the command ends.
    fn exit(&self, _: &Self::Body) -> Exit {
        Exit::Ok
    }
}

/// Asks once, or again and again.
pub(crate) async fn answer<Q: Question>(
    question: Q,
    connect: &Connect,
    read: Read,
) -> Result<Exit, Failure> {
    let client = Client::new(connect)?;
    let body = question.ask(&client).await?;
    if !read.watch {
        output::data(&shown(&question, read, &body));
        question
            .notes(&body)
            .iter()
            .for_each(|note| output::note(note));
        return Ok(question.exit(&body));
    }
    let mut latest = Ok(body);
    let mut last = String::new();
    let terminal = std::io::stdout().is_terminal();
    loop {
        match &latest {
            Ok(body) => {
                let text = shown(&question, read, body);
                let notes = question.notes(body).join("\n");
                match terminal {
                    true => output::data(&format!("\x1b[H\x1b[2J{text}{notes}\n")),
                    false if text != last => output::data(&text),
                    false => {}
                }
                last = text;
            }
            Err(failure) => output::failure(failure),
        }
        tokio::time::sleep(AGAIN).await;
        latest = question.ask(&client).await;
    }
}

fn shown<Q: Question>(question: &Q, read: Read, body: &Q::Body) -> String {
    match (read.format(), question.text(body)) {
        (Format::Table | Format::Wide, Some(text)) => text,
        _ => render(read, body, question.items(body), &question.sheet(body)),
    }
}

/// Whose view it is and how old, in one line.
pub(crate) fn provenance(view: &ViewInfo) -> String {
    let mut parts = vec![match view.mode.as_str() {
        "home" => format!("asked by {} at home", view.viewer),
        "all" => format!("asked by {} everywhere", view.viewer),
        _ => format!("view of {}", view.viewer),
    }];
    let foreign = view
        .datacenters
        .iter()
        .filter(|(_, it)| it.reachability != "local");
    parts.extend(foreign.map(|(name, it)| {
        let trouble = if it.reachability == "reachable" {
            String::new()
        } else {
            format!(", {}", it.reachability)
        };
        match it.age_ms {
            Some(age) => format!("{name} {} old{trouble}", super::words::millis(age)),
            None => format!("{name} never heard{trouble}"),
        }
    }));
    parts.join(" · ")
}

/// Warns of what is missing, and of servers that disagree.
pub(crate) fn shortfalls(view: &ViewInfo) -> Vec<String> {
    let mut lines: Vec<_> = view
        .partial
        .iter()
        .map(|name| {
            let causes: Vec<_> = view
                .causes
                .iter()
                .filter(|it| it.datacenter.as_ref() == Some(name))
                .map(why)
                .collect();
            let causes = if causes.is_empty() {
                String::new()
            } else {
                format!(": {}", causes.join("; "))
            };
            format!("warning: {name} could not be asked, shown is what is known{causes}")
        })
        .collect();
    if !view.differing.is_empty() {
        lines.push(format!(
            "warning: servers differ about {}; see: pelago compare",
            view.differing.join(", ")
        ));
    }
    lines
}

fn why(cause: &Cause) -> String {
    let address = cause
        .address
        .as_deref()
        .map(|address| format!(" ({address})"))
        .unwrap_or_default();
    format!("{}{address} {}", cause.server, cause.error)
}

/// Ok, or partial if a datacenter could not be asked.
pub(crate) fn exit_of(view: &ViewInfo) -> Exit {
    if view.partial.is_empty() {
        Exit::Ok
    } else {
        Exit::Partial
    }
}
