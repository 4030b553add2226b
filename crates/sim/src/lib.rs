//! A network in virtual time in which the protocol runs unmodified.
//!
//! A [`World`] holds hosts, processes and links, and one clock that jumps from event to event: ten minutes of a
//! federation's life take seconds, and the same seed gives the same life. Tests say what happens and what must come of
//! it:
//!
//! ```no_run
//! use pelago_proto::view::Status;
//! use pelago_sim::{Plan, secs};
//!
//! let mut world = Plan::federation(7).build();
//! world.start_all();
//! world.run_until("everybody sees everybody", secs(10), |world| world.everyone_sees_alive());
//! world.kill("eu-west-s1");
//! world.run_until("its death is known", secs(1), |world| world.everyone_sees("eu-west-s1", Status::Dead));
//! ```
//!
//! | file | what it stands in for |
//! |---|---|
//! | [`Plan`] | configuration |
//! | `world`, `slot` | machines, kernels and the driver's loop |
//! | `net`, `streams`, `queue` | links, QUIC and time |
//! | [`trust`] | certificates and signatures |
//! | `script`, `operator`, `look` | hands and eyes of a test |
//! | [`goals`] | the project's goals as measurements |
//! | [`comparator`] | what others do, in the same network |
//! | [`lies`] | what hostile members say |
//! | `ledger` | what was reported, held against the truth |
//! | [`scenario`], [`report`] | runs that files describe, and what came of them |

mod census;
pub mod comparator;
mod cost;
pub mod goals;
mod history;
pub mod hunt;
mod ledger;
pub mod lies;
mod look;
mod net;
mod operator;
mod plan;
mod progress;
mod queue;
pub mod report;
pub mod scenario;
mod script;
mod slot;
mod streams;
mod tap;
mod traffic;
pub mod trust;
mod warm;
mod world;

pub use census::Census;
pub use cost::{peak_resident, processor_time, resident};
pub use history::Spread;
pub use ledger::{Ledger, Wrong};
pub use net::{Burst, Link, Links, Shape};
pub use plan::Plan;
pub use progress::Progress;
pub use script::{millis, secs};
pub use traffic::{Meter, Traffic};
pub use world::World;
