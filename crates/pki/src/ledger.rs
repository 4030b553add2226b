//! What an authority has issued. A renewed certificate keeps its key, and the older one stays valid
//! until its end: revoking a node means revoking all of them, so they have to be known.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::cert::Certified;
use crate::files::{self, FileError};
use crate::key::hex;

/// One certificate issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) serial: Vec<u8>,
    pub(crate) not_after: u64,
    pub(crate) node_id: String,
    pub(crate) node: String,
}

/// Appends what is about to be handed out; on disk before the certificate is.
pub(crate) fn append(path: &Path, leaf: &Certified) -> Result<(), FileError> {
    let line = format!(
        "{} {} {} {}\n",
        hex(&leaf.serial),
        leaf.not_after,
        hex(&leaf.node_id),
        leaf.name.node
    );
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| FileError::io(path, &error))
}

/// Everything issued so far that has not ended by `now`.
pub(crate) fn read(path: &Path, now: u64) -> Result<Vec<Entry>, FileError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8(files::read(path)?);
    let text = text.map_err(|error| FileError::content(path, error))?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let entry = parse(line)
            .ok_or_else(|| FileError::content(path, format!("line {} is damaged", number + 1)))?;
        if entry.not_after >= now {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Drops what has ended; returns the rest.
pub(crate) fn prune(path: &Path, now: u64) -> Result<Vec<Entry>, FileError> {
    let entries = read(path, now)?;
    let text: String = entries
        .iter()
        .map(|e| {
            let serial = hex(&e.serial);
            format!("{serial} {} {} {}\n", e.not_after, e.node_id, e.node)
        })
        .collect();
    if path.exists() {
        files::write(path, text.as_bytes(), files::Write::Secret)?;
    }
    Ok(entries)
}

fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let serial = fields.next()?;
    let byte = |at: usize| u8::from_str_radix(serial.get(at..at + 2)?, 16).ok();
    let entry = Entry {
        serial: (0..serial.len())
            .step_by(2)
            .map(byte)
            .collect::<Option<_>>()?,
        not_after: fields.next()?.parse().ok()?,
        node_id: fields.next()?.to_owned(),
        node: fields.next()?.to_owned(),
    };
    fields.next().is_none().then_some(entry)
}
