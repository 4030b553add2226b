//! One verification rule for the whole federation: what it accepts, and what the library alone would.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use pelago_pki::{SMALL_ORDER, SecretKey, is_weak, node_id, spki, verify};

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    std::array::from_fn(|index| byte(2 * index))
}

#[test]
fn the_vectors_of_rfc_8032_verify() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &[][..],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72][..],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let pair = Ed25519KeyPair::from_seed_unchecked(&bytes::<32>(seed)).unwrap();
        let key = SecretKey::from(pair);
        assert_eq!(*key.public_key(), bytes(public));
        assert_eq!(key.sign(message), bytes(signature));
        assert!(verify(&bytes(public), message, &bytes(signature)));
        assert!(!verify(&bytes(public), b"other", &bytes(signature)));
    }
}

#[test]
fn for_the_identity_point_the_library_accepts_a_signature_of_anything_and_we_do_not() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut forged = [0; 64];
    forged[..32].copy_from_slice(&identity);
    for message in [&b"one"[..], b"another"] {
        let library = UnparsedPublicKey::new(&ED25519, identity);
        assert!(library.verify(message, &forged).is_ok());
        assert!(!verify(&identity, message, &forged));
    }
}

#[test]
fn every_point_of_small_order_is_weak_under_either_sign() {
    for point in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut key = point;
            key[31] |= sign;
            assert!(is_weak(&key));
            assert!(!verify(&key, b"", &[0; 64]));
        }
    }
}

#[test]
fn honest_keys_are_not_weak_and_ids_come_from_the_key_alone() {
    let (one, two) = (
        SecretKey::generate().unwrap(),
        SecretKey::generate().unwrap(),
    );
    assert!(!is_weak(one.public_key()));
    assert_ne!(node_id(one.public_key()), node_id(two.public_key()));
    assert_eq!(spki(one.public_key())[12..], one.public_key()[..]);
}
