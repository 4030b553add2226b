//! `pelago events`: what happened, and with `-f` what happens.

use super::{
    client::{Client, Connect},
    sheet::{Cell, Format, Read, Sheet, column},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::Event,
    output,
};
use clap::Args;
use http_body_util::BodyExt;

/// How far.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Events {
    /// Go on with events as they happen
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(args: &Events, read: Read, connect: &Connect) -> Result<Exit, Failure> {
    let client = Client::new(connect)?;
    let follow = args.follow || read.watch;
    let mut body = client
        .stream(&format!("/v1/events?since=oldest&follow={follow}"))
        .await?;
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let broken = |error| {
            Failure::new(
                Exit::Unreachable,
                format!("{} went away: {error}", client.address),
            )
        };
        let frame = frame.map_err(broken)?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        for message in lines.feed(bytes) {
            show(&message, read.output)?;
        }
    }
    match follow {
        true => Err(Failure::new(
            Exit::Unreachable,
            format!("{} ended the stream", client.address),
        )),
        false => Ok(Exit::Ok),
    }
}

fn show(message: &Message, format: Format) -> Result<(), Failure> {
    if message.event == "reset" {
        output::warn("events were lost; read the members again: pelago members");
        return Ok(());
    }
    let event: Event = serde_json::from_str(&message.data)
        .map_err(|error| Failure::failed(format!("an event is not understood: {error}")))?;
    let subject = event.name.as_ref().map_or_else(
        || event.datacenter.clone(),
        |name| format!("{name}.{}", event.datacenter),
    );
    match format {
        Format::Json | Format::Jsonl => output::line(&message.data),
        Format::Name => output::line(&subject),
        Format::Csv => output::line(&format!(
            "{},{},{subject},{}",
            event.id, event.time, event.kind
        )),
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(&["", "", "", ""].map(column));
            let time = words::time(event.time);
            sheet.row([
                time.into(),
                Cell::state(&event.kind),
                subject.into(),
                event.detail.as_str().into(),
            ]);
            output::data(&sheet.table(true, false, output::colour()));
        }
    }
    Ok(())
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    event: String,
    data: String,
}

/// Puts messages together out of pieces of any size.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    open: Message,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.rest.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let message = std::mem::take(&mut self.open);
                // A keepalive is an empty message.
                if !message.data.is_empty() {
                    whole.push(message);
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                self.open.data.push_str(data.trim_start());
            } else if let Some(event) = line.strip_prefix("event:") {
                self.open.event = event.trim().to_owned();
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_pieces_and_keepalives_are_nothing() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b": keepalive\n\nid: 1\nevent: de"), []);
        let whole = lines.feed(b"ad\ndata: {\"id\":1}\n\n: keepalive\n\n");
        assert_eq!(
            whole,
            [Message {
                event: "dead".into(),
                data: "{\"id\":1}".into()
            }]
        );
    }
}
