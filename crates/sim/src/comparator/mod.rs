//! What others do, in the same network: to check the simulator against published figures, and to compare at equal load.
//!
//! | file | what it holds |
//! |---|---|
//! | `swim` | one node of SWIM at memberlist's defaults, with Lifeguard or without |
//! | `arena` | such nodes in the simulator's network, and Lifeguard's experiments |
//! | `epidemic` | uniform gossip, to compare the use of wide links with |
//! | `published` | what was published, and how near we come |

pub mod arena;
pub mod epidemic;
pub mod published;
pub mod swim;
