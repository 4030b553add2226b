//! The revocation lists and authorities that survive a restart, beside the state file and in the same frame.
//!
//! Whoever restarts must not believe an older list because its configuration still has one, nor forget a datacenter that
//! introduced itself. What is read is judged like everything that arrives: a file that was tampered with adds nothing.

use crate::store::{LoadError, Store, replace};
use pelago_pki::{Admission, ListEntry, TrustStore};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

const FILE: &str = "lists";
/// Largest file that is read: as many lists of the largest size as there can be authorities and roots.
const MAX_FILE: u64 =
    ((pelago_pki::MAX_AUTHORITIES + pelago_pki::MAX_ROOTS) * (pelago_pki::MAX_CRL + 2048)) as u64;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    trust_domain: String,
    /// Certificates of authorities, none for a root, and their lists.
    lists: Vec<(Option<ByteBuf>, ByteBuf)>,
}

impl Kept {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// Gives a store what was kept, as far as it accepts it. Says how much of it was news to it.
    pub(crate) fn recall(&self, store: &TrustStore, now: u64) -> Result<usize, LoadError> {
        let file = match File::open(self.dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        let body: Body =
            ciborium::from_reader(Store::within(&bytes)?).map_err(|_| LoadError::Damaged)?;
        if body.trust_domain != store.trust_domain() {
            return Err(LoadError::Foreign);
        }
        let mut news = 0;
        // Roots first: without their lists no authority is judged.
        let (of_roots, others): (Vec<_>, Vec<_>) =
            body.lists.iter().partition(|(ca, _)| ca.is_none());
        for (certificate, crl) in of_roots.into_iter().chain(others) {
            let admitted = match certificate {
                Some(certificate) => store.admit_authority(certificate, crl, now),
                None => store.admit_crl(crl, now),
            };
            match admitted {
                Ok(Admission::Known) => {}
                Ok(_) => news += 1,
                // The configuration may have a newer one, or another root by now.
                Err(refusal) => tracing::debug!(%refusal, "a kept list is of no use any more"),
            }
        }
        Ok(news)
    }

    /// Replaces what is kept, durably.
    pub(crate) fn save(&self, trust_domain: &str, lists: &[ListEntry]) -> io::Result<()> {
        let bytes = |bytes: &[u8]| ByteBuf::from(bytes.to_vec());
        let body = Body {
            trust_domain: trust_domain.into(),
            lists: lists
                .iter()
                .map(|list| (list.certificate.as_deref().map(bytes), bytes(&list.crl)))
                .collect(),
        };
        let mut encoded = Vec::new();
        ciborium::into_writer(&body, &mut encoded).map_err(io::Error::other)?;
        let bytes = Store::around(&encoded)?;
        // At a start it is mostly what lies there already.
        if fs::read(self.dir.join(FILE)).is_ok_and(|kept| kept == bytes) {
            return Ok(());
        }
        replace(&self.dir, FILE, &bytes)
    }
}
