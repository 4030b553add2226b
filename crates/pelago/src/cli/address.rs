//! Where the agent's API is.

use std::{fmt, path::PathBuf, str::FromStr};

const SOCKET: &str = "/run/pelago/api.sock";
const TCP: &str = "127.0.0.1:8700";

/// An address of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Http(String),
    Https(String),
}

impl Address {
    /// The socket if there is one, else loopback.
    pub(crate) fn default_here() -> Self {
        let socket = PathBuf::from(SOCKET);
        if socket.exists() {
            Self::Unix(socket)
        } else {
            Self::Http(TCP.to_owned())
        }
    }

    /// What to send as `Host`.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Http(authority) | Self::Https(authority) => authority,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let authority = |rest: &str, port: u16| {
            let rest = rest.trim_end_matches('/');
            let sound = !rest.is_empty() && !rest.contains(['/', ' ', '@', '?', '#']);
            let ported = rest
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            match (sound, ported) {
                (false, _) => Err(format!("{text:?} names no host")),
                (true, true) => Ok(rest.to_owned()),
                (true, false) => Ok(format!("{rest}:{port}")),
            }
        };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("http", rest)) => authority(rest, 8700).map(Self::Http),
            Some(("https", rest)) => authority(rest, 8700).map(Self::Https),
            _ => Err("expected unix:///path, http://host:port or https://host:port".to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("unix:///run/x.sock", Some("unix:///run/x.sock")),
            ("http://127.0.0.1:8700/", Some("http://127.0.0.1:8700")),
            ("http://s1", Some("http://s1:8700")),
            ("https://[::1]:1", Some("https://[::1]:1")),
            ("127.0.0.1:8700", None),
            ("unix://relative", None),
            ("http://", None),
            ("http://a/b", None),
        ] {
            assert_eq!(
                text.parse::<Address>()
                    .ok()
                    .map(|it| it.to_string())
                    .as_deref(),
                shown,
                "{text}"
            );
        }
    }
}
