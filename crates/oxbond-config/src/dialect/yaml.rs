//! YAML with places: a tree of nodes that keep their text as it was written, since what a plain word means is for each
//! dialect to say (netplan reads YAML 1.1, where `on` is a boolean).

use core::ops::Range;

use oxbond_core::option::Dialect;
use saphyr_parser::{Event, Parser};

use super::common::{refused, unknown_key};
use crate::diagnostic::Code;
use crate::report::Report;
use crate::span::{FileId, Located, Span};

/// Deepest nesting that is read; far above what any dialect has.
const MAX_DEPTH: usize = 32;

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Its bytes. Of a block it is where it begins and, for lack of a bracket, where the next thing does.
    pub(super) range: Range<usize>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, number or boolean; empty for nothing.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their values, in order.
    Map(Vec<(Node, Node)>),
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) at: usize,
}

impl Node {
    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The entries of a mapping; a value that was left out has none.
    pub(super) fn entries(&self) -> Option<&[(Self, Self)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Scalar(text) if matches!(text.as_str(), "" | "~" | "null") => Some(&[]),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// Where the last thing in it ends.
    pub(super) fn end(&self) -> usize {
        match &self.value {
            Value::Scalar(_) => self.range.end,
            Value::List(items) => items
                .iter()
                .map(Self::end)
                .fold(self.range.start, usize::max),
            Value::Map(entries) => entries
                .iter()
                .map(|(_, value)| value.end())
                .fold(self.range.start, usize::max),
        }
    }
}

/// Reads the first document; nothing if there is none. `structure` is told each piece that only holds others together:
/// brackets and document marks.
pub(super) fn parse(
    text: &str,
    structure: &mut impl FnMut(Range<usize>),
) -> Result<Option<Node>, Wrong> {
    // The parser counts characters.
    let offsets: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let byte = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    let wrong = |message: &str, at: usize| Wrong {
        message: message.to_owned(),
        at,
    };
    let mut open: Vec<(Node, Option<Node>)> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| wrong(e.info(), byte(e.marker().index())))?;
        let range = byte(span.start.index())..byte(span.end.index());
        let done = match event {
            Event::Alias(_) => return Err(wrong("aliases are not supported", range.start)),
            Event::Scalar(text, ..) => Node {
                value: Value::Scalar(text.into_owned()),
                range,
            },
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() >= MAX_DEPTH {
                    return Err(wrong("it is nested too deeply", range.start));
                }
                let value = match event {
                    Event::SequenceStart(..) => Value::List(Vec::new()),
                    _ => Value::Map(Vec::new()),
                };
                open.push((Node { value, range }, None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((mut node, _)) = open.pop() else {
                    continue;
                };
                if text[node.range.start..].starts_with(['[', '{']) {
                    structure(node.range.start..node.range.start + 1);
                    structure(range.clone());
                }
                node.range.end = range.end.max(node.range.start);
                node
            }
            Event::DocumentStart(true) | Event::DocumentEnd => {
                structure(range);
                continue;
            }
            _ => continue,
        };
        match open.last_mut() {
            None if root.is_some() => {
                return Err(wrong("there is a second document", done.range.start));
            }
            None => root = Some(done),
            Some((
                Node {
                    value: Value::List(items),
                    ..
                },
                _,
            )) => items.push(done),
            Some((
                Node {
                    value: Value::Map(entries),
                    ..
                },
                key,
            )) => match key.take() {
                None => *key = Some(done),
                Some(key) => entries.push((key, done)),
            },
            // Scalars are never open.
            Some(_) => {}
        }
    }
    Ok(root)
}

/// A key with its value.
pub(super) struct Entry<'n> {
    pub(super) key: &'n str,
    pub(super) value: &'n Node,
    /// The key.
    pub(super) key_span: Span,
    /// Key and value.
    pub(super) span: Span,
}

/// Tells why a key has no effect: nothing of it is taken over, it belongs elsewhere, or nobody knows it.
pub(super) fn other_key(
    entry: &Entry<'_>,
    dialect: Dialect,
    taken: &[&'static str],
    not_taken: &[&'static str],
    report: &mut Report,
) {
    let key = entry.key;
    if not_taken.contains(&key) {
        let why = format!("{key} is not taken over");
        report.unsupported(entry.span, why, "set it by other means, or do without");
    } else if taken.contains(&key) {
        let why = format!("{key} has no place here");
        let way_out = "move it to where it belongs";
        report.breach(Code::MisplacedKey, entry.span, why, way_out);
    } else {
        unknown_key(key, entry.key_span, dialect, taken, report);
    }
}

/// The entries of what must be a mapping; notes what is none.
pub(super) fn map<'n>(
    file: FileId,
    node: &'n Node,
    of: &str,
    report: &mut Report,
) -> Vec<Entry<'n>> {
    let Some(entries) = node.entries() else {
        let span = Span::new(file, node.range.start..node.end());
        let why = format_args!("{of} has keys with values below it");
        refused(span, why, report);
        return Vec::new();
    };
    let entry = |(key, value): &'n (Node, Node)| Entry {
        key: key.text().unwrap_or(""),
        value,
        key_span: Span::new(file, key.range.clone()),
        span: Span::new(file, key.range.start..value.end().max(key.range.end)),
    };
    entries.iter().map(entry).collect()
}

/// The text of what must be a scalar, with the place of the whole entry; notes what is none.
pub(super) fn text(entry: &Entry<'_>, report: &mut Report) -> Option<Located<String>> {
    let text = entry.value.text();
    if text.is_none() {
        let why = format_args!("{} takes one value", entry.key);
        refused(entry.span, why, report);
    }
    text.map(|text| Located::new(text.to_owned(), entry.span))
}

/// The members of what must be a list; notes what is none.
pub(super) fn items<'n>(entry: &Entry<'n>, report: &mut Report) -> &'n [Node] {
    let Value::List(items) = &entry.value.value else {
        let why = format_args!("{} is a list", entry.key);
        refused(entry.span, why, report);
        return &[];
    };
    report.mapped(entry.key_span);
    items
}

/// The texts of what must be a list of scalars; notes those that are none.
pub(super) fn texts(file: FileId, entry: &Entry<'_>, report: &mut Report) -> Vec<Located<String>> {
    let mut texts = Vec::new();
    for item in items(entry, report) {
        let span = Span::new(file, item.range.start..item.end());
        match item.text() {
            Some(text) => {
                report.mapped(span);
                texts.push(Located::new(text.to_owned(), span));
            }
            None => {
                let why = format_args!("{} is a list of texts", entry.key);
                refused(span, why, report);
            }
        }
    }
    texts
}

/// YAML 1.1's booleans, as netplan reads them.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" => Some(true),
        "false" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}

/// A text as a scalar: bare where that cannot be taken for anything else, else in quotes.
pub(super) fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+'))
        && boolean(text).is_none()
        && text != "null";
    if plain {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Result<Option<Node>, Wrong>, Vec<&str>) {
        let mut structure = Vec::new();
        let node = parse(text, &mut |range| structure.push(&text[range]));
        (node, structure)
    }

    #[test]
    fn nodes_keep_text_and_place() {
        let text = "---\nä: [on, 010]\nb:\n  c: \"x y\"\n  d:\n";
        let (node, structure) = read(text);
        let node = node.unwrap().unwrap();
        let entries = node.entries().unwrap();
        assert_eq!(&text[entries[0].0.range.clone()], "ä");
        let Value::List(items) = &entries[0].1.value else {
            panic!("{node:?}");
        };
        let texts: Vec<_> = items
            .iter()
            .map(|item| (item.text().unwrap(), &text[item.range.clone()]))
            .collect();
        assert_eq!(texts, [("on", "on"), ("010", "010")]);
        let inner = entries[1].1.entries().unwrap();
        assert_eq!(
            (inner[0].1.text(), &text[inner[0].1.range.clone()]),
            (Some("x y"), "\"x y\"")
        );
        assert_eq!(inner[1].1.entries(), Some(&[][..]));
        assert!(
            structure.contains(&"[") && structure.contains(&"]") && structure.contains(&"---"),
            "{structure:?}"
        );
    }

    #[test]
    fn what_is_no_document_is_told() {
        for (text, word) in [
            ("a: &x 1\nb: *x\n", "aliases"),
            ("a: [1\n", ""),
            ("a\n---\nb\n", "second document"),
        ] {
            let wrong = read(text).0.unwrap_err();
            assert!(wrong.message.contains(word), "{wrong:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(&deep).0.is_err());
        assert_eq!(read("# nothing\n").0, Ok(None));
    }

    #[test]
    fn quoted_texts_are_read_back() {
        for text in [
            "eth0",
            "802.3ad",
            "fd00::1/64",
            "yes",
            "a \"b\" \\ c",
            "",
            "null",
            "10",
            "tab\there",
            "layer3+4",
        ] {
            let (node, _) = read(&quoted(text)).clone();
            assert_eq!(node.unwrap().unwrap().text(), Some(text));
        }
    }
}
