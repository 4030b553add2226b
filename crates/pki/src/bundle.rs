//! The files a node reads its trust from: a bundle of authorities and a directory of CRLs.

use std::fs;
use std::path::Path;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::cert::Authority;
use crate::files::FileError;
use crate::pem;

/// Certificates of a bundle, split into roots and datacenter authorities.
pub(crate) type Bundle = (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>);

/// Reads a bundle. What verifies as a root is one; everything else has to be an authority.
pub(crate) fn read(path: &Path) -> Result<Bundle, FileError> {
    let certificates = pem::read_all::<CertificateDer<'static>>(path, "certificate")?;
    Ok(certificates
        .into_iter()
        .partition(|der| Authority::root(der).is_ok()))
}

/// Reads every `*.crl` of a directory.
pub(crate) fn read_crls(
    directory: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let failed = |error: std::io::Error| FileError::io(directory, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "crl") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut crls = Vec::new();
    for path in paths {
        crls.extend(pem::read_all(&path, "CRL")?);
    }
    Ok(crls)
}
