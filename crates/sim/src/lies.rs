//! What a member with a genuine certificate may say that is not so. Said in the simulator ([`hunt`](crate::hunt)) and over real
//! sockets alike; who says it when, and to whom, is theirs.

use pelago_proto::{
    claim::{Accusation, Alive, Basis, Body, Claim, Head, Leave, Record},
    federation::Federation,
    identity::{Incarnation, Label, NodeId, Role},
    trust::{Certified, Trust},
    wire::{Frame, HeadItem, Item, MAX_DATAGRAM},
};
use rand::{Rng, RngExt};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Where in a claim its signer's id stands.
const SIGNER: std::ops::Range<usize> = 7..23;

/// Whoever lies: a genuine key, and what it would truthfully say of itself.
pub struct Speaker<'a> {
    trust: &'a dyn Trust,
    record: Record,
}

/// Whom a lie is about.
#[derive(Clone, Debug)]
pub struct Victim {
    /// What its certificate says.
    pub certified: Arc<Certified>,
    /// At which incarnation it is.
    pub incarnation: Incarnation,
    /// Where it is.
    pub lan: SocketAddr,
}

impl std::fmt::Debug for Speaker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Speaker").field(&self.record.name).finish()
    }
}

impl<'a> Speaker<'a> {
    /// Whoever runs this; `None` if its own record cannot be read.
    pub fn of(trust: &'a dyn Trust, federation: &Federation) -> Option<Self> {
        let bundle = federation.own_bundle();
        let Body::Record(record) = Claim::parse(bundle.claims.first()?).ok()?.body else {
            return None;
        };
        let record = Record {
            incarnation: federation.incarnation(),
            health: 0,
            seat: false,
            ..(*record).clone()
        };
        Some(Self { trust, record })
    }

    /// Signed with its own key, in its own name.
    pub fn say(&self, body: Body) -> Item {
        self.say_as(self.trust.own().id, body)
    }

    /// Signed with its own key, in another's name.
    fn say_as(&self, name: NodeId, body: Body) -> Item {
        let hand = |message: &[u8]| self.trust.sign(message);
        let claim = Claim::sign_as(self.trust.trust_domain(), name, body, hand);
        Item::bare(claim.bytes())
    }

    /// A record of its own, with its certificate.
    fn introduce(&self, record: Record) -> Item {
        Item {
            leaf: Some(Arc::clone(&self.trust.own().leaf)),
            ..self.say(Body::Record(Arc::new(record)))
        }
    }

    /// Its next record as it would truthfully be.
    fn next(&self) -> Record {
        Record {
            incarnation: next(self.record.incarnation),
            ..self.record.clone()
        }
    }

    /// What others never said: that the victim is at a later incarnation, that it leaves, that it accuses a third. Signed as
    /// oneself, then renamed.
    pub fn forged(&self, victim: &Victim, third: &Victim) -> Vec<Item> {
        let incarnation = next(victim.incarnation);
        let bodies = [
            Body::Alive(Alive {
                incarnation,
                record: [0; 8],
            }),
            Body::Leave(Leave { incarnation }),
            accusation(third, 0),
        ];
        let renamed = |body| {
            let mut bytes = self.say(body).claim.to_vec();
            bytes[SIGNER].copy_from_slice(&victim.certified.id.0);
            Item {
                claim: bytes.into(),
                leaf: None,
            }
        };
        bodies.map(renamed).into()
    }

    /// Two records of one incarnation that do not agree. `ahead`: so many boots from now.
    pub fn two_faces(&self, ahead: u64) -> [Item; 2] {
        ["left", "right"].map(|face| {
            let mut record = self.next();
            record.incarnation.boot += ahead;
            record.tags.insert("face".to_owned(), face.to_owned());
            self.introduce(record)
        })
    }

    /// Its next record, with this tag.
    pub fn tagged(&self, ahead: u64, name: &str, value: &str) -> Item {
        let mut record = self.next();
        record.incarnation.seq += ahead;
        record.tags.insert(name.to_owned(), value.to_owned());
        self.introduce(record)
    }

    /// Its address is the victim's, and it holds a seat if it can.
    pub fn elsewhere(&self, victim: &Victim) -> Item {
        let mut record = self.next();
        record.lan = victim.lan;
        record.seat = record.role == Role::Server;
        self.introduce(record)
    }

    /// A head of a datacenter that looks like no datacenter.
    pub fn head(&self, seq: u64, digest: u64) -> Frame {
        let incarnation = Incarnation {
            boot: self.record.incarnation.boot,
            seq,
        };
        let item = self.say(Body::Head(Head {
            incarnation,
            digest,
            members: 1,
            alive: 1,
            seats: Vec::new(),
        }));
        Frame::Heads {
            heads: vec![HeadItem {
                item,
                age: Duration::ZERO,
                direct: true,
            }],
        }
    }

    /// The same as a client, who has no right to.
    pub fn clients_head(&self) -> Option<Frame> {
        let seq = self.record.incarnation.seq + 1;
        (self.record.role == Role::Client).then(|| self.head(seq, 1))
    }

    /// Claims in the victim's name, and a record of its own that says what its certificate does not.
    pub fn impersonating(
        &self,
        victim: &Victim,
        third: &Victim,
        abroad: Option<&Label>,
        dice: &mut impl Rng,
    ) -> [Item; 2] {
        let incarnation = next(victim.incarnation);
        let body = match dice.random_range(0..4) {
            0 => Body::Alive(Alive {
                incarnation,
                record: [0; 8],
            }),
            1 => Body::Leave(Leave { incarnation }),
            2 => accusation(third, 0),
            _ => Body::Record(Arc::new(Record {
                incarnation,
                ..self.record.clone()
            })),
        };
        let leaf = matches!(body, Body::Record(_)).then(|| Arc::clone(&self.trust.own().leaf));
        let named = Item {
            leaf,
            ..self.say_as(victim.certified.id, body)
        };
        [
            named,
            self.introduce(self.embellished(victim, abroad, dice)),
        ]
    }

    /// Its next record, with one thing in it that is not so.
    fn embellished(&self, victim: &Victim, abroad: Option<&Label>, dice: &mut impl Rng) -> Record {
        let mut mine = self.next();
        let other = Label::new("elsewhere").unwrap_or_else(|_| mine.name.clone());
        match dice.random_range(0..6) {
            0 => mine.name = victim.certified.name.clone(),
            1 => mine.location.rack = other,
            2 => mine.location.zone = other,
            3 => mine.location.datacenter = abroad.cloned().unwrap_or(other),
            4 if mine.role == Role::Client => {
                mine.seat = true;
                mine.wan = Some(victim.lan);
            }
            4 => mine.role = Role::Client,
            _ => mine.lan.set_ip([192, 0, 2, 1].into()),
        }
        mine
    }
}

/// As damning as an accusation can be, of this incarnation or one that is still to come.
pub fn accusation(victim: &Victim, ahead: u64) -> Body {
    Body::Accusation(Accusation {
        accused: victim.certified.id,
        incarnation: Incarnation {
            seq: victim.incarnation.seq + ahead,
            ..victim.incarnation
        },
        silent: Duration::from_secs(60),
        basis: Basis::PortClosed,
        quorate: true,
    })
}

/// Frames that nobody asked for, or no frames at all.
pub fn noise(about: NodeId, dice: &mut impl Rng) -> Vec<u8> {
    let number = dice.next_u64();
    match dice.random_range(0..4) {
        0 => {
            let mut garbage = vec![0; dice.random_range(0..MAX_DATAGRAM)];
            dice.fill_bytes(&mut garbage);
            garbage
        }
        1 => Frame::Ping {
            number,
            watch: true,
            digest: number,
            news: Vec::new(),
        }
        .encode(),
        2 => Frame::PingReq {
            number,
            target: about,
            within: Duration::from_millis(200),
        }
        .encode(),
        _ => Frame::Ack {
            number: number % 10_000,
            spacing: Some((u32::MAX, 0)),
            digest: number,
            news: Vec::new(),
        }
        .encode(),
    }
}

/// What whoever withholds sends instead: the same without news. `None`: nothing at all.
pub fn withheld(payload: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Frame::decode(payload).ok()?;
    match &mut frame {
        Frame::Ping { news, .. } | Frame::Ack { news, .. } => news.clear(),
        Frame::News { .. }
        | Frame::Heads { .. }
        | Frame::Relayed { .. }
        | Frame::Lists { .. }
        | Frame::List { .. } => return None,
        Frame::PingReq { .. } => {}
    }
    Some(frame.encode())
}

fn next(incarnation: Incarnation) -> Incarnation {
    Incarnation {
        seq: incarnation.seq + 1,
        ..incarnation
    }
}
