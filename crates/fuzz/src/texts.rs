//! What people write: configuration files, and requests to the API.

/// Any text as a configuration file: see `pelago::fuzz::configuration`.
///
/// # Panics
///
/// If what is promised there does not hold.
pub fn configuration(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        pelago::fuzz::configuration(text);
    }
}

/// Any text as the target of a request to the API, after a byte that says whether it is a changing call: see
/// `pelago::fuzz::request`.
///
/// # Panics
///
/// If what is promised there does not hold.
pub fn request(bytes: &[u8]) {
    let Some((kind, target)) = bytes.split_first() else {
        return;
    };
    if let Ok(target) = std::str::from_utf8(target) {
        pelago::fuzz::request(target, *kind == b'!');
    }
}
