//! Claims, beside an independent implementation of COSE and CBOR.

use ciborium::Value;
use coset::{CborSerializable, CoseSign1};
use pelago_proto::claim::Claim;

/// What our reader accepts, `coset` reads as the same message, and `ciborium` writes its payload back to the same bytes: nothing
/// that others would read differently gets in.
///
/// # Panics
///
/// If the two disagree.
pub fn claim(bytes: &[u8]) {
    let Ok(claim) = Claim::parse(bytes) else {
        return;
    };
    assert_eq!(&claim.bytes()[..], bytes, "kept as received");
    let other = CoseSign1::from_slice(bytes).expect("COSE_Sign1");
    assert_eq!(other.protected.header.key_id, claim.signer.0, "signer");
    assert!(other.unprotected.is_empty(), "nothing unsigned");
    assert_eq!(other.signature.len(), 64, "signature");
    let payload = other.payload.clone().expect("payload");
    assert_eq!(claim.body.encode(), payload, "one form only");
    let value: Value = ciborium::from_reader(&payload[..]).expect("CBOR");
    let mut again = Vec::new();
    ciborium::into_writer(&value, &mut again).expect("memory");
    assert_eq!(again, payload, "shortest form");
    assert_eq!(other.to_vec().expect("COSE"), bytes, "one encoding");
}
