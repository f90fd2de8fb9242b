//! What is wrong with a configuration: the facts ([`Diagnostic`]), their form for people ([`render`]) and for programs
//! ([`PlainDiagnostic`]).

use core::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use crate::span::{Position, Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing of the configuration is applied.
    Error,
    /// It is applied, but probably not what was meant.
    Warning,
}

/// What kind of thing it is: a stable word to search for and to filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A file or directory cannot be read.
    Unreadable,
    /// The text does not follow the dialect's grammar.
    Syntax,
    /// A key that nobody knows at this place.
    UnknownKey,
    /// A key without which the thing cannot be.
    MissingKey,
    /// A key that has a meaning was given twice, perhaps under two of its names.
    DuplicateKey,
    /// A value of the wrong kind (a table where a number belongs).
    WrongType,
    /// A value outside of what is allowed.
    WrongValue,
    /// An option that the mode does not have.
    NotInMode,
    /// Options that exclude or need each other.
    Conflict,
    /// A name that no network interface can have.
    InvalidName,
    /// A bond described twice.
    DuplicateBond,
    /// A port named twice in one bond.
    DuplicatePort,
    /// A port named in two bonds.
    PortInTwoBonds,
    /// A port that is referred to but not among the bond's ports.
    NotAPort,
    /// Nothing watches the links, so the bond never fails over.
    NoMonitor,
    /// A value that is used in another form than written (delays are rounded down to whole monitor intervals).
    Adapted,
    /// A gateway that none of the bond's addresses reaches.
    GatewayOffLink,
}

impl Code {
    /// The word, as in the JSON form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::DuplicateKey => "duplicate-key",
            Self::WrongType => "wrong-type",
            Self::WrongValue => "wrong-value",
            Self::NotInMode => "not-in-mode",
            Self::Conflict => "conflict",
            Self::InvalidName => "invalid-name",
            Self::DuplicateBond => "duplicate-bond",
            Self::DuplicatePort => "duplicate-port",
            Self::PortInTwoBonds => "port-in-two-bonds",
            Self::NotAPort => "not-a-port",
            Self::NoMonitor => "no-monitor",
            Self::Adapted => "adapted",
            Self::GatewayOffLink => "gateway-off-link",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            severity: Severity::Error,
            message,
            span: Some(span),
            related: None,
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
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

    /// The form for programs. `sources` must be those the diagnostic was made from.
    pub fn plain(&self, sources: &Sources) -> PlainDiagnostic {
        PlainDiagnostic {
            code: self.code,
            severity: self.severity,
            message: self.message.clone(),
            place: self.span.map(|span| Place::of(span, sources)),
            related: self
                .related
                .as_ref()
                .map(|(span, _)| Place::of(*span, sources)),
            help: self.help.clone(),
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
    pub related: Option<Place>,
    /// The way out.
    pub help: Option<String>,
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

/// The form for people: file, line, the marked text, the way out. Ends without a line break.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(
        level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code.as_str()),
    );
    if let Some(span) = diagnostic.span {
        let mut here =
            snippet(span, sources).annotation(AnnotationKind::Primary.span(span.range()));
        let mut elsewhere = None;
        match &diagnostic.related {
            Some((other, what)) if other.file == span.file => {
                here = here.annotation(
                    AnnotationKind::Context
                        .span(other.range())
                        .label(what.as_str()),
                );
            }
            Some((other, what)) => {
                let mark = AnnotationKind::Context
                    .span(other.range())
                    .label(what.as_str());
                elsewhere = Some(snippet(*other, sources).annotation(mark));
            }
            None => {}
        }
        group = group.element(here).elements(elsewhere);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group])
}

fn snippet(span: Span, sources: &Sources) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    let source = sources.get(span.file);
    Snippet::source(source.text.as_str()).path(source.name.as_str())
}
