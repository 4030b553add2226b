//! Frames (RFC 9000, section 19): those that a test sends, and what it wants to know of those that it hears.

use super::wire::{number, put, take};

/// Writes one frame: its type and the numbers that follow.
fn frame(out: &mut Vec<u8>, kind: u64, numbers: &[u64]) {
    put(out, kind);
    numbers.iter().for_each(|n| put(out, *n));
}

pub(crate) fn ping(out: &mut Vec<u8>) {
    frame(out, 0x01, &[]);
}

/// Says that this packet was received and the `below` before it.
pub(crate) fn ack(out: &mut Vec<u8>, largest: u64, below: u64) {
    frame(out, 0x02, &[largest, 0, 0, below]);
}

pub(crate) fn reset_stream(out: &mut Vec<u8>, stream: u64, end: u64) {
    frame(out, 0x04, &[stream, 0, end]);
}

pub(crate) fn stop_sending(out: &mut Vec<u8>, stream: u64) {
    frame(out, 0x05, &[stream, 0]);
}

pub(crate) fn crypto(out: &mut Vec<u8>, offset: u64, data: &[u8]) {
    frame(out, 0x06, &[offset, data.len() as u64]);
    out.extend(data);
}

/// With an offset and a length.
pub(crate) fn stream(out: &mut Vec<u8>, stream: u64, offset: u64, data: &[u8], end: bool) {
    frame(
        out,
        0x0e | u64::from(end),
        &[stream, offset, data.len() as u64],
    );
    out.extend(data);
}

pub(crate) fn max_data(out: &mut Vec<u8>, limit: u64) {
    frame(out, 0x10, &[limit]);
}

pub(crate) fn max_streams(out: &mut Vec<u8>, limit: u64) {
    frame(out, 0x12, &[limit]);
}

pub(crate) fn streams_blocked(out: &mut Vec<u8>, limit: u64) {
    frame(out, 0x16, &[limit]);
}

pub(crate) fn new_connection_id(out: &mut Vec<u8>, sequence: u64, retire_prior_to: u64) {
    frame(out, 0x18, &[sequence, retire_prior_to]);
    out.push(8);
    out.extend(sequence.to_be_bytes());
    out.extend([0; 8]);
    out.extend(sequence.to_be_bytes());
}

pub(crate) fn retire_connection_id(out: &mut Vec<u8>, sequence: u64) {
    frame(out, 0x19, &[sequence]);
}

pub(crate) fn path_challenge(out: &mut Vec<u8>, data: u64) {
    frame(out, 0x1a, &[]);
    out.extend(data.to_be_bytes());
}

/// What matters of a frame that was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Crypto {
        offset: u64,
        data: Vec<u8>,
    },
    MaxStreams(u64),
    NewConnectionId {
        sequence: u64,
        id: Vec<u8>,
        reset: Vec<u8>,
    },
    PathResponse,
    RetireConnectionId,
    /// Of the transport, with its code, or of the application.
    Close(Option<u64>),
    HandshakeDone,
    /// Anything else that must be acknowledged.
    Other,
    /// Padding and acknowledgements.
    Nothing,
}

impl Heard {
    /// Takes the first frame off what a packet carries.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let kind = number(bytes)?;
        let mut skip = |count: usize| (0..count).try_for_each(|_| number(bytes).map(|_| ()));
        Some(match kind {
            0x00 => Self::Nothing,
            0x01 => Self::Other,
            0x02 | 0x03 => {
                skip(2)?;
                let ranges = number(bytes)? as usize;
                let rest = 1 + 2 * ranges + if kind == 3 { 3 } else { 0 };
                (0..rest).try_for_each(|_| number(bytes).map(|_| ()))?;
                Self::Nothing
            }
            0x04 => {
                skip(3)?;
                Self::Other
            }
            0x05 | 0x11 | 0x15 => {
                skip(2)?;
                Self::Other
            }
            0x06 => {
                let (offset, length) = (number(bytes)?, number(bytes)?);
                let data = take(bytes, length as usize)?.to_vec();
                Self::Crypto { offset, data }
            }
            0x07 => {
                let length = number(bytes)?;
                take(bytes, length as usize)?;
                Self::Other
            }
            0x08..=0x0f => {
                skip(if kind & 4 == 0 { 1 } else { 2 })?;
                let length = if kind & 2 == 0 {
                    bytes.len()
                } else {
                    number(bytes)? as usize
                };
                take(bytes, length)?;
                Self::Other
            }
            0x12 => Self::MaxStreams(number(bytes)?),
            0x10 | 0x13 | 0x14 | 0x16 | 0x17 => {
                skip(1)?;
                Self::Other
            }
            0x18 => {
                let sequence = number(bytes)?;
                number(bytes)?;
                let length = *take(bytes, 1)?.first()?;
                Self::NewConnectionId {
                    sequence,
                    id: take(bytes, length.into())?.to_vec(),
                    reset: take(bytes, 16)?.to_vec(),
                }
            }
            0x19 => {
                skip(1)?;
                Self::RetireConnectionId
            }
            0x1a => {
                take(bytes, 8)?;
                Self::Other
            }
            0x1b => {
                take(bytes, 8)?;
                Self::PathResponse
            }
            0x1c => Self::Close(Some(number(bytes)?)),
            0x1d => Self::Close(None),
            0x1e => Self::HandshakeDone,
            0x30 => {
                take(bytes, bytes.len())?;
                Self::Other
            }
            0x31 => {
                let length = number(bytes)?;
                take(bytes, length as usize)?;
                Self::Other
            }
            _ => return None,
        })
    }
}
