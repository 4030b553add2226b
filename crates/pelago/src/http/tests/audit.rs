//! Who changed what is said in the log, whether it was allowed or not.

use super::{request, running, send};
use std::sync::{Arc, Mutex};
use tokio::net::UnixStream;

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut held = self.0.lock().map_err(|_| std::io::ErrorKind::Other)?;
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn changing_calls_are_logged_with_who_made_them() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let api = running().await;
    api.send(request("POST", "/v1/leave")).await;
    api.send(request("GET", "/v1/members")).await;
    let socket = UnixStream::connect(&api.socket).await.expect("connects");
    send(socket, request("POST", "/v1/reload")).await;
    let text = String::from_utf8(lines.0.lock().expect("a lock").clone()).expect("text");
    let audit: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("pelago::audit"))
        .collect();
    let [refused, done] = audit[..] else {
        panic!("two calls change something:\n{text}");
    };
    for part in ["127.0.0.1:", "POST /v1/leave", "status=403"] {
        assert!(refused.contains(part), "{part} is missing in {refused}");
    }
    for part in ["on the socket", "POST /v1/reload", "status=200"] {
        assert!(done.contains(part), "{part} is missing in {done}");
    }
}
