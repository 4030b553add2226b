//! Rising counters by name.

/// Counters, those that rise most in front: few of them are behind nearly all counting, and nothing else need be looked at.
#[derive(Debug, Default)]
pub(crate) struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    /// Counts one more.
    pub(crate) fn add(&mut self, what: &'static str) {
        let Some(at) = self.0.iter().position(|(name, _)| *name == what) else {
            return self.0.push((what, 1));
        };
        self.0[at].1 += 1;
        if at > 0 && self.0[at - 1].1 < self.0[at].1 {
            self.0.swap(at - 1, at);
        }
    }

    /// How often that was.
    pub(crate) fn get(&self, what: &str) -> u64 {
        let found = self.0.iter().find(|(name, _)| *name == what);
        found.map_or(0, |(_, count)| *count)
    }

    /// All of them, by name.
    pub(crate) fn by_name(&self) -> Vec<(&'static str, u64)> {
        let mut counts = self.0.clone();
        counts.sort_unstable();
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rises_most_moves_to_the_front_and_nothing_is_lost() {
        let mut tally = Tally::default();
        for what in ["c", "a", "b", "b", "b", "a", "b"] {
            tally.add(what);
        }
        assert_eq!(tally.0.first(), Some(&("b", 4)));
        assert_eq!(tally.by_name(), [("a", 2), ("b", 4), ("c", 1)]);
        assert_eq!((tally.get("a"), tally.get("d")), (2, 0));
    }
}
