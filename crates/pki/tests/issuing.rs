//! The directory of authorities: what the commands write, what they refuse, who may read it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{DOMAIN, Federation, HOUR, NOW};
use pelago_pki::{
    BACKDATE, Check, FileError, Identity, IdentityError, IssueRequest, Kind, NameError, PkiError,
    Policy, Refusal, Role, SecretKey, TrustStore, init, inspect, issue, needs_renewal, renew,
    renew_datacenter, verify, verify_file,
};

const DC: &str = "eu-west";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_directory_holds_what_the_layout_promises_and_keys_are_private() {
    let federation = Federation::new(NOW, &[DC, "us-east"]);
    federation.issue(DC, "s1", Role::Server);
    let dir = federation.path();
    for public in [
        "root.pem",
        "ca.pem",
        "crl/root.crl",
        "crl/eu-west.crl",
        "crl/us-east.crl",
        "eu-west/ca.pem",
        "eu-west/s1.pem",
        "us-east/ca.pem",
    ] {
        assert_eq!(mode(&dir.join(public)), 0o644, "{public}");
    }
    for private in [
        "root.key",
        "eu-west/ca.key",
        "eu-west/s1.key",
        "us-east/ca.key",
    ] {
        assert_eq!(mode(&dir.join(private)), 0o600, "{private}");
    }
    assert_eq!(mode(&dir.join("eu-west")), 0o700);
    assert!(!dir.join(".lock").exists());
}

#[test]
fn running_init_again_adds_datacenters_and_replaces_nothing() {
    let federation = Federation::new(NOW, &[DC]);
    let before = fs::read(federation.path().join("root.pem")).unwrap();
    let authority = federation.authority(DC);
    let both = vec![DC.to_owned(), "us-east".to_owned()];
    let done = init(federation.path(), DOMAIN, &both, NOW + 5).unwrap();
    assert!(!done.new_root);
    assert_eq!(done.new_datacenters, ["us-east"]);
    assert_eq!(done.kept_datacenters, [DC]);
    assert_eq!(
        before,
        fs::read(federation.path().join("root.pem")).unwrap()
    );
    assert_eq!(authority, federation.authority(DC));
    assert_eq!(federation.store().authorities().len(), 2);
    let other = init(federation.path(), "other.test", &both, NOW);
    assert!(matches!(other, Err(PkiError::TrustDomain { .. })));
}

#[test]
fn an_interrupted_init_is_completed_by_the_next() {
    let federation = Federation::new(NOW, &[DC]);
    let dir = federation.path();
    let key = fs::read(dir.join("eu-west/ca.key")).unwrap();
    for half in ["eu-west/ca.pem", "ca.pem", "crl/eu-west.crl"] {
        fs::remove_file(dir.join(half)).unwrap();
    }
    federation.add(&[DC]);
    assert_eq!(key, fs::read(dir.join("eu-west/ca.key")).unwrap());
    let issued = federation.issue(DC, "s1", Role::Server);
    let leaf = common::first_certificate(&issued.cert);
    assert!(federation.store().certify(&leaf, NOW).is_ok());
}

#[test]
fn a_lost_list_is_never_silently_started_again() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    fs::remove_file(federation.crls().join("eu-west.crl")).unwrap();
    federation.add(&[DC]);
    let renewed = renew(federation.path(), &issued.cert, false, None, NOW);
    assert!(matches!(renewed, Err(PkiError::CrlMissing(_))));
    assert!(!federation.crls().join("eu-west.crl").exists());
}

#[test]
fn a_leaf_is_small_and_names_that_make_it_larger_are_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "eu-west-s1", Role::Server);
    let size = common::first_certificate(&issued.cert).len();
    let names = DC.len() + issued.leaf.name.to_string().len() + issued.leaf.name.dns().len();
    // The names are all that varies: the datacenter once, the URI and the DNS name.
    assert_eq!((size, size - names), (391, 288));

    let mut request = Federation::request(DC, &"n".repeat(63), Role::Operator);
    request.zone = "z".repeat(40);
    let refused = issue(federation.path(), &request, NOW);
    assert!(matches!(refused, Err(PkiError::TooLarge { over, .. }) if over > 0));
    assert!(!federation.path().join(DC).join("n".repeat(63)).exists());
}

#[test]
fn the_largest_leaf_of_the_demo_fits() {
    let dir = tempfile::tempdir().unwrap();
    let datacenter = "ap-south".to_owned();
    let domain = "demo.pelago.internal";
    init(dir.path(), domain, std::slice::from_ref(&datacenter), NOW).unwrap();
    let request = Federation::request(&datacenter, "ap-south-operator", Role::Operator);
    let issued = issue(dir.path(), &request, NOW).unwrap();
    assert_eq!(common::first_certificate(&issued.cert).len(), 429);
}

#[test]
fn the_authorities_stay_small_too() {
    let federation = Federation::new(NOW, &[DC]);
    assert!(
        federation.root().len() <= 400,
        "{}",
        federation.root().len()
    );
    let authority = federation.authority(DC);
    assert!(authority.len() <= 450, "{}", authority.len());
}

#[test]
fn issuing_replaces_nothing() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let request = Federation::request(DC, "s1", Role::Server);
    let exists = |path: &Path| Err(PkiError::File(FileError::Exists(path.to_owned())));
    assert_eq!(
        issue(federation.path(), &request, NOW),
        exists(&issued.cert)
    );
    fs::remove_file(&issued.cert).unwrap();
    assert_eq!(issue(federation.path(), &request, NOW), exists(&issued.key));
}

#[test]
fn what_cannot_be_named_is_not_issued() {
    let federation = Federation::new(NOW, &[DC]);
    let issue = |change: fn(&mut IssueRequest)| {
        let mut request = Federation::request(DC, "s1", Role::Server);
        change(&mut request);
        issue(federation.path(), &request, NOW).unwrap_err()
    };
    let label = |what| PkiError::Name(NameError::Label(what));
    assert_eq!(issue(|r| r.node = "S1".into()), label("node"));
    assert_eq!(issue(|r| r.node = "../s1".into()), label("node"));
    assert_eq!(issue(|r| r.zone = String::new()), label("zone"));
    assert_eq!(issue(|r| r.rack = "-".into()), label("rack"));
    assert_eq!(issue(|r| r.datacenter = "a/b".into()), label("datacenter"));
    assert_eq!(
        issue(|r| r.node = "ca".into()),
        PkiError::Reserved("ca".into())
    );
    let unknown = PkiError::UnknownDatacenter("mars".into());
    assert_eq!(issue(|r| r.datacenter = "mars".into()), unknown);
    assert_eq!(
        issue(|r| r.lifetime = Duration::from_secs(59)),
        PkiError::Lifetime
    );
    assert_eq!(issue(|r| r.lifetime = Duration::MAX), PkiError::Lifetime);
    for reserved in ["crl", "root"] {
        let made = init(federation.path(), DOMAIN, &[reserved.to_owned()], NOW);
        assert_eq!(made, Err(PkiError::Reserved(reserved.to_owned())));
    }
}

#[test]
fn lifetimes_go_down_to_minutes_and_never_beyond_the_authority() {
    let federation = Federation::new(NOW, &[DC]);
    let mut request = Federation::request(DC, "s1", Role::Server);
    request.lifetime = Duration::from_secs(120);
    let leaf = issue(federation.path(), &request, NOW).unwrap().leaf;
    assert_eq!(
        (leaf.not_before, leaf.not_after),
        (NOW - BACKDATE, NOW + 120)
    );

    let end = NOW + 365 * 24 * HOUR;
    request = Federation::request(DC, "s2", Role::Server);
    let leaf = issue(federation.path(), &request, end - HOUR).unwrap().leaf;
    assert_eq!(leaf.not_after, end);
    request.node = "s3".to_owned();
    let expired = issue(federation.path(), &request, end);
    assert_eq!(expired, Err(PkiError::AuthorityExpired(DC.to_owned())));
}

#[test]
fn serial_numbers_are_random() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let mut serials = BTreeSet::from([issued.leaf.serial.clone()]);
    for _ in 0..20 {
        let renewed = renew(federation.path(), &issued.cert, false, None, NOW).unwrap();
        assert_eq!(renewed.leaf.serial.len(), 16);
        serials.insert(renewed.leaf.serial);
    }
    assert_eq!(serials.len(), 21);
}

#[test]
fn renewing_keeps_the_key_unless_a_new_one_is_asked_for() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let later = NOW + 50 * HOUR;
    let renewed = renew(federation.path(), &issued.cert, false, None, later).unwrap();
    assert_eq!(renewed.leaf.node_id, issued.leaf.node_id);
    assert_eq!(renewed.leaf.name, issued.leaf.name);
    assert_ne!(renewed.leaf.serial, issued.leaf.serial);
    assert_eq!(renewed.leaf.not_after, later + 72 * HOUR);
    assert!(Identity::load(&renewed.cert, &renewed.key).is_ok());

    let rekeyed = renew(federation.path(), &issued.cert, true, None, later).unwrap();
    assert_ne!(rekeyed.leaf.node_id, issued.leaf.node_id);
    assert_eq!(mode(&rekeyed.key), 0o600);
    let identity = Identity::load(&rekeyed.cert, &rekeyed.key).unwrap();
    assert_eq!(identity.node_id(), rekeyed.leaf.node_id);
    let leaf = common::first_certificate(&rekeyed.cert);
    assert!(federation.store().certify(&leaf, later).is_ok());
}

#[test]
fn what_is_revoked_is_not_renewed() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    federation.revoke(&issued);
    let renewed = renew(federation.path(), &issued.cert, false, None, NOW);
    assert_eq!(renewed, Err(PkiError::Revoked));
}

#[test]
fn renewal_is_due_at_two_thirds() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let due = |now| needs_renewal(&issued.cert, 2.0 / 3.0, now).unwrap();
    assert!(!due(NOW) && !due(NOW + 47 * HOUR));
    assert!(due(NOW + 48 * HOUR) && due(NOW + 100 * HOUR));
    let authority = federation.path().join(DC).join("ca.pem");
    assert!(!needs_renewal(&authority, 2.0 / 3.0, NOW).unwrap());
    assert!(needs_renewal(&authority, 2.0 / 3.0, NOW + 300 * 24 * HOUR).unwrap());
}

#[test]
fn a_key_that_others_can_read_is_refused_with_path_mode_and_cure() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    for bad in [0o640, 0o604, 0o660, 0o601, 0o677] {
        fs::set_permissions(&issued.key, Permissions::from_mode(bad)).unwrap();
        let error = SecretKey::load(&issued.key).unwrap_err();
        let path = issued.key.clone();
        assert_eq!(error, FileError::Mode { path, mode: bad });
        let text = error.to_string();
        assert!(text.contains("s1.key") && text.contains(&format!("{bad:04o}")));
        assert!(text.contains("chmod 600"));
        assert!(matches!(
            Identity::load(&issued.cert, &issued.key),
            Err(IdentityError::File(FileError::Mode { .. }))
        ));
    }
    fs::set_permissions(&issued.key, Permissions::from_mode(0o400)).unwrap();
    assert!(SecretKey::load(&issued.key).is_ok());
}

#[test]
fn a_key_of_another_user_is_refused() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    // Giving a file away takes privileges that most test runs do not have.
    if std::os::unix::fs::chown(&issued.key, Some(12_345), None).is_err() {
        return;
    }
    let error = SecretKey::load(&issued.key).unwrap_err();
    assert!(matches!(error, FileError::Owner { owner: 12_345, .. }));
    assert!(error.to_string().contains("chown"));
}

#[test]
fn an_identity_is_a_leaf_its_authority_and_its_key() {
    let federation = Federation::new(NOW, &[DC, "us-east"]);
    let one = federation.issue(DC, "s1", Role::Server);
    let two = federation.issue(DC, "s2", Role::Server);
    let mixed = Identity::load(&one.cert, &two.key);
    assert_eq!(mixed.unwrap_err(), IdentityError::KeyMismatch);

    let load = |ders: Vec<_>| Identity::new(ders, SecretKey::load(&one.key).unwrap());
    let leaf = common::first_certificate(&one.cert);
    let authority = federation.authority(DC);
    assert!(load(vec![leaf.clone(), authority.clone()]).is_ok());
    assert_eq!(load(vec![leaf.clone()]).unwrap_err(), IdentityError::Chain);
    let long = vec![leaf.clone(), authority.clone(), federation.root()];
    assert_eq!(load(long).unwrap_err(), IdentityError::Chain);
    assert!(matches!(
        load(vec![leaf.clone(), federation.authority("us-east")]).unwrap_err(),
        IdentityError::Authority(Refusal::BadSignature)
    ));
    assert!(matches!(
        load(vec![authority, leaf]).unwrap_err(),
        IdentityError::Leaf(_)
    ));
}

#[test]
fn private_keys_do_not_show_in_debug_output() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let identity = Identity::load(&issued.cert, &issued.key).unwrap();
    let key = SecretKey::load(&issued.key).unwrap();
    let pem = fs::read_to_string(&issued.key).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let text = format!("{identity:?} {key:?}");
    assert!(text.contains("[private]") && !text.contains(&body));

    let signature = identity.sign(b"a claim");
    assert!(verify(identity.public_key(), b"a claim", &signature));
    assert!(!verify(identity.public_key(), b"another", &signature));
}

#[test]
fn inspect_tells_what_is_in_a_file() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    federation.revoke(&issued);
    let chain = inspect(&issued.cert).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[0].kind, Kind::Leaf);
    assert_eq!(chain[0].rack.as_deref(), Some("r1"));
    assert_eq!(chain[0].role.as_deref(), Some("server"));
    assert_eq!(chain[0].not_before.as_deref(), Some("2027-01-15T07:55:00Z"));
    assert_eq!(chain[0].sans.len(), 2);
    assert_eq!(chain[1].kind, Kind::DatacenterAuthority);
    assert_eq!(chain[1].trust_domain.as_deref(), Some(DOMAIN));
    let bundle = inspect(&federation.bundle()).unwrap();
    assert_eq!(bundle[0].kind, Kind::Root);
    let crl = inspect(&federation.crls().join("eu-west.crl")).unwrap();
    assert_eq!(crl[0].crl_number, Some(2));
    assert_eq!(
        crl[0].revoked.as_deref(),
        Some(&[chain[0].serial.clone().unwrap()][..])
    );
    let key = inspect(&issued.key).unwrap();
    assert_eq!(key[0].kind, Kind::PrivateKey);
    assert_eq!(key[0].node_id, chain[0].node_id);
    let nothing = inspect(&federation.path().join(DC).join("issued"));
    assert!(matches!(
        nothing,
        Err(PkiError::File(FileError::Content { .. }))
    ));
}

#[test]
fn verify_says_what_a_node_would_say() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let checks =
        |now| verify_file(&federation.bundle(), &federation.crls(), &issued.cert, now).unwrap();
    assert!(checks(NOW).iter().all(|check| check.ok));
    let late = checks(NOW + 40 * 24 * HOUR);
    let failed = |name| late.iter().any(|check| check.name == name && !check.ok);
    assert!(failed("certificate") && failed("crl") && !failed("chain"));
    federation.revoke(&issued);
    let revoked = checks(NOW);
    let certificate = revoked.iter().find(|check| check.name == "certificate");
    assert_eq!(certificate.unwrap().detail, "revoked");
}

#[test]
fn verify_takes_a_leaf_whose_authority_was_renewed_since() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    renew_datacenter(federation.path(), DC, NOW + HOUR).unwrap();
    let checks =
        |bundle: &Path| verify_file(bundle, &federation.crls(), &issued.cert, NOW + HOUR).unwrap();
    let authority = |checks: &[Check]| {
        let check = checks.iter().find(|check| check.name == "authority");
        check.map(|check| (check.ok, check.detail.clone()))
    };
    let renewed = checks(&federation.bundle());
    assert!(renewed.iter().all(|check| check.ok), "{renewed:?}");
    assert_eq!(
        authority(&renewed),
        Some((
            true,
            "in the bundle as another certificate of the same key".into()
        ))
    );
    let root_alone = checks(&federation.path().join("root.pem"));
    assert_eq!(
        authority(&root_alone),
        Some((false, "not in the bundle".into()))
    );
}

/// The old root goes and the authorities keep their keys: `docs/operations.md` says how.
#[test]
fn a_new_root_signs_the_authorities_that_there_are() {
    let federation = Federation::new(NOW, &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    federation.revoke(&federation.issue(DC, "s2", Role::Server));
    let elsewhere = tempfile::tempdir().unwrap();
    let (dir, old) = (federation.path(), elsewhere.path());
    for file in ["root.pem", "root.key", "crl/root.crl", "ca.pem"] {
        let name = Path::new(file).file_name().unwrap();
        fs::rename(dir.join(file), old.join(name)).unwrap();
    }
    fs::remove_file(dir.join(DC).join("ca.pem")).unwrap();
    let done = init(dir, DOMAIN, &[DC.to_owned()], NOW + HOUR).unwrap();
    assert!(done.new_root);
    // Both roots: the new one's authorities, and the old one's list under another name.
    let both = dir.join("both.pem");
    let texts = [dir.join("ca.pem"), old.join("root.pem")].map(|p| fs::read_to_string(p).unwrap());
    fs::write(&both, texts.concat()).unwrap();
    fs::copy(old.join("root.crl"), dir.join("crl/root-old.crl")).unwrap();
    let judged =
        |bundle: &Path| verify_file(bundle, &federation.crls(), &issued.cert, NOW + HOUR).unwrap();
    // While there are two, when there is one, and for those that still have the old files.
    for bundle in [&both, &federation.bundle(), &old.join("ca.pem")] {
        let checks = judged(bundle);
        assert!(checks.iter().all(|check| check.ok), "{checks:?}");
    }
    let store = TrustStore::load(
        &federation.bundle(),
        Some(&federation.crls()),
        Policy::default(),
    );
    let lists = store.unwrap().lists(NOW + HOUR);
    let of = lists
        .iter()
        .find(|list| list.datacenter.as_deref() == Some(DC));
    assert_eq!(of.map(|list| list.revoked), Some(1), "revocations stay");
}

#[test]
fn openssl_agrees_where_it_is_installed() {
    let federation = Federation::new(common::real_now(), &[DC]);
    let issued = federation.issue(DC, "s1", Role::Server);
    let run = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).current_dir(federation.path());
        output.output().map(|output| output.status.success())
    };
    let (cert, key) = (issued.cert.to_str().unwrap(), issued.key.to_str().unwrap());
    let Ok(read) = run(&["pkey", "-in", key, "-noout"]) else {
        return;
    };
    assert!(read);
    let chain = [
        "verify",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "eu-west/ca.pem",
    ];
    assert!(run(&[&chain[..], &["-purpose", "sslserver", cert]].concat()).unwrap());
    assert!(run(&[&chain[..], &["-purpose", "sslclient", cert]].concat()).unwrap());
    assert!(
        run(&[
            "crl",
            "-in",
            "crl/eu-west.crl",
            "-CAfile",
            "eu-west/ca.pem",
            "-noout"
        ])
        .unwrap()
    );
}
