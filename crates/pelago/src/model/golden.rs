//! The JSON that others rely on, byte for byte. A change here is a change of the contract: raise the schema's number.
//!
//! `PELAGO_BLESS=1 cargo test -p pelago golden` writes the files anew.

use super::*;
use fixture::{answer, label, me, snapshot, wall};
use pelago_node::api::{self, Mode};
use pelago_proto::{
    time::Time,
    view::{self, EventKind, Status},
};
use serde::Serialize;
use std::{fs, path::Path, time::Duration};

fn check(name: &str, body: &impl Serialize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let text = serde_json::to_string_pretty(body).expect("serialises") + "\n";
    if std::env::var_os("PELAGO_BLESS").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, held, "{} differs", path.display());
}

fn member() -> view::Member {
    let mut member = fixture::member("eu-west", "eu-west-s2");
    member.tags.insert("team".into(), "core".into());
    member
}

fn view_info() -> ViewInfo {
    let mut answer = answer(Mode::Home);
    answer.partial.push(api::Missing {
        datacenter: label("ap-south"),
        causes: vec![api::Cause {
            server: "ap-south-s1".into(),
            address: "10.80.83.11:8703".parse().ok(),
            error: "timed out after 2 s".into(),
        }],
    });
    ViewInfo::new(&answer, &me())
}

#[test]
fn members() {
    let clock = Clock::from(&answer(Mode::Home));
    let members = vec![Member::new(&member(), &clock)];
    let next_cursor = Some("eu-west/eu-west-s2/00".to_owned());
    check(
        "members.json",
        &MembersBody {
            schema: MembersBody::SCHEMA.into(),
            view: view_info(),
            members,
            total: 15,
            next_cursor,
        },
    );
}

#[test]
fn one_member() {
    let clock = Clock::from(&answer(Mode::Home));
    let member = MemberDetail::new(&member(), &clock);
    check(
        "member.json",
        &MemberBody {
            schema: MemberBody::SCHEMA.into(),
            view: view_info(),
            member,
        },
    );
}

#[test]
fn why() {
    let mut dead = member();
    dead.status = Status::Dead;
    let accusation = |name: &str, counts| view::AccusationView {
        accuser: fixture::member("eu-west", name).id,
        accuser_name: Some(label(name)),
        accuser_rack: Some((label("a"), label("r1"))),
        silent_ms: 2_214,
        basis: "timeout".into(),
        quorate: counts,
        counts,
        heard: Time::START - Duration::from_secs(3),
    };
    let evidence = view::Evidence {
        at: Time::START,
        accused: Some(dead.incarnation),
        member: dead,
        accusations: vec![
            accusation("eu-west-s1", true),
            accusation("eu-west-c1", false),
        ],
        needed: 2,
        needed_racks: 2,
        floor_ms: 2_200,
        removal: None,
        clone: None,
        summary: "dead".into(),
    };
    let body = |it| WhyBody::new(it, "eu-west-s1".into(), wall());
    check("why.json", &body(&evidence));
    let mut removed = evidence.clone();
    removed.member.status = Status::Removed;
    removed.removal = Some(view::RemovalView {
        operator: fixture::member("eu-west", "eu-west-s1").id,
        operator_name: label("eu-west-operator"),
        until: fixture::NOT_AFTER,
        reason: "goes to the recycler".into(),
    });
    check("why-removed.json", &body(&removed));
    let mut cloned = removed.clone();
    cloned.removal = None;
    cloned.member.status = Status::Alive;
    cloned.clone = Some(view::CloneView {
        seen: Time::START - Duration::from_secs(60),
        claims: ["1b2d".into(), "9c04".into()],
    });
    check("why-cloned.json", &body(&cloned));
}

#[test]
fn removal() {
    check(
        "removal.json",
        &RemovalBody {
            schema: RemovalBody::SCHEMA.into(),
            id: member().id.to_string(),
            name: Some(member().name.to_string()),
            datacenter: member().datacenter.to_string(),
            until: from_unix_seconds(fixture::NOT_AFTER),
        },
    );
}

#[test]
fn crl() {
    check(
        "crl.json",
        &CrlBody {
            schema: CrlBody::SCHEMA.into(),
            issuer: member().datacenter.to_string(),
            number: 7,
            news: true,
            gone: 1,
        },
    );
}

#[test]
fn datacenters_and_servers() {
    let answer = answer(Mode::Local);
    let view = ViewInfo::new(&answer, &me());
    let datacenters = selected(&answer)
        .into_values()
        .map(|(datacenter, _)| Datacenter::new(datacenter))
        .collect();
    check(
        "datacenters.json",
        &DatacentersBody {
            schema: DatacentersBody::SCHEMA.into(),
            view: view.clone(),
            datacenters,
        },
    );
    check("servers.json", &ServersBody::new(view, &answer));
}

#[test]
fn status() {
    let snapshot = snapshot();
    let node = SelfBody::new(&me(), &snapshot.view, &fixture::lists(), 61_000);
    let condition = api::Condition {
        live: true,
        ready: true,
        degraded: vec!["the data directory is read-only".into()],
        notices: vec!["the own certificate ends in 129600 s, 50 % of its life".into()],
    };
    let datacenters = snapshot
        .view
        .datacenters
        .values()
        .map(Datacenter::new)
        .collect();
    let api = Api {
        socket: Some("/run/pelago/api.sock".into()),
        ..Api::default()
    };
    check(
        "status.json",
        &StatusBody::new(node, &condition, datacenters, api),
    );
}

#[test]
fn links() {
    let link = api::Link {
        from: label("eu-west-s1"),
        from_datacenter: label("eu-west"),
        to: "us-east-s1".into(),
        to_id: Some(fixture::member("us-east", "us-east-s1").id),
        to_datacenter: Some(label("us-east")),
        address: "10.80.82.11:8703".parse().expect("an address"),
        state: "up".into(),
        rtt_ms: Some(82.4),
        loss: Some(0.01),
        last_contact_ms: Some(120),
        not_after: Some(fixture::NOT_AFTER),
        error: None,
    };
    check(
        "links.json",
        &LinksBody {
            schema: LinksBody::SCHEMA.into(),
            links: vec![Link::from(&link)],
        },
    );
}

#[test]
fn event() {
    let event = api::NumberedEvent {
        id: 7,
        unix_ms: 1_795_000_000_123,
        event: view::Event {
            at: Time::START,
            kind: EventKind::RackDegraded,
            datacenter: label("eu-west"),
            member: Some(member().id),
            name: Some(label("eu-west-s2")),
            incarnation: Some(member().incarnation),
            detail: "half of rack a/r1 is suspected at once".into(),
        },
    };
    check("event.json", &Event::from(&event));
}
