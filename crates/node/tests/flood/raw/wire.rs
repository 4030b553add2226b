//! Packets of QUIC version 1: headers (RFC 9000, section 17), their protection and that of what they carry (RFC 9001,
//! section 5). Every packet number is written in four bytes, which is always enough and puts the sample right behind it.

use rustls::quic::{DirectionalKeys, HeaderProtectionKey, PacketKey};

/// A number in one, two, four or eight bytes (RFC 9000, section 16).
pub(crate) fn put(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend((value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend((value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Takes such a number off the front.
pub(crate) fn number(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = take(bytes, length)?.iter().skip(1);
    Some(rest.fold(u64::from(first & 0x3f), |n, b| n << 8 | u64::from(*b)))
}

/// Takes bytes off the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A connection id behind its length.
fn id<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = *take(bytes, 1)?.first()?;
    take(bytes, length.into())
}

/// What kind of packet, which also says under which keys: the spaces of RFC 9000, section 12.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Initial,
    Handshake,
    Data,
}

/// Where a packet begins, ends and has its number.
pub(crate) enum Header {
    /// The token with which to begin again, and the connection id to do so with.
    Retry { id: Vec<u8>, token: Vec<u8> },
    Packet {
        space: Space,
        /// The sender's connection id, of which only long headers tell.
        source: Option<Vec<u8>>,
        number_at: usize,
        end: usize,
    },
}

impl Header {
    /// Reads the first header of a datagram, as a client whose own connection ids have `own` bytes.
    pub(crate) fn read(datagram: &[u8], own: usize) -> Option<Self> {
        let mut rest = datagram;
        let first = *take(&mut rest, 1)?.first()?;
        if first & 0x80 == 0 {
            return Some(Self::Packet {
                space: Space::Data,
                source: None,
                number_at: 1 + own,
                end: datagram.len(),
            });
        }
        take(&mut rest, 4)?;
        id(&mut rest)?;
        let source = id(&mut rest)?.to_vec();
        let space = match first >> 4 & 3 {
            0 => {
                let token = number(&mut rest)?;
                take(&mut rest, token as usize)?;
                Space::Initial
            }
            2 => Space::Handshake,
            3 => {
                // The last sixteen bytes prove that whoever sent it saw our first packet. On loopback it did.
                let token = rest.get(..rest.len().checked_sub(16)?)?.to_vec();
                return Some(Self::Retry { id: source, token });
            }
            _ => return None,
        };
        let length = number(&mut rest)? as usize;
        let number_at = datagram.len() - rest.len();
        Some(Self::Packet {
            space,
            source: Some(source),
            number_at,
            end: number_at + length,
        })
    }
}

/// The header of a packet to send, up to its number.
pub(crate) fn header(
    space: Space,
    to: &[u8],
    from: &[u8],
    token: &[u8],
    payload: usize,
) -> Vec<u8> {
    let mut out = vec![match space {
        Space::Initial => 0xc3,
        Space::Handshake => 0xe3,
        Space::Data => 0x43,
    }];
    if space == Space::Data {
        out.extend(to);
        return out;
    }
    out.extend([0, 0, 0, 1]);
    for id in [to, from] {
        out.push(id.len() as u8);
        out.extend(id);
    }
    if space == Space::Initial {
        put(&mut out, token.len() as u64);
        out.extend(token);
    }
    put(&mut out, (4 + payload + 16) as u64);
    out
}

/// Encrypts and protects.
pub(crate) fn seal(
    keys: &DirectionalKeys,
    mut header: Vec<u8>,
    number: u64,
    payload: &[u8],
) -> Vec<u8> {
    let at = header.len();
    header.extend((number as u32).to_be_bytes());
    let mut packet = header.clone();
    packet.extend(payload);
    let (_, body) = packet.split_at_mut(at + 4);
    let tag = keys.packet.encrypt_in_place(number, &header, body);
    packet.extend(tag.expect("encrypted").as_ref());
    let (head, body) = packet.split_at_mut(at + 4);
    let (first, number) = head.split_at_mut(at);
    keys.header
        .encrypt_in_place(&body[..16], &mut first[0], number)
        .expect("a sample");
    packet
}

/// Removes the protection and decrypts: the packet number and what the packet carries. `None` if it does not open.
pub(crate) fn open(
    header: &dyn HeaderProtectionKey,
    key: &dyn PacketKey,
    packet: &[u8],
    at: usize,
    largest: Option<u64>,
) -> Option<(u64, Vec<u8>)> {
    let mut head = packet.get(..at + 4)?.to_vec();
    let sample = packet.get(at + 4..at + 20)?;
    let (first, bytes) = head.split_at_mut(at);
    header.decrypt_in_place(sample, &mut first[0], bytes).ok()?;
    let length = usize::from(first[0] & 3) + 1;
    head.truncate(at + length);
    let short = head[at..].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let number = whole(short, 8 * length as u32, largest.map_or(0, |l| l + 1));
    let mut body = packet.get(at + length..)?.to_vec();
    let payload = key.decrypt_in_place(number, &head, &mut body).ok()?;
    Some((number, payload.to_vec()))
}

/// The packet number that ends in these bits and is nearest to the one expected (RFC 9000, appendix A.3).
fn whole(short: u64, bits: u32, expected: u64) -> u64 {
    let window = 1u64 << bits;
    let near = expected & !(window - 1) | short;
    if near + window / 2 <= expected {
        near + window
    } else if near > expected + window / 2 && near >= window {
        near - window
    } else {
        near
    }
}
