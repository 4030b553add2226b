//! Values: from TOML or text into types, with the complaint that names the unit or form that was expected.

use super::keys::Kind;
use ipnet::IpNet;
use pelago_proto::identity::{Label, Role};
use std::{fmt, net::IpAddr, net::SocketAddr, ops::Range, path::PathBuf, time::Duration};
use toml::{Spanned, de::DeValue};

/// What a key was set to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Label(Label),
    Role(Role),
    Text(String),
    Path(PathBuf),
    Bind(Bind),
    Ip(IpAddr),
    Port(u16),
    Socket(Option<SocketAddr>),
    Nets(Vec<IpNet>),
    Names(Vec<String>),
    Duration(Duration),
    Count(u64),
    Flag(bool),
}

/// Where to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// This address.
    Address(IpAddr),
    /// The one local address inside this network.
    Within(IpNet),
}

/// What is wrong with a value, where in the file, and what to write instead.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Complaint {
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Complaint {
    fn new(message: impl Into<String>, help: Option<&str>) -> Self {
        Self {
            span: None,
            message: message.into(),
            help: help.map(str::to_owned),
        }
    }

    fn at(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }
}

impl Kind {
    /// What a person should write, for `expected …`.
    fn expectation(self) -> &'static str {
        match self {
            Self::Label => "a name such as \"eu-west\"",
            Self::Role => "\"server\" or \"client\"",
            Self::Text => "a text",
            Self::Path => "a path",
            Self::Bind => "an address such as \"10.81.0.11\" or a network such as \"10.81.0.0/16\"",
            Self::Ip => "an address such as \"198.51.100.7\"",
            Self::Port => "a port number, 0 to 65535",
            Self::Socket => "an address with a port such as \"127.0.0.1:8700\"",
            Self::Nets => "a list of networks such as [\"10.81.0.0/16\"]",
            Self::Names => "a list of names such as [\"s1.eu-west.lan\"]",
            Self::Duration => "a duration with its unit such as \"200ms\" or \"1m 30s\"",
            Self::Count => "a whole number",
            Self::Flag => "true or false",
            Self::Word(_) => "one of the words below",
        }
    }

    /// Reads a value out of a file. Every wrong item of a list is named.
    pub(crate) fn read(self, raw: &Spanned<DeValue<'_>>) -> Result<Value, Vec<Complaint>> {
        let span = raw.span();
        let value = match (self, raw.get_ref()) {
            (Self::Nets | Self::Names, DeValue::Array(items)) => return self.read_list(items),
            (Self::Port | Self::Count, DeValue::Integer(number)) => self.parse(number.as_str()),
            (Self::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Self::Port | Self::Count | Self::Flag | Self::Nets | Self::Names, other) => {
                Err(self.wrong_type(other))
            }
            (_, DeValue::String(text)) => self.parse(text),
            (_, other) => Err(self.wrong_type(other)),
        };
        value.map_err(|complaint| vec![complaint.at(span)])
    }

    fn read_list(self, items: &toml::de::DeArray<'_>) -> Result<Value, Vec<Complaint>> {
        let mut complaints = Vec::new();
        let mut names = Vec::new();
        let mut nets = Vec::new();
        for item in items.iter() {
            match (self, item.get_ref()) {
                (Self::Names, DeValue::String(text)) => names.push(text.to_string()),
                (_, DeValue::String(text)) => match net(text) {
                    Ok(net) => nets.push(net),
                    Err(complaint) => complaints.push(complaint.at(item.span())),
                },
                (_, other) => complaints.push(Self::Text.wrong_type(other).at(item.span())),
            }
        }
        match self {
            _ if !complaints.is_empty() => Err(complaints),
            Self::Names => Ok(Value::Names(names)),
            _ => Ok(Value::Nets(nets)),
        }
    }

    fn wrong_type(self, found: &DeValue<'_>) -> Complaint {
        let help = match (self, found) {
            (Self::Duration, DeValue::Integer(number)) => {
                Some(format!("add the unit: \"{}ms\"", number.as_str()))
            }
            (Self::Nets | Self::Names, DeValue::String(text)) => {
                Some(format!("write a list: [\"{text}\"]"))
            }
            _ => None,
        };
        Complaint {
            span: None,
            message: format!(
                "expected {}, found {}",
                self.expectation(),
                article(found.type_str())
            ),
            help,
        }
    }

    /// Reads a value out of text, as the environment and flags give it; lists are separated by commas.
    pub(crate) fn parse(self, text: &str) -> Result<Value, Complaint> {
        let wrong = || {
            Complaint::new(
                format!("expected {}, found \"{text}\"", self.expectation()),
                None,
            )
        };
        let items = || {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
        };
        Ok(match self {
            Self::Label => Value::Label(Label::new(text).map_err(|error| {
                Complaint::new(
                    format!("\"{text}\" is not a name"),
                    Some(&error.to_string()),
                )
            })?),
            Self::Role => Value::Role(match text {
                "server" => Role::Server,
                "client" => Role::Client,
                _ => return Err(wrong()),
            }),
            Self::Text => Value::Text(text.to_owned()),
            Self::Path => Value::Path(text.into()),
            Self::Bind => Value::Bind(match text.parse() {
                Ok(address) => Bind::Address(address),
                Err(_) => Bind::Within(net(text)?),
            }),
            Self::Ip => Value::Ip(text.parse().map_err(|_| wrong())?),
            Self::Port => Value::Port(text.parse().map_err(|_| wrong())?),
            Self::Socket if text.is_empty() => Value::Socket(None),
            Self::Socket => Value::Socket(Some(text.parse().map_err(|_| wrong())?)),
            Self::Nets => Value::Nets(items().map(net).collect::<Result<_, _>>()?),
            Self::Names => Value::Names(items().map(str::to_owned).collect()),
            Self::Duration => {
                Value::Duration(duration(text).map_err(|help| Complaint { help, ..wrong() })?)
            }
            Self::Count => Value::Count(text.parse().map_err(|_| wrong())?),
            Self::Flag => Value::Flag(text.parse().map_err(|_| wrong())?),
            Self::Word(words) if words.contains(&text) => Value::Text(text.to_owned()),
            Self::Word(words) => {
                let message = format!("expected {}, found \"{text}\"", words.join(", "));
                return Err(Complaint::new(message, None));
            }
        })
    }
}

fn net(text: &str) -> Result<IpNet, Complaint> {
    match text.parse::<IpNet>() {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => Err(Complaint {
            span: None,
            message: format!("{net} has bits behind its prefix"),
            help: Some(format!(
                "write \"{}\" for the network or \"{}\" for the address",
                net.trunc(),
                net.addr()
            )),
        }),
        Err(_) => Err(match text.parse::<IpAddr>() {
            Ok(address) => Complaint {
                span: None,
                message: format!("{address} lacks its prefix length"),
                help: Some(format!(
                    "for this one address write \"{}\"",
                    IpNet::from(address)
                )),
            },
            Err(_) => Complaint::new(
                format!("\"{text}\" is not a network"),
                Some("write one like \"10.81.0.0/16\""),
            ),
        }),
    }
}

fn duration(text: &str) -> Result<Duration, Option<String>> {
    let parser = jiff::fmt::friendly::SpanParser::new();
    parser.parse_unsigned_duration(text).map_err(|_| {
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        bare.then(|| format!("add the unit: \"{text}ms\" or \"{text}s\""))
    })
}

fn article(word: &str) -> String {
    let an = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {word}", if an { "an" } else { "a" })
}

/// As short as possible: `200ms`, `1m 30s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let printer =
        jiff::fmt::friendly::SpanPrinter::new().spacing(jiff::fmt::friendly::Spacing::BetweenUnits);
    printer.unsigned_duration_to_string(&duration)
}

impl fmt::Display for Value {
    /// As it would stand in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
            let items: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
            write!(f, "[{}]", items.join(", "))
        }
        match self {
            Self::Label(label) => f.write_str(&quoted(label.as_str())),
            Self::Role(role) => f.write_str(&quoted(&role.to_string())),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Path(path) => f.write_str(&quoted(&path.to_string_lossy())),
            Self::Bind(Bind::Address(address)) | Self::Ip(address) => {
                f.write_str(&quoted(&address.to_string()))
            }
            Self::Bind(Bind::Within(net)) => f.write_str(&quoted(&net.to_string())),
            Self::Port(port) => write!(f, "{port}"),
            Self::Socket(None) => f.write_str("\"\""),
            Self::Socket(Some(address)) => f.write_str(&quoted(&address.to_string())),
            Self::Nets(nets) => list(f, nets),
            Self::Names(names) => list(f, names),
            Self::Duration(duration) => f.write_str(&quoted(&show_duration(*duration))),
            Self::Count(count) => write!(f, "{count}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(kind: Kind, text: &str) -> Complaint {
        kind.parse(text).expect_err("must be refused")
    }

    #[test]
    fn durations_need_units() {
        assert_eq!(
            Kind::Duration.parse("200ms"),
            Ok(Value::Duration(Duration::from_millis(200)))
        );
        assert_eq!(
            Kind::Duration.parse("1m 30s"),
            Ok(Value::Duration(Duration::from_secs(90)))
        );
        assert_eq!(
            complaint(Kind::Duration, "200").help.as_deref(),
            Some("add the unit: \"200ms\" or \"200s\"")
        );
        assert!(complaint(Kind::Duration, "soon").help.is_none());
        assert_eq!(show_duration(Duration::from_millis(90_250)), "1m 30s 250ms");
    }

    #[test]
    fn networks_are_exact() {
        assert!(matches!(
            Kind::Bind.parse("10.81.0.0/16"),
            Ok(Value::Bind(Bind::Within(_)))
        ));
        assert!(matches!(
            Kind::Bind.parse("10.81.0.11"),
            Ok(Value::Bind(Bind::Address(_)))
        ));
        assert!(
            complaint(Kind::Bind, "10.81.0.11/16")
                .help
                .is_some_and(|help| help.contains("10.81.0.0/16"))
        );
        assert!(
            complaint(Kind::Nets, "10.81.0.11")
                .help
                .is_some_and(|help| help.contains("10.81.0.11/32"))
        );
        assert!(
            complaint(Kind::Nets, "10.81.0.0/33")
                .message
                .contains("not a network")
        );
    }

    #[test]
    fn lists_and_words_from_text() {
        assert_eq!(
            Kind::Names.parse("a, b"),
            Ok(Value::Names(vec!["a".into(), "b".into()]))
        );
        assert_eq!(Kind::Names.parse(""), Ok(Value::Names(vec![])));
        assert_eq!(Kind::Socket.parse(""), Ok(Value::Socket(None)));
        assert!(
            complaint(Kind::Word(&["auto", "text"]), "xml")
                .message
                .contains("auto, text")
        );
    }
}
