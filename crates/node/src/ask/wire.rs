//! Questions and answers between nodes: CBOR, in messages of bounded size.
//!
//! A question is one message. An answer is a sequence of messages, each with its length before it, closed by `End`: a
//! roster of ten thousand members does not fit one message, and members of one answer must come out of one view. An
//! answer without its end is no answer.

use super::{Given, local::rebase};
use crate::{
    api::{Link, Missing, Mode, Part, Scope},
    clock::Clock,
    streams::{self, StreamError, Turn},
};
use pelago_proto::{
    federation::{MAX_MESSAGE, Peer, Tier},
    identity::{Label, NodeId},
    time::Time,
    view::{Datacenter, Evidence, Member},
};
use quinn::{Connection, RecvStream, SendStream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Members per message: 500 bytes each, with room to spare.
const PAGE: usize = 250;
/// Longest answer in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Parts of one answer, and datacenters of one part.
const MAX_PARTS: usize = 1024;
/// How long the next message of an answer may take.
const NEXT: Duration = Duration::from_secs(2);
/// Depth of nesting inside a message.
const DEPTH: usize = 16;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// What you know yourself.
    View { scope: Scope },
    /// Ask others for me. Inside a datacenter only. `relay`: you may have others do it for you.
    Gather {
        mode: Mode,
        scope: Scope,
        relay: bool,
    },
    /// The evidence about a member.
    Why { needle: String },
    /// Your WAN links, or everyone's.
    Links { everyone: bool },
}

impl Question {
    /// How long the answer may take to begin.
    pub(crate) fn deadline(&self) -> Duration {
        match self {
            Self::Gather {
                mode: Mode::Home | Mode::All,
                relay: true,
                ..
            } => Duration::from_secs(4),
            Self::Gather {
                mode: Mode::Home | Mode::All,
                ..
            }
            | Self::Links { everyone: true } => Duration::from_secs(3),
            _ => super::DEADLINE,
        }
    }
}

/// One message of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// A server's part begins: everything but members.
    Part {
        at: Time,
        viewer: NodeId,
        viewer_name: Label,
        viewer_datacenter: Label,
        datacenters: Vec<Datacenter>,
    },
    /// Members of one datacenter of the last part.
    Members {
        datacenter: u32,
        members: Vec<Member>,
    },
    /// What could not be asked.
    Partial(Vec<Missing>),
    /// WAN links.
    Links(Vec<Link>),
    /// Evidence, with the clock of whose it is.
    Evidence { at: Time, evidence: Box<Evidence> },
    /// The needle fits several.
    Ambiguous(Vec<String>),
    /// The needle fits nobody.
    Nobody,
    /// The answer is complete.
    End,
}

/// A question that arrived, with the stream to answer on.
#[derive(Debug)]
pub(crate) struct AskStream {
    pub(crate) tier: Tier,
    pub(crate) peer: Arc<Peer>,
    pub(crate) body: Vec<u8>,
    pub(crate) send: SendStream,
    pub(crate) _turn: Turn,
}

/// Why an answer was not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("a malformed answer")]
    Malformed,
    #[error("an answer larger than allowed")]
    TooLarge,
    #[error("no answer in time")]
    Timeout,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, AskError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|_| AskError::Malformed)?;
    if bytes.len() > MAX_MESSAGE {
        Err(AskError::TooLarge)
    } else {
        Ok(bytes)
    }
}

pub(crate) fn decode<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, AskError> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEPTH)
        .map_err(|_| AskError::Malformed)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(AskError::Malformed)
    }
}

/// The messages that carry what was gathered.
pub(crate) fn frames(given: &Given, at: Time) -> Vec<Frame> {
    let mut frames = Vec::new();
    for part in &given.parts {
        let bare = |d: &Datacenter| Datacenter {
            members: Arc::default(),
            ..d.clone()
        };
        frames.push(Frame::Part {
            at,
            viewer: part.viewer,
            viewer_name: part.viewer_name.clone(),
            viewer_datacenter: part.viewer_datacenter.clone(),
            datacenters: part.datacenters.iter().map(bare).collect(),
        });
        for (index, datacenter) in (0u32..).zip(&part.datacenters) {
            let page = |members: &[Member]| Frame::Members {
                datacenter: index,
                members: members.to_vec(),
            };
            frames.extend(datacenter.members.chunks(PAGE).map(page));
        }
    }
    frames.push(Frame::Partial(given.partial.clone()));
    frames
}

/// Writes an answer, then its end. Each message must be taken within the stream's deadline.
pub(crate) async fn answer(send: &mut SendStream, frames: Vec<Frame>) -> Result<(), AskError> {
    for frame in frames.into_iter().chain([Frame::End]) {
        let body = encode(&frame)?;
        let length = u32::try_from(body.len())
            .map_err(|_| AskError::TooLarge)?
            .to_be_bytes();
        let write = async {
            streams::write(send, &length).await?;
            streams::write(send, &body).await
        };
        timeout(streams::STREAM_DEADLINE, write)
            .await
            .map_err(|_| AskError::Timeout)??;
    }
    send.finish()
        .map_err(|e| StreamError::Stream(e.to_string()).into())
}

/// Reads the messages of one answer.
struct Answer {
    receive: RecvStream,
    bytes: usize,
    patience: Duration,
}

impl Answer {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<Frame>, AskError> {
        let frame = timeout(self.patience, self.frame())
            .await
            .map_err(|_| AskError::Timeout)??;
        self.patience = NEXT;
        Ok(if frame == Frame::End {
            None
        } else {
            Some(frame)
        })
    }

    async fn frame(&mut self) -> Result<Frame, AskError> {
        let mut length = [0; 4];
        self.read(&mut length).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| AskError::TooLarge)?;
        self.bytes = self.bytes.saturating_add(length);
        if length > MAX_MESSAGE || self.bytes > MAX_ANSWER {
            return Err(AskError::TooLarge);
        }
        let mut body = vec![0; length];
        self.read(&mut body).await?;
        decode(&body)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), AskError> {
        self.receive
            .read_exact(buffer)
            .await
            .map_err(|error| match error {
                quinn::ReadExactError::ReadError(quinn::ReadError::Reset(_)) => {
                    StreamError::Reset.into()
                }
                quinn::ReadExactError::ReadError(quinn::ReadError::ConnectionLost(error)) => {
                    StreamError::Connection(error).into()
                }
                other => StreamError::Stream(other.to_string()).into(),
            })
    }
}

async fn put(
    connection: &Connection,
    question: &Question,
    patience: Duration,
) -> Result<Answer, AskError> {
    let (_send, receive) = streams::open(connection, streams::ASK, &encode(question)?).await?;
    Ok(Answer {
        receive,
        bytes: 0,
        patience,
    })
}

/// Puts a question whose answer is knowledge. Moments come back on this node's clock.
pub(crate) async fn ask(
    connection: &Connection,
    question: &Question,
    patience: Duration,
    clock: Clock,
) -> Result<Given, AskError> {
    let mut answer = put(connection, question, patience).await?;
    let mut collect = Collect::default();
    while let Some(frame) = answer.next().await? {
        collect.take(frame, clock.now())?;
    }
    Ok(collect.given())
}

/// Puts a question whose answer is one message.
pub(crate) async fn ask_one(
    connection: &Connection,
    question: &Question,
) -> Result<Frame, AskError> {
    let mut answer = put(connection, question, question.deadline()).await?;
    let frame = answer.next().await?.ok_or(AskError::Malformed)?;
    match answer.next().await? {
        None => Ok(frame),
        Some(_) => Err(AskError::Malformed),
    }
}

/// Puts an answer together again.
#[derive(Debug, Default)]
pub(crate) struct Collect {
    parts: Vec<(Part, Vec<Vec<Member>>, Time)>,
    partial: Vec<Missing>,
}

impl Collect {
    pub(crate) fn take(&mut self, frame: Frame, now: Time) -> Result<(), AskError> {
        match frame {
            Frame::Part {
                at,
                viewer,
                viewer_name,
                viewer_datacenter,
                datacenters,
            } => {
                if self.parts.len() >= MAX_PARTS || datacenters.len() > MAX_PARTS {
                    return Err(AskError::TooLarge);
                }
                let members = datacenters.iter().map(|_| Vec::new()).collect();
                let part = Part {
                    viewer,
                    viewer_name,
                    viewer_datacenter,
                    datacenters,
                };
                self.parts.push((part, members, at));
            }
            Frame::Members {
                datacenter,
                members,
            } => {
                let (_, all, at) = self.parts.last_mut().ok_or(AskError::Malformed)?;
                let index = usize::try_from(datacenter).map_err(|_| AskError::Malformed)?;
                let all = all.get_mut(index).ok_or(AskError::Malformed)?;
                all.extend(members.into_iter().map(|m| rebase(m, *at, now)));
            }
            Frame::Partial(partial) => self.partial.extend(partial),
            _ => return Err(AskError::Malformed),
        }
        Ok(())
    }

    pub(crate) fn given(self) -> Given {
        let whole = |(mut part, members, _): (Part, Vec<Vec<Member>>, Time)| {
            for (datacenter, members) in part.datacenters.iter_mut().zip(members) {
                datacenter.members = Arc::new(members);
            }
            part
        };
        Given {
            parts: self.parts.into_iter().map(whole).collect(),
            partial: self.partial,
        }
    }
}
