//! What a world spends its time on: how many things of which kind happened, and how long this machine took for them.

use crate::world::{Happening, World};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Things that happened in one stretch of virtual time, by kind.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// How many, and how long they took here in all.
    pub kinds: BTreeMap<&'static str, (u64, Duration)>,
    /// Most that ever waited to happen.
    pub waiting: usize,
}

impl Census {
    /// Everything that happened.
    pub fn events(&self) -> u64 {
        self.kinds.values().map(|(events, _)| events).sum()
    }

    /// How long all of it took.
    pub fn took(&self) -> Duration {
        self.kinds.values().map(|(_, took)| *took).sum()
    }
}

impl World {
    /// Lets time pass, and takes down what it is spent on.
    pub fn run_counted(&mut self, time: Duration, census: &mut Census) {
        let end = self.now + time;
        let mut before = Instant::now();
        while let Some(kind) = self.queue.next().map(kind) {
            if !self.step(end) {
                break;
            }
            let now = Instant::now();
            let (events, took) = census.kinds.entry(kind).or_default();
            *events += 1;
            *took += now - before;
            before = now;
            census.waiting = census.waiting.max(self.queue.len());
        }
        self.run_to(end);
    }
}

/// The third byte of a frame says what it is (`proto::wire`).
fn kind(happening: &Happening) -> &'static str {
    match happening {
        Happening::Datagram { transmit, .. } => match transmit.payload.get(2) {
            Some(1) => "ping",
            Some(2) => "ack",
            Some(5) => "news",
            Some(6) => "heads",
            _ => "other datagrams",
        },
        Happening::Wake { .. } => "timers",
        Happening::Depart { .. }
        | Happening::Arrive { .. }
        | Happening::Reply { .. }
        | Happening::Return { .. }
        | Happening::GiveUp { .. } => "streams",
        Happening::PortClosed { .. }
        | Happening::Resume { .. }
        | Happening::Stop { .. }
        | Happening::Clog { .. } => "hosts",
    }
}
