//! A revocation list, handed to one client over sockets, cuts its server off everywhere; and what was heard once outlives
//! restarts and older files.

mod common;

use common::{
    World, copy, eventually, everyone_sees, now, sample, start, status, try_start, two_datacenters,
};
use pelago_node::{Node, RevokeError, StartError, config::Config};
use pelago_pki::{NewCrl, Role, Target};
use pelago_proto::{
    federation::ListError,
    view::{Reachability, Status},
};
use std::{fs, os::unix::fs::PermissionsExt};

/// A configuration with authorities and lists of its own, as on a machine that nobody has copied a newer list to.
fn frozen(world: &World, mut config: Config) -> Config {
    let at = config.pki.cert.with_extension("pki");
    copy(&world.pki().join("crl"), &at.join("crl"));
    fs::copy(world.pki().join("ca.pem"), at.join("ca.pem")).expect("copied");
    config.pki.ca = at.join("ca.pem");
    config.pki.crl_dir = Some(at.join("crl"));
    config.data_dir = Some(config.pki.cert.with_extension("state"));
    config
}

/// Two datacenters, two servers and a client each, west-s1 the first of all.
async fn federation(world: &World) -> (Vec<Config>, Vec<Node>) {
    let (configs, nodes) = two_datacenters(world, |config| frozen(world, config)).await;
    let all: Vec<&Node> = nodes.iter().collect();
    for (at, node) in nodes.iter().enumerate() {
        let near = at / 3 * 3;
        let name = node.me().name.as_str();
        everyone_sees(&all[near..near + 3], name, Status::Alive).await;
        everyone_sees(
            &[&nodes[0], &nodes[1], &nodes[3], &nodes[4]],
            name,
            Status::Alive,
        )
        .await;
    }
    (configs, nodes)
}

fn revoke(world: &World, config: &Config) -> NewCrl {
    let target = Target::Certificate(config.pki.cert.clone());
    pelago_pki::revoke(&world.pki(), &target, now()).expect("a new list")
}

fn number(node: &Node, datacenter: &str) -> u64 {
    let lists = node.lists();
    let of = lists
        .iter()
        .find(|list| list.datacenter.as_deref() == Some(datacenter));
    of.map_or(0, |list| list.number)
}

async fn nobody_shows(nodes: &[&Node], name: &str) {
    eventually(&format!("{name} is gone"), || async {
        let mut shown = nodes.iter().map(|node| status(node, name));
        shown.all(|shown| shown.is_none()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_handed_to_one_client_cuts_a_server_off_everywhere() {
    let world = World::new(&["west", "east"]);
    let (configs, nodes) = federation(&world).await;
    let [west_s1, west_s2, west_c1, east_s1, east_s2, east_c1] = nodes.as_slice() else {
        panic!("six nodes");
    };
    let elected = eventually("its server sits and has links", || async {
        let wan = sample(east_s1, "connections", ("pool", "wan"));
        (wan >= 1.0).then_some(())
    });
    elected.await;
    let list = revoke(&world, &configs[3]);
    let mut forged = list.der.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    assert!(matches!(
        west_c1.revoke(forged).await,
        Err(RevokeError::Refused(ListError::Refused(refusal))) if refusal.0 == "bad-signature"
    ));
    let taken = west_c1.revoke(list.der.clone()).await.expect("taken");
    assert!(taken.news && taken.number == 2);
    assert_eq!(taken.datacenter.expect("of a datacenter").as_str(), "east");

    let others = [west_s1, west_s2, west_c1, east_s2, east_c1];
    nobody_shows(&others, "east-s1").await;
    for node in others {
        assert_eq!(number(node, "east"), 2, "{}", node.me().name);
    }
    for (pool, node) in [("lan", east_s1), ("wan", east_s1)] {
        eventually("its connections are closed", || async {
            (sample(node, "connections", ("pool", pool)) == 0.0).then_some(())
        })
        .await;
    }
    // Everybody else goes on as before, and its place abroad is taken by its fellow.
    for node in others {
        assert_eq!(
            status(west_s1, node.me().name.as_str()),
            Some(Status::Alive)
        );
    }
    eventually("the other server speaks for it", || async {
        let view = &west_s1.snapshot().view;
        let east = &view.datacenters[&east_s2.me().datacenter];
        (east.reachability == Reachability::Reachable).then_some(())
    })
    .await;
    let again = east_s2.revoke(list.der.clone()).await.expect("known");
    assert!(!again.news);
    let newer = revoke(&world, &configs[3]);
    assert_eq!(newer.number, 3);
    west_s2.revoke(newer.der).await.expect("taken");
    let stale = west_s2.revoke(list.der).await;
    let expected = ListError::Stale { number: 2, held: 3 };
    assert_eq!(stale, Err(RevokeError::Refused(expected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_heard_outlives_restarts_and_older_files() {
    let world = World::new(&["west", "east"]);
    let alone = frozen(&world, world.node("west", "n0", Role::Server));
    let revoked = frozen(&world, world.node("west", "n1", Role::Client));
    let node = start(alone.clone()).await;
    let file = alone.data_dir.as_ref().expect("a directory").join("lists");
    eventually("what the files say is kept", || async {
        fs::metadata(&file).ok()
    })
    .await;
    let before = fs::read(&file).expect("a file");
    node.revoke(revoke(&world, &revoked).der)
        .await
        .expect("taken");
    let root = pelago_pki::revoke(&world.pki(), &Target::Datacenter("east".into()), now());
    node.revoke(root.expect("a new list").der)
        .await
        .expect("taken");
    eventually(
        "both are kept, and nothing of whom the root cut off",
        || async { (fs::read(&file).expect("a file").len() < before.len()).then_some(()) },
    )
    .await;
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.stop().await;

    // Its configuration still has the first lists of all.
    let node = start(alone.clone()).await;
    let held: Vec<_> = node
        .lists()
        .into_iter()
        .map(|list| (list.datacenter, list.number))
        .collect();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(held.contains(&(Some("west".into()), 2)) && held.contains(&(None, 2)));
    node.reload().await;
    assert_eq!(number(&node, "west"), 2, "nor does a reload go back");
    node.stop().await;

    // Whoever is named does not even start where that is known.
    let mut own = revoked.clone();
    own.data_dir = alone.data_dir.clone();
    let refused = try_start(own).await.err();
    assert!(
        matches!(&refused, Some(StartError::Pki(why)) if why.contains("revoked")),
        "{refused:?}"
    );

    // A damaged file is as good as none, and loud.
    let mut damaged = fs::read(&file).expect("a file");
    damaged[100] ^= 1;
    fs::write(&file, damaged).expect("written");
    let node = start(alone).await;
    assert_eq!(number(&node, "west"), 1);
    let degraded = node.condition().degraded;
    assert!(
        degraded.iter().any(|what| what.contains("lists")),
        "{degraded:?}"
    );
}

/// Failing closed is for those who would rather lose a datacenter than trust an old list.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_list_is_told_by_default_and_refused_by_those_who_fail_closed() {
    let day = 24 * 3600;
    let world = World {
        dir: tempfile::tempdir().expect("dir"),
        faults: pelago_node::fault::Faults::none(),
    };
    world.add_at(common::DOMAIN, &["west"], now() - 40 * day);
    let open = frozen(&world, world.node("west", "n0", Role::Server));
    let mut closed = frozen(&world, world.node("west", "n1", Role::Server));
    closed.pki.fail_closed = true;
    let node = start(open).await;
    let degraded = node.condition().degraded;
    assert!(
        degraded
            .iter()
            .any(|what| what.contains("revocation list of west")),
        "{degraded:?}"
    );
    let refused = try_start(closed.clone()).await.err();
    assert!(
        matches!(&refused, Some(StartError::Pki(why)) if why.contains("next update")),
        "{refused:?}"
    );
    // A fresh list is all it takes, for both.
    for fresh in pelago_pki::refresh_crls(&world.pki(), 0.0, now()).expect("new lists") {
        if fresh.issuer == "west" {
            node.revoke(fresh.der).await.expect("taken");
        }
    }
    assert!(node.condition().degraded.is_empty());
    let closed = frozen(&world, closed);
    let closed = start(closed).await;
    assert_eq!(number(&closed, "west"), 2);
}
