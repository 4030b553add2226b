//! The one way into the protocol task: a channel bounded in messages and in bytes.

use pelago_proto::{
    federation::{
        HandedIn, HandedList, ListError, Peer, ProbeId, RemovalError, RequestError, RequestId, Tier,
    },
    identity::NodeId,
    view::Evidence,
    wire::Item,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Messages that may wait.
const MESSAGES: usize = 4096;
/// Bytes that may wait.
const BYTES: usize = 8 * 1024 * 1024;

/// Something for the protocol task.
#[derive(Debug)]
pub(crate) enum Input {
    /// A WAN datagram from an authenticated peer.
    Datagram { from: NodeId, payload: bytes::Bytes },
    /// A request from an authenticated peer.
    Request {
        tier: Tier,
        peer: Arc<Peer>,
        body: Vec<u8>,
        answer: oneshot::Sender<Vec<u8>>,
    },
    /// What came of a request of ours.
    Response {
        id: RequestId,
        result: Result<(Peer, Vec<u8>), RequestError>,
    },
    /// A closed port was heard.
    PortClosed(ProbeId),
    /// From this node's own side.
    Command(Command),
}

/// What the rest of the node wants of the protocol task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Configured seeds, resolved.
    Seeds {
        lan: Vec<SocketAddr>,
        wan: Vec<SocketAddr>,
    },
    /// Certificates, authorities or revocations changed.
    TrustChanged,
    /// How the runtime feels, 0–8.
    Health(u8),
    /// The evidence about one member.
    Evidence(NodeId, oneshot::Sender<Option<Evidence>>),
    /// Servers that links are wanted to.
    WanPeers(oneshot::Sender<Vec<(NodeId, SocketAddr)>>),
    /// A removal that an operator signed.
    Remove(Item, oneshot::Sender<Result<HandedIn, RemovalError>>),
    /// A revocation list.
    Revoke(Vec<u8>, oneshot::Sender<Result<HandedList, ListError>>),
    /// What a test does by hand.
    #[cfg(feature = "hostile")]
    Act(crate::hostile::Act),
    /// Say goodbye; answered once it has been handed to peers.
    Leave(oneshot::Sender<()>),
}

/// A sender; clones share the bounds.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    sender: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
}

/// An input with the share of the byte budget that it holds until dropped.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) input: Input,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// The protocol task is gone: the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub(crate) struct Stopping;

pub(crate) fn channel() -> (Inputs, mpsc::Receiver<Queued>) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    (
        Inputs {
            sender,
            bytes: Arc::new(Semaphore::new(BYTES)),
        },
        receiver,
    )
}

impl Inputs {
    /// Waits for room.
    pub(crate) async fn send(&self, input: Input) -> Result<(), Stopping> {
        let size = u32::try_from(input.size()).unwrap_or(u32::MAX);
        let bytes = self
            .bytes
            .clone()
            .acquire_many_owned(size)
            .await
            .map_err(|_| Stopping)?;
        self.sender
            .send(Queued {
                input,
                _bytes: Some(bytes),
            })
            .await
            .map_err(|_| Stopping)
    }

    /// For what may be lost: `false` if there is no room now.
    pub(crate) fn offer(&self, input: Input) -> bool {
        let size = u32::try_from(input.size()).unwrap_or(u32::MAX);
        let Ok(bytes) = self.bytes.clone().try_acquire_many_owned(size) else {
            return false;
        };
        self.sender
            .try_send(Queued {
                input,
                _bytes: Some(bytes),
            })
            .is_ok()
    }

    /// Asks and waits for the answer; `None` when the node stops meanwhile.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        let (answer, waiting) = oneshot::channel();
        self.send(Input::Command(command(answer))).await.ok()?;
        waiting.await.ok()
    }

    /// Messages waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }
}

impl Input {
    fn size(&self) -> usize {
        64 + match self {
            Self::Datagram { payload, .. } => payload.len(),
            Self::Request { body, .. } => body.len(),
            Self::Response { result, .. } => result.as_ref().map_or(0, |(_, body)| body.len()),
            Self::PortClosed(_) | Self::Command(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(bytes: usize) -> Input {
        Input::Datagram {
            from: NodeId::default(),
            payload: vec![0; bytes].into(),
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_messages_and_in_bytes() {
        let (inputs, mut receiver) = channel();
        let taken = (0..MESSAGES + 10)
            .filter(|_| inputs.offer(datagram(0)))
            .count();
        assert_eq!((taken, inputs.waiting()), (MESSAGES, MESSAGES));
        while receiver.try_recv().is_ok() {}
        let large = 1024 * 1024;
        let taken = (0..100).filter(|_| inputs.offer(datagram(large))).count();
        assert_eq!(taken, BYTES / (large + 64));
        while receiver.try_recv().is_ok() {}
        assert!(
            inputs.offer(datagram(large)),
            "what was taken out makes room"
        );
    }
}
