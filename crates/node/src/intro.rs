//! First contact with a datacenter whose authority is unknown: under its own protocol name a connection carries only
//! that authority and its revocation list, each way, and closes. Whoever is there is believed nothing else; both are
//! checked against the root before they are kept, and the redial is verified strictly.

use crate::{
    count::Refused,
    inputs::{Command, Input},
    links::close,
    peer::Refuse,
    quic::{HANDSHAKE, Quic},
    streams::{self, StreamError},
    trust::Alpn,
};
use pelago_proto::{federation::Tier, trust::Trust};
use quinn::{Connection, VarInt};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// Largest introduction.
const LIMIT: usize = pelago_pki::MAX_CRL + pelago_pki::MAX_AUTHORITY + 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Introduction {
    #[serde(with = "serde_bytes")]
    certificate: Vec<u8>,
    #[serde(with = "serde_bytes")]
    crl: Vec<u8>,
}

/// The dialling side.
pub(crate) async fn ask(quic: &Quic, address: std::net::SocketAddr) -> Result<(), Refuse> {
    let connection = quic.connect(Alpn::Intro, address).await?;
    quic.trust
        .judge_stranger(&connection)
        .map_err(|r| Refuse::new(Refused::of(r), r.0))?;
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await?;
        streams::write(&mut send, &own(quic)?).await?;
        send.finish()
            .map_err(|e| StreamError::Stream(e.to_string()))?;
        streams::read_to_end(&mut receive, LIMIT).await
    };
    let result = timeout(HANDSHAKE, exchange)
        .await
        .unwrap_or(Err(StreamError::Timeout));
    let result = result
        .map_err(failed)
        .and_then(|theirs| learn(quic, &theirs));
    connection.close(VarInt::from_u32(close::INTRODUCED), b"introduced");
    result
}

/// The answering side: only where strangers may come, and only this.
pub(crate) async fn answer(quic: &Quic, connection: &Connection) -> Result<(), Refuse> {
    if quic.tier != Tier::Wan {
        connection.close(VarInt::from_u32(close::REFUSED), b"not here");
        return Err(Refuse::new(Refused::Protocol, "first contact on the LAN"));
    }
    quic.trust
        .judge_stranger(connection)
        .map_err(|r| Refuse::new(Refused::of(r), r.0))?;
    let exchange = async {
        let (mut send, mut receive) = connection.accept_bi().await?;
        let theirs = streams::read_to_end(&mut receive, LIMIT).await?;
        streams::write(&mut send, &own(quic)?).await?;
        send.finish()
            .map_err(|e| StreamError::Stream(e.to_string()))?;
        Ok(theirs)
    };
    let theirs = timeout(HANDSHAKE, exchange)
        .await
        .unwrap_or(Err(StreamError::Timeout))
        .map_err(failed)?;
    let learnt = learn(quic, &theirs);
    // The dialling side closes once it has read; nobody may stay.
    let _ = timeout(HANDSHAKE, connection.closed()).await;
    connection.close(VarInt::from_u32(close::INTRODUCED), b"introduced");
    learnt
}

fn own(quic: &Quic) -> Result<Vec<u8>, StreamError> {
    let mine = quic.trust.own().datacenter.clone();
    let authority = quic
        .trust
        .authorities()
        .into_iter()
        .find(|a| a.datacenter == mine);
    let authority = authority.ok_or_else(|| StreamError::Stream("own authority unknown".into()))?;
    let introduction = Introduction {
        certificate: authority.certificate.to_vec(),
        crl: authority.crl.to_vec(),
    };
    let mut body = Vec::new();
    ciborium::into_writer(&introduction, &mut body)
        .map_err(|e| StreamError::Stream(e.to_string()))?;
    Ok(body)
}

fn learn(quic: &Quic, theirs: &[u8]) -> Result<(), Refuse> {
    let theirs: Introduction = ciborium::de::from_reader_with_recursion_limit(theirs, 8)
        .map_err(|_| Refuse::new(Refused::Malformed, "malformed introduction"))?;
    let admitted = quic.trust.admit_authority(&theirs.certificate, &theirs.crl);
    let news =
        admitted.map_err(|r| Refuse::new(Refused::of(r), format!("authority refused: {r}")))?;
    if news {
        quic.reconfigure()
            .map_err(|e| Refuse::new(Refused::Other, e))?;
        if !quic.inputs().offer(Input::Command(Command::TrustChanged)) {
            quic.counts
                .lose(crate::count::Dropped::Queue, "trust changed");
        }
    }
    Ok(())
}

fn failed(error: StreamError) -> Refuse {
    match error {
        StreamError::Timeout => Refuse::new(Refused::Timeout, "first contact took too long"),
        error => Refuse::new(Refused::Other, error.to_string()),
    }
}
