//! What goes on beside the protocol: files that are re-read, state that is saved, and what is wrong but survivable.

use crate::{
    api::{Condition, ReloadReport},
    expiry::{Announced, endings},
    inputs::{Command, Input},
    kept::Kept,
    node::Shared,
    store::Store,
};
use pelago_proto::{federation::Memory, trust::Trust};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a failed save waits to be tried again.
const RETRY: Duration = Duration::from_secs(5);
/// What a node that cannot write its state says of its own health (0–8).
const UNWRITABLE: u8 = 1;

/// What is wrong, by topic.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    troubles: Mutex<BTreeMap<&'static str, String>>,
    reloading: tokio::sync::Mutex<()>,
    /// Whom we trust has changed.
    moved: Notify,
}

impl Upkeep {
    /// Sets or clears what is wrong about a topic.
    pub(crate) fn trouble(&self, topic: &'static str, what: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => troubles.insert(topic, what),
            None => troubles.remove(topic),
        };
    }

    pub(crate) fn condition(&self, shared: &Shared) -> Condition {
        let mut degraded: Vec<_> = self
            .troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        let now = shared.trust.unix_time();
        let endings = endings(&shared.trust);
        degraded.extend(endings.iter().filter_map(|ending| ending.complaint(now)));
        let revoked = shared.trust.is_own_revoked();
        if revoked {
            degraded.push("the own certificate was revoked: nobody talks to this node".into());
        }
        let live = !shared.stop.is_cancelled();
        let view = &shared.published.snapshot().view;
        let removed = view.is_removed();
        if removed {
            degraded
                .push("an operator removed this node: pelago why tells who and until when".into());
        }
        Condition {
            live,
            ready: live && view.joined && !removed && !revoked,
            degraded,
            notices: endings.iter().filter_map(|e| e.notice(now)).collect(),
        }
    }

    /// Re-reads certificates now.
    pub(crate) async fn reload(&self, shared: &Arc<Shared>) -> ReloadReport {
        let _one_at_a_time = self.reloading.lock().await;
        let trust = shared.trust.clone();
        let mut report = ReloadReport::default();
        let (changed, result) = match tokio::task::spawn_blocking(move || trust.reload()).await {
            Ok(done) => done,
            Err(error) => {
                report.failed.push(error.to_string());
                return report;
            }
        };
        match result {
            Ok(()) => self.trouble("pki", None),
            Err(error) => {
                tracing::error!(%error, "certificates were not re-read; the old ones stay in force");
                self.trouble(
                    "pki",
                    Some(format!("certificates were not re-read: {error}")),
                );
                report.failed.push(error.to_string());
            }
        }
        if changed {
            tracing::info!("certificates, authorities or revocation lists were re-read");
            shared.trust_changed().await;
            report
                .applied
                .push("certificates, authorities and revocation lists".into());
        } else if report.failed.is_empty() {
            report.applied.push("nothing had changed".into());
        }
        report
    }

    /// Authorities or revocations changed: connections are to be judged again, and what is held now is to be kept.
    pub(crate) fn trust_moved(&self) {
        self.moved.notify_one();
    }

    /// Looks after files and live connections until the node stops.
    pub(crate) async fn watch(self: Arc<Self>, shared: Arc<Shared>, kept: Option<Kept>) {
        let mut generation = shared.trust.generation();
        // What the configuration says counts as heard: it may have an older list again next time.
        let mut saved = self.keep_lists(&shared, kept.as_ref()).await;
        let mut announced = Announced::default();
        loop {
            announced.announce(endings(&shared.trust), shared.trust.unix_time());
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.moved.notified() => {}
            }
            let trust = shared.trust.clone();
            if tokio::task::spawn_blocking(move || trust.files_changed())
                .await
                .unwrap_or(false)
            {
                self.reload(&shared).await;
            }
            // Authorities and revocations also arrive from peers, and certificates end by themselves.
            let newest = shared.trust.generation();
            let now = shared.trust.unix_time();
            for quic in [Some(&shared.lan), shared.wan.as_ref()]
                .into_iter()
                .flatten()
            {
                let links = quic.links.all();
                links.iter().for_each(|l| {
                    quic.links.last_contact_ms(l);
                });
                if newest != generation || links.iter().any(|l| l.peer.certified.not_after < now) {
                    quic.judge_again();
                }
            }
            if newest != generation || !saved {
                saved = self.keep_lists(&shared, kept.as_ref()).await;
            }
            generation = newest;
        }
    }

    /// Writes lists and authorities down. A failure degrades, and is tried again.
    async fn keep_lists(&self, shared: &Shared, kept: Option<&Kept>) -> bool {
        let Some(kept) = kept.cloned() else {
            return true;
        };
        let trust = shared.trust.clone();
        let save = move || kept.save(trust.trust_domain(), &trust.entries());
        let error = match tokio::task::spawn_blocking(save).await {
            Ok(saved) => saved.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let ok = error.is_none();
        self.trouble(
            "lists_dir",
            error.map(|e| format!("revocation lists cannot be kept: {e}")),
        );
        ok
    }

    /// Saves once. A failure degrades, and never stops anything.
    pub(crate) async fn save(&self, store: Store, memory: Memory) -> bool {
        let saved = tokio::task::spawn_blocking(move || store.save(&memory)).await;
        let error = match saved {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error {
            tracing::error!(%error, "the data directory cannot be written");
        }
        let ok = error.is_none();
        self.trouble(
            "data_dir",
            error.map(|e| format!("the data directory cannot be written: {e}")),
        );
        ok
    }

    /// Saves whatever is newest, again and again.
    pub(crate) async fn keep_saving(
        self: Arc<Self>,
        store: Store,
        mut newest: watch::Receiver<Memory>,
        inputs: crate::inputs::Inputs,
    ) {
        let mut healthy = !self.has("data_dir");
        if !healthy {
            // The save at start failed already.
            let _ = inputs
                .send(Input::Command(Command::Health(UNWRITABLE)))
                .await;
        }
        loop {
            let changed = if healthy {
                newest.changed().await
            } else {
                tokio::time::sleep(RETRY).await;
                newest.has_changed().map(|_| ())
            };
            if changed.is_err() {
                return;
            }
            let memory = newest.borrow_and_update().clone();
            let saved = self.save(store.clone(), memory).await;
            if saved != healthy {
                healthy = saved;
                let health = if saved { 0 } else { UNWRITABLE };
                let _ = inputs.send(Input::Command(Command::Health(health))).await;
            }
        }
    }

    fn has(&self, topic: &str) -> bool {
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(topic)
    }
}
