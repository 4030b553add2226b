//! Durations and moments as people read them.

use jiff::Timestamp;
use std::time::Duration;

/// `0.3s`, `41s`, `12m`, `2h`, `3d`.
pub(crate) fn millis(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, millis % 1_000 / 100),
        10..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a moment was.
pub(crate) fn ago(moment: Timestamp) -> String {
    millis(u64::try_from(Timestamp::now().duration_since(moment).as_millis()).unwrap_or(0))
}

/// `12:03:41.220Z`.
pub(crate) fn time(moment: Timestamp) -> String {
    moment.strftime("%H:%M:%S%.3fZ").to_string()
}

/// `82ms`, `0.41ms` or `-`.
pub(crate) fn rtt(rtt_ms: Option<f64>) -> String {
    match rtt_ms {
        None => "-".to_owned(),
        Some(rtt) if rtt < 10.0 => format!("{rtt:.2}ms"),
        Some(rtt) => format!("{rtt:.0}ms"),
    }
}

/// The text, or `-`.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// Reads a duration on the command line.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parser = jiff::fmt::friendly::SpanParser::new();
    parser
        .parse_unsigned_duration(text)
        .map_err(|_| "expected a duration with its unit, such as 60s".to_owned())
}

/// `1 member`, `2 members`.
pub(crate) fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let shown: Vec<_> = [0, 340, 9_999, 41_000, 120_000, 7_200_000, 200_000_000]
            .map(millis)
            .to_vec();
        assert_eq!(shown, ["0.0s", "0.3s", "9.9s", "41s", "2m", "2h", "2d"]);
        assert_eq!(
            (
                rtt(None).as_str(),
                rtt(Some(0.412)).as_str(),
                rtt(Some(82.4)).as_str()
            ),
            ("-", "0.41ms", "82ms")
        );
        assert_eq!(
            time("2026-11-20T12:03:41.22Z".parse().expect("a moment")),
            "12:03:41.220Z"
        );
        assert_eq!(
            (many(1, "member"), many(2, "member")),
            ("1 member".into(), "2 members".into())
        );
    }
}
