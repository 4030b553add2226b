//! Answers as tables, lists and documents: one description per answer, every format out of it.

use crate::output;
use clap::{Args, ValueEnum};
use comfy_table::{Cell as TableCell, Color, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::IsTerminal;

/// How to print an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    /// The table with more columns
    Wide,
    /// The whole answer as one document
    Json,
    /// One item per line
    Jsonl,
    Csv,
    /// Names only
    Name,
}

/// Options of every reading command.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Ask again and again: redraws on a terminal, prints changes as JSON lines elsewhere
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Leave the heads of the columns out
    #[arg(long)]
    pub(crate) no_headers: bool,
}

impl Read {
    /// Watching into a pipe makes a stream of lines.
    pub(crate) fn format(self) -> Format {
        match self.output {
            Format::Table | Format::Wide if self.watch && !std::io::stdout().is_terminal() => {
                Format::Jsonl
            }
            format => format,
        }
    }
}

/// How a cell looks besides its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Doubtful,
    Bad,
    Faint,
}

/// A piece of text in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }

    /// A word for a state, with a sign in front: colour is never the only signal.
    pub(crate) fn state(word: &str) -> Self {
        let (glyph, tone) = match word {
            "alive" | "up" | "healthy" | "local" | "reachable" => ("●", Tone::Good),
            "suspect" | "degraded" | "dialling" => ("◐", Tone::Doubtful),
            "unreachable" => ("◌", Tone::Doubtful),
            "dead" | "down" | "unhealthy" => ("✕", Tone::Bad),
            "left" => ("○", Tone::Faint),
            "removed" => ("⊘", Tone::Faint),
            _ => ("·", Tone::Plain),
        };
        Self::toned(format!("{glyph} {word}"), tone)
    }

    fn coloured(&self) -> TableCell {
        let cell = TableCell::new(&self.text);
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Doubtful => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Faint => cell.fg(Color::DarkGrey),
        }
    }
}

/// A column; wide ones show only when asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    wide: bool,
}

/// A column that always shows.
pub(crate) const fn column(head: &'static str) -> Column {
    Column { head, wide: false }
}

/// A column of the wide table, and of CSV.
pub(crate) const fn wide(head: &'static str) -> Column {
    Column { head, wide: true }
}

/// A table: the first cell of a row is its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Sheet {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// A table of two columns without heads.
    pub(crate) fn pairs() -> Self {
        Self::new(&[column(""), column("")])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// One line of [`Sheet::pairs`].
    pub(crate) fn pair(&mut self, key: &str, value: impl Into<Cell>) {
        self.row([key.into(), value.into()]);
    }

    /// The table as text, each line with its end.
    pub(crate) fn table(&self, all: bool, heads: bool, colour: bool) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|at| all || !self.columns[*at].wide)
            .collect();
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if heads && self.columns.iter().any(|column| !column.head.is_empty()) {
            table.set_header(shown.iter().map(|at| self.columns[*at].head));
        }
        for row in &self.rows {
            table.add_row(
                shown
                    .iter()
                    .filter_map(|at| row.get(*at))
                    .map(Cell::coloured),
            );
        }
        // Two spaces between columns and none around them read like other tools' tables.
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    fn csv(&self, heads: bool) -> String {
        let quote = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let head: Vec<_> = self
            .columns
            .iter()
            .map(|column| column.head.to_lowercase())
            .collect();
        let rows = self.rows.iter().map(|row| {
            row.iter()
                .map(|cell| quote(bare(&cell.text)))
                .collect::<Vec<_>>()
        });
        let lines = heads.then_some(head).into_iter().chain(rows);
        lines
            .map(|cells| format!("{}\n", cells.join(",")))
            .collect()
    }

    fn names(&self) -> String {
        self.rows
            .iter()
            .filter_map(|row| row.first())
            .map(|cell| format!("{}\n", bare(&cell.text)))
            .collect()
    }
}

/// A state without its sign, for programs.
fn bare(text: &str) -> &str {
    match text.split_once(' ') {
        Some(("●" | "◐" | "◌" | "✕" | "○" | "⊘" | "·", word)) => word,
        _ => text,
    }
}

/// The answer in the wanted format.
pub(crate) fn render<T: Serialize>(
    read: Read,
    body: &impl Serialize,
    items: &[T],
    sheet: &Sheet,
) -> String {
    let json = |error: serde_json::Error| format!("{{\"error\":\"{error}\"}}");
    match read.format() {
        Format::Table => sheet.table(false, !read.no_headers, output::colour()),
        Format::Wide => sheet.table(true, !read.no_headers, output::colour()),
        Format::Json => serde_json::to_string_pretty(body).unwrap_or_else(json) + "\n",
        Format::Jsonl => items
            .iter()
            .map(|item| serde_json::to_string(item).unwrap_or_else(json) + "\n")
            .collect(),
        Format::Csv => sheet.csv(!read.no_headers),
        Format::Name => sheet.names(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(&[column("NAME"), column("STATUS"), wide("TAGS")]);
        sheet.row([
            "eu-west-s1".into(),
            Cell::state("alive"),
            "team=core,tier=\"x\"".into(),
        ]);
        sheet.row(["s2".into(), Cell::state("dead"), "".into()]);
        sheet
    }

    #[test]
    fn tables_are_plain_text_without_colour() {
        assert_eq!(
            sheet().table(false, true, false),
            "NAME        STATUS\neu-west-s1  ● alive\ns2          ✕ dead\n"
        );
        assert_eq!(
            sheet().table(true, false, false).lines().next(),
            Some("eu-west-s1  ● alive  team=core,tier=\"x\"")
        );
        assert!(sheet().table(false, true, true).contains("\u{1b}["));
    }

    #[test]
    fn csv_and_names_are_for_programs() {
        let csv = "name,status,tags\neu-west-s1,alive,\"team=core,tier=\"\"x\"\"\"\ns2,dead,\n";
        assert_eq!(sheet().csv(true), csv);
        assert_eq!(sheet().names(), "eu-west-s1\ns2\n");
    }
}
