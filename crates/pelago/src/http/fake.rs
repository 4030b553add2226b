//! A backend that holds the fixture federation.

use super::backend::{Backend, Soon};
use crate::model::fixture;
use pelago_node::{
    FindError, RemoveError, RevokeError,
    api::{
        Answer, Condition, JoinReport, Link, Me, Mode, NumberedEvent, ReloadReport, Sample, Scope,
        Snapshot,
    },
};
use pelago_pki::{ListEntry, TrustStore};
use pelago_proto::{
    claim::Claim,
    federation::{HandedIn, HandedList, ListError, RemovalError},
    time::Time,
    trust::Refusal,
    view::{self, EventKind, Evidence},
    wire::Item,
};
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

/// A node that always answers the same.
pub(crate) struct Fake {
    me: Me,
    pub(crate) answer: Mutex<Answer>,
    pub(crate) events: broadcast::Sender<NumberedEvent>,
    /// Numbers of events that are still remembered.
    held: std::ops::RangeInclusive<u64>,
    trust: Option<TrustStore>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Self::believing(None)
    }

    /// One that judges callers by this.
    pub(crate) fn believing(trust: Option<TrustStore>) -> Arc<Self> {
        Arc::new(Self {
            trust,
            me: fixture::me(),
            answer: Mutex::new(fixture::answer(Mode::Local)),
            events: broadcast::channel(16).0,
            held: 100..=110,
        })
    }
}

pub(crate) fn event(id: u64) -> NumberedEvent {
    NumberedEvent {
        id,
        unix_ms: 1_795_000_000_000 + id,
        event: view::Event {
            at: Time::START,
            kind: EventKind::Joined,
            datacenter: fixture::label("eu-west"),
            member: None,
            name: None,
            incarnation: None,
            detail: "came".into(),
        },
    }
}

impl Backend for Fake {
    fn me(&self) -> &Me {
        &self.me
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(fixture::snapshot())
    }

    fn events(&self) -> broadcast::Receiver<NumberedEvent> {
        self.events.subscribe()
    }

    fn events_since(&self, id: u64) -> Option<Vec<NumberedEvent>> {
        (id + 1 >= *self.held.start()).then(|| (id + 1..=*self.held.end()).map(event).collect())
    }

    fn condition(&self) -> Condition {
        Condition {
            live: true,
            ready: false,
            degraded: vec![],
            notices: vec![],
        }
    }

    fn samples(&self) -> Vec<Sample> {
        vec![Sample {
            name: "drops",
            help: "Drops",
            counter: true,
            labels: vec![],
            value: 0.0,
        }]
    }

    fn ask(&self, mode: Mode, scope: Scope) -> Soon<'_, Answer> {
        let mut answer = self.answer.lock().expect("not poisoned").clone();
        answer.mode = mode;
        for part in &mut answer.parts {
            part.datacenters.retain(|it| match &scope {
                Scope::Own => it.name == self.me.datacenter,
                Scope::One(name) => it.name == *name,
                Scope::All => true,
            });
        }
        Box::pin(async move { answer })
    }

    fn why<'a>(&'a self, needle: &'a str) -> Soon<'a, Result<Evidence, FindError>> {
        let member = fixture::member("eu-west", "eu-west-s2");
        let evidence = Evidence {
            at: Time::START,
            accused: None,
            accusations: vec![],
            needed: 2,
            needed_racks: 2,
            floor_ms: 2_200,
            removal: None,
            clone: None,
            summary: format!("asked about {needle}"),
            member,
        };
        Box::pin(async move { Ok(evidence) })
    }

    fn links(&self, _: bool) -> Soon<'_, Vec<Link>> {
        Box::pin(async { vec![] })
    }

    fn join(&self, addresses: Vec<String>) -> Soon<'_, JoinReport> {
        Box::pin(async {
            JoinReport {
                joined: addresses,
                failed: vec![],
            }
        })
    }

    fn leave(&self) -> Soon<'_, ()> {
        Box::pin(async {})
    }

    fn remove(&self, removal: Item) -> Soon<'_, Result<HandedIn, RemoveError>> {
        let claim = Claim::parse(&removal.claim);
        Box::pin(async move {
            let claim = claim.map_err(|_| RemovalError::Malformed)?;
            let said = claim.removal().ok_or(RemovalError::Malformed)?;
            Ok(HandedIn {
                removed: said.removed,
                name: None,
                datacenter: fixture::label("eu-west"),
                until: said.until,
            })
        })
    }

    fn revoke(&self, crl: Vec<u8>) -> Soon<'_, Result<HandedList, RevokeError>> {
        Box::pin(async move {
            match crl.as_slice() {
                b"known" | b"news" => Ok(HandedList {
                    datacenter: Some(fixture::label("eu-west")),
                    number: 7,
                    news: crl == b"news",
                    gone: 1,
                }),
                b"stale" => Err(ListError::Stale { number: 6, held: 7 }.into()),
                b"forged" => Err(ListError::Refused(Refusal("bad-signature")).into()),
                b"early" => Err(ListError::Refused(Refusal("from-future")).into()),
                large if large.len() > 65_536 => Err(ListError::TooLarge(large.len()).into()),
                _ => Err(ListError::Refused(Refusal("malformed")).into()),
            }
        })
    }

    fn lists(&self) -> Vec<ListEntry> {
        fixture::lists()
    }

    fn trust(&self) -> Option<TrustStore> {
        self.trust.clone()
    }

    fn reload(&self) -> Soon<'_, ReloadReport> {
        Box::pin(async { ReloadReport::default() })
    }
}
