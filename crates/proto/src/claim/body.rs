//! What claims say, and how each is written: arrays in a fixed order, claim type first.

use crate::{
    cbor::{self, Malformed},
    identity::{Incarnation, Label, Location, NodeId, Role},
};
use serde_bytes::{ByteArray, ByteBuf};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Largest record on the wire, signature and framing included.
pub const MAX_RECORD: usize = 300;

/// The lowest floor that any record can have: 1.1 × the least pause tolerance, 0.5 s.
pub const MIN_FLOOR: Duration = Duration::from_millis(550);

/// Longest reason of a removal, bytes.
pub const MAX_REASON: usize = 64;

/// Seconds that a leaf certificate may be valid, back-dating included. Certificates that existed when a removal was signed end
/// within this time of it, and it was signed before its author's own ended.
pub const LONGEST_LEAF: u64 = 73 * 3600;

/// Claim types. Append only: the number is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// [`Record`]
    Record = 1,
    /// [`Alive`]
    Alive = 2,
    /// [`Leave`]
    Leave = 3,
    /// [`Accusation`]
    Accusation = 4,
    /// [`Head`]
    Head = 5,
    /// [`Removal`]
    Removal = 6,
}

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A node about itself.
    Record(std::sync::Arc<Record>),
    /// A node refuting.
    Alive(Alive),
    /// A node going.
    Leave(Leave),
    /// A node about another.
    Accusation(Accusation),
    /// An elected server about its datacenter's roster.
    Head(Head),
    /// An operator about a node.
    Removal(Removal),
}

/// Everything a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Newer replaces older.
    pub incarnation: Incarnation,
    /// Must equal the certificate's.
    pub name: Label,
    /// All but the region must equal the certificate's.
    pub location: Location,
    /// Must equal the certificate's.
    pub role: Role,
    /// First 16 bytes of SHA-256 over the leaf certificate that vouches for this record.
    pub cert_hash: [u8; 16],
    /// UDP address for datagrams.
    pub lan: SocketAddr,
    /// UDP port of QUIC streams at the same address.
    pub stream_port: u16,
    /// WAN address of a server.
    pub wan: Option<SocketAddr>,
    /// X25519 key of this boot.
    pub lan_key: [u8; 32],
    /// Longest pause that must not be taken for a death.
    pub pause_tolerance: Duration,
    /// 0 = healthy … 8.
    pub health: u8,
    /// Whether it holds a WAN seat.
    pub seat: bool,
    /// Seats it wants its datacenter to fill.
    pub seats: u8,
    /// Protocol versions it speaks.
    pub versions: Versions,
    /// Software version.
    pub software: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
}

impl Record {
    /// Where its QUIC streams are.
    pub fn stream(&self) -> SocketAddr {
        SocketAddr::new(self.lan.ip(), self.stream_port)
    }

    /// Silence that an accusation of kind `timeout` must reach to count: 1.1 × the pause tolerance.
    pub fn floor(&self) -> Duration {
        self.pause_tolerance * 11 / 10
    }
}

/// Lowest and highest protocol version that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Lowest.
    pub min: u8,
    /// Highest.
    pub max: u8,
}

/// "Still here, at this higher incarnation of the same boot; my record has this hash."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Higher than the accused one.
    pub incarnation: Incarnation,
    /// [`super::Claim::hash`] of the record that stays in force.
    pub record: [u8; 8],
}

/// "I leave, at this incarnation."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Highest of the boot.
    pub incarnation: Incarnation,
}

/// What an accusation rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// No answer for `silent`.
    Timeout,
    /// Three refusals of two ports.
    PortClosed,
}

impl Basis {
    /// The word that users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::PortClosed => "port-closed",
        }
    }
}

/// "It has not answered me for this long."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// The member.
    pub accused: NodeId,
    /// Exactly this incarnation of it.
    pub incarnation: Incarnation,
    /// Since the accuser's first unanswered ping, in whole milliseconds.
    pub silent: Duration,
    /// What it rests on.
    pub basis: Basis,
    /// Whether the accuser could still reach at least half of its datacenter.
    pub quorate: bool,
}

/// "My roster of my datacenter looks like this."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The signer's boot and a counter of its heads.
    pub incarnation: Incarnation,
    /// Set hash over the roster.
    pub digest: u64,
    /// Members that are neither left nor removed.
    pub members: u32,
    /// Of these, alive.
    pub alive: u32,
    /// First four bytes of each seat holder's id, ascending, at most 7.
    pub seats: Vec<[u8; 4]>,
}

/// "It may not return before this moment is over, at any incarnation."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The member's key: a new key may join.
    pub removed: NodeId,
    /// Unix seconds, not before the latest end of its certificates; at most [`LONGEST_LEAF`] after the end of the operator's.
    pub until: u64,
    /// Why, for people; at most [`MAX_REASON`] bytes without control characters, and mostly empty.
    pub reason: String,
}

impl Removal {
    /// Whether this may stand as a reason.
    pub fn is_reason(text: &str) -> bool {
        text.len() <= MAX_REASON && !text.chars().any(char::is_control)
    }
}

type RecordWire = (
    u8,
    (u64, u64),
    (Label, Label, Label, Label, Label),
    u8,
    ByteArray<16>,
    (ByteBuf, u16, u16, Option<(ByteBuf, u16)>),
    ByteArray<32>,
    u32,
    (u8, bool, u8),
    (u8, u8, String),
    Vec<String>,
);
type AliveWire = (u8, u64, u64, ByteArray<8>);
type LeaveWire = (u8, u64, u64);
type AccusationWire = (u8, ByteArray<16>, u64, u64, u32, u8, bool);
type HeadWire = (u8, u64, u64, ByteArray<8>, u32, u32, ByteBuf);
type RemovalWire = (u8, ByteArray<16>, u64, String);

impl Body {
    /// Which claim it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Record(_) => Kind::Record,
            Self::Alive(_) => Kind::Alive,
            Self::Leave(_) => Kind::Leave,
            Self::Accusation(_) => Kind::Accusation,
            Self::Head(_) => Kind::Head,
            Self::Removal(_) => Kind::Removal,
        }
    }

    /// Whether it is a node's word about its own life.
    pub fn is_own_word(&self) -> bool {
        matches!(self, Self::Record(_) | Self::Alive(_) | Self::Leave(_))
    }

    /// The payload of a claim that says this: array-encoded deterministic CBOR, claim type first.
    pub fn encode(&self) -> Vec<u8> {
        let kind = self.kind() as u8;
        match self {
            Self::Record(r) => cbor::encode(&record_wire(kind, r)),
            Self::Alive(a) => cbor::encode::<AliveWire>(&(
                kind,
                a.incarnation.boot,
                a.incarnation.seq,
                ByteArray::new(a.record),
            )),
            Self::Leave(l) => {
                cbor::encode::<LeaveWire>(&(kind, l.incarnation.boot, l.incarnation.seq))
            }
            Self::Accusation(a) => cbor::encode::<AccusationWire>(&(
                kind,
                ByteArray::new(a.accused.0),
                a.incarnation.boot,
                a.incarnation.seq,
                millis(a.silent),
                u8::from(a.basis == Basis::PortClosed),
                a.quorate,
            )),
            Self::Head(h) => cbor::encode::<HeadWire>(&(
                kind,
                h.incarnation.boot,
                h.incarnation.seq,
                ByteArray::new(h.digest.to_be_bytes()),
                h.members,
                h.alive,
                ByteBuf::from(h.seats.concat()),
            )),
            Self::Removal(r) => {
                let removed = ByteArray::new(r.removed.0);
                cbor::encode::<RemovalWire>(&(kind, removed, r.until, r.reason.clone()))
            }
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        // The claim type is the first element, after the array head.
        match payload.get(1) {
            Some(1) => Ok(Self::Record(std::sync::Arc::new(record_from(
                cbor::decode(payload)?,
            )?))),
            Some(2) => {
                let (_, boot, seq, record): AliveWire = cbor::decode(payload)?;
                Ok(Self::Alive(Alive {
                    incarnation: incarnation(boot, seq)?,
                    record: record.into_array(),
                }))
            }
            Some(3) => {
                let (_, boot, seq): LeaveWire = cbor::decode(payload)?;
                Ok(Self::Leave(Leave {
                    incarnation: incarnation(boot, seq)?,
                }))
            }
            Some(4) => {
                let (_, accused, boot, seq, silent, basis, quorate): AccusationWire =
                    cbor::decode(payload)?;
                let basis = match basis {
                    0 => Basis::Timeout,
                    1 => Basis::PortClosed,
                    _ => return Err(Malformed::Shape),
                };
                Ok(Self::Accusation(Accusation {
                    accused: NodeId(accused.into_array()),
                    incarnation: incarnation(boot, seq)?,
                    silent: Duration::from_millis(silent.into()),
                    basis,
                    quorate,
                }))
            }
            Some(5) => {
                let (_, boot, seq, digest, members, alive, seats): HeadWire =
                    cbor::decode(payload)?;
                let (seats, rest) = seats.as_chunks::<4>();
                if !rest.is_empty() || seats.len() > 7 {
                    return Err(Malformed::Shape);
                }
                Ok(Self::Head(Head {
                    incarnation: incarnation(boot, seq)?,
                    digest: u64::from_be_bytes(digest.into_array()),
                    members,
                    alive,
                    seats: seats.to_vec(),
                }))
            }
            Some(6) => {
                let (_, removed, until, reason): RemovalWire = cbor::decode(payload)?;
                if !Removal::is_reason(&reason) {
                    return Err(Malformed::Shape);
                }
                Ok(Self::Removal(Removal {
                    removed: NodeId(removed.into_array()),
                    until,
                    reason,
                }))
            }
            _ => Err(Malformed::Shape),
        }
    }
}

fn record_wire(kind: u8, r: &Record) -> RecordWire {
    (
        kind,
        (r.incarnation.boot, r.incarnation.seq),
        (
            r.name.clone(),
            r.location.region.clone(),
            r.location.datacenter.clone(),
            r.location.zone.clone(),
            r.location.rack.clone(),
        ),
        match r.role {
            Role::Client => 0,
            Role::Server => 1,
            Role::Operator => 2,
        },
        ByteArray::new(r.cert_hash),
        (
            ip_bytes(r.lan.ip()),
            r.lan.port(),
            r.stream_port,
            r.wan.map(|a| (ip_bytes(a.ip()), a.port())),
        ),
        ByteArray::new(r.lan_key),
        millis(r.pause_tolerance),
        (r.health, r.seat, r.seats),
        (r.versions.min, r.versions.max, r.software.clone()),
        r.tags
            .iter()
            .flat_map(|(k, v)| [k.clone(), v.clone()])
            .collect(),
    )
}

fn record_from(wire: RecordWire) -> Result<Record, Malformed> {
    let (_, (boot, seq), names, role, cert_hash, addresses, lan_key, pause, shape, versions, tags) =
        wire;
    let (name, region, datacenter, zone, rack) = names;
    let (lan, port, stream_port, wan) = addresses;
    let (health, seat, seats) = shape;
    let pause_tolerance = Duration::from_millis(pause.into());
    let in_range = (500..=10_000).contains(&pause) && (1..=7).contains(&seats) && health <= 8;
    let (pairs, odd) = tags.as_chunks::<2>();
    // Sorted and distinct, as the map writes them: one value, one encoding.
    let ordered = pairs.is_sorted_by(|a, b| a[0] < b[0]);
    if !in_range || !odd.is_empty() || !ordered || versions.2.len() > 32 {
        return Err(Malformed::Shape);
    }
    Ok(Record {
        incarnation: incarnation(boot, seq)?,
        name,
        location: Location {
            region,
            datacenter,
            zone,
            rack,
        },
        role: match role {
            0 => Role::Client,
            1 => Role::Server,
            _ => return Err(Malformed::Shape),
        },
        cert_hash: cert_hash.into_array(),
        lan: SocketAddr::new(ip_from(&lan)?, port),
        stream_port,
        wan: wan
            .map(|(ip, port)| Ok(SocketAddr::new(ip_from(&ip)?, port)))
            .transpose()?,
        lan_key: lan_key.into_array(),
        pause_tolerance,
        health,
        seat,
        seats,
        versions: Versions {
            min: versions.0,
            max: versions.1,
        },
        software: versions.2,
        tags: pairs.iter().map(|[k, v]| (k.clone(), v.clone())).collect(),
    })
}

/// Counters at their very end are refused: nothing could ever follow them (a forged maximum would be for ever).
fn incarnation(boot: u64, seq: u64) -> Result<Incarnation, Malformed> {
    if boot == u64::MAX || seq == u64::MAX {
        Err(Malformed::Shape)
    } else {
        Ok(Incarnation { boot, seq })
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn ip_bytes(ip: IpAddr) -> ByteBuf {
    ByteBuf::from(match ip.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    })
}

fn ip_from(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4)
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(v6)
    } else {
        return Err(Malformed::Shape);
    };
    // An IPv4 address written as IPv6 would be a second encoding of the same address.
    if ip == ip.to_canonical() {
        Ok(ip)
    } else {
        Err(Malformed::Shape)
    }
}
