//! Injected faults: delay, loss, reordering and cuts between addresses, shared by tests and `dev`.

/// A handle on the faults of one process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {}

impl Faults {
    /// No faults, and none can be added later at any cost: the fast path.
    pub fn none() -> Self {
        Self::default()
    }
}
