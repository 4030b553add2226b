//! Members by id, packed into one vector: what a node keeps of each member is a few words, thousands of times.
//!
//! A tree would spend as much on its nodes as on what is in them. Ids are hashes, so where one stands can nearly be told
//! from its first bytes; whoever chose ids to spoil that gets a binary search.

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
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new() }
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
                self.rows.insert(at, row);
                None
            }
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, id: &NodeId) -> Option<T> {
        self.find(id).ok().map(|at| self.rows.remove(at))
    }

    /// Where an id is, or where it would be: searched from where evenly spread ids would have it.
    fn find(&self, id: &NodeId) -> Result<usize, usize> {
        let (rows, head) = (&self.rows[..], head(id));
        // The id itself is elsewhere in memory: it is looked at only where heads are equal.
        let is_below = |row: &T| row.head() < head || (row.head() == head && row.id() < id);
        let below = |at: usize| rows.get(at).is_some_and(is_below);
        let mut low = self.guess(head);
        let (mut high, mut step) = (low, 1);
        while low > 0 && !below(low - 1) {
            high = low - 1;
            low = low.saturating_sub(step);
            step *= 2;
        }
        while below(high) {
            low = high + 1;
            high = (high + step).min(rows.len());
            step *= 2;
        }
        let between = rows.get(low..high).unwrap_or_default();
        let at = low + between.partition_point(is_below);
        if rows.get(at).is_some_and(|row| row.id() == id) {
            Ok(at)
        } else {
            Err(at)
        }
    }

    /// Where this head would be if heads were spread evenly, and, since they are not quite, how far that is from where a row
    /// with it would be, twice: every look is a miss of the processor's caches.
    fn guess(&self, head: u32) -> usize {
        let rows = &self.rows[..];
        let mut at = ((u64::from(head) * rows.len() as u64) >> 32) as usize;
        for _ in 0..2 {
            let Some(row) = rows.get(at) else { break };
            let apart = i64::from(head) - i64::from(row.head());
            let off = (apart * rows.len() as i64) >> 32;
            at = at.saturating_add_signed(off as isize).min(rows.len() - 1);
        }
        at
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
