//! What a pool does beyond plain SWIM, mechanism by mechanism: each can be switched off alone.
//!
//! Some networks want it (closed ports mean nothing behind a NAT that forges refusals), and only what can be switched off
//! can be shown to be worth having. Members of one datacenter may differ in all of this: what is said stays valid.

/// The mechanisms of a LAN pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Peers that news is pushed to on first receipt (5); 0: news only rides on pings and acks.
    pub fanout: usize,
    /// One of them is the successor in the own rack, so that everybody is somebody's.
    pub successor: bool,
    /// Times that a news item rides on pings and acks (2).
    pub rides: u8,
    /// Who shows a set hash that we had lately is sent what changed since.
    pub catch_up: bool,
    /// Shares of a draw in percent: same rack, same zone, far (50, 30, 20).
    pub shares: [u32; 3],
    /// Every member has fixed observers. Otherwise everybody probes everybody in turn, as in SWIM, and observers only
    /// confirm what somebody found.
    pub observers: bool,
    /// Observers of one member space themselves out.
    pub spacing: bool,
    /// Patience with an answer follows from measured round trips. Otherwise it is always the longest.
    pub measured_patience: bool,
    /// Refusals of closed ports tell a dead process from a slow one.
    pub closed_ports: bool,
    /// Who cannot reach at least half of the others says so in its accusations.
    pub quorate: bool,
    /// Who heard nobody for a while counts everybody's silence anew.
    pub deafness: bool,
    /// Who fails at its own duties becomes slower and more patient (Lifeguard).
    pub local_health: bool,
    /// Who is accused is told so first (Lifeguard's buddy system).
    pub buddies: bool,
    /// Others are asked to ping for us before anybody is accused.
    pub relays: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            fanout: 5,
            successor: true,
            rides: 2,
            catch_up: true,
            shares: [50, 30, 20],
            observers: true,
            spacing: true,
            measured_patience: true,
            closed_ports: true,
            quorate: true,
            deafness: true,
            local_health: true,
            buddies: true,
            relays: true,
        }
    }
}
