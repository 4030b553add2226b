//! Whom we watch, with the first deadline among them: asked for after every packet, few of which change it.

use super::detector::Watch;
use crate::{
    identity::NodeId,
    time::{Deadline, Time},
};
use std::collections::BTreeMap;

/// Watches by the member watched.
#[derive(Debug, Default)]
pub(super) struct Watches {
    all: BTreeMap<NodeId, Watch>,
    /// The first deadline, if nothing was changed since it was looked for.
    first: Option<Deadline>,
}

impl Watches {
    pub(super) fn get(&self, id: &NodeId) -> Option<&Watch> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Watch> {
        let watch = self.all.get_mut(id)?;
        self.first = None;
        Some(watch)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Watch)> {
        self.all.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Watch> {
        self.first = None;
        self.all.values_mut()
    }

    pub(super) fn insert(&mut self, id: NodeId, watch: Watch) {
        self.first = None;
        self.all.insert(id, watch);
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> BTreeMap<NodeId, Watch> {
        self.first = None;
        std::mem::take(&mut self.all)
    }

    /// The first deadline of any.
    pub(super) fn deadline(&self) -> Deadline {
        self.first.unwrap_or_else(|| self.look())
    }

    /// Looks for the first deadline, to be kept until something changes.
    pub(super) fn look_ahead(&mut self) {
        if self.first.is_none() {
            self.first = Some(self.look());
        }
    }

    fn look(&self) -> Deadline {
        let first = self.all.values().map(Watch::deadline).min();
        first.unwrap_or(Deadline {
            at: Time::NEVER,
            why: "probe",
        })
    }
}
