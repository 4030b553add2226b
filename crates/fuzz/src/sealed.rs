//! Datagrams whose seals are genuine, around whatever a member that lies puts into them.

use crate::pool::World;
use pelago_node::fuzz::Pair;
use pelago_proto::federation::Tier;
use std::time::Duration;

/// Operations of one run.
const MAX_OPERATIONS: usize = 32;

/// What a member seals comes out at the node as it was put in, once, and changed nowhere; whatever it is, the node's roster stays as
/// it is, because nothing in it is signed. Operations as in [`pool`](crate::pool()).
///
/// # Panics
///
/// If one of these does not hold.
pub fn sealed(bytes: &[u8]) {
    let mut world = World::new();
    let before = world.standing();
    let mut pair = Pair::new(world.liar.certified.id, world.node.me());
    let mut rest = bytes;
    for _ in 0..MAX_OPERATIONS {
        let Some(([operation, high, low], tail)) = rest.split_first_chunk::<3>() else {
            break;
        };
        let number = u16::from_be_bytes([*high, *low]);
        let length = usize::from(number & 0x7ff).min(tail.len());
        let (payload, after) = tail.split_at(length);
        match operation % 8 {
            0..6 => {
                if let Some(opened) = pair.pass(payload) {
                    let from = world.liar.certified.id;
                    world
                        .node
                        .handle_datagram(Tier::Lan, from, &opened, world.now);
                }
                rest = after;
            }
            6 => {
                pair.forge(number, operation / 8, payload);
                rest = after;
            }
            _ => {
                world.now = world.now + Duration::from_millis(u64::from(number) % 50);
                world.node.handle_timeout(world.now);
                rest = tail;
            }
        }
        world.drain();
    }
    world.check(&before);
}
