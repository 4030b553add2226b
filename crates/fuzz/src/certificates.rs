//! Certificates and revocation lists, as files and as peers send them.

use pelago_pki::{Identity, IssueRequest, Policy, Role, TrustStore};
use std::{error::Error, fs, sync::OnceLock, time::Duration};

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

/// What authorities truly signed and this node has not seen yet, changed in some bytes, is never believed either: there is one form
/// of each certificate and list.
///
/// The first byte chooses a leaf, a newer list or another datacenter's authority with its list. Then come changes, three bytes each:
/// where, and what is flipped there; a byte with nothing to flip is left out, the high bit of a place turns the byte before it double.
///
/// # Panics
///
/// If anything but the genuine is believed.
pub fn genuine(bytes: &[u8]) {
    let news = news();
    let Some((kind, changes)) = bytes.split_first() else {
        return;
    };
    let originals: &[&[u8]] = match kind % 3 {
        0 => &[&news.leaf],
        1 => &[&news.list],
        _ => &[&news.authority, &news.authority_list],
    };
    let original = originals.concat();
    let mut changed = original.clone();
    let (triples, _) = changes.as_chunks::<3>();
    for [high, low, flip] in triples.iter().take(16) {
        let at = usize::from(u16::from_be_bytes([high & 0x7f, *low]));
        let at = at % changed.len().max(1);
        match changed.get(at).copied() {
            None => {}
            Some(byte) if high & 0x80 != 0 => changed.insert(at, byte ^ flip),
            Some(_) if *flip == 0 => drop(changed.remove(at)),
            Some(byte) => changed[at] = byte ^ flip,
        }
    }
    if changed == original {
        return;
    }
    let store = &news.store;
    let generation = store.generation();
    match kind % 3 {
        0 => assert!(store.certify(&changed, NOW).is_err(), "a changed leaf"),
        1 => assert!(store.admit_crl(&changed, NOW).is_err(), "a changed list"),
        _ => {
            let (certificate, list) = changed.split_at(news.authority.len().min(changed.len()));
            let told = store.admit_authority(certificate, list, NOW);
            assert!(told.is_err(), "a changed authority, or its changed list");
        }
    }
    assert_eq!(store.generation(), generation, "nothing was believed");
}

/// A store, and what it would believe and does not know.
struct News {
    store: TrustStore,
    leaf: Vec<u8>,
    list: Vec<u8>,
    authority: Vec<u8>,
    authority_list: Vec<u8>,
}

fn store() -> &'static TrustStore {
    &news().store
}

fn news() -> &'static News {
    static NEWS: OnceLock<News> = OnceLock::new();
    NEWS.get_or_init(|| made().expect("authorities"))
}

fn made() -> Result<News, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let names = ["eu-west".to_owned(), "us-east".to_owned()];
    pelago_pki::init(dir.path(), "fuzz.test", &names, NOW)?;
    let request = IssueRequest {
        datacenter: "eu-west".into(),
        zone: "a".into(),
        rack: "r1".into(),
        role: Role::Server,
        node: "one".into(),
        lifetime: Duration::from_secs(72 * 3600),
        out: None,
    };
    let issued = pelago_pki::issue(dir.path(), &request, NOW)?;
    let leaf = Identity::load(&issued.cert, &issued.key)?
        .leaf_der()
        .to_vec();
    let near = dir.path().join("near.pem");
    let read = |name: &str| fs::read_to_string(dir.path().join(name));
    fs::write(&near, read("root.pem")? + &read("eu-west/ca.pem")?)?;
    let crls = dir.path().join("crl");
    let store = TrustStore::load(&near, Some(&crls), Policy::default())?;
    pelago_pki::refresh_crls(dir.path(), 0.0, NOW)?;
    let all = TrustStore::load(&dir.path().join("ca.pem"), Some(&crls), Policy::default())?;
    let authorities = all.authorities();
    let of = |name: &str| {
        let mut found = authorities.iter().filter(|one| one.datacenter == name);
        found.next().ok_or("an authority")
    };
    let (eu, us) = (of("eu-west")?, of("us-east")?);
    let news = News {
        leaf,
        list: eu.crl.to_vec(),
        authority: us.certificate.to_vec(),
        authority_list: us.crl.to_vec(),
        store,
    };
    // Believed unchanged, by another store that stands where this one does.
    let other = TrustStore::load(&near, None, Policy::default())?;
    other.admit_crl(&all.root_crl().ok_or("a list")?, NOW)?;
    other.admit_crl(&news.list, NOW)?;
    other.admit_authority(&news.authority, &news.authority_list, NOW)?;
    other.certify(&news.leaf, NOW)?;
    Ok(news)
}
