//! Reports for terminals.

use super::{Cdf, Report};
use std::fmt::Write as _;

/// Columns as wide as what is in them: the first to the left, the others to the right.
pub fn sheet(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = head.iter().map(|text| width(text)).collect();
    for row in rows {
        for (column, text) in row.iter().enumerate() {
            if let Some(most) = widths.get_mut(column) {
                *most = width(text).max(*most);
            }
        }
    }
    let mut page = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, (cell, wide)) in cells.zip(&widths).enumerate() {
            let gap = " ".repeat(wide - width(cell));
            match column {
                0 => text.extend([cell, &gap]),
                _ => text.extend(["  ", &gap, cell]),
            }
        }
        let _ = writeln!(page, "{}", text.trim_end());
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    page
}

/// A report as text.
pub fn text(report: &Report) -> String {
    let mut page = format!("{}\n", report.title);
    if !report.about.is_empty() {
        let _ = writeln!(page, "{}", report.about.trim());
    }
    let datacenters: Vec<String> = report
        .datacenters
        .iter()
        .map(|(name, nodes)| format!("{name} {nodes}"))
        .collect();
    let _ = writeln!(
        page,
        "\nseed {}, {} nodes ({}), {} s\n",
        report.seed,
        report.nodes(),
        datacenters.join(", "),
        number(report.seconds)
    );
    if !report.timeline.is_empty() {
        let rows: Vec<Vec<String>> = report
            .timeline
            .iter()
            .map(|done| vec![format!("{:.1} s", done.at), done.what.clone()])
            .collect();
        for row in rows.iter().take(LINES) {
            let _ = writeln!(page, "{:>9}  {}", row[0], row[1]);
        }
        if rows.len() > LINES {
            let _ = writeln!(page, "           and {} more", rows.len() - LINES);
        }
        page.push('\n');
    }
    if !report.spreads.is_empty() {
        page.push_str(&sheet(&SPREAD_HEAD, &spread_rows(report)));
        page.push('\n');
    }
    page.push_str(&sheet(
        &["sent", "B/node/s", "packets/node/s"],
        &traffic_rows(report),
    ));
    page.push('\n');
    page.push_str(&sheet(&["", "count"], &count_rows(report)));
    if !report.expectations.is_empty() {
        page.push('\n');
        page.push_str(&sheet(
            &["expected", "at most", "was", ""],
            &expectation_rows(report),
        ));
    }
    page
}

/// Lines of the timeline that are shown.
const LINES: usize = 30;

pub(super) const SPREAD_HEAD: [&str; 9] = [
    "happened → seen",
    "times",
    "missing",
    "first: median",
    "p99",
    "99 %: median",
    "p99",
    "all: median",
    "p99",
];

pub(super) fn spread_rows(report: &Report) -> Vec<Vec<String>> {
    let ms = |cdf: &Cdf, share| {
        cdf.quantile(share)
            .map_or_else(|| "–".to_owned(), milliseconds)
    };
    let row = |one: &super::Noticed| {
        vec![
            one.name(),
            one.times.to_string(),
            one.missing.to_string(),
            ms(&one.first, 0.5),
            ms(&one.first, 0.99),
            ms(&one.most, 0.5),
            ms(&one.most, 0.99),
            ms(&one.all, 0.5),
            ms(&one.all, 0.99),
        ]
    };
    report.spreads.iter().map(row).collect()
}

pub(super) fn traffic_rows(report: &Report) -> Vec<Vec<String>> {
    let packets: f64 = report.traffic.iter().map(|sent| sent.packets).sum();
    let all = (String::from("all"), report.bytes(), packets);
    let kinds = report
        .traffic
        .iter()
        .filter(|sent| sent.packets > 0.0)
        .map(|sent| (sent.kind.to_owned(), sent.bytes, sent.packets));
    kinds
        .chain([all])
        .map(|(kind, bytes, packets)| vec![kind, number(bytes), number(packets)])
        .collect()
}

pub(super) fn count_rows(report: &Report) -> Vec<Vec<String>> {
    let wrong = &report.wrong_deaths;
    let last = report.series.last();
    let rows: [(&str, String); 13] = [
        (
            "living undisturbed members reported dead",
            report.wrongly_dead.to_string(),
        ),
        (
            "… by undisturbed observers, reports",
            wrong.at_healthy.to_string(),
        ),
        (
            "… by disturbed observers, reports",
            wrong.at_disturbed.to_string(),
        ),
        (
            "living disturbed members reported dead by undisturbed observers",
            wrong.of_disturbed_at_healthy.to_string(),
        ),
        (
            "… by disturbed observers",
            wrong.of_disturbed_at_disturbed.to_string(),
        ),
        (
            "suspicions of living undisturbed members",
            report.wrong_suspicions.to_string(),
        ),
        ("… a second and 10,000 nodes", number(report.suspicion_rate)),
        ("all other suspicions", report.right_suspicions.to_string()),
        ("seats taken", report.elected.to_string()),
        ("seats given up", report.resigned.to_string()),
        ("signatures made", number(report.signed as f64)),
        ("signatures checked", number(report.verified as f64)),
        (
            "wrong pairs at the end, %",
            last.map_or_else(String::new, |point| number(100.0 * point.divergence)),
        ),
    ];
    rows.into_iter()
        .map(|(what, count)| vec![what.to_owned(), count])
        .collect()
}

pub(super) fn expectation_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |one: &super::Expectation| {
        vec![
            one.what.to_owned(),
            number(one.most),
            one.was.map_or_else(|| "never".to_owned(), number),
            if one.met { "met" } else { "MISSED" }.to_owned(),
        ]
    };
    report.expectations.iter().map(row).collect()
}

pub(super) fn milliseconds(ms: f64) -> String {
    if ms >= 10_000.0 {
        format!("{} s", number(ms / 1e3))
    } else {
        format!("{} ms", number(ms))
    }
}

/// Three digits that matter, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size => (2.0 - size.log10().floor()).clamp(0.0, 9.0) as usize,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let rest = rest.trim_end_matches('0').trim_end_matches('.');
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [
            0.0,
            0.012_34,
            1.0,
            1.234,
            12.34,
            123.4,
            1_234.0,
            1_234_567.0,
            -5.0,
        ]
        .into_iter()
        .map(number)
        .collect();
        assert_eq!(
            shown,
            [
                "0",
                "0.0123",
                "1",
                "1.23",
                "12.3",
                "123",
                "1,234",
                "1,234,567",
                "-5"
            ]
        );
    }

    #[test]
    fn columns_line_up() {
        let page = sheet(
            &["a", "b"],
            &[
                vec!["long".into(), "1".into()],
                vec!["x".into(), "222".into()],
            ],
        );
        assert_eq!(page, "a       b\nlong    1\nx     222\n");
    }
}
