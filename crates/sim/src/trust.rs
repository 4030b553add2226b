//! Certificates and signatures for a made-up world: cheap, of the real sizes, and just as hard to forge for its nodes.
//!
//! Everything hangs on the world's secret, which no protocol code can reach: a leaf carries a MAC made with it, a
//! signature is a hash keyed with it. So a simulated node can lie about everything except who signed something.

use aws_lc_rs::digest;
use pelago_proto::{
    claim::{Body, Claim, Removal, Verified},
    identity::{Label, NodeId, Role},
    trust::{Authority, Certified, Issuer, List, Refusal, Trust, Weighed},
    wire::Item,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// Size of a leaf certificate, about that of a real Ed25519 one.
pub const LEAF_SIZE: usize = 420;
const CA_SIZE: usize = 400;
const MAC_SIZE: usize = 32;
const SERIAL_SIZE: usize = 16;

const LEAF: &[u8; 8] = b"sim-leaf";
const CA: &[u8; 8] = b"sim-ca\0\0";
const CRL: &[u8; 8] = b"sim-crl\0";
/// Everything of a list but its entries takes about as much as in a real one.
const CRL_HEAD: usize = 240;
/// Where its number stands.
pub(crate) const LIST_NUMBER: std::ops::Range<usize> = 24..32;
/// How far ahead of a judge's clock a list may have been issued, seconds.
const AHEAD: u64 = 300;

/// What all certificates of one world have in common: its root of trust and its calendar.
pub struct Realm {
    secret: [u8; 32],
    domain: String,
    unix: AtomicU64,
    issued: AtomicU64,
    /// What genuine leaves say, by their seals: ten thousand judges share one copy of each.
    judged: Mutex<ByEnd<Arc<Certified>>>,
    /// Claims that some node verified, by the ends of their signatures: the same for claims.
    claims: Mutex<Remembered>,
    /// The root's first list, which revokes nobody.
    root: Arc<[u8]>,
    /// What processes that start with the same authorities believe: one copy for all of them.
    beginnings: Mutex<Vec<(Vec<Authority>, Arc<Authorities>)>>,
}

/// Things by the last bytes of what was sealed or signed, which are as good as random.
type ByEnd<T> = HashMap<u64, T, BuildHasherDefault<AsIs>>;

fn end(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk().map(|end| u64::from_be_bytes(*end))
}

/// Hashes what is a hash already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = end(bytes).unwrap_or_default();
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Claims verified lately, for all nodes of a world together. When the younger half is full the older one is forgotten.
#[derive(Debug, Default)]
struct Remembered {
    younger: ByEnd<Verified<Claim>>,
    older: ByEnd<Verified<Claim>>,
}

impl Remembered {
    /// Claims in one half: more than there are members in the largest worlds.
    const HALF: usize = 1 << 18;

    fn get(&self, bytes: &[u8]) -> Option<Verified<Claim>> {
        let end = end(bytes)?;
        let held = self.younger.get(&end).or_else(|| self.older.get(&end));
        held.cloned()
    }

    fn insert(&mut self, claim: &Verified<Claim>) {
        let Some(end) = end(claim.bytes()) else {
            return;
        };
        if self.younger.len() >= Self::HALF {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(end, claim.clone());
    }
}

/// What an authority is asked to certify.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// The issuing datacenter.
    pub datacenter: Label,
    /// Node name.
    pub name: Label,
    /// Zone.
    pub zone: Label,
    /// Rack.
    pub rack: Label,
    /// Role.
    pub role: Role,
}

/// A key and the certificate over it. Two processes that hold the same one are clones.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Public key; the private one is the world's business.
    pub key: [u8; 32],
    /// Certificate.
    pub leaf: Arc<[u8]>,
}

impl Realm {
    /// A new root of trust, its calendar at `unix` seconds.
    pub fn new(secret: [u8; 32], domain: &str, unix: u64) -> Arc<Self> {
        let mut realm = Self {
            secret,
            domain: domain.to_owned(),
            unix: AtomicU64::new(unix),
            issued: AtomicU64::new(0),
            judged: Mutex::default(),
            claims: Mutex::default(),
            root: Arc::default(),
            beginnings: Mutex::default(),
        };
        realm.root = realm.root_list(&[], 1);
        Arc::new(realm)
    }

    /// Moves the calendar.
    pub fn set_unix_time(&self, unix: u64) {
        self.unix.store(unix, Ordering::Relaxed);
    }

    /// The calendar, Unix seconds.
    pub fn unix_time(&self) -> u64 {
        self.unix.load(Ordering::Relaxed)
    }

    /// A new key with a certificate that ends at `not_after`.
    pub fn identity(&self, who: &Claimant, not_after: u64) -> Identity {
        let key = self.mac(b"key", &[&self.count()]);
        Identity {
            key,
            leaf: self.issue(who, &key, not_after),
        }
    }

    /// A new certificate over a key.
    pub fn issue(&self, who: &Claimant, key: &[u8; 32], not_after: u64) -> Arc<[u8]> {
        let mut leaf = Vec::with_capacity(LEAF_SIZE);
        leaf.extend_from_slice(LEAF);
        leaf.extend_from_slice(key);
        leaf.extend_from_slice(&self.mac(b"serial", &[&self.count()])[..SERIAL_SIZE]);
        leaf.extend_from_slice(&self.unix_time().saturating_sub(60).to_be_bytes());
        leaf.extend_from_slice(&not_after.to_be_bytes());
        leaf.push(match who.role {
            Role::Client => 0,
            Role::Server => 1,
            Role::Operator => 2,
        });
        for label in [&who.datacenter, &who.name, &who.zone, &who.rack] {
            put_label(&mut leaf, label);
        }
        leaf.resize(LEAF_SIZE - MAC_SIZE, 0);
        self.seal(leaf, who.datacenter.as_str())
    }

    /// A datacenter's authority with a revocation list: serials of leaves.
    pub fn authority(
        &self,
        datacenter: &Label,
        revoked: &BTreeSet<[u8; 16]>,
        number: u64,
    ) -> Authority {
        let mut certificate = CA.to_vec();
        put_label(&mut certificate, datacenter);
        certificate.resize(CA_SIZE - MAC_SIZE, 0);
        Authority {
            datacenter: datacenter.clone(),
            certificate: self.seal(certificate, ""),
            crl: self.list(datacenter.as_str(), revoked, number),
            crl_number: number,
        }
    }

    /// The root's list: datacenters whose authorities are revoked.
    pub fn root_list(&self, revoked: &[Label], number: u64) -> Arc<[u8]> {
        let serials = revoked
            .iter()
            .map(|datacenter| issuer(datacenter.as_str()).0);
        self.list("", &serials.collect(), number)
    }

    /// Whether this is a list that a datacenter's authority, or the root (no name), signed.
    pub(crate) fn is_list_of(&self, crl: &[u8], whose: &str) -> bool {
        self.unseal(crl, whose).is_ok() && SimList::read(crl).is_ok()
    }

    fn list(&self, whose: &str, revoked: &BTreeSet<[u8; 16]>, number: u64) -> Arc<[u8]> {
        let mut crl = CRL.to_vec();
        crl.extend_from_slice(&issuer(whose).0);
        crl.extend_from_slice(&number.to_be_bytes());
        crl.extend_from_slice(&self.unix_time().to_be_bytes());
        crl.resize(CRL_HEAD - MAC_SIZE, 0);
        crl.extend(revoked.iter().flatten());
        self.seal(crl, whose)
    }

    /// A removal that an operator signed, with its certificate.
    pub(crate) fn removal(&self, operator: &Identity, removed: NodeId, until: u64) -> Item {
        let body = Body::Removal(Removal {
            removed,
            until,
            reason: String::new(),
        });
        let sign = |message: &[u8]| self.sign(&operator.key, message);
        let claim = Claim::sign_as(&self.domain, node_id(&operator.key), body, sign);
        Item {
            claim: Arc::clone(claim.bytes()),
            leaf: Some(Arc::clone(&operator.leaf)),
        }
    }

    fn seal(&self, mut body: Vec<u8>, issuer: &str) -> Arc<[u8]> {
        let mac = self.mac(b"issue", &[issuer.as_bytes(), &body]);
        body.extend_from_slice(&mac);
        body.into()
    }

    /// The body of something that `issuer` sealed.
    fn unseal<'a>(&self, sealed: &'a [u8], issuer: &str) -> Result<&'a [u8], Refusal> {
        let (body, mac) = sealed.split_last_chunk::<MAC_SIZE>().ok_or(MALFORMED)?;
        if self.mac(b"issue", &[issuer.as_bytes(), body]) == *mac {
            Ok(body)
        } else {
            Err(BAD_SIGNATURE)
        }
    }

    /// What a leaf says, if it is genuine; lifetime and revocation are each judge's own business.
    pub(crate) fn read_leaf(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let seal = end(leaf).ok_or(MALFORMED)?;
        if let Some(known) = lock(&self.judged).get(&seal)
            && (std::ptr::eq(&*known.leaf, leaf) || *known.leaf == *leaf)
        {
            return Ok(Arc::clone(known));
        }
        let mut rest = Reader(leaf);
        if leaf.len() != LEAF_SIZE || rest.take::<8>()? != *LEAF {
            return Err(MALFORMED);
        }
        let public_key = rest.take::<32>()?;
        let serial = rest.take::<SERIAL_SIZE>()?;
        let certified = Arc::new(Certified {
            id: node_id(&public_key),
            public_key,
            serial: Arc::from(serial),
            not_before: u64::from_be_bytes(rest.take()?),
            not_after: u64::from_be_bytes(rest.take()?),
            role: match rest.take::<1>()? {
                [0] => Role::Client,
                [1] => Role::Server,
                [2] => Role::Operator,
                _ => return Err(MALFORMED),
            },
            datacenter: rest.label()?,
            name: rest.label()?,
            zone: rest.label()?,
            rack: rest.label()?,
            cert_hash: first16(&sha256(&[leaf])),
            leaf: leaf.into(),
        });
        self.unseal(leaf, certified.datacenter.as_str())?;
        lock(&self.judged).insert(seal, Arc::clone(&certified));
        Ok(certified)
    }

    /// An authority with its revocation list, if both are genuine.
    fn read_authority(&self, certificate: &[u8], crl: &[u8]) -> Result<Known, Refusal> {
        let mut ca = Reader(self.unseal(certificate, "")?);
        if ca.take::<8>()? != *CA {
            return Err(MALFORMED);
        }
        let datacenter = ca.label()?;
        self.unseal(crl, datacenter.as_str())?;
        let list = SimList::read(crl)?;
        if list.issuer != issuer(datacenter.as_str()) {
            return Err(Refusal::UNKNOWN_ISSUER);
        }
        Ok(Known {
            authority: Some((datacenter, certificate.into())),
            list,
        })
    }

    /// What a process believes that starts with these authorities, and with what it kept.
    fn beginning(&self, authorities: &[Authority], kept: &[List]) -> Arc<Authorities> {
        let mut beginnings = lock(&self.beginnings);
        let known = beginnings.iter().find(|(from, _)| from == authorities);
        let mut begins = match known {
            Some((_, known)) => Arc::clone(known),
            None => {
                let read = |authority: &Authority| {
                    let known = self
                        .read_authority(&authority.certificate, &authority.crl)
                        .expect("the world's authorities are genuine");
                    (known.list.issuer, known)
                };
                let root = Known {
                    authority: None,
                    list: SimList::read(&self.root).expect("the world's own"),
                };
                let all = authorities.iter().map(read);
                let known: Arc<Authorities> =
                    Arc::new(all.chain([(root.list.issuer, root)]).collect());
                beginnings.push((authorities.to_vec(), Arc::clone(&known)));
                known
            }
        };
        drop(beginnings);
        for list in kept {
            let known = match &list.certificate {
                Some(certificate) => self.read_authority(certificate, &list.crl),
                None => SimList::read(&list.crl).map(|list| Known {
                    authority: None,
                    list,
                }),
            };
            let known = known.expect("kept as it was believed");
            let held = begins.get(&list.issuer);
            if held.is_none_or(|held| held.list.number < known.list.number) {
                Arc::make_mut(&mut begins).insert(list.issuer, known);
            }
        }
        begins
    }

    fn count(&self) -> [u8; 8] {
        self.issued.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }

    fn mac(&self, purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [&self.secret[..], purpose].iter().chain(parts) {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        into_array(&context.finish())
    }

    fn sign(&self, key: &[u8; 32], message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        let (left, right) = signature.split_at_mut(32);
        left.copy_from_slice(&self.mac(b"sign", &[key, message]));
        right.copy_from_slice(left);
        right.reverse();
        signature
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realm")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// One process's keys, and what it believes about authorities.
pub struct SimTrust {
    realm: Arc<Realm>,
    key: [u8; 32],
    lan_key: [u8; 32],
    own: Mutex<Arc<Certified>>,
    /// Shared until one of those who share it learns something.
    authorities: Mutex<Arc<Authorities>>,
    /// How far its wall clock is off, seconds.
    clock: AtomicI64,
    signed: AtomicU64,
    verified: AtomicU64,
    listed: AtomicU64,
}

/// What somebody believes about authorities, the root among them.
type Authorities = BTreeMap<Issuer, Known>;

/// An authority, or the root, with its list.
#[derive(Clone, Debug)]
struct Known {
    /// Datacenter and certificate.
    authority: Option<(Label, Arc<[u8]>)>,
    list: SimList,
}

impl Known {
    fn whose(&self) -> &str {
        let authority = self.authority.as_ref();
        authority.map_or("", |(datacenter, _)| datacenter.as_str())
    }
}

/// A revocation list.
#[derive(Clone, Debug)]
struct SimList {
    issuer: Issuer,
    number: u64,
    issued: u64,
    /// Serials of leaves, or issuers.
    revoked: BTreeSet<[u8; SERIAL_SIZE]>,
    crl: Arc<[u8]>,
}

impl SimList {
    fn read(crl: &[u8]) -> Result<Self, Refusal> {
        let (head, entries) = crl.split_at_checked(CRL_HEAD - MAC_SIZE).ok_or(MALFORMED)?;
        let (entries, _) = entries.split_last_chunk::<MAC_SIZE>().ok_or(MALFORMED)?;
        let (serials, []) = entries.as_chunks::<SERIAL_SIZE>() else {
            return Err(MALFORMED);
        };
        let mut head = Reader(head);
        if head.take::<8>()? != *CRL {
            return Err(MALFORMED);
        }
        Ok(Self {
            issuer: Issuer(head.take()?),
            number: u64::from_be_bytes(head.take()?),
            issued: u64::from_be_bytes(head.take()?),
            revoked: serials.iter().copied().collect(),
            crl: crl.into(),
        })
    }
}

/// The name of a datacenter's authority, which is also its serial; the root is nobody's datacenter.
fn issuer(whose: &str) -> Issuer {
    Issuer(first16(&sha256(&[b"authority", whose.as_bytes()])))
}

impl SimTrust {
    /// The trust of a process that starts with `identity`, `authorities`, lists that an earlier one `kept`, and a LAN key of
    /// this boot.
    pub fn new(
        realm: &Arc<Realm>,
        identity: &Identity,
        authorities: &[Authority],
        kept: &[List],
        lan_key: [u8; 32],
    ) -> Self {
        let certified = realm
            .read_leaf(&identity.leaf)
            .expect("the world issues only genuine leaves");
        Self {
            realm: Arc::clone(realm),
            key: identity.key,
            lan_key,
            own: Mutex::new(certified),
            authorities: Mutex::new(realm.beginning(authorities, kept)),
            clock: AtomicI64::new(0),
            signed: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            listed: AtomicU64::new(0),
        }
    }

    /// Puts a renewed certificate over the same key in place.
    pub fn renew(&self, leaf: &[u8]) -> Result<(), Refusal> {
        let certified = self.certify(leaf)?;
        *lock(&self.own) = certified;
        Ok(())
    }

    /// Sets its wall clock wrong by so many seconds.
    pub fn set_clock_off_by(&self, seconds: i64) {
        self.clock.store(seconds, Ordering::Relaxed);
    }

    /// Takes what is genuine, if it is news.
    fn take(&self, known: Known) -> Result<bool, Refusal> {
        if known.list.issued > self.unix_time() + AHEAD {
            return Err(Refusal("from_future"));
        }
        let mut authorities = lock(&self.authorities);
        let by = known.list.issuer;
        let root = authorities.get(&issuer(""));
        if root.is_some_and(|root| root.list.revoked.contains(&by.0)) {
            return Err(Refusal::REVOKED);
        }
        let held = authorities.get(&by);
        let news = held.is_none_or(|held| held.list.number < known.list.number);
        if news {
            Arc::make_mut(&mut authorities).insert(by, known);
        }
        Ok(news)
    }

    /// Lists whose signatures were checked so far.
    pub fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }

    /// Signatures made so far.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Signatures checked so far.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }
}

impl Trust for SimTrust {
    fn trust_domain(&self) -> &str {
        &self.realm.domain
    }

    fn certify(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let certified = self.certify_ended(leaf)?;
        if self.unix_time() > certified.not_after {
            return Err(Refusal("expired"));
        }
        Ok(certified)
    }

    fn certify_ended(&self, leaf: &[u8]) -> Result<Arc<Certified>, Refusal> {
        let certified = self.realm.read_leaf(leaf)?;
        if self.unix_time() < certified.not_before {
            return Err(Refusal("not_yet_valid"));
        }
        let authorities = lock(&self.authorities);
        let by = issuer(certified.datacenter.as_str());
        let known = authorities.get(&by).ok_or(Refusal::UNKNOWN_ISSUER)?;
        let serial = <&[u8; SERIAL_SIZE]>::try_from(&*certified.serial).map_err(|_| MALFORMED)?;
        let root = authorities.get(&issuer(""));
        let cut_off = root.is_some_and(|root| root.list.revoked.contains(&by.0));
        if cut_off || known.list.revoked.contains(serial) {
            Err(Refusal::REVOKED)
        } else {
            Ok(certified)
        }
    }

    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        self.verified.fetch_add(1, Ordering::Relaxed);
        self.realm.sign(key, message) == *signature
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signed.fetch_add(1, Ordering::Relaxed);
        self.realm.sign(&self.key, message)
    }

    fn own(&self) -> Arc<Certified> {
        Arc::clone(&lock(&self.own))
    }

    fn authorities(&self) -> Vec<Authority> {
        let known = lock(&self.authorities);
        let mut all: Vec<Authority> = known.values().filter_map(entry).collect();
        all.sort_by(|a, b| a.datacenter.cmp(&b.datacenter));
        all
    }

    fn admit_authority(&self, certificate: &[u8], crl: &[u8]) -> Result<bool, Refusal> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        let known = self.realm.read_authority(certificate, crl)?;
        self.take(known)
    }

    fn lists(&self) -> Vec<List> {
        let known = lock(&self.authorities);
        let root = known.get(&issuer(""));
        let valid = |known: &&Known| {
            !root.is_some_and(|root| root.list.revoked.contains(&known.list.issuer.0))
        };
        let list = |known: &Known| List {
            issuer: known.list.issuer,
            datacenter: known.authority.as_ref().map(|(name, _)| name.clone()),
            number: known.list.number,
            certificate: known.authority.as_ref().map(|(_, ca)| Arc::clone(ca)),
            crl: Arc::clone(&known.list.crl),
        };
        known.values().filter(valid).map(list).collect()
    }

    fn weigh_list(&self, crl: &[u8]) -> Result<Weighed, Refusal> {
        let list = SimList::read(crl)?;
        let authorities = lock(&self.authorities);
        let held = authorities
            .get(&list.issuer)
            .ok_or(Refusal::UNKNOWN_ISSUER)?;
        Ok(Weighed {
            number: list.number,
            held: Some(held.list.number),
        })
    }

    fn admit_list(&self, crl: &[u8]) -> Result<bool, Refusal> {
        let list = SimList::read(crl)?;
        let known = lock(&self.authorities).get(&list.issuer).cloned();
        let known = known.ok_or(Refusal::UNKNOWN_ISSUER)?;
        self.listed.fetch_add(1, Ordering::Relaxed);
        self.realm.unseal(crl, known.whose())?;
        self.take(Known { list, ..known })
    }

    fn unix_time(&self) -> u64 {
        let off = self.clock.load(Ordering::Relaxed);
        self.realm.unix_time().saturating_add_signed(off)
    }

    fn lan_public_key(&self) -> [u8; 32] {
        self.lan_key
    }

    fn recall(&self, bytes: &[u8]) -> Option<Verified<Claim>> {
        lock(&self.realm.claims).get(bytes)
    }

    fn remember(&self, claim: &Verified<Claim>) {
        lock(&self.realm.claims).insert(claim);
    }
}

impl fmt::Debug for SimTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTrust")
            .field("own", &lock(&self.own).name)
            .finish_non_exhaustive()
    }
}

const MALFORMED: Refusal = Refusal("malformed");
const BAD_SIGNATURE: Refusal = Refusal("bad_signature");

fn entry(known: &Known) -> Option<Authority> {
    let (datacenter, certificate) = known.authority.clone()?;
    Some(Authority {
        datacenter,
        certificate,
        crl: Arc::clone(&known.list.crl),
        crl_number: known.list.number,
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(*head)
    }

    fn label(&mut self) -> Result<Label, Refusal> {
        let [length] = self.take::<1>()?;
        let (text, rest) = self.0.split_at_checked(length.into()).ok_or(MALFORMED)?;
        self.0 = rest;
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| Label::new(text).ok())
            .ok_or(MALFORMED)
    }
}

fn put_label(out: &mut Vec<u8>, label: &Label) {
    out.push(u8::try_from(label.as_str().len()).unwrap_or(u8::MAX));
    out.extend_from_slice(label.as_str().as_bytes());
}

fn node_id(key: &[u8; 32]) -> NodeId {
    NodeId(first16(&sha256(&[key])))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    into_array(&context.finish())
}

fn into_array(digest: &digest::Digest) -> [u8; 32] {
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn first16(hash: &[u8; 32]) -> [u8; 16] {
    let mut head = [0; 16];
    head.copy_from_slice(&hash[..16]);
    head
}

/// A panic elsewhere leaves nothing half-written here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 2_000_000_000;

    fn claimant(name: &str) -> Claimant {
        let label = |text| Label::new(text).expect("a label");
        Claimant {
            datacenter: label("eu-west"),
            name: label(name),
            zone: label("a"),
            rack: label("r1"),
            role: Role::Server,
        }
    }

    fn pair() -> (Arc<Realm>, Identity, SimTrust) {
        let realm = Realm::new([7; 32], "sim.test", NOW);
        let identity = realm.identity(&claimant("s1"), NOW + 100);
        let authority = realm.authority(&claimant("s1").datacenter, &BTreeSet::new(), 1);
        let trust = SimTrust::new(&realm, &identity, &[authority], &[], [1; 32]);
        (realm, identity, trust)
    }

    #[test]
    fn a_genuine_leaf_is_read_back() {
        let (_, identity, trust) = pair();
        let certified = trust.certify(&identity.leaf).expect("genuine");
        assert_eq!(
            (
                certified.name.as_str(),
                certified.zone.as_str(),
                certified.role
            ),
            ("s1", "a", Role::Server)
        );
        assert_eq!(identity.leaf.len(), LEAF_SIZE);
        assert_eq!(certified, trust.own());
    }

    #[test]
    fn no_bit_of_a_leaf_can_be_changed() {
        let (_, identity, trust) = pair();
        for at in 0..identity.leaf.len() {
            let mut forged = identity.leaf.to_vec();
            forged[at] ^= 1;
            assert!(trust.certify(&forged).is_err(), "byte {at}");
        }
        assert!(trust.certify(&identity.leaf[1..]).is_err());
    }

    #[test]
    fn only_the_key_holder_signs() {
        let (realm, identity, trust) = pair();
        let other = realm.identity(&claimant("s2"), NOW + 100);
        let signature = trust.sign(b"hello");
        assert!(trust.verify(&identity.key, b"hello", &signature));
        assert!(!trust.verify(&identity.key, b"hallo", &signature));
        assert!(!trust.verify(&other.key, b"hello", &signature));
        assert_eq!((trust.signed(), trust.verified()), (1, 3));
    }

    #[test]
    fn certificates_end_and_are_renewed() {
        let (realm, identity, trust) = pair();
        realm.set_unix_time(NOW + 101);
        assert_eq!(trust.certify(&identity.leaf), Err(Refusal("expired")));
        let renewed = realm.issue(&claimant("s1"), &identity.key, NOW + 200);
        trust.renew(&renewed).expect("valid");
        let own = trust.own();
        assert_eq!((&own.leaf, own.id), (&renewed, node_id(&identity.key)));
    }

    #[test]
    fn revocation_takes_a_newer_list_from_a_known_issuer() {
        let (realm, identity, trust) = pair();
        let serial: [u8; 16] = (*trust.own().serial).try_into().expect("16 bytes");
        let eu = claimant("s1").datacenter;
        let revoking = realm.authority(&eu, &BTreeSet::from([serial]), 2);
        assert_eq!(
            trust.admit_authority(&revoking.certificate, &revoking.crl),
            Ok(true)
        );
        assert_eq!(trust.certify(&identity.leaf), Err(Refusal::REVOKED));
        let older = realm.authority(&eu, &BTreeSet::new(), 1);
        assert_eq!(
            trust.admit_authority(&older.certificate, &older.crl),
            Ok(false)
        );
        assert_eq!(trust.certify(&identity.leaf), Err(Refusal::REVOKED));
        assert!(
            trust
                .admit_authority(&older.certificate, &identity.leaf)
                .is_err()
        );

        let us = Claimant {
            datacenter: Label::new("us-east").expect("a label"),
            ..claimant("s1")
        };
        let stranger = realm.identity(&us, NOW + 100);
        assert_eq!(trust.certify(&stranger.leaf), Err(Refusal::UNKNOWN_ISSUER));
    }
}
