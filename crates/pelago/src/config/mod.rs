//! Configuration: files, environment and flags become one checked [`Settings`], or every reason why not, at once.
//!
//! `agent`, `config check` and `config show` take the same way, so what one accepts the others do too.

mod check;
mod env;
pub(crate) mod finding;
pub(crate) mod host;
mod keys;
mod show;
mod source;
pub(crate) mod value;

use finding::{Finding, Origin, Source};
use ipnet::IpNet;
use source::Layers;
use std::{net::SocketAddr, path::PathBuf};

/// What the operator gave, lowest first.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Files or directories.
    pub(crate) paths: Vec<PathBuf>,
    /// Environment variables; those that do not begin with `PELAGO_` are ignored.
    pub(crate) variables: Vec<(String, String)>,
    /// `key=value`.
    pub(crate) flags: Vec<String>,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// For the node.
    pub(crate) node: pelago_node::config::Config,
    /// For the API.
    pub(crate) http: Http,
    /// For the log.
    pub(crate) log: Log,
}

/// Where and for whom the API listens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Http {
    /// Unix socket, for everything.
    pub(crate) socket: Option<PathBuf>,
    /// TCP, for reading.
    pub(crate) bind: Option<SocketAddr>,
    /// Whether TCP speaks TLS and asks for client certificates.
    pub(crate) tls: bool,
    /// Sources that may read in plaintext, beside loopback.
    pub(crate) plain_read: Vec<IpNet>,
    /// Host names under which plaintext requests may arrive, beside addresses, `localhost` and the node's own names.
    pub(crate) hosts: Vec<String>,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// A level, or a filter such as `info,pelago_node=debug`.
    pub(crate) level: String,
    /// `auto`, `text` or `json`.
    pub(crate) format: String,
}

/// What came of reading and checking.
#[derive(Debug)]
pub(crate) struct Outcome {
    layers: Layers,
    findings: Vec<Finding>,
    settings: Option<Settings>,
}

/// Reads and checks everything; opens files, binds nothing.
pub(crate) fn load(inputs: Inputs) -> Outcome {
    load_on(inputs, &host::interfaces())
}

fn load_on(inputs: Inputs, interfaces: &[host::Interface]) -> Outcome {
    let mut layers = Layers::default();
    for path in &inputs.paths {
        layers.add_path(path);
    }
    env::add(&mut layers, inputs.variables.into_iter());
    for flag in &inputs.flags {
        layers.add_flag(flag);
    }
    check_on(layers, interfaces)
}

/// A file's text on a made-up host: whether it is accepted, how many reasons speak against it, and how it is shown. Everything is
/// rendered, as the operator would see it.
#[cfg(feature = "fuzz")]
pub(crate) fn read(text: &str) -> (bool, usize, String) {
    let mut layers = Layers::default();
    layers.add_text("/nowhere/node.toml".into(), text.to_owned());
    let outcome = check_on(layers, &host::fixture());
    let reports = outcome.report(false);
    assert_eq!(reports.len(), outcome.findings.len());
    let shown = outcome.show(false);
    let _ = outcome.show(true);
    (outcome.settings().is_some(), outcome.errors(), shown)
}

fn check_on(mut layers: Layers, interfaces: &[host::Interface]) -> Outcome {
    let mut findings = std::mem::take(&mut layers.findings);
    let settings = check::check(&layers, interfaces, &mut findings);
    // As a reader meets them; what has no place in a file comes last.
    findings.sort_by_key(|finding| match &finding.origin {
        Origin::File { source, span } => (*source, span.start),
        Origin::Default | Origin::Env(_) | Origin::Flag(_) => (usize::MAX, 0),
    });
    Outcome {
        layers,
        findings,
        settings,
    }
}

impl Outcome {
    /// The settings, if nothing is wrong.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref().filter(|_| self.errors() == 0)
    }

    /// How many things are wrong.
    pub(crate) fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.fatal).count()
    }

    /// Every finding as a block of text, in the order of the files.
    pub(crate) fn report(&self, colour: bool) -> Vec<String> {
        self.findings
            .iter()
            .map(|finding| finding.render(self.sources(), colour))
            .collect()
    }

    /// The effective values, as a file that would produce them.
    pub(crate) fn show(&self, origin: bool) -> String {
        show::show(&self.layers, origin)
    }

    fn sources(&self) -> &[Source] {
        &self.layers.sources
    }
}

#[cfg(test)]
mod tests;
