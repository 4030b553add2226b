//! An operator removes a running node: everybody drops it at once, and it stays out across restarts.

mod common;

use common::{World, eventually, everyone_sees, now, sample, start, status};
use pelago_node::{Node, RemoveError, config::Config};
use pelago_pki::{Identity, Role};
use pelago_proto::{
    claim::{Body, Claim, LONGEST_LEAF, Removal},
    federation::RemovalError,
    identity::NodeId,
    view::Status,
    wire::Item,
};
use std::sync::Arc;

fn joining(mut config: Config, seed: &Node) -> Config {
    config.lan.join = vec![seed.me().lan_stream.to_string()];
    config.data_dir = Some(config.pki.cert.with_extension("state"));
    config
}

/// What somebody's certificate signs about a node.
fn removal(by: &Config, removed: NodeId) -> Item {
    let signer = Identity::load(&by.pki.cert, &by.pki.key).expect("loads");
    let body = Body::Removal(Removal {
        removed,
        until: now() + LONGEST_LEAF,
        reason: "its rack is sold".into(),
    });
    let domain = &signer.name().trust_domain;
    let id = NodeId(signer.node_id());
    let claim = Claim::sign_as(domain, id, body, |message| signer.sign(message));
    Item {
        claim: Arc::clone(claim.bytes()),
        leaf: Some(signer.leaf_der().into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_cut_off_and_its_restarts_change_nothing() {
    let world = World::new(&["west"]);
    let n0 = start(world.node("west", "n0", Role::Server)).await;
    let n1 = start(joining(world.node("west", "n1", Role::Client), &n0)).await;
    let n2 = start(joining(world.node("west", "n2", Role::Server), &n0)).await;
    let config = joining(world.node("west", "gone", Role::Server), &n0);
    let gone = start(config.clone()).await;
    for name in ["n0", "n1", "n2", "gone"] {
        everyone_sees(&[&n0, &n1, &n2, &gone], name, Status::Alive).await;
    }
    let id = gone.me().id;

    let not_an_operator = world.node("west", "n9", Role::Server);
    let refused = n1.remove(removal(&not_an_operator, id)).await;
    assert!(
        matches!(refused, Err(RemoveError::Refused(RemovalError::Refused(_)))),
        "{refused:?}"
    );

    let operator = world.node("west", "op", Role::Operator);
    let taken = n1.remove(removal(&operator, id)).await.expect("taken");
    assert_eq!(taken.name.map(|name| name.to_string()), Some("gone".into()));
    everyone_sees(&[&n0, &n1, &n2, &gone], "gone", Status::Removed).await;
    assert!(!gone.condition().ready && gone.condition().live);
    let why = n2.why("gone").await.expect("evidence");
    let signed = why.removal.expect("a removal");
    assert_eq!(
        (signed.operator_name.as_str(), signed.reason.as_str()),
        ("op", "its rack is sold")
    );
    let links = |node: &Node| sample(node, "connections", ("pool", "lan"));
    eventually("its connections are closed", || async {
        (links(&gone) == 0.0).then_some(())
    })
    .await;

    // With its memory it knows at once; without it, its seed tells it.
    gone.stop().await;
    let again = start(config.clone()).await;
    assert_eq!(status(&again, "gone"), Some(Status::Removed));
    again.stop().await;
    let blank = Config {
        data_dir: None,
        ..config
    };
    let again = start(blank).await;
    everyone_sees(&[&again], "gone", Status::Removed).await;
    assert!(!again.condition().ready);

    // Nobody else's place was touched, and everybody can start again from what is on disk.
    for node in [&n0, &n1, &n2] {
        assert_eq!(status(node, "gone"), Some(Status::Removed));
        for other in ["n0", "n1", "n2"] {
            assert_eq!(status(node, other), Some(Status::Alive));
        }
    }
}
