//! The queue of news that rides on pings and acks: the newest fact per (member, signer), bounded, most urgent first.

use crate::{identity::NodeId, wire::Item};
use std::collections::BTreeMap;

/// Most facts waiting.
const LIMIT: usize = 4_096;
/// How many waiting facts one packet looks at.
const LOOK: usize = 64;

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Own refutation or goodbye.
    Own,
    /// What operators decided.
    Decision,
    /// Somebody is accused.
    Suspicion,
    /// A record, refutation or goodbye of another.
    Record,
    /// The rest.
    Rest,
}

#[derive(Debug)]
struct Fact {
    item: Item,
    source: Source,
    rides: u8,
}

/// What a newer fact replaces: the older one about the same member by the same signer.
type Source = (NodeId, NodeId, Priority);

/// Facts waiting, by how urgent, how often they went, and how new they are.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    facts: BTreeMap<(Priority, u8, u64), Fact>,
    by_source: BTreeMap<Source, (Priority, u8, u64)>,
    counter: u64,
}

impl Gossip {
    /// Queues a fact; an older one of the same signer about the same member goes.
    pub(super) fn insert(
        &mut self,
        item: &Item,
        subject: NodeId,
        signer: NodeId,
        priority: Priority,
        rides: u8,
    ) {
        let source = (subject, signer, priority);
        if let Some(old) = self.by_source.remove(&source) {
            self.facts.remove(&old);
        }
        if rides == 0 {
            return;
        }
        if self.facts.len() >= LIMIT
            && let Some((_, fact)) = self.facts.pop_last()
        {
            self.by_source.remove(&fact.source);
        }
        self.counter += 1;
        // Newest first within a priority: the counter is inverted.
        let number = u64::MAX - self.counter;
        let key = (priority, 0, number);
        self.facts.insert(
            key,
            Fact {
                item: item.clone(),
                source,
                rides,
            },
        );
        self.by_source.insert(source, key);
    }

    /// Takes facts for one packet to `to`, as many as fit.
    pub(super) fn take(&mut self, room: &mut usize, to: &NodeId, news: &mut Vec<Item>) {
        let mut chosen = Vec::new();
        for (key, fact) in self.facts.iter().take(LOOK) {
            // Nobody needs to hear what it said itself.
            let known = fact.source.0 == *to || news.contains(&fact.item);
            if !known && fact.item.size() <= *room {
                *room -= fact.item.size();
                news.push(fact.item.clone());
                chosen.push(*key);
            }
        }
        for key in chosen {
            let Some(mut fact) = self.facts.remove(&key) else {
                continue;
            };
            fact.rides -= 1;
            if fact.rides == 0 {
                self.by_source.remove(&fact.source);
            } else {
                let key = (key.0, key.1 + 1, key.2);
                self.by_source.insert(fact.source, key);
                self.facts.insert(key, fact);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u8) -> Item {
        Item {
            claim: vec![n; 100].into(),
            leaf: None,
        }
    }
    fn id(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    #[test]
    fn the_urgent_goes_first_and_everything_rides_its_times() {
        let mut gossip = Gossip::default();
        gossip.insert(&item(1), id(1), id(1), Priority::Rest, 2);
        gossip.insert(&item(2), id(2), id(2), Priority::Own, 2);
        let mut went = Vec::new();
        for _ in 0..6 {
            let mut news = Vec::new();
            gossip.take(&mut 120, &id(9), &mut news);
            went.extend(news);
        }
        assert_eq!(went, [item(2), item(2), item(1), item(1)]);
    }

    #[test]
    fn what_operators_decided_goes_before_everything_but_our_own_words() {
        let mut gossip = Gossip::default();
        gossip.insert(&item(1), id(1), id(1), Priority::Suspicion, 1);
        gossip.insert(&item(2), id(2), id(2), Priority::Decision, 1);
        gossip.insert(&item(3), id(3), id(3), Priority::Own, 1);
        let mut news = Vec::new();
        gossip.take(&mut 1_000, &id(9), &mut news);
        assert_eq!(news, [item(3), item(2), item(1)]);
    }

    #[test]
    fn a_newer_fact_of_the_same_signer_replaces_the_older() {
        let mut gossip = Gossip::default();
        gossip.insert(&item(1), id(1), id(1), Priority::Record, 3);
        gossip.insert(&item(2), id(1), id(1), Priority::Record, 3);
        let mut news = Vec::new();
        gossip.take(&mut 1_000, &id(9), &mut news);
        assert_eq!(news, vec![item(2)]);
    }

    #[test]
    fn a_full_queue_drops_the_least_urgent() {
        let mut gossip = Gossip::default();
        for n in 0..=LIMIT {
            let mut subject = NodeId::default();
            subject.0[..8].copy_from_slice(&(n as u64).to_be_bytes());
            gossip.insert(&item(0), subject, subject, Priority::Rest, 1);
        }
        assert_eq!((gossip.facts.len(), gossip.by_source.len()), (LIMIT, LIMIT));
    }
}
