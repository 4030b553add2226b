//! Every counter and gauge of a node, in one list.

use crate::{
    api::Sample,
    count::{Counters, Kind, Label},
    expiry::Ending,
    node::Shared,
    quic::Quic,
};
use pelago_proto::{
    identity::Role,
    trust::Trust,
    view::{Datacenter, Member, Status},
};
use std::sync::atomic::Ordering::Relaxed;

/// A list under construction.
#[derive(Default)]
struct Samples(Vec<Sample>);

impl Samples {
    fn put(
        &mut self,
        name: &'static str,
        help: &'static str,
        counter: bool,
        labels: &[(&'static str, &str)],
        v: f64,
    ) {
        let labels = labels.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        self.0.push(Sample {
            name,
            help,
            counter,
            labels,
            value: v,
        });
    }

    fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.put(name, help, false, labels, value);
    }

    fn count(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: u64,
    ) {
        self.put(name, help, true, labels, value as f64);
    }

    fn reasons<L: Label>(
        &mut self,
        name: &'static str,
        help: &'static str,
        counters: &Counters<L>,
    ) {
        for label in L::ALL {
            self.count(
                name,
                help,
                &[("reason", label.as_str())],
                counters.get(*label),
            );
        }
    }
}

pub(crate) fn samples(shared: &Shared) -> Vec<Sample> {
    let mut all = Samples::default();
    traffic(&mut all, shared);
    membership(&mut all, shared);
    links(&mut all, shared);
    own(&mut all, shared);
    let protocol = shared.published.counts.load();
    all.0.extend(protocol.iter().map(|c| Sample {
        name: c.name,
        help: c.help,
        counter: c.counter,
        labels: c.labels.clone(),
        value: c.value,
    }));
    all.0
}

fn traffic(all: &mut Samples, shared: &Shared) {
    let counts = &shared.counts;
    for kind in Kind::ALL {
        let labels = |direction| [("kind", kind.as_str()), ("direction", direction)];
        let packets = "Packets on the wire, by socket and direction.";
        all.count(
            "packets",
            packets,
            &labels("in"),
            counts.packets_in.get(*kind),
        );
        all.count(
            "packets",
            packets,
            &labels("out"),
            counts.packets_out.get(*kind),
        );
        let bytes = "UDP payload bytes on the wire, by socket and direction.";
        all.count("bytes", bytes, &labels("in"), counts.bytes_in.get(*kind));
        all.count("bytes", bytes, &labels("out"), counts.bytes_out.get(*kind));
    }
    all.reasons(
        "datagrams_dropped",
        "Datagrams dropped, by reason.",
        &counts.dropped,
    );
    all.reasons(
        "peers_refused",
        "Peers refused on QUIC, by reason.",
        &counts.refused,
    );
    all.reasons(
        "streams_cut",
        "Streams of peers that were reset, by reason.",
        &counts.cut,
    );
    let handshakes = "QUIC handshakes, by outcome.";
    all.count(
        "handshakes",
        handshakes,
        &[("outcome", "ok")],
        counts.handshakes.load(Relaxed),
    );
    all.count(
        "handshakes",
        handshakes,
        &[("outcome", "failed")],
        counts.handshakes_failed.load(Relaxed),
    );
    let requests = "Protocol requests over streams, by direction.";
    all.count(
        "requests",
        requests,
        &[("direction", "in")],
        counts.requests_in.load(Relaxed),
    );
    all.count(
        "requests",
        requests,
        &[("direction", "out")],
        counts.requests_out.load(Relaxed),
    );
    all.count(
        "ports_closed_heard",
        "Closed-port probes that heard a refusal.",
        &[],
        counts.port_closed.load(Relaxed),
    );
    all.gauge(
        "pair_keys",
        "LAN pair keys held.",
        &[],
        counts.pair_keys.load(Relaxed) as f64,
    );
    all.gauge(
        "input_queue",
        "Messages that wait for the protocol.",
        &[],
        shared.inputs.waiting() as f64,
    );
    let peak = counts.queue.load(Relaxed) as f64;
    all.gauge(
        "input_queue_peak",
        "Most messages that ever waited for the protocol.",
        &[],
        peak,
    );
}

fn membership(all: &mut Samples, shared: &Shared) {
    let snapshot = shared.published.snapshot();
    let view = &snapshot.view;
    for datacenter in view.datacenters.values() {
        let name = datacenter.name.as_str();
        for status in Status::ALL {
            for role in [Role::Server, Role::Client] {
                let n = datacenter
                    .members
                    .iter()
                    .filter(|m| m.status == status && m.role == role)
                    .count();
                let role = role.to_string();
                let labels = [
                    ("datacenter", name),
                    ("status", status.as_str()),
                    ("role", role.as_str()),
                ];
                all.gauge(
                    "members",
                    "Members known, by datacenter, status and role.",
                    &labels,
                    n as f64,
                );
            }
        }
        let elected =
            |m: &&Member| m.elected && matches!(m.status, Status::Alive | Status::Suspect);
        let seated = datacenter.members.iter().filter(elected).count();
        all.gauge(
            "seats_filled",
            "WAN seats that are taken.",
            &[("datacenter", name)],
            seated as f64,
        );
        datacenter_state(all, datacenter);
    }
    all.gauge(
        "joined",
        "1 once this node has joined.",
        &[],
        f64::from(u8::from(view.joined)),
    );
    all.gauge(
        "local_health",
        "This node's own score, 0 healthy to 8.",
        &[],
        f64::from(view.health),
    );
    all.gauge(
        "incarnation_boot",
        "Starts of this node.",
        &[],
        view.incarnation.boot as f64,
    );
    all.gauge(
        "incarnation_seq",
        "Claims within this boot.",
        &[],
        view.incarnation.seq as f64,
    );
}

fn datacenter_state(all: &mut Samples, datacenter: &Datacenter) {
    let name = datacenter.name.as_str();
    let current = datacenter.reachability.to_string();
    for state in ["local", "reachable", "degraded", "unreachable"] {
        let labels = [("datacenter", name), ("state", state)];
        let help = "How a datacenter is reached: 1 at the state that holds.";
        all.gauge(
            "datacenter_reachability",
            help,
            &labels,
            f64::from(u8::from(state == current)),
        );
    }
    let age = datacenter
        .age_ms
        .map_or(f64::INFINITY, |age| age as f64 / 1000.0);
    all.gauge(
        "datacenter_age_seconds",
        "Age of what is known of a datacenter; infinite if nothing was ever heard of it.",
        &[("datacenter", name)],
        age,
    );
    let attested = f64::from(u8::from(datacenter.attested));
    all.gauge(
        "datacenter_attested",
        "1 if two servers agree on its roster.",
        &[("datacenter", name)],
        attested,
    );
}

fn links(all: &mut Samples, shared: &Shared) {
    for (pool, quic) in [("lan", Some(&shared.lan)), ("wan", shared.wan.as_ref())] {
        let links = quic.map(|q| q.links.all()).unwrap_or_default();
        let up = links.iter().filter(|l| l.up).count() as f64;
        all.gauge(
            "connections",
            "QUIC connections that are up.",
            &[("pool", pool)],
            up,
        );
        let targets = quic.map_or(0, |q: &std::sync::Arc<Quic>| q.dials.len()) as f64;
        all.gauge(
            "dial_targets",
            "Addresses whose dials are remembered.",
            &[("pool", pool)],
            targets,
        );
        let begun = quic.map_or(0, |q| q.dials.begun());
        all.count(
            "dials",
            "QUIC handshakes begun by this node.",
            &[("pool", pool)],
            begun,
        );
    }
    for link in shared
        .wan
        .iter()
        .flat_map(|w| w.links.all())
        .filter(|l| l.up)
    {
        let certified = &link.peer.certified;
        let labels = [
            ("peer", certified.name.as_str()),
            ("datacenter", certified.datacenter.as_str()),
        ];
        let rtt = link.connection.rtt().as_secs_f64();
        all.gauge(
            "link_rtt_seconds",
            "Smoothed round trip of a WAN link.",
            &labels,
            rtt,
        );
    }
}

fn own(all: &mut Samples, shared: &Shared) {
    let own = shared.trust.own();
    let end = own.not_after as f64;
    all.gauge(
        "cert_not_after_seconds",
        "End of the own certificate, Unix time.",
        &[],
        end,
    );
    all.gauge(
        "authorities",
        "Datacenter authorities known.",
        &[],
        shared.trust.authorities().len() as f64,
    );
    let now = shared.trust.unix_time();
    for ending in soonest(crate::expiry::endings(&shared.trust)) {
        let labels = [("kind", ending.kind), ("name", ending.name.as_str())];
        all.gauge(
            "credential_not_after_seconds",
            "When a certificate in use ends, or a revocation list is due, Unix time.",
            &labels,
            ending.ends as f64,
        );
        all.gauge(
            "credential_life_left_ratio",
            "The share of the life of a certificate in use, or of a revocation list, that is left.",
            &labels,
            ending.left(now),
        );
    }
    let lists = shared.trust.entries();
    let roots = lists.iter().filter(|l| l.datacenter.is_none()).count();
    for list in &lists {
        let issuer = match &list.datacenter {
            Some(datacenter) => datacenter.clone(),
            None if roots == 1 => "root".to_owned(),
            // While one root replaces another there are two, and their lists have numbers of their own.
            None => format!("root-{}", hex(&list.issuer)),
        };
        all.gauge(
            "revocation_list_number",
            "Number of the newest revocation list of an issuer.",
            &[("issuer", &issuer)],
            list.number as f64,
        );
    }
    let degraded = shared.upkeep.condition(shared).degraded.len();
    all.gauge(
        "degraded",
        "Things that are wrong but survivable.",
        &[],
        degraded as f64,
    );
}

/// The first eight digits of a key's name.
fn hex(key: &[u8; 32]) -> String {
    key.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// One of each kind and name, the one that ends first: no series may be there twice while one root replaces another.
fn soonest(mut endings: Vec<Ending>) -> Vec<Ending> {
    endings.sort_by(|a, b| (a.kind, &a.name, a.ends).cmp(&(b.kind, &b.name, b.ends)));
    endings.dedup_by(|later, first| (later.kind, &later.name) == (first.kind, &first.name));
    endings
}
