//! The HTTP API: a router over a [`Backend`], served on a Unix socket and on TCP.
//!
//! ```text
//! accept (listen) → TLS (tls) → who is it, may they (access) → params → ask the backend → model → JSON
//! ```

mod access;
mod backend;
mod changes;
mod discovery;
mod events;
#[cfg(any(test, feature = "fuzz"))]
mod fake;
mod fault;
mod listen;
mod members;
mod metrics;
mod node;
mod page;
mod params;
mod places;
mod reply;
mod stall;
mod tls;

pub(crate) use backend::Backend;
pub(crate) use listen::ListenError;

use access::Access;
use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use fault::Fault;
use metrics::Metrics;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Requests answered at once: those that read, those that change, and those on the Unix socket. Each has its own, because
/// a body may take its time, and the operator on this host must get through whatever others do.
const READING: usize = 128;
const CHANGING: usize = 16;
const ON_SOCKET: usize = 64;
/// Event streams open at once.
const STREAMS: usize = 64;
/// How long open requests may go on after the API was told to stop.
const GRACE: Duration = Duration::from_millis(500);

/// Every route, also for metrics and for checking `/openapi.json`.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("GET", "/v1/members"),
    ("GET", "/v1/members/{node}"),
    ("GET", "/v1/members/{node}/why"),
    ("GET", "/v1/datacenters"),
    ("GET", "/v1/datacenters/{dc}"),
    ("GET", "/v1/servers"),
    ("GET", "/v1/links"),
    ("GET", "/v1/compare"),
    ("GET", "/v1/self"),
    ("GET", "/v1/status"),
    ("GET", "/v1/events"),
    ("GET", "/v1/sd/prometheus"),
    ("POST", "/v1/join"),
    ("POST", "/v1/removals"),
    ("POST", "/v1/crls"),
    ("POST", "/v1/leave"),
    ("POST", "/v1/reload"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
];

/// What handlers share.
pub(crate) struct Shared {
    backend: Arc<dyn Backend>,
    access: Access,
    metrics: Metrics,
    listening: crate::model::Api,
    started: Instant,
    rooms: Rooms,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
    left: Arc<Notify>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

/// Room for requests, by what they want and where they come from.
struct Rooms {
    reading: Semaphore,
    changing: Semaphore,
    on_socket: Semaphore,
}

type Api = State<Arc<Shared>>;

/// A running API.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where TCP listens.
    pub(crate) address: Option<SocketAddr>,
    /// Woken after `POST /v1/leave` has been carried out.
    pub(crate) left: Arc<Notify>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Listens as configured.
pub(crate) async fn start(
    backend: Arc<dyn Backend>,
    http: &crate::config::Http,
    pki: &pelago_node::config::Pki,
) -> Result<Server, ListenError> {
    let mut listeners = Vec::new();
    let mut address = None;
    if let Some(bind) = http.bind {
        let tls = if http.tls {
            Some(tls::Acceptor::new(pki, backend.trust()).map_err(ListenError::Tls)?)
        } else {
            None
        };
        let (listener, bound) = listen::tcp(bind, tls)?;
        address = Some(bound);
        listeners.push(listener);
    }
    if let Some(path) = &http.socket {
        listeners.push(listen::unix(path).await?);
    }
    let stop = CancellationToken::new();
    let left = Arc::new(Notify::new());
    let shared = share(backend, http, address, stop.clone(), Arc::clone(&left));
    let router = router(Arc::clone(&shared));
    let tasks = TaskTracker::new();
    for listener in listeners {
        tasks.spawn(listen::accept(
            listener,
            router.clone(),
            Arc::clone(&shared),
            stop.clone(),
            tasks.clone(),
        ));
    }
    Ok(Server {
        address,
        left,
        stop,
        tasks,
    })
}

/// What handlers share, for an API that listens there.
fn share(
    backend: Arc<dyn Backend>,
    http: &crate::config::Http,
    address: Option<SocketAddr>,
    stop: CancellationToken,
    left: Arc<Notify>,
) -> Arc<Shared> {
    let me = backend.me();
    let own = format!("{}.{}", me.name, me.datacenter);
    let mut hosts = http.hosts.clone();
    hosts.extend([
        me.name.to_string(),
        format!("{own}.{}", me.trust_domain),
        own,
    ]);
    Arc::new(Shared {
        access: Access {
            plain_read: http.plain_read.clone(),
            hosts,
        },
        metrics: Metrics::new(ROUTES.iter().copied()),
        listening: crate::model::Api {
            // For callers elsewhere than where the agent was started.
            socket: http.socket.as_ref().map(|path| {
                let whole = std::path::absolute(path);
                whole.as_ref().unwrap_or(path).display().to_string()
            }),
            address: address.map(|address| address.to_string()),
            tls: http.tls,
            plain_read: http.plain_read.iter().map(ToString::to_string).collect(),
        },
        started: Instant::now(),
        rooms: Rooms {
            reading: Semaphore::new(READING),
            changing: Semaphore::new(CHANGING),
            on_socket: Semaphore::new(ON_SOCKET),
        },
        streams: Arc::new(Semaphore::new(STREAMS)),
        stop,
        left,
        backend,
    })
}

impl Server {
    /// Stops listening and lets open requests end, briefly.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(GRACE, self.tasks.wait()).await;
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/members", get(members::list))
        .route("/v1/members/{node}", get(members::one))
        .route("/v1/members/{node}/why", get(members::why))
        .route("/v1/datacenters", get(members::datacenters))
        .route("/v1/datacenters/{dc}", get(members::datacenter))
        .route("/v1/servers", get(members::servers))
        .route("/v1/compare", get(members::compare))
        .route("/v1/links", get(node::links))
        .route("/v1/self", get(node::own))
        .route("/v1/status", get(node::status))
        .route("/v1/events", get(events::stream))
        .route("/v1/sd/prometheus", get(discovery::prometheus))
        .route("/v1/join", post(changes::join))
        .route("/v1/removals", post(changes::remove))
        .route(
            "/v1/crls",
            post(changes::revoke).layer(DefaultBodyLimit::max(changes::MAX_CRL_BODY)),
        )
        .route("/v1/leave", post(changes::leave))
        .route("/v1/reload", post(changes::reload))
        .route("/livez", get(node::livez))
        .route("/readyz", get(node::readyz))
        .route("/metrics", get(node::metrics))
        .route("/openapi.json", get(page::openapi))
        .route("/", get(page::index))
        .route("/assets/{file}", get(page::asset))
        .method_not_allowed_fallback(async || {
            Fault::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path does not take that method",
            )
        })
        .fallback(async || {
            Fault::new(
                StatusCode::NOT_FOUND,
                "no-such-path",
                "nothing is served there",
            )
            .hint("GET /openapi.json")
        })
        .layer(DefaultBodyLimit::max(64 * 1024))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), observe))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&shared),
            access::guard,
        ))
        .with_state(shared)
}

/// Measures every request that a route took. Routes come out of the router, so the labels are bounded.
async fn observe(State(shared): Api, route: MatchedPath, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().as_str().to_owned();
    let response = next.run(request).await;
    shared.metrics.answered(
        route.as_str(),
        &method,
        response.status().as_u16(),
        begun.elapsed(),
    );
    response
}

/// The API without sockets, over the fixture federation, for requests that come from this caller.
#[cfg(feature = "fuzz")]
pub(crate) fn offline(caller: Caller) -> Router {
    let (stop, left) = (CancellationToken::new(), Arc::new(Notify::new()));
    let http = crate::config::Http::default();
    let shared = share(fake::Fake::new(), &http, None, stop, left);
    router(shared).layer(axum::Extension(caller))
}

#[cfg(feature = "fuzz")]
pub(crate) use access::Caller;

#[cfg(test)]
mod tests;
