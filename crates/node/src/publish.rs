//! What readers see: whole views first, then the events that led to them.

use crate::api::{NumberedEvent, Snapshot};
use arc_swap::ArcSwap;
use pelago_proto::{
    federation::Count,
    view::{Event, View},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{broadcast, watch};

/// Events that late readers can still have.
pub(crate) const REMEMBERED: usize = 1024;

/// The published state of one node.
#[derive(Debug)]
pub(crate) struct Published {
    snapshots: watch::Sender<Arc<Snapshot>>,
    events: broadcast::Sender<NumberedEvent>,
    ring: Mutex<Ring>,
    /// The protocol's counters, at most a second old.
    pub(crate) counts: ArcSwap<Vec<Count>>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the last event; the first has 1.
    last: u64,
    events: VecDeque<NumberedEvent>,
}

impl Published {
    pub(crate) fn new(view: Arc<View>) -> Self {
        let first = Arc::new(Snapshot {
            view,
            wall: SystemTime::now(),
        });
        Self {
            snapshots: watch::Sender::new(first),
            events: broadcast::Sender::new(REMEMBERED),
            ring: Mutex::default(),
            counts: ArcSwap::default(),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    pub(crate) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<NumberedEvent> {
        self.events.subscribe()
    }

    pub(crate) fn events_since(&self, id: u64) -> Option<Vec<NumberedEvent>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.events.front().map_or(ring.last + 1, |e| e.id);
        // A number from another life of this process means nothing here.
        if id > ring.last || id + 1 < oldest {
            return None;
        }
        Some(ring.events.iter().filter(|e| e.id > id).cloned().collect())
    }

    pub(crate) fn show(&self, view: Arc<View>) {
        self.snapshots.send_replace(Arc::new(Snapshot {
            view,
            wall: SystemTime::now(),
        }));
    }

    pub(crate) fn tell(&self, event: Event) {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis());
        let unix_ms = u64::try_from(unix_ms).unwrap_or(u64::MAX);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        let event = NumberedEvent {
            id: ring.last,
            unix_ms,
            event,
        };
        if ring.events.len() >= REMEMBERED {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Within the lock, so that numbers rise for every reader. Nobody listening is no error.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::tests::view;
    use pelago_proto::{identity::Label, time::Time, view::EventKind};

    fn event() -> Event {
        Event {
            at: Time::START,
            kind: EventKind::Joined,
            datacenter: Label::new("west").expect("label"),
            member: None,
            name: None,
            incarnation: None,
            detail: String::new(),
        }
    }

    #[test]
    fn readers_resume_where_history_reaches_and_are_told_where_it_does_not() {
        let published = Published::new(Arc::new(view("west", &[])));
        assert_eq!(published.events_since(0), Some(Vec::new()));
        assert_eq!(published.events_since(1), None, "from another life");
        (0..REMEMBERED + 10).for_each(|_| published.tell(event()));
        let last = REMEMBERED as u64 + 10;
        assert_eq!(published.events_since(last), Some(Vec::new()));
        let ids: Vec<_> = published
            .events_since(last - 3)
            .expect("kept")
            .iter()
            .map(|e| e.id)
            .collect();
        assert_eq!(ids, [last - 2, last - 1, last]);
        assert_eq!(
            published.events_since(10).map(|e| e.len()),
            Some(REMEMBERED)
        );
        assert_eq!(published.events_since(9), None, "event 10 is gone");
    }
}
