//! Uniform gossip: one pool of everybody, each passing news on to `fanout` others drawn at random, once, when it first
//! hears it. What Demers and others compare spatial gossip with.

use crate::{
    net::Net,
    plan::Plan,
    queue::{Order, Queue},
    report::Cdf,
};
use pelago_proto::{federation::Tier, time::Time};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Bytes of a datagram with one claim.
const SIZE: usize = 250;

/// What came of some rumours.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Packets between datacenters, for each rumour.
    pub crossings: Vec<f64>,
    /// Milliseconds until 99 % of those it reached at all had it.
    pub most_ms: Vec<f64>,
    /// Share of nodes that it reached.
    pub reached: Vec<f64>,
}

/// Spreads rumours over the nodes and links of a plan.
pub fn run(plan: &Plan, fanout: usize, rumours: usize) -> Outcome {
    let mut world = plan.clone().build();
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed());
    let mut outcome = Outcome::default();
    for _ in 0..rumours {
        spread(
            &mut world.net,
            world.slots.len(),
            fanout,
            &mut dice,
            &mut outcome,
        );
    }
    outcome
}

fn spread(
    net: &mut Net,
    nodes: usize,
    fanout: usize,
    dice: &mut ChaCha8Rng,
    outcome: &mut Outcome,
) {
    let mut heard: Vec<Option<Time>> = vec![None; nodes];
    let mut queue = Queue::new();
    let mut crossings = 0;
    queue.push(Time::START, Order::Arrival, dice.random_range(0..nodes));
    while let Some((now, node)) = queue.pop() {
        if heard[node].is_some() {
            continue;
        }
        heard[node] = Some(now);
        for _ in 0..fanout {
            let to = dice.random_range(0..nodes);
            let crosses = net.place(node).datacenter != net.place(to).datacenter;
            crossings += usize::from(crosses);
            let tier = if crosses { Tier::Wan } else { Tier::Lan };
            if let Some(flight) = net.packet(tier, node, to, SIZE, now).arrives {
                queue.push(now + flight, Order::Arrival, to);
            }
        }
    }
    let times = heard.iter().flatten().map(|at| at.since(Time::START));
    let times = Cdf::of(times);
    outcome.crossings.push(crossings as f64);
    outcome.most_ms.extend(times.quantile(0.99));
    outcome.reached.push(times.len() as f64 / nodes as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eager_wave_of_five_reaches_what_theory_says() {
        // 1 − x = e^(−5x): 99.3 %.
        let plan = Plan::new(1).datacenter("a").clients(2_000);
        let outcome = run(&plan, 5, 20);
        let mean = outcome.reached.iter().sum::<f64>() / 20.0;
        assert!((0.990..0.996).contains(&mean), "{mean}");
        assert!(outcome.crossings.iter().all(|count| *count == 0.0));
    }
}
