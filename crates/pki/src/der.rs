//! Splits a certificate or CRL into what was signed and the signature, before anything else looks
//! at it. With one signature algorithm in the whole system the outer shape is fixed, so a signature
//! can be checked by comparing constants: no parser ever sees bytes that no authority of ours signed
//! (a CRL parser has panicked on such bytes before, RUSTSEC-2026-0104).

/// `AlgorithmIdentifier` Ed25519 (RFC 8410), then a BIT STRING header for 64 bytes.
const TAIL: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];
/// The start of a version 2 `TBSCertList` signed with Ed25519.
const CRL_HEAD: [u8; 10] = [0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
const SEQUENCE: u8 = 0x30;

/// A DER object of the form `SEQUENCE { tbs, Ed25519, signature }`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) tbs: &'a [u8],
    pub(crate) signature: &'a [u8; 64],
}

impl<'a> Signed<'a> {
    /// Splits `der`; `None` unless it has exactly the expected shape.
    pub(crate) fn split(der: &'a [u8]) -> Option<Self> {
        let (body, rest) = value(der, SEQUENCE)?;
        let (tbs, tail) = element(body, SEQUENCE)?;
        let signature = tail.strip_prefix(&TAIL)?;
        rest.is_empty().then_some(Self {
            tbs,
            signature: signature.try_into().ok()?,
        })
    }

    /// The contents of the issuer name, if this is a CRL.
    pub(crate) fn crl_issuer(&self) -> Option<&'a [u8]> {
        let (body, _) = value(self.tbs, SEQUENCE)?;
        let rest = body.strip_prefix(&CRL_HEAD)?;
        value(rest, SEQUENCE).map(|(name, _)| name)
    }
}

/// The content of the CRL number extension, its identifier first (RFC 5280 §5.2.3).
const CRL_NUMBER: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x14];

impl Signed<'_> {
    /// The number of a CRL. Nobody has looked at the signature yet, so this walks over lengths and believes nothing.
    pub(crate) fn crl_number(&self) -> Option<u64> {
        const UTC: u8 = 0x17;
        const GENERALIZED: u8 = 0x18;
        const EXTENSIONS: u8 = 0xa0;
        let (body, _) = value(self.tbs, SEQUENCE)?;
        let rest = body.strip_prefix(&CRL_HEAD)?;
        let mut rest = element(rest, SEQUENCE)?.1;
        for passed in [UTC, GENERALIZED, UTC, GENERALIZED, SEQUENCE] {
            rest = element(rest, passed).map_or(rest, |(_, after)| after);
        }
        let (extensions, _) = value(rest, EXTENSIONS)?;
        let (mut extensions, _) = value(extensions, SEQUENCE)?;
        loop {
            let (extension, after) = value(extensions, SEQUENCE)?;
            extensions = after;
            if let Some(content) = extension.strip_prefix(&CRL_NUMBER) {
                let (content, _) = value(content, 0x04)?;
                let (number, _) = value(content, 0x02)?;
                return unsigned(number);
            }
        }
    }
}

/// A DER integer that is neither negative nor larger than 64 bits.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    let bytes = match bytes {
        [0, rest @ ..] => rest,
        [first, ..] if *first < 0x80 => bytes,
        _ => return None,
    };
    let fits = bytes.len() <= 8;
    let sum = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    fits.then(|| bytes.iter().fold(0, sum))
}

/// The contents of a name given with its SEQUENCE header, as `webpki` wants to compare it.
pub(crate) fn contents(name: &[u8]) -> Option<&[u8]> {
    value(name, SEQUENCE).map(|(contents, _)| contents)
}

/// The first element of `input`, header included, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (header, length) = header(input, tag)?;
    input.split_at_checked(header.checked_add(length)?)
}

/// The contents of the first element of `input`, and what follows it.
fn value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (header, _) = header(input, tag)?;
    let (element, rest) = element(input, tag)?;
    Some((element.get(header..)?, rest))
}

/// Lengths of header and contents; DER, so only the shortest form, and at most 64 KiB.
fn header(input: &[u8], tag: u8) -> Option<(usize, usize)> {
    match *input {
        [t, length, ..] if t == tag && length < 0x80 => Some((2, usize::from(length))),
        [t, 0x81, length, ..] if t == tag && length >= 0x80 => Some((3, usize::from(length))),
        [t, 0x82, high, low, ..] if t == tag && high > 0 => {
            Some((4, usize::from(u16::from_be_bytes([high, low]))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_shape_is_split() {
        let mut der = vec![0x30, 76, SEQUENCE, 0x00];
        der.extend(TAIL);
        der.extend([7; 64]);
        let signed = Signed::split(&der).unwrap();
        assert_eq!(signed.tbs, [SEQUENCE, 0]);
        assert_eq!(signed.signature, &[7; 64]);
        for length in 0..der.len() {
            assert!(Signed::split(&der[..length]).is_none());
        }
        der.push(0);
        assert!(Signed::split(&der).is_none());
    }

    #[test]
    fn lengths_must_be_shortest() {
        assert_eq!(header(&[0x30, 0x81, 0x7f], 0x30), None);
        assert_eq!(header(&[0x30, 0x82, 0x00, 0xff], 0x30), None);
        assert_eq!(header(&[0x30, 0x80], 0x30), None);
        assert_eq!(header(&[0x30, 0x82, 0x01, 0x00], 0x30), Some((4, 256)));
        assert_eq!(header(&[], 0x30), None);
    }
}
