//! Times as people write them: `200us`, `1.5s`, `5m`.

use serde::{Deserialize, Deserializer, de::Error};
use std::{fmt, time::Duration};

/// A length of time in a scenario file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub Duration);

const UNITS: [(&str, f64); 5] = [
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
];

impl Length {
    /// Reads `200us`, `1.5s` and the like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let seconds = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, seconds)| Some(number.trim().parse::<f64>().ok()? * seconds))
            .filter(|seconds| (0.0..1e7).contains(seconds));
        let wrong = || format!("`{text}` is no length of time: write 200us, 50ms, 1.5s, 5m or 1h");
        seconds
            .map(|seconds| Self(Duration::from_secs_f64(seconds)))
            .ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds >= 1.0 || seconds == 0.0 {
            write!(f, "{} s", round(seconds))
        } else if seconds >= 1e-3 {
            write!(f, "{} ms", round(seconds * 1e3))
        } else {
            write!(f, "{} µs", round(seconds * 1e6))
        }
    }
}

/// Three digits that matter, no more.
fn round(number: f64) -> f64 {
    if number == 0.0 {
        return number;
    }
    let scale = 10f64.powf(2.0 - number.abs().log10().floor()).max(1.0);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_shown_as_people_write_them() {
        let read = |text| Length::parse(text).map(|length| length.to_string());
        assert_eq!(read("200us"), Ok("200 µs".to_owned()));
        assert_eq!(read("1500ms"), Ok("1.5 s".to_owned()));
        assert_eq!(read("5m"), Ok("300 s".to_owned()));
        assert_eq!(read("1234.5ms"), Ok("1.23 s".to_owned()));
        for wrong in ["", "5", "ms", "5 days", "-1s", "1e99s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
