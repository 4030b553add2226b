//! What single values cannot show: missing ones, files, binds, and settings that contradict each other.

use super::{
    Http, Log, Settings,
    finding::{Finding, Origin},
    host::{self, Interface},
    keys,
    source::Layers,
    value::{Bind, Value, show_duration},
};
use ipnet::IpNet;
use pelago_node::{
    config::{Config, Lan, Limits, Pki, Wan},
    fault::Faults,
};
use pelago_pki::{Identity, Policy, TrustStore};
use pelago_proto::identity::{Label, Role};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Checks everything, adds what is wrong to `findings`, and builds the settings from what is right.
pub(crate) fn check(
    layers: &Layers,
    interfaces: &[Interface],
    findings: &mut Vec<Finding>,
) -> Option<Settings> {
    let mut check = Check {
        layers,
        interfaces,
        findings,
    };
    let pki = check.pki();
    let region = check.required_label("node.region", "europe");
    let lan = check.lan();
    let role = check.identity(pki.as_ref());
    let wan = check.wan(role, lan.as_ref());
    let http = check.http();
    let log = Log {
        level: check.text("log.level").unwrap_or_default(),
        format: check.text("log.format").unwrap_or_default(),
    };
    check.log_level(&log);
    let node = Config {
        region: region?.to_string(),
        name: check.name("node.name"),
        datacenter: check.name("node.datacenter"),
        zone: check.name("node.zone"),
        rack: check.name("node.rack"),
        role: check.role_setting().map(|role| role.to_string()),
        data_dir: check.path("node.data_dir"),
        tags: check.tags(),
        pki: pki?,
        lan: lan?,
        wan,
        limits: check.limits(),
        faults: Faults::none(),
    };
    Some(Settings { node, http, log })
}

struct Check<'a> {
    layers: &'a Layers,
    interfaces: &'a [Interface],
    findings: &'a mut Vec<Finding>,
}

/// A typed reader per kind; the default stands in where nobody set the key.
macro_rules! readers {
    ($($name:ident: $variant:ident -> $type:ty;)*) => {
        $(fn $name(&self, path: &str) -> Option<$type> {
            match self.value(path) {
                Some(Value::$variant(value)) => Some(value),
                _ => None,
            }
        })*
    };
}

impl Check<'_> {
    readers! {
        label: Label -> Label;
        text: Text -> String;
        some_path: Path -> PathBuf;
        bind: Bind -> Bind;
        ip: Ip -> IpAddr;
        port: Port -> u16;
        socket: Socket -> Option<SocketAddr>;
        nets: Nets -> Vec<IpNet>;
        names: Names -> Vec<String>;
        duration: Duration -> Duration;
        count: Count -> u64;
        flag: Flag -> bool;
    }

    fn value(&self, path: &str) -> Option<Value> {
        match self.layers.entries.get(path) {
            Some(entry) => Some(entry.value.clone()),
            None => keys::find(path).and_then(|key| key.kind.parse(key.default?).ok()),
        }
    }

    fn origin(&self, path: &str) -> Origin {
        self.layers
            .entries
            .get(path)
            .map_or(Origin::Default, |entry| entry.origin.clone())
    }

    fn error(&mut self, path: &str, title: impl Into<String>) -> &mut Finding {
        let finding = Finding::error(self.origin(path), title);
        self.findings.push(finding);
        self.findings.last_mut().expect("was just pushed")
    }

    /// Empty paths mean "none".
    fn path(&self, path: &str) -> Option<PathBuf> {
        self.some_path(path)
            .filter(|path| !path.as_os_str().is_empty())
    }

    fn name(&self, path: &str) -> Option<String> {
        self.label(path).map(|label| label.to_string())
    }

    fn role_setting(&self) -> Option<Role> {
        match self.value("node.role") {
            Some(Value::Role(role)) => Some(role),
            _ => None,
        }
    }

    /// Complains about a key that is not set; one that was set wrongly has been complained about already.
    fn missing(&mut self, path: &str, example: &str) {
        let set_wrongly = format!("wrong value for `{path}`");
        if self
            .findings
            .iter()
            .any(|finding| finding.title == set_wrongly)
        {
            return;
        }
        let (table, key) = path.split_once('.').unwrap_or(("", path));
        let origin = self
            .layers
            .tables
            .get(table)
            .cloned()
            .unwrap_or(Origin::Default);
        let finding = Finding::error(origin, format!("`{path}` is missing"))
            .help(format!("add to [{table}]: {key} = {example}"));
        self.findings.push(finding);
    }

    fn required_label(&mut self, path: &str, example: &str) -> Option<Label> {
        let label = self.label(path);
        if label.is_none() {
            self.missing(path, &format!("\"{example}\""));
        }
        label
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let tags = self
            .layers
            .entries
            .iter()
            .filter_map(|(path, entry)| match &entry.value {
                Value::Text(text) => {
                    Some((path.strip_prefix("node.tags.")?.to_owned(), text.clone()))
                }
                _ => None,
            });
        tags.collect()
    }

    fn pki(&mut self) -> Option<Pki> {
        let ca = self.file("pki.ca", "\"/etc/pelago/ca.pem\"");
        let cert = self.file("pki.cert", "\"/etc/pelago/node.pem\"");
        let key = self.file("pki.key", "\"/etc/pelago/node.key\"");
        if let Some(key) = &key
            && let Ok(metadata) = fs::metadata(key)
        {
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                let help = format!("run: chmod 600 {}", key.display());
                let finding = self.error("pki.key", "others can read the private key");
                finding.label = Some(format!("mode {mode:04o}"));
                finding.help = Some(help);
            }
        }
        let crl_dir = self.crl_dir(ca.as_deref());
        let fail_closed = self.flag("pki.fail_closed").unwrap_or(false);
        Some(Pki {
            ca: ca?,
            cert: cert?,
            key: key?,
            crl_dir: Some(crl_dir?),
            fail_closed,
        })
    }

    /// Without revocation lists nobody could be trusted; those beside the authorities are found by themselves.
    fn crl_dir(&mut self, ca: Option<&Path>) -> Option<PathBuf> {
        let beside = || {
            ca.and_then(Path::parent)
                .map(|dir| dir.join("crl"))
                .filter(|dir| dir.is_dir())
        };
        let Some(dir) = self.path("pki.crl_dir").or_else(beside) else {
            self.missing("pki.crl_dir", "\"/etc/pelago/crl\"");
            return None;
        };
        if !dir.is_dir() {
            let label = format!("{} is not a directory", dir.display());
            self.error("pki.crl_dir", "missing directory").label = Some(label);
            return None;
        }
        Some(dir)
    }

    fn file(&mut self, path: &str, example: &str) -> Option<PathBuf> {
        let Some(file) = self.path(path) else {
            self.missing(path, example);
            return None;
        };
        // Opened, not only looked at: permissions count.
        if let Err(error) = fs::File::open(&file) {
            let title = if error.kind() == std::io::ErrorKind::NotFound {
                "missing file"
            } else {
                "unreadable file"
            };
            self.error(path, title).label = Some(format!("{}: {error}", file.display()));
        }
        Some(file)
    }

    /// Reads the certificates as the node will, and compares what is configured with what is certified.
    /// Says which role the node has.
    fn identity(&mut self, pki: Option<&Pki>) -> Option<Role> {
        let configured = self.role_setting();
        // What is wrong with the files themselves has been said already.
        let Some(pki) = pki.filter(|_| {
            !self
                .findings
                .iter()
                .any(|it| it.fatal && self.is_pki(&it.origin))
        }) else {
            return configured;
        };
        if let Err(error) = TrustStore::load(&pki.ca, pki.crl_dir.as_deref(), Policy::default()) {
            self.error("pki.ca", "unusable authorities").label = Some(error.to_string());
        }
        let name = match Identity::load(&pki.cert, &pki.key) {
            Ok(identity) => identity.name().clone(),
            Err(error) => {
                self.error("pki.cert", "unusable certificate").label = Some(error.to_string());
                return configured;
            }
        };
        let role = crate::pki::role(name.role);
        if role == Role::Operator {
            self.error("pki.cert", "an operator is never a member").help =
                Some("issue a certificate with --role server or --role client".to_owned());
        }
        let settings = [
            ("node.name", self.name("node.name"), name.node),
            (
                "node.datacenter",
                self.name("node.datacenter"),
                name.datacenter,
            ),
            ("node.zone", self.name("node.zone"), name.zone),
            ("node.rack", self.name("node.rack"), name.rack),
            (
                "node.role",
                configured.map(|role| role.to_string()),
                role.to_string(),
            ),
        ];
        for (key, configured, certified) in settings {
            if configured.is_some_and(|configured| configured != certified) {
                let finding = self.error(key, format!("`{key}` differs from the certificate"));
                finding.label = Some(format!("the certificate says \"{certified}\""));
                finding.help =
                    Some("correct it, or leave it out: the certificate decides".to_owned());
            }
        }
        Some(role)
    }

    fn is_pki(&self, origin: &Origin) -> bool {
        let mut entries = self.layers.entries.iter();
        entries.any(|(path, entry)| path.starts_with("pki.") && entry.origin == *origin)
    }

    fn lan(&mut self) -> Option<Lan> {
        let timings = self.timings();
        let port = self.port("lan.port").unwrap_or(8701);
        let next = if port == 0 { 0 } else { port.saturating_add(1) };
        let stream_port = self.port("lan.stream_port").unwrap_or(next);
        if port != 0 && port == stream_port {
            self.error(
                "lan.stream_port",
                "`lan.port` and `lan.stream_port` are the same",
            )
            .help = Some("both are UDP: give each its own".to_owned());
        }
        let (address, allow) = self.endpoint("lan")?;
        let (probe_interval, pause_tolerance) = timings?;
        let join = self.names("lan.join").unwrap_or_default();
        Some(Lan {
            address,
            port,
            stream_port,
            allow,
            join,
            probe_interval,
            pause_tolerance,
        })
    }

    fn timings(&mut self) -> Option<(Duration, Duration)> {
        let ms = Duration::from_millis;
        let interval = self.duration("lan.probe_interval")?;
        let tolerance = self.duration("lan.pause_tolerance")?;
        let interval_fits = self.in_range("lan.probe_interval", interval, ms(50), ms(10_000));
        let tolerance_fits = self.in_range("lan.pause_tolerance", tolerance, ms(500), ms(10_000));
        if interval_fits && tolerance_fits && tolerance < interval * 2 {
            let both = self.origin("lan.probe_interval");
            let says = format!("probed every {}", show_duration(interval));
            let needed = show_duration(interval * 2);
            // A default cannot be at fault: show the setting that somebody made.
            let at = if self.origin("lan.pause_tolerance") == Origin::Default {
                &both
            } else {
                &self.origin("lan.pause_tolerance")
            };
            let finding = Finding::error(at.clone(), "the timings contradict each other")
                .label(format!("a pause of {} must be survived", show_duration(tolerance)))
                .also(both, says)
                .note("a member that pauses is told apart from a dead one by at least two probes within the tolerance")
                .help(format!("set `lan.pause_tolerance` to at least \"{needed}\" or probe more often"));
            self.findings.push(finding);
        }
        Some((interval, tolerance))
    }

    fn in_range(&mut self, path: &str, value: Duration, least: Duration, most: Duration) -> bool {
        let fits = (least..=most).contains(&value);
        if !fits {
            let label = format!(
                "allowed are {} to {}",
                show_duration(least),
                show_duration(most)
            );
            self.error(path, format!("`{path}` is out of range")).label = Some(label);
        }
        fits
    }

    /// The bound address of a pool and the networks that it allows.
    fn endpoint(&mut self, table: &str) -> Option<(IpAddr, Vec<IpNet>)> {
        let bind_key = format!("{table}.bind");
        let allow_key = format!("{table}.allow");
        let Some(bind) = self.bind(&bind_key) else {
            self.missing(&bind_key, "\"10.81.0.0/16\"");
            return None;
        };
        let configured = self.nets(&allow_key);
        let address = match bind {
            Bind::Address(address) => address,
            Bind::Within(net) => match host::pick(self.interfaces, &net) {
                Ok(address) => address,
                Err((label, line)) => {
                    let has = format!("this host has: {}", host::list(self.interfaces));
                    let finding =
                        self.error(&bind_key, format!("`{bind_key}` does not pick one address"));
                    finding.label = Some(label);
                    finding.notes.push(has);
                    finding.help = line.map(|line| format!("try: {line}"));
                    return None;
                }
            },
        };
        let default = match bind {
            Bind::Within(net) => Some(net),
            Bind::Address(address) if address.is_unspecified() => None,
            Bind::Address(address) => host::network_of(self.interfaces, address),
        };
        match configured
            .filter(|nets| !nets.is_empty())
            .or_else(|| default.map(|net| vec![net]))
        {
            Some(allow) => Some((address, allow)),
            None => {
                let why = if address.is_unspecified() {
                    "a wildcard bind"
                } else {
                    "an address that no interface has"
                };
                let finding = self.error(&bind_key, format!("`{allow_key}` is missing"));
                finding.label = Some(format!(
                    "{why} says nothing about who may talk to this node"
                ));
                finding.help = Some(format!("add to [{table}]: allow = [\"10.81.0.0/16\"]"));
                None
            }
        }
    }

    fn wan(&mut self, role: Option<Role>, lan: Option<&Lan>) -> Option<Wan> {
        let mentioned = self.layers.tables.get("wan").cloned().or_else(|| {
            let mut entries = self.layers.entries.iter();
            entries
                .find(|(path, _)| path.starts_with("wan."))
                .map(|(_, entry)| entry.origin.clone())
        });
        match (role, mentioned) {
            (Some(Role::Client), Some(origin)) => {
                let finding = Finding::error(origin, "a client has no [wan]")
                    .label("only servers open WAN connections")
                    .help("remove the table, or give this node a server's certificate");
                self.findings.push(finding);
                return None;
            }
            (Some(Role::Server), None) => {
                let finding = Finding::error(self.origin("node.role"), "a server needs [wan]")
                    .help("add:\n[wan]\nbind = \"10.80.0.0/24\"\njoin = [\"s1.us-east.wan\"]");
                self.findings.push(finding);
                return None;
            }
            (_, None) => return None,
            (_, Some(_)) => {}
        }
        let seats = self.count("wan.seats").unwrap_or(3);
        if !(1..=7).contains(&seats) {
            self.error("wan.seats", "`wan.seats` is out of range").label =
                Some("allowed are 1 to 7".to_owned());
        }
        let port = self.port("wan.port").unwrap_or(8703);
        let advertise = self.ip("wan.advertise");
        let (address, allow) = self.endpoint("wan")?;
        if let Some(own) = advertise.filter(|own| !allow.iter().any(|net| net.contains(own))) {
            let allowed = self.origin("wan.allow");
            let finding = self.error(
                "wan.advertise",
                "`wan.allow` leaves this node's own advertised address out",
            );
            finding.label = Some(format!("{own} would be refused"));
            finding.also = Some((allowed, "the networks allowed".to_owned()));
            finding.help = Some(format!(
                "add \"{}\" or its network to `wan.allow`",
                IpNet::from(own)
            ));
        }
        if let Some(lan) = lan.filter(|lan| port != 0 && overlap(lan.address, address))
            && [lan.port, lan.stream_port].contains(&port)
        {
            self.error("wan.port", format!("port {port} is taken by [lan]"))
                .help = Some(
                "`lan.port`, `lan.stream_port` and `wan.port` are all UDP: give each its own"
                    .to_owned(),
            );
        }
        let join = self.names("wan.join").unwrap_or_default();
        Some(Wan {
            address,
            port,
            advertise,
            allow,
            datacenters: self.datacenters(),
            join,
            seats: u8::try_from(seats).unwrap_or(3),
        })
    }

    fn http(&mut self) -> Http {
        let http = Http {
            socket: self.path("http.socket"),
            bind: self.socket("http.bind").flatten(),
            tls: self.flag("http.tls").unwrap_or(false),
            plain_read: self.nets("http.plain_read").unwrap_or_default(),
            hosts: self.names("http.hosts").unwrap_or_default(),
        };
        let plain = !http.plain_read.is_empty();
        if http.tls && plain {
            let other = self.origin("http.tls");
            let finding = self.error(
                "http.plain_read",
                "`http.tls` and `http.plain_read` exclude each other",
            );
            finding.also = Some((other, "TLS is asked for".to_owned()));
            finding.help = Some("keep one of them".to_owned());
        }
        if let Some(bind) = http
            .bind
            .filter(|bind| !bind.ip().is_loopback() && !http.tls && !plain)
        {
            let finding = self.error(
                "http.bind",
                "the API would be open to the network in plaintext",
            );
            finding.label = Some(format!("{} is not loopback", bind.ip()));
            finding.help = Some(
                "add `tls = true`, or `plain_read = [\"10.80.0.0/16\"]` for reading only"
                    .to_owned(),
            );
        }
        http
    }

    /// The networks of single datacenters.
    fn datacenters(&mut self) -> BTreeMap<String, Vec<IpNet>> {
        let mut networks = BTreeMap::new();
        for (path, entry) in &self.layers.entries {
            let (Some(name), Value::Nets(nets)) =
                (path.strip_prefix("wan.datacenters."), &entry.value)
            else {
                continue;
            };
            if name.parse::<Label>().is_err() {
                let finding = Finding::error(
                    entry.origin.clone(),
                    format!("`{name}` cannot be the name of a datacenter"),
                );
                self.findings.push(finding);
            }
            networks.insert(name.to_owned(), nets.clone());
        }
        networks
    }

    /// Bursts keep their proportion to what may come in the long run.
    fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        let claims = &mut limits.claims;
        for (path, rate) in [
            ("limits.claims", &mut claims.verifications),
            ("limits.claims_per_peer", &mut claims.relay),
            ("limits.claims_per_signer", &mut claims.signer),
            ("limits.introductions", &mut claims.introductions),
            ("limits.datagrams_per_address", &mut limits.datagrams),
        ] {
            let Some(count) = self.count(path) else {
                continue;
            };
            match u32::try_from(count) {
                Ok(count @ 1..=1_000_000) => *rate = *rate * (f64::from(count) / rate.per_second),
                _ => {
                    self.error(path, format!("`{path}` is out of range")).label =
                        Some("allowed are 1 to 1000000 a second".to_owned());
                }
            }
        }
        limits
    }

    fn log_level(&mut self, log: &Log) {
        if let Err(error) = crate::logging::filter(&log.level) {
            let finding = self.error("log.level", "wrong value for `log.level`");
            finding.label = Some(error);
            finding.help = Some(
                "write error, warn, info, debug or trace, or info,pelago_node=debug".to_owned(),
            );
        }
    }
}

fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}
