//! A running node: how it starts, what can be asked of it, and how it ends.

use crate::{
    FindError, RemoveError, RevokeError, StartError,
    api::{
        Answer, Cause, Condition, JoinReport, Link, Me, Mode, NumberedEvent, ReloadReport, Sample,
        Scope, Snapshot,
    },
    ask::Asker,
    config::Config,
    count::Counts,
    inputs::{Command, Input, Inputs},
    publish::Published,
    quic::{HANDSHAKE, Quic},
    seeds::Seeds,
    start,
    trust::NodeTrust,
    upkeep::Upkeep,
};
use pelago_proto::{
    federation::{HandedIn, HandedList, RequestError},
    view::Evidence,
    wire::Item,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a stop may take, at most.
const STOP: Duration = Duration::from_secs(2);

/// A running node. Cheap to clone; the node stops when [`Node::stop`] is called or the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// What the node's own tasks share with its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: Me,
    pub(crate) trust: Arc<NodeTrust>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) published: Arc<Published>,
    pub(crate) inputs: Inputs,
    pub(crate) asker: Asker,
    pub(crate) lan: Arc<Quic>,
    pub(crate) wan: Option<Arc<Quic>>,
    pub(crate) seeds: Arc<Seeds>,
    pub(crate) upkeep: Arc<Upkeep>,
    /// Cancelled to stop the node.
    pub(crate) stop: CancellationToken,
    /// Cancelled when it has stopped.
    pub(crate) done: CancellationToken,
}

impl Node {
    /// Binds, loads keys and state, and starts the protocol. Returns once sockets are bound; joining goes on behind.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let shared = start::start(config).await?;
        let stop = shared.stop.clone().drop_guard();
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                _stop: stop,
            }),
        })
    }

    /// Who this node is, as it was when it started.
    pub fn me(&self) -> &Me {
        &self.shared().me
    }

    /// What this node knows now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared().published.snapshot()
    }

    /// The same, as a stream of whole views: published before the events that they explain.
    pub fn members(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared().published.snapshots()
    }

    /// Events as they happen. A reader that falls behind gets `Lagged` and should read the snapshot again.
    pub fn events(&self) -> broadcast::Receiver<NumberedEvent> {
        self.shared().published.events()
    }

    /// Events after number `id` that are still remembered (the last 1,024); `None` if some of them are gone already, or
    /// if `id` is of another life of this process.
    pub fn events_since(&self, id: u64) -> Option<Vec<NumberedEvent>> {
        self.shared().published.events_since(id)
    }

    /// Asks in the given mode. Never fails: what could not be asked is named in the answer.
    pub async fn ask(&self, mode: Mode, scope: Scope) -> Answer {
        self.shared().asker.ask(mode, scope).await
    }

    /// The evidence behind a member's status. `needle` is `name`, `name.datacenter` or the start of an id.
    pub async fn why(&self, needle: &str) -> Result<Evidence, FindError> {
        self.shared().asker.why(needle, true).await
    }

    /// WAN links of this node (`own`), or of every elected server that answers.
    pub async fn links(&self, everyone: bool) -> Vec<Link> {
        let mut links = self.shared().asker.own_links().await;
        if everyone {
            links.extend(self.shared().asker.links_of_others().await);
            links.sort_by(|a, b| {
                (&a.from_datacenter, &a.from, &a.to).cmp(&(&b.from_datacenter, &b.from, &b.to))
            });
            links.dedup_by(|a, b| {
                (&a.from_datacenter, &a.from, &a.to) == (&b.from_datacenter, &b.from, &b.to)
            });
        }
        links
    }

    /// Dials further LAN seeds or, on a server, WAN servers. A server tries an address as either, and keeps it as what
    /// answered.
    pub async fn join(&self, addresses: Vec<String>) -> JoinReport {
        let mut report = JoinReport {
            joined: Vec::new(),
            failed: Vec::new(),
        };
        for name in addresses {
            let (lan, wan) = tokio::join!(self.reach(&name, false), self.reach(&name, true));
            if lan.is_ok() || wan.is_ok() {
                lan.is_ok().then(|| self.shared().seeds.add(&name, false));
                wan.is_ok().then(|| self.shared().seeds.add(&name, true));
                report.joined.push(name);
            } else {
                report.failed.extend(lan.err());
                report
                    .failed
                    .extend(wan.err().filter(|_| self.shared().wan.is_some()));
            }
        }
        // A node that stops has nobody left to join.
        let _ = self.shared().seeds.refresh(&self.shared().inputs).await;
        report
    }

    async fn reach(&self, name: &str, wan: bool) -> Result<(), Cause> {
        let quic = if wan {
            self.shared().wan.as_ref()
        } else {
            Some(&self.shared().lan)
        };
        let failed = |address, error| Cause {
            server: name.into(),
            address,
            error,
        };
        let quic = quic.ok_or_else(|| failed(None, "this node is not on the WAN".into()))?;
        let mut last = failed(None, "no address".into());
        for address in self.shared().seeds.look_up(name, wan).await? {
            let dialled =
                tokio::time::timeout(HANDSHAKE, quic.link(None, address, HANDSHAKE)).await;
            match dialled
                .unwrap_or_else(|_| Err(RequestError::NoAnswer("no answer in time".into())))
            {
                Ok(_) => return Ok(()),
                Err(error) => last = failed(Some(address), error.to_string()),
            }
        }
        Err(last)
    }

    /// Says goodbye: signs a leave, spreads it, and stops. Returns when the goodbye has been handed to peers.
    pub async fn leave(&self) {
        let shared = self.shared();
        let goodbye = shared.inputs.ask(Command::Leave);
        // A node whose task hangs must still be able to go.
        let _ = tokio::time::timeout(STOP, goodbye).await;
        self.stop().await;
    }

    /// Takes a removal that an operator signed, with the operator's certificate, and spreads it.
    pub async fn remove(&self, removal: Item) -> Result<HandedIn, RemoveError> {
        let asked = self
            .shared()
            .inputs
            .ask(|answer| Command::Remove(removal, answer));
        Ok(asked.await.ok_or(RemoveError::Stopping)??)
    }

    /// Takes a revocation list (DER) from whoever carries it here, and spreads it: it proves itself.
    pub async fn revoke(&self, crl: Vec<u8>) -> Result<HandedList, RevokeError> {
        let asked = self
            .shared()
            .inputs
            .ask(|answer| Command::Revoke(crl, answer));
        Ok(asked.await.ok_or(RevokeError::Stopping)??)
    }

    /// The newest revocation list of each issuer.
    pub fn lists(&self) -> Vec<pelago_pki::ListEntry> {
        self.shared().trust.entries()
    }

    /// What this node judges certificates by. Clones see what it learns.
    pub fn trust(&self) -> pelago_pki::TrustStore {
        self.shared().trust.store()
    }

    /// Re-reads certificates, keys, authorities and revocation lists.
    pub async fn reload(&self) -> ReloadReport {
        self.shared().upkeep.reload(self.shared()).await
    }

    /// How well the node does.
    pub fn condition(&self) -> Condition {
        self.shared().upkeep.condition(self.shared())
    }

    /// Every counter and gauge, all present from the start.
    pub fn samples(&self) -> Vec<Sample> {
        crate::samples::samples(self.shared())
    }

    /// Stops without a goodbye, as a crash would look, but closes sockets in order.
    pub async fn stop(&self) {
        self.shared().stop.cancel();
        let _ = tokio::time::timeout(STOP, self.shared().done.cancelled()).await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

impl Shared {
    /// Tells the protocol that certificates changed, and acts on live connections.
    pub(crate) async fn trust_changed(&self) {
        for quic in [Some(&self.lan), self.wan.as_ref()].into_iter().flatten() {
            if let Err(error) = quic.reconfigure() {
                tracing::error!(%error, "the renewed certificate cannot be used for connections");
            }
            quic.judge_again();
        }
        // A node that stops needs no trust any more.
        let _ = self
            .inputs
            .send(Input::Command(Command::TrustChanged))
            .await;
    }
}
