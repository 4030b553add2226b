use super::{find::find, local::*, wire::*, *};
use crate::FindError;
use pelago_proto::{
    identity::{Incarnation, Location},
    time::Time,
    view::{Datacenter, Reachability, Status},
};
use std::collections::BTreeMap;

fn label(name: &str) -> Label {
    Label::new(name).expect("label")
}

/// A member `name` of `datacenter` whose id starts with the given byte.
pub(crate) fn member(name: &str, datacenter: &str, id: u8) -> Member {
    let place = Location {
        region: label("europe"),
        datacenter: label(datacenter),
        zone: label("a"),
        rack: label("r1"),
    };
    Member {
        id: NodeId([id; 16]),
        name: label(name),
        datacenter: place.datacenter,
        region: place.region,
        zone: place.zone,
        rack: place.rack,
        role: Role::Server,
        status: Status::Alive,
        since: Time::START,
        elected: false,
        elected_since: None,
        incarnation: Incarnation { boot: 1, seq: 1 },
        address: ([127, 0, 0, 1], 8701).into(),
        stream_address: ([127, 0, 0, 1], 8702).into(),
        wan_address: Some(([127, 0, 0, 1], 8703).into()),
        tags: BTreeMap::new(),
        health: 0,
        pause_tolerance_ms: 2000,
        not_after: 1000,
        rtt_ms: None,
        clone: false,
        version: "0.1.0".into(),
    }
}

/// What a server of `own`, with id 0xee…, sees.
pub(crate) fn view(own: &str, members: &[Member]) -> View {
    let mut datacenters: BTreeMap<Label, Datacenter> = BTreeMap::new();
    let names: std::collections::BTreeSet<_> = members
        .iter()
        .map(|m| m.datacenter.clone())
        .chain([label(own)])
        .collect();
    for name in names {
        let all: Vec<_> = members
            .iter()
            .filter(|m| m.datacenter == name)
            .cloned()
            .collect();
        let datacenter = Datacenter {
            name: name.clone(),
            region: None,
            reachability: Reachability::Local,
            age_ms: Some(0),
            attested: false,
            digest: String::new(),
            seats: 3,
            members: Arc::new(all),
        };
        datacenters.insert(name, datacenter);
    }
    View {
        at: Time::START,
        viewer: NodeId([0xee; 16]),
        viewer_name: label("viewer"),
        datacenter: label(own),
        role: Role::Server,
        joined: true,
        incarnation: Incarnation::default(),
        health: 0,
        datacenters,
    }
}

#[test]
fn a_member_is_found_by_name_full_name_or_the_start_of_its_id() {
    let view = view(
        "west",
        &[
            member("s1", "west", 0xa1),
            member("s2", "west", 0xa2),
            member("s1", "east", 0xb1),
        ],
    );
    assert_eq!(find(&view, "s2"), Ok(NodeId([0xa2; 16])));
    assert_eq!(find(&view, "s1.east"), Ok(NodeId([0xb1; 16])));
    assert_eq!(find(&view, "b1"), Ok(NodeId([0xb1; 16])));
    assert_eq!(find(&view, "A2a2"), Ok(NodeId([0xa2; 16])));
    assert_eq!(
        find(&view, &NodeId([0xa1; 16]).to_string()),
        Ok(NodeId([0xa1; 16]))
    );
    assert_eq!(find(&view, "s3"), Err(FindError::None));
    assert_eq!(find(&view, ""), Err(FindError::None));
    let Err(FindError::Ambiguous(names)) = find(&view, "s1") else {
        panic!("s1 is ambiguous")
    };
    assert_eq!(names.len(), 2);
    assert!(
        names
            .iter()
            .all(|n| n.starts_with("s1.west (a1") || n.starts_with("s1.east (b1")),
        "{names:?}"
    );
}

#[test]
fn of_two_certificates_with_one_name_the_newer_holds() {
    let mut old = member("s1", "west", 0xa1);
    old.not_after = 500;
    let view = view("west", &[old, member("s1", "west", 0xa2)]);
    assert_eq!(find(&view, "s1"), Ok(NodeId([0xa2; 16])));
    assert_eq!(
        find(&view, "a1"),
        Ok(NodeId([0xa1; 16])),
        "the older one still has its id"
    );
}

#[test]
fn a_large_roster_travels_in_messages_and_arrives_whole_on_the_asking_clock() {
    let members: Vec<_> = (0..10_000u32)
        .map(|i| {
            let mut member = member(&format!("node-{i}"), "west", 1);
            member.since = Time::START - Duration::from_secs(u64::from(i));
            member.tags = [("team".to_owned(), "core".to_owned())].into();
            member
        })
        .collect();
    let view = view("west", &members);
    let given = Given {
        parts: vec![part_of(&view, &Scope::Own)],
        partial: Vec::new(),
    };
    let sent = frames(&given, Time::START);
    assert!(sent.len() > 10);
    let ours = Time::START + Duration::from_secs(1_000_000);
    let mut collect = Collect::default();
    for frame in sent {
        let bytes = encode(&frame).expect("fits a message");
        collect
            .take(decode(&bytes).expect("decodes"), ours)
            .expect("fits");
    }
    let arrived = collect.given().parts;
    let all = &arrived[0].datacenters[0].members;
    assert_eq!(all.len(), members.len());
    for (there, here) in members.iter().zip(all.iter()) {
        assert_eq!((&there.name, &there.tags), (&here.name, &here.tags));
        assert_eq!(
            Time::START.since(there.since),
            ours.since(here.since),
            "the age stays"
        );
    }
}

#[test]
fn answers_that_do_not_add_up_are_refused() {
    let stray = Frame::Members {
        datacenter: 0,
        members: vec![member("s1", "west", 1)],
    };
    assert!(Collect::default().take(stray.clone(), Time::START).is_err());
    let mut collect = Collect::default();
    let view = view("west", &[]);
    let given = Given {
        parts: vec![part_of(&view, &Scope::Own)],
        partial: Vec::new(),
    };
    for frame in frames(&given, Time::START) {
        collect.take(frame, Time::START).expect("fits");
    }
    collect.take(stray, Time::START).expect("fits");
    let wild = Frame::Members {
        datacenter: 7,
        members: Vec::new(),
    };
    assert!(collect.take(wild, Time::START).is_err());
    assert!(collect.take(Frame::Nobody, Time::START).is_err());
    let mut trailing = encode(&Frame::End).expect("encodes");
    trailing.push(0);
    assert!(decode::<Frame>(&trailing).is_err());
    assert!(decode::<Frame>(&[0x9f; 100]).is_err(), "nesting is bounded");
    assert!(decode::<Question>(&[0xff; 10]).is_err());
}

#[test]
fn whom_to_ask_is_who_sits_and_lives() {
    let mut seated = member("s1", "east", 1);
    seated.elected = true;
    let mut dead = member("s2", "east", 2);
    dead.elected = true;
    dead.status = Status::Dead;
    let mut me = member("viewer", "west", 0xee);
    me.elected = true;
    let with = view("west", &[seated, dead, member("s3", "east", 3), me.clone()]);
    let names: Vec<_> = elected_of(&with, &label("east"))
        .iter()
        .map(|m| m.name.to_string())
        .collect();
    assert_eq!(names, ["s1"]);
    assert!(elected(&with));
    me.elected = false;
    assert!(!elected(&view("west", &[me])));
    assert_eq!(datacenters_in(&with, &Scope::All).len(), 2);
    assert_eq!(
        part_of(&with, &Scope::One(label("north")))
            .datacenters
            .len(),
        0
    );
}
