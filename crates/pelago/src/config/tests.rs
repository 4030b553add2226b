//! The whole way from files to findings, as an operator sees it.

use super::*;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// A folder with the certificates of a server and of a client.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let now = crate::pki::unix_now();
    pelago_pki::init(dir.path(), "test.example", &["eu-west".to_owned()], now)
        .expect("authorities");
    for (node, role) in [
        ("node", pelago_pki::Role::Server),
        ("client", pelago_pki::Role::Client),
    ] {
        let request = pelago_pki::IssueRequest {
            datacenter: "eu-west".into(),
            zone: "b".into(),
            rack: "r1".into(),
            role,
            node: node.into(),
            lifetime: std::time::Duration::from_secs(3600),
            out: Some(dir.path().to_owned()),
        };
        pelago_pki::issue(dir.path(), &request, now).expect("a certificate");
    }
    dir
}

fn outcome(dir: &Path, text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Outcome {
    let file = dir.join("node.toml");
    fs::write(&file, text).expect("written");
    let inputs = Inputs {
        paths: vec![file],
        variables: variables
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect(),
        flags: flags.iter().map(|flag| (*flag).into()).collect(),
    };
    load_on(inputs, &host::fixture())
}

const PKI: &str = "[pki]\nca = \"ca.pem\"\ncert = \"node.pem\"\nkey = \"node.key\"\n";

fn server(lan: &str, wan: &str, http: &str) -> String {
    format!(
        "[node]\nregion = \"europe\"\nrole = \"server\"\n{PKI}[lan]\nbind = \"10.80.0.0/24\"\n{lan}\n\
         [wan]\nbind = \"10.80.0.11\"\n{wan}\n[http]\n{http}\n"
    )
}

#[test]
fn a_sound_configuration_becomes_settings() {
    let dir = folder();
    let text = server("join = [\"s1\"]", "seats = 5", "");
    let outcome = outcome(
        dir.path(),
        &text,
        &[("PELAGO_NODE__ZONE", "b")],
        &["lan.port=9000"],
    );
    let settings = outcome
        .settings()
        .unwrap_or_else(|| panic!("{}", outcome.report(false).join("\n")));
    assert_eq!(settings.node.lan.address.to_string(), "10.80.0.11");
    assert_eq!(
        (settings.node.lan.port, settings.node.lan.stream_port),
        (9000, 9001)
    );
    assert_eq!(
        settings.node.lan.allow,
        ["10.80.0.0/24".parse::<IpNet>().expect("a network")]
    );
    assert_eq!(settings.node.zone.as_deref(), Some("b"));
    assert_eq!(settings.node.wan.as_ref().map(|wan| wan.seats), Some(5));
    assert_eq!(settings.node.pki.ca, dir.path().join("ca.pem"));
    assert_eq!(
        settings.http.bind.map(|bind| bind.to_string()).as_deref(),
        Some("127.0.0.1:8700")
    );
}

#[test]
fn limits_keep_their_bursts_in_proportion_and_datacenters_their_networks() {
    let dir = folder();
    let text = format!(
        "{}[limits]\nclaims_per_signer = 100\n[wan.datacenters]\nus-east = [\"10.9.0.0/16\"]\n",
        server("", "", "")
    );
    let outcome = outcome(dir.path(), &text, &[("PELAGO_LIMITS__CLAIMS", "500")], &[]);
    let settings = outcome
        .settings()
        .unwrap_or_else(|| panic!("{}", outcome.report(false).join("\n")));
    let (set, default) = (settings.node.limits, pelago_node::config::Limits::default());
    assert_eq!(set.claims.signer, default.claims.signer * 2.0);
    assert_eq!(
        set.claims.verifications,
        default.claims.verifications * 0.25
    );
    assert_eq!(set.claims.relay, default.claims.relay);
    assert_eq!(set.datagrams, default.datagrams);
    let wan = settings.node.wan.as_ref().expect("a server");
    let nets: Vec<_> = wan.datacenters["us-east"]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(nets, ["10.9.0.0/16"]);
}

#[test]
fn limits_of_nothing_and_datacenters_without_a_name_are_refused() {
    let dir = folder();
    let text = format!(
        "{}[limits]\nclaims = 0\nintroduction = 5\n[wan.datacenters]\n\"US East\" = [\"10.9.0.0/16\"]\n",
        server("", "", "")
    );
    let report = outcome(dir.path(), &text, &[], &[])
        .report(false)
        .join("\n");
    for part in [
        "allowed are 1 to 1000000 a second",
        "did you mean `limits.introductions`?",
        "`US East` cannot be the name of a datacenter",
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
}

/// One of each of the mistakes that the documentation promises to find, all in one run, each with its line.
#[test]
fn all_mistakes_are_shown_at_once_with_their_lines() {
    let dir = folder();
    fs::set_permissions(
        dir.path().join("node.key"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("changed");
    let text = "\
[node]
region = \"europe\"
role = \"server\"
[pki]
ca = \"absent.pem\"
cert = \"node.pem\"
key = \"node.key\"
[lan]
bind = \"10.81.0.0/16\"
probe_intervall = \"200ms\"
probe_interval = \"2s\"
pause_tolerance = \"3s\"
[wan]
bind = \"0.0.0.0\"
seats = 9
[http]
bind = \"0.0.0.0:8700\"
";
    let outcome = outcome(dir.path(), text, &[], &[]);
    let report = outcome.report(false).join("\n");
    assert!(outcome.settings().is_none());
    for (line, part) in [
        (5, "missing file"),
        (7, "others can read the private key"),
        (9, "no local address is inside 10.81.0.0/16"),
        (10, "did you mean `lan.probe_interval`?"),
        (12, "the timings contradict each other"),
        (14, "`wan.allow` is missing"),
        (15, "allowed are 1 to 7"),
        (17, "0.0.0.0 is not loopback"),
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
        assert!(
            report.contains(&format!("node.toml:{line}:")),
            "line {line} is missing in\n{report}"
        );
    }
    assert!(
        report.contains("this host has: lo 127.0.0.1/8, eth0 10.80.0.11/24"),
        "{report}"
    );
    assert!(report.contains("chmod 600"), "{report}");
    assert_eq!(outcome.errors(), 8, "{report}");
}

#[test]
fn what_is_missing_is_named_with_the_line_to_add() {
    let dir = folder();
    let outcome = outcome(dir.path(), "[node]\nrole = \"server\"\n", &[], &[]);
    let report = outcome.report(false).join("\n");
    for key in ["node.region", "pki.ca", "pki.cert", "pki.key", "lan.bind"] {
        assert!(
            report.contains(&format!("`{key}` is missing")),
            "{key} is missing in\n{report}"
        );
    }
    assert!(report.contains("a server needs [wan]"), "{report}");
}

fn only_error(text: &str) -> String {
    let dir = folder();
    let outcome = outcome(dir.path(), text, &[], &[]);
    let report = outcome.report(false).join("\n");
    assert_eq!(outcome.errors(), 1, "{report}");
    report
}

#[test]
fn contradictions_are_refused() {
    let refused = |lan, wan, http, part: &str| {
        let report = only_error(&server(lan, wan, http));
        assert!(report.contains(part), "{part} is missing in\n{report}");
    };
    refused(
        "probe_interval = \"20ms\"",
        "",
        "",
        "allowed are 50ms to 10s",
    );
    refused(
        "pause_tolerance = \"11s\"",
        "",
        "",
        "allowed are 500ms to 10s",
    );
    refused(
        "probe_interval = \"5s\"",
        "",
        "",
        "the timings contradict each other",
    );
    refused(
        "port = 8702\nstream_port = 8702",
        "",
        "",
        "give each its own",
    );
    refused("", "port = 8701", "", "port 8701 is taken by [lan]");
    refused(
        "",
        "advertise = \"198.51.100.7\"",
        "",
        "198.51.100.7 would be refused",
    );
    refused(
        "",
        "",
        "tls = true\nplain_read = [\"10.0.0.0/8\"]",
        "exclude each other",
    );
    refused(
        "",
        "",
        "bind = \"10.80.0.11:8700\"",
        "open to the network in plaintext",
    );
    refused("bind = \"10.91.0.0/16\"\n#", "", "", "duplicate");
}

#[test]
fn a_client_has_no_wan() {
    let text = server("", "", "")
        .replace("\"server\"", "\"client\"")
        .replace("node.pem", "client.pem");
    assert!(only_error(&text.replace("node.key", "client.key")).contains("a client has no [wan]"));
}

#[test]
fn what_the_certificate_says_otherwise_is_refused() {
    let text = server("", "", "").replace("role = \"server\"", "role = \"server\"\nzone = \"a\"");
    assert!(only_error(&text).contains("the certificate says \"b\""));
    let text = server("", "", "").replace("node.key", "client.key");
    assert!(only_error(&text).contains("unusable certificate"));
    let text = server("", "", "").replace("ca.pem", "node.pem");
    assert!(only_error(&text).contains("unusable authorities"));
    // The role may be left out: the certificate knows it.
    let text = server("", "", "")
        .replace("role = \"server\"\n", "")
        .replace("[wan]\nbind = \"10.80.0.11\"\n", "");
    assert!(only_error(&text).contains("a server needs [wan]"));
}

#[test]
fn show_names_who_set_what() {
    let dir = folder();
    let text = server("", "seats = 1", "");
    let outcome = outcome(
        dir.path(),
        &text,
        &[("PELAGO_NODE__ZONE", "b")],
        &["lan.port=9000"],
    );
    let shown = outcome.show(true);
    for (value, from) in [
        ("zone = \"b\"", "env PELAGO_NODE__ZONE"),
        ("port = 9000", "flag --set lan.port=9000"),
        ("seats = 1", "node.toml:13"),
        ("probe_interval = \"200ms\"", "default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(value));
        assert!(
            line.is_some_and(|line| line.ends_with(from)),
            "{value} {from} in\n{shown}"
        );
    }
    assert!(
        toml::from_str::<toml::Table>(&outcome.show(false)).is_ok(),
        "{}",
        outcome.show(false)
    );
}

#[test]
fn nothing_is_read_from_a_path_that_does_not_exist() {
    let inputs = Inputs {
        paths: vec!["/nonexistent/pelago.toml".into()],
        ..Inputs::default()
    };
    assert!(load_on(inputs, &[]).report(false)[0].contains("cannot read /nonexistent/pelago.toml"));
}
