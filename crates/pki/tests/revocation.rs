//! Revocation as nodes live it: through the store, with the lists that peers offer in any order.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{DOMAIN, Federation, HOUR, NOW};
use pelago_pki::{
    Admission, CLOCK_SKEW, Issued, MAX_CRL, Policy, Refusal, Role, StoreError, Target, TrustStore,
    refresh_crls, renew, revoke,
};
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint,
    KeyIdMethod, RevokedCertParams, SerialNumber,
};

const DC: &str = "dc1";
const DAY: u64 = 86_400;

fn leaf(issued: &Issued) -> Vec<u8> {
    common::first_certificate(&issued.cert).to_vec()
}

fn crl_params(number: u64, this_update: u64) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: common::at(this_update),
        next_update: common::at(this_update + DAY),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

#[test]
fn a_revoked_leaf_stays_refused_whatever_older_list_is_offered() {
    let federation = Federation::new(NOW, &[DC]);
    let (one, two) = (
        federation.issue(DC, "s1", Role::Server),
        federation.issue(DC, "s2", Role::Server),
    );
    let store = federation.store();
    let stale = federation.crl(DC);
    assert!(store.certify(&leaf(&one), NOW).is_ok());

    let crl = federation.revoke(&one).der;
    let generation = store.generation();
    assert_eq!(store.admit_crl(&crl, NOW), Ok(Admission::NewCrl));
    assert!(store.generation() > generation);
    assert_eq!(store.certify(&leaf(&one), NOW), Err(Refusal::Revoked));
    assert!(store.certify(&leaf(&two), NOW).is_ok());

    // [stale, new] makes webpki accept the revoked leaf; there is no such list here.
    let generation = store.generation();
    assert_eq!(store.admit_crl(&stale, NOW), Err(Refusal::Rollback));
    assert_eq!(store.admit_crl(&crl, NOW), Ok(Admission::Known));
    assert_eq!(store.generation(), generation);
    assert_eq!(store.certify(&leaf(&one), NOW), Err(Refusal::Revoked));
}

#[test]
fn of_several_lists_given_at_once_the_highest_number_holds_in_either_order() {
    let federation = Federation::new(NOW, &[DC]);
    let one = federation.issue(DC, "s1", Role::Server);
    let (stale, root) = (federation.crl(DC), federation.crl("root"));
    federation.revoke(&one);
    let new = federation.crl(DC);
    for order in [[stale.clone(), new.clone()], [new, stale]] {
        let crls = [vec![root.clone()], order.to_vec()].concat();
        let (roots, authorities) = (vec![federation.root()], vec![federation.authority(DC)]);
        let store = TrustStore::new(DOMAIN, roots, authorities, crls, Policy::default()).unwrap();
        assert_eq!(store.certify(&leaf(&one), NOW), Err(Refusal::Revoked));
    }
}

#[test]
fn a_revoked_authority_takes_everything_it_issued_with_it() {
    let federation = Federation::new(NOW, &[DC, "dc2"]);
    let here = federation.issue(DC, "s1", Role::Server);
    let there = federation.issue("dc2", "s1", Role::Server);
    let store = federation.store();
    assert!(store.certify(&leaf(&here), NOW).is_ok());
    let root_crl = federation.revoke_datacenter(DC);
    assert_eq!(store.admit_crl(&root_crl.der, NOW), Ok(Admission::NewCrl));
    assert_eq!(store.certify(&leaf(&here), NOW), Err(Refusal::Revoked));
    assert!(store.certify(&leaf(&there), NOW).is_ok());
    // Nor does it come back as a newcomer.
    let (ca, crl) = (federation.authority(DC), federation.crl(DC));
    let fresh = federation.store_of(&["dc2"]);
    let judged = fresh.admit_authority(&ca, &crl, NOW);
    assert_eq!(judged, Err(Refusal::Revoked));
}

#[test]
fn without_the_datacenters_list_nothing_of_it_is_accepted() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let build = |crls| {
        let (roots, authorities) = (vec![federation.root()], vec![federation.authority(DC)]);
        TrustStore::new(DOMAIN, roots, authorities, crls, Policy::default()).unwrap()
    };
    for crls in [
        vec![],
        vec![federation.crl("root")],
        vec![federation.crl(DC)],
    ] {
        let store = build(crls);
        let judged = store.certify(&leaf(&issued), NOW);
        assert_eq!(judged, Err(Refusal::UnknownRevocation));
    }
    // Handing in what is missing is all it takes.
    let store = build(vec![federation.crl("root")]);
    assert_eq!(store.authorities()[0].crl_number, 0);
    assert_eq!(
        store.admit_crl(&federation.crl(DC), NOW),
        Ok(Admission::New)
    );
    assert!(store.certify(&leaf(&issued), NOW).is_ok());
    assert_eq!(store.authorities()[0].crl_number, 1);
}

#[test]
fn a_directory_without_the_roots_list_is_an_error_at_the_start() {
    let federation = Federation::new(NOW, &[DC]);
    std::fs::remove_file(federation.crls().join("root.crl")).unwrap();
    let loaded = TrustStore::load(
        &federation.bundle(),
        Some(&federation.crls()),
        Policy::default(),
    );
    assert_eq!(loaded.unwrap_err(), StoreError::NoRootCrl);
}

#[test]
fn an_expired_list_keeps_serving_by_default_and_closes_on_request() {
    let federation = Federation::new(NOW, &[DC]);
    let later = NOW + 31 * DAY;
    let mut request = Federation::request(DC, "s1", Role::Server);
    request.lifetime = pelago_pki::LEAF_LIFETIME;
    let one = pelago_pki::issue(federation.path(), &request, later).unwrap();
    let closed = Policy {
        fail_closed: true,
        ..Policy::default()
    };
    let open = federation.store();
    let closed = federation.store_with(closed);
    assert!(open.certify(&leaf(&one), later).is_ok());
    assert_eq!(
        closed.certify(&leaf(&one), later),
        Err(Refusal::RevocationExpired)
    );
    assert!(open.authorities()[0].crl_next_update < later);
    // A fresh list opens it again.
    for crl in refresh_crls(federation.path(), 0.5, later).unwrap() {
        assert_eq!(closed.admit_crl(&crl.der, later), Ok(Admission::NewCrl));
    }
    assert!(closed.certify(&leaf(&one), later).is_ok());
}

#[test]
fn an_expired_list_still_revokes() {
    let federation = Federation::new(NOW, &[DC]);
    let one = federation.issue(DC, "s1", Role::Server);
    let store = federation.store();
    let mut params = crl_params(9, NOW);
    params.revoked_certs = vec![RevokedCertParams {
        serial_number: SerialNumber::from_slice(&one.leaf.serial),
        revocation_time: common::at(NOW),
        reason_code: None,
        invalidity_date: None,
    }];
    let crl = params.signed_by(&federation.stolen(DC)).unwrap();
    assert_eq!(store.admit_crl(crl.der(), NOW), Ok(Admission::NewCrl));
    let past_its_end = NOW + 2 * DAY;
    assert!(store.authorities()[0].crl_next_update < past_its_end);
    let judged = store.certify(&leaf(&one), past_its_end);
    assert_eq!(judged, Err(Refusal::Revoked));
}

#[test]
fn revoking_reaches_every_certificate_of_the_same_key() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let old = leaf(&issued);
    let renewed = renew(federation.path(), &issued.cert, false, None, NOW + HOUR).unwrap();
    let new = leaf(&renewed);
    assert_ne!(old, new);
    let store = federation.store();
    assert!(store.certify(&old, NOW + HOUR).is_ok() && store.certify(&new, NOW + HOUR).is_ok());
    let crl = federation.revoke(&renewed);
    assert_eq!(crl.revoked.len(), 2);
    store.admit_crl(&crl.der, NOW + HOUR).unwrap();
    for der in [old, new] {
        assert_eq!(store.certify(&der, NOW + HOUR), Err(Refusal::Revoked));
    }
}

#[test]
fn revoking_by_name_reaches_every_key_of_that_name() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let other = federation.issue(DC, "s2", Role::Server);
    renew(federation.path(), &issued.cert, true, None, NOW).unwrap();
    let target = Target::Node {
        datacenter: DC.to_owned(),
        node: "s1".to_owned(),
    };
    let crl = revoke(federation.path(), &target, NOW).unwrap();
    assert_eq!(crl.revoked.len(), 2);
    let store = federation.store();
    assert_eq!(store.certify(&leaf(&issued), NOW), Err(Refusal::Revoked));
    assert!(store.certify(&leaf(&other), NOW).is_ok());
    // Again it adds nothing, but it is a newer list.
    let again = revoke(federation.path(), &target, NOW).unwrap();
    assert_eq!((again.revoked.len(), again.number), (0, crl.number + 1));
}

#[test]
fn entries_leave_the_list_only_when_no_leaf_of_theirs_can_be_valid() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    federation.revoke(&issued);
    let size = |now| {
        let crls = refresh_crls(federation.path(), 0.0, now).unwrap();
        crls.iter().find(|crl| crl.issuer == DC).unwrap().der.len()
    };
    let full = size(NOW + 30 * DAY);
    assert_eq!(full, size(NOW + 30 * DAY));
    assert!(size(NOW + 32 * DAY) < full);
}

#[test]
fn a_list_from_the_future_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let store = federation.store();
    let signed = |number, at| {
        let crl = crl_params(number, at)
            .signed_by(&federation.stolen(DC))
            .unwrap();
        crl.der().to_vec()
    };
    let early = signed(9, NOW + CLOCK_SKEW + 1);
    assert_eq!(store.admit_crl(&early, NOW), Err(Refusal::FromFuture));
    let in_time = signed(9, NOW + CLOCK_SKEW);
    assert_eq!(store.admit_crl(&in_time, NOW), Ok(Admission::NewCrl));
}

#[test]
fn a_list_signed_by_somebody_else_is_refused() {
    let (ours, theirs) = (Federation::new(NOW, &[DC]), Federation::new(NOW, &[DC]));
    let store = ours.store();
    theirs.issue(DC, "s1", Role::Server);
    let foreign = revoke(
        theirs.path(),
        &Target::Certificate(theirs.path().join(DC).join("s1.pem")),
        NOW,
    );
    let foreign = foreign.unwrap().der;
    assert_eq!(store.admit_crl(&foreign, NOW), Err(Refusal::BadSignature));
    let unknown = Federation::new(NOW, &["dc7"]);
    let foreign = unknown.crl("dc7");
    assert_eq!(store.admit_crl(&foreign, NOW), Err(Refusal::UnknownIssuer));
}

/// For what somebody signed in time: its certificate's end is forgiven, its revocation is not.
#[test]
fn a_leaf_that_ended_is_good_for_what_it_signed_until_it_is_revoked() {
    let federation = Federation::new(NOW, &[DC]);
    let operator = federation.issue(DC, "op", Role::Operator);
    let store = federation.store();
    let late = NOW + 80 * HOUR;
    assert_eq!(store.certify(&leaf(&operator), late), Err(Refusal::Expired));
    assert!(store.certify_ended(&leaf(&operator), late).is_ok());
    assert_eq!(
        store.certify_ended(&leaf(&operator), NOW).ok(),
        store.certify(&leaf(&operator), NOW).ok()
    );
    let mut forged = leaf(&operator);
    *forged.last_mut().unwrap() ^= 1;
    assert!(store.certify_ended(&forged, late).is_err());
    let crl = federation.revoke(&operator).der;
    store.admit_crl(&crl, NOW).unwrap();
    assert_eq!(
        store.certify_ended(&leaf(&operator), late),
        Err(Refusal::Revoked)
    );
}

#[test]
fn a_list_with_a_narrower_scope_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let mut params = crl_params(9, NOW);
    params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://x".to_owned()],
        },
        scope: None,
    });
    let crl = params.signed_by(&federation.stolen(DC)).unwrap();
    let judged = federation.store().admit_crl(crl.der(), NOW);
    assert_eq!(judged, Err(Refusal::Extension));
}

#[test]
fn a_number_beyond_64_bits_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let mut params = crl_params(0, NOW);
    params.crl_number = SerialNumber::from_slice(&[1; 9]);
    let crl = params.signed_by(&federation.stolen(DC)).unwrap();
    let judged = federation.store().admit_crl(crl.der(), NOW);
    assert_eq!(judged, Err(Refusal::Malformed));
}

#[test]
fn an_oversized_or_damaged_list_is_refused_and_changes_nothing() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let store = federation.store();
    let crl = federation.revoke(&issued).der;
    let generation = store.generation();
    let huge = vec![0x30; MAX_CRL + 1];
    assert!(store.admit_crl(&huge, NOW).is_err());
    for index in 0..crl.len() {
        let mut damaged = crl.clone();
        damaged[index] ^= 1;
        assert!(store.admit_crl(&damaged, NOW).is_err(), "byte {index}");
        assert!(store.admit_crl(&crl[..index], NOW).is_err());
    }
    assert_eq!(store.generation(), generation);
    assert_eq!(store.admit_crl(&crl, NOW), Ok(Admission::NewCrl));
}

#[test]
fn a_list_is_weighed_before_its_signature_is_looked_at() {
    let federation = Federation::new(NOW, &[DC, "dc2"]);
    let one = federation.issue(DC, "s1", Role::Server);
    let store = federation.store();
    let stale = federation.crl(DC);
    let weigh = |crl: &[u8]| {
        let weighed = store.weigh_crl(crl).unwrap();
        (weighed.number, weighed.held)
    };
    assert_eq!(weigh(&stale), (1, Some(1)));
    let crl = federation.revoke(&one).der;
    assert_eq!(weigh(&crl), (2, Some(1)));
    // Another signature: it claims the same, and is found out later.
    let mut forged = crl.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(weigh(&forged), (2, Some(1)));
    assert_eq!(store.admit_crl(&forged, NOW), Err(Refusal::BadSignature));
    assert_eq!(store.admit_crl(&crl, NOW), Ok(Admission::NewCrl));
    assert_eq!(weigh(&stale), (1, Some(2)));
    assert_eq!(weigh(&federation.crl("root")), (1, Some(1)));

    let stranger = federation.store_of(&["dc2"]).weigh_crl(&crl);
    assert_eq!(stranger, Err(Refusal::UnknownIssuer));
    for length in 0..crl.len() {
        assert!(store.weigh_crl(&crl[..length]).is_err());
    }
    assert_eq!(
        store.weigh_crl(&vec![0x30; MAX_CRL + 1]),
        Err(Refusal::TooLarge)
    );
}

#[test]
fn lists_are_told_with_their_issuers_and_without_those_that_are_cut_off() {
    let federation = Federation::new(NOW, &[DC, "dc2"]);
    let (one, two) = (
        federation.issue(DC, "s1", Role::Server),
        federation.issue("dc2", "s1", Role::Server),
    );
    let store = federation.store();
    let told = |store: &TrustStore| -> Vec<_> {
        let mut told: Vec<_> = store
            .lists(NOW)
            .into_iter()
            .map(|list| (list.datacenter, list.number, list.revoked))
            .collect();
        told.sort();
        told
    };
    let dc = |name: &str| Some(name.to_owned());
    assert_eq!(
        told(&store),
        [(None, 1, 0), (dc(DC), 1, 0), (dc("dc2"), 1, 0)]
    );
    // A fresh store learns from them all that this one knows.
    let fresh = federation.store_of(&[]);
    for list in store.lists(NOW) {
        if let Some(certificate) = &list.certificate {
            fresh.admit_authority(certificate, &list.crl, NOW).unwrap();
        }
    }
    assert_eq!(told(&fresh), told(&store));

    let revoked = |issued: &Issued, name: &str| {
        let judged = fresh.certify(&leaf(issued), NOW).unwrap();
        store.is_revoked(name, &judged.serial, &leaf(issued), NOW)
    };
    assert!(!revoked(&one, DC) && !revoked(&two, "dc2"));
    store.admit_crl(&federation.revoke(&one).der, NOW).unwrap();
    store
        .admit_crl(&federation.revoke_datacenter("dc2").der, NOW)
        .unwrap();
    assert_eq!(told(&store), [(None, 2, 1), (dc(DC), 2, 1)]);
    let other = federation.issue(DC, "s2", Role::Server);
    assert!(revoked(&one, DC) && revoked(&two, "dc2") && !revoked(&other, DC));
}
