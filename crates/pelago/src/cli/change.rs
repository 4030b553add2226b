//! `pelago join`, `leave` and `reload`.

use super::client::{Client, Connect};
use crate::{
    exit::{Exit, Failure},
    model::{JoinBody, LeaveBody, ReloadBody},
    output,
};

pub(crate) async fn join(addresses: &[String], connect: &Connect) -> Result<Exit, Failure> {
    let body = serde_json::json!({ "addresses": addresses }).to_string();
    let report: JoinBody = Client::new(connect)?.post("/v1/join", body).await?;
    report
        .joined
        .iter()
        .for_each(|address| output::line(&format!("joined {address}")));
    for cause in &report.failed {
        output::warn(&format!("{}: {}", cause.server, cause.error));
    }
    match (report.joined.is_empty(), report.failed.is_empty()) {
        (true, _) => Err(Failure::failed("none of the addresses answered")),
        (false, _) => Ok(Exit::Ok),
    }
}

pub(crate) async fn leave(connect: &Connect) -> Result<Exit, Failure> {
    let _: LeaveBody = Client::new(connect)?
        .post("/v1/leave", String::new())
        .await?;
    output::line("left");
    Ok(Exit::Ok)
}

pub(crate) async fn reload(connect: &Connect) -> Result<Exit, Failure> {
    let report: ReloadBody = Client::new(connect)?
        .post("/v1/reload", String::new())
        .await?;
    report
        .applied
        .iter()
        .for_each(|what| output::line(&format!("applied: {what}")));
    match report.failed.is_empty() {
        true => Ok(Exit::Ok),
        false => {
            let failure =
                Failure::failed("some of it could not be used; what was in force stays in force");
            Err(report.failed.into_iter().fold(failure, Failure::line))
        }
    }
}
