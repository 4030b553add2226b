//! Certificates and revocation lists, as files and as peers send them.

use pelago_pki::{Policy, TrustStore};
use std::sync::OnceLock;

/// 2027-01-15, within the life of the authorities made here.
const NOW: u64 = 1_800_000_000;

/// Bytes that no authority signed are never taken for a certificate, an authority or a list, and never stop the reader.
/// The first byte chooses which of the three they claim to be.
///
/// # Panics
///
/// If anything is believed.
pub fn certificate(bytes: &[u8]) {
    let store = store();
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let generation = store.generation();
    match kind % 3 {
        0 => assert!(store.certify(bytes, NOW).is_err(), "a forged leaf"),
        1 => {
            let (certificate, crl) = bytes.split_at(bytes.len() / 2);
            let _ = store.admit_authority(certificate, crl, NOW);
        }
        _ => {
            let _ = store.admit_crl(bytes, NOW);
        }
    }
    assert_eq!(store.generation(), generation, "nothing was believed");
}

fn store() -> &'static TrustStore {
    static STORE: OnceLock<TrustStore> = OnceLock::new();
    STORE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let names = ["eu-west".to_owned()];
        pelago_pki::init(dir.path(), "fuzz.test", &names, NOW).expect("authorities");
        let (ca, crls) = (dir.path().join("ca.pem"), dir.path().join("crl"));
        TrustStore::load(&ca, Some(&crls), Policy::default()).expect("a store")
    })
}
