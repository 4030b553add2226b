//! State files.

use crate::pool;
use pelago_node::fuzz;
use pelago_proto::{federation::Memory, identity::NodeId, wire::Item};

/// Whose they are.
const ME: NodeId = NodeId([3; 16]);

/// Any body of a state file, with the header and hash of a sound one: it is refused, or it is what would be written, and a node
/// starts with it, in a later boot.
///
/// # Panics
///
/// If not.
pub fn state(bytes: &[u8]) {
    if let Some(memory) = fuzz::state(ME, bytes) {
        let before = memory.boot;
        let now = pool::boot_with(memory);
        // A counter near its end can only be damage: as good as none.
        let expected = if before < u64::MAX / 2 { before + 1 } else { 1 };
        assert_eq!(now, expected, "boots rise");
    }
}

/// The body of a sound file, as a seed.
pub fn state_seed() -> Vec<u8> {
    let peers = |port| (1..4).map(|host| ([10, 0, 0, host], port).into()).collect();
    let memory = Memory {
        boot: 41,
        lan_peers: peers(8702),
        wan_peers: peers(8703),
        removals: vec![Item {
            claim: vec![7; 120].into(),
            leaf: Some(vec![8; 420].into()),
        }],
    };
    fuzz::state_body(ME, &memory)
}
