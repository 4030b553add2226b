//! `pelago revoke FILE…`: hands revocation lists to an agent, which spreads them to everybody. A list proves itself, so nothing
//! is signed here.

use super::{
    client::{Client, Connect},
    words,
};
use crate::{
    exit::{Exit, Failure},
    model::CrlBody,
    output,
};
use clap::Args;
use std::{fs, path::PathBuf};

/// Which lists, and to whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Revoke {
    /// Lists as `pelago pki revoke` and `pelago pki crl` write them, PEM or DER
    #[arg(required = true, value_name = "FILE")]
    lists: Vec<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

pub(crate) async fn run(args: &Revoke) -> Result<Exit, Failure> {
    let client = Client::new(&args.connect)?;
    let mut failure = None;
    for path in &args.lists {
        let bytes = fs::read(path)
            .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
        let crl = String::from_utf8(bytes).unwrap_or_else(|der| hex(der.as_bytes()));
        let body = serde_json::json!({ "crl": crl }).to_string();
        match client.post::<CrlBody>("/v1/crls", body).await {
            Ok(taken) => output::line(&said(&taken)),
            // The others may be good all the same.
            Err(refused) => failure = Some(refused.line(format!("in {}", path.display()))),
        }
    }
    failure.map_or(Ok(Exit::Ok), Err)
}

fn said(taken: &CrlBody) -> String {
    let CrlBody { issuer, number, .. } = taken;
    if !taken.news {
        return format!("list {number} of {issuer} was known already");
    }
    let gone = match taken.gone {
        0 => "nobody known here is named".to_owned(),
        count => format!("{} gone here", words::many(count, "member")),
    };
    format!("list {number} of {issuer} is in force and on its way to everybody: {gone}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
