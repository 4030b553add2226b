//! The binary as people use it: a federation in one process, asked from outside, until Ctrl-C.

mod common;

use common::{PELAGO, Running, pelago};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

fn code(arguments: &str) -> Option<i32> {
    pelago(arguments).status.code()
}

fn stdout(arguments: &str) -> String {
    String::from_utf8(pelago(arguments).stdout).expect("text")
}

/// Nine ports in a row that are free now.
fn ports() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (20_000..30_000)
        .step_by(16)
        .find(|base| (*base..base + 9).all(free))
        .expect("free ports")
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("sent").success());
}

fn ends_within(child: &mut Child, limit: Duration) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("can be asked") {
            return status;
        }
        assert!(begun.elapsed() < limit, "still running after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn everybody_is_seen_from_everywhere_and_the_codes_are_right() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = ports();
    let begun = Instant::now();
    let child = Command::new(PELAGO)
        .args(["dev", "--http", &format!("127.0.0.1:{base}"), "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut dev = Running(child.expect("starts"));
    let mut lines = BufReader::new(dev.0.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    assert!(
        lines.any(|line| line.starts_with("15 members in 3 datacenters, ready after")),
        "never ready"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "took {:?}",
        begun.elapsed()
    );

    let socket = |name: &str| {
        format!(
            "unix://{}",
            dir.path().join(format!("{name}.sock")).display()
        )
    };
    let mut addresses: Vec<_> = (0..9)
        .map(|offset| format!("http://127.0.0.1:{}", base + offset))
        .collect();
    addresses.extend(["eu-west-c1", "us-east-c2", "ap-south-c2"].map(socket));
    let places = |address: &str| {
        let csv = stdout(&format!(
            "members --all --status alive -o csv --no-headers --address {address}"
        ));
        csv.lines()
            .map(|line| line.splitn(7, ',').take(6).collect::<Vec<_>>().join(","))
            .collect::<Vec<_>>()
    };
    let first = places(&addresses[0]);
    assert_eq!(first.len(), 15, "{first:?}");
    assert!(
        first
            .iter()
            .any(|line| line.starts_with("us-east-s2,alive,server")
                && line.ends_with("us-east,b,r1"))
    );
    for address in &addresses {
        assert_eq!(
            stdout(&format!("members --all -o name --address {address}"))
                .lines()
                .count(),
            15,
            "{address}"
        );
    }

    let at = format!("--address http://127.0.0.1:{}", base + 4);
    for (arguments, expected) in [
        (format!("members {at}"), 0),
        (format!("member us-east-c1 {at}"), 0),
        (format!("member nobody {at}"), 4),
        (format!("members --dc atlantis {at}"), 4),
        (format!("why ap-south-s1 {at}"), 0),
        (format!("datacenters -o wide {at}"), 0),
        (format!("servers -o jsonl {at}"), 0),
        (format!("links -o json {at}"), 0),
        (format!("status {at}"), 0),
        (format!("health --ready {at}"), 0),
        (format!("events {at}"), 0),
        (
            format!("wait --datacenters 3 --members 15 --converged --timeout 20s {at}"),
            0,
        ),
        (format!("wait --members 16 --timeout 500ms {at}"), 6),
        (format!("leave {at}"), 7),
        (format!("members --zone NOT_A_NAME {at}"), 2),
        ("members --no-such-flag".to_owned(), 2),
        ("members --address unix:///nonexistent.sock".to_owned(), 3),
        ("member x --address http://127.0.0.1:9".to_owned(), 3),
    ] {
        let output = pelago(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(expected), "{arguments}: {said}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&format!("members --all -o json {at}"))).expect("JSON");
    assert_eq!(json["schema"], "pelago.members/1");

    // Only an operator of its datacenter removes a member, and whoever may read may carry what was signed there.
    let with = |datacenter: &str, name: &str| {
        let pki = dir.path().join("pki").join(datacenter);
        let file = |ending| pki.join(format!("{name}.{ending}")).display().to_string();
        format!("--cert {} --key {}", file("pem"), file("key"))
    };
    for (arguments, expected) in [
        (
            format!("remove nobody {} {at}", with("us-east", "operator")),
            4,
        ),
        (
            format!("remove us-east-c2 {} {at}", with("us-east", "us-east-s1")),
            7,
        ),
        (
            format!("remove us-east-c2 {} {at}", with("eu-west", "operator")),
            7,
        ),
        (
            format!("remove us-east-c2 --cert absent.pem --key absent.key {at}"),
            1,
        ),
        (
            format!(
                "remove us-east-c2 --reason sold {} {at}",
                with("us-east", "operator")
            ),
            0,
        ),
    ] {
        let output = pelago(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(expected), "{arguments}: {said}");
    }
    let begun = Instant::now();
    let far = format!("--address http://127.0.0.1:{}", base + 8);
    while stdout(&format!("members --all --status removed -o name {far}")) != "us-east-c2\n" {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the removal is not known"
        );
    }
    let why = stdout(&format!("why us-east-c2 {far}"));
    assert!(why.contains("was removed by operator: sold"), "{why}");
    assert!(why.contains("this key may not return before 2"), "{why}");
    let removed = socket("us-east-c2");
    assert_eq!(
        code(&format!("health --ready --address {removed}")),
        Some(5)
    );

    // A list reaches everybody from any client. The authorities sit elsewhere, so no agent finds it on its disk.
    let authorities = dir.path().join("authorities");
    copy(&dir.path().join("pki"), &authorities);
    let list = authorities.join("crl/us-east.crl").display().to_string();
    let old = authorities.join("old.crl");
    std::fs::copy(&list, &old).expect("copied");
    let of = format!("--dir {}", authorities.display());
    let client = format!("--address {}", socket("ap-south-c2"));
    let root = dir.path().join("pki/ca.pem");
    for (arguments, expected) in [
        (format!("revoke {list} {client}"), 0),
        (
            format!("pki revoke --datacenter us-east --node us-east-s3 {of}"),
            0,
        ),
        (format!("revoke absent.crl {client}"), 1),
        (format!("revoke {} {client}", root.display()), 2),
        (format!("revoke {list} {client}"), 0),
    ] {
        let output = pelago(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(expected), "{arguments}: {said}");
    }
    let begun = Instant::now();
    while stdout(&format!("members --all -o name {far}")).contains("us-east-s3") {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "the revocation is not known"
        );
    }
    let status = stdout(&format!("status {far}"));
    assert!(status.contains("us-east 2"), "{status}");
    let again = stdout(&format!("revoke {list} {far}"));
    assert!(again.contains("was known already"), "{again}");
    let stale = pelago(&format!("revoke {} {far}", old.display()));
    let said = String::from_utf8_lossy(&stale.stderr).into_owned();
    assert!(said.contains("number 2 is held already"), "{said}");
    assert_eq!(stale.status.code(), Some(1), "{said}");
    let revoked = socket("us-east-s3");
    assert_eq!(code(&format!("health --live --address {revoked}")), Some(0));

    // A goodbye is known everywhere within a second or so.
    assert_eq!(
        code(&format!("leave --address {}", socket("ap-south-c1"))),
        Some(0)
    );
    let begun = Instant::now();
    while stdout(&format!("members --all --status left -o name {at}")) != "ap-south-c1\n" {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the goodbye is not known"
        );
    }

    interrupt(&dev.0);
    assert!(ends_within(&mut dev.0, Duration::from_secs(5)).success());
    assert!(!Path::new(&dir.path().join("eu-west-s1.sock")).exists());
}

#[test]
fn a_wrong_configuration_is_refused_with_everything_that_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("node.toml");
    let text = "[node]\nregion = \"europe\"\nnmae = \"s1\"\n[pki]\nca = \"absent.pem\"\n[lan]\nbind = \"240.0.0.0/8\"\n\
                probe_interval = 200\n";
    std::fs::write(&file, text).expect("written");
    for command in ["config check", "agent --config"] {
        let output = pelago(&format!("{command} {}", file.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{said}");
        for part in [
            "node.toml:3:1",
            "did you mean",
            "node.toml:5:",
            "node.toml:7:",
            "node.toml:8:",
            "\"200ms\"",
        ] {
            assert!(said.contains(part), "{part} is missing in\n{said}");
        }
    }
}

#[test]
fn an_agent_starts_from_a_file_and_leaves_on_a_signal() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path().display();
    assert_eq!(
        code(&format!(
            "pki init --dir {at} --trust-domain test.example --datacenter eu-west"
        )),
        Some(0)
    );
    let issue = format!(
        "pki issue --dir {at} --datacenter eu-west --node s1 --role server --zone a --rack r1"
    );
    assert_eq!(code(&issue), Some(0));
    assert_eq!(
        code(&format!(
            "pki verify --ca {at}/ca.pem --crls {at}/crl {at}/eu-west/s1.pem"
        )),
        Some(0)
    );
    let file = dir.path().join("node.toml");
    let text = "[node]\nregion = \"europe\"\ndata_dir = \"data\"\n\
                [pki]\nca = \"ca.pem\"\ncert = \"eu-west/s1.pem\"\nkey = \"eu-west/s1.key\"\ncrl_dir = \"crl\"\n\
                [lan]\nbind = \"127.0.0.1\"\nport = 0\n[wan]\nbind = \"127.0.0.1\"\nport = 0\n\
                [http]\nsocket = \"api.sock\"\nbind = \"127.0.0.1:0\"\n";
    std::fs::write(&file, text).expect("written");
    assert_eq!(code(&format!("config check {}", file.display())), Some(0));
    let child = Command::new(PELAGO)
        .args(["agent", "--config"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn();
    let mut agent = Running(child.expect("starts"));
    let socket = format!("--address unix://{at}/api.sock");
    assert_eq!(
        code(&format!("wait --members 1 --timeout 20s {socket}")),
        Some(0)
    );
    assert_eq!(stdout(&format!("health --ready {socket}")), "ready\n");
    assert_eq!(code(&format!("reload {socket}")), Some(0));
    let sent = Command::new("kill")
        .args(["-TERM", &agent.0.id().to_string()])
        .status();
    assert!(sent.expect("sent").success());
    assert!(ends_within(&mut agent.0, Duration::from_secs(5)).success());
}
