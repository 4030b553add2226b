//! The strict gate before the decoder: one value has one encoding, and nothing allocates before it was counted.
//!
//! A general CBOR decoder accepts many encodings of one value (long integers, tags, indefinite lengths, trailing bytes),
//! which would let a relay change bytes without changing meaning, and reserves memory for lengths it has not seen. So
//! input passes three steps: a scan that allows only the deterministic subset of RFC 8949 §4.2 that Pelago uses, the
//! decoder, and a comparison of the re-encoded value with the input.
//!
//! Datagrams come by the hundred a second, most with news that is known already: they are read by a [`Reader`], which
//! knows the shape beforehand and accepts nothing but shortest forms, in one step.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Deepest nesting that a message may have.
pub const MAX_DEPTH: usize = 6;

// Major types, and the simple values that are used.
const NUMBER: u8 = 0;
const BYTES: u8 = 2;
const ARRAY: u8 = 4;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// Most items (heads of any kind) in one message.
pub const MAX_ITEMS: usize = 65_536;

/// Why bytes were not taken for a value. Always the sender's fault; nothing was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The input ends inside a value.
    #[error("truncated")]
    Truncated,
    /// Bytes follow the value.
    #[error("trailing bytes")]
    Trailing,
    /// An encoding outside the subset: tags, floats, maps, indefinite lengths, long integers, undefined.
    #[error("not in the deterministic subset")]
    Subset,
    /// Nested deeper than [`MAX_DEPTH`] or more items than [`MAX_ITEMS`].
    #[error("too deep or too many items")]
    Limit,
    /// Well-formed, but not the value expected here.
    #[error("unexpected shape")]
    Shape,
}

/// Decodes one value that fills `bytes` completely.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, Malformed> {
    scan(bytes)?;
    let value: T =
        ciborium::de::from_reader_with_recursion_limit(bytes, 16).map_err(|_| Malformed::Shape)?;
    let mut same = Comparing { expected: bytes };
    ciborium::into_writer(&value, &mut same).map_err(|_| Malformed::Subset)?;
    if same.expected.is_empty() {
        Ok(value)
    } else {
        Err(Malformed::Subset)
    }
}

/// Encodes a value of fixed shape (tuples, integers, text, byte strings, booleans, options). Such values cannot fail.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing into a vector cannot fail, and our types have no failing serializers.
    let written = ciborium::into_writer(value, &mut bytes);
    debug_assert!(written.is_ok());
    bytes
}

/// Reads a message of known shape, value by value, in the only form in which each may be written.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From the beginning of these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// An array of exactly so many values, which follow.
    pub fn array(&mut self, values: u64) -> Result<(), Malformed> {
        if self.head(ARRAY)? == values {
            Ok(())
        } else {
            Err(Malformed::Shape)
        }
    }

    /// An array of values of one kind.
    pub fn list<T>(
        &mut self,
        mut value: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let values = self.head(ARRAY)?;
        // Nothing is reserved: the count may be forged.
        (0..values).map(|_| value(self)).collect()
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, Malformed> {
        self.head(NUMBER)
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.head(BYTES)?).map_err(|_| Malformed::Truncated)?;
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A byte string of known length.
    pub fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes()?.try_into().map_err(|_| Malformed::Shape)
    }

    /// Yes or no.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        let flag = match self.0.first() {
            Some(&FALSE) => false,
            Some(&TRUE) => true,
            Some(_) => return Err(Malformed::Shape),
            None => return Err(Malformed::Truncated),
        };
        self.skip_one();
        Ok(flag)
    }

    /// A value or nothing.
    pub fn optional<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.0.first() == Some(&NULL) {
            self.skip_one();
            Ok(None)
        } else {
            value(self).map(Some)
        }
    }

    /// Whether everything was read.
    pub const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }

    fn head(&mut self, major: u8) -> Result<u64, Malformed> {
        let (&head, mut rest) = self.0.split_first().ok_or(Malformed::Truncated)?;
        if head >> 5 != major {
            return Err(Malformed::Shape);
        }
        let argument = argument(head & 0x1f, &mut rest)?;
        self.0 = rest;
        Ok(argument)
    }

    fn skip_one(&mut self) {
        self.0 = self.0.get(1..).unwrap_or_default();
    }
}

/// A writer that accepts exactly the expected bytes: re-encoding is compared without a second buffer.
struct Comparing<'a> {
    expected: &'a [u8],
}

impl std::io::Write for Comparing<'_> {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        match self.expected.strip_prefix(written) {
            Some(rest) => {
                self.expected = rest;
                Ok(written.len())
            }
            None => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Walks over one value and refuses everything outside the subset. No allocation.
fn scan(bytes: &[u8]) -> Result<(), Malformed> {
    let mut rest = bytes;
    // How many items are still open at each depth; `left[0]` is the message itself.
    let mut left = [0_u64; MAX_DEPTH + 1];
    let mut depth = 0;
    let mut items = 0;
    left[0] = 1;
    loop {
        while left.get(depth).is_none_or(|l| *l == 0) {
            if depth == 0 {
                return if rest.is_empty() {
                    Ok(())
                } else {
                    Err(Malformed::Trailing)
                };
            }
            depth -= 1;
        }
        if let Some(l) = left.get_mut(depth) {
            *l -= 1;
        }
        items += 1;
        if items > MAX_ITEMS {
            return Err(Malformed::Limit);
        }
        let (&head, tail) = rest.split_first().ok_or(Malformed::Truncated)?;
        rest = tail;
        let (major, info) = (head >> 5, head & 0x1f);
        if major == 7 {
            // false, true, null
            if !(20..=22).contains(&info) {
                return Err(Malformed::Subset);
            }
            continue;
        }
        let argument = argument(info, &mut rest)?;
        match major {
            0 | 1 => {}
            2 | 3 => {
                let length = usize::try_from(argument).map_err(|_| Malformed::Truncated)?;
                rest = rest.get(length..).ok_or(Malformed::Truncated)?;
            }
            4 => {
                // Each element takes at least one byte: a forged count ends here, before anything is reserved.
                if argument > rest.len() as u64 {
                    return Err(Malformed::Truncated);
                }
                depth += 1;
                *left.get_mut(depth).ok_or(Malformed::Limit)? = argument;
            }
            _ => return Err(Malformed::Subset),
        }
    }
}

/// The argument of a head, which must be in its shortest form.
fn argument(info: u8, rest: &mut &[u8]) -> Result<u64, Malformed> {
    let length = match info {
        0..=23 => return Ok(u64::from(info)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(Malformed::Subset),
    };
    let (bytes, tail) = rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *rest = tail;
    let value = bytes.iter().fold(0_u64, |v, b| v << 8 | u64::from(*b));
    let shortest = match length {
        1 => value >= 24,
        2 => value > 0xff,
        4 => value > 0xffff,
        _ => value > 0xffff_ffff,
    };
    if shortest {
        Ok(value)
    } else {
        Err(Malformed::Subset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_bytes::ByteBuf;

    type Sample = (u64, String, Vec<ByteBuf>, Option<bool>, i64);

    fn sample() -> Sample {
        (
            300,
            "abc".into(),
            vec![ByteBuf::from(vec![1, 2, 3])],
            None,
            -19,
        )
    }

    #[test]
    fn a_value_survives_the_round_trip() {
        assert_eq!(decode::<Sample>(&encode(&sample())), Ok(sample()));
    }

    #[test]
    fn other_encodings_of_the_same_value_are_refused() {
        for (bytes, why) in [
            (&[0x18, 0x07][..], "long integer"),
            (&[0x1b, 0, 0, 0, 0, 0, 0, 0, 7], "eight-byte integer"),
            (&[0xd8, 0x64, 0x07], "unknown tag"),
            (&[0xc2, 0x41, 0x07], "bignum"),
            (&[0x07, 0xde, 0xad], "trailing bytes"),
            (&[0xf9, 0x47, 0x00], "half float"),
            (&[0xf7], "undefined"),
        ] {
            assert!(decode::<u64>(bytes).is_err(), "{why}");
        }
        assert!(
            decode::<(u64,)>(&[0x9f, 0x07, 0xff]).is_err(),
            "indefinite array"
        );
        assert!(
            decode::<String>(&[0x7f, 0x61, 0x61, 0xff]).is_err(),
            "indefinite text"
        );
        assert!(decode::<String>(&[0x41, 0x61]).is_err(), "bytes for text");
    }

    #[test]
    fn forged_lengths_and_deep_nesting_end_before_anything_is_reserved() {
        let bomb = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode::<Vec<u64>>(&bomb), Err(Malformed::Truncated));
        assert_eq!(
            decode::<String>(&[0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(Malformed::Truncated)
        );
        let deep: Vec<u8> = std::iter::repeat_n(0x81, 50).chain([0]).collect();
        assert_eq!(decode::<Vec<u64>>(&deep), Err(Malformed::Limit));
    }

    #[test]
    fn no_single_changed_byte_is_an_alias() {
        let bytes = encode(&sample());
        for at in 0..bytes.len() {
            for value in 0..=255_u8 {
                let mut other = bytes.clone();
                other[at] = value;
                if other != bytes {
                    assert_ne!(decode::<Sample>(&other), Ok(sample()));
                }
            }
        }
    }

    #[test]
    fn a_reader_reads_what_is_written_and_only_in_its_shortest_form() {
        type Wire = (u64, bool, Option<u64>, Option<u64>, ByteBuf, Vec<u64>);
        let value = |number| -> Wire {
            let bytes = ByteBuf::from(vec![1, 2, 3]);
            (number, true, None, Some(number), bytes, vec![number, 7])
        };
        fn read(bytes: &[u8]) -> Result<Wire, Malformed> {
            let mut reader = Reader::new(bytes);
            reader.array(6)?;
            let (number, flag) = (reader.number()?, reader.flag()?);
            let none = reader.optional(Reader::number)?;
            let some = reader.optional(Reader::number)?;
            let bytes = ByteBuf::from(reader.exactly::<3>()?);
            let value = (
                number,
                flag,
                none,
                some,
                bytes,
                reader.list(Reader::number)?,
            );
            reader.end().map(|()| value)
        }
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, u64::MAX] {
            let bytes = encode(&value(number));
            assert_eq!(read(&bytes), Ok(value(number)));
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(read(&longer), Err(Malformed::Trailing));
            for at in 0..bytes.len() {
                assert!(read(&bytes[..at]).is_err(), "{at} bytes of {bytes:02x?}");
                for byte in 0..=255 {
                    let mut other = bytes.clone();
                    other[at] = byte;
                    let strict = decode::<Wire>(&other).ok().filter(|wire| wire.4.len() == 3);
                    assert_eq!(read(&other).ok(), strict, "{other:02x?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = decode::<Vec<u64>>(&bytes) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
