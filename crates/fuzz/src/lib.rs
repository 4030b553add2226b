//! What must hold for any bytes at all, one function per reader of bytes from outside.
//!
//! The fuzzer calls these with what it finds (`fuzz/`), and `tests/seeds.rs` with golden vectors and what a few thousand random
//! changes make of them. Each panics if a property does not hold; input that is refused is the normal case.

mod certificates;
mod claims;
mod frames;
mod pool;
mod sealed;
mod state;
mod texts;

pub use certificates::{certificate, genuine};
pub use claims::claim;
pub use frames::frame;
pub use pool::pool;
pub use sealed::sealed;
pub use state::{state, state_seed};
pub use texts::{configuration, request};
