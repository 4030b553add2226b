//! From nothing to everybody knowing everybody: what has to be before anything is measured.

use crate::{progress::Progress, script::secs, world::World};

/// Whole federations that are not complete by then are measured as they are.
const PATIENCE: u32 = 180;
/// Members whose views are asked: all would take longer than the rest.
const ASKED: usize = 20;

/// Starts the first of each datacenter, then the others within three seconds, and waits until everybody knows everybody.
/// Returns whether that came about.
pub(crate) fn settle(world: &mut World, names: &[String], progress: &mut Progress) -> bool {
    let is_first = |name: &&String| name.ends_with("-s1");
    let (first, others): (Vec<_>, Vec<_>) = names.iter().partition(is_first);
    for name in first {
        world.start(name);
    }
    world.run_for(secs(2));
    let each = secs(3) / u32::try_from(others.len().max(1)).unwrap_or(u32::MAX);
    for (done, name) in others.iter().enumerate() {
        world.start(name);
        world.run_for(each);
        let share = done as f64 / others.len() as f64;
        progress.at(
            share / 3.0,
            format_args!("{done} of {} started", names.len()),
        );
    }
    let step = names.len().div_ceil(ASKED).max(1);
    let mut asked: Vec<&String> = names.iter().step_by(step).collect();
    for waited in 0..PATIENCE {
        // Who was complete stays so, or nearly: each is asked until it is.
        asked.retain(|name| !world.is_complete(name));
        if asked.is_empty() {
            return true;
        }
        world.run_for(secs(1));
        let share = 1.0 / 3.0 + f64::from(waited) / f64::from(PATIENCE);
        progress.at(
            share,
            format_args!("{} of {ASKED} asked do not know everybody yet", asked.len()),
        );
    }
    false
}
