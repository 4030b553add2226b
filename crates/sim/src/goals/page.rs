//! The figures as a table, for docs/measured.md and terminals.

use super::{Bound, Figure, LEFT_OUT, Met, Row};
use crate::report::number;
use std::fmt::Write as _;

/// All rows as markdown, the command that made them on top.
pub fn markdown(rows: &[Row], command: &str) -> String {
    let mut page = format!(
        "# Measured\n\n```sh\n{command}\n```\n\nEverything runs in virtual time, with the protocol code that ships; bytes are those \
         on the wire with all headers, signatures and certificates have their real sizes. A median and a p99 are over `runs` repetitions. *must* and *aim* are \
         the project's goals (`≤ x p99`: 99 of 100 repetitions; `mean`: their mean; otherwise all of them). Peers' figures are published ones, not \
         measured here. Where a smaller N than a goal's is given, the figure is that of the smaller N.\n\n\
         | # | measure | best peer | ours: median | p99 | runs | must | aim | met |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        for (at, figure) in row.figures.iter().enumerate() {
            let (number, head, peer) = if at == 0 {
                (
                    row.number.to_string(),
                    format!("**{}**: ", row.measure),
                    row.peer,
                )
            } else {
                (String::new(), String::new(), "")
            };
            let _ = writeln!(
                page,
                "| {number} | {head}{} | {peer} | {} |",
                figure.what,
                cells(figure).join(" | ")
            );
        }
    }
    page.push_str("\nNot measured here:\n\n");
    for (number, why) in LEFT_OUT {
        let _ = writeln!(page, "* {number}: {why}.");
    }
    page
}

fn cells(figure: &Figure) -> [String; 6] {
    let value = |value: Option<f64>| {
        value.map_or_else(|| "never".to_owned(), |value| with_unit(value, figure.unit))
    };
    let runs = match figure.missing {
        0 => figure.values.len().to_string(),
        missing => format!("{}, {missing} never", figure.values.len() + missing),
    };
    let bound = |bound: Option<Bound>| {
        bound.map_or_else(|| "–".to_owned(), |bound| say(bound, figure.unit))
    };
    let p99 = if figure.values.len() > 1 {
        value(figure.values.quantile(0.99))
    } else {
        "–".to_owned()
    };
    let met = match figure.met() {
        Met::Aim => "aim",
        Met::Must if figure.aim.is_none() => "must",
        Met::Must => "must, not aim",
        Met::No if figure.must.is_none() => "not aim",
        Met::No => "**no**",
        Met::Untold => "–",
    };
    [
        value(figure.values.quantile(0.5)),
        p99,
        runs,
        bound(figure.must),
        bound(figure.aim),
        met.to_owned(),
    ]
}

fn say(bound: Bound, unit: &str) -> String {
    match bound {
        Bound::Most(most) => format!("≤ {}", with_unit(most, unit)),
        Bound::P99(most) => format!("≤ {} p99", with_unit(most, unit)),
        Bound::Mean(most) => format!("≤ {} mean", with_unit(most, unit)),
        Bound::Least(least) => format!("≥ {}", with_unit(least, unit)),
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        "/s" | "×" => format!("{}{unit}", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}
