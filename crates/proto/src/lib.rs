//! The Pelago protocol, without input or output.
//!
//! One [`Federation`](federation::Federation) is one node's whole protocol: it is handed bytes and the time, and hands back what to send, what
//! to ask and what happened. It owns no socket, clock, thread or random generator, so the same code runs under real
//! sockets and in virtual time.
//!
//! ```text
//! bytes → admit → open → decode (cbor, wire) → would it change anything? → budget → verify (claim) → Pool → Roster
//!                                                                                    │
//!                                      transmits, requests, events, snapshot  ←──────┘
//! ```
//!
//! | folder or file | rule that lives there |
//! |---|---|
//! | [`federation`] | the one type that the runtime and the simulator drive |
//! | [`pool`] | probing, observers, suspicion, spreading, repair, joining: SWIM and Lifeguard |
//! | [`roster`] | how signed claims become statuses: merge, verdicts, digests |
//! | [`claim`] | what is signed, by whom, and how it is checked |
//! | [`election`], [`catalog`], [`sampler`] | who sits in the WAN pool, what is known of others, whom to talk to |
//! | [`wire`], [`cbor`] | frames and the strict decoder |

pub mod catalog;
pub mod cbor;
pub mod claim;
pub mod contact;
pub mod election;
pub mod federation;
pub mod identity;
pub mod limit;
pub mod pool;
pub mod roster;
pub mod sampler;
pub mod table;
mod tally;
pub mod time;
pub mod trust;
pub mod view;
pub mod wire;
