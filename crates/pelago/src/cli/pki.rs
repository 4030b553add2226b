//! `pelago pki`: authorities, certificates and revocation lists in a directory.

mod maintain;
mod topology;

use crate::{
    exit::{Exit, Failure},
    output,
    pki::unix_now,
};
use clap::{Args, Subcommand, ValueEnum};
use pelago_pki::{FileError, IssueRequest, Issued, PkiError, Target};
use std::{
    fmt::Display,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Certificates are renewed when this much of their life is over.
const DUE: f64 = 2.0 / 3.0;

/// Where the authorities are.
#[derive(Args, Clone, Debug)]
pub(crate) struct Dir {
    /// Directory of the authorities
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Server,
    Client,
    /// A person or automation, never a member
    Operator,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Pki {
    /// Make a root and an authority per datacenter, each with its first revocation list; adds what is missing
    Init {
        #[command(flatten)]
        dir: Dir,
        /// Name of the whole federation
        #[arg(long, value_name = "NAME", default_value = "pelago.internal")]
        trust_domain: String,
        /// A datacenter; may be repeated
        #[arg(long, value_name = "NAME", required = true)]
        datacenter: Vec<String>,
    },
    /// Make a key and a certificate for a node
    Issue(Issue),
    /// Renew a certificate in place
    Renew {
        #[command(flatten)]
        dir: Dir,
        /// Certificates, or names of datacenters with --authority
        #[arg(required = true, value_name = "CERT")]
        certs: Vec<PathBuf>,
        /// With a new key, which makes it a new node
        #[arg(long, conflicts_with = "authority")]
        rekey: bool,
        /// Only if two thirds of its life are over
        #[arg(long)]
        if_due: bool,
        /// Valid for this long [default: as before]
        #[arg(long, value_name = "DURATION", value_parser = super::words::duration)]
        lifetime: Option<Duration>,
        /// Renew these datacenters' authorities
        #[arg(long, conflicts_with_all = ["if_due", "lifetime"])]
        authority: bool,
    },
    /// Revoke a node's certificates, or a whole datacenter's authority
    Revoke {
        #[command(flatten)]
        dir: Dir,
        /// The node whose certificate this is
        #[arg(
            long,
            value_name = "FILE",
            conflicts_with = "datacenter",
            required_unless_present = "datacenter"
        )]
        cert: Option<PathBuf>,
        /// Its datacenter; alone: the datacenter's authority and all it issued
        #[arg(long, value_name = "NAME")]
        datacenter: Option<String>,
        /// Its name
        #[arg(long, value_name = "NAME", requires = "datacenter")]
        node: Option<String>,
    },
    /// Sign the revocation lists anew
    Crl {
        #[command(flatten)]
        dir: Dir,
        /// Only those of which two thirds of the life are over
        #[arg(long)]
        if_due: bool,
    },
    /// Issue and renew every certificate of a plan, and go on doing so
    Maintain(maintain::Maintain),
    /// Show what is in certificates and revocation lists
    Inspect {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a certificate the way a node would
    Verify {
        #[arg(required = true, value_name = "CERT")]
        certs: Vec<PathBuf>,
        /// Root and datacenter authorities
        #[arg(long, value_name = "FILE", default_value = "pki/ca.pem")]
        ca: PathBuf,
        /// Revocation lists
        #[arg(long, value_name = "DIR", default_value = "pki/crl")]
        crls: PathBuf,
    },
}

/// For whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Issue {
    #[command(flatten)]
    dir: Dir,
    /// Its datacenter
    #[arg(long, value_name = "NAME")]
    datacenter: String,
    /// Its name
    #[arg(long, value_name = "NAME")]
    node: String,
    #[arg(long, value_enum)]
    role: Role,
    /// Its zone; may come from --address
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Its rack; may come from --address
    #[arg(long, value_name = "NAME")]
    rack: Option<String>,
    /// Look zone and rack up by this address in the [topology] of pki.toml
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The map of networks to locations [default: pki.toml in the directory]
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Valid for this long
    #[arg(long, value_name = "DURATION", default_value = "72h", value_parser = super::words::duration)]
    lifetime: Duration,
    /// Where to put NODE.pem and NODE.key [default: the datacenter's directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(command: Pki) -> Result<Exit, Failure> {
    let now = unix_now();
    match command {
        Pki::Init {
            dir,
            trust_domain,
            datacenter,
        } => {
            let done =
                pelago_pki::init(&dir.dir, &trust_domain, &datacenter, now).map_err(failure)?;
            if done.new_root {
                output::line(&format!(
                    "root of {trust_domain}: {}",
                    dir.dir.join("root.pem").display()
                ));
                output::note("keep root.key away from every node: who holds it is the federation");
            }
            for name in &done.new_datacenters {
                output::line(&format!(
                    "authority of {name}: {}",
                    dir.dir.join(name).join("ca.pem").display()
                ));
            }
            for name in &done.kept_datacenters {
                output::note(&format!("{name} is there already and stays as it is"));
            }
            output::line(&format!(
                "for the nodes: {} and {}",
                dir.dir.join("ca.pem").display(),
                dir.dir.join("crl").display()
            ));
        }
        Pki::Issue(issue) => issued(
            &pelago_pki::issue(&issue.dir.dir.clone(), &issue.request()?, now).map_err(failure)?,
        ),
        Pki::Renew {
            dir,
            certs,
            authority: true,
            ..
        } => {
            for name in &certs {
                let end = pelago_pki::renew_datacenter(&dir.dir, &name.to_string_lossy(), now)
                    .map_err(failure)?;
                output::line(&format!(
                    "authority of {}: valid until {}",
                    name.display(),
                    crate::model::from_unix_seconds(end)
                ));
            }
        }
        Pki::Renew {
            dir,
            certs,
            rekey,
            if_due,
            lifetime,
            ..
        } => {
            for cert in &certs {
                if if_due && !pelago_pki::needs_renewal(cert, DUE, now).map_err(failure)? {
                    output::note(&format!("{} is not due yet", cert.display()));
                    continue;
                }
                issued(&pelago_pki::renew(&dir.dir, cert, rekey, lifetime, now).map_err(failure)?);
            }
        }
        Pki::Revoke {
            dir,
            cert,
            datacenter,
            node,
        } => {
            let target = match (cert, datacenter, node) {
                (Some(cert), _, _) => Target::Certificate(cert),
                (None, Some(datacenter), Some(node)) => Target::Node { datacenter, node },
                (None, Some(datacenter), None) => Target::Datacenter(datacenter),
                (None, None, _) => {
                    return Err(Failure::new(
                        Exit::Usage,
                        "name a --cert, or a --datacenter and --node",
                    ));
                }
            };
            let crl = pelago_pki::revoke(&dir.dir, &target, now).map_err(failure)?;
            let certificates = super::words::many(crl.revoked.len(), "certificate");
            output::line(&format!(
                "{certificates} revoked by list {} of {}: {}",
                crl.number,
                crl.issuer,
                crl.path.display()
            ));
            output::note(&format!(
                "hand the list to any agent, which spreads it: pelago revoke {}",
                crl.path.display()
            ));
        }
        Pki::Crl { dir, if_due } => {
            let fraction = if if_due { DUE } else { 0.0 };
            for crl in pelago_pki::refresh_crls(&dir.dir, fraction, now).map_err(failure)? {
                output::line(&format!(
                    "list {} of {}: {}",
                    crl.number,
                    crl.issuer,
                    crl.path.display()
                ));
            }
        }
        Pki::Maintain(args) => return super::serving()?.block_on(maintain::run(&args)),
        Pki::Inspect { files, json } => return inspect(&files, json),
        Pki::Verify { certs, ca, crls } => return verify(&certs, &ca, &crls),
    }
    Ok(Exit::Ok)
}

impl Issue {
    fn request(self) -> Result<IssueRequest, Failure> {
        let place = match self.address {
            None => topology::Place::default(),
            Some(address) => {
                let file = self
                    .topology
                    .unwrap_or_else(|| self.dir.dir.join("pki.toml"));
                topology::find(&file, address, &self.datacenter)?
            }
        };
        let need = |what: &str, given: Option<String>| {
            given.ok_or_else(|| {
                Failure::new(Exit::Usage, format!("the {what} is missing"))
                    .line(format!("add --{what}, or --address"))
            })
        };
        Ok(IssueRequest {
            zone: need("zone", self.zone.or(place.zone))?,
            rack: need("rack", self.rack.or(place.rack))?,
            datacenter: self.datacenter,
            role: match self.role {
                Role::Server => pelago_pki::Role::Server,
                Role::Client => pelago_pki::Role::Client,
                Role::Operator => pelago_pki::Role::Operator,
            },
            node: self.node,
            lifetime: self.lifetime,
            out: self.out,
        })
    }
}

fn issued(made: &Issued) {
    let end = crate::model::from_unix_seconds(made.leaf.not_after);
    output::line(&format!(
        "{}: {} valid until {end}",
        made.leaf.name,
        made.cert.display()
    ));
    output::note(&format!("private key: {}", made.key.display()));
}

fn inspect(files: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    for file in files {
        let found = pelago_pki::inspect(file).map_err(failure)?;
        let value =
            serde_json::to_value(&found).map_err(|error| Failure::failed(error.to_string()))?;
        if json {
            output::line(&value.to_string());
            continue;
        }
        for document in value.as_array().into_iter().flatten() {
            output::line(&format!("{}:", file.display()));
            for (key, value) in document.as_object().into_iter().flatten() {
                let text = match value {
                    serde_json::Value::Null => continue,
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                output::line(&format!("  {:<14} {text}", key.replace('_', " ")));
            }
        }
    }
    Ok(Exit::Ok)
}

fn verify(certs: &[PathBuf], ca: &Path, crls: &Path) -> Result<Exit, Failure> {
    let mut sound = true;
    for cert in certs {
        let checks = pelago_pki::verify_file(ca, crls, cert, unix_now()).map_err(failure)?;
        output::line(&format!("{}:", cert.display()));
        for check in checks {
            sound &= check.ok;
            let sign = if check.ok {
                output::tint("●", "32", output::colour())
            } else {
                output::tint("✕", "31", output::colour())
            };
            output::line(&format!("  {sign} {:<14} {}", check.name, check.detail));
        }
    }
    Ok(if sound { Exit::Ok } else { Exit::Check })
}

fn failure(error: impl Display + 'static) -> Failure {
    let failed = Failure::failed(error.to_string());
    let any: &dyn std::any::Any = &error;
    match any.downcast_ref::<PkiError>() {
        Some(PkiError::UnknownDatacenter(_)) => Failure {
            exit: Exit::NotFound,
            ..failed
        },
        Some(PkiError::Name(_) | PkiError::Lifetime | PkiError::Reserved(_)) => Failure {
            exit: Exit::Usage,
            ..failed
        },
        Some(PkiError::File(FileError::Exists(path)))
            if path.extension().is_some_and(|end| end == "pem") =>
        {
            failed.line(format!("to renew it: pelago pki renew {}", path.display()))
        }
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_issues_again_is_told_how_to_renew() {
        let exists = |path: &str| failure(PkiError::File(FileError::Exists(path.into())));
        assert_eq!(
            exists("pki/west/s1.pem").lines,
            ["to renew it: pelago pki renew pki/west/s1.pem"]
        );
        assert!(exists("pki/west/s1.key").lines.is_empty());
    }
}
