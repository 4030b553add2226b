//! The API over real sockets, with a backend that holds the fixture federation.

use super::{
    fake::{Fake, event},
    *,
};
use crate::{config::Http, model::fixture};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming};
use hyper_util::rt::TokioIo;
use pelago_node::{
    api::{Cause, Condition, Missing},
    config::Pki,
};
use pelago_proto::{
    claim::{Body, Claim, Removal},
    identity::NodeId,
    view::Status,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

mod audit;
mod slow;

struct Running {
    server: Server,
    fake: Arc<Fake>,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

async fn running() -> Running {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("run/api.sock");
    let fake = Fake::new();
    let http = Http {
        socket: Some(socket.clone()),
        bind: "127.0.0.1:0".parse().ok(),
        ..Http::default()
    };
    let backend: Arc<dyn Backend> = fake.clone();
    let server = start(backend, &http, &no_pki()).await.expect("listens");
    Running {
        server,
        fake,
        socket,
        _dir: dir,
    }
}

fn no_pki() -> Pki {
    Pki {
        ca: "".into(),
        cert: "".into(),
        key: "".into(),
        crl_dir: None,
        fail_closed: false,
    }
}

impl Running {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.address.expect("listens"))
            .await
            .expect("connects")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        send(self.tcp().await, request).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, text) = self.text(path).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error} in {text}")),
        )
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let response = self.send(request("GET", path)).await;
        let status = response.status().as_u16();
        (status, text(response).await)
    }
}

fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
    let builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1");
    builder.body(Full::default()).expect("a request")
}

async fn send(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Response<Incoming> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("shakes hands");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("an answer")
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    String::from_utf8(bytes.to_vec()).expect("is text")
}

fn names(body: &Value) -> Vec<&str> {
    body["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect()
}

#[tokio::test]
async fn members_are_scoped_filtered_and_paged() {
    let api = running().await;
    let (status, own) = api.get("/v1/members").await;
    assert_eq!(status, 200);
    assert_eq!(
        names(&own),
        [
            "eu-west-c1",
            "eu-west-c2",
            "eu-west-s1",
            "eu-west-s2",
            "eu-west-s3"
        ]
    );
    assert_eq!(own["schema"], "pelago.members/1");
    assert_eq!(api.get("/v1/members?dc=*").await.1["total"], 15);
    assert_eq!(
        names(&api.get("/v1/members?dc=us-east&role=client").await.1),
        ["us-east-c1", "us-east-c2"]
    );
    assert_eq!(
        names(&api.get("/v1/members?zone=b&rack=r1").await.1),
        ["eu-west-s2"]
    );
    assert_eq!(names(&api.get("/v1/members?status=dead").await.1), [""; 0]);
    assert_eq!(api.get("/v1/members?dc=*&elected=true").await.1["total"], 9);
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api
            .get(&format!("/v1/members?dc=*&limit=4{cursor}"))
            .await
            .1;
        assert!(names(&page).len() <= 4);
        all.extend(names(&page).iter().map(ToString::to_string));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(all.len(), 15);
    all.dedup();
    assert_eq!(all.len(), 15);
}

#[tokio::test]
async fn answers_name_their_view_and_unchanged_ones_are_not_sent_again() {
    let api = running().await;
    let first = api.send(request("GET", "/v1/members?view=home")).await;
    assert_eq!(first.headers()["pelago-viewer"], "eu-west-s1");
    assert_eq!(first.headers()["pelago-view"], "home");
    let etag = first.headers()["etag"].clone();
    let body: Value = serde_json::from_str(&text(first).await).expect("JSON");
    assert_eq!(
        format!("\"{}\"", body["view"]["digest"].as_str().expect("a digest")),
        etag.to_str().expect("text")
    );
    let mut again = request("GET", "/v1/members?view=home");
    again.headers_mut().insert("if-none-match", etag);
    let again = api.send(again).await;
    assert_eq!(again.status(), 304);
    assert_eq!(text(again).await, "");
}

#[tokio::test]
async fn a_datacenter_that_could_not_be_asked_makes_the_answer_partial() {
    let api = running().await;
    let cause = Cause {
        server: "us-east-s1".into(),
        address: None,
        error: "timed out".into(),
    };
    let missing = Missing {
        datacenter: fixture::label("us-east"),
        causes: vec![cause],
    };
    api.fake
        .answer
        .lock()
        .expect("not poisoned")
        .partial
        .push(missing);
    let response = api.send(request("GET", "/v1/members?dc=*&view=home")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["pelago-partial"], "us-east");
    let body: Value = serde_json::from_str(&text(response).await).expect("JSON");
    assert_eq!(body["view"]["partial"][0], "us-east");
    assert_eq!(body["view"]["causes"][0]["error"], "timed out");
}

#[tokio::test]
async fn problems_carry_a_code_and_a_hint() {
    let api = running().await;
    for (path, status, code) in [
        ("/v1/members/nobody", 404, "no-such-member"),
        ("/v1/members?dc=atlantis", 404, "unknown-datacenter"),
        ("/v1/datacenters/atlantis", 404, "unknown-datacenter"),
        ("/v1/datacenters/At%20lantis", 404, "unknown-datacenter"),
        ("/v1/members/no%99name", 400, "bad-parameter"),
        ("/v1/members?zome=a", 400, "bad-parameter"),
        ("/v1/events?since=yesterday", 400, "bad-parameter"),
        ("/v2/members", 404, "no-such-path"),
        ("/v1/join", 405, "method-not-allowed"),
    ] {
        let response = api.send(request("GET", path)).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
        let body: Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert_eq!(
            (&body["status"], &body["code"]),
            (&status.into(), &code.into()),
            "{path}"
        );
        assert_eq!(body["type"], format!("urn:pelago:problem:{code}"));
    }
    // Every member has a name that starts so, but names are not prefixes; ids are.
    let shared = &fixture::member("eu-west", "eu-west-s1").id.to_string()[2..4];
    let (status, _) = api.get(&format!("/v1/members/{shared}")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn one_member_and_the_evidence() {
    let api = running().await;
    let (_, body) = api.get("/v1/members/us-east-s2.us-east").await;
    assert_eq!(body["member"]["wan_address"], "10.80.82.12:8703");
    let (status, body) = api.get("/v1/members/eu-west-s2/why").await;
    assert_eq!((status, &body["needed"]), (200, &2.into()));
    assert_eq!(body["schema"], "pelago.why/1");
}

#[tokio::test]
async fn changing_calls_need_the_socket() {
    let api = running().await;
    assert_eq!(api.send(request("POST", "/v1/leave")).await.status(), 403);
    let socket = || async { UnixStream::connect(&api.socket).await.expect("connects") };
    let mut join = request("POST", "/v1/join");
    *join.body_mut() = Full::from("{\"addresses\":[\"10.0.0.1\"]}");
    let joined = send(socket().await, join).await;
    assert_eq!(joined.status(), 200);
    assert_eq!(
        serde_json::from_str::<Value>(&text(joined).await).expect("JSON")["joined"][0],
        "10.0.0.1"
    );
    for bad in [
        "",
        "{}",
        "{\"addresses\":[]}",
        "{\"addresses\":[\"a\"],\"x\":1}",
        "[[[[[[",
    ] {
        let mut join = request("POST", "/v1/join");
        *join.body_mut() = Full::from(bad);
        assert_eq!(send(socket().await, join).await.status(), 400, "{bad}");
    }
    let mut large = request("POST", "/v1/join");
    *large.body_mut() = Full::from(" ".repeat(64 * 1024 + 1));
    assert_eq!(send(socket().await, large).await.status(), 413);
    assert_eq!(
        send(socket().await, request("POST", "/v1/leave"))
            .await
            .status(),
        200
    );
    api.server.left.notified().await;
}

#[tokio::test]
async fn foreign_host_names_are_refused_on_tcp_only() {
    let api = running().await;
    let named = |host: &str| {
        let mut named = request("GET", "/v1/self");
        named
            .headers_mut()
            .insert("host", host.parse().expect("a header"));
        named
    };
    assert_eq!(api.send(named("evil.example")).await.status(), 421);
    assert_eq!(
        api.send(named("eu-west-s1.eu-west:8700")).await.status(),
        200
    );
    let socket = UnixStream::connect(&api.socket).await.expect("connects");
    assert_eq!(send(socket, named("evil.example")).await.status(), 200);
}

#[tokio::test]
async fn a_removal_is_taken_from_whoever_may_connect_if_it_is_one() {
    let api = running().await;
    let pki = tempfile::tempdir().expect("a folder");
    pelago_pki::init(
        pki.path(),
        "t.example",
        &["eu-west".to_owned()],
        1_800_000_000,
    )
    .expect("authorities");
    let pem = std::fs::read_to_string(pki.path().join("ca.pem")).expect("a certificate");
    let claim = Claim::sign_as(
        "t.example",
        NodeId([1; 16]),
        Body::Removal(Removal {
            removed: NodeId([2; 16]),
            until: 1_800_000_000,
            reason: String::new(),
        }),
        |_| [0; 64],
    );
    let hex: String = claim.bytes().iter().map(|b| format!("{b:02x}")).collect();
    let cut = &hex[1..];
    for (body, status) in [
        (json!({"claim": hex, "certificate": pem}), 200),
        (json!({"claim": cut, "certificate": pem}), 400),
        (json!({"claim": "a4", "certificate": pem}), 400),
        (json!({"claim": hex, "certificate": "absent"}), 400),
        (json!({"claim": hex}), 400),
        (json!([]), 400),
    ] {
        let mut posted = request("POST", "/v1/removals");
        *posted.body_mut() = Full::from(body.to_string());
        let answer = api.send(posted).await;
        assert_eq!(answer.status(), status, "{body}");
        let said: Value = serde_json::from_str(&text(answer).await).expect("JSON");
        match status {
            200 => assert_eq!(said["id"], NodeId([2; 16]).to_string()),
            _ => assert_eq!(said["code"], "bad-parameter"),
        }
    }
}

#[tokio::test]
async fn lists_are_taken_in_pem_and_in_hexadecimal_digits_and_refusals_say_why() {
    let api = running().await;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    // "news", in base64.
    let pem = "-----BEGIN X509 CRL-----\nbmV3cw==\n-----END X509 CRL-----\n";
    for (body, status, said) in [
        (json!({"crl": pem}), 200, "eu-west"),
        (json!({"crl": hex(b"known")}), 200, "\"news\":false"),
        (
            json!({"crl": hex(b"stale")}),
            409,
            "number 7 is held already",
        ),
        (json!({"crl": hex(b"forged")}), 403, "signature"),
        (json!({"crl": hex(b"early")}), 403, "ahead of now"),
        (json!({"crl": hex(b"else")}), 400, "not a revocation list"),
        (json!({"crl": "what is this"}), 400, "not a revocation list"),
        (json!({"crl": hex(&[0; 66_000])}), 413, "65536 at most"),
        (json!({}), 400, "bad-parameter"),
    ] {
        let mut posted = request("POST", "/v1/crls");
        *posted.body_mut() = Full::from(body.to_string());
        let answer = api.send(posted).await;
        assert_eq!(answer.status(), status, "{said}");
        let text = text(answer).await;
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn events_resume_and_say_when_history_is_gone() {
    let api = running().await;
    let (_, replayed) = api.text("/v1/events?since=oldest&follow=false").await;
    assert_eq!(replayed.matches("event: joined").count(), 11, "{replayed}");
    assert!(
        replayed.starts_with("id: 100\n") || replayed.contains("\nid: 100\n"),
        "{replayed}"
    );
    let mut resumed = request("GET", "/v1/events?follow=false");
    resumed
        .headers_mut()
        .insert("last-event-id", "108".parse().expect("a header"));
    assert_eq!(
        text(api.send(resumed).await)
            .await
            .matches("event: joined")
            .count(),
        2
    );
    let (_, gone) = api.text("/v1/events?since=7&follow=false").await;
    assert!(gone.contains("event: reset"), "{gone}");
    // Live ones follow, without repeating what was replayed.
    let mut stream = api
        .send(request("GET", "/v1/events?since=109"))
        .await
        .into_body();
    for id in [110, 111] {
        api.fake.events.send(event(id)).expect("somebody listens");
    }
    let mut seen = String::new();
    while seen.matches("event: joined").count() < 2 {
        let frame = stream.frame().await.expect("goes on").expect("is sound");
        seen.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
    }
    assert_eq!(
        seen.matches("\nid: 110").count() + usize::from(seen.starts_with("id: 110")),
        1,
        "{seen}"
    );
}

#[tokio::test]
async fn probes_metrics_page_and_contract() {
    let api = running().await;
    assert_eq!(api.text("/livez").await, (200, "live\n".into()));
    assert_eq!(api.text("/readyz").await.0, 503);
    let (_, metrics) = api.text("/metrics").await;
    assert!(
        metrics.contains("pelago_drops_total 0.0") && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    let page = api.send(request("GET", "/")).await;
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .is_ok_and(|it| it.starts_with("default-src 'none'"))
    );
    for asset in ["/assets/pelago.js", "/assets/pelago.css"] {
        assert_eq!(api.text(asset).await.0, 200);
    }
}

/// The contract names exactly the routes that are served, and the fields that the golden files hold.
#[tokio::test]
async fn openapi_is_true() {
    let api = running().await;
    let (_, contract) = api.get("/openapi.json").await;
    let paths = contract["paths"].as_object().expect("paths");
    let mut told: Vec<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .into_iter()
                .flatten()
                .map(move |(method, _)| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let mut served: Vec<_> = ROUTES
        .iter()
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    told.sort();
    served.sort();
    assert_eq!(told, served);
    for (method, path) in ROUTES {
        let path = path
            .replace("{node}", "eu-west-s1")
            .replace("{dc}", "eu-west")
            + "";
        let path = if path == "/v1/events" {
            "/v1/events?follow=false".to_owned()
        } else {
            path
        };
        let status = api.send(request(method, &path)).await.status().as_u16();
        assert!(![404, 405].contains(&status), "{method} {path}: {status}");
    }
    for (schema, body) in [
        ("Members", api.get("/v1/members").await.1),
        (
            "Member",
            api.get("/v1/members").await.1["members"][0].clone(),
        ),
        ("View", api.get("/v1/members").await.1["view"].clone()),
        (
            "MemberDetail",
            api.get("/v1/members/eu-west-s1").await.1["member"].clone(),
        ),
        ("Why", api.get("/v1/members/eu-west-s1/why").await.1),
        (
            "Datacenter",
            api.get("/v1/datacenters").await.1["datacenters"][0].clone(),
        ),
        (
            "Server",
            api.get("/v1/servers").await.1["servers"][0].clone(),
        ),
        ("Comparison", api.get("/v1/compare").await.1),
        ("Self", api.get("/v1/self").await.1),
        ("Status", api.get("/v1/status").await.1),
        ("Links", api.get("/v1/links").await.1),
        ("Problem", api.get("/v1/members/nobody").await.1),
    ] {
        let told = &contract["components"]["schemas"][schema];
        let fields = body.as_object().expect("an object");
        for field in fields.keys() {
            assert!(
                told["properties"].get(field).is_some(),
                "{schema}.{field} is not in the contract"
            );
        }
        for required in told["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            assert!(
                fields.contains_key(required),
                "{schema}.{required} is not served"
            );
        }
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let api = running().await;
    assert!(matches!(
        listen::unix(&api.socket).await,
        Err(ListenError::Taken(_))
    ));
    api.server.stop().await;
    assert!(!api.socket.exists());
    drop(std::os::unix::net::UnixListener::bind(&api.socket).expect("binds"));
    assert!(api.socket.exists());
    listen::unix(&api.socket)
        .await
        .expect("replaces the file of a process that is gone");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&api.socket)
            .expect("exists")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn slow_and_oversized_heads_are_cut_off() {
    let api = running().await;
    let mut slow = api.tcp().await;
    slow.write_all(b"GET /v1/self HTTP/1.1\r\nhost: 127")
        .await
        .expect("written");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(8), slow.read_to_end(&mut answer)).await;
    assert!(
        ended.is_ok(),
        "a head that does not end keeps its connection"
    );
    let mut large = api.tcp().await;
    let head = format!(
        "GET /v1/self HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n",
        "a".repeat(128 * 1024)
    );
    let _ = large.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = large.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(api.text("/livez").await.0, 200);
}

#[tokio::test]
async fn statuses_of_others_show_in_the_verdict() {
    let mut snapshot = fixture::snapshot();
    let view = Arc::make_mut(&mut snapshot.view);
    let datacenter = view.datacenters.values_mut().next().expect("one");
    Arc::make_mut(&mut datacenter.members)[0].status = Status::Dead;
    let datacenters = view
        .datacenters
        .values()
        .map(crate::model::Datacenter::new)
        .collect();
    let node = crate::model::SelfBody::new(&fixture::me(), view, &fixture::lists(), 1);
    let condition = Condition {
        live: true,
        ready: true,
        degraded: vec![],
        notices: vec![],
    };
    let status =
        crate::model::StatusBody::new(node, &condition, datacenters, crate::model::Api::default());
    assert_eq!(status.verdict, crate::model::Verdict::Degraded);
    assert_eq!(status.reasons, ["ap-south: 1 of 5 members dead"]);
}

/// Certificates of one datacenter in a folder: `s1` (server) and `ops` (operator).
fn certificates(dir: &std::path::Path) -> Pki {
    let now = crate::pki::unix_now();
    pelago_pki::init(dir, "test.example", &["eu-west".to_owned()], now).expect("authorities");
    for (node, role) in [
        ("s1", pelago_pki::Role::Server),
        ("ops", pelago_pki::Role::Operator),
    ] {
        let request = pelago_pki::IssueRequest {
            datacenter: "eu-west".into(),
            zone: "a".into(),
            rack: "r1".into(),
            role,
            node: node.into(),
            lifetime: Duration::from_secs(3600),
            out: Some(dir.to_owned()),
        };
        pelago_pki::issue(dir, &request, now).expect("a certificate");
    }
    Pki {
        ca: dir.join("ca.pem"),
        cert: dir.join("s1.pem"),
        key: dir.join("s1.key"),
        crl_dir: Some(dir.join("crl")),
        fail_closed: false,
    }
}

#[tokio::test]
async fn tls_asks_for_certificates_and_operators_may_change() {
    use crate::{
        cli::{Client, ConnectOptions},
        exit::Exit,
        model::{LeaveBody, SelfBody},
    };
    let dir = tempfile::tempdir().expect("a folder");
    let pki = certificates(dir.path());
    let policy = pelago_pki::Policy::default();
    let store = pelago_pki::TrustStore::load(&pki.ca, pki.crl_dir.as_deref(), policy);
    let store = store.expect("certificates");
    let fake = Fake::believing(Some(store.clone()));
    let bind = "127.0.0.1:0".parse().ok();
    let http = Http {
        bind,
        tls: true,
        ..Http::default()
    };
    let server = start(fake, &http, &pki).await.expect("listens");
    let address = server.address.expect("listens");
    let client = |name: &str| {
        let connect = ConnectOptions {
            address: format!("https://{address}").parse().ok(),
            ca: Some(pki.ca.clone()),
            cert: Some(dir.path().join(format!("{name}.pem"))),
            key: Some(dir.path().join(format!("{name}.key"))),
            crls: pki.crl_dir.clone(),
        };
        Client::new(&connect).expect("a client")
    };
    let own: SelfBody = client("s1").get("/v1/self").await.expect("may read");
    assert_eq!(own.name, "eu-west-s1");
    let refused = client("s1")
        .post::<LeaveBody>("/v1/leave", String::new())
        .await;
    assert_eq!(refused.expect_err("only reads").exit, Exit::Denied);
    client("ops")
        .post::<LeaveBody>("/v1/leave", String::new())
        .await
        .expect("may change");
    // Without a certificate, and in plaintext, there is no answer at all.
    let plain = ConnectOptions {
        address: format!("http://{address}").parse().ok(),
        ..ConnectOptions::default()
    };
    let nobody = Client::new(&plain)
        .expect("a client")
        .get::<SelfBody>("/v1/self")
        .await;
    assert_eq!(nobody.expect_err("no answer").exit, Exit::Unreachable);
    // The same certificate, revoked, is refused as soon as the node has the list, and what it still reads ends.
    let mut events = client("ops").stream("/v1/events").await.expect("may read");
    let mut others = client("s1").stream("/v1/events").await.expect("may read");
    let (target, now) = (
        pelago_pki::Target::Certificate(dir.path().join("ops.pem")),
        crate::pki::unix_now(),
    );
    let list = pelago_pki::revoke(dir.path(), &target, now).expect("revoked");
    store.admit_crl(&list.der, now).expect("taken");
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(Ok(_)) = events.frame().await {}
    });
    ended.await.expect("its stream ends");
    let first = others.frame().await.expect("goes on");
    first.expect("and is sound");
    let revoked = client("ops").get::<SelfBody>("/v1/self").await;
    assert_eq!(revoked.expect_err("is revoked").exit, Exit::Unreachable);
}
