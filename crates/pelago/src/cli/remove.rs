//! `pelago remove NODE`: an operator's word that a member may not return, signed here and handed to the agent.

use super::{
    address::Address,
    client::{Client, Connect},
    in_path,
};
use crate::{
    exit::{Exit, Failure},
    model::{MemberBody, RemovalBody},
    output,
    pki::unix_now,
};
use clap::Args;
use pelago_pki::{Identity, Role};
use pelago_proto::{
    claim::{Body, Claim, LONGEST_LEAF, MAX_REASON, Removal},
    identity::NodeId,
};
use std::{fs, path::PathBuf};

/// Whom, why, and on whose authority.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remove {
    /// Name, name.datacenter or the start of an id
    node: String,
    /// Why, for everybody to read
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = reason)]
    reason: String,
    /// Certificate of an operator of the member's datacenter
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key; signs here and is sent nowhere
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The agent's API: unix:///path, http://host:port or https://host:port
    #[arg(long, env = "PELAGO_ADDRESS", value_name = "ADDRESS")]
    address: Option<Address>,
    /// Authorities, for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Directory of revocation lists, for https
    #[arg(long, value_name = "DIR", requires = "ca")]
    crls: Option<PathBuf>,
}

pub(crate) async fn run(args: &Remove) -> Result<Exit, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot use the operator certificate: {error}"))
    };
    let operator = Identity::load(&args.cert, &args.key).map_err(|error| unusable(&error))?;
    if operator.name().role != Role::Operator {
        let whose = format!("{} is not an operator's certificate", args.cert.display());
        return Err(Failure::new(Exit::Denied, whose)
            .line("pelago pki issue --role operator makes one for people"));
    }
    let certificate = fs::read_to_string(&args.cert).map_err(|error| unusable(&error))?;
    let client = Client::new(&Connect {
        address: args.address.clone(),
        ca: args.ca.clone(),
        cert: Some(args.cert.clone()),
        key: Some(args.key.clone()),
        crls: args.crls.clone(),
    })?;
    let path = format!("/v1/members/{}", in_path(&args.node));
    let found = client.get::<MemberBody>(&path).await?.member;
    let removed: NodeId = found
        .member
        .id
        .parse()
        .map_err(|_| Failure::failed("the agent named no id"))?;
    // Every certificate that exists by now ends within the longest life of one.
    let ends = u64::try_from(found.not_after.as_second()).unwrap_or(0);
    let until = ends
        .max(unix_now() + LONGEST_LEAF)
        .min(operator.leaf().not_after + LONGEST_LEAF);
    let claim = Claim::sign_as(
        &operator.name().trust_domain,
        NodeId(operator.node_id()),
        Body::Removal(Removal {
            removed,
            until,
            reason: args.reason.clone(),
        }),
        |message| operator.sign(message),
    );
    let body = serde_json::json!({ "claim": hex(claim.bytes()), "certificate": certificate });
    let done: RemovalBody = client.post("/v1/removals", body.to_string()).await?;
    let name = done.name.unwrap_or(done.id);
    output::line(&format!(
        "removed {name}.{}: this key may not return before {}",
        done.datacenter, done.until
    ));
    output::note("to withdraw its certificates as well: pelago pki revoke");
    Ok(Exit::Ok)
}

fn reason(text: &str) -> Result<String, String> {
    if Removal::is_reason(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "a reason is one line of at most {MAX_REASON} bytes"
        ))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
