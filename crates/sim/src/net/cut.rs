//! Cuts: packets of one tier (or both) from some nodes to some others vanish. Every partition is made of them.

use pelago_proto::federation::Tier;

/// One direction between two groups.
#[derive(Debug)]
struct Cut {
    name: u64,
    tier: Option<Tier>,
    from: Vec<bool>,
    to: Vec<bool>,
}

/// All cuts there are.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    cuts: Vec<Cut>,
    last: u64,
}

impl Cuts {
    /// Cuts, and returns what the cut is called.
    pub(super) fn add(&mut self, tier: Option<Tier>, from: &[usize], to: &[usize]) -> u64 {
        let set = |nodes: &[usize]| {
            let mut set = vec![false; nodes.iter().max().map_or(0, |most| most + 1)];
            nodes.iter().for_each(|node| set[*node] = true);
            set
        };
        self.last += 1;
        self.cuts.push(Cut {
            name: self.last,
            tier,
            from: set(from),
            to: set(to),
        });
        self.last
    }

    pub(super) fn heal(&mut self, name: u64) {
        self.cuts.retain(|cut| cut.name != name);
    }

    pub(super) fn heal_all(&mut self) {
        self.cuts.clear();
    }

    pub(super) fn between(&self, tier: Tier, from: usize, to: usize) -> bool {
        let has = |set: &[bool], node| set.get(node).copied().unwrap_or(false);
        self.cuts.iter().any(|cut| {
            cut.tier.is_none_or(|only| only == tier) && has(&cut.from, from) && has(&cut.to, to)
        })
    }
}
