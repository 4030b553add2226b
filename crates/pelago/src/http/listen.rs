//! Sockets and connections: HTTP/1.1 on an accept loop of our own, because limits and timers belong to connections.

use super::{
    Shared,
    access::{Caller, Who},
    places::{Answer, Place, Places},
    stall::Stall,
    tls,
};
use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

/// Connections per listener. When all are taken, the one that has been idle longest makes room.
const CONNECTIONS: usize = 512;
/// Connections that may wait to be accepted. With 128, which is usual, some hundred at once made others wait for a second:
/// that is when the system tries again what it dropped.
const BACKLOG: u32 = 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the certificate behind a connection is looked at while nothing is asked.
const JUDGED_AGAIN: Duration = Duration::from_millis(500);
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Request heads are far smaller.
const MAX_HEAD: usize = 64 * 1024;

/// Why the API could not listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}: {error}")]
    Tcp {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("cannot listen on {}: {error}", path.display())]
    Unix { path: PathBuf, error: io::Error },
    #[error("another process answers on {}", .0.display())]
    Taken(PathBuf),
    #[error("TLS: {0}")]
    Tls(String),
}

/// A socket that is bound, and how connections on it are treated.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, Option<tls::Acceptor>),
}

/// Binds a TCP address.
pub(crate) fn tcp(
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
) -> Result<(Listener, SocketAddr), ListenError> {
    let failed = |error| ListenError::Tcp { address, error };
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let listener = listen().map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((Listener::Tcp(listener, tls), bound))
}

/// Binds a Unix socket, 0660. A file left by a process that is gone is replaced; one that somebody answers on is not.
pub(crate) async fn unix(path: &Path) -> Result<Listener, ListenError> {
    let failed = |error| ListenError::Unix {
        path: path.to_owned(),
        error,
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    match UnixStream::connect(path).await {
        Ok(_) => return Err(ListenError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)?
        }
        Err(_) => {}
    }
    let listen = || {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        socket.listen(BACKLOG)
    };
    let listener = listen().map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

/// Accepts until `stop`; no error ends it.
pub(crate) async fn accept(
    listener: Listener,
    router: Router,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let places = Places::new(CONNECTIONS);
    let mut pause = Duration::ZERO;
    let serving = Serving {
        router,
        shared,
        stop: stop.clone(),
    };
    loop {
        let accepted = stop.run_until_cancelled(async {
            match &listener {
                Listener::Unix(unix, _) => unix
                    .accept()
                    .await
                    .map(|(stream, _)| Connection::Unix(stream)),
                Listener::Tcp(tcp, _) => tcp
                    .accept()
                    .await
                    .map(|(stream, from)| Connection::Tcp(stream, from)),
            }
        });
        let connection = match accepted.await {
            None => break,
            Some(Ok(connection)) => connection,
            Some(Err(error)) => {
                // Out of file descriptors, most likely: waiting lets some be closed.
                pause = (pause * 2).clamp(Duration::from_millis(10), Duration::from_secs(1));
                serving.shared.metrics.refused("accept");
                tracing::warn!(%error, ?pause, "API cannot accept a connection");
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        pause = Duration::ZERO;
        let tls = match &listener {
            Listener::Tcp(_, tls) => tls.clone(),
            Listener::Unix(..) => None,
        };
        let Some(Some(place)) = stop.run_until_cancelled(places.take()).await else {
            break;
        };
        let serving = serving.clone();
        tasks.spawn(async move {
            let shared = serving.shared.clone();
            tokio::select! {
                () = serving.connection(connection, tls, &place) => {}
                () = place.displaced() => shared.metrics.refused("displaced"),
            }
        });
    }
    if let Listener::Unix(_, path) = &listener {
        let _ = fs::remove_file(path);
    }
}

enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr),
}

#[derive(Clone)]
struct Serving {
    router: Router,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Serving {
    async fn connection(
        self,
        connection: Connection,
        tls: Option<tls::Acceptor>,
        place: &Arc<Place>,
    ) {
        match (connection, tls) {
            (Connection::Unix(stream), _) => {
                let _open = self.shared.metrics.connection("unix");
                let who = match stream.peer_cred() {
                    Ok(user) => format!("user {} on the socket", user.uid()),
                    Err(_) => "somebody on the socket".to_owned(),
                };
                self.http(stream, place, who, || Caller::Socket).await;
            }
            (Connection::Tcp(stream, from), None) => {
                let _open = self.shared.metrics.connection("tcp");
                let _ = stream.set_nodelay(true);
                self.http(stream, place, from.to_string(), move || {
                    Caller::Plain(from.ip())
                })
                .await;
            }
            (Connection::Tcp(stream, from), Some(tls)) => {
                let _open = self.shared.metrics.connection("tcp");
                match tokio::time::timeout(HEADER_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok((stream, holder))) => {
                        let who = format!("{} from {from}", holder.name());
                        self.certified(stream, place, who, holder).await;
                    }
                    Ok(Err(error)) => {
                        self.shared.metrics.refused("tls");
                        tracing::warn!(%from, %error, "API refused a TLS connection");
                    }
                    Err(_) => self.shared.metrics.refused("tls"),
                }
            }
        }
    }

    /// Serves until the other end's certificate lapses: requests see that at once, and what streams on ends soon after.
    async fn certified(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        place: &Arc<Place>,
        name: String,
        holder: tls::Holder,
    ) {
        let who = holder.clone();
        let caller = move || who.role().map_or(Caller::Lapsed, Caller::Certified);
        let lapsed = async {
            while holder.role().is_some() {
                tokio::time::sleep(JUDGED_AGAIN).await;
            }
            // A request under way gets its answer, which says why.
            tokio::time::sleep(JUDGED_AGAIN).await;
        };
        tokio::select! {
            () = self.http(stream, place, name, caller) => {}
            () = lapsed => {}
        }
    }

    async fn http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        place: &Arc<Place>,
        who: String,
        caller: impl Fn() -> Caller,
    ) {
        let router = self.router;
        let who = Who(who.into());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(caller());
            request.extensions_mut().insert(who.clone());
            let busy = place.busy();
            // A router is always ready.
            let answer = router.clone().call(request);
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| Answer { body, _busy: busy }))
            }
        });
        let io = TokioIo::new(Stall::new(stream, WRITE_PATIENCE));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(io, service);
        tokio::pin!(connection);
        // What peers do to their connections is theirs to know.
        if self
            .stop
            .run_until_cancelled(connection.as_mut())
            .await
            .is_none()
        {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
