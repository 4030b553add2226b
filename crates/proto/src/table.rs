//! Members by id, packed into one vector: what a node keeps of each member is a few words, thousands of times.
//!
//! A tree would spend as much on its nodes as on what is in them. Ids are hashes, so their first bits tell nearly where one
//! stands; whoever chose ids to spoil that gets a binary search.

use crate::identity::NodeId;

/// Something kept per member.
pub trait Row {
    /// Whose it is.
    fn id(&self) -> &NodeId;
    /// [`head`] of that id, at hand without following a pointer.
    fn head(&self) -> u32;
}

/// The first four bytes of an id.
pub fn head(id: &NodeId) -> u32 {
    let [a, b, c, d, ..] = id.0;
    u32::from_be_bytes([a, b, c, d])
}

/// Rows in the order of their ids.
#[derive(Clone, Debug)]
pub struct Table<T> {
    rows: Vec<T>,
    /// Where the rows begin whose heads have the same first bits, for each value of those bits, and where the last ones end. A
    /// search looks here and at very few rows: each look is a miss of the processor's caches, which is what it costs.
    starts: Vec<u32>,
    /// How many first bits; none while there are so few rows that nothing need be looked up.
    bits: u32,
}

/// Rows to each value of the first bits, on average, from which on one bit more is looked at.
const CROWDED: usize = 4;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            starts: Vec::new(),
            bits: 0,
        }
    }
}

impl<T: Row> Table<T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows.
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    /// All rows, to be changed except for their ids.
    pub fn rows_mut(&mut self) -> &mut [T] {
        &mut self.rows
    }

    /// One row.
    pub fn get(&self, id: &NodeId) -> Option<&T> {
        self.rows.get(self.find(id).ok()?)
    }

    /// One row, to be changed except for its id.
    pub fn get_mut(&mut self, id: &NodeId) -> Option<&mut T> {
        let at = self.find(id).ok()?;
        self.rows.get_mut(at)
    }

    /// Rows after an id.
    pub fn after(&self, after: Option<NodeId>) -> &[T] {
        let from = after.map_or(0, |id| self.find(&id).map_or_else(|at| at, |at| at + 1));
        self.rows.get(from..).unwrap_or_default()
    }

    /// Puts a row in; returns the one it replaces.
    pub fn insert(&mut self, row: T) -> Option<T> {
        match self.find(row.id()) {
            Ok(at) => self
                .rows
                .get_mut(at)
                .map(|held| std::mem::replace(held, row)),
            Err(at) => {
                if self.rows.len() == self.rows.capacity() {
                    // By an eighth: doubling would leave a third of all memory empty.
                    self.rows.reserve_exact(self.rows.len() / 8 + 4);
                }
                self.later_starts(row.head())
                    .iter_mut()
                    .for_each(|start| *start += 1);
                self.rows.insert(at, row);
                if self.rows.len() > CROWDED << self.bits {
                    self.look_closer();
                }
                None
            }
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, id: &NodeId) -> Option<T> {
        let row = self.find(id).ok().map(|at| self.rows.remove(at))?;
        self.later_starts(row.head())
            .iter_mut()
            .for_each(|start| *start -= 1);
        Some(row)
    }

    /// Where an id is, or where it would be.
    fn find(&self, id: &NodeId) -> Result<usize, usize> {
        let head = head(id);
        let value = self.first_bits(head);
        let (low, high) = match self.starts.get(value..) {
            Some([low, high, ..]) => (*low as usize, *high as usize),
            _ => (0, self.rows.len()),
        };
        // The id itself is elsewhere in memory: it is looked at only where heads are equal.
        let is_below = |row: &T| row.head() < head || (row.head() == head && row.id() < id);
        let between = self.rows.get(low..high).unwrap_or_default();
        let at = low + between.partition_point(is_below);
        match self.rows.get(at) {
            Some(row) if row.head() == head && row.id() == id => Ok(at),
            _ => Err(at),
        }
    }

    fn first_bits(&self, head: u32) -> usize {
        (u64::from(head) << self.bits >> 32) as usize
    }

    /// Where rows begin that come after this one whatever their last bits.
    fn later_starts(&mut self, head: u32) -> &mut [u32] {
        let later = self.first_bits(head) + 1;
        self.starts.get_mut(later..).unwrap_or_default()
    }

    /// Tells rows apart by so many bits that there are one or two to each value.
    fn look_closer(&mut self) {
        self.bits = self.rows.len().ilog2().min(u32::BITS);
        let (bits, rows) = (self.bits, &self.rows);
        let below =
            |value: u64| rows.partition_point(|row| u64::from(row.head()) << bits >> 32 < value);
        let starts =
            (0..=1_u64 << bits).map(|value| u32::try_from(below(value)).unwrap_or(u32::MAX));
        self.starts = starts.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, PartialEq)]
    struct Line(NodeId, u32);

    impl Row for Line {
        fn id(&self) -> &NodeId {
            &self.0
        }
        fn head(&self) -> u32 {
            head(&self.0)
        }
    }

    /// Spread like hashes, or all alike but for the last byte.
    fn ids() -> impl Strategy<Value = NodeId> {
        let crowded = any::<u8>().prop_map(|last| {
            let mut id = [7; 16];
            id[15] = last;
            NodeId(id)
        });
        prop_oneof![any::<[u8; 16]>().prop_map(NodeId), crowded]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((ids(), any::<u32>(), any::<bool>()), 0..300)) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (id, value, removing) in &steps {
                if *removing {
                    prop_assert_eq!(table.remove(id).map(|line: Line| line.1), map.remove(id));
                } else {
                    prop_assert_eq!(table.insert(Line(*id, *value)).map(|line| line.1), map.insert(*id, *value));
                }
            }
            let rows: Vec<_> = table.rows().iter().map(|line| (line.0, line.1)).collect();
            prop_assert_eq!(rows, map.iter().map(|(id, value)| (*id, *value)).collect::<Vec<_>>());
            for (id, ..) in &steps {
                prop_assert_eq!(table.get(id).map(|line| line.1), map.get(id).copied());
                let later = table.after(Some(*id)).first().map(|line| line.0);
                prop_assert_eq!(later, map.range((std::ops::Bound::Excluded(*id), std::ops::Bound::Unbounded)).next().map(|(id, _)| *id));
            }
        }
    }
}
