//! Hostile traffic over real sockets, against real nodes on loopback: what strangers send as fast as they can, what
//! members with a valid certificate may try, and what was recorded and is sent again.
//!
//! Nothing is asserted about time, only about states, counters and bytes. `PELAGO_FLOOD_SECONDS` makes every flood
//! longer; the figures in `docs/hostile.md` are of such runs, one test at a time and with `--nocapture`.

#![expect(clippy::print_stdout, reason = "figures are what long runs are for")]

mod abroad;
mod abuse;
#[path = "../common/mod.rs"]
mod common;
mod forged;
mod handshakes;
mod kit;
mod lan;
mod liar;
mod lies;
mod members;
mod raw;
mod replay;
mod streams;
