//! What ends, and how loudly that is said: an authority that is forgotten for a year must not take its datacenter with it
//! unannounced.

use crate::trust::NodeTrust;
use pelago_pki::{Credential, Life};
use pelago_proto::trust::Trust;
use std::collections::BTreeMap;

/// How much of a life is left. Renewal by a timer begins at a third, so only what comes after that means that nobody renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// More than half.
    Ample,
    /// At most half.
    Half,
    /// At most a fifth.
    Late,
    /// At most a twentieth.
    Last,
    /// Nothing.
    Over,
}

/// One certificate or list in use.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// `own`, `root`, `authority` or `list`.
    pub(crate) kind: &'static str,
    /// Whose it is.
    pub(crate) name: String,
    begins: u64,
    /// Unix seconds.
    pub(crate) ends: u64,
}

impl Ending {
    /// The share of its life that is left.
    pub(crate) fn left(&self, now: u64) -> f64 {
        let whole = self.ends.saturating_sub(self.begins).max(1);
        (self.ends.saturating_sub(now) as f64 / whole as f64).min(1.0)
    }

    pub(crate) fn stage(&self, now: u64) -> Stage {
        match self.left(now) {
            _ if now > self.ends => Stage::Over,
            left if left <= 0.05 => Stage::Last,
            left if left <= 0.2 => Stage::Late,
            left if left <= 0.5 => Stage::Half,
            _ => Stage::Ample,
        }
    }

    fn what(&self) -> String {
        match self.kind {
            "own" => "the own certificate".into(),
            "root" => format!("the root certificate of {}", self.name),
            "authority" => format!("the certificate of {}'s authority", self.name),
            _ => format!("the revocation list of {}", self.name),
        }
    }

    /// What is worth knowing while nothing is wrong yet.
    pub(crate) fn notice(&self, now: u64) -> Option<String> {
        let left = self.ends.saturating_sub(now);
        let percent = self.left(now) * 100.0;
        let halfway = self.stage(now) == Stage::Half;
        halfway.then(|| {
            format!(
                "{} ends in {left} s, {percent:.0} % of its life",
                self.what()
            )
        })
    }

    /// What is wrong, if it is.
    pub(crate) fn complaint(&self, now: u64) -> Option<String> {
        let what = self.what();
        let left = self.ends.saturating_sub(now);
        let percent = self.left(now) * 100.0;
        match self.stage(now) {
            Stage::Ample | Stage::Half => None,
            Stage::Over if self.kind == "list" => Some(format!("{what} is past its next update")),
            Stage::Over => Some(format!("{what} has expired")),
            Stage::Late | Stage::Last => Some(format!(
                "{what} ends in {left} s, {percent:.0} % of its life, and was not renewed"
            )),
        }
    }
}

/// Everything in use that ends.
pub(crate) fn endings(trust: &NodeTrust) -> Vec<Ending> {
    let own = trust.own();
    let ending = |life: Life| Ending {
        kind: match life.credential {
            Credential::Root => "root",
            Credential::Authority => "authority",
            Credential::List => "list",
        },
        name: life.name,
        begins: life.begins,
        ends: life.ends,
    };
    let mut all = vec![Ending {
        kind: "own",
        name: own.name.to_string(),
        begins: own.not_before,
        ends: own.not_after,
    }];
    all.extend(trust.lives().into_iter().map(ending));
    all
}

/// Says once in the log when something enters a later stage of its life.
#[derive(Debug, Default)]
pub(crate) struct Announced(BTreeMap<(&'static str, String), Stage>);

impl Announced {
    pub(crate) fn announce(&mut self, endings: Vec<Ending>, now: u64) {
        let mut said = BTreeMap::new();
        for ending in endings {
            let stage = ending.stage(now);
            let key = (ending.kind, ending.name.clone());
            if self.0.get(&key).is_none_or(|before| *before < stage) {
                let (what, left) = (ending.what(), ending.ends.saturating_sub(now));
                match stage {
                    Stage::Ample => {}
                    Stage::Half => tracing::info!(left, "half of the life of {what} is over"),
                    Stage::Late => tracing::warn!(left, "{what} was not renewed: a fifth is left"),
                    Stage::Last => {
                        tracing::error!(left, "{what} was not renewed: a twentieth is left")
                    }
                    Stage::Over => tracing::error!("{what} has ended"),
                }
            }
            // Two certificates may bear one name while one replaces the other: what is worse is said.
            let worst = said.entry(key).or_insert(stage);
            *worst = stage.max(*worst);
        }
        self.0 = said;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(kind: &'static str) -> Ending {
        Ending {
            kind,
            name: "eu-west".into(),
            begins: 1_000,
            ends: 2_000,
        }
    }

    #[test]
    fn a_life_has_five_stages() {
        let own = ending("own");
        let at = [
            1_000, 1_499, 1_500, 1_799, 1_800, 1_949, 1_950, 2_000, 2_001,
        ];
        use Stage::{Ample, Half, Last, Late, Over};
        let stages = [Ample, Ample, Half, Half, Late, Late, Last, Last, Over];
        assert_eq!(at.map(|now| own.stage(now)), stages);
    }

    #[test]
    fn complaints_begin_when_renewal_is_late_and_say_what_it_is_about() {
        assert_eq!(ending("own").complaint(1_799), None);
        assert_eq!(ending("own").notice(1_499), None);
        assert_eq!(
            ending("own").notice(1_799).as_deref(),
            Some("the own certificate ends in 201 s, 20 % of its life")
        );
        assert_eq!(ending("own").notice(1_800), None);
        assert_eq!(
            ending("authority").complaint(1_800).as_deref(),
            Some(
                "the certificate of eu-west's authority ends in 200 s, 20 % of its life, and was not renewed"
            )
        );
        assert_eq!(
            ending("list").complaint(2_001).as_deref(),
            Some("the revocation list of eu-west is past its next update")
        );
        assert_eq!(
            ending("root").complaint(2_001).as_deref(),
            Some("the root certificate of eu-west has expired")
        );
    }

    #[test]
    fn a_life_of_no_length_is_over_or_last() {
        let mut none = ending("own");
        none.begins = none.ends;
        assert_eq!(none.stage(2_000), Stage::Last);
        assert_eq!(none.stage(2_001), Stage::Over);
    }
}
