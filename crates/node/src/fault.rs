//! Injected faults: delay, loss, reordering and cuts between nodes of one process, shared by tests and `dev`.
//!
//! They act where bytes leave a socket, on raw LAN datagrams and on QUIC alike, so everything above sees what a bad
//! network would show. Every socket says to which node, datacenter and pool it belongs when it is bound; rules name
//! those, not addresses.

use crate::tap::Tap;
use pelago_proto::federation::Tier;
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// Packets that may be held back at a time; more are lost, as in a full router.
const MAX_DELAYED: usize = 16_384;

pub use crate::tap::Datagram;

/// A handle on the faults of one process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    shared: Option<Arc<Shared>>,
}

/// Which packets a fault is for. The most specific rule that fits a packet holds: `OneWay`, `Between`, `Node`, then
/// `Lan`, `AnyLan` and `Wan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkClass {
    /// Everything between servers on the WAN.
    Wan,
    /// Everything on every LAN.
    AnyLan,
    /// Everything on one datacenter's LAN.
    Lan {
        /// The datacenter.
        dc: String,
    },
    /// Everything from or to one node, on both pools.
    Node(String),
    /// Both directions between two ends, each a node's or a datacenter's name.
    Between {
        /// One end.
        a: String,
        /// The other.
        b: String,
    },
    /// One direction only.
    OneWay {
        /// Node or datacenter that sends.
        from: String,
        /// Node or datacenter that would receive.
        to: String,
    },
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fault {
    /// Each packet takes this much longer, one way.
    pub delay: Duration,
    /// And up to this much more, evenly spread. Packets overtake each other then.
    pub jitter: Duration,
    /// Share that is lost, 0–1.
    pub loss: f64,
    /// Share that is held back long enough (delay + jitter + 5 ms again) to arrive after later ones, 0–1.
    pub reorder: f64,
    /// Nothing gets through.
    pub cut: bool,
}

/// What the faults did so far: a test that relies on them can see that they really fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets that met a cut.
    pub cut: u64,
    /// Packets that were held back.
    pub delayed: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    waiting: AtomicUsize,
    lost: AtomicU64,
    cut: AtomicU64,
    delayed: AtomicU64,
    tap: Tap,
}

#[derive(Debug)]
struct State {
    rules: Vec<(LinkClass, Fault)>,
    sockets: HashMap<SocketAddr, Arc<Place>>,
    rng: ChaCha12Rng,
}

/// Whose socket it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) datacenter: String,
    pub(crate) tier: Tier,
}

/// What to do with one packet.
#[derive(Debug)]
pub(crate) enum Plan {
    Send,
    Lose,
    Later(Held),
}

/// A packet that waits; counted until dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) wait: Duration,
    shared: Arc<Shared>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Relaxed);
    }
}

impl Faults {
    /// No faults, and none can be added later: costs nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// No faults yet. The same seed and the same packets give the same losses.
    pub fn new(seed: u64) -> Self {
        let rng = ChaCha12Rng::seed_from_u64(seed);
        let state = Mutex::new(State {
            rules: Vec::new(),
            sockets: HashMap::new(),
            rng,
        });
        let zero = || AtomicU64::new(0);
        let waiting = AtomicUsize::new(0);
        Self {
            shared: Some(Arc::new(Shared {
                state,
                waiting,
                lost: zero(),
                cut: zero(),
                delayed: zero(),
                tap: Tap::default(),
            })),
        }
    }

    /// Sets what happens on these links from now on; replaces what was set for the same links. Nothing on
    /// [`Faults::none`].
    pub fn set(&self, links: LinkClass, fault: Fault) {
        if let Some(mut state) = self.state() {
            state.rules.retain(|(l, _)| *l != links);
            state.rules.push((links, fault));
        }
    }

    /// Takes back what was set for these links.
    pub fn unset(&self, links: &LinkClass) {
        if let Some(mut state) = self.state() {
            state.rules.retain(|(l, _)| l != links);
        }
    }

    /// Takes back everything. Packets that wait still arrive.
    pub fn clear(&self) {
        if let Some(mut state) = self.state() {
            state.rules.clear();
        }
    }

    /// What the faults did so far.
    pub fn counts(&self) -> FaultCounts {
        self.shared
            .as_ref()
            .map_or_else(FaultCounts::default, |s| FaultCounts {
                lost: s.lost.load(Relaxed),
                cut: s.cut.load(Relaxed),
                delayed: s.delayed.load(Relaxed),
            })
    }

    /// Registers a bound socket; `None` without a fault layer.
    pub(crate) fn register(&self, address: SocketAddr, place: &Place) -> Option<Port> {
        let shared = self.shared.clone()?;
        let place = Arc::new(place.clone());
        lock(&shared.state).sockets.insert(address, place.clone());
        Some(Port {
            shared,
            place,
            address,
        })
    }

    pub(crate) fn tap(&self) -> Option<&Tap> {
        self.shared.as_ref().map(|s| &s.tap)
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        self.shared.as_ref().map(|s| lock(&s.state))
    }
}

/// One registered socket.
#[derive(Debug)]
pub(crate) struct Port {
    shared: Arc<Shared>,
    place: Arc<Place>,
    address: SocketAddr,
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        // A successor may have bound the same address already.
        if state
            .sockets
            .get(&self.address)
            .is_some_and(|p| Arc::ptr_eq(p, &self.place))
        {
            state.sockets.remove(&self.address);
        }
    }
}

impl Port {
    /// Where copies of what leaves here go.
    pub(crate) fn tap(&self) -> &Tap {
        &self.shared.tap
    }

    /// Decides about one packet to `to`.
    pub(crate) fn plan(&self, to: SocketAddr) -> Plan {
        let mut state = lock(&self.shared.state);
        let State {
            rules,
            sockets,
            rng,
        } = &mut *state;
        if rules.is_empty() {
            return Plan::Send;
        }
        let there = sockets.get(&to);
        let fits = |(links, fault): &(LinkClass, Fault)| {
            Some((links.fits(&self.place, there.map(|p| &**p))?, *fault))
        };
        let Some((_, fault)) = rules
            .iter()
            .filter_map(fits)
            .max_by_key(|(specific, _)| *specific)
        else {
            return Plan::Send;
        };
        if fault.cut {
            self.shared.cut.fetch_add(1, Relaxed);
            return Plan::Lose;
        }
        if chance(rng, fault.loss) {
            self.shared.lost.fetch_add(1, Relaxed);
            return Plan::Lose;
        }
        let mut wait = fault.delay + fault.jitter.mul_f64(rng.random::<f64>());
        if chance(rng, fault.reorder) {
            wait += fault.delay + fault.jitter + Duration::from_millis(5);
        }
        drop(state);
        if wait.is_zero() {
            return Plan::Send;
        }
        if self.shared.waiting.fetch_add(1, Relaxed) >= MAX_DELAYED {
            self.shared.waiting.fetch_sub(1, Relaxed);
            self.shared.lost.fetch_add(1, Relaxed);
            return Plan::Lose;
        }
        self.shared.delayed.fetch_add(1, Relaxed);
        Plan::Later(Held {
            wait,
            shared: self.shared.clone(),
        })
    }
}

impl LinkClass {
    /// How specifically this rule fits a packet from `from` to `to`, if it does.
    fn fits(&self, from: &Place, to: Option<&Place>) -> Option<u8> {
        let is = |place: &Place, name: &str| place.node == name || place.datacenter == name;
        let to_is = |name: &str| to.is_some_and(|p| is(p, name));
        let (fits, specific) = match self {
            Self::Wan => (from.tier == Tier::Wan, 0),
            Self::AnyLan => (from.tier == Tier::Lan, 1),
            Self::Lan { dc } => (from.tier == Tier::Lan && from.datacenter == *dc, 2),
            Self::Node(name) => (from.node == *name || to.is_some_and(|p| p.node == *name), 3),
            Self::Between { a, b } => ((is(from, a) && to_is(b)) || (is(from, b) && to_is(a)), 4),
            Self::OneWay { from: a, to: b } => (is(from, a) && to_is(b), 5),
        };
        fits.then_some(specific)
    }
}

fn chance(rng: &mut ChaCha12Rng, share: f64) -> bool {
    share > 0.0 && rng.random::<f64>() < share
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn place(node: &str, datacenter: &str, tier: Tier) -> Place {
        Place {
            node: node.into(),
            datacenter: datacenter.into(),
            tier,
        }
    }

    fn lost(port: &Port, to: u16, of: u32) -> u32 {
        (0..of)
            .map(|_| u32::from(matches!(port.plan(address(to)), Plan::Lose)))
            .sum()
    }

    #[test]
    fn rules_name_nodes_datacenters_and_pools_and_the_most_specific_holds() {
        let faults = Faults::new(1);
        let a = faults
            .register(address(1), &place("a", "west", Tier::Lan))
            .expect("port");
        let b = faults
            .register(address(2), &place("b", "west", Tier::Lan))
            .expect("port");
        let wan = faults
            .register(address(3), &place("a", "west", Tier::Wan))
            .expect("port");
        let _far = faults
            .register(address(4), &place("c", "east", Tier::Wan))
            .expect("port");
        let cut = Fault {
            cut: true,
            ..Fault::default()
        };
        faults.set(LinkClass::Wan, cut);
        assert_eq!((lost(&a, 2, 10), lost(&wan, 4, 10)), (0, 10));
        faults.set(
            LinkClass::Between {
                a: "east".into(),
                b: "west".into(),
            },
            Fault::default(),
        );
        assert_eq!(
            lost(&wan, 4, 10),
            0,
            "the pair is more specific than the pool"
        );
        faults.set(
            LinkClass::OneWay {
                from: "a".into(),
                to: "b".into(),
            },
            cut,
        );
        assert_eq!((lost(&a, 2, 10), lost(&b, 1, 10)), (10, 0));
        faults.clear();
        faults.set(LinkClass::Node("b".into()), cut);
        assert_eq!(
            (lost(&a, 2, 10), lost(&b, 1, 10), lost(&wan, 4, 10)),
            (10, 10, 0)
        );
        assert_eq!(faults.counts().cut, 40);
    }

    #[test]
    fn loss_is_by_chance_and_repeats_with_the_seed() {
        let run = |seed| {
            let faults = Faults::new(seed);
            let a = faults
                .register(address(1), &place("a", "west", Tier::Lan))
                .expect("port");
            faults.set(
                LinkClass::AnyLan,
                Fault {
                    loss: 0.25,
                    ..Fault::default()
                },
            );
            (0..4000)
                .map(|_| matches!(a.plan(address(2)), Plan::Lose))
                .collect::<Vec<_>>()
        };
        let lost = run(7).iter().filter(|l| **l).count();
        assert!((800..1200).contains(&lost), "{lost} of 4000");
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn what_waits_is_bounded() {
        let faults = Faults::new(1);
        let a = faults
            .register(address(1), &place("a", "west", Tier::Lan))
            .expect("port");
        faults.set(
            LinkClass::AnyLan,
            Fault {
                delay: Duration::from_millis(10),
                ..Fault::default()
            },
        );
        let plans: Vec<_> = (0..MAX_DELAYED + 10).map(|_| a.plan(address(2))).collect();
        assert_eq!(plans.iter().filter(|p| matches!(p, Plan::Lose)).count(), 10);
        drop(plans);
        assert!(matches!(a.plan(address(2)), Plan::Later(_)));
    }

    #[test]
    fn without_a_fault_layer_nothing_is_registered() {
        assert!(
            Faults::none()
                .register(address(1), &place("a", "west", Tier::Lan))
                .is_none()
        );
        Faults::none().set(
            LinkClass::Wan,
            Fault {
                cut: true,
                ..Fault::default()
            },
        );
    }

    #[test]
    fn a_port_bound_again_stays_registered_when_its_predecessor_goes() {
        let faults = Faults::new(1);
        let old = faults
            .register(address(1), &place("a", "west", Tier::Lan))
            .expect("port");
        let new = faults
            .register(address(1), &place("a2", "west", Tier::Lan))
            .expect("port");
        let b = faults
            .register(address(2), &place("b", "west", Tier::Lan))
            .expect("port");
        drop(old);
        faults.set(
            LinkClass::Node("a2".into()),
            Fault {
                cut: true,
                ..Fault::default()
            },
        );
        assert_eq!(lost(&b, 1, 1), 1);
        drop(new);
        assert_eq!(lost(&b, 1, 1), 0);
    }
}
