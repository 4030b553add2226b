//! What leaves processes, for whoever checks a world while it runs. Nobody listens unless asked.

use crate::world::World;
use pelago_proto::federation::{Tier, Transmit};

/// One message as it left its sender.
#[derive(Debug)]
pub(crate) enum Sent {
    /// A datagram.
    Datagram(Transmit),
    /// A question over a stream.
    Question(Tier, Vec<u8>),
    /// The answer to one.
    Answer(Tier, Vec<u8>),
}

/// What happened since it was last emptied.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// Hosts whose process was handed something, in order.
    pub(crate) touched: Vec<usize>,
    /// Who sent what.
    pub(crate) sent: Vec<(usize, Sent)>,
}

impl World {
    /// Listens from now on.
    pub(crate) fn listen(&mut self) {
        self.tap = Some(Tap::default());
    }

    /// Takes what was heard.
    pub(crate) fn drain_tap(&mut self) -> Tap {
        self.tap.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn tell_tap(&mut self, host: usize, sent: impl FnOnce() -> Sent) {
        if let Some(tap) = &mut self.tap {
            tap.sent.push((host, sent()));
        }
    }

    pub(crate) fn touch(&mut self, host: usize) {
        if let Some(tap) = &mut self.tap
            && tap.touched.last() != Some(&host)
        {
            tap.touched.push(host);
        }
    }
}
