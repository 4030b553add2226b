//! Every key of a configuration file, once: reading, checking, `config show` and suggestions all follow this table.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name: lower-case letters, digits, hyphens.
    Label,
    /// `server` or `client`.
    Role,
    /// Any text.
    Text,
    /// A file or directory. Relative ones are taken from the folder of the file that names them.
    Path,
    /// An address, or a network that picks the interface.
    Bind,
    /// One address.
    Ip,
    /// A port, 0–65535.
    Port,
    /// An address with a port; empty for none.
    Socket,
    /// A list of networks.
    Nets,
    /// A list of texts.
    Names,
    /// A time with units.
    Duration,
    /// A small number.
    Count,
    /// Yes or no.
    Flag,
    /// One of a few words.
    Word(&'static [&'static str]),
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its place, `table.key`; `*` stands for any name.
    pub(crate) path: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// What holds when nobody sets it, written as in the environment.
    pub(crate) default: Option<&'static str>,
}

const fn key(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key {
        path,
        kind,
        default,
    }
}

/// All of them, in the order in which `config show` prints them.
pub(crate) const KEYS: &[Key] = &[
    key("node.name", Kind::Label, None),
    key("node.region", Kind::Label, None),
    key("node.datacenter", Kind::Label, None),
    key("node.zone", Kind::Label, None),
    key("node.rack", Kind::Label, None),
    key("node.role", Kind::Role, None),
    key("node.data_dir", Kind::Path, Some("/var/lib/pelago")),
    key("node.tags.*", Kind::Text, None),
    key("pki.ca", Kind::Path, None),
    key("pki.cert", Kind::Path, None),
    key("pki.key", Kind::Path, None),
    key("pki.crl_dir", Kind::Path, None),
    key("pki.fail_closed", Kind::Flag, Some("false")),
    key("lan.bind", Kind::Bind, None),
    key("lan.port", Kind::Port, Some("8701")),
    key("lan.stream_port", Kind::Port, None),
    key("lan.allow", Kind::Nets, None),
    key("lan.join", Kind::Names, Some("")),
    key("lan.probe_interval", Kind::Duration, Some("200ms")),
    key("lan.pause_tolerance", Kind::Duration, Some("2s")),
    key("wan.bind", Kind::Bind, None),
    key("wan.port", Kind::Port, Some("8703")),
    key("wan.advertise", Kind::Ip, None),
    key("wan.allow", Kind::Nets, None),
    key("wan.datacenters.*", Kind::Nets, None),
    key("wan.join", Kind::Names, Some("")),
    key("wan.seats", Kind::Count, Some("3")),
    key("limits.claims", Kind::Count, Some("2000")),
    key("limits.claims_per_peer", Kind::Count, Some("200")),
    key("limits.claims_per_signer", Kind::Count, Some("50")),
    key("limits.introductions", Kind::Count, Some("400")),
    key("limits.datagrams_per_address", Kind::Count, Some("2000")),
    key("http.socket", Kind::Path, Some("/run/pelago/api.sock")),
    key("http.bind", Kind::Socket, Some("127.0.0.1:8700")),
    key("http.tls", Kind::Flag, Some("false")),
    key("http.plain_read", Kind::Nets, Some("")),
    key("http.hosts", Kind::Names, Some("")),
    key("log.level", Kind::Text, Some("info")),
    key(
        "log.format",
        Kind::Word(&["auto", "text", "json"]),
        Some("auto"),
    ),
];

/// The key at `path`; a free name under a `*` counts.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        key.path == path
            || key.path.strip_suffix('*').is_some_and(|prefix| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| !rest.is_empty())
            })
    })
}

/// Whether `path` is a table that holds keys.
pub(crate) fn is_table(path: &str) -> bool {
    KEYS.iter().any(|key| {
        key.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The known key or table that `path` was probably meant to be: the same name elsewhere, or a slip of the pen.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    let leaf = path.rsplit('.').next().unwrap_or(path);
    let tables = ["node", "pki", "lan", "wan", "limits", "http", "log"];
    KEYS.iter()
        .map(|key| key.path)
        .filter(|known| !known.ends_with('*'))
        .chain(tables)
        .map(|known| {
            let own = known.rsplit('.').next().unwrap_or(known);
            // A right name in the wrong table is as near as a single slip.
            let misplaced = if own == leaf && known != leaf {
                1
            } else {
                usize::MAX
            };
            (
                misplaced.min(strsim::damerau_levenshtein(path, known)),
                known,
            )
        })
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_wrong_tables_are_recognised() {
        assert_eq!(nearest("lan.probe_intervall"), Some("lan.probe_interval"));
        assert_eq!(nearest("node.seats"), Some("wan.seats"));
        assert_eq!(nearest("seats"), Some("wan.seats"));
        assert_eq!(nearest("wn"), Some("wan"));
        assert_eq!(nearest("gossip.encryption"), None);
    }

    #[test]
    fn tags_take_any_name() {
        assert!(find("node.tags.team").is_some());
        assert!(find("node.tags.").is_none());
        assert!(is_table("node.tags") && is_table("node") && !is_table("node.name"));
    }
}
