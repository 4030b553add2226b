//! Frames: what travels in datagrams and over streams. Claims ride inside as the bytes their signers made.
//!
//! Every message starts with the protocol version; a message of another version is a counted drop. Numbers are append-only.

use crate::{
    cbor::{self, Malformed, Reader},
    claim::{Claim, Verified},
    identity::{Label, NodeId},
    trust::Issuer,
};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf, Bytes};
use std::{sync::Arc, time::Duration};

/// The protocol version in every message.
pub const VERSION: u8 = 1;

/// Largest datagram payload before sealing: 1,200 bytes less the seal.
pub const MAX_DATAGRAM: usize = 1_140;

/// Largest datagram payload beside an introduction (record and leaf in clear).
pub const MAX_INTRODUCED: usize = 380;

/// A claim on its way, with its signer's leaf certificate where the receiver may not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// COSE_Sign1 bytes.
    pub claim: Arc<[u8]>,
    /// Leaf certificate, DER.
    pub leaf: Option<Arc<[u8]>>,
}

impl Item {
    /// A claim whose author's certificate the receiver has.
    pub fn bare(claim: &Arc<[u8]>) -> Self {
        Self {
            claim: Arc::clone(claim),
            leaf: None,
        }
    }

    /// A claim with the certificate of its author.
    pub fn with_leaf(claim: &Verified<Claim>) -> Self {
        Self {
            claim: Arc::clone(claim.bytes()),
            leaf: Some(Arc::clone(&claim.signer().leaf)),
        }
    }

    /// Bytes it takes in a frame, an upper bound.
    pub fn size(&self) -> usize {
        1 + 3 + self.claim.len() + self.leaf.as_ref().map_or(1, |l| 3 + l.len())
    }
}

/// Everything that is said about one member, for joins and repair.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Bundle {
    /// Its record, alive and leave claims, and the accusations against it; nothing if only its removal is known.
    pub claims: Vec<Arc<[u8]>>,
    /// Leaf certificate that its record names.
    pub leaf: Arc<[u8]>,
    /// A removal of it, with the operator's leaf.
    pub removal: Option<Item>,
    /// How long it has been dead or left.
    pub age: Duration,
}

/// A roster head with what the relay knows of its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadItem {
    /// The head and its signer's leaf, if the receiver may need it.
    pub item: Item,
    /// How long ago it was received from its signer.
    pub age: Duration,
    /// Whether the sender had it from the signer itself.
    pub direct: bool,
}

/// A datacenter's authority on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityItem {
    /// Its certificate, DER.
    pub certificate: Arc<[u8]>,
    /// Its revocation list, DER.
    pub crl: Arc<[u8]>,
}

/// A revocation list on its way over a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListItem {
    /// The certificate of the datacenter's authority, DER; `None` for a root's list.
    pub certificate: Option<Arc<[u8]>>,
    /// The list, DER.
    pub crl: Arc<[u8]>,
}

/// Issuers and the numbers of their newest lists.
pub type Numbers = Vec<(Issuer, u64)>;

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// "Are you there?" Answered by an ack with the same number.
    Ping {
        /// Echoed.
        number: u64,
        /// The sender is one of the receiver's observers: the answer says how well they are spaced.
        watch: bool,
        /// The sender's set hash of the receiver's pool.
        digest: u64,
        /// News.
        news: Vec<Item>,
    },
    /// The answer.
    Ack {
        /// The ping's.
        number: u64,
        /// By how many milliseconds the receiver's pings should come earlier, or later, for the sender's observers to be
        /// evenly spaced.
        spacing: Option<(u32, u32)>,
        /// The sender's set hash.
        digest: u64,
        /// News.
        news: Vec<Item>,
    },
    /// "Ask it for me."
    PingReq {
        /// Echoed.
        number: u64,
        /// Whom to ping.
        target: NodeId,
        /// How long the answer is of use.
        within: Duration,
    },
    /// A relay's answer to [`Frame::PingReq`]: whether the target answered.
    Relayed {
        /// The request's.
        number: u64,
        /// False: a nack; the relay is well, the target silent.
        answered: bool,
    },
    /// News, pushed.
    News {
        /// Claims.
        news: Vec<Item>,
    },
    /// Roster heads.
    Heads {
        /// Newest first.
        heads: Vec<HeadItem>,
    },
    /// "These are the revocation lists I hold."
    Lists {
        /// Hash over all of them.
        digest: u64,
        /// Those that are new, or that the receiver lacks.
        known: Numbers,
    },
    /// A revocation list, pushed.
    List {
        /// DER.
        crl: Arc<[u8]>,
    },
}

/// A question over a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A ping where datagrams fail. Brings what is held against the receiver.
    Probe {
        /// Claims about the receiver.
        news: Vec<Item>,
    },
    /// A page of a roster, by id; the first page also tells what is known of the asker itself.
    Pull {
        /// Whose roster.
        datacenter: Label,
        /// Ids after this one; `None` for the first page.
        after: Option<NodeId>,
    },
    /// A contact that heals: both sides show their records and what they hold against each other.
    Introduce {
        /// The asker.
        me: Bundle,
        /// What the asker knows about the asked.
        you: Option<Bundle>,
        /// The asker's set hash.
        digest: u64,
    },
    /// Set hashes of the asker's roster by id prefix.
    Compare {
        /// Whose roster.
        datacenter: Label,
        /// Length of the prefix in bits.
        bits: u8,
        /// One hash per prefix, `1 << bits` of them.
        buckets: Vec<u64>,
    },
    /// Claims for claims.
    Exchange {
        /// Whose roster.
        datacenter: Label,
        /// Members that the asker wants to know about.
        want: Vec<NodeId>,
        /// What the asker tells.
        give: Vec<Bundle>,
    },
    /// What a standby server asks a seat holder: heads of all datacenters.
    Heads,
    /// Seat holders of every datacenter known, and authorities newer than these.
    Seats {
        /// Datacenters whose authority the asker has, with the revocation list's number.
        known: Vec<(Label, u64)>,
        /// The seat holders of the asker's own datacenter.
        mine: Vec<Bundle>,
    },
    /// Revocation lists newer than these.
    Lists {
        /// What the asker holds.
        known: Numbers,
    },
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Ask::Probe`].
    Here {
        /// The answerer's own newest claims.
        news: Vec<Item>,
    },
    /// To [`Ask::Pull`].
    Page {
        /// Members.
        bundles: Vec<Bundle>,
        /// Where to go on, if there is more.
        next: Option<NodeId>,
        /// What is known about the asker.
        you: Option<Bundle>,
    },
    /// To [`Ask::Pull`] when too many ask: others who could answer, as members' bundles.
    Busy {
        /// When to come back.
        after: Duration,
        /// Whom to ask instead.
        referrals: Vec<Bundle>,
    },
    /// To [`Ask::Introduce`].
    Met {
        /// The answerer.
        me: Bundle,
        /// What the answerer knows about the asker.
        you: Option<Bundle>,
        /// The answerer's set hash.
        digest: u64,
    },
    /// To [`Ask::Compare`]: the answerer's entries in every prefix that differs, as (id, entry hash).
    Differences {
        /// Entries.
        entries: Vec<(NodeId, u64)>,
        /// The prefixes they cover, by number.
        buckets: Vec<u32>,
    },
    /// To [`Ask::Exchange`].
    Given {
        /// What was wanted.
        bundles: Vec<Bundle>,
    },
    /// To [`Ask::Heads`].
    Heads {
        /// Of all datacenters.
        heads: Vec<HeadItem>,
        /// Set hash of each other datacenter's roster as the answerer holds it.
        held: Vec<(Label, u64)>,
    },
    /// To [`Ask::Seats`].
    Seats {
        /// Seat holders.
        bundles: Vec<Bundle>,
        /// Authorities that the asker lacks.
        authorities: Vec<AuthorityItem>,
    },
    /// To [`Ask::Lists`].
    Lists {
        /// What the asker lacks, as much as fits.
        lists: Vec<ListItem>,
        /// What the answerer holds.
        known: Numbers,
    },
}

type Bytes8 = ByteArray<8>;
type Bytes16 = ByteArray<16>;
type ItemWire = (ByteBuf, Option<ByteBuf>);
/// The same as it is written, without a copy in between.
type NewsWire<'a> = (&'a Bytes, Option<&'a Bytes>);
type BundleWire = (Vec<ByteBuf>, ByteBuf, Option<ItemWire>, u64);
type NumbersWire = Vec<(Bytes16, u64)>;
type ListWire = (Option<ByteBuf>, ByteBuf);
type HeadWire = (ByteBuf, Option<ByteBuf>, u64, bool);

fn item_out(item: &Item) -> ItemWire {
    (
        ByteBuf::from(item.claim.to_vec()),
        item.leaf.as_ref().map(|l| ByteBuf::from(l.to_vec())),
    )
}
fn item_in((claim, leaf): ItemWire) -> Item {
    Item {
        claim: claim.into_vec().into(),
        leaf: leaf.map(|l| l.into_vec().into()),
    }
}
fn news_out(news: &[Item]) -> Vec<NewsWire<'_>> {
    news.iter()
        .map(|item| {
            (
                Bytes::new(&item.claim),
                item.leaf.as_deref().map(Bytes::new),
            )
        })
        .collect()
}
fn read_item(from: &mut Reader<'_>) -> Result<Item, Malformed> {
    from.array(2)?;
    Ok(Item {
        claim: from.bytes()?.into(),
        leaf: from.optional(Reader::bytes)?.map(Arc::from),
    })
}
fn read_head(from: &mut Reader<'_>) -> Result<HeadItem, Malformed> {
    from.array(4)?;
    let item = Item {
        claim: from.bytes()?.into(),
        leaf: from.optional(Reader::bytes)?.map(Arc::from),
    };
    Ok(HeadItem {
        item,
        age: Duration::from_millis(from.number()?),
        direct: from.flag()?,
    })
}
fn read_spacing(from: &mut Reader<'_>) -> Result<(u32, u32), Malformed> {
    let short = |number| u32::try_from(number).map_err(|_| Malformed::Shape);
    from.array(2)?;
    Ok((short(from.number()?)?, short(from.number()?)?))
}
fn items_out(items: &[Item]) -> Vec<ItemWire> {
    items.iter().map(item_out).collect()
}
fn items_in(items: Vec<ItemWire>) -> Vec<Item> {
    items.into_iter().map(item_in).collect()
}
fn bundle_out(b: &Bundle) -> BundleWire {
    (
        b.claims.iter().map(|c| ByteBuf::from(c.to_vec())).collect(),
        ByteBuf::from(b.leaf.to_vec()),
        b.removal.as_ref().map(item_out),
        millis(b.age),
    )
}
fn bundle_in((claims, leaf, removal, age): BundleWire) -> Bundle {
    Bundle {
        claims: claims.into_iter().map(|c| c.into_vec().into()).collect(),
        leaf: leaf.into_vec().into(),
        removal: removal.map(item_in),
        age: Duration::from_millis(age),
    }
}
fn bundles_out(bundles: &[Bundle]) -> Vec<BundleWire> {
    bundles.iter().map(bundle_out).collect()
}
fn bundles_in(bundles: Vec<BundleWire>) -> Vec<Bundle> {
    bundles.into_iter().map(bundle_in).collect()
}
fn heads_out(heads: &[HeadItem]) -> Vec<HeadWire> {
    let wire = |h: &HeadItem| {
        let (claim, leaf) = item_out(&h.item);
        (claim, leaf, millis(h.age), h.direct)
    };
    heads.iter().map(wire).collect()
}
fn heads_in(heads: Vec<HeadWire>) -> Vec<HeadItem> {
    let item = |(claim, leaf, age, direct)| HeadItem {
        item: item_in((claim, leaf)),
        age: Duration::from_millis(age),
        direct,
    };
    heads.into_iter().map(item).collect()
}
fn numbers_out(known: &Numbers) -> NumbersWire {
    let wire = |(issuer, number): &(Issuer, u64)| (ByteArray::new(issuer.0), *number);
    known.iter().map(wire).collect()
}
fn numbers_in(known: NumbersWire) -> Numbers {
    let number = |(issuer, number): (Bytes16, u64)| (Issuer(issuer.into_array()), number);
    known.into_iter().map(number).collect()
}
fn read_number(from: &mut Reader<'_>) -> Result<(Issuer, u64), Malformed> {
    from.array(2)?;
    Ok((Issuer(from.exactly()?), from.number()?))
}
fn list_out(list: &ListItem) -> ListWire {
    let bytes = |bytes: &Arc<[u8]>| ByteBuf::from(bytes.to_vec());
    (list.certificate.as_ref().map(bytes), bytes(&list.crl))
}
fn list_in((certificate, crl): ListWire) -> ListItem {
    ListItem {
        certificate: certificate.map(|c| c.into_vec().into()),
        crl: crl.into_vec().into(),
    }
}
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
fn hash(bytes: Bytes8) -> u64 {
    u64::from_be_bytes(bytes.into_array())
}
fn bytes(hash: u64) -> Bytes8 {
    ByteArray::new(hash.to_be_bytes())
}
fn id_out(id: &NodeId) -> Bytes16 {
    ByteArray::new(id.0)
}
fn id_in(id: Bytes16) -> NodeId {
    NodeId(id.into_array())
}

/// A message body behind version and type.
type Envelope<T> = (u8, u8, T);

fn pack<T: Serialize>(kind: u8, body: T) -> Vec<u8> {
    cbor::encode::<Envelope<T>>(&(VERSION, kind, body))
}

fn unpack<T: for<'de> Deserialize<'de> + Serialize>(bytes: &[u8]) -> Result<T, Malformed> {
    cbor::decode::<Envelope<T>>(bytes).map(|(_, _, body)| body)
}

/// Array, version, type: one byte each.
const BEFORE_BODY: usize = 3;

/// The type of a message of our version. Both are small integers in fixed places.
fn kind(bytes: &[u8], limit: usize) -> Result<u8, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed::Limit);
    }
    match bytes {
        [0x83, VERSION, kind, ..] => Ok(*kind),
        _ => Err(Malformed::Shape),
    }
}

impl Frame {
    /// The frame's name, for counting.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Ack { .. } => "ack",
            Self::PingReq { .. } => "ping_req",
            Self::Relayed { .. } => "relayed",
            Self::News { .. } => "news",
            Self::Heads { .. } => "heads",
            Self::Lists { .. } => "lists",
            Self::List { .. } => "list",
        }
    }

    /// Writes the frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ping {
                number,
                watch,
                digest,
                news,
            } => pack(1, (*number, *watch, bytes(*digest), news_out(news))),
            Self::Ack {
                number,
                spacing,
                digest,
                news,
            } => pack(2, (*number, *spacing, bytes(*digest), news_out(news))),
            Self::PingReq {
                number,
                target,
                within,
            } => pack(3, (*number, id_out(target), millis(*within))),
            Self::Relayed { number, answered } => pack(4, (*number, *answered)),
            Self::News { news } => pack(5, news_out(news)),
            Self::Heads { heads } => pack(6, heads_out(heads)),
            Self::Lists { digest, known } => pack(7, (bytes(*digest), numbers_out(known))),
            Self::List { crl } => pack(8, Bytes::new(crl)),
        }
    }

    /// Whether a payload says of itself that it is [`Frame::News`].
    pub fn is_news(payload: &[u8]) -> bool {
        matches!(kind(payload, MAX_DATAGRAM + 64), Ok(5))
    }

    /// Reads a frame; everything must be consumed.
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        let kind = kind(input, MAX_DATAGRAM + 64)?;
        let mut from = Reader::new(input.get(BEFORE_BODY..).unwrap_or_default());
        let frame = match kind {
            1 => {
                from.array(4)?;
                Self::Ping {
                    number: from.number()?,
                    watch: from.flag()?,
                    digest: u64::from_be_bytes(from.exactly()?),
                    news: from.list(read_item)?,
                }
            }
            2 => {
                from.array(4)?;
                Self::Ack {
                    number: from.number()?,
                    spacing: from.optional(read_spacing)?,
                    digest: u64::from_be_bytes(from.exactly()?),
                    news: from.list(read_item)?,
                }
            }
            3 => {
                from.array(3)?;
                Self::PingReq {
                    number: from.number()?,
                    target: NodeId(from.exactly()?),
                    within: Duration::from_millis(from.number()?),
                }
            }
            4 => {
                from.array(2)?;
                Self::Relayed {
                    number: from.number()?,
                    answered: from.flag()?,
                }
            }
            5 => Self::News {
                news: from.list(read_item)?,
            },
            6 => Self::Heads {
                heads: from.list(read_head)?,
            },
            7 => {
                from.array(2)?;
                Self::Lists {
                    digest: u64::from_be_bytes(from.exactly()?),
                    known: from.list(read_number)?,
                }
            }
            8 => Self::List {
                crl: from.bytes()?.into(),
            },
            _ => return Err(Malformed::Shape),
        };
        from.end().map(|()| frame)
    }
}

impl Ask {
    /// Writes the question.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Probe { news } => pack(1, items_out(news)),
            Self::Pull { datacenter, after } => pack(2, (datacenter, after.as_ref().map(id_out))),
            Self::Introduce { me, you, digest } => pack(
                3,
                (bundle_out(me), you.as_ref().map(bundle_out), bytes(*digest)),
            ),
            Self::Compare {
                datacenter,
                bits,
                buckets,
            } => {
                let buckets: Vec<u8> = buckets.iter().flat_map(|b| b.to_be_bytes()).collect();
                pack(4, (datacenter, *bits, ByteBuf::from(buckets)))
            }
            Self::Exchange {
                datacenter,
                want,
                give,
            } => {
                let want: Vec<Bytes16> = want.iter().map(id_out).collect();
                pack(5, (datacenter, want, bundles_out(give)))
            }
            Self::Heads => pack(6, ()),
            Self::Seats { known, mine } => pack(7, (known, bundles_out(mine))),
            Self::Lists { known } => pack(8, numbers_out(known)),
        }
    }

    /// Reads a question.
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        match kind(input, crate::federation::MAX_MESSAGE)? {
            1 => Ok(Self::Probe {
                news: items_in(unpack(input)?),
            }),
            2 => {
                let (datacenter, after): (Label, Option<Bytes16>) = unpack(input)?;
                Ok(Self::Pull {
                    datacenter,
                    after: after.map(id_in),
                })
            }
            3 => {
                let (me, you, digest): (BundleWire, Option<BundleWire>, Bytes8) = unpack(input)?;
                Ok(Self::Introduce {
                    me: bundle_in(me),
                    you: you.map(bundle_in),
                    digest: hash(digest),
                })
            }
            4 => {
                let (datacenter, bits, buckets): (Label, u8, ByteBuf) = unpack(input)?;
                let (chunks, rest) = buckets.as_chunks::<8>();
                if bits > 12 || !rest.is_empty() || chunks.len() != 1 << bits {
                    return Err(Malformed::Shape);
                }
                let buckets = chunks.iter().map(|c| u64::from_be_bytes(*c)).collect();
                Ok(Self::Compare {
                    datacenter,
                    bits,
                    buckets,
                })
            }
            5 => {
                let (datacenter, want, give): (Label, Vec<Bytes16>, Vec<BundleWire>) =
                    unpack(input)?;
                Ok(Self::Exchange {
                    datacenter,
                    want: want.into_iter().map(id_in).collect(),
                    give: bundles_in(give),
                })
            }
            6 => unpack::<()>(input).map(|()| Self::Heads),
            7 => {
                let (known, mine): (Vec<(Label, u64)>, Vec<BundleWire>) = unpack(input)?;
                Ok(Self::Seats {
                    known,
                    mine: bundles_in(mine),
                })
            }
            8 => Ok(Self::Lists {
                known: numbers_in(unpack(input)?),
            }),
            _ => Err(Malformed::Shape),
        }
    }
}

impl Reply {
    /// Writes the answer.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Here { news } => pack(1, items_out(news)),
            Self::Page { bundles, next, you } => pack(
                2,
                (
                    bundles_out(bundles),
                    next.as_ref().map(id_out),
                    you.as_ref().map(bundle_out),
                ),
            ),
            Self::Busy { after, referrals } => pack(3, (millis(*after), bundles_out(referrals))),
            Self::Met { me, you, digest } => pack(
                4,
                (bundle_out(me), you.as_ref().map(bundle_out), bytes(*digest)),
            ),
            Self::Differences { entries, buckets } => {
                let entries: Vec<(Bytes16, Bytes8)> = entries
                    .iter()
                    .map(|(id, h)| (id_out(id), bytes(*h)))
                    .collect();
                pack(5, (entries, buckets))
            }
            Self::Given { bundles } => pack(6, bundles_out(bundles)),
            Self::Heads { heads, held } => {
                let held: Vec<(&Label, Bytes8)> =
                    held.iter().map(|(dc, h)| (dc, bytes(*h))).collect();
                pack(7, (heads_out(heads), held))
            }
            Self::Seats {
                bundles,
                authorities,
            } => {
                let authorities: Vec<(ByteBuf, ByteBuf)> = authorities
                    .iter()
                    .map(|a| {
                        (
                            ByteBuf::from(a.certificate.to_vec()),
                            ByteBuf::from(a.crl.to_vec()),
                        )
                    })
                    .collect();
                pack(8, (bundles_out(bundles), authorities))
            }
            Self::Lists { lists, known } => {
                let lists: Vec<ListWire> = lists.iter().map(list_out).collect();
                pack(9, (lists, numbers_out(known)))
            }
        }
    }

    /// Reads an answer.
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        match kind(input, crate::federation::MAX_MESSAGE)? {
            1 => Ok(Self::Here {
                news: items_in(unpack(input)?),
            }),
            2 => {
                let (bundles, next, you): (Vec<BundleWire>, Option<Bytes16>, Option<BundleWire>) =
                    unpack(input)?;
                Ok(Self::Page {
                    bundles: bundles_in(bundles),
                    next: next.map(id_in),
                    you: you.map(bundle_in),
                })
            }
            3 => {
                let (after, referrals) = unpack(input)?;
                Ok(Self::Busy {
                    after: Duration::from_millis(after),
                    referrals: bundles_in(referrals),
                })
            }
            4 => {
                let (me, you, digest): (BundleWire, Option<BundleWire>, Bytes8) = unpack(input)?;
                Ok(Self::Met {
                    me: bundle_in(me),
                    you: you.map(bundle_in),
                    digest: hash(digest),
                })
            }
            5 => {
                let (entries, buckets): (Vec<(Bytes16, Bytes8)>, Vec<u32>) = unpack(input)?;
                let entries = entries
                    .into_iter()
                    .map(|(id, h)| (id_in(id), hash(h)))
                    .collect();
                Ok(Self::Differences { entries, buckets })
            }
            6 => Ok(Self::Given {
                bundles: bundles_in(unpack(input)?),
            }),
            7 => {
                let (heads, held): (Vec<HeadWire>, Vec<(Label, Bytes8)>) = unpack(input)?;
                Ok(Self::Heads {
                    heads: heads_in(heads),
                    held: held.into_iter().map(|(dc, h)| (dc, hash(h))).collect(),
                })
            }
            8 => {
                let (bundles, authorities): (Vec<BundleWire>, Vec<(ByteBuf, ByteBuf)>) =
                    unpack(input)?;
                Ok(Self::Seats {
                    bundles: bundles_in(bundles),
                    authorities: authorities
                        .into_iter()
                        .map(|(certificate, crl)| AuthorityItem {
                            certificate: certificate.into_vec().into(),
                            crl: crl.into_vec().into(),
                        })
                        .collect(),
                })
            }
            9 => {
                let (lists, known): (Vec<ListWire>, NumbersWire) = unpack(input)?;
                Ok(Self::Lists {
                    lists: lists.into_iter().map(list_in).collect(),
                    known: numbers_in(known),
                })
            }
            _ => Err(Malformed::Shape),
        }
    }
}
