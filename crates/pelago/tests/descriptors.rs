//! The binary without file descriptors to spare (M-16): its listeners wait, its gossip goes on, and afterwards it serves.

mod common;

use common::{PELAGO, Running, pelago};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const DEADLINE: Duration = Duration::from_secs(60);
/// Descriptors of the process, and connections that take more than those.
const DESCRIPTORS: usize = 64;
const CONNECTIONS: usize = 300;
const CANNOT: &str = "API cannot accept a connection";

fn succeeds(arguments: &str) {
    let output = pelago(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {said}");
}

/// Polls until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that is free now for datagrams and for connections.
fn port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = tcp.local_addr().expect("address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Authorities of one datacenter and its agents.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().expect("a folder"));
        let init = "--trust-domain test.example --datacenter eu-west";
        succeeds(&format!("pki init --dir {} {init}", world.path().display()));
        world
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn socket(&self, name: &str) -> String {
        let socket = self.path().join(format!("{name}.sock"));
        format!("--address unix://{}", socket.display())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }

    /// How often an agent logged that it could not accept a connection.
    fn complaints(&self, name: &str) -> usize {
        let log = fs::read_to_string(self.log(name)).expect("a log");
        log.matches(CANNOT).count()
    }

    /// Starts an agent with so many descriptors that joins at this port.
    fn start(&self, name: &str, ports: [u16; 2], join: Option<u16>, descriptors: usize) -> Running {
        let dir = self.path().display();
        let what = "--datacenter eu-west --role client --zone a --rack r1";
        succeeds(&format!("pki issue --dir {dir} --node {name} {what}"));
        let [lan, http] = ports;
        let join = join
            .map(|p| format!("\"127.0.0.1:{p}\""))
            .unwrap_or_default();
        let text = format!(
            "[node]\nregion = \"europe\"\ndata_dir = \"data-{name}\"\n\
             [pki]\nca = \"ca.pem\"\ncert = \"eu-west/{name}.pem\"\nkey = \"eu-west/{name}.key\"\n\
             [lan]\nbind = \"127.0.0.1\"\nport = 0\nstream_port = {lan}\njoin = [{join}]\n\
             [http]\nsocket = \"{name}.sock\"\nbind = \"127.0.0.1:{http}\"\n"
        );
        let file = self.path().join(format!("{name}.toml"));
        fs::write(&file, text).expect("written");
        let child = Command::new("sh")
            .args(["-c", "ulimit -n $0; exec \"$@\""])
            .args([&descriptors.to_string(), PELAGO, "agent", "--config"])
            .arg(&file)
            .stderr(File::create(self.log(name)).expect("a log"))
            .stdout(Stdio::null())
            .spawn();
        Running(child.expect("starts"))
    }
}

/// Whether somebody sees this member alive.
fn alive(at: &str, name: &str) -> bool {
    let output = pelago(&format!("members --status alive -o name {at}"));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .any(|line| line == name)
}

/// How many connections an agent counts as not accepted.
fn counted(http: u16) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", http)).expect("connects");
    let ask = "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).expect("written");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).expect("answered");
    let series = "pelago_http_refused_total{reason=\"accept\"} ";
    let line = metrics.lines().find_map(|l| l.strip_prefix(series));
    line.and_then(|n| n.parse().ok()).expect("a series")
}

#[test]
fn without_descriptors_it_waits_and_gossips_and_afterwards_serves() {
    let world = World::new();
    let (lan, http) = (port(), port());
    let mut poor = world.start("poor", [lan, http], None, DESCRIPTORS);
    let witness = world.start("witness", [0, 0], Some(lan), 1024);
    let (poor_at, witness_at) = (world.socket("poor"), world.socket("witness"));
    eventually("both see each other", || {
        alive(&poor_at, "witness") && alive(&witness_at, "poor")
    });

    // The system takes them all in; the agent can accept only some, and as those end in time, others instead.
    let begun = Instant::now();
    let connect = |_| TcpStream::connect(("127.0.0.1", http)).expect("connects");
    let connections: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    eventually("it runs out of descriptors", || {
        world.complaints("poor") > 0
    });
    let open = || {
        let all = fs::read_dir(format!("/proc/{}/fd", poor.0.id())).expect("a process");
        all.count()
    };
    eventually("all descriptors are in use", || open() >= DESCRIPTORS);

    // Nobody misses it: somebody new comes in through it, and sees it as others do.
    let late = world.start("late", [0, 0], Some(lan), 1024);
    let late_at = world.socket("late");
    eventually("all who can be asked see all", || {
        let all = ["poor", "witness", "late"];
        let sees_all = |at| all.iter().all(|name| alive(at, name));
        sees_all(&witness_at) && sees_all(&late_at)
    });
    eventually("there are still none to spare", || open() >= DESCRIPTORS);
    assert_eq!(poor.0.try_wait().expect("can be asked"), None, "it runs");
    // It tries again ever less often, up to once a second, and anew whenever a connection that ended made room. Without
    // pauses these would be many thousands.
    let (complaints, took) = (world.complaints("poor"), begun.elapsed());
    let tries = CONNECTIONS + 10 * (10 + took.as_secs() as usize);
    assert!(complaints < tries, "{complaints} times in {took:?}");

    drop(connections);
    eventually("it serves again", || {
        pelago(&format!("health --live --address http://127.0.0.1:{http}"))
            .status
            .success()
    });
    assert!(counted(http) > 0, "and says what happened");
    assert!(alive(&poor_at, "late"), "it has kept up");
    let events = String::from_utf8(pelago(&format!("events {witness_at}")).stdout).expect("text");
    for word in ["suspect", "dead", "unreachable"] {
        assert!(!events.contains(word), "{word}:\n{events}");
    }
    drop((late, witness));
}
