//! What a node accepts as a member's certificate: the whole profile, one refusal per rule.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::time::Duration;

use common::{DOMAIN, Federation, HOUR, NOW, at, dns, names, uri};
use pelago_pki::{MAX_LEAF, Policy, Refusal, Role, TrustStore, node_id};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

const DC: &str = "dc1";

/// What webpki alone says, without revocation: the measured table that made the profile necessary.
fn webpki_accepts(federation: &Federation, leaf: &[u8]) -> bool {
    let root = federation.root();
    let leaf = CertificateDer::from(leaf);
    EndEntityCert::try_from(&leaf)
        .unwrap()
        .verify_for_usage(
            &[webpki::aws_lc_rs::ED25519],
            &[webpki::anchor_from_trusted_cert(&root).unwrap()],
            &[federation.authority(DC)],
            UnixTime::since_unix_epoch(Duration::from_secs(NOW)),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
}

fn judge(forge: impl FnOnce(&mut CertificateParams)) -> (bool, Refusal) {
    let federation = Federation::new(NOW, &[DC, "dc2"]);
    let leaf = federation.forge(DC, forge);
    let refusal = federation.store().certify(&leaf, NOW).unwrap_err();
    (webpki_accepts(&federation, &leaf), refusal)
}

fn with_names(names: Vec<SanType>) -> (bool, Refusal) {
    judge(|params| params.subject_alt_names = names)
}

#[test]
fn an_issued_certificate_says_who_and_where() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let leaf = common::first_certificate(&issued.cert);
    let certified = federation.store().certify(&leaf, NOW).unwrap();
    assert_eq!(
        certified.name.to_string(),
        format!("spiffe://{DOMAIN}/dc/dc1/zone/a/rack/r1/server/s1")
    );
    assert_eq!(certified.node_id, node_id(&certified.public_key));
    assert_eq!(certified.not_before, NOW - 300);
    assert_eq!(certified.not_after, NOW + 72 * HOUR);
    assert_eq!(certified.serial.len(), 16);
}

#[test]
fn an_unchanged_forgery_is_accepted_so_that_the_others_fail_for_their_own_reason() {
    let federation = Federation::new(NOW, &[DC]);
    let leaf = federation.forge(DC, |_| {});
    assert!(federation.store().certify(&leaf, NOW).is_ok());
}

#[test]
fn webpki_refuses_a_dns_name_of_another_datacenter() {
    assert_eq!(
        with_names(names("dc2", "s1")),
        (false, Refusal::WrongDatacenter)
    );
}

#[test]
fn webpki_accepts_a_lone_uri_of_another_datacenter_and_we_do_not() {
    let lone = names("dc2", "s1").swap_remove(0);
    assert_eq!(with_names(vec![lone]), (true, Refusal::SanCount));
}

#[test]
fn webpki_accepts_a_uri_of_another_datacenter_beside_our_dns_name_and_we_do_not() {
    let mixed = vec![
        names("dc2", "s1").swap_remove(0),
        names(DC, "s1").swap_remove(1),
    ];
    assert_eq!(with_names(mixed), (true, Refusal::NameMismatch));
}

#[test]
fn webpki_accepts_two_uris_and_we_do_not() {
    let mut two = names(DC, "s1");
    two.push(uri("spiffe://example.test/dc/dc1/zone/a/rack/r1/server/s2"));
    assert_eq!(with_names(two), (true, Refusal::SanCount));
}

#[test]
fn webpki_accepts_a_wildcard_and_we_do_not() {
    let mut wild = names(DC, "s1");
    wild[1] = dns("*.dc1.example.test");
    assert_eq!(with_names(wild), (true, Refusal::NameMismatch));
}

#[test]
fn a_second_dns_name_is_refused() {
    let mut two = names(DC, "s1");
    two.push(dns("s2.dc1.example.test"));
    assert_eq!(with_names(two).1, Refusal::SanCount);
}

#[test]
fn a_lone_dns_name_is_refused() {
    assert_eq!(
        with_names(vec![names(DC, "s1").swap_remove(1)]).1,
        Refusal::SanCount
    );
}

#[test]
fn no_names_at_all_are_refused() {
    assert_eq!(with_names(Vec::new()).1, Refusal::SanCount);
}

#[test]
fn an_address_among_the_names_is_refused() {
    let mut with_address = names(DC, "s1");
    with_address.push(SanType::IpAddress([10, 0, 0, 1].into()));
    assert_eq!(with_names(with_address).1, Refusal::SanCount);
}

#[test]
fn a_name_outside_the_grammar_is_refused() {
    for bad in [
        "spiffe://example.test/dc/dc1/zone/a/rack/r1/server/S1",
        "spiffe://example.test/dc/dc1/zone/a/rack/r1/server/s%31",
        "spiffe://example.test/dc/dc1/server/s1",
        "spiffe://example.test/dc/dc1/zone/a/rack/r1/king/s1",
        "https://example.test/dc/dc1/zone/a/rack/r1/server/s1",
    ] {
        let mut san = names(DC, "s1");
        san[0] = uri(bad);
        assert_eq!(with_names(san).1, Refusal::BadName, "{bad}");
    }
}

#[test]
fn another_trust_domain_is_refused() {
    let foreign = vec![
        uri("spiffe://other.test/dc/dc1/zone/a/rack/r1/server/s1"),
        dns("s1.dc1.other.test"),
    ];
    // webpki's name constraint speaks first; its word for it is ours for the datacenter.
    assert_eq!(with_names(foreign).1, Refusal::WrongDatacenter);
    let mut hidden = names(DC, "s1");
    hidden[0] = uri("spiffe://other.test/dc/dc1/zone/a/rack/r1/server/s1");
    assert_eq!(with_names(hidden).1, Refusal::NameMismatch);
}

#[test]
fn another_federations_certificate_has_an_unknown_issuer() {
    let (ours, theirs) = (Federation::new(NOW, &[DC]), Federation::new(NOW, &[DC]));
    let leaf = common::first_certificate(&theirs.issue(DC, "s1", Role::Server).cert);
    // Same names everywhere, so only the signature tells.
    assert_eq!(ours.store().certify(&leaf, NOW), Err(Refusal::BadSignature));
    let elsewhere = Federation::new(NOW, &["dc9"]).store();
    assert_eq!(elsewhere.certify(&leaf, NOW), Err(Refusal::UnknownIssuer));
}

#[test]
fn an_authority_is_no_leaf() {
    let ca = |params: &mut CertificateParams| {
        params.custom_extensions.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    };
    assert_eq!(judge(ca).1, Refusal::WrongKind);
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    assert!(store.certify(&federation.authority(DC), NOW).is_err());
    assert!(store.certify(&federation.root(), NOW).is_err());
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let leaf = federation.forge_for(DC, &key, |_| {});
    let judged = federation.store().certify(&leaf, NOW);
    assert_eq!(judged, Err(Refusal::KeyType));
}

struct Weak([u8; 32]);

impl PublicKeyData for Weak {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

#[test]
fn every_small_order_key_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    for point in pelago_pki::SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut key = point;
            key[31] |= sign;
            let leaf = federation.forge_for(DC, &Weak(key), |_| {});
            assert_eq!(
                store.certify(&leaf, NOW),
                Err(Refusal::WeakKey),
                "{key:02x?}"
            );
        }
    }
}

#[test]
fn a_lifetime_above_the_policy_is_refused() {
    let long = |params: &mut CertificateParams| params.not_after = at(NOW + 73 * HOUR);
    assert_eq!(judge(long).1, Refusal::Lifetime);
    let federation = Federation::new(NOW, &[DC]);
    let leaf = federation.forge(DC, |params| params.not_after = at(NOW + 73 * HOUR - 300));
    assert!(federation.store().certify(&leaf, NOW).is_ok());
    let strict = federation.store_with(Policy {
        max_leaf_lifetime: Duration::from_secs(HOUR),
        ..Policy::default()
    });
    assert_eq!(strict.certify(&leaf, NOW), Err(Refusal::Lifetime));
}

#[test]
fn time_is_judged_at_both_ends() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    let leaf = common::first_certificate(&federation.issue(DC, "s1", Role::Server).cert);
    assert_eq!(store.certify(&leaf, NOW - 301), Err(Refusal::NotYetValid));
    assert!(store.certify(&leaf, NOW - 300).is_ok());
    assert!(store.certify(&leaf, NOW + 72 * HOUR).is_ok());
    assert_eq!(
        store.certify(&leaf, NOW + 72 * HOUR + 1),
        Err(Refusal::Expired)
    );
}

#[test]
fn usages_must_be_exactly_ours() {
    let cases: [fn(&mut CertificateParams); 6] = [
        |params| params.key_usages.clear(),
        |params| params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
        |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        |params| params.extended_key_usages.clear(),
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
    ];
    for (index, case) in cases.into_iter().enumerate() {
        assert_eq!(judge(case).1, Refusal::Usage, "case {index}");
    }
}

#[test]
fn extensions_outside_the_profile_are_refused() {
    // A distribution point changes which CRL webpki takes for authoritative.
    let distribution_point = |params: &mut CertificateParams| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec!["http://x".to_owned()],
        }];
    };
    assert_eq!(judge(distribution_point).1, Refusal::Extension);
    let unknown = |params: &mut CertificateParams| {
        let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0x05, 0x00]);
        params.custom_extensions.push(extension);
    };
    assert_eq!(judge(unknown).1, Refusal::Extension);
}

#[test]
fn damage_anywhere_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    let leaf = common::first_certificate(&federation.issue(DC, "s1", Role::Server).cert);
    for index in 0..leaf.len() {
        let mut damaged = leaf.to_vec();
        damaged[index] ^= 1;
        assert!(store.certify(&damaged, NOW).is_err(), "byte {index}");
        assert!(store.certify(&leaf[..index], NOW).is_err());
    }
    let mut longer = leaf.to_vec();
    longer.push(0);
    assert!(store.certify(&longer, NOW).is_err());
    assert_eq!(
        store.certify(&[0; MAX_LEAF + 1], NOW),
        Err(Refusal::TooLarge)
    );
}

#[test]
fn the_trust_domain_is_the_roots() {
    let federation = Federation::new(NOW, &[DC]);
    let root = vec![federation.root()];
    let store = TrustStore::new("other.test", root, vec![], vec![], Policy::default());
    assert!(store.is_err());
}
