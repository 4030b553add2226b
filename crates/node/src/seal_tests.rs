use super::*;

fn boot(seed: u8) -> Arc<BootKey> {
    let private = PrivateKey::from_private_key(&X25519, &[seed; 32]).expect("key");
    Arc::new(BootKey::new(private).expect("public"))
}

fn sealer(id: u8, seed: u8) -> Sealer {
    Sealer::new(NodeId([id; 16]), boot(seed), "example.org")
}

#[expect(
    clippy::unwrap_in_result,
    reason = "what is returned is what opening said"
)]
fn open(at: &mut Sealer, key: [u8; 32], datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
    let parsed = Parsed::new(datagram).expect("parses");
    at.open(&parsed, key, datagram).map(<[u8]>::to_vec)
}

fn introduction(record: usize, leaf: usize) -> Introduction {
    Introduction {
        record: vec![7; record].into(),
        leaf: vec![9; leaf].into(),
    }
}

#[test]
fn what_is_sealed_opens_once_and_only_at_the_receiver() {
    let (mut a, mut b) = (sealer(1, 1), sealer(2, 2));
    let (ka, kb) = (boot(1).public(), boot(2).public());
    let packet = a.seal(NodeId([2; 16]), kb, None, b"ping").expect("sealed");
    assert_eq!(packet.len(), 4 + 44, "44 bytes around the payload");
    assert_eq!(open(&mut b, ka, &packet).as_deref(), Ok(b"ping".as_slice()));
    assert_eq!(open(&mut b, ka, &packet), Err(OpenError::Replay));
    assert_eq!(
        open(&mut sealer(3, 3), ka, &packet),
        Err(OpenError::Forged),
        "another receiver"
    );
    assert_eq!(
        open(&mut b, boot(4).public(), &packet),
        Err(OpenError::Forged),
        "under another key"
    );
    let mut other = Sealer::new(NodeId([2; 16]), boot(2), "example.net");
    assert_eq!(
        open(&mut other, ka, &packet),
        Err(OpenError::Forged),
        "in another trust domain"
    );
}

#[test]
fn a_reflected_packet_opens_nowhere() {
    let (mut a, mut b) = (sealer(1, 1), sealer(2, 2));
    let packet = a
        .seal(NodeId([2; 16]), boot(2).public(), None, b"ping")
        .expect("sealed");
    // Sent back with the sender rewritten, as if it came from b.
    let mut reflected = packet.clone();
    reflected.get_mut(2..18).expect("id").fill(2);
    assert_eq!(
        open(&mut a, boot(2).public(), &reflected),
        Err(OpenError::Forged)
    );
    assert_eq!(
        open(&mut b, boot(1).public(), &packet).as_deref(),
        Ok(b"ping".as_slice())
    );
}

#[test]
fn every_bit_is_protected_and_a_forgery_moves_nothing() {
    let (mut a, mut b) = (sealer(1, 1), sealer(2, 2));
    let intro = introduction(30, 40);
    let packet = a
        .seal(NodeId([2; 16]), boot(2).public(), Some(&intro), b"ping")
        .expect("sealed");
    for bit in 0..packet.len() * 8 {
        let mut forged = packet.clone();
        *forged.get_mut(bit / 8).expect("byte") ^= 1 << (bit % 8);
        let Ok(parsed) = Parsed::new(&forged) else {
            continue;
        };
        // The receiver tag is compared by the caller; it is additional data all the same.
        let opened = b
            .open(&parsed, boot(1).public(), &forged)
            .map(<[u8]>::to_vec);
        assert_eq!(opened, Err(OpenError::Forged), "bit {bit}");
    }
    assert_eq!(
        open(&mut b, boot(1).public(), &packet).as_deref(),
        Ok(b"ping".as_slice())
    );
}

#[test]
fn packets_may_arrive_in_any_order_within_the_window() {
    let (mut a, mut b) = (sealer(1, 1), sealer(2, 2));
    let mut packets: Vec<_> = (0..1025)
        .map(|_| {
            a.seal(NodeId([2; 16]), boot(2).public(), None, b"x")
                .expect("sealed")
        })
        .collect();
    packets.reverse();
    let opened = packets
        .iter()
        .filter(|p| open(&mut b, boot(1).public(), p).is_ok())
        .count();
    assert_eq!(opened, 1024, "the oldest is one too old");
}

#[test]
fn an_introduction_fits_beside_a_ping_and_nothing_larger_than_a_datagram_is_made() {
    let (mut a, mut b) = (sealer(1, 1), sealer(2, 2));
    let intro = introduction(300, 450);
    let packet = a
        .seal(NodeId([2; 16]), boot(2).public(), Some(&intro), &[5; 300])
        .expect("sealed");
    assert_eq!(packet.len(), 300 + 300 + 450 + 48);
    let parsed = Parsed::new(&packet).expect("parses");
    assert_eq!(
        parsed.introduction(&packet),
        Some((&*intro.record, &*intro.leaf))
    );
    assert_eq!(
        open(&mut b, boot(1).public(), &packet).as_deref(),
        Ok([5; 300].as_slice())
    );
    let fits = MAX_DATAGRAM - HEADER - TAG;
    assert_eq!(
        a.seal(NodeId([2; 16]), boot(2).public(), None, &vec![0; fits])
            .map(|p| p.len()),
        Ok(MAX_DATAGRAM)
    );
    assert_eq!(
        a.seal(NodeId([2; 16]), boot(2).public(), None, &vec![0; fits + 1])
            .map(|p| p.len()),
        Err(SealError::TooLarge)
    );
}

#[test]
fn keys_that_everybody_could_compute_are_refused() {
    let mut a = sealer(1, 1);
    let mut one = [0; 32];
    one[0] = 1;
    for weak in [[0; 32], one] {
        assert_eq!(
            a.seal(NodeId([2; 16]), weak, None, b"x"),
            Err(SealError::Key)
        );
    }
}

#[test]
fn the_cache_is_bounded_and_a_pair_derived_again_never_reuses_a_nonce() {
    let mut a = sealer(1, 1);
    a.generation = 4;
    let first = (NodeId([2; 16]), boot(2).public());
    let mut last = 0;
    for _ in 0..10 {
        last = Parsed::new(&a.seal(first.0, first.1, None, b"x").expect("sealed"))
            .expect("parses")
            .counter;
    }
    for other in 3..40 {
        a.seal(NodeId([other; 16]), boot(other).public(), None, b"x")
            .expect("sealed");
        assert!(a.pairs() <= 8, "{} pairs", a.pairs());
    }
    assert!(
        !a.young.contains_key(&first) && !a.old.contains_key(&first),
        "the oldest went"
    );
    let again = Parsed::new(&a.seal(first.0, first.1, None, b"x").expect("sealed"))
        .expect("parses")
        .counter;
    assert!(again > last, "{again} after {last}");
}

#[test]
fn garbage_of_every_length_is_refused_without_a_panic() {
    let mut state = 7u64;
    for length in 0..1500 {
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        for flags in [0, 1, 2, 255] {
            for (at, value) in [(0, VERSION), (1, flags)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            match Parsed::new(&bytes) {
                Err(error) => {
                    assert_eq!(error == ParseError::Short, length < 44);
                    assert_eq!(error == ParseError::Oversized, length > MAX_DATAGRAM);
                }
                Ok(parsed) => {
                    let opened = sealer(2, 2).open(&parsed, boot(1).public(), &bytes).is_ok();
                    assert!(!opened);
                }
            }
        }
    }
}

/// The format is a promise to other versions: these bytes may only change together with the version byte.
#[test]
fn golden_bytes() {
    let mut a = sealer(1, 1);
    let intro = introduction(3, 2);
    let plain = a
        .seal(NodeId([2; 16]), boot(2).public(), None, b"pelago")
        .expect("sealed");
    let introduced = a
        .seal(NodeId([2; 16]), boot(2).public(), Some(&intro), b"pelago")
        .expect("sealed");
    assert_eq!(hex(&plain), GOLDEN_PLAIN);
    assert_eq!(hex(&introduced), GOLDEN_INTRODUCED);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const GOLDEN_PLAIN: &str = "010001010101010101010101010101010101ce8d0000000000000000875261b752aa269177f02fc5e1aa95135a243d9b65c3";
const GOLDEN_INTRODUCED: &str = "010101010101010101010101010101010101ce8d00000000000000010003070707000209099dc2090fc5a212293a3242db4788c7ca87d45de950a7";
