//! What is going to happen, in order of virtual time; at the same moment, in order of scheduling.
//!
//! Timers come after everything else of their moment: a real driver drains its sockets before it lets timers fire.

use pelago_proto::time::Time;
use std::{cmp::Reverse, collections::BinaryHeap};

/// A queue of `T` ordered by time. Items wait in a slab, so that the heap moves only small keys.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Time, Order, u64, u32)>>,
    items: Vec<Option<T>>,
    free: Vec<u32>,
    scheduled: u64,
}

/// Who goes first at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Arrival,
    Timer,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            items: Vec::new(),
            free: Vec::new(),
            scheduled: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Time, order: Order, item: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).expect("fewer than 2^32 events wait")
        });
        self.items[place as usize] = Some(item);
        self.scheduled += 1;
        self.heap.push(Reverse((at, order, self.scheduled, place)));
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// What happens next.
    pub(crate) fn next(&self) -> Option<&T> {
        let Reverse((.., place)) = self.heap.peek()?;
        self.items[*place as usize].as_ref()
    }

    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, T)> {
        let Reverse((at, _, _, place)) = self.heap.pop()?;
        self.free.push(place);
        // Every key in the heap has its item.
        self.items[place as usize].take().map(|item| (at, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_before_timers_and_otherwise_first_come_first_served() {
        let mut queue = Queue::new();
        let at = Time::from_micros;
        queue.push(at(2), Order::Timer, "timer");
        queue.push(at(2), Order::Arrival, "first");
        queue.push(at(2), Order::Arrival, "second");
        queue.push(at(1), Order::Timer, "early");
        assert_eq!(queue.next_at(), Some(at(1)));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(_, item)| item)
            .collect();
        assert_eq!(order, ["early", "first", "second", "timer"]);
    }
}
