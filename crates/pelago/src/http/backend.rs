//! What the API needs from a node, as a trait: tests serve crafted views, the binary serves [`Node`].

use pelago_node::{
    FindError, Node, RemoveError, RevokeError,
    api::{
        Answer, Condition, JoinReport, Link, Me, Mode, NumberedEvent, ReloadReport, Sample, Scope,
        Snapshot,
    },
};
use pelago_pki::{ListEntry, TrustStore};
use pelago_proto::{
    federation::{HandedIn, HandedList},
    view::Evidence,
    wire::Item,
};
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::broadcast;

/// An answer that takes a while.
pub(crate) type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// See [`Node`] for what each does.
pub(crate) trait Backend: Send + Sync + 'static {
    fn me(&self) -> &Me;
    fn snapshot(&self) -> Arc<Snapshot>;
    fn events(&self) -> broadcast::Receiver<NumberedEvent>;
    fn events_since(&self, id: u64) -> Option<Vec<NumberedEvent>>;
    fn condition(&self) -> Condition;
    fn samples(&self) -> Vec<Sample>;
    fn ask(&self, mode: Mode, scope: Scope) -> Soon<'_, Answer>;
    fn why<'a>(&'a self, needle: &'a str) -> Soon<'a, Result<Evidence, FindError>>;
    fn links(&self, everyone: bool) -> Soon<'_, Vec<Link>>;
    fn join(&self, addresses: Vec<String>) -> Soon<'_, JoinReport>;
    fn remove(&self, removal: Item) -> Soon<'_, Result<HandedIn, RemoveError>>;
    fn revoke(&self, crl: Vec<u8>) -> Soon<'_, Result<HandedList, RevokeError>>;
    fn lists(&self) -> Vec<ListEntry>;
    /// What callers' certificates are judged by; without it there is no TLS.
    fn trust(&self) -> Option<TrustStore>;
    fn leave(&self) -> Soon<'_, ()>;
    fn reload(&self) -> Soon<'_, ReloadReport>;
}

impl Backend for Node {
    fn me(&self) -> &Me {
        Self::me(self)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Self::snapshot(self)
    }

    fn events(&self) -> broadcast::Receiver<NumberedEvent> {
        Self::events(self)
    }

    fn events_since(&self, id: u64) -> Option<Vec<NumberedEvent>> {
        Self::events_since(self, id)
    }

    fn condition(&self) -> Condition {
        Self::condition(self)
    }

    fn samples(&self) -> Vec<Sample> {
        Self::samples(self)
    }

    fn ask(&self, mode: Mode, scope: Scope) -> Soon<'_, Answer> {
        Box::pin(Self::ask(self, mode, scope))
    }

    fn why<'a>(&'a self, needle: &'a str) -> Soon<'a, Result<Evidence, FindError>> {
        Box::pin(Self::why(self, needle))
    }

    fn links(&self, everyone: bool) -> Soon<'_, Vec<Link>> {
        Box::pin(Self::links(self, everyone))
    }

    fn join(&self, addresses: Vec<String>) -> Soon<'_, JoinReport> {
        Box::pin(Self::join(self, addresses))
    }

    fn remove(&self, removal: Item) -> Soon<'_, Result<HandedIn, RemoveError>> {
        Box::pin(Self::remove(self, removal))
    }

    fn revoke(&self, crl: Vec<u8>) -> Soon<'_, Result<HandedList, RevokeError>> {
        Box::pin(Self::revoke(self, crl))
    }

    fn lists(&self) -> Vec<ListEntry> {
        Self::lists(self)
    }

    fn trust(&self) -> Option<TrustStore> {
        Some(Self::trust(self))
    }

    fn leave(&self) -> Soon<'_, ()> {
        Box::pin(Self::leave(self))
    }

    fn reload(&self) -> Soon<'_, ReloadReport> {
        Box::pin(Self::reload(self))
    }
}
