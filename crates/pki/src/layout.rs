//! Where the issuing half keeps its files:
//!
//! ```text
//! DIR/root.pem  root.key         the federation's root; the key may be taken offline
//! DIR/ca.pem                     bundle for the nodes: root and every datacenter authority
//! DIR/crl/root.crl  <dc>.crl     one CRL per issuer, PEM
//! DIR/<dc>/ca.pem  ca.key        a datacenter's authority
//! DIR/<dc>/issued                what it has issued (serial, end, node id, node)
//! DIR/<dc>/<node>.pem  <node>.key    leaf and authority; private key, 0600
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::authority::PkiError;
use crate::files::FileError;
use crate::name::check_label;

/// Names of datacenters whose files would be mistaken for something else.
const RESERVED_DATACENTERS: [&str; 2] = ["crl", "root"];
/// Names of nodes whose files would be mistaken for the authority's.
const RESERVED_NODES: [&str; 1] = ["ca"];
/// How long a command waits for another, and how old a lock must be to count as abandoned.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_ABANDONED: Duration = Duration::from_secs(60);

/// The files of one directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub(crate) fn crls(&self) -> PathBuf {
        self.0.join("crl")
    }

    pub(crate) fn crl(&self, issuer: &str) -> PathBuf {
        self.crls().join(format!("{issuer}.crl"))
    }

    pub(crate) fn datacenter(&self, datacenter: &str) -> PathBuf {
        self.0.join(datacenter)
    }

    pub(crate) fn authority(&self, datacenter: &str) -> PathBuf {
        self.datacenter(datacenter).join("ca.pem")
    }

    pub(crate) fn authority_key(&self, datacenter: &str) -> PathBuf {
        self.datacenter(datacenter).join("ca.key")
    }

    pub(crate) fn ledger(&self, datacenter: &str) -> PathBuf {
        self.datacenter(datacenter).join("issued")
    }

    /// The datacenters that have an authority here, sorted.
    pub(crate) fn datacenters(&self) -> Result<Vec<String>, FileError> {
        let failed = |error: std::io::Error| FileError::io(&self.0, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().into_string()
                && self.authority(&name).exists()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Lets one command at a time change the directory: two of them could give two CRLs one number.
    pub(crate) fn lock(&self) -> Result<Lock, PkiError> {
        let path = self.0.join(".lock");
        let started = Instant::now();
        loop {
            let created = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path);
            match created {
                Ok(_) => return Ok(Lock(path)),
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(FileError::io(&path, &error).into());
                }
                Err(_) if started.elapsed() > LOCK_WAIT => return Err(PkiError::Locked(path)),
                Err(_) if abandoned(&path) => {
                    let _ = fs::remove_file(&path);
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

fn abandoned(lock: &Path) -> bool {
    fs::metadata(lock)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LOCK_ABANDONED))
}

/// Held while a command changes the directory.
#[derive(Debug)]
pub(crate) struct Lock(PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn check_datacenter(name: &str) -> Result<(), PkiError> {
    check_label("datacenter", name)?;
    if RESERVED_DATACENTERS.contains(&name) {
        return Err(PkiError::Reserved(name.to_owned()));
    }
    Ok(())
}

pub(crate) fn check_node(name: &str) -> Result<(), PkiError> {
    check_label("node", name)?;
    if RESERVED_NODES.contains(&name) {
        return Err(PkiError::Reserved(name.to_owned()));
    }
    Ok(())
}
