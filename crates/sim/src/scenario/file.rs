//! What a scenario file may say, and where in it something is wrong.
//!
//! `crates/sim/scenarios/README.md` documents the format; this is its other half.

use super::{choose::Choice, units::Length};
use crate::net::{Burst, Link, Links, Shape};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, ops::Range};
use toml::Spanned;

/// A whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a line.
    pub title: String,
    /// And in some more.
    #[serde(default)]
    pub about: String,
    /// Everything random follows from it.
    #[serde(default = "one")]
    pub seed: u64,
    /// How nodes come up before the timeline begins.
    #[serde(default)]
    pub start: Start,
    /// Quiet time after that.
    #[serde(default = "ten_seconds")]
    pub settle: Length,
    /// How long the timeline is.
    pub time: Length,
    /// What every node is configured with.
    #[serde(default)]
    pub settings: Settings,
    /// Datacenters.
    #[serde(default)]
    pub datacenter: Vec<Spanned<Datacenter>>,
    /// Links.
    #[serde(default)]
    pub link: LinkTable,
    /// The timeline.
    #[serde(default)]
    pub at: Vec<Spanned<Step>>,
    /// What is looked at.
    #[serde(default)]
    pub measure: Measure,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
}

/// How nodes come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The first of each datacenter, then the others within three seconds, and on until everybody knows everybody.
    #[default]
    Settled,
    /// Everybody at the same moment, which is the beginning of the timeline.
    Together,
}

/// What every node is configured with.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// One probe per node and interval.
    pub probe_interval: Option<Length>,
    /// Longest pause that is no death.
    pub pause_tolerance: Option<Length>,
    /// Peers that news is pushed to at once.
    pub fanout: Option<usize>,
}

/// A datacenter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datacenter {
    /// Its name.
    pub name: String,
    /// Its region; its own name if this is not said.
    pub region: Option<String>,
    /// Zones.
    #[serde(default = "one_place")]
    pub zones: usize,
    /// Racks in each zone.
    #[serde(default = "one_place")]
    pub racks: usize,
    /// Servers.
    pub servers: usize,
    /// Clients.
    #[serde(default)]
    pub clients: usize,
    /// Of these, the last so many do not start by themselves.
    #[serde(default)]
    pub late: usize,
    /// Seats.
    pub seats: Option<u8>,
}

/// All links.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTable {
    /// Between two nodes of one rack.
    #[serde(default)]
    pub rack: LinkLine,
    /// Between racks of one zone.
    #[serde(default)]
    pub zone: LinkLine,
    /// Between zones of one datacenter.
    #[serde(default)]
    pub datacenter: LinkLine,
    /// Between datacenters.
    #[serde(default)]
    pub wan: LinkLine,
    /// Between the datacenters of two regions.
    #[serde(default)]
    pub pair: Vec<Spanned<Pair>>,
}

/// What one kind of link does differently.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkLine {
    one_way: Option<Length>,
    jitter: Option<f64>,
    shape: Option<Shape>,
    loss: Option<f64>,
    burst: Option<BurstLine>,
    duplicate: Option<f64>,
    reorder: Option<f64>,
    rate: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BurstLine {
    every: Length,
    lasting: Length,
    loss: f64,
}

/// The link of two regions.
#[derive(Clone, Debug, Deserialize)]
pub struct Pair {
    /// Which two.
    pub between: [String; 2],
    #[serde(flatten)]
    link: LinkLine,
}

/// Something that happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, since the timeline began.
    pub time: Length,
    /// What.
    #[serde(rename = "do")]
    pub what: Verb,
    /// To whom.
    pub who: Option<Choice>,
    /// Between whom and whom, for cuts.
    pub from: Option<Choice>,
    /// See `from`.
    pub to: Option<Choice>,
    /// Only this tier, for cuts.
    pub tier: Option<TierName>,
    /// For how long.
    #[serde(rename = "for")]
    pub lasting: Option<Length>,
    /// Loss of what is sent.
    pub sent: Option<f64>,
    /// Loss of what should be received.
    pub received: Option<f64>,
    /// A name for those chosen, so that later steps can say `@name`.
    #[serde(rename = "as")]
    pub named: Option<String>,
    /// Again after this.
    pub every: Option<Length>,
    /// So many times in all.
    pub times: Option<u32>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// The process ends; its host answers for the closed port.
    Kill,
    /// The host goes with everything on it.
    Lose,
    /// A process starts, with what is on its disk.
    Start,
    /// A process starts with an empty disk.
    StartBlank,
    /// Killed and started at once.
    Restart,
    /// The same, its disk emptied.
    RestartBlank,
    /// It says goodbye.
    Leave,
    /// Its record changes.
    Update,
    /// It stops where it is for a while.
    Pause,
    /// Its timers run, but nothing gets out or in for a while.
    Starve,
    /// What it sends and receives comes later.
    Clog,
    /// Each of them is clogged at a random moment for a random while.
    Swizzle,
    /// Its links lose packets.
    Lossy,
    /// Nothing gets from some to others.
    Cut,
    /// Nothing gets between some and others, in either direction.
    Split,
    /// All cuts go.
    Heal,
}

/// A tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierName {
    /// Inside datacenters.
    Lan,
    /// Between them.
    Wan,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// How often the series have a point.
    #[serde(default = "one_second")]
    pub every: Length,
    /// How many nodes' views are compared with the truth each time.
    #[serde(default = "twenty")]
    pub viewers: usize,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            every: one_second(),
            viewers: twenty(),
        }
    }
}

/// What must come of it: otherwise the run fails.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Most deaths reported of undisturbed members that live.
    pub wrong_deaths: Option<u64>,
    /// Most deaths reported of members that live, though something was done to them.
    pub disturbed_deaths: Option<u64>,
    /// Latest p99 of deaths.
    pub dead: Option<Length>,
    /// Latest p99 of suspicions.
    pub suspect: Option<Length>,
    /// Latest p99 of news: goodbyes, records, joins.
    pub news: Option<Length>,
    /// Most bytes a second that a node sends on average.
    pub bytes: Option<f64>,
    /// Largest share of wrong pairs at the end.
    pub divergence: Option<f64>,
}

const fn one() -> u64 {
    1
}
const fn one_place() -> usize {
    1
}
const fn twenty() -> usize {
    20
}
const fn one_second() -> Length {
    Length(std::time::Duration::from_secs(1))
}
const fn ten_seconds() -> Length {
    Length(std::time::Duration::from_secs(10))
}

/// Where in a file something is wrong, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    file: String,
    line: usize,
    column: usize,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl std::error::Error for Fault {}

/// Finds the line that belongs to a place in a file.
struct Page<'a> {
    file: &'a str,
    text: &'a str,
}

impl Page<'_> {
    fn fault(&self, span: Range<usize>, message: impl Into<String>) -> Fault {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Fault {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1,
            message: message.into(),
        }
    }
}

impl Scenario {
    /// Reads a scenario. `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        let page = Page { file, text };
        let scenario: Self = toml::from_str(text)
            .map_err(|error| page.fault(error.span().unwrap_or(0..0), error.message().trim()))?;
        scenario.check(&page)?;
        Ok(scenario)
    }

    fn check(&self, page: &Page<'_>) -> Result<(), Fault> {
        if self.datacenter.is_empty() {
            return Err(page.fault(0..0, "no [[datacenter]]"));
        }
        let mut names = BTreeMap::new();
        for entry in &self.datacenter {
            let dc = entry.get_ref();
            let wrong = if pelago_proto::identity::Label::new(&dc.name).is_err() {
                Some("no such name: lower-case letters, digits and dashes")
            } else if names.insert(dc.name.clone(), ()).is_some() {
                Some("there is a datacenter of this name already")
            } else if dc.servers + dc.clients < 2 {
                Some("at least two members")
            } else if dc.late > dc.clients {
                Some("more late members than clients")
            } else if dc.zones * dc.racks == 0 {
                Some("at least one zone and one rack")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return Err(page.fault(entry.span(), format!("{}: {wrong}", dc.name)));
            }
        }
        for pair in &self.link.pair {
            let known = |region: &String| {
                self.datacenter
                    .iter()
                    .any(|dc| dc.get_ref().region() == region)
            };
            if let Some(unknown) = pair.get_ref().between.iter().find(|region| !known(region)) {
                let message = format!("no datacenter lies in a region called {unknown}");
                return Err(page.fault(pair.span(), message));
            }
        }
        let lines = [
            &self.link.rack,
            &self.link.zone,
            &self.link.datacenter,
            &self.link.wan,
        ];
        let pairs = self.link.pair.iter().map(|pair| &pair.get_ref().link);
        for line in lines.into_iter().chain(pairs) {
            line.check().map_err(|wrong| {
                let table = text_of(page.text, "[link");
                page.fault(table, wrong)
            })?;
        }
        let mut known = Vec::new();
        for entry in &self.at {
            entry
                .get_ref()
                .check(self, &mut known)
                .map_err(|wrong| page.fault(entry.span(), wrong))?;
        }
        Ok(())
    }

    /// The links that it describes.
    pub fn links(&self) -> Links {
        let base = Links::default();
        Links {
            rack: self.link.rack.over(base.rack),
            zone: self.link.zone.over(base.zone),
            datacenter: self.link.datacenter.over(base.datacenter),
            wan: self.link.wan.over(base.wan),
        }
    }
}

/// Where a piece of text is first.
fn text_of(text: &str, what: &str) -> Range<usize> {
    let at = text.find(what).unwrap_or(0);
    at..at
}

impl Datacenter {
    /// Its region.
    pub fn region(&self) -> &String {
        self.region.as_ref().unwrap_or(&self.name)
    }
}

impl Pair {
    /// The link between them.
    pub fn over(&self, link: Link) -> Link {
        self.link.over(link)
    }
}

impl LinkLine {
    fn over(&self, link: Link) -> Link {
        Link {
            one_way: self.one_way.map_or(link.one_way, |length| length.0),
            jitter: self.jitter.unwrap_or(link.jitter),
            shape: self.shape.unwrap_or(link.shape),
            loss: self.loss.unwrap_or(link.loss),
            burst: self.burst.map_or(link.burst, |burst| {
                Some(Burst {
                    every: burst.every.0,
                    lasting: burst.lasting.0,
                    loss: burst.loss,
                })
            }),
            duplicate: self.duplicate.unwrap_or(link.duplicate),
            reorder: self.reorder.unwrap_or(link.reorder),
            rate: self.rate.or(link.rate),
        }
    }

    fn check(&self) -> Result<(), String> {
        let burst = self.burst.map(|burst| burst.loss);
        for (name, share) in [
            ("loss", self.loss),
            ("burst.loss", burst),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
        ] {
            share_of(name, share)?;
        }
        if self
            .jitter
            .is_some_and(|jitter| !(0.0..=100.0).contains(&jitter))
        {
            return Err("jitter is a share of one_way, 0 to 100".to_owned());
        }
        if self.rate == Some(0) {
            return Err("rate is in bytes a second, at least 1".to_owned());
        }
        if let Some(burst) = self.burst
            && (burst.every.0.is_zero() || burst.lasting.0.is_zero())
        {
            return Err("bursts come every so often and last a while".to_owned());
        }
        Ok(())
    }
}

fn share_of(name: &str, share: Option<f64>) -> Result<(), String> {
    match share {
        Some(share) if !(0.0..=1.0).contains(&share) => Err(format!("{name} is a share, 0 to 1")),
        _ => Ok(()),
    }
}

impl Step {
    fn check(&self, scenario: &Scenario, known: &mut Vec<String>) -> Result<(), String> {
        use Verb::{Clog, Cut, Heal, Lossy, Pause, Split, Starve, Swizzle};
        let verb = self.what;
        let needs = |wanted: bool, there: bool, field: &str| match (wanted, there) {
            (true, false) => Err(format!("`{}` needs `{field}`", verb.as_str())),
            (false, true) => Err(format!("`{}` takes no `{field}`", verb.as_str())),
            _ => Ok(()),
        };
        let cuts = matches!(verb, Cut | Split);
        needs(!cuts && verb != Heal, self.who.is_some(), "who")?;
        needs(cuts, self.from.is_some(), "from")?;
        needs(cuts, self.to.is_some(), "to")?;
        needs(
            matches!(verb, Pause | Starve | Clog | Swizzle),
            self.lasting.is_some(),
            "for",
        )?;
        if verb != Lossy && (self.sent.is_some() || self.received.is_some()) {
            return Err(format!(
                "`{}` takes no `sent` and `received`",
                verb.as_str()
            ));
        }
        if !cuts && self.tier.is_some() {
            return Err(format!("`{}` takes no `tier`", verb.as_str()));
        }
        share_of("sent", self.sent)?;
        share_of("received", self.received)?;
        if self.every.is_some() != self.times.is_some() {
            return Err("`every` and `times` go together".to_owned());
        }
        if self.every.is_some_and(|every| every.0.is_zero()) {
            return Err("`every` is longer than nothing".to_owned());
        }
        for choice in [&self.who, &self.from, &self.to].into_iter().flatten() {
            choice.check(scenario, known)?;
        }
        known.extend(self.named.clone());
        if self.time > scenario.time {
            return Err(format!("`time` lies behind the end, {}", scenario.time));
        }
        Ok(())
    }
}

impl Verb {
    /// What files and reports call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Lose => "lose",
            Self::Start => "start",
            Self::StartBlank => "start-blank",
            Self::Restart => "restart",
            Self::RestartBlank => "restart-blank",
            Self::Leave => "leave",
            Self::Update => "update",
            Self::Pause => "pause",
            Self::Starve => "starve",
            Self::Clog => "clog",
            Self::Swizzle => "swizzle",
            Self::Lossy => "lossy",
            Self::Cut => "cut",
            Self::Split => "split",
            Self::Heal => "heal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title = \"t\"\ntime = \"10s\"\n[[datacenter]]\nname = \"a\"\nservers = 3\n";

    fn fault(more: &str) -> String {
        match Scenario::parse("f.toml", &format!("{HEAD}{more}")) {
            Ok(_) => "fine".to_owned(),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        assert_eq!(fault(""), "fine");
        let cases = [
            ("colour = 1\n", "f.toml:6:1: unknown field `colour`"),
            ("zones = \"x\"\n", "f.toml:6:9: invalid type"),
            (
                "[[at]]\ntime = \"5 days\"\n",
                "f.toml:7:8: `5 days` is no length",
            ),
            (
                "[[at]]\ntime = \"5s\"\ndo = \"explode\"\n",
                "f.toml:8:6: unknown variant",
            ),
            (
                "[[at]]\ntime = \"5s\"\ndo = \"kill\"\n",
                "f.toml:6:1: `kill` needs `who`",
            ),
            (
                "[[at]]\ntime = \"5s\"\ndo = \"kill\"\nwho = \"b-s1\"\n",
                "f.toml:6:1: nobody is called b-s1",
            ),
            (
                "[[at]]\ntime = \"5s\"\ndo = \"kill\"\nwho = \"@x\"\n",
                "f.toml:6:1: nobody was named @x",
            ),
            (
                "[[at]]\ntime = \"50s\"\ndo = \"heal\"\n",
                "f.toml:6:1: `time` lies behind",
            ),
            (
                "[[datacenter]]\nname = \"a\"\nservers = 3\n",
                "f.toml:6:1: a: there is a",
            ),
            ("[link.wan]\nloss = 2\n", "f.toml:6:1: loss is a share"),
            (
                "[[link.pair]]\nbetween = [\"a\", \"b\"]\n",
                "f.toml:6:1: no datacenter lies",
            ),
            ("oops\n", "f.toml:6:5: "),
        ];
        for (more, wanted) in cases {
            let said = fault(more);
            assert!(said.starts_with(wanted), "{more}\n{said}\n{wanted}");
        }
    }
}
