//! What each step of a timeline does to a world.

use super::{
    file::{Step, TierName, Verb},
    noticed::{Notice, Watchers},
};
use crate::{report::Done, world::World};
use pelago_proto::{federation::Tier, time::Time};
use std::{collections::BTreeMap, time::Duration};

/// How many names a line of the timeline lists.
const LISTED: usize = 5;
/// By when a changed record has long been said and heard.
const SAID: Duration = Duration::from_secs(1);

/// What earlier steps left for later ones.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) named: BTreeMap<String, Vec<String>>,
    pub(super) watchers: Watchers,
    pub(super) done: Vec<Done>,
}

impl Stage {
    /// Performs a step, `at` seconds into the timeline.
    pub(super) fn perform(&mut self, world: &mut World, step: &Step, at: f64) {
        let lasting = step.lasting.map_or(Duration::ZERO, |length| length.0);
        let what = match step.what {
            Verb::Heal => {
                world.heal();
                step.what.as_str().to_owned()
            }
            Verb::Cut | Verb::Split => self.cut(world, step),
            verb => {
                let whom = self.choose(world, step);
                for name in &whom {
                    self.act(world, step, verb, name, lasting);
                }
                if verb == Verb::Swizzle {
                    world.swizzle(&whom, lasting);
                }
                format!("{} {}", verb.as_str(), list(&whom))
            }
        };
        self.done.push(Done { at, what });
    }

    /// Starts a node under watch, as part of the beginning.
    pub(super) fn join(&mut self, world: &mut World, name: &str) {
        self.watchers
            .watch(world, Verb::Start.as_str(), notices(Verb::Start), name);
        world.start(name);
    }

    fn choose(&mut self, world: &mut World, step: &Step) -> Vec<String> {
        let starts = matches!(step.what, Verb::Start | Verb::StartBlank);
        // Whoever is already where the step would bring it is not chosen.
        let fits = move |world: &World, name: &str| {
            let slot = &world.slots[world.host(name)];
            if step.what == Verb::Lossy {
                return true;
            }
            let awake = slot.process.as_ref().is_some_and(|one| !one.is_deaf());
            // Two changes that follow each other closely are said as one, and nobody can see the first.
            let seen = |at: Time| world.now.since(at) >= SAID;
            if starts {
                slot.process.is_none()
            } else if step.what == Verb::Update {
                awake && slot.said_at.is_none_or(seen)
            } else {
                awake
            }
        };
        let chosen = step
            .who
            .as_ref()
            .map(|who| who.of(world, &self.named, fits))
            .unwrap_or_default();
        if let Some(name) = &step.named {
            self.named.insert(name.clone(), chosen.clone());
        }
        chosen
    }

    fn act(&mut self, world: &mut World, step: &Step, verb: Verb, name: &str, lasting: Duration) {
        let notices = notices(verb);
        if !notices.is_empty() {
            self.watchers.watch(world, verb.as_str(), notices, name);
        }
        match verb {
            Verb::Kill => world.kill(name),
            Verb::Lose => world.lose_host(name),
            Verb::Start => world.start(name),
            Verb::StartBlank => {
                let host = world.host(name);
                world.slots[host].wipe();
                world.start(name);
            }
            Verb::Restart => world.restart(name),
            Verb::RestartBlank => world.restart_without_memory(name),
            Verb::Leave => world.leave(name),
            Verb::Update => world.change_record(name),
            Verb::Pause => world.pause_for(name, lasting),
            Verb::Starve => world.starve_for(name, lasting),
            Verb::Clog => world.clog_for(name, lasting),
            Verb::Lossy => {
                let (sent, received) = (step.sent.unwrap_or(0.0), step.received.unwrap_or(0.0));
                world.make_lossy_one_way(name, sent, received);
            }
            // Done to all at once.
            Verb::Swizzle | Verb::Cut | Verb::Split | Verb::Heal => {}
        }
        if matches!(
            verb,
            Verb::Pause | Verb::Starve | Verb::Clog | Verb::Swizzle | Verb::Lossy
        ) {
            world.disturb_also(name);
        }
    }

    fn cut(&mut self, world: &mut World, step: &Step) -> String {
        let mut side = |choice: &Option<_>| {
            let choice: &Option<super::choose::Choice> = choice;
            choice
                .as_ref()
                .map(|choice| choice.of(world, &self.named, |_, _| true))
                .unwrap_or_default()
        };
        let (from, mut to) = (side(&step.from), side(&step.to));
        to.retain(|name| !from.contains(name));
        if let Some(name) = &step.named {
            self.named.insert(name.clone(), from.clone());
        }
        let tiers: &[Tier] = match step.tier {
            None => &[Tier::Lan, Tier::Wan],
            Some(TierName::Lan) => &[Tier::Lan],
            Some(TierName::Wan) => &[Tier::Wan],
        };
        for tier in tiers {
            world.cut_one_way(*tier, &from, &to);
            if step.what == Verb::Split {
                world.cut_one_way(*tier, &to, &from);
            }
        }
        format!("{} {} from {}", step.what.as_str(), list(&to), list(&from))
    }
}

/// What others should notice of it.
const fn notices(verb: Verb) -> &'static [Notice] {
    match verb {
        Verb::Kill | Verb::Lose => &[Notice::Suspect, Notice::Dead],
        Verb::Leave => &[Notice::Left],
        Verb::Start | Verb::StartBlank | Verb::Restart | Verb::RestartBlank | Verb::Update => {
            &[Notice::News]
        }
        Verb::Pause
        | Verb::Starve
        | Verb::Clog
        | Verb::Swizzle
        | Verb::Lossy
        | Verb::Cut
        | Verb::Split
        | Verb::Heal => &[],
    }
}

fn list(names: &[String]) -> String {
    match names.len() {
        0 => "nobody".to_owned(),
        more if more > LISTED => format!("{} nodes", names.len()),
        _ => names.join(", "),
    }
}
