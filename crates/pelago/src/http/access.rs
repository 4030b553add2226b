//! Who may call what: everything on the Unix socket, reading on loopback, and beyond it only what was allowed.

use super::{Shared, fault::Fault};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ipnet::IpNet;
use pelago_proto::identity::Role;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// No call but a stream of events may take longer.
const TOTAL: Duration = Duration::from_secs(10);

/// What is signed by whoever decided it: it matters little who carries it here.
const CARRIED: [&str; 2] = ["/v1/crls", "/v1/removals"];

/// Where a request comes from. Fixed per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The Unix socket: file permissions have decided already.
    Socket,
    /// Plaintext TCP.
    Plain(IpAddr),
    /// TLS with a certificate of the federation.
    Certified(Role),
    /// TLS with a certificate that was good when the connection began, and is not any more.
    Lapsed,
}

/// Who is at the other end of a connection, in words: for the audit log alone, rights follow from [`Caller`].
#[derive(Clone, Debug)]
pub(crate) struct Who(pub(crate) Arc<str>);

/// What is allowed beyond the socket and loopback.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Sources that may read in plaintext.
    pub(crate) plain_read: Vec<IpNet>,
    /// Host names under which plaintext requests may arrive.
    pub(crate) hosts: Vec<String>,
}

impl Access {
    /// Whether this request may go on at all.
    fn admits(
        &self,
        caller: Caller,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Fault> {
        if caller == Caller::Lapsed {
            return Err(Fault::not_allowed(
                "the certificate of this connection is not valid any more",
            ));
        }
        if let Caller::Plain(source) = caller {
            let source = source.to_canonical();
            if !source.is_loopback() && !self.plain_read.iter().any(|net| net.contains(&source)) {
                return Err(
                    Fault::not_allowed(format!("{source} may not read here in plaintext"))
                        .hint("add its network to [http] plain_read, or use TLS"),
                );
            }
            self.known_host(headers)?;
        }
        let reading = reads(method);
        let trusted = matches!(caller, Caller::Socket | Caller::Certified(Role::Operator));
        if !reading && !trusted && !CARRIED.contains(&path) {
            return Err(Fault::not_allowed(
                "changing calls are taken on the Unix socket or with an operator certificate",
            )
            .hint("pelago --address unix:///run/pelago/api.sock …"));
        }
        // A browser adds this header; no page has any business with changing calls.
        if !reading && headers.contains_key(header::ORIGIN) {
            return Err(Fault::not_allowed(
                "changing calls are not taken from web pages",
            ));
        }
        Ok(())
    }

    /// A page of another site may have its name point here; then the name in the request is not one of ours.
    fn known_host(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let given = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let host = without_port(given);
        let ours = host.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(host));
        if ours {
            return Ok(());
        }
        Err(Fault::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown-host",
            format!("\"{given}\" is no name of this node"),
        )
        .hint("use its address, or add the name to [http] hosts"))
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn without_port(host: &str) -> &str {
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split(']').next().unwrap_or(v6);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// The middleware: right, then room, then time.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    let Some(caller) = caller else {
        return Fault::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "a request without a caller",
        )
        .into_response();
    };
    let change = (!reads(request.method())).then(|| Change::of(&request));
    let response = admitted(&shared, caller, request, next).await;
    if let Some(change) = change {
        change.log(response.status());
    }
    response
}

/// A call that changes something: each is said in the log, allowed or not.
struct Change {
    who: Option<Who>,
    call: String,
}

impl Change {
    fn of(request: &Request) -> Self {
        Self {
            who: request.extensions().get::<Who>().cloned(),
            call: format!("{} {}", request.method(), request.uri().path()),
        }
    }

    fn log(&self, status: StatusCode) {
        let who = self.who.as_ref().map_or("unknown", |who| &who.0);
        let (call, status) = (self.call.as_str(), status.as_u16());
        tracing::info!(target: "pelago::audit", who, call, status, "a changing call");
    }
}

async fn admitted(shared: &Shared, caller: Caller, request: Request, next: Next) -> Response {
    if let Err(fault) = shared.access.admits(
        caller,
        request.method(),
        request.uri().path(),
        request.headers(),
    ) {
        shared.metrics.refused("not-allowed");
        return fault.into_response();
    }
    let room = match caller {
        Caller::Socket => &shared.rooms.on_socket,
        _ if reads(request.method()) => &shared.rooms.reading,
        _ => &shared.rooms.changing,
    };
    let Ok(_room) = room.try_acquire() else {
        shared.metrics.refused("busy");
        return Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many requests at once",
        )
        .into_response();
    };
    match tokio::time::timeout(TOTAL, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            shared.metrics.refused("timeout");
            Fault::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "no answer within 10 s",
            )
            .hint("ask with view=local for what this node knows itself")
            .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(caller: Caller, method: Method, host: &str) -> Option<u16> {
        admits_to("/v1/leave", caller, method, host)
    }

    fn admits_to(path: &str, caller: Caller, method: Method, host: &str) -> Option<u16> {
        let access = Access {
            plain_read: vec!["10.80.0.0/16".parse().expect("a net")],
            hosts: vec!["s1".into()],
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        access
            .admits(caller, &method, path, &headers)
            .err()
            .map(|fault| fault.problem().status)
    }

    fn plain(ip: &str) -> Caller {
        Caller::Plain(ip.parse().expect("an address"))
    }

    #[test]
    fn reading_changing_and_sources() {
        assert_eq!(admits(Caller::Socket, Method::POST, "x"), None);
        assert_eq!(
            admits(Caller::Certified(Role::Operator), Method::POST, "x"),
            None
        );
        assert_eq!(
            admits(Caller::Certified(Role::Server), Method::POST, "x"),
            Some(403)
        );
        assert_eq!(
            admits(Caller::Certified(Role::Client), Method::GET, "x"),
            None
        );
        assert_eq!(
            admits(plain("127.0.0.1"), Method::GET, "127.0.0.1:8700"),
            None
        );
        assert_eq!(
            admits(plain("::ffff:127.0.0.1"), Method::GET, "localhost"),
            None
        );
        assert_eq!(
            admits(plain("127.0.0.1"), Method::POST, "localhost"),
            Some(403)
        );
        assert_eq!(admits(plain("10.80.1.1"), Method::GET, "s1:8700"), None);
        assert_eq!(
            admits(plain("10.81.1.1"), Method::GET, "s1:8700"),
            Some(403)
        );
    }

    #[test]
    fn whose_certificate_lapsed_may_not_even_read() {
        assert_eq!(admits(Caller::Lapsed, Method::GET, "localhost"), Some(403));
        assert_eq!(admits(Caller::Lapsed, Method::POST, "localhost"), Some(403));
    }

    #[test]
    fn names_of_others_are_refused() {
        assert_eq!(
            admits(plain("127.0.0.1"), Method::GET, "evil.example"),
            Some(421)
        );
        assert_eq!(admits(plain("127.0.0.1"), Method::GET, ""), Some(421));
        assert_eq!(admits(plain("127.0.0.1"), Method::GET, "[::1]:8700"), None);
        assert_eq!(
            admits(Caller::Certified(Role::Client), Method::GET, "evil.example"),
            None
        );
    }

    #[test]
    fn web_pages_change_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ORIGIN,
            "http://localhost".parse().expect("a header"),
        );
        let access = Access::default();
        assert!(
            access
                .admits(
                    Caller::Certified(Role::Operator),
                    &Method::POST,
                    "/v1/leave",
                    &headers
                )
                .is_err()
        );
    }

    #[test]
    fn whoever_may_read_may_carry_what_an_operator_signed() {
        for path in CARRIED {
            let carries = |caller| admits_to(path, caller, Method::POST, "localhost");
            assert_eq!(carries(plain("127.0.0.1")), None);
            assert_eq!(carries(Caller::Certified(Role::Client)), None);
            assert_eq!(carries(plain("10.99.0.1")), Some(403));
        }
    }
}
