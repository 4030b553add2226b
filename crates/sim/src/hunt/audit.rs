//! Whether a claim may have been said, judged anew: signature, certificate and role by `docs/wire.md`, not by the protocol's
//! own reader, since that is what is being checked.

use super::truth::Truth;
use crate::{trust::SimTrust, world::World};
use pelago_proto::{
    claim::{Body, Claim, Record},
    identity::Role,
    trust::{Certified, Trust},
};

/// Bytes of a claim before its payload, and after it.
const PROTECTED: std::ops::Range<usize> = 1..23;
const PAYLOAD: usize = 24;
const SIGNATURE: usize = 66;

/// Why a claim cannot have been said by whom it names, if so.
pub(super) fn objection(
    world: &World,
    truth: &Truth,
    judge: &SimTrust,
    claim: &Claim,
) -> Result<(), &'static str> {
    // Operators are nobody here: what they signed is known to the byte.
    if matches!(claim.body, Body::Removal(_)) {
        return match truth.removals.contains(claim.bytes()) {
            true => Ok(()),
            false => Err("a removal that no operator signed"),
        };
    }
    let signer = world.ids.get(&claim.signer).ok_or("a key of nobody")?;
    let certified = world.certified(*signer).ok_or("no certificate")?;
    if matches!(claim.body, Body::Head(_)) && certified.role != Role::Server {
        return Err("a head that a client signed");
    }
    if let Body::Record(record) = &claim.body
        && !is_certified(record, &certified)
    {
        return Err("a record beside its certificate");
    }
    if is_signed(judge, claim, &certified) {
        Ok(())
    } else {
        Err("a bad signature")
    }
}

fn is_certified(record: &Record, certified: &Certified) -> bool {
    let place = &record.location;
    let says = (&record.name, &place.datacenter, &place.zone, &place.rack);
    let is = (
        &certified.name,
        &certified.datacenter,
        &certified.zone,
        &certified.rack,
    );
    let wan = record.seat || record.wan.is_some();
    says == is && record.role == certified.role && (certified.role == Role::Server || !wan)
}

/// The Sig_structure of RFC 9052 §4.4, put together from the claim's bytes.
fn is_signed(judge: &SimTrust, claim: &Claim, certified: &Certified) -> bool {
    let bytes = claim.bytes();
    let Some(end) = bytes.len().checked_sub(SIGNATURE) else {
        return false;
    };
    let (Some(protected), Some(payload), Some(signature)) = (
        bytes.get(PROTECTED),
        bytes.get(PAYLOAD..end),
        bytes.last_chunk::<64>(),
    ) else {
        return false;
    };
    let kind = [claim.body.kind() as u8];
    let bound = [
        b"pelago/1/",
        &kind[..],
        b"/",
        judge.trust_domain().as_bytes(),
    ]
    .concat();
    let mut message = vec![0x84, 0x6a];
    message.extend_from_slice(b"Signature1");
    message.extend_from_slice(protected);
    match u8::try_from(bound.len()) {
        Ok(length @ 0..=23) => message.push(0x40 | length),
        Ok(length) => message.extend_from_slice(&[0x58, length]),
        Err(_) => return false,
    }
    message.extend_from_slice(&bound);
    message.extend_from_slice(payload);
    judge.verify(&certified.public_key, &message, signature)
}
