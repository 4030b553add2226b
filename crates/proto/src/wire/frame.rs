//! One datagram.

use super::{
    BEFORE_BODY, HeadItem, Item, MAX_DATAGRAM, Numbers, bytes, heads_out, id_out, kind, millis,
    news_out, numbers_out, pack, read_head, read_item, read_number, read_spacing,
};
use crate::{
    cbor::{Malformed, Reader},
    identity::NodeId,
};
use serde_bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// "Are you there?" Answered by an ack with the same number.
    Ping {
        /// Echoed.
        number: u64,
        /// The sender is one of the receiver's observers: the answer says how well they are spaced.
        watch: bool,
        /// The sender's set hash of the receiver's pool.
        digest: u64,
        /// News.
        news: Vec<Item>,
    },
    /// The answer.
    Ack {
        /// The ping's.
        number: u64,
        /// By how many milliseconds the receiver's pings should come earlier, or later, for the sender's observers to be
        /// evenly spaced.
        spacing: Option<(u32, u32)>,
        /// The sender's set hash.
        digest: u64,
        /// News.
        news: Vec<Item>,
    },
    /// "Ask it for me."
    PingReq {
        /// Echoed.
        number: u64,
        /// Whom to ping.
        target: NodeId,
        /// How long the answer is of use.
        within: Duration,
    },
    /// A relay's answer to [`Frame::PingReq`]: whether the target answered.
    Relayed {
        /// The request's.
        number: u64,
        /// False: a nack; the relay is well, the target silent.
        answered: bool,
    },
    /// News, pushed.
    News {
        /// Claims.
        news: Vec<Item>,
    },
    /// Roster heads.
    Heads {
        /// Newest first.
        heads: Vec<HeadItem>,
    },
    /// "These are the revocation lists I hold."
    Lists {
        /// Hash over all of them.
        digest: u64,
        /// Those that are new, or that the receiver lacks.
        known: Numbers,
    },
    /// A revocation list, pushed.
    List {
        /// DER.
        crl: Arc<[u8]>,
    },
}

impl Frame {
    /// The frame's name, for counting.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Ack { .. } => "ack",
            Self::PingReq { .. } => "ping_req",
            Self::Relayed { .. } => "relayed",
            Self::News { .. } => "news",
            Self::Heads { .. } => "heads",
            Self::Lists { .. } => "lists",
            Self::List { .. } => "list",
        }
    }

    /// Writes the frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ping {
                number,
                watch,
                digest,
                news,
            } => pack(1, (*number, *watch, bytes(*digest), news_out(news))),
            Self::Ack {
                number,
                spacing,
                digest,
                news,
            } => pack(2, (*number, *spacing, bytes(*digest), news_out(news))),
            Self::PingReq {
                number,
                target,
                within,
            } => pack(3, (*number, id_out(target), millis(*within))),
            Self::Relayed { number, answered } => pack(4, (*number, *answered)),
            Self::News { news } => pack(5, news_out(news)),
            Self::Heads { heads } => pack(6, heads_out(heads)),
            Self::Lists { digest, known } => pack(7, (bytes(*digest), numbers_out(known))),
            Self::List { crl } => pack(8, Bytes::new(crl)),
        }
    }

    /// Whether a payload says of itself that it is [`Frame::News`].
    pub fn is_news(payload: &[u8]) -> bool {
        matches!(kind(payload, MAX_DATAGRAM + 64), Ok(5))
    }

    /// Reads a frame; everything must be consumed.
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        let kind = kind(input, MAX_DATAGRAM + 64)?;
        let mut from = Reader::new(input.get(BEFORE_BODY..).unwrap_or_default());
        let frame = match kind {
            1 => {
                from.array(4)?;
                Self::Ping {
                    number: from.number()?,
                    watch: from.flag()?,
                    digest: u64::from_be_bytes(from.exactly()?),
                    news: from.list(read_item)?,
                }
            }
            2 => {
                from.array(4)?;
                Self::Ack {
                    number: from.number()?,
                    spacing: from.optional(read_spacing)?,
                    digest: u64::from_be_bytes(from.exactly()?),
                    news: from.list(read_item)?,
                }
            }
            3 => {
                from.array(3)?;
                Self::PingReq {
                    number: from.number()?,
                    target: NodeId(from.exactly()?),
                    within: Duration::from_millis(from.number()?),
                }
            }
            4 => {
                from.array(2)?;
                Self::Relayed {
                    number: from.number()?,
                    answered: from.flag()?,
                }
            }
            5 => Self::News {
                news: from.list(read_item)?,
            },
            6 => Self::Heads {
                heads: from.list(read_head)?,
            },
            7 => {
                from.array(2)?;
                Self::Lists {
                    digest: u64::from_be_bytes(from.exactly()?),
                    known: from.list(read_number)?,
                }
            }
            8 => Self::List {
                crl: from.bytes()?.into(),
            },
            _ => return Err(Malformed::Shape),
        };
        from.end().map(|()| frame)
    }
}
