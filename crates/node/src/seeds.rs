//! The configured names to join by, and the addresses behind them.
//!
//! Names are resolved on threads of their own (a resolver may block for half a minute), each within a deadline, again
//! and again while one does not resolve and every minute after that: addresses behind names change.

use crate::{
    admit::allowed,
    api::Cause,
    inputs::{Command, Input, Inputs, Stopping},
};
use ipnet::IpNet;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

/// Where LAN streams are, unless said otherwise.
pub(crate) const LAN_PORT: u16 = 8702;
/// Where the WAN is, unless said otherwise.
pub(crate) const WAN_PORT: u16 = 8703;
/// How long one name may take.
const RESOLVE: Duration = Duration::from_secs(3);
/// Between attempts while a name does not resolve: at first, and twice that each time, up to a limit.
const SOON: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));
/// Between attempts after that.
const LATER: Duration = Duration::from_secs(60);
/// Names per pool, and addresses behind all of them.
const NAMES: usize = 64;
const ADDRESSES: usize = 256;
/// Names that are resolved at a time.
const THREADS: usize = 8;

/// The names of one node.
#[derive(Debug)]
pub(crate) struct Seeds {
    lan: Pool,
    wan: Option<Pool>,
    threads: Arc<Semaphore>,
}

/// The names of one pool, and what they stand for.
#[derive(Debug)]
struct Pool {
    allow: Vec<IpNet>,
    own: SocketAddr,
    port: u16,
    names: Mutex<Vec<String>>,
    addresses: Mutex<BTreeSet<SocketAddr>>,
}

/// What came of resolving.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// The addresses are others than before.
    changed: bool,
    /// Some name did not resolve.
    failed: bool,
}

impl Seeds {
    pub(crate) fn new(
        lan: (Vec<String>, Vec<IpNet>, SocketAddr),
        wan: Option<(Vec<String>, Vec<IpNet>, SocketAddr)>,
    ) -> Self {
        let pool = |(names, allow, own), port| Pool {
            allow,
            own,
            port,
            names: Mutex::new(names),
            addresses: Mutex::default(),
        };
        let threads = Arc::new(Semaphore::new(THREADS));
        Self {
            lan: pool(lan, LAN_PORT),
            wan: wan.map(|wan| pool(wan, WAN_PORT)),
            threads,
        }
    }

    /// Adds a name for good.
    pub(crate) fn add(&self, name: &str, wan: bool) {
        let pool = if wan {
            self.wan.as_ref()
        } else {
            Some(&self.lan)
        };
        if let Some(mut names) = pool.map(|p| lock(&p.names))
            && names.len() < NAMES
            && !names.iter().any(|n| n == name)
        {
            names.push(name.into());
        }
    }

    pub(crate) fn wan_addresses(&self) -> Vec<SocketAddr> {
        self.wan
            .iter()
            .flat_map(|p| lock(&p.addresses).iter().copied().collect::<Vec<_>>())
            .collect()
    }

    /// Resolves until the node stops; tells the protocol whenever an address is new, and the first time in any case: without
    /// seeds it goes on with those whom it remembers, or alone.
    pub(crate) async fn keep(self: Arc<Self>, inputs: Inputs) {
        // Nobody waits for names abroad to find out that there are none at home.
        let alone = lock(&self.lan.names).is_empty();
        if alone && inputs.send(self.told()).await.is_err() {
            return;
        }
        let mut found = self.refresh_pools().await;
        found.changed |= !alone;
        let (mut pause, most) = SOON;
        while self.tell(found, &inputs).await.is_ok() {
            if found.failed {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(most);
            } else {
                tokio::time::sleep(LATER).await;
                (pause, _) = SOON;
            }
            found = self.refresh_pools().await;
        }
    }

    /// Resolves every name once.
    pub(crate) async fn refresh(&self, inputs: &Inputs) -> Result<(), Stopping> {
        self.tell(self.refresh_pools().await, inputs).await
    }

    async fn tell(&self, found: Found, inputs: &Inputs) -> Result<(), Stopping> {
        if found.changed {
            inputs.send(self.told()).await?;
        }
        Ok(())
    }

    async fn refresh_pools(&self) -> Found {
        let lan = self.refresh_pool(&self.lan).await;
        let wan = match &self.wan {
            Some(wan) => self.refresh_pool(wan).await,
            None => Found::default(),
        };
        Found {
            changed: lan.changed || wan.changed,
            failed: lan.failed || wan.failed,
        }
    }

    /// What the protocol is told.
    fn told(&self) -> Input {
        let lan = lock(&self.lan.addresses).iter().copied().collect();
        Input::Command(Command::Seeds {
            lan,
            wan: self.wan_addresses(),
        })
    }

    /// A name that does not resolve keeps what others gave.
    async fn refresh_pool(&self, pool: &Pool) -> Found {
        let names = lock(&pool.names).clone();
        let mut found = BTreeSet::new();
        let mut failed = false;
        for name in names.iter().take(NAMES) {
            match self.resolve(name, pool.port).await {
                Ok(addresses) => {
                    found.extend(addresses.into_iter().filter(|a| pool.admits(name, *a)))
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(%name, %error, "seed does not resolve");
                }
            }
        }
        let mut addresses = lock(&pool.addresses);
        if failed {
            found.extend(addresses.iter().copied());
        }
        let found: BTreeSet<_> = found.into_iter().take(ADDRESSES).collect();
        let changed = *addresses != found;
        *addresses = found;
        Found { changed, failed }
    }

    /// The addresses behind a name on one pool, as `join` wants them: inside `allow`, and not this node's own.
    pub(crate) async fn look_up(&self, name: &str, wan: bool) -> Result<Vec<SocketAddr>, Cause> {
        let failed = |error: String| Cause {
            server: name.into(),
            address: None,
            error,
        };
        let pool = if wan {
            self.wan.as_ref()
        } else {
            Some(&self.lan)
        };
        let pool = pool.ok_or_else(|| failed("this node is not on the WAN".into()))?;
        let mut addresses = self.resolve(name, pool.port).await.map_err(failed)?;
        addresses.retain(|a| pool.admits(name, *a));
        if addresses.is_empty() {
            Err(failed("no address inside the allowed networks".into()))
        } else {
            Ok(addresses)
        }
    }

    async fn resolve(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = match split(name, port) {
            Seed::Address(address) => return Ok(vec![address]),
            Seed::Name(host, port) => (host, port),
        };
        let permit = self
            .threads
            .clone()
            .acquire_owned()
            .await
            .map_err(|e| e.to_string())?;
        let (answer, waiting) = oneshot::channel();
        let resolve = move || {
            let found = (host.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect::<Vec<_>>);
            // Whoever waited may have given up.
            let _ = answer.send(found.map_err(|e| e.to_string()));
            drop(permit);
        };
        std::thread::Builder::new()
            .name("resolve".into())
            .spawn(resolve)
            .map_err(|e| e.to_string())?;
        match timeout(RESOLVE, waiting).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err("the resolver failed".into()),
            Err(_) => Err(format!("not resolved within {} s", RESOLVE.as_secs())),
        }
    }
}

impl Pool {
    fn admits(&self, name: &str, address: SocketAddr) -> bool {
        if address == self.own {
            return false;
        }
        let admitted = allowed(&self.allow, address.ip());
        if !admitted {
            tracing::warn!(%name, %address, "seed is outside the allowed networks");
        }
        admitted
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seed {
    Address(SocketAddr),
    Name(String, u16),
}

/// `host`, `host:port`, `address`, `address:port` or `[address]:port`.
fn split(name: &str, default: u16) -> Seed {
    if let Ok(address) = name.parse::<SocketAddr>() {
        return Seed::Address(address);
    }
    if let Ok(ip) = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        return Seed::Address(SocketAddr::new(ip, default));
    }
    match name
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
    {
        Some((host, port)) => Seed::Name(host.into(), port),
        None => Seed::Name(name.into(), default),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_names_or_addresses_with_or_without_a_port() {
        let address = |s: &str| Seed::Address(s.parse().expect("address"));
        assert_eq!(split("s1.lan", 8702), Seed::Name("s1.lan".into(), 8702));
        assert_eq!(split("s1.lan:9", 8702), Seed::Name("s1.lan".into(), 9));
        assert_eq!(split("10.0.0.1", 8702), address("10.0.0.1:8702"));
        assert_eq!(split("10.0.0.1:9", 8702), address("10.0.0.1:9"));
        assert_eq!(split("::1", 8702), address("[::1]:8702"));
        assert_eq!(split("[::1]", 8702), address("[::1]:8702"));
        assert_eq!(split("[::1]:9", 8702), address("[::1]:9"));
    }

    #[tokio::test]
    async fn only_allowed_addresses_of_others_are_kept() {
        let own: SocketAddr = "127.0.0.1:8702".parse().expect("address");
        let allow = vec!["127.0.0.0/8".parse().expect("net")];
        let names = ["127.0.0.1", "127.0.0.2", "192.0.2.1", "localhost:7"]
            .map(String::from)
            .to_vec();
        let seeds = Seeds::new((names, allow, own), None);
        let (inputs, mut queue) = crate::inputs::channel();
        seeds.refresh(&inputs).await.expect("running");
        seeds.refresh(&inputs).await.expect("running");
        let told = queue.try_recv().expect("told once").input;
        let Input::Command(Command::Seeds { lan, wan }) = told else {
            panic!("{told:?}")
        };
        let expected: Vec<SocketAddr> = ["127.0.0.1:7", "127.0.0.2:8702"]
            .map(|a| a.parse().expect("address"))
            .to_vec();
        assert_eq!((lan, wan.len()), (expected, 0));
        assert!(queue.try_recv().is_err(), "nothing changed the second time");
        assert!(seeds.look_up("192.0.2.1", false).await.is_err());
        assert!(
            seeds.look_up("127.0.0.2", true).await.is_err(),
            "not on the WAN"
        );
    }
    /// Whoever is its own only seed, or cannot resolve any, must hear that there are none: it would wait for ever.
    #[tokio::test]
    async fn that_there_are_no_seeds_is_told_too() {
        let own: SocketAddr = "127.0.0.1:8702".parse().expect("address");
        for names in [vec![], vec!["127.0.0.1:8702"], vec!["nobody.invalid"]] {
            let names = names.into_iter().map(String::from).collect();
            let seeds = Arc::new(Seeds::new((names, Vec::new(), own), None));
            let (inputs, mut queue) = crate::inputs::channel();
            let keeping = tokio::spawn(seeds.keep(inputs));
            let told = queue.recv().await.expect("told").input;
            let Input::Command(Command::Seeds { lan, wan }) = told else {
                panic!("{told:?}")
            };
            assert_eq!((lan.len(), wan.len()), (0, 0));
            keeping.abort();
        }
    }
}
