//! What survives a restart: the boot counter, learnt addresses and removals in force, in one small file.
//!
//! ```text
//!  0..8   "PELAGO\0\1": magic and version
//!  8..12  length of the body, big endian
//! 12..44  SHA-256 of the body
//! 44..    body: CBOR of trust domain, node id and memory
//! ```
//!
//! Written to a temporary file, synced, renamed, directory synced: after a power cut either the old or the new state is
//! there. Anything else that is found (damaged, cut, of another federation or node) is the same as nothing, loudly: peers
//! remember a node's last boot, so losing the file is harmless and trusting a wrong one would not be.

use aws_lc_rs::digest::{SHA256, digest};
use pelago_proto::{federation::Memory, identity::NodeId, wire::Item};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

const MAGIC: [u8; 8] = *b"PELAGO\0\x01";
const HEADER: usize = 44;
/// Largest file that is read: as many addresses and removals as are kept fit.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Addresses kept per pool.
const MAX_ADDRESSES: usize = 256;
const FILE: &str = "state";

/// Why remembered state was not used. The node starts as if it had none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is damaged")]
    Damaged,
    #[error("belongs to another node or trust domain")]
    Foreign,
}

/// One node's state file.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    trust_domain: String,
    me: NodeId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    trust_domain: String,
    node: NodeId,
    boot: u64,
    lan_peers: Vec<SocketAddr>,
    wan_peers: Vec<SocketAddr>,
    /// Claims and their authors' certificates. Files of before have none.
    #[serde(default)]
    removals: Vec<(ByteBuf, ByteBuf)>,
}

impl Store {
    pub(crate) fn new(dir: &Path, trust_domain: &str, me: NodeId) -> Self {
        Self {
            dir: dir.into(),
            trust_domain: trust_domain.into(),
            me,
        }
    }

    /// What was remembered; `Ok(None)` at the very first start.
    pub(crate) fn load(&self) -> Result<Option<Memory>, LoadError> {
        let file = match File::open(self.dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        self.decode(&bytes).map(Some)
    }

    /// Replaces what is remembered, durably.
    pub(crate) fn save(&self, memory: &Memory) -> io::Result<()> {
        replace(&self.dir, FILE, &self.encode(memory)?)
    }

    pub(crate) fn encode(&self, memory: &Memory) -> io::Result<Vec<u8>> {
        Self::around(&self.body(memory)?)
    }

    /// What is kept, without what tells that it is whole.
    pub(crate) fn body(&self, memory: &Memory) -> io::Result<Vec<u8>> {
        let some = |all: &[SocketAddr]| all.iter().copied().take(MAX_ADDRESSES).collect();
        let body = Body {
            trust_domain: self.trust_domain.clone(),
            node: self.me,
            boot: memory.boot,
            lan_peers: some(&memory.lan_peers),
            wan_peers: some(&memory.wan_peers),
            removals: memory.removals.iter().filter_map(removal_out).collect(),
        };
        let mut encoded = Vec::new();
        ciborium::into_writer(&body, &mut encoded).map_err(io::Error::other)?;
        Ok(encoded)
    }

    /// The file around a body.
    pub(crate) fn around(body: &[u8]) -> io::Result<Vec<u8>> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let hash = digest(&SHA256, body);
        Ok([&MAGIC, length.to_be_bytes().as_slice(), hash.as_ref(), body].concat())
    }

    /// The body of a file, if it is whole.
    pub(crate) fn within(bytes: &[u8]) -> Result<&[u8], LoadError> {
        let (header, body) = bytes.split_at_checked(HEADER).ok_or(LoadError::Damaged)?;
        let length = u32::try_from(body.len())
            .map_err(|_| LoadError::Damaged)?
            .to_be_bytes();
        let expected = [&MAGIC, length.as_slice(), digest(&SHA256, body).as_ref()].concat();
        if header == expected {
            Ok(body)
        } else {
            Err(LoadError::Damaged)
        }
    }

    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Memory, LoadError> {
        let body: Body =
            ciborium::from_reader(Self::within(bytes)?).map_err(|_| LoadError::Damaged)?;
        if body.trust_domain != self.trust_domain || body.node != self.me {
            return Err(LoadError::Foreign);
        }
        Ok(Memory {
            boot: body.boot,
            lan_peers: body.lan_peers,
            wan_peers: body.wan_peers,
            removals: body.removals.into_iter().map(removal_in).collect(),
        })
    }
}

/// Replaces a file: after a power cut either the old or the new one is there. Nobody else may read it.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let temporary = dir.join(format!("{name}.new"));
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

fn removal_out(removal: &Item) -> Option<(ByteBuf, ByteBuf)> {
    let bytes = |bytes: &[u8]| ByteBuf::from(bytes.to_vec());
    Some((bytes(&removal.claim), bytes(removal.leaf.as_ref()?)))
}

fn removal_in((claim, leaf): (ByteBuf, ByteBuf)) -> Item {
    Item {
        claim: claim.into_vec().into(),
        leaf: Some(leaf.into_vec().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let peers = |port| {
            (0..3)
                .map(|i| SocketAddr::from(([10, 0, 0, i], port)))
                .collect()
        };
        Memory {
            boot: 41,
            lan_peers: peers(8702),
            wan_peers: peers(8703),
            removals: vec![removal(1), removal(2)],
        }
    }

    fn removal(n: u8) -> Item {
        Item {
            claim: vec![n; 120].into(),
            leaf: Some(vec![n; 420].into()),
        }
    }

    fn store(dir: &Path) -> Store {
        Store::new(dir, "example.org", NodeId([3; 16]))
    }

    #[test]
    fn what_was_saved_is_loaded_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().expect("dir");
        let nested = dir.path().join("a/b");
        let store = store(&nested);
        assert!(
            store.load().expect("no error").is_none(),
            "the first start has nothing"
        );
        store.save(&memory()).expect("saved");
        assert_eq!(store.load().expect("loads"), Some(memory()));
        assert_eq!(fs::read_dir(&nested).expect("dir").count(), 1);
    }

    #[test]
    fn a_damaged_or_cut_file_is_never_believed() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let good = store.encode(&memory()).expect("encodes");
        let path = dir.path().join(FILE);
        for length in 0..good.len() {
            fs::write(&path, good.get(..length).expect("part")).expect("written");
            assert!(
                matches!(store.load(), Err(LoadError::Damaged)),
                "cut to {length}"
            );
        }
        for at in 0..good.len() {
            for mask in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                *bad.get_mut(at).expect("byte") ^= mask;
                assert!(
                    matches!(store.decode(&bad), Err(LoadError::Damaged)),
                    "byte {at} ^ {mask}"
                );
            }
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(store.decode(&longer), Err(LoadError::Damaged)));
        fs::write(&path, vec![0; 8 << 20]).expect("written");
        assert!(
            matches!(store.load(), Err(LoadError::Damaged)),
            "a huge file is not read to its end"
        );
    }

    #[test]
    fn another_nodes_or_federations_file_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        store(dir.path()).save(&memory()).expect("saved");
        let other_node = Store::new(dir.path(), "example.org", NodeId([4; 16]));
        let other_domain = Store::new(dir.path(), "example.net", NodeId([3; 16]));
        assert!(matches!(other_node.load(), Err(LoadError::Foreign)));
        assert!(matches!(other_domain.load(), Err(LoadError::Foreign)));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("file");
        fs::write(&file, b"").expect("written");
        assert!(store(&file.join("below")).save(&memory()).is_err());
        assert!(store(&file).load().is_err());
    }

    #[test]
    fn a_full_table_of_removals_fits() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let largest = Item {
            claim: vec![0; pelago_proto::claim::MAX_CLAIM].into(),
            leaf: Some(vec![0; pelago_pki::MAX_LEAF].into()),
        };
        let full = Memory {
            removals: vec![largest; pelago_proto::roster::MAX_REMOVALS],
            ..memory()
        };
        store.save(&full).expect("saved");
        assert_eq!(store.load().expect("loads"), Some(full));
    }

    #[test]
    fn a_file_from_before_removals_were_kept_is_read() {
        #[derive(Serialize)]
        struct Before {
            trust_domain: String,
            node: NodeId,
            boot: u64,
            lan_peers: Vec<SocketAddr>,
            wan_peers: Vec<SocketAddr>,
        }
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let before = Before {
            trust_domain: "example.org".into(),
            node: NodeId([3; 16]),
            boot: 9,
            lan_peers: Vec::new(),
            wan_peers: Vec::new(),
        };
        let mut body = Vec::new();
        ciborium::into_writer(&before, &mut body).expect("writes");
        let file = Store::around(&body).expect("a file");
        assert_eq!(store.decode(&file).expect("reads").boot, 9);
    }

    #[test]
    fn the_file_stays_small_whatever_was_met() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let many: Vec<_> = (0..100_000u32)
            .map(|i| SocketAddr::from((i.to_be_bytes(), 8702)))
            .collect();
        store
            .save(&Memory {
                boot: 1,
                lan_peers: many.clone(),
                wan_peers: many,
                removals: Vec::new(),
            })
            .expect("saved");
        let loaded = store.load().expect("loads").expect("some");
        assert_eq!(loaded.lan_peers.len(), MAX_ADDRESSES);
    }
}
