//! Which of a peer's last 1,024 counters have been seen: the usual sliding bitmap.

const BITS: u64 = 1024;
const WORDS: usize = 16;

/// One peer key's replay window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// One past the highest counter seen.
    next: u64,
    /// Bit `c % 1024` stands for counter `c`, for the 1,024 below `next`.
    seen: [u64; WORDS],
}

impl Window {
    /// Whether this counter has not been seen and is not too old to tell.
    pub(crate) fn is_new(&self, counter: u64) -> bool {
        if counter == u64::MAX {
            return false;
        }
        counter >= self.next || (self.next - counter <= BITS && !self.bit(counter))
    }

    /// Remembers it. Call only for what was new and has proved to be the peer's.
    pub(crate) fn mark(&mut self, counter: u64) {
        if counter == u64::MAX {
            return;
        }
        if counter >= self.next {
            if counter - self.next >= BITS {
                self.seen = [0; WORDS];
            } else {
                (self.next..counter).for_each(|c| self.set(c, false));
            }
            self.next = counter + 1;
        }
        self.set(counter, true);
    }

    fn bit(&self, counter: u64) -> bool {
        let (word, mask) = place(counter);
        self.seen.get(word).is_some_and(|w| w & mask != 0)
    }

    fn set(&mut self, counter: u64, on: bool) {
        let (word, mask) = place(counter);
        if let Some(w) = self.seen.get_mut(word) {
            *w = if on { *w | mask } else { *w & !mask };
        }
    }
}

fn place(counter: u64) -> (usize, u64) {
    let bit = counter % BITS;
    (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_naive_set_on_a_wild_walk() {
        let mut window = Window::default();
        let mut seen = BTreeSet::new();
        let mut highest = None::<u64>;
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let step = (state >> 33) % 3000;
            let base = highest.unwrap_or(0);
            let counter = if state & 1 == 0 {
                base.saturating_sub(step)
            } else {
                base + step % 50
            };
            let naive = highest.is_none_or(|h| counter > h || h - counter < BITS)
                && !seen.contains(&counter);
            assert_eq!(
                window.is_new(counter),
                naive,
                "counter {counter}, highest {highest:?}"
            );
            if naive {
                window.mark(counter);
                seen.insert(counter);
                highest = highest.max(Some(counter));
            }
        }
    }

    #[test]
    fn the_last_counter_is_never_accepted() {
        let mut window = Window::default();
        assert!(!window.is_new(u64::MAX));
        window.mark(u64::MAX - 1);
        assert!(!window.is_new(u64::MAX - 1));
        assert!(!window.is_new(0));
    }
}
