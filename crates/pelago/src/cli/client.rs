//! The command line as an HTTP client of an agent, over a Unix socket, TCP or TLS.

use super::address::Address;
use crate::{
    exit::{Exit, Failure},
    model::Problem,
};
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use pelago_pki::{Accept, Expect, Identity, Policy, TrustStore, client_config};
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use std::{error::Error, future::Future, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

/// No answer is larger: pages hold at most 1,000 members.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The API gives up after 10 s itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// Options of every command that talks to an agent.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Connect {
    /// The agent's API: unix:///path, http://host:port or https://host:port
    #[arg(long, env = "PELAGO_ADDRESS", value_name = "ADDRESS")]
    pub(crate) address: Option<Address>,
    /// Authorities, for https
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"])]
    pub(crate) ca: Option<PathBuf>,
    /// Own certificate, for https
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) cert: Option<PathBuf>,
    /// Own private key, for https
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) key: Option<PathBuf>,
    /// Directory of revocation lists, for https
    #[arg(long, value_name = "DIR", requires = "ca")]
    pub(crate) crls: Option<PathBuf>,
}

/// Asks one agent.
pub(crate) struct Client {
    pub(crate) address: Address,
    tls: Option<TlsConnector>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    /// A client as the options say; connects later.
    pub(crate) fn new(connect: &Connect) -> Result<Self, Failure> {
        let address = connect
            .address
            .clone()
            .unwrap_or_else(Address::default_here);
        let tls = match &address {
            Address::Https(_) => Some(tls(connect)?),
            Address::Unix(_) | Address::Http(_) => None,
        };
        Ok(Self { address, tls })
    }

    /// Asks and reads the answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.patient(async {
            self.parse(self.send(Method::GET, path, Bytes::new()).await?)
                .await
        })
        .await
    }

    /// Makes a changing call.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: String,
    ) -> Result<T, Failure> {
        self.patient(async {
            self.parse(self.send(Method::POST, path, body.into()).await?)
                .await
        })
        .await
    }

    /// Asks for the status alone.
    pub(crate) async fn probe(&self, path: &str) -> Result<bool, Failure> {
        let sent = async {
            Ok(self
                .send(Method::GET, path, Bytes::new())
                .await?
                .status()
                .is_success())
        };
        self.patient(sent).await
    }

    /// Asks for a stream; whatever is not one is a failure.
    pub(crate) async fn stream(&self, path: &str) -> Result<Incoming, Failure> {
        let response = self
            .patient(self.send(Method::GET, path, Bytes::new()))
            .await?;
        match response.status().is_success() {
            true => Ok(response.into_body()),
            false => Err(self.problem(response).await),
        }
    }

    async fn patient<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(PATIENCE, call)
            .await
            .unwrap_or_else(|_| {
                Err(Failure::new(
                    Exit::Timeout,
                    format!("{} took longer than {} s", self.address, PATIENCE.as_secs()),
                ))
            })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = self
            .connect()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let broken = |error: hyper::Error| self.unreachable(&io::Error::other(error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.host())
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("pelago/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(body))
            .map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot ask for {path}: {error}"))
            })?;
        sender.send_request(request).await.map_err(broken)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.address {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Http(authority) => Ok(Box::new(TcpStream::connect(authority).await?)),
            Address::Https(authority) => {
                let stream = TcpStream::connect(authority).await?;
                let tls = self
                    .tls
                    .as_ref()
                    .ok_or_else(|| io::Error::other("no certificates were given"))?;
                // Who is at the other end is judged by its certificate's role and issuer; its address has many names.
                let name = ServerName::try_from("pelago").map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let failure = Failure::new(
            Exit::Unreachable,
            format!("no agent answers at {}: {}", self.address, chain(error)),
        );
        let next = match (&self.address, error.kind()) {
            (Address::Unix(path), io::ErrorKind::PermissionDenied) => {
                format!(
                    "only the owner and group of {} may connect: join the group, or use sudo",
                    path.display()
                )
            }
            (Address::Unix(_), _) => "is it running? try: systemctl status pelago".to_owned(),
            (Address::Http(_), io::ErrorKind::ConnectionRefused) => {
                "is it running? try: pelago agent --config PATH".to_owned()
            }
            (Address::Https(_), _) => {
                "does it have `tls = true`, and are --ca, --cert, --key and --crls right?"
                    .to_owned()
            }
            (Address::Http(_), _) => {
                "does the address have `plain_read`, or does it need https?".to_owned()
            }
        };
        failure
            .line(next)
            .line("another agent: --address ADDRESS or PELAGO_ADDRESS")
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Failure> {
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        let bytes = self.body(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::failed(format!(
                "{} answered something else than expected: {error}",
                self.address
            ))
            .line("are agent and command line of different versions? compare: pelago --version")
        })
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let limited = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let collected =
            limited.map_err(|error| Failure::failed(format!("the answer broke off: {error}")))?;
        Ok(collected.to_bytes())
    }

    async fn problem(&self, response: Response<Incoming>) -> Failure {
        let status = response.status();
        let bytes = match self.body(response).await {
            Ok(bytes) => bytes,
            Err(failure) => return failure,
        };
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => failure_of(problem),
            Err(_) => Failure::new(
                exit_of(status, ""),
                format!("{} answered {status}", self.address),
            ),
        }
    }
}

fn failure_of(problem: Problem) -> Failure {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut failure = Failure::new(exit_of(status, &problem.code), problem.detail);
    let candidate = |name| {
        if problem.code == "ambiguous-member" {
            format!("candidate: {name}")
        } else {
            format!("known: {name}")
        }
    };
    failure
        .lines
        .extend(problem.candidates.into_iter().map(candidate));
    failure.lines.extend(problem.causes.iter().map(|cause| {
        let address = cause
            .address
            .as_deref()
            .map(|address| format!(" ({address})"))
            .unwrap_or_default();
        format!("{}{address}: {}", cause.server, cause.error)
    }));
    failure.lines.extend(problem.hint);
    failure
}

fn exit_of(status: StatusCode, code: &str) -> Exit {
    match (status, code) {
        (_, "no-such-member" | "unknown-datacenter") => Exit::NotFound,
        (_, "ambiguous-member" | "bad-parameter") => Exit::Usage,
        (StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST | StatusCode::UNAUTHORIZED, _) => {
            Exit::Denied
        }
        (StatusCode::GATEWAY_TIMEOUT, _) => Exit::Timeout,
        _ => Exit::Failed,
    }
}

fn tls(connect: &Connect) -> Result<TlsConnector, Failure> {
    let (Some(ca), Some(cert), Some(key)) = (&connect.ca, &connect.cert, &connect.key) else {
        return Err(
            Failure::new(Exit::Usage, "https needs --ca, --cert and --key")
                .line("pelago pki issue --role operator makes a certificate for people"),
        );
    };
    let wrong =
        |error: &dyn Error| Failure::failed(format!("cannot use the certificates: {error}"));
    let store = TrustStore::load(ca, connect.crls.as_deref(), Policy::default())
        .map_err(|error| wrong(&error))?;
    let identity = Identity::load(cert, key).map_err(|error| wrong(&error))?;
    let config = client_config(
        &store,
        &identity,
        &Accept::anybody(),
        Expect::Any,
        &[b"http/1.1"],
    );
    Ok(TlsConnector::from(Arc::new(
        config.map_err(|error| wrong(&error))?,
    )))
}

/// An error with its causes, each said once.
fn chain(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_there_names_the_address_the_reason_and_the_next_step() {
        let connect = Connect {
            address: Some(Address::Unix("/nonexistent/x.sock".into())),
            ..Connect::default()
        };
        let client = Client::new(&connect).expect("a client");
        let failure = client.probe("/livez").await.expect_err("nobody");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(
            failure
                .message
                .contains("unix:///nonexistent/x.sock: No such file"),
            "{}",
            failure.message
        );
        assert!(
            failure
                .lines
                .iter()
                .any(|line| line.contains("PELAGO_ADDRESS"))
        );
    }

    #[test]
    fn problems_become_exit_codes() {
        let exit = |status, code| exit_of(StatusCode::from_u16(status).expect("a status"), code);
        assert_eq!(exit(404, "no-such-member"), Exit::NotFound);
        assert_eq!(exit(409, "ambiguous-member"), Exit::Usage);
        assert_eq!(exit(400, "bad-parameter"), Exit::Usage);
        assert_eq!(exit(403, "not-allowed"), Exit::Denied);
        assert_eq!(exit(504, "timeout"), Exit::Timeout);
        assert_eq!(exit(503, "busy"), Exit::Failed);
    }
}
