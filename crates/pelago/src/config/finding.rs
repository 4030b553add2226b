//! What is wrong with a configuration, shown the way a compiler would: file, line, caret, and what to write instead.

use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use std::{ops::Range, path::PathBuf};

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody.
    Default,
    /// A file, by its number among the sources, and where in it.
    File { source: usize, span: Range<usize> },
    /// An environment variable.
    Env(String),
    /// A flag, as it was written.
    Flag(String),
}

/// One thing that is wrong or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) fatal: bool,
    pub(crate) title: String,
    pub(crate) origin: Origin,
    /// Written beside the caret.
    pub(crate) label: Option<String>,
    /// A second place that belongs to it, with what it says there.
    pub(crate) also: Option<(Origin, String)>,
    pub(crate) notes: Vec<String>,
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn error(origin: Origin, title: impl Into<String>) -> Self {
        Self {
            fatal: true,
            title: title.into(),
            origin,
            label: None,
            also: None,
            notes: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(origin: Origin, title: impl Into<String>) -> Self {
        Self {
            fatal: false,
            ..Self::error(origin, title)
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn also(mut self, origin: Origin, says: impl Into<String>) -> Self {
        self.also = Some((origin, says.into()));
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The whole finding as a block of text without a newline at its end.
    pub(crate) fn render(&self, sources: &[Source], colour: bool) -> String {
        let level = if self.fatal {
            Level::ERROR
        } else {
            Level::WARNING
        };
        let mut parts: Vec<Element<'_>> = Vec::new();
        let file = match &self.origin {
            Origin::File { source, span } => sources.get(*source).map(|file| (*source, file, span)),
            Origin::Default | Origin::Env(_) | Origin::Flag(_) => None,
        };
        if let Some((number, file, span)) = file {
            let main = AnnotationKind::Primary
                .span(clip(span, &file.text))
                .label(self.label.as_deref());
            let mut snippet = Snippet::source(&file.text)
                .path(file.path.to_string_lossy())
                .annotation(main);
            if let Some((Origin::File { source, span }, says)) = &self.also
                && *source == number
            {
                snippet = snippet.annotation(
                    AnnotationKind::Context
                        .span(clip(span, &file.text))
                        .label(says),
                );
            }
            parts.push(snippet.into());
        } else if let Some(label) = &self.label {
            parts.push(Level::NOTE.message(label).into());
        }
        match &self.origin {
            Origin::Env(name) => parts.push(
                Level::NOTE
                    .message(format!("set by the variable {name}"))
                    .into(),
            ),
            Origin::Flag(flag) => parts.push(Level::NOTE.message(format!("set by {flag}")).into()),
            Origin::Default | Origin::File { .. } => {}
        }
        if let Some((origin, says)) = &self.also
            && !matches!((origin, &file), (Origin::File { source, .. }, Some((number, ..))) if source == number)
        {
            parts.push(
                Level::NOTE
                    .message(format!("{says} ({})", place(origin, sources)))
                    .into(),
            );
        }
        parts.extend(
            self.notes
                .iter()
                .map(|note| Level::NOTE.message(note).into()),
        );
        parts.extend(
            self.help
                .iter()
                .map(|help| Level::HELP.message(help).into()),
        );
        let group: Group<'_> = level.primary_title(&self.title).elements(parts);
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&[group]).to_string()
    }
}

/// `file:line`, `env NAME`, `flag …` or `default`.
pub(crate) fn place(origin: &Origin, sources: &[Source]) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Env(name) => format!("env {name}"),
        Origin::Flag(flag) => format!("flag {flag}"),
        Origin::File { source, span } => match sources.get(*source) {
            Some(file) => format!("{}:{}", file.path.display(), line(&file.text, span.start)),
            None => "file".to_owned(),
        },
    }
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|b| *b == b'\n').count()
}

/// Only the first line of what a span covers, inside the text: carets over whole tables say nothing.
fn clip(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    match text.get(start..end).and_then(|covered| covered.find('\n')) {
        Some(newline) => start..start + newline,
        None => start..end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_file_line_caret_and_suggestion() {
        let text = "[lan]\nprobe_intervall = \"200ms\"\n".to_owned();
        let sources = [Source {
            path: "node.toml".into(),
            text,
        }];
        let found = Finding::error(
            Origin::File {
                source: 0,
                span: 6..21,
            },
            "unknown key `lan.probe_intervall`",
        )
        .label("not known here")
        .help("did you mean `probe_interval`?");
        let shown = found.render(&sources, false);
        assert!(
            shown.starts_with("error: unknown key `lan.probe_intervall`\n"),
            "{shown}"
        );
        for part in [
            "node.toml:2:1",
            "^^^^^^^^^^^^^^^ not known here",
            "help: did you mean `probe_interval`?",
        ] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn a_span_outside_the_text_is_harmless() {
        let sources = [Source {
            path: "x".into(),
            text: "a".into(),
        }];
        let found = Finding::error(
            Origin::File {
                source: 0,
                span: 5..9,
            },
            "odd",
        );
        assert!(found.render(&sources, false).contains("odd"));
        assert!(
            Finding::error(
                Origin::File {
                    source: 7,
                    span: 5..9
                },
                "odd"
            )
            .render(&sources, true)
            .contains("odd")
        );
    }
}
