//! What readers of bytes from outside promise, for `crates/fuzz`: each function panics if a promise does not hold. Only compiled with
//! the feature `fuzz`, which changes nothing else.

use crate::{config, http};
use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use std::cell::RefCell;
use tower_service::Service;

/// Longest answer that is read to its end.
const ANSWER: usize = 1 << 20;

/// A configuration is refused with a reason or becomes settings; it can be shown, and what is shown means the same.
///
/// # Panics
///
/// If not.
pub fn configuration(text: &str) {
    let (accepted, reasons, shown) = config::read(text);
    assert!(accepted || reasons > 0, "refused without a reason");
    let (_, _, again) = config::read(&shown);
    assert_eq!(again, shown, "what is shown is what is set");
}

/// A request, its path and query as given, is answered, and what is answered is text; nothing is the server's own fault.
///
/// # Panics
///
/// If not.
pub fn request(target: &str, changes: bool) {
    // Streams of events do not end.
    if target.starts_with("/v1/events") {
        return;
    }
    let method = if changes { Method::POST } else { Method::GET };
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "localhost")
        .body(Body::empty());
    let Ok(request) = request else { return };
    let (status, body) = CLIENT.with_borrow_mut(|client| client.send(request));
    assert!(
        !status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE,
        "{target}: {status}"
    );
    assert!(std::str::from_utf8(&body).is_ok() || target.starts_with("/assets/"));
    if !status.is_success() && !status.is_redirection() && target.starts_with("/v1/") {
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("a problem");
        assert!(problem["title"].is_string(), "{target}: {problem}");
    }
}

struct Client {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

thread_local! {
    static CLIENT: RefCell<Client> = RefCell::new(Client {
        router: http::offline(http::Caller::Socket),
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime"),
    });
}

impl Client {
    fn send(&mut self, request: Request<Body>) -> (StatusCode, Vec<u8>) {
        let answer = self.router.call(request);
        self.runtime.block_on(async {
            let answer = answer.await.unwrap_or_else(|never| match never {});
            let status = answer.status();
            let body = http_body_util::Limited::new(answer.into_body(), ANSWER);
            let body = body.collect().await.expect("it ends").to_bytes();
            (status, body.to_vec())
        })
    }
}
