//! Query strings: every parameter known, every value checked, every refusal explained.

use super::fault::Fault;
use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use pelago_node::api::{Mode, Scope};
use pelago_proto::{
    identity::Label,
    view::{Member, Status},
};

/// Most members on one page.
pub(crate) const PAGE: usize = 1_000;

/// What a path names: a member or a datacenter.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let name = Path::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name))
            .map_err(|why| Fault::bad_parameter(why.body_text()))
    }
}

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string; a parameter that is not among `known` is refused, for it may be a slip.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Fault> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        match pairs
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            None => Ok(Self(pairs)),
            Some((name, _)) => {
                let hint = match known
                    .iter()
                    .min_by_key(|known| strsim::damerau_levenshtein(known, name))
                {
                    Some(near) if strsim::damerau_levenshtein(near, name) <= 2 => {
                        format!("did you mean {near}?")
                    }
                    _ if known.is_empty() => "this path takes no parameters".to_owned(),
                    _ => format!("known here: {}", known.join(", ")),
                };
                Err(Fault::bad_parameter(format!("unknown parameter \"{name}\"")).hint(hint))
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may be repeated.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Fault> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Fault::bad_parameter(format!("{name}={text}: expected a whole number"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Fault> {
        match self.get(name) {
            None => Ok(default),
            Some("" | "true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(text) => Err(Fault::bad_parameter(format!(
                "{name}={text}: expected true or false"
            ))),
        }
    }

    /// `view=`, by default the node's own.
    pub(crate) fn mode(&self) -> Result<Mode, Fault> {
        match self.get("view") {
            None | Some("local") => Ok(Mode::Local),
            Some("dc") => Ok(Mode::Dc),
            Some("home") => Ok(Mode::Home),
            Some("all") => Ok(Mode::All),
            Some(other) => Err(Fault::bad_parameter(format!(
                "view={other}: expected local, dc, home or all"
            ))),
        }
    }

    /// `dc=`: a name, or `*` for all.
    pub(crate) fn scope(&self, default: Scope) -> Result<Scope, Fault> {
        match self.get("dc") {
            None => Ok(default),
            Some("*") => Ok(Scope::All),
            Some(name) => Ok(Scope::One(label("dc", name)?)),
        }
    }

    pub(crate) fn filter(&self) -> Result<Filter, Fault> {
        let labels = |name| {
            self.words(name)
                .map(|text| label(name, text))
                .collect::<Result<Vec<_>, _>>()
        };
        let status = self.words("status").map(|text| {
            let known = Status::ALL
                .into_iter()
                .find(|status| status.as_str() == text);
            known.ok_or_else(|| {
                let words = Status::ALL.map(Status::as_str).join(", ");
                Fault::bad_parameter(format!("status={text}: expected {words}"))
            })
        });
        let role = self.get("role").map(|text| match text {
            "client" | "server" => Ok(text.to_owned()),
            _ => Err(Fault::bad_parameter(format!(
                "role={text}: expected client or server"
            ))),
        });
        Ok(Filter {
            zones: labels("zone")?,
            racks: labels("rack")?,
            role: role.transpose()?,
            status: status.collect::<Result<_, _>>()?,
            elected: match self.get("elected") {
                None => None,
                Some(_) => Some(self.flag("elected", true)?),
            },
        })
    }

    /// Repeated and comma-separated values alike.
    fn words<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .filter(|word| !word.is_empty())
    }

    pub(crate) fn limit(&self) -> Result<usize, Fault> {
        match self.number("limit")? {
            None => Ok(PAGE),
            Some(0) => Err(Fault::bad_parameter("limit=0: expected 1 to 1000")),
            Some(limit) => Ok(usize::try_from(limit).unwrap_or(PAGE).min(PAGE)),
        }
    }
}

fn label(name: &str, text: &str) -> Result<Label, Fault> {
    Label::new(text).map_err(|error| Fault::bad_parameter(format!("{name}={text}: {error}")))
}

/// Which members are wanted; what is empty lets everything through.
#[derive(Debug)]
pub(crate) struct Filter {
    zones: Vec<Label>,
    racks: Vec<Label>,
    role: Option<String>,
    status: Vec<Status>,
    elected: Option<bool>,
}

impl Filter {
    pub(crate) fn fits(&self, member: &Member) -> bool {
        (self.zones.is_empty() || self.zones.contains(&member.zone))
            && (self.racks.is_empty() || self.racks.contains(&member.rack))
            && self
                .role
                .as_ref()
                .is_none_or(|role| *role == member.role.to_string())
            && (self.status.is_empty() || self.status.contains(&member.status))
            && self.elected.is_none_or(|elected| elected == member.elected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_and_values_are_refused_with_a_hint() {
        let refused = |query| Params::read(Some(query), &["status", "zone"]).expect_err("refused");
        assert_eq!(
            refused("staus=dead").problem().hint.as_deref(),
            Some("did you mean status?")
        );
        assert!(
            refused("colour=red")
                .problem()
                .hint
                .as_deref()
                .is_some_and(|hint| hint.contains("zone"))
        );
        let read = |query| {
            Params::read(Some(query), &["status", "zone", "role", "limit", "view"]).expect("known")
        };
        assert!(read("status=gone").filter().is_err());
        assert!(read("zone=A").filter().is_err());
        assert!(read("role=operator").filter().is_err());
        assert!(read("limit=0").limit().is_err());
        assert!(read("limit=ten").limit().is_err());
        assert!(read("view=mine").mode().is_err());
        assert_eq!(read("limit=5000").limit().ok(), Some(PAGE));
    }

    #[test]
    fn statuses_may_be_repeated_or_listed() {
        for query in ["status=dead&status=left", "status=dead,left"] {
            let filter = Params::read(Some(query), &["status"])
                .and_then(|it| it.filter())
                .expect("sound");
            assert_eq!(filter.status, [Status::Dead, Status::Left]);
        }
    }
}
