//! Events as they happen, as Server-Sent Events: resumable by number, and honest when history is gone.

use super::{Api, Shared, access::Caller, fault::Fault, metrics::Open, params::Params};
use crate::model::Event;
use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use pelago_node::api::NumberedEvent;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{Receiver, error::RecvError},
    mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where a reader wants to begin.
enum Begin {
    Now,
    Oldest,
    After(u64),
}

/// `Last-Event-ID` (or `since=`) resumes; `since=oldest` tells all that is remembered; `follow=false` ends after that.
pub(super) async fn stream(
    State(shared): Api,
    Extension(_): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let params = Params::read(query.as_deref(), &["since", "follow"])?;
    let follow = params.flag("follow", true)?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let from = match last.or_else(|| params.get("since")) {
        None => Begin::Now,
        Some("oldest") => Begin::Oldest,
        Some(text) => Begin::After(text.parse().map_err(|_| {
            Fault::bad_parameter(format!("\"{text}\" is no event number"))
                .hint("give a number, or since=oldest")
        })?),
    };
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        shared.metrics.refused("streams");
        return Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many event streams are open",
        ));
    };
    let (out, stream) = mpsc::channel(64);
    let open = shared.metrics.stream();
    let feed = Feed {
        live: shared.backend.events(),
        out,
        last: 0,
        shared,
        _place: place,
        _open: open,
    };
    tokio::spawn(feed.run(from, follow));
    let keepalive = KeepAlive::new().interval(KEEPALIVE).text("keepalive");
    Ok(Sse::new(ReceiverStream::new(stream))
        .keep_alive(keepalive)
        .into_response())
}

/// One reader's stream. It subscribes before it looks back, so nothing falls between.
struct Feed {
    live: Receiver<NumberedEvent>,
    out: mpsc::Sender<Result<sse::Event, Infallible>>,
    last: u64,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
    _open: Open,
}

/// The reader has gone.
struct Gone;

impl Feed {
    async fn run(mut self, from: Begin, follow: bool) {
        let stop = self.shared.stop.clone();
        let _ = stop.run_until_cancelled(self.feed(from, follow)).await;
    }

    async fn feed(&mut self, from: Begin, follow: bool) -> Result<(), Gone> {
        match from {
            Begin::Now => {}
            Begin::Oldest => {
                let shared = Arc::clone(&self.shared);
                self.replay(remembered(|id| shared.backend.events_since(id)))
                    .await?;
            }
            Begin::After(id) => self.resume(id).await?,
        }
        if !follow {
            return Ok(());
        }
        loop {
            match self.live.recv().await {
                Ok(event) if event.id <= self.last => {}
                Ok(event) => self.send(&event).await?,
                Err(RecvError::Lagged(_)) => self.resume(self.last).await?,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn resume(&mut self, id: u64) -> Result<(), Gone> {
        self.last = id;
        match self.shared.backend.events_since(id) {
            Some(missed) => self.replay(missed).await,
            None => {
                self.last = 0;
                let reset = sse::Event::default().event("reset");
                self.out
                    .send(Ok(reset.data("{\"hint\":\"read /v1/members again\"}")))
                    .await
                    .map_err(|_| Gone)
            }
        }
    }

    async fn replay(&mut self, events: Vec<NumberedEvent>) -> Result<(), Gone> {
        for event in events {
            self.send(&event).await?;
        }
        Ok(())
    }

    async fn send(&mut self, event: &NumberedEvent) -> Result<(), Gone> {
        self.last = event.id;
        let frame = sse::Event::default()
            .id(event.id.to_string())
            .event(event.event.kind.as_str());
        let Ok(frame) = frame.json_data(Event::from(event)) else {
            return Ok(());
        };
        self.out.send(Ok(frame)).await.map_err(|_| Gone)
    }
}

/// All events still remembered: the smallest number after which nothing is missing, found by doubling and halving.
fn remembered(since: impl Fn(u64) -> Option<Vec<NumberedEvent>>) -> Vec<NumberedEvent> {
    if let Some(all) = since(0) {
        return all;
    }
    let (mut gone, mut held) = (0, 1_u64);
    while since(held).is_none() {
        gone = held;
        let Some(next) = held.checked_mul(2) else {
            return Vec::new();
        };
        held = next;
    }
    while held - gone > 1 {
        let middle = gone + (held - gone) / 2;
        if since(middle).is_some() {
            held = middle
        } else {
            gone = middle
        }
    }
    since(held).unwrap_or_default()
}
