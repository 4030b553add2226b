//! Files that hold keys, certificates and CRLs: written whole or not at all, private keys never
//! readable by anybody else, not even for the moment in which they are written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::key::random;

/// The largest file read by this crate; a bundle of 256 authorities is far smaller.
const MAX_FILE: u64 = 4 << 20;

/// What went wrong with a file, naming it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A private key that others can read or replace.
    #[error("{}: private key with mode {mode:04o}: others can read it; run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A private key that belongs to somebody else, who could change it.
    #[error("{}: private key owned by uid {owner} (mode {mode:04o}), but this process runs as uid {euid}; run: chown {euid} {}", path.display(), path.display())]
    Owner {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        euid: u32,
    },
    /// Something is there already and is not to be replaced.
    #[error("{}: exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Not what its name or place promises.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl FileError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    pub(crate) fn content(path: &Path, reason: impl ToString) -> Self {
        Self::Content {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The effective user of this process, asked without unsafe code.
pub(crate) fn effective_uid() -> io::Result<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1))
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self/status names no user"))
}

/// Reads a private key, refusing one that anybody else could have read or replaced.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |error: io::Error| FileError::io(path, &error);
    let file = File::open(path).map_err(failed)?;
    // Of the open file, not of the path: nothing can be swapped in between.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(FileError::Mode { path, mode });
    }
    let euid = effective_uid().map_err(failed)?;
    if metadata.uid() != euid {
        return Err(FileError::Owner {
            path: path.to_owned(),
            mode,
            owner: metadata.uid(),
            euid,
        });
    }
    // Sized once, so that no half-filled buffer with key bytes is left behind unwiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let read = file.take(4096).read_to_end(&mut bytes).map_err(failed)?;
    if read == 4096 {
        return Err(FileError::content(path, "too large for a private key"));
    }
    Ok(bytes)
}

/// Reads a public file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error: io::Error| FileError::io(path, &error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::content(path, "too large"));
    }
    Ok(bytes)
}

/// Creates a directory, and those above it, for this user only; one that exists is left as it is.
pub(crate) fn create_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| FileError::io(path, &error))
}

/// Whether a written file may be read by others, and whether it may replace one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// A private key; replaces nothing.
    NewSecret,
    /// A private key that replaces the previous one (`renew --rekey`).
    Secret,
    /// A certificate or CRL; replaces nothing.
    New,
    /// A certificate or CRL, in place of the previous one.
    Replace,
}

/// Writes a whole file or nothing: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write(path: &Path, bytes: &[u8], how: Write) -> Result<(), FileError> {
    if matches!(how, Write::New | Write::NewSecret) && path.symlink_metadata().is_ok() {
        return Err(FileError::Exists(path.to_owned()));
    }
    let failed = |error: io::Error| FileError::io(path, &error);
    let mode = match how {
        Write::NewSecret | Write::Secret => 0o600,
        Write::New | Write::Replace => 0o644,
    };
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let suffix = u64::from_be_bytes(random().map_err(|error| failed(io::Error::other(error)))?);
    let temporary = directory.join(format!(".{suffix:016x}.tmp"));
    let result = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all());
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_owns_what_it_creates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let owner = file.as_file().metadata().unwrap().uid();
        assert_eq!(effective_uid().unwrap(), owner);
    }

    #[test]
    fn nothing_new_replaces_anything_and_no_temporary_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"1", Write::New).unwrap();
        assert_eq!(
            write(&path, b"2", Write::New),
            Err(FileError::Exists(path.clone()))
        );
        write(&path, b"3", Write::Replace).unwrap();
        assert_eq!(read(&path).unwrap(), b"3");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
