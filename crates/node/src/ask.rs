//! Questions: whose knowledge to ask, in which order, and what to do when somebody does not answer.
//!
//! A question never fails. A datacenter that could not be asked is named with the causes, and what is known of it here
//! still stands in the answer.

pub(crate) mod find;
mod links;
mod local;
mod serve;
pub(crate) mod wire;

use crate::{
    api::{Answer, Cause, Link, Missing, Mode, Part, Scope, UNKNOWN_DATACENTER},
    clock::Clock,
    publish::Published,
    quic::Quic,
};
use local::{datacenters_in, elected, elected_of, living, part_of};
use pelago_proto::{
    identity::{Label, NodeId, Role},
    view::{Member, View},
};
pub(crate) use serve::serve;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use wire::Question;

/// How long one server may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
/// Servers of one datacenter that are tried.
const TRIES: usize = 3;
/// How long one server may take before the next is asked as well.
const HEDGE: Duration = Duration::from_millis(300);

/// What questions are asked and answered with.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) published: Arc<Published>,
    pub(crate) lan: Arc<Quic>,
    pub(crate) wan: Option<Arc<Quic>>,
    pub(crate) inputs: crate::inputs::Inputs,
    pub(crate) seeds: Arc<crate::seeds::Seeds>,
    pub(crate) clock: Clock,
}

/// What somebody else's answer consists of.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) parts: Vec<Part>,
    pub(crate) partial: Vec<Missing>,
}

/// Whom to ask, and over which pool.
#[derive(Clone, Debug)]
struct Target {
    id: NodeId,
    name: String,
    address: SocketAddr,
    wan: bool,
}

impl Asker {
    pub(crate) fn view(&self) -> Arc<View> {
        self.published.snapshot().view.clone()
    }

    /// Asks on behalf of this node's own users.
    pub(crate) async fn ask(&self, mode: Mode, scope: Scope) -> Answer {
        let given = self.gather(mode, &scope, true).await;
        Answer {
            mode,
            parts: given.parts,
            partial: given.partial,
            at: self.clock.now(),
            wall: SystemTime::now(),
        }
    }

    /// Gathers an answer. `relay`: others of this datacenter may be asked to gather for us.
    pub(crate) async fn gather(&self, mode: Mode, scope: &Scope, relay: bool) -> Given {
        let view = self.view();
        let client = view.role == Role::Client;
        let own_only = matches!(scope, Scope::Own) || *scope == Scope::One(view.datacenter.clone());
        match mode {
            Mode::Local if !client => self.known(&view, scope),
            Mode::Local => self.relayed(&view, mode, scope, client).await,
            Mode::Dc if elected(&view) => self.known(&view, scope),
            Mode::Dc => self.of_datacenter(&view, scope).await,
            Mode::Home | Mode::All
                if self.wan.is_none() && relay && !(own_only && mode == Mode::Home) =>
            {
                self.relayed(&view, mode, scope, client).await
            }
            Mode::Home | Mode::All => self.each(&view, mode, scope, relay).await,
        }
    }

    /// What this node knows itself.
    fn known(&self, view: &View, scope: &Scope) -> Given {
        let missing = match scope {
            Scope::One(name) if !view.datacenters.contains_key(name) => {
                vec![missing(
                    name,
                    vec![cause("this node", None, UNKNOWN_DATACENTER)],
                )]
            }
            _ => Vec::new(),
        };
        Given {
            parts: vec![part_of(view, scope)],
            partial: missing,
        }
    }

    /// An elected server of this datacenter, asked for what it knows.
    async fn of_datacenter(&self, view: &View, scope: &Scope) -> Given {
        let targets = lan_targets(view, elected_of(view, &view.datacenter));
        let question = Question::View {
            scope: scope.clone(),
        };
        let tries = targets
            .into_iter()
            .take(TRIES)
            .map(|t| (t, question.clone()));
        match self.first_of(tries.collect(), |_| true).await {
            Ok(given) => given,
            Err(causes) => self.fall_back(view, scope, causes),
        }
    }

    /// A server of this datacenter, elected ones first, asked to gather for us.
    async fn relayed(&self, view: &View, mode: Mode, scope: &Scope, relay: bool) -> Given {
        let question = Question::Gather {
            mode,
            scope: scope.clone(),
            relay,
        };
        let mut servers = elected_of(view, &view.datacenter);
        servers.extend(
            living(view, &view.datacenter).filter(|m| m.role == Role::Server && !m.elected),
        );
        let targets = lan_targets(view, servers).into_iter().take(TRIES);
        match self
            .first_of(targets.map(|t| (t, question.clone())).collect(), |_| true)
            .await
        {
            Ok(given) => given,
            Err(causes) => self.fall_back(view, scope, causes),
        }
    }

    /// Every datacenter in scope at once.
    async fn each(&self, view: &Arc<View>, mode: Mode, scope: &Scope, relay: bool) -> Given {
        let mut tasks = tokio::task::JoinSet::new();
        let names = datacenters_in(view, scope);
        for (place, name) in names.iter().cloned().enumerate() {
            let (asker, view) = (self.clone(), view.clone());
            tasks.spawn(async move {
                let given = match mode {
                    Mode::All => asker.every_server(&view, mode, &name, relay).await,
                    _ => asker.at_home(&view, &name, relay).await,
                };
                (place, given)
            });
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            all.extend(done);
        }
        all.sort_by_key(|(place, _)| *place);
        let mut given = Given::default();
        for (_, one) in all {
            given.parts.extend(one.parts);
            given.partial.extend(one.partial);
        }
        given
    }

    /// One datacenter as one of its own elected servers sees it.
    async fn at_home(&self, view: &View, name: &Label, relay: bool) -> Given {
        let scope = Scope::One(name.clone());
        if *name == view.datacenter {
            return if elected(view) {
                self.known(view, &scope)
            } else {
                self.of_datacenter(view, &scope).await
            };
        }
        let mut tries = Vec::new();
        // A standby does not open links of its own as long as somebody elected can be asked.
        if elected(view) || !relay {
            let question = Question::View {
                scope: scope.clone(),
            };
            let targets = self.wan_targets(view, name).into_iter().take(TRIES);
            tries.extend(targets.map(|t| (t, question.clone())));
        }
        if relay {
            let question = Question::Gather {
                mode: Mode::Home,
                scope: scope.clone(),
                relay: false,
            };
            let relays = if elected(view) { 1 } else { TRIES };
            let seats = lan_targets(view, elected_of(view, &view.datacenter));
            tries.extend(
                seats
                    .into_iter()
                    .take(relays)
                    .map(|t| (t, question.clone())),
            );
        }
        match self.first_of(tries, |given| given.partial.is_empty()).await {
            Ok(given) => given,
            Err(causes) => self.fall_back(view, &scope, causes),
        }
    }

    /// The first answer to any of these questions that will do. The next is put when the ones before failed or took too long,
    /// so that one server that hangs costs little; slower answers are dropped. Why not, if none came in time.
    async fn first_of(
        &self,
        tries: Vec<(Target, Question)>,
        will_do: impl Fn(&Given) -> bool,
    ) -> Result<Given, Vec<Cause>> {
        let longest = tries.iter().map(|(_, question)| question.deadline()).max();
        let give_up = tokio::time::Instant::now() + longest.unwrap_or_default();
        let mut waiting = tries.into_iter();
        let mut running = tokio::task::JoinSet::new();
        let mut names = std::collections::BTreeMap::new();
        let mut causes = Vec::new();
        loop {
            if let Some((target, question)) = waiting.next() {
                let asker = self.clone();
                let unanswered = cause(&target.name, Some(target.address), "no answer in time");
                let task = running.spawn(async move { asker.put(&target, &question).await });
                names.insert(task.id(), unanswered);
            } else if running.is_empty() {
                return Err(causes);
            }
            let patience = if waiting.len() == 0 {
                give_up
            } else {
                give_up.min(tokio::time::Instant::now() + HEDGE)
            };
            let Ok(done) = tokio::time::timeout_at(patience, running.join_next_with_id()).await
            else {
                if patience < give_up {
                    continue;
                }
                causes.extend(names.into_values());
                return Err(causes);
            };
            match done {
                None => {}
                Some(Ok((_, Ok(given)))) if will_do(&given) => return Ok(given),
                Some(Ok((id, Ok(given)))) => {
                    names.remove(&id);
                    causes.extend(given.partial.into_iter().flat_map(|m| m.causes));
                }
                Some(Ok((id, Err(cause)))) => {
                    names.remove(&id);
                    causes.push(cause);
                }
                Some(Err(error)) => {
                    names.remove(&error.id());
                    causes.push(cause("this node", None, &error.to_string()));
                }
            }
        }
    }

    /// One datacenter as each of its elected servers sees it.
    async fn every_server(&self, view: &View, mode: Mode, name: &Label, relay: bool) -> Given {
        let scope = Scope::One(name.clone());
        let own = *name == view.datacenter;
        if !own && !elected(view) && relay {
            return self.relayed(view, mode, &scope, false).await;
        }
        let targets = if own {
            lan_targets(view, elected_of(view, name))
        } else {
            self.wan_targets(view, name)
        };
        let mut tasks = tokio::task::JoinSet::new();
        for target in targets {
            let (asker, question) = (
                self.clone(),
                Question::View {
                    scope: scope.clone(),
                },
            );
            tasks.spawn(async move { asker.put(&target, &question).await });
        }
        let mut given = Given::default();
        if own && elected(view) {
            given.parts.push(part_of(view, &scope));
        }
        let mut causes = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(Ok(one)) => given.parts.extend(one.parts),
                Ok(Err(cause)) => causes.push(cause),
                Err(error) => causes.push(cause("this node", None, &error.to_string())),
            }
        }
        if given.parts.is_empty() {
            return self.fall_back(view, &scope, causes);
        }
        given
            .parts
            .sort_by(|a, b| a.viewer_name.cmp(&b.viewer_name));
        if !causes.is_empty() {
            given.partial.push(missing(name, causes));
        }
        given
    }

    /// What is known here, marked as not what was wanted.
    fn fall_back(&self, view: &View, scope: &Scope, mut causes: Vec<Cause>) -> Given {
        if causes.is_empty() {
            causes.push(cause("this node", None, "no elected server is known there"));
        }
        let names = datacenters_in(view, scope);
        let partial = names
            .iter()
            .map(|name| missing(name, causes.clone()))
            .collect();
        Given {
            parts: vec![part_of(view, scope)],
            partial,
        }
    }

    /// Puts a question to one server.
    async fn put(&self, target: &Target, question: &Question) -> Result<Given, Cause> {
        let quic = if target.wan {
            self.wan.as_ref()
        } else {
            Some(&self.lan)
        };
        let failed = |error: &str| cause(&target.name, Some(target.address), error);
        let quic = quic.ok_or_else(|| failed("this node is not on the WAN"))?;
        let deadline = question.deadline();
        let dial = quic.link(Some(target.id), target.address, DEADLINE);
        let link = tokio::time::timeout(DEADLINE, dial)
            .await
            .map_err(|_| failed(&format!("not reached within {} s", DEADLINE.as_secs())))?
            .map_err(|e| failed(&e.to_string()))?;
        wire::ask(&link.connection, question, deadline, self.clock)
            .await
            .map_err(|e| failed(&e.to_string()))
    }

    /// Elected servers of another datacenter, those with a live link first.
    fn wan_targets(&self, view: &View, name: &Label) -> Vec<Target> {
        let mut targets: Vec<_> = elected_of(view, name)
            .into_iter()
            .filter_map(|m| {
                Some(Target {
                    id: m.id,
                    name: full(m),
                    address: m.wan_address?,
                    wan: true,
                })
            })
            .collect();
        if let Some(wan) = &self.wan {
            targets.sort_by_cached_key(|t| {
                wan.links
                    .get(t.id)
                    .map_or(Duration::MAX, |l| l.connection.rtt())
            });
        }
        targets
    }

    /// The WAN links of every elected server that answers, beside this node's own.
    pub(crate) async fn links_of_others(&self) -> Vec<Link> {
        let view = self.view();
        let mut tasks = tokio::task::JoinSet::new();
        if self.wan.is_some() && elected(&view) {
            for name in view.datacenters.keys() {
                let own = *name == view.datacenter;
                let targets = if own {
                    lan_targets(&view, elected_of(&view, name))
                } else {
                    self.wan_targets(&view, name)
                };
                for target in targets {
                    let asker = self.clone();
                    tasks.spawn(async move { asker.links_at(&target, false).await });
                }
            }
        } else {
            for target in lan_targets(&view, elected_of(&view, &view.datacenter)) {
                if let Some(links) = self.links_at(&target, true).await {
                    return links;
                }
            }
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            all.extend(done.ok().flatten().unwrap_or_default());
        }
        all
    }

    async fn links_at(&self, target: &Target, everyone: bool) -> Option<Vec<Link>> {
        let quic = if target.wan {
            self.wan.as_ref()?
        } else {
            &self.lan
        };
        let question = Question::Links { everyone };
        let work = async {
            let link = quic
                .link(Some(target.id), target.address, question.deadline())
                .await
                .ok()?;
            wire::ask_one(&link.connection, &question).await.ok()
        };
        match tokio::time::timeout(question.deadline(), work)
            .await
            .ok()??
        {
            wire::Frame::Links(links) => Some(links),
            _ => None,
        }
    }

    /// The evidence about a member, out of the knowledge of whoever has it.
    pub(crate) async fn why(
        &self,
        needle: &str,
        relay: bool,
    ) -> Result<pelago_proto::view::Evidence, crate::FindError> {
        let view = self.view();
        match find::find(&view, needle) {
            Ok(id) => match self
                .inputs
                .ask(|answer| crate::inputs::Command::Evidence(id, answer))
                .await
            {
                Some(Some(evidence)) => return Ok(evidence),
                _ if !relay => return Err(crate::FindError::None),
                _ => {}
            },
            Err(error @ crate::FindError::Ambiguous(_)) => return Err(error),
            Err(error) if !relay => return Err(error),
            Err(_) => {}
        }
        let mut servers = elected_of(&view, &view.datacenter);
        servers.extend(
            living(&view, &view.datacenter).filter(|m| m.role == Role::Server && !m.elected),
        );
        let question = Question::Why {
            needle: needle.into(),
        };
        for target in lan_targets(&view, servers).into_iter().take(TRIES) {
            let work = async {
                let link = self
                    .lan
                    .link(Some(target.id), target.address, DEADLINE)
                    .await
                    .ok()?;
                wire::ask_one(&link.connection, &question).await.ok()
            };
            match tokio::time::timeout(DEADLINE, work).await {
                Ok(Some(wire::Frame::Evidence { at, evidence })) => {
                    return Ok(local::rebase_evidence(*evidence, at, self.clock.now()));
                }
                Ok(Some(wire::Frame::Ambiguous(candidates))) => {
                    return Err(crate::FindError::Ambiguous(candidates));
                }
                _ => {}
            }
        }
        Err(crate::FindError::None)
    }
}

fn lan_targets(view: &View, members: Vec<&Member>) -> Vec<Target> {
    let target = |m: &Member| Target {
        id: m.id,
        name: full(m),
        address: m.stream_address,
        wan: false,
    };
    members
        .into_iter()
        .filter(|m| m.id != view.viewer)
        .map(target)
        .collect()
}

fn full(member: &Member) -> String {
    format!("{}.{}", member.name, member.datacenter)
}

fn cause(server: &str, address: Option<SocketAddr>, error: &str) -> Cause {
    Cause {
        server: server.into(),
        address,
        error: error.into(),
    }
}

fn missing(datacenter: &Label, causes: Vec<Cause>) -> Missing {
    Missing {
        datacenter: datacenter.clone(),
        causes,
    }
}

#[cfg(test)]
#[path = "ask/tests.rs"]
pub(crate) mod tests;
