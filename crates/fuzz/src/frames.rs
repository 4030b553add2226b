//! Datagrams and stream messages.

use pelago_proto::wire::{Ask, Frame, Reply};

/// What is accepted is what would be written: decoding is the inverse of encoding, and there is one encoding.
///
/// # Panics
///
/// If something is read that would be written differently.
pub fn frame(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(frame.encode(), bytes, "{frame:?}");
    }
    if let Ok(ask) = Ask::decode(bytes) {
        assert_eq!(ask.encode(), bytes, "{ask:?}");
    }
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(reply.encode(), bytes, "{reply:?}");
    }
}
