//! This node's WAN links, as it sees them.

use super::Asker;
use crate::{api::Link, inputs::Command, links, quic::Quic};
use pelago_proto::{
    identity::NodeId,
    view::{Member, View},
};
use std::{collections::BTreeMap, net::SocketAddr};

impl Asker {
    /// One entry per server that a link is up or wanted to, and per seed where nobody has answered.
    pub(crate) async fn own_links(&self) -> Vec<Link> {
        let Some(wan) = &self.wan else {
            return Vec::new();
        };
        let view = self.view();
        let wanted = self.inputs.ask(Command::WanPeers).await.unwrap_or_default();
        let mut shown: BTreeMap<NodeId, SocketAddr> = wanted.into_iter().collect();
        for link in wan.links.all().into_iter().filter(|l| l.up) {
            shown
                .entry(link.id())
                .or_insert_with(|| link.connection.remote_address());
        }
        let mut all: Vec<_> = shown
            .iter()
            .map(|(id, address)| show(wan, &view, Some(*id), *address))
            .collect();
        for address in self.seeds.wan_addresses() {
            let known = shown.values().any(|a| *a == address) || wan.links.at(address).is_some();
            // One list of seeds may serve all datacenters; servers of one's own are no fault of the WAN.
            if !known && !at_home(&view, address) {
                all.push(show(wan, &view, None, address));
            }
        }
        all
    }
}

/// Whether a server of this node's own datacenter is there.
fn at_home(view: &View, address: SocketAddr) -> bool {
    let home = view.datacenters.get(&view.datacenter);
    home.is_some_and(|home| home.members.iter().any(|m| m.wan_address == Some(address)))
}

fn show(wan: &Quic, view: &View, id: Option<NodeId>, address: SocketAddr) -> Link {
    let from = |f: &dyn Fn(&Member) -> pelago_proto::identity::Label| {
        id.and_then(|id| member(view, id)).map(f)
    };
    let mine = member(view, view.viewer);
    let live: Option<links::Link> = id.and_then(|id| wan.links.get(id));
    let (dialling, failure) = wan.dials.status(id, address);
    let certified = live.as_ref().map(|l| &l.peer.certified);
    let name = certified
        .map(|c| c.name.clone())
        .or_else(|| from(&|m| m.name.clone()));
    let datacenter = certified
        .map(|c| c.datacenter.clone())
        .or_else(|| from(&|m| m.datacenter.clone()));
    let to = match (&name, &datacenter) {
        (Some(name), Some(datacenter)) => format!("{name}.{datacenter}"),
        _ => address.to_string(),
    };
    let state = match (&live, dialling) {
        (Some(_), _) => "up",
        (None, true) => "dialling",
        (None, false) => "down",
    };
    let path = live.as_ref().map(|l| l.connection.stats().path);
    Link {
        from: mine.map_or_else(|| view.viewer_name.clone(), |m| m.name.clone()),
        from_datacenter: view.datacenter.clone(),
        to,
        to_id: id,
        to_datacenter: datacenter,
        address,
        state: state.into(),
        rtt_ms: path.map(|p| p.rtt.as_secs_f64() * 1000.0),
        loss: path.map(|p| {
            if p.sent_packets == 0 {
                0.0
            } else {
                p.lost_packets as f64 / p.sent_packets as f64
            }
        }),
        last_contact_ms: live.as_ref().map(|l| wan.links.last_contact_ms(l)),
        not_after: certified.map(|c| c.not_after),
        error: if live.is_some() { None } else { failure },
    }
}

fn member(view: &View, id: NodeId) -> Option<&Member> {
    view.datacenters
        .values()
        .flat_map(|d| d.members.iter())
        .find(|m| m.id == id)
}
