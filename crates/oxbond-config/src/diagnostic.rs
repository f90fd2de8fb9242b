//! What is wrong with a configuration: the facts ([`Diagnostic`]), their form for people ([`render`]) and for programs
//! ([`PlainDiagnostic`]).

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde::{Deserialize, Serialize};

pub use crate::rule::Code;
use crate::span::{Position, Sources, Span};

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing of the configuration is applied.
    Error,
    /// It is applied, but probably not what was meant.
    Warning,
    /// It is in order; there is something to know about it.
    Info,
}

impl Severity {
    /// The word, as in the JSON form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// A text that would put a place right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it replaces.
    pub span: Span,
    /// The text.
    pub replacement: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, naming the thing. One line, no full stop.
    pub message: String,
    /// The place; `None` when there is none (a file that cannot be read).
    pub span: Option<Span>,
    /// Another place that has to do with it, and what is there.
    pub related: Option<(Span, String)>,
    /// The way out. One line.
    pub help: Option<String>,
    /// What to write instead, where that can be said.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// As bad as its rule says, without a place.
    pub fn nowhere(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.rule().severity,
            message: message.into(),
            span: None,
            related: None,
            help: None,
            fix: None,
        }
    }

    /// As bad as its rule says, at a place.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::nowhere(code, message)
        }
    }

    /// An error at a place.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::new(code, span, message)
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::new(code, span, message)
        }
    }

    /// Adds the way out.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// Adds another place.
    #[must_use]
    pub fn with_related(self, span: Span, what: impl Into<String>) -> Self {
        Self {
            related: Some((span, what.into())),
            ..self
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn with_fix(self, span: Span, replacement: impl Into<String>) -> Self {
        let replacement = replacement.into();
        Self {
            fix: Some(Fix { span, replacement }),
            ..self
        }
    }

    /// The form for programs. `sources` must be those the diagnostic was made from.
    pub fn plain(&self, sources: &Sources) -> PlainDiagnostic {
        PlainDiagnostic {
            code: self.code,
            severity: self.severity,
            message: self.message.clone(),
            place: self.span.map(|span| Place::of(span, sources)),
            related: self.related.as_ref().map(|(span, what)| PlainRelated {
                place: Place::of(*span, sources),
                what: what.clone(),
            }),
            help: self.help.clone(),
            fix: self.fix.as_ref().map(|fix| PlainFix {
                place: Place::of(fix.span, sources),
                replacement: fix.replacement.clone(),
            }),
        }
    }
}

/// A diagnostic that stands alone, for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainDiagnostic {
    /// Its kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// Another place that has to do with it.
    pub related: Option<PlainRelated>,
    /// The way out.
    pub help: Option<String>,
    /// What to write instead.
    pub fix: Option<PlainFix>,
}

/// Another place, and what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainRelated {
    /// Where.
    pub place: Place,
    /// What is there.
    pub what: String,
}

/// A text that would put a place right, which stands alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainFix {
    /// What it replaces.
    pub place: Place,
    /// The text.
    pub replacement: String,
}

/// A place that stands alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path of the file.
    pub file: String,
    /// Where it begins.
    pub start: Position,
    /// Where it ends: the character after the last.
    pub end: Position,
}

impl Place {
    fn of(span: Span, sources: &Sources) -> Self {
        let source = sources.get(span.file);
        Self {
            file: source.name.clone(),
            start: source.position(span.start),
            end: source.position(span.end),
        }
    }
}

/// The form for people: file, line, the marked text, the way out, the text to write. Ends without a line break.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let mut group = Group::with_title(
        level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code.as_str()),
    );
    if let Some(span) = diagnostic.span {
        let near = diagnostic.related.as_ref().filter(|(other, _)| {
            other.file == span.file && other.start.abs_diff(span.start) < NEAR
        });
        let window = near.map_or(span, |(other, _)| Span {
            start: span.start.min(other.start),
            end: span.end.max(other.end),
            ..span
        });
        let (shown, offset) = snippet(window, sources);
        let within = |span: Span| span.start - offset..span.end - offset;
        let mut here = shown.annotation(AnnotationKind::Primary.span(within(span)));
        let mut elsewhere = None;
        match (&diagnostic.related, near) {
            (Some((other, what)), Some(_)) => {
                let mark = AnnotationKind::Context.span(within(*other));
                here = here.annotation(mark.label(what.as_str()));
            }
            (Some((other, what)), None) => {
                let (shown, offset) = snippet(*other, sources);
                let mark = AnnotationKind::Context.span(other.start - offset..other.end - offset);
                elsewhere = Some(shown.annotation(mark.label(what.as_str())));
            }
            (None, _) => {}
        }
        group = group.element(here).elements(elsewhere);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let mut groups = vec![group];
    if let Some(fix) = &diagnostic.fix {
        let source = sources.get(fix.span.file);
        let (text, offset, line) = source.lines_around(fix.span);
        let patch = Patch::new(
            fix.span.start - offset..fix.span.end - offset,
            fix.replacement.as_str(),
        );
        let shown = Snippet::source(text)
            .path(source.name.as_str())
            .line_start(line);
        groups.push(
            Group::with_title(Level::HELP.secondary_title("write")).element(shown.patch(patch)),
        );
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&groups)
}

/// How many bytes two places of a file may be apart to be shown in one excerpt. What lies between is looked through for
/// each, which is too much in a file of megabytes.
const NEAR: usize = 16 * 1024;

/// The lines of a place, and the offset of the first.
fn snippet(
    span: Span,
    sources: &Sources,
) -> (Snippet<'_, annotate_snippets::Annotation<'_>>, usize) {
    let source = sources.get(span.file);
    let (text, offset, line) = source.lines_around(span);
    let shown = Snippet::source(text)
        .path(source.name.as_str())
        .line_start(line);
    (shown, offset)
}
