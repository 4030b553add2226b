//! Questions over streams, and their answers.

use super::{
    AuthorityItem, Bundle, BundleWire, Bytes8, Bytes16, HeadItem, HeadWire, Item, ListItem,
    ListWire, Numbers, NumbersWire, bundle_in, bundle_out, bundles_in, bundles_out, bytes, hash,
    heads_in, heads_out, id_in, id_out, items_in, items_out, kind, list_in, list_out, millis,
    numbers_in, numbers_out, pack, unpack,
};
use crate::{
    cbor::Malformed,
    identity::{Label, NodeId},
};
use serde_bytes::ByteBuf;
use std::time::Duration;

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
