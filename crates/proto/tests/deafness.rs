//! A node that heard nobody, or fewer than half, for a while does not hold that against those who answer last.

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
const LAST: NodeId = NodeId([9; 16]);

/// One member, and what it does.
struct Loner {
    pool: Pool,
    now: Time,
    others: Vec<NodeId>,
    /// How often all but the last refuted.
    refuted: u64,
    /// The newest ping to each.
    pings: BTreeMap<NodeId, u64>,
    /// Of how much silence it accused the one that answers last, and whether that counts.
    accused_of: Vec<(Time, Duration, bool)>,
}

/// Knows the first, the last and as many between them.
fn loner(between: u8) -> Loner {
    let place = || Place {
        zone: label("a"),
        rack: label("r1"),
    };
    let profile = Profile::lan(ms(200), Tuning::default());
    let rng = ChaCha12Rng::from_seed([7; 32]);
    let mut pool = Pool::new(NodeId::default(), place(), 0, profile, rng, NOW);
    let others: Vec<NodeId> = std::iter::once(FIRST)
        .chain((0..between).map(|n| NodeId([2 + n; 16])))
        .chain([LAST])
        .collect();
    for id in &others {
        pool.upsert(news(*id, 0, Standing::Alive), NOW);
        pool.introduced(id);
    }
    Loner {
        pool,
        now: NOW,
        others,
        refuted: 0,
        pings: BTreeMap::new(),
        accused_of: Vec::new(),
    }
}

/// What is held about one of them: after so many refutations, it stands so.
fn news(id: NodeId, refuted: u64, standing: Standing) -> News {
    let address = ([10, 0, 0, 1], 7_000).into();
    let contact = Arc::new(Contact {
        id,
        place: Place {
            zone: label("a"),
            rack: label("r1"),
        },
        position: u64::from(id.0[0]),
        address,
        stream: address,
        key: [0; 32],
        incarnation: at(1, refuted),
        floor: FLOOR,
    });
    News {
        contact,
        incarnation: at(1, refuted),
        standing,
        charges: Vec::new(),
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
                        accused,
                        silent,
                        quorate,
                        ..
                    } => {
                        if accused == LAST {
                            self.accused_of.push((self.now, silent, quorate));
                        }
                        let at = if accused == LAST { 0 } else { self.refuted };
                        let news = news(accused, at, Standing::Suspect);
                        self.pool.upsert(news, self.now);
                    }
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

    /// All but the last are heard to have refuted what was held against them.
    fn refute(&mut self) {
        self.refuted += 1;
        for id in self.others.iter().filter(|id| **id != LAST) {
            let news = news(*id, self.refuted, Standing::Alive);
            self.pool.upsert(news, self.now);
        }
    }

    /// Accusations that count and are beyond the floor, by when they were made.
    fn beyond_the_floor(&self) -> Vec<Time> {
        let beyond = self
            .accused_of
            .iter()
            .filter(|(_, silent, quorate)| *quorate && *silent >= FLOOR);
        beyond.map(|(at, ..)| *at).collect()
    }

    fn first_beyond_the_floor(&self) -> Time {
        let beyond = self.beyond_the_floor();
        *beyond
            .first()
            .expect("who stays silent is accused for good")
    }

    fn counts_anew_from(&self, back: Time) {
        let first = self.first_beyond_the_floor();
        assert!(first >= back + FLOOR, "{:?} after", first.since(back));
    }

    fn accuses_in_time(&self, alone: Time) {
        let took = self.first_beyond_the_floor().since(alone);
        assert!(took < FLOOR + secs(1), "{took:?} after");
    }
}

#[test]
fn silence_counts_anew_once_somebody_answers_again() {
    let mut loner = loner(0);
    loner.goes_on(secs(5), &[FIRST, LAST]);
    // What they refute it is told, so that it never lacks half of them for long.
    for _ in 0..9 {
        loner.goes_on(ms(200), &[]);
        loner.refute();
    }
    let back = loner.now;
    loner.goes_on(secs(8), &[FIRST]);
    loner.counts_anew_from(back);
}

#[test]
fn one_that_falls_silent_alone_is_accused_at_its_floor() {
    let mut loner = loner(0);
    loner.goes_on(secs(5), &[FIRST, LAST]);
    let alone = loner.now;
    loner.goes_on(secs(5), &[FIRST]);
    loner.accuses_in_time(alone);
}

/// Two of six are cut off together: each goes on hearing the other.
fn cut_off_with_the_first() -> Loner {
    let mut loner = loner(3);
    let others = loner.others.clone();
    loner.goes_on(secs(5), &others);
    loner.goes_on(secs(3), &[FIRST]);
    assert_eq!(loner.beyond_the_floor(), [], "it is not quorate");
    loner
}

/// When the cut heals the last one is slow to answer.
#[test]
fn silence_counts_anew_once_half_of_the_others_are_reached_again() {
    let mut loner = cut_off_with_the_first();
    loner.refute();
    let back = loner.now;
    let others = loner.others.clone();
    loner.goes_on(secs(8), &others[..4]);
    loner.counts_anew_from(back);
}

/// The cut does not heal: those on the other side but the last one are taken out.
#[test]
fn silence_counts_anew_once_the_lost_half_is_gone() {
    let mut loner = cut_off_with_the_first();
    let gone = loner.now;
    for id in &loner.others[1..4] {
        loner.pool.remove(id, gone);
    }
    loner.goes_on(secs(8), &[FIRST]);
    loner.counts_anew_from(gone);
}

/// Somebody accuses half of the others again and again, who refute at once: that must not keep anybody gone alive.
#[test]
fn moments_without_half_of_the_others_keep_nobody_alive() {
    let mut loner = loner(3);
    let others = loner.others.clone();
    loner.goes_on(secs(5), &others);
    let alone = loner.now;
    while loner.now < alone + secs(6) {
        for id in &others[..3] {
            let news = news(*id, loner.refuted, Standing::Suspect);
            loner.pool.upsert(news, loner.now);
        }
        loner.goes_on(ms(100), &others[..4]);
        loner.refute();
        loner.goes_on(ms(400), &others[..4]);
    }
    loner.accuses_in_time(alone);
}

/// Two of four others are lost, and a third comes and goes: each time it does fewer than half are there, and then half again.
#[test]
fn one_that_comes_and_goes_keeps_nobody_alive() {
    let mut loner = loner(2);
    let others = loner.others.clone();
    let goer = others[1];
    loner.goes_on(secs(5), &others);
    let alone = loner.now;
    while loner.now < alone + secs(12) {
        loner.goes_on(ms(600), &[FIRST, goer]);
        let away = news(goer, loner.refuted, Standing::Suspect);
        loner.pool.upsert(away, loner.now);
        loner.goes_on(ms(1_200), &[FIRST]);
        loner.refuted += 1;
        for id in [FIRST, goer] {
            let back = news(id, loner.refuted, Standing::Alive);
            loner.pool.upsert(back, loner.now);
        }
    }
    assert_ne!(loner.beyond_the_floor(), [], "whoever is lost is found so");
}
