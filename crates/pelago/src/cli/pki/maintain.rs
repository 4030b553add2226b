//! `pelago pki maintain`: keeps every certificate of a plan valid, so that nobody has to remember.

use super::{DUE, failure};
use crate::cli::words;
use crate::{
    agent::Signals,
    exit::{Exit, Failure},
    output,
    pki::unix_now,
};
use clap::Args;
use pelago_pki::{IssueRequest, PkiError};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Which certificates, and how often to look.
#[derive(Args, Clone, Debug)]
pub(crate) struct Maintain {
    /// Who gets which certificate
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// New certificates are valid for this long
    #[arg(long, value_name = "DURATION", default_value = "72h", value_parser = words::duration)]
    lifetime: Duration,
    /// Look again after this long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = words::duration)]
    every: Duration,
    /// End after one look
    #[arg(long)]
    once: bool,
    /// At the first look, renew what is not due yet as well
    #[arg(long)]
    renew_all: bool,
}

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    trust_domain: String,
    /// Where root and datacenter authorities are kept.
    authorities: PathBuf,
    #[serde(default)]
    node: Vec<Planned>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    name: String,
    datacenter: String,
    role: PlannedRole,
    zone: String,
    rack: String,
    /// Gets NAME.pem, NAME.key, ca.pem and crl/.
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PlannedRole {
    Server,
    Client,
    Operator,
}

/// Looks once, or until the process is told to end.
pub(crate) async fn run(args: &Maintain) -> Result<Exit, Failure> {
    let plan = read(&args.plan)?;
    let mut signals = Signals::new()?;
    look(&plan, args, args.renew_all)?;
    if args.once {
        return Ok(Exit::Ok);
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(args.every) => {}
            () = signals.end() => return Ok(Exit::Ok),
        }
        // A full disk or another command at work: the next look may go better, and there is time until the end.
        if let Err(failure) = look(&plan, args, false) {
            output::failure(&failure);
        }
    }
}

fn read(file: &Path) -> Result<Plan, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Check, format!("{}: {error}", file.display()))
    };
    let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
    toml::from_str(&text).map_err(|error| wrong(&error))
}

/// Makes what is missing, renews what is due, and puts authorities and revocation lists beside it.
fn look(plan: &Plan, args: &Maintain, all: bool) -> Result<(), Failure> {
    let dir = &plan.authorities;
    let now = unix_now();
    let datacenters: BTreeSet<_> = plan
        .node
        .iter()
        .map(|node| node.datacenter.clone())
        .collect();
    let datacenters: Vec<_> = datacenters.into_iter().collect();
    pelago_pki::init(dir, &plan.trust_domain, &datacenters, now).map_err(failure)?;
    for datacenter in &datacenters {
        if pelago_pki::needs_renewal(&dir.join(datacenter).join("ca.pem"), DUE, now)
            .map_err(failure)?
        {
            pelago_pki::renew_datacenter(dir, datacenter, now).map_err(failure)?;
            output::note(&format!("renewed the authority of {datacenter}"));
        }
    }
    pelago_pki::refresh_crls(dir, DUE, now).map_err(failure)?;
    for node in &plan.node {
        // Authorities first: a node must never hold a certificate under one that it does not know.
        spread(dir, &node.out)
            .map_err(|error| Failure::failed(format!("{}: {error}", node.out.display())))?;
        node.keep(dir, args.lifetime, all, now)?;
    }
    Ok(())
}

impl Planned {
    fn keep(&self, dir: &Path, lifetime: Duration, all: bool, now: u64) -> Result<(), Failure> {
        let cert = self.out.join(format!("{}.pem", self.name));
        let (made, what) = if !cert.exists() {
            // A key without a certificate is what an interrupted run leaves; nobody knows it.
            let _ = fs::remove_file(cert.with_extension("key"));
            (
                pelago_pki::issue(dir, &self.request(lifetime), now),
                "issued",
            )
        } else if all || pelago_pki::needs_renewal(&cert, DUE, now).map_err(failure)? {
            (
                pelago_pki::renew(dir, &cert, false, Some(lifetime), now),
                "renewed",
            )
        } else {
            return Ok(());
        };
        let leaf = match made {
            Ok(made) => made.leaf,
            Err(PkiError::Revoked) => {
                output::warn(&format!("{} is revoked and stays so", cert.display()));
                return Ok(());
            }
            Err(error) => return Err(failure(error)),
        };
        output::note(&format!(
            "{what} {}, valid until {}",
            leaf.name,
            crate::model::from_unix_seconds(leaf.not_after)
        ));
        let wanted = self.request(lifetime);
        if (
            &leaf.name.datacenter,
            &leaf.name.zone,
            &leaf.name.rack,
            leaf.name.role,
        ) != (&wanted.datacenter, &wanted.zone, &wanted.rack, wanted.role)
        {
            output::warn(&format!(
                "the plan differs from {}: remove that file to have it issued anew",
                cert.display()
            ));
        }
        Ok(())
    }

    fn request(&self, lifetime: Duration) -> IssueRequest {
        IssueRequest {
            datacenter: self.datacenter.clone(),
            zone: self.zone.clone(),
            rack: self.rack.clone(),
            role: match self.role {
                PlannedRole::Server => pelago_pki::Role::Server,
                PlannedRole::Client => pelago_pki::Role::Client,
                PlannedRole::Operator => pelago_pki::Role::Operator,
            },
            node: self.name.clone(),
            lifetime,
            out: Some(self.out.clone()),
        }
    }
}

/// Bundle and revocation lists, each replaced as a whole and only when it differs.
fn spread(dir: &Path, out: &Path) -> io::Result<()> {
    fs::create_dir_all(out.join("crl"))?;
    replace(&dir.join("ca.pem"), &out.join("ca.pem"))?;
    for entry in fs::read_dir(dir.join("crl"))? {
        let from = entry?.path();
        if let Some(name) = from
            .file_name()
            .filter(|_| from.extension().is_some_and(|it| it == "crl"))
        {
            replace(&from, &out.join("crl").join(name))?;
        }
    }
    Ok(())
}

fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|held| held == bytes) {
        return Ok(());
    }
    let new = to.with_extension("new");
    fs::write(&new, bytes)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(dir: &Path) -> Plan {
        let file = dir.join("pki.toml");
        let text = format!(
            "trust_domain = \"t.example\"\nauthorities = \"{0}/a\"\n[[node]]\nname = \"s1\"\ndatacenter = \"eu\"\n\
             role = \"server\"\nzone = \"a\"\nrack = \"r1\"\nout = \"{0}/s1\"\n",
            dir.display()
        );
        fs::write(&file, text).expect("written");
        read(&file).expect("a plan")
    }

    fn args() -> Maintain {
        Maintain {
            plan: PathBuf::new(),
            lifetime: Duration::from_secs(3600),
            every: Duration::from_secs(1),
            once: true,
            renew_all: false,
        }
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_not_due_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let plan = plan(dir.path());
        let cert = dir.path().join("s1/s1.pem");
        look(&plan, &args(), false).expect("issues");
        let first = fs::read(&cert).expect("a certificate");
        let key = fs::read(dir.path().join("s1/s1.key")).expect("a key");
        for made in ["s1/ca.pem", "s1/crl/root.crl", "s1/crl/eu.crl"] {
            assert!(dir.path().join(made).exists(), "{made}");
        }
        assert!(
            !dir.path().join("s1/root.key").exists(),
            "authorities' keys stay where they are"
        );
        look(&plan, &args(), false).expect("nothing to do");
        assert_eq!(fs::read(&cert).expect("a certificate"), first);
        look(&plan, &args(), true).expect("renews");
        assert_ne!(fs::read(&cert).expect("a certificate"), first);
        assert_eq!(
            fs::read(dir.path().join("s1/s1.key")).expect("a key"),
            key,
            "the same node"
        );
    }

    #[test]
    fn an_interrupted_issue_is_done_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let plan = plan(dir.path());
        look(&plan, &args(), false).expect("issues");
        fs::remove_file(dir.path().join("s1/s1.pem")).expect("removed");
        look(&plan, &args(), false).expect("issues again");
        assert!(dir.path().join("s1/s1.pem").exists());
    }
}
