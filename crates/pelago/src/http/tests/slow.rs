//! The API among thousands of connections that are slow, or idle, or lie about what they will send (M-16).

use super::*;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// Slow connections, if this process may have so many.
const SLOW: usize = 2000;
const OPEN: &str = r#"pelago_http_connections{listener="tcp"}"#;
const DISPLACED: &str = r#"pelago_http_refused_total{reason="displaced"}"#;
const DEADLINE: Duration = Duration::from_secs(120);

/// How many connections this process can open and still serve.
fn allowed() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let soft = line.and_then(|l| l.split_whitespace().next());
    // The other ends of those that are served are this process's too.
    let soft: usize = soft.and_then(|s| s.parse().ok()).unwrap_or(1024);
    SLOW.min(soft.saturating_sub(700))
}

/// The heads that slow connections begin with, and what they send now and then.
const KINDS: [(&str, &str); 3] = [
    ("GET /v1/self HTTP/1.1\r\nhost: 127.0.0.1\r\n", "x: y\r\n"),
    ("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", ""),
    (
        "POST /v1/crls HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9999\r\n\r\n",
        "{",
    ),
];

/// One connection after another, each as slow as it may be; counts how often it was closed.
async fn slowly(address: SocketAddr, kind: usize, closed: Arc<AtomicU64>) {
    let (head, more) = KINDS[kind % KINDS.len()];
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await
            && stream.write_all(head.as_bytes()).await.is_ok()
        {
            let mut buffer = [0; 1024];
            loop {
                tokio::select! {
                    read = stream.read(&mut buffer) => if !matches!(read, Ok(1..)) { break },
                    () = tokio::time::sleep(Duration::from_secs(1)) => {
                        if stream.write_all(more.as_bytes()).await.is_err() { break }
                    }
                }
            }
        }
        closed.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Asks on a connection of its own, again if that was closed; the status and how many tries it took.
async fn served(api: &Running, path: &str, socket: bool) -> (u16, u64) {
    let ask = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    let mut tries = 0;
    loop {
        tries += 1;
        let mut answer = Vec::new();
        let asked = async {
            if socket {
                let mut stream = UnixStream::connect(&api.socket).await?;
                stream.write_all(ask.as_bytes()).await?;
                stream.read_to_end(&mut answer).await
            } else {
                let mut stream = api.tcp().await;
                stream.write_all(ask.as_bytes()).await?;
                stream.read_to_end(&mut answer).await
            }
        };
        let _ = asked.await;
        let text = String::from_utf8_lossy(&answer);
        if let Some(status) = text.split_whitespace().nth(1).and_then(|s| s.parse().ok()) {
            return (status, tries);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_slow_connections_keep_nobody_out() {
    let api = running().await;
    let (address, count) = (api.server.address.expect("listens"), allowed());
    let closed = Arc::new(AtomicU64::new(0));
    let slow: Vec<_> = (0..count)
        .map(|kind| tokio::spawn(slowly(address, kind, Arc::clone(&closed))))
        .collect();
    let full = async {
        while api.series(OPEN).await < 500.0 || api.series(DISPLACED).await < 500.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, full)
        .await
        .expect("all places are taken, and given up for newcomers");
    for socket in [false, true] {
        let (mut took, mut tries) = (Vec::new(), 0);
        let work = async {
            for i in 0..100 {
                let path = ["/v1/self", "/livez", "/v1/members"][i % 3];
                let begun = Instant::now();
                let (status, tried) = served(&api, path, socket).await;
                assert_eq!(status, 200, "{path} while others are slow");
                took.push(begun.elapsed());
                tries += tried - 1;
                // Spread over as long as a place lasts without a request.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DEADLINE, work)
            .await
            .expect("others are served");
        took.sort();
        let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        let by = if socket { "socket" } else { "TCP" };
        println!(
            "{count} slow connections, 100 others by {by}: median {median:?}, p99 {p99:?}, {tries} tried again"
        );
    }
    println!("{} slow connections were closed", closed.load(Relaxed));
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(served(&api, "/v1/self", false).await.0, 200);
}

impl Running {
    /// One series, asked for on the Unix socket.
    async fn series(&self, name: &str) -> f64 {
        let stream = UnixStream::connect(&self.socket).await.expect("connects");
        let metrics = text(send(stream, request("GET", "/metrics")).await).await;
        let line = metrics.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.trim().parse().ok()).expect("a series")
    }
}

/// Sends a head and then a body until it is answered or closed; the status and the bytes sent.
async fn post(stream: TcpStream, head: &str, piece: &[u8]) -> (Option<u16>, usize) {
    let (mut read, mut write) = stream.into_split();
    write.write_all(head.as_bytes()).await.expect("written");
    let answered = tokio::spawn(async move {
        let mut answer = Vec::new();
        // Closed with what it has sent unread, the other end sees a reset after the answer.
        let _ = read.read_to_end(&mut answer).await;
        answer
    });
    let mut sent = 0;
    while sent < 1 << 30 && write.write_all(piece).await.is_ok() {
        sent += piece.len();
    }
    let answer = answered.await.expect("ran");
    let text = String::from_utf8_lossy(&answer);
    let status = text.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    (status, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_is_refused_before_it_is_sent() {
    let api = running().await;
    let piece = vec![b'a'; 16 * 1024];
    let told = "POST /v1/crls HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1073741824\r\n\r\n";
    let chunks = "POST /v1/crls HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"4000\r\n", &piece[..], b"\r\n"].concat();
    for (head, piece) in [(told, &piece), (chunks, &chunk)] {
        let (status, sent) = post(api.tcp().await, head, piece).await;
        // The reset that ends it may overtake the answer.
        assert!(matches!(status, None | Some(413)), "{status:?}");
        // What buffers on both sides hold, and no more.
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
        println!("a body of 1 GiB: {status:?} after {sent} bytes");
    }
    // Nobody reads a body where none is expected.
    let get = "GET /v1/self HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1073741824\r\n\r\n";
    let (_, sent) = post(api.tcp().await, get, &piece).await;
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
    assert_eq!(api.text("/livez").await.0, 200);
}

#[tokio::test]
async fn other_hosts_are_refused_and_many_requests_at_once_are_answered_in_order() {
    let api = running().await;
    for host in [
        "evil.test",
        "127.0.0.1.evil.test",
        "",
        "localhost@evil.test",
    ] {
        let mut stream = api.tcp().await;
        let ask = format!("GET /v1/self HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
    }
    let mut stream = api.tcp().await;
    let mut all = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(999);
    all.push_str("GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let (mut read, mut write) = stream.split();
    let mut answers = String::new();
    let (written, heard) = tokio::join!(
        write.write_all(all.as_bytes()),
        read.read_to_string(&mut answers)
    );
    written.expect("written");
    heard.expect("answered");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 999);
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 1);
}
