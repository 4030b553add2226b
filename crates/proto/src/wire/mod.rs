//! Frames: what travels in datagrams and over streams. Claims ride inside as the bytes their signers made.
//!
//! [`Frame`] is a datagram, [`Ask`] and [`Reply`] go over streams; this file holds what both are made of.
//!
//! Every message starts with the protocol version; a message of another version is a counted drop. Numbers are append-only.

mod frame;
mod question;

pub use frame::Frame;
pub use question::{Ask, Reply};

use crate::{
    cbor::{self, Malformed, Reader},
    claim::{Claim, Verified},
    identity::NodeId,
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
