//! Messages over QUIC streams: one request there, one answer back, both bounded in size and time.
//!
//! The first byte of a stream says what it carries: 0 a protocol message, 1 a question of the API, 2 nothing but the
//! proof that both sides accepted each other.

use crate::{
    ask::wire::AskStream,
    count::{Counts, Cut},
    inputs::{Input, Inputs},
    links::Link,
};
use pelago_proto::federation::{MAX_MESSAGE, Peer, Tier};
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

/// A protocol message.
pub(crate) const PROTOCOL: u8 = 0;
/// A question of the API.
pub(crate) const ASK: u8 = 1;
/// An empty round trip.
pub(crate) const HELLO: u8 = 2;

/// How long a peer may take over one stream.
pub(crate) const STREAM_DEADLINE: Duration = Duration::from_secs(5);
/// Streams that one connection may have open towards this node.
pub(crate) const STREAMS_PER_CONNECTION: u32 = 16;
/// Streams of one peer that are served at a time, over all its connections: peers that are slow, or mean it, must be many
/// before there is no room for others.
pub(crate) const STREAMS_PER_PEER: usize = 16;
/// Streams of all peers that are served at a time, per pool.
pub(crate) const STREAMS: usize = 256;

/// Where what arrives on streams goes.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) tier: Tier,
    pub(crate) inputs: Inputs,
    pub(crate) asks: mpsc::Sender<AskStream>,
    pub(crate) serving: Arc<Semaphore>,
    pub(crate) counts: Arc<Counts>,
}

/// A stream's place among those that are served, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_peer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Why a stream brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("the stream broke: {0}")]
    Stream(String),
    #[error("the peer refused the request")]
    Reset,
    #[error("the message is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
    #[error("no answer in time")]
    Timeout,
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => Self::Reset,
            ReadError::ConnectionLost(error) => error.into(),
            other => Self::Stream(other.to_string()),
        }
    }
}

/// Opens a stream and writes the whole request.
pub(crate) async fn open(
    connection: &Connection,
    kind: u8,
    body: &[u8],
) -> Result<(SendStream, RecvStream), StreamError> {
    if body.len() > MAX_MESSAGE {
        return Err(StreamError::TooLarge);
    }
    let (mut send, receive) = connection.open_bi().await?;
    write(&mut send, &[kind]).await?;
    write(&mut send, body).await?;
    send.finish()
        .map_err(|e| StreamError::Stream(e.to_string()))?;
    Ok((send, receive))
}

/// One request and its whole answer. Bounded in time by the caller.
pub(crate) async fn request(
    connection: &Connection,
    kind: u8,
    body: &[u8],
) -> Result<Vec<u8>, StreamError> {
    let (_send, mut receive) = open(connection, kind, body).await?;
    read_to_end(&mut receive, MAX_MESSAGE).await
}

pub(crate) async fn write(send: &mut SendStream, bytes: &[u8]) -> Result<(), StreamError> {
    send.write_all(bytes).await.map_err(|error| match error {
        quinn::WriteError::ConnectionLost(error) => error.into(),
        quinn::WriteError::Stopped(_) => StreamError::Reset,
        other => StreamError::Stream(other.to_string()),
    })
}

/// The whole of what the peer writes, read in order: what leaves a gap then stays with the connection, which bounds how
/// many fragments there may be. Read as it comes (quinn's own `read_to_end`), a byte would keep the datagram it came in.
pub(crate) async fn read_to_end(
    receive: &mut RecvStream,
    limit: usize,
) -> Result<Vec<u8>, StreamError> {
    let mut message = Vec::new();
    while let Some(chunk) = receive.read_chunk(limit + 1, true).await? {
        message.extend_from_slice(&chunk.bytes);
        if message.len() > limit {
            return Err(StreamError::TooLarge);
        }
    }
    Ok(message)
}

impl Service {
    /// Serves one stream that the peer opened; `true` once the peer has acknowledged the answer. Whatever the peer does,
    /// this ends within the deadline.
    pub(crate) async fn serve(
        &self,
        link: &Link,
        mut send: SendStream,
        mut receive: RecvStream,
    ) -> bool {
        let Some(turn) = self.turn(link) else {
            return self.cut(&mut send, Cut::Busy);
        };
        let read = timeout(STREAM_DEADLINE, read_to_end(&mut receive, MAX_MESSAGE + 1)).await;
        let message = match read {
            Ok(Ok(message)) => message,
            Ok(Err(StreamError::TooLarge)) => return self.cut(&mut send, Cut::TooLarge),
            // Reset, or the connection is lost: the peer's own doing.
            Ok(Err(_)) => return refuse(&mut send),
            Err(_) => return self.cut(&mut send, Cut::Deadline),
        };
        let Some((kind, body)) = message.split_first() else {
            return self.cut(&mut send, Cut::Malformed);
        };
        let answer = match *kind {
            HELLO if body.is_empty() => vec![HELLO],
            PROTOCOL => match timeout(
                STREAM_DEADLINE,
                self.protocol(link.peer.clone(), body.to_vec()),
            )
            .await
            {
                Ok(answer) if !answer.is_empty() => answer,
                _ => return self.cut(&mut send, Cut::Unanswered),
            },
            ASK => {
                // Answered elsewhere and in several messages; the turn goes along.
                let peer = link.peer.clone();
                let ask = AskStream {
                    tier: self.tier,
                    peer,
                    body: body.to_vec(),
                    send,
                    _turn: turn,
                };
                return self.asks.try_send(ask).is_ok();
            }
            _ => return self.cut(&mut send, Cut::Malformed),
        };
        match timeout(STREAM_DEADLINE, hand_over(&mut send, &answer)).await {
            Ok(handed) => handed.is_ok(),
            Err(_) => self.cut(&mut send, Cut::Deadline),
        }
    }

    fn turn(&self, link: &Link) -> Option<Turn> {
        Some(Turn {
            _of_peer: link.streams.clone().try_acquire_owned().ok()?,
            _of_all: self.serving.clone().try_acquire_owned().ok()?,
        })
    }

    fn cut(&self, send: &mut SendStream, reason: Cut) -> bool {
        self.counts.cut.add(reason, 1);
        refuse(send)
    }

    async fn protocol(&self, peer: Arc<Peer>, body: Vec<u8>) -> Vec<u8> {
        let (answer, waiting) = oneshot::channel();
        let request = Input::Request {
            tier: self.tier,
            peer,
            body,
            answer,
        };
        if self.inputs.send(request).await.is_err() {
            return Vec::new();
        }
        waiting.await.unwrap_or_default()
    }
}

/// Writes an answer and waits until the peer has all of it.
async fn hand_over(send: &mut SendStream, answer: &[u8]) -> Result<(), StreamError> {
    write(send, answer).await?;
    send.finish()
        .map_err(|e| StreamError::Stream(e.to_string()))?;
    let stopped = send
        .stopped()
        .await
        .map_err(|e| StreamError::Stream(e.to_string()))?;
    if stopped.is_none() {
        Ok(())
    } else {
        Err(StreamError::Reset)
    }
}

fn refuse(send: &mut SendStream) -> bool {
    // It may be reset already; then there is nothing left to refuse.
    let _ = send.reset(VarInt::from_u32(1));
    false
}
