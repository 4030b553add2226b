//! A node that heard nobody for a while does not hold that against those who answer last.

mod common;

use common::{NOW, at, label, ms, secs};
use pelago_proto::{
    contact::Contact,
    identity::NodeId,
    pool::{Action, News, Pool, Profile, Standing, Tuning},
    sampler::Place,
    time::Time,
    wire::Frame,
};
use rand::{SeedableRng, rngs::ChaCha12Rng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const FLOOR: Duration = Duration::from_millis(2_200);
const FIRST: NodeId = NodeId([1; 16]);
const LAST: NodeId = NodeId([2; 16]);

/// Three members, one of whom is this node, and what it does.
struct Loner {
    pool: Pool,
    now: Time,
    /// The newest ping to each.
    pings: BTreeMap<NodeId, u64>,
    /// Of how much silence it accused the one that answers last.
    accused_of: Vec<(Time, Duration)>,
}

fn loner() -> Loner {
    let place = || Place {
        zone: label("a"),
        rack: label("r1"),
    };
    let profile = Profile::lan(ms(200), Tuning::default());
    let rng = ChaCha12Rng::from_seed([7; 32]);
    let mut pool = Pool::new(NodeId::default(), place(), 0, profile, rng, NOW);
    for (position, id) in [(1, FIRST), (2, LAST)] {
        let address = ([10, 0, 0, 1], 7_000).into();
        let contact = Arc::new(Contact {
            id,
            place: place(),
            position,
            address,
            stream: address,
            key: [0; 32],
            incarnation: at(1, 0),
            floor: FLOOR,
        });
        let news = News {
            contact,
            incarnation: at(1, 0),
            standing: Standing::Alive,
            charges: Vec::new(),
        };
        pool.upsert(news, NOW);
        pool.introduced(&id);
    }
    Loner {
        pool,
        now: NOW,
        pings: BTreeMap::new(),
        accused_of: Vec::new(),
    }
}

impl Loner {
    /// Goes on for so long; these answer every ping.
    fn goes_on(&mut self, time: Duration, answer: &[NodeId]) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + ms(5);
            self.pool.tick(0, self.now);
            while let Some(action) = self.pool.poll() {
                match action {
                    Action::Send {
                        to,
                        frame: Frame::Ping { number, .. },
                        ..
                    } => {
                        self.pings.insert(to, number);
                    }
                    Action::Accuse {
                        accused, silent, ..
                    } if accused == LAST => self.accused_of.push((self.now, silent)),
                    Action::Stream { to, .. } => self.pool.stream_answered(&to, false, self.now),
                    _ => {}
                }
            }
            for id in answer {
                if let Some(number) = self.pings.remove(id) {
                    self.pool.handle_ack(*id, number, None, self.now);
                }
            }
        }
    }

    /// Accusations beyond the floor, by when they were made.
    fn beyond_the_floor(&self) -> Vec<Time> {
        let beyond = self
            .accused_of
            .iter()
            .filter(|(_, silent)| *silent >= FLOOR);
        beyond.map(|(at, _)| *at).collect()
    }
}

#[test]
fn silence_counts_anew_once_somebody_answers_again() {
    let mut loner = loner();
    loner.goes_on(secs(5), &[FIRST, LAST]);
    loner.goes_on(ms(1_800), &[]);
    let back = loner.now;
    loner.goes_on(secs(8), &[FIRST]);
    let beyond = loner.beyond_the_floor();
    let first = *beyond
        .first()
        .expect("who stays silent is accused for good");
    assert!(first >= back + FLOOR, "{:?} after", first.since(back));
}

#[test]
fn one_that_falls_silent_alone_is_accused_at_its_floor() {
    let mut loner = loner();
    loner.goes_on(secs(5), &[FIRST, LAST]);
    let alone = loner.now;
    loner.goes_on(secs(5), &[FIRST]);
    let beyond = loner.beyond_the_floor();
    let first = *beyond.first().expect("it is accused for good");
    assert!(
        first.since(alone) < FLOOR + secs(1),
        "{:?} after",
        first.since(alone)
    );
}
