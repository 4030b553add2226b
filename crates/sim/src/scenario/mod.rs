//! Scenarios: what there is, what happens to it, and what is looked at, as TOML files.
//!
//! | file | what it holds |
//! |---|---|
//! | `file` | the format, and errors with file and line |
//! | `units`, `choose` | lengths of time and choices of nodes as people write them |
//! | `act` | what each step does to a world |
//! | `noticed` | who noticed it when |
//! | `play` | the run, and the report about it |
//! | `bring_up` | from nothing to everybody knowing everybody |

mod act;
mod bring_up;
mod choose;
mod file;
mod noticed;
mod play;
mod units;

pub use file::{Fault, Scenario};
pub use play::Overrides;
pub use units::Length;
