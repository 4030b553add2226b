//! PEM text out of DER. Reading is `rustls-pki-types`' business; nothing we link writes it.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::files::{self, FileError};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One PEM block. Wiped when dropped, because it may hold a private key.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Sized once, so that growing leaves no copy of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(der.len() * 2 + 2 * label.len() + 64));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                let index = (bits >> (18 - 6 * digit)) & 0x3f;
                let padding = digit > group.len();
                text.push(if padding {
                    '='
                } else {
                    char::from(ALPHABET[index as usize])
                });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Every object of one kind in a PEM file; none at all is an error that says what was expected.
pub(crate) fn read_all<T: PemObject>(path: &Path, what: &str) -> Result<Vec<T>, FileError> {
    let bytes = files::read(path)?;
    let objects = T::pem_slice_iter(&bytes)
        .collect::<Result<Vec<T>, _>>()
        .map_err(|error| FileError::content(path, error))?;
    if objects.is_empty() {
        return Err(FileError::content(path, format!("no {what} in PEM in it")));
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::CertificateDer;

    #[test]
    fn what_is_written_is_read_back() {
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).collect();
            let text = encode("CERTIFICATE", &der);
            let back = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(back.as_ref(), der);
        }
    }
}
