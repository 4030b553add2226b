//! Datacenter authorities that a node learns while it runs, and roots that come and go.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::fs;

use common::{DOMAIN, Federation, HOUR, NOW, at};
use pelago_pki::{
    Admission, MAX_AUTHORITIES, MAX_AUTHORITY, MAX_CRL, Policy, Refusal, Role, StoreError,
    TrustStore, init, renew_datacenter,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};

const DC: &str = "dc1";

fn ca_params(datacenter: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = at(NOW - 300);
    params.not_after = at(NOW + 365 * 24 * HOUR);
    params.serial_number = Some(SerialNumber::from_slice(&[0x42; 16]));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, datacenter);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(permitted(&[&format!("{datacenter}.{DOMAIN}")]));
    params
}

fn permitted(names: &[&str]) -> NameConstraints {
    let subtree = |name: &&str| GeneralSubtree::DnsName((*name).to_owned());
    NameConstraints {
        permitted_subtrees: names.iter().map(subtree).collect(),
        excluded_subtrees: Vec::new(),
    }
}

/// An authority signed by the federation's own root, with its first CRL.
fn forge(
    federation: &Federation,
    datacenter: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (Vec<u8>, Vec<u8>) {
    let mut params = ca_params(datacenter);
    change(&mut params);
    let key = common::ed25519();
    let ca = params.signed_by(&key, &federation.stolen_root()).unwrap();
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    (ca.der().to_vec(), first_crl(&Issuer::new(params, key)))
}

fn first_crl(issuer: &Issuer<'_, KeyPair>) -> Vec<u8> {
    let params = rcgen::CertificateRevocationListParams {
        this_update: at(NOW),
        next_update: at(NOW + HOUR),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().der().to_vec()
}

fn admit(change: impl FnOnce(&mut CertificateParams)) -> Result<Admission, Refusal> {
    let federation = Federation::new(NOW, &[DC]);
    let (ca, crl) = forge(&federation, "dc9", change);
    federation.store().admit_authority(&ca, &crl, NOW)
}

#[test]
fn a_datacenter_that_nobody_has_heard_of_is_learnt() {
    let federation = Federation::new(NOW, &[DC, "dc2"]);
    let store = federation.store_of(&[DC]);
    let issued = federation.issue("dc2", "s1", Role::Server);
    let leaf = common::first_certificate(&issued.cert);
    assert_eq!(store.certify(&leaf, NOW), Err(Refusal::UnknownIssuer));

    let (ca, crl) = (federation.authority("dc2"), federation.crl("dc2"));
    assert_eq!(store.admit_authority(&ca, &crl, NOW), Ok(Admission::New));
    assert_eq!(store.admit_authority(&ca, &crl, NOW), Ok(Admission::Known));
    assert_eq!(store.certify(&leaf, NOW).unwrap().name.datacenter, "dc2");
    let entries = store.authorities();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].datacenter, "dc2");
    assert_eq!(entries[1].certificate.as_ref(), ca.as_ref());
    assert_eq!(entries[1].crl.as_ref(), crl.as_ref());

    let newer = federation.revoke(&issued).der;
    assert_eq!(
        store.admit_authority(&ca, &newer, NOW),
        Ok(Admission::NewCrl)
    );
    assert_eq!(store.certify(&leaf, NOW), Err(Refusal::Revoked));
    // An old list in good faith is not an attack, and not a way back either.
    assert_eq!(store.admit_authority(&ca, &crl, NOW), Ok(Admission::Known));
    assert_eq!(store.certify(&leaf, NOW), Err(Refusal::Revoked));
}

#[test]
fn clones_see_what_one_of_them_learns() {
    let federation = Federation::new(NOW, &[DC, "dc2"]);
    let store = federation.store_of(&[DC]);
    let other = store.clone();
    let (ca, crl) = (federation.authority("dc2"), federation.crl("dc2"));
    store.admit_authority(&ca, &crl, NOW).unwrap();
    assert_eq!(other.authorities().len(), 2);
    assert_eq!(other.generation(), store.generation());
}

#[test]
fn a_forged_authority_that_is_right_in_everything_is_admitted() {
    assert_eq!(admit(|_| {}), Ok(Admission::New));
}

#[test]
fn an_authority_without_or_with_other_constraints_is_refused() {
    let cases: [Option<NameConstraints>; 6] = [
        None,
        Some(permitted(&[])),
        Some(permitted(&["dc9.example.test", "dc1.example.test"])),
        Some(permitted(&["dc1.example.test"])),
        Some(permitted(&["example.test"])),
        Some(NameConstraints {
            excluded_subtrees: permitted(&["x.dc9.example.test"]).permitted_subtrees,
            ..permitted(&["dc9.example.test"])
        }),
    ];
    for (index, constraints) in cases.into_iter().enumerate() {
        let judged = admit(|params| params.name_constraints = constraints);
        assert_eq!(judged, Err(Refusal::Constraint), "case {index}");
    }
    let foreign = admit(|params| params.name_constraints = Some(permitted(&["dc9.other.test"])));
    assert_eq!(foreign, Err(Refusal::WrongTrustDomain));
}

#[test]
fn an_authority_that_may_do_more_is_refused() {
    let deep = admit(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    assert_eq!(deep, Err(Refusal::ChainLength));
    let endless = admit(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(endless, Err(Refusal::ChainLength));
    let signing = admit(|params| params.key_usages.push(KeyUsagePurpose::DigitalSignature));
    assert_eq!(signing, Err(Refusal::Usage));
    let mute = admit(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    assert_eq!(mute, Err(Refusal::Usage));
    let named = admit(|params| params.subject_alt_names = common::names("dc9", "s1"));
    assert_eq!(named, Err(Refusal::Extension));
    let leaf = admit(|params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.name_constraints = None;
    });
    assert_eq!(leaf, Err(Refusal::WrongKind));
    let large = admit(|params| {
        let padding = CustomExtension::from_oid_content(&[1, 2, 3], vec![0; MAX_AUTHORITY]);
        params.custom_extensions.push(padding);
    });
    assert_eq!(large, Err(Refusal::TooLarge));
}

#[test]
fn an_authority_is_judged_in_time() {
    assert_eq!(
        admit(|params| params.not_after = at(NOW - 1)),
        Err(Refusal::Expired)
    );
    assert_eq!(
        admit(|params| params.not_before = at(NOW + 1)),
        Err(Refusal::NotYetValid)
    );
}

#[test]
fn an_authority_must_be_signed_by_a_root_of_ours() {
    let (ours, theirs) = (Federation::new(NOW, &[DC]), Federation::new(NOW, &["dc9"]));
    let store = ours.store();
    let (ca, crl) = (theirs.authority("dc9"), theirs.crl("dc9"));
    let judged = store.admit_authority(&ca, &crl, NOW);
    assert_eq!(judged, Err(Refusal::UnknownIssuer));
    // Nor by another datacenter's authority.
    let params = ca_params("dc9");
    let key = common::ed25519();
    let ca = params.signed_by(&key, &ours.stolen(DC)).unwrap();
    let crl = first_crl(&Issuer::new(params, key));
    let judged = store.admit_authority(ca.der(), &crl, NOW);
    assert_eq!(judged, Err(Refusal::UnknownIssuer));
}

#[test]
fn an_authority_needs_its_own_list() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    let (ca, _) = forge(&federation, "dc9", |_| {});
    let (_, same_name) = forge(&federation, "dc9", |_| {});
    let judged = store.admit_authority(&ca, &same_name, NOW);
    assert_eq!(judged, Err(Refusal::BadSignature));
    let judged = store.admit_authority(&ca, &federation.crl(DC), NOW);
    assert_eq!(judged, Err(Refusal::UnknownIssuer));
    let judged = store.admit_authority(&ca, &[], NOW);
    assert_eq!(judged, Err(Refusal::Malformed));
    let judged = store.admit_authority(&ca, &vec![0; MAX_CRL + 1], NOW);
    assert_eq!(judged, Err(Refusal::TooLarge));
    assert_eq!(store.authorities().len(), 1);
}

#[test]
fn the_table_of_authorities_is_bounded() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    for index in 1..MAX_AUTHORITIES {
        let (ca, crl) = forge(&federation, &format!("x{index}"), |_| {});
        let judged = store.admit_authority(&ca, &crl, NOW);
        assert_eq!(judged, Ok(Admission::New));
    }
    let (ca, crl) = forge(&federation, "last", |params| {
        params.not_after = at(NOW + 1000 * 24 * HOUR);
    });
    assert_eq!(store.admit_authority(&ca, &crl, NOW), Err(Refusal::Full));
    assert_eq!(store.authorities().len(), MAX_AUTHORITIES);
    // Those that have ended make room.
    let later = NOW + 366 * 24 * HOUR;
    let admitted = store.admit_authority(&ca, &crl, later);
    assert_eq!(admitted, Ok(Admission::New));
    assert_eq!(store.authorities().len(), 1);
}

#[test]
fn a_renewed_authority_keeps_its_leaves_and_its_list() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    let old = federation.authority(DC);
    let later = NOW + 300 * 24 * HOUR;
    renew_datacenter(federation.path(), DC, later).unwrap();
    let new = federation.authority(DC);
    assert_ne!(old, new);
    let issued = pelago_pki::issue(
        federation.path(),
        &Federation::request(DC, "s1", Role::Server),
        later,
    );
    let leaf = common::first_certificate(&issued.unwrap().cert);
    // Those who know the old one accept what the new one issued, until the old one ends.
    assert!(store.certify(&leaf, later).is_ok());
    let crl = federation.crl(DC);
    let admitted = store.admit_authority(&new, &crl, later);
    assert_eq!(admitted, Ok(Admission::New));
    let much_later = NOW + 400 * 24 * HOUR;
    let issued = pelago_pki::issue(
        federation.path(),
        &Federation::request(DC, "s2", Role::Server),
        much_later,
    );
    let leaf = common::first_certificate(&issued.unwrap().cert);
    assert!(store.certify(&leaf, much_later).is_ok());
    let behind = federation.store_of(&[]);
    behind.admit_authority(&old, &crl, NOW).unwrap();
    assert_eq!(
        behind.certify(&leaf, much_later),
        Err(Refusal::UnknownIssuer)
    );
}

#[test]
fn a_roots_end_is_the_end_of_everything_below() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    let end = NOW + 10 * 365 * 24 * HOUR;
    // An authority that would outlive its root, known in time; webpki ignores a root's dates.
    let mut params = ca_params("dc9");
    params.not_after = at(end + HOUR);
    let key = common::ed25519();
    let ca = params.signed_by(&key, &federation.stolen_root()).unwrap();
    let issuer = Issuer::new(params, key);
    let crl = first_crl(&issuer);
    let admitted = store.admit_authority(ca.der(), &crl, NOW);
    assert_eq!(admitted, Ok(Admission::New));
    let leaf = common::leaf_params(end, "dc9");
    let leaf = leaf.signed_by(&common::ed25519(), &issuer).unwrap();
    assert!(store.certify(leaf.der(), end).is_ok());
    assert_eq!(store.certify(leaf.der(), end + 1), Err(Refusal::Expired));
    let (ca, crl) = forge(&federation, "dc8", |params| {
        params.not_after = at(end + HOUR)
    });
    let admitted = store.admit_authority(&ca, &crl, end + 1);
    assert_eq!(admitted, Err(Refusal::Expired));
}

#[test]
fn an_expired_root_list_admits_authorities_unless_the_policy_is_closed() {
    let federation = Federation::new(NOW, &[DC]);
    let later = NOW + 366 * 24 * HOUR;
    let (ca, crl) = forge(&federation, "dc9", |params| {
        params.not_after = at(later + HOUR)
    });
    let closed = federation.store_with(Policy {
        fail_closed: true,
        ..Policy::default()
    });
    let refused = closed.admit_authority(&ca, &crl, later);
    assert_eq!(refused, Err(Refusal::RevocationExpired));
    let admitted = federation.store().admit_authority(&ca, &crl, later);
    assert_eq!(admitted, Ok(Admission::New));
}

#[test]
fn during_a_root_rollover_both_roots_hold_and_the_cluster_id_stays() {
    let (old, new) = (Federation::new(NOW, &[DC]), Federation::new(NOW, &["dc2"]));
    let before = old.store();
    let roots = vec![old.root(), new.root()];
    let authorities = vec![old.authority(DC), new.authority("dc2")];
    // Both roots have the same name; the signature tells their lists apart.
    let crls = vec![
        old.crl("root"),
        new.crl("root"),
        old.crl(DC),
        new.crl("dc2"),
    ];
    let both = TrustStore::new(DOMAIN, roots, authorities, crls, Policy::default()).unwrap();
    for (federation, datacenter) in [(&old, DC), (&new, "dc2")] {
        let issued = federation.issue(datacenter, "s1", Role::Server);
        let leaf = common::first_certificate(&issued.cert);
        assert!(both.certify(&leaf, NOW).is_ok());
    }
    assert_eq!(both.root_crls().len(), 2);
    assert_eq!(both.cluster_id(), before.cluster_id());
    assert_eq!(both.cluster_id(), new.store().cluster_id());
}

#[test]
fn reloading_files_keeps_what_was_learnt_and_never_goes_back() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let leaf = common::first_certificate(&issued.cert);
    let store = federation.store();
    let reload = || store.reload(&federation.bundle(), Some(&federation.crls()));
    assert_eq!(reload(), Ok(false));

    let (ca, crl) = forge(&federation, "dc9", |_| {});
    store.admit_authority(&ca, &crl, NOW).unwrap();
    let stale = fs::read(federation.crls().join("dc1.crl")).unwrap();
    let newer = federation.revoke(&issued).der;
    store.admit_crl(&newer, NOW).unwrap();
    fs::write(federation.crls().join("dc1.crl"), stale).unwrap();
    assert_eq!(reload(), Ok(false));
    assert_eq!(store.certify(&leaf, NOW), Err(Refusal::Revoked));
    assert_eq!(store.authorities().len(), 2);

    let generation = store.generation();
    let more = vec!["dc2".to_owned()];
    init(federation.path(), DOMAIN, &more, NOW).unwrap();
    assert_eq!(reload(), Ok(true));
    assert!(store.generation() > generation);
    assert_eq!(store.authorities().len(), 3);

    // Damage is an error that changes nothing.
    fs::write(federation.bundle(), "damaged").unwrap();
    assert!(reload().is_err());
    assert_eq!(store.authorities().len(), 3);
}

#[test]
fn a_store_needs_a_root_and_authorities_of_its_own() {
    let (ours, theirs) = (Federation::new(NOW, &[DC]), Federation::new(NOW, &[DC]));
    let build = |roots, authorities| {
        TrustStore::new(DOMAIN, roots, authorities, vec![], Policy::default()).unwrap_err()
    };
    assert_eq!(build(vec![], vec![]), StoreError::NoRoot);
    let foreign = build(vec![ours.root()], vec![theirs.authority(DC)]);
    let refusal = Refusal::UnknownIssuer;
    assert_eq!(foreign, StoreError::Authority { index: 0, refusal });
    assert!(matches!(
        build(vec![ours.authority(DC)], vec![]),
        StoreError::Root { index: 0, .. }
    ));
}
