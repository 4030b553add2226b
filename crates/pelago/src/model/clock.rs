//! Moments of the monotonic clock as dates: the wall clock is read once per answer, and only to show things.

use jiff::{Timestamp, Unit};
use pelago_proto::time::Time;
use std::time::{Duration, SystemTime};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The monotonic one.
    pub(crate) at: Time,
    /// The wall clock at that moment.
    pub(crate) wall: SystemTime,
}

impl Clock {
    /// The date of a moment, to the millisecond. Moments before 1970 and after 9999 cannot be meant and end there.
    pub(crate) fn date(&self, moment: Time) -> Timestamp {
        let back = self.wall.checked_sub(self.at.since(moment));
        let there = back.and_then(|past| past.checked_add(moment.since(self.at)));
        stamp(there.unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

/// A date out of Unix seconds, as certificates have them.
pub(crate) fn from_unix_seconds(seconds: u64) -> Timestamp {
    stamp(
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .unwrap_or(SystemTime::UNIX_EPOCH),
    )
}

/// A date out of Unix milliseconds, as events have them.
pub(crate) fn from_unix_millis(millis: u64) -> Timestamp {
    stamp(
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(millis))
            .unwrap_or(SystemTime::UNIX_EPOCH),
    )
}

fn stamp(moment: SystemTime) -> Timestamp {
    let exact = Timestamp::try_from(moment).unwrap_or(Timestamp::MAX);
    exact.round(Unit::Millisecond).unwrap_or(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_dates_and_odd_ones_do_no_harm() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = Clock {
            at: Time::START,
            wall,
        };
        let ago = clock.date(Time::START - Duration::from_millis(1_500));
        assert_eq!(ago.to_string(), "2023-11-14T22:13:18.5Z");
        assert!(clock.date(Time::from_micros(0)) < ago);
        assert!(clock.date(Time::NEVER) > ago);
        assert_eq!(
            from_unix_seconds(1_700_000_000).to_string(),
            "2023-11-14T22:13:20Z"
        );
        assert!(from_unix_seconds(u64::MAX) <= Timestamp::MAX);
    }
}
