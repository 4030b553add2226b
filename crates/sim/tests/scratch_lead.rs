#![allow(missing_docs, clippy::print_stdout)]
use pelago_proto::view::*;
use pelago_sim::*;
#[test]
fn form() {
    let mut w = Plan::federation(7).build();
    w.start_all();
    let t = w.run_until("alive", secs(20), |w| w.everyone_sees_alive());
    println!("formed {t:?}");
    let t = w.run_until("digests", secs(20), |w| w.digests_agree());
    println!("digests {t:?}");
    w.run_for(secs(10));
    for dc in ["eu-west","us-east","ap-south"] { println!("{dc} {:?}", w.agreed_seats(dc)); }
    w.watch("eu-west-s1");
    w.kill("eu-west-s1");
    let t = w.run_until("dead", secs(10), |w| w.everyone_sees("eu-west-s1", Status::Dead));
    println!("dead {t:?} {:?}", w.spread("eu-west-s1", EventKind::Dead));
    w.watch("us-east-s2");
    w.lose_host("us-east-s2");
    let t = w.run_until("dead", secs(10), |w| w.everyone_sees("us-east-s2", Status::Dead));
    println!("lost dead {t:?} {:?} suspect {:?}", w.spread("us-east-s2", EventKind::Dead), w.spread("us-east-s2", EventKind::Suspect));
    w.start("eu-west-s1");
    w.start("us-east-s2");
    let t = w.run_until("alive", secs(20), |w| w.everyone_sees_alive());
    println!("back {t:?}");
    w.pause_for("ap-south-s1", secs(30));
    let t = w.run_until("dead", secs(10), |w| w.everyone_sees("ap-south-s1", Status::Dead));
    println!("pause dead {t:?}");
    w.run_for(secs(30));
    let t = w.run_until("alive", secs(20), |w| w.everyone_sees_alive());
    println!("back {t:?}");
}
