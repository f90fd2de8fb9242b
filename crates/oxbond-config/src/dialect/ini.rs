//! Files of `[Section]`s and `Key=Value` lines, as systemd and NetworkManager have them: a comment is a line of its own,
//! what stands behind a value belongs to it, and every piece keeps its place.

use crate::diagnostic::{Code, Diagnostic};
use crate::report::Report;
use crate::span::{FileId, Located, Span};

/// A section and what stands in it.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Its name, with the place of the whole header.
    pub(super) name: Located<String>,
    /// Its entries, in order.
    pub(super) entries: Vec<Entry>,
}

/// A line `Key=Value`, or several where lines are continued.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// The value without blanks around it; continued lines are joined by a blank.
    pub(super) value: String,
    /// The whole entry.
    pub(super) span: Span,
}

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// systemd's: `;` begins a comment too, a `\` joins the next line, and a line that is nothing is ignored.
    Systemd,
    /// NetworkManager's (GLib's key files): a line that is nothing makes the whole file void.
    Keyfile,
}

impl Grammar {
    /// Whether a line (without blanks around it) is a comment.
    pub(super) fn is_comment(self, line: &str) -> bool {
        line.starts_with('#') || (self == Self::Systemd && line.starts_with(';'))
    }
}

/// Splits a file. Of one that its tool refuses nothing is left; what it ignores is noted in `report`.
pub(super) fn sections(
    file: FileId,
    text: &str,
    grammar: Grammar,
    report: &mut Report,
) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = lines(text).peekable();
    while let Some((start, line)) = lines.next() {
        let content = line.trim();
        if content.is_empty() || grammar.is_comment(content) {
            continue;
        }
        let mut end = start + line.len();
        let mut joined = content.to_owned();
        while grammar == Grammar::Systemd && joined.ends_with('\\') {
            joined.pop();
            // A comment between continued lines is left out, as systemd does.
            while lines
                .next_if(|(_, next)| grammar.is_comment(next.trim()))
                .is_some()
            {}
            let Some((next_start, next)) = lines.next() else {
                break;
            };
            end = next_start + next.len();
            joined = format!("{} {}", joined.trim_end(), next.trim());
        }
        let lead = line.len() - line.trim_start().len();
        let span = Span::new(file, start + lead..end);
        let is_header = joined.starts_with('[');
        let strange = !is_header && (!joined.contains('=') || sections.is_empty());
        if (is_header && !joined.ends_with(']')) || (strange && grammar == Grammar::Keyfile) {
            let whole = Span::new(file, 0..text.len());
            let why = format!("the whole file is refused for the line {joined:?}");
            report.breach(Code::Syntax, whole, why, "correct the line");
            return Vec::new();
        }
        if let Some(name) = joined
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            sections.push(Section {
                name: Located::new(name.to_owned(), span),
                entries: Vec::new(),
            });
        } else if let Some((key, value)) = joined.split_once('=') {
            let entry = Entry {
                key: key.trim_end().to_owned(),
                value: value.trim().to_owned(),
                span,
            };
            inline_comment(&entry, report);
            match sections.last_mut() {
                Some(section) => section.entries.push(entry),
                None => report.breach(
                    Code::MisplacedKey,
                    span,
                    "it stands above the first [section], where it is ignored",
                    "put it below the header it belongs to",
                ),
            }
        } else {
            report.breach(
                Code::Syntax,
                span,
                "it is neither a [section] nor KEY=VALUE, and is ignored",
                "write it as KEY=VALUE, or as a comment",
            );
        }
    }
    sections
}

/// Notes what looks like a comment behind a value. Descriptions and ids may hold anything.
fn inline_comment(entry: &Entry, report: &mut Report) {
    if matches!(entry.key.as_str(), "Description" | "id") {
        return;
    }
    if let Some(value) = before_comment(&entry.value) {
        let message = format!("{:?} is the value as a whole, comment and all", entry.value);
        report.finding(
            Diagnostic::new(Code::InlineComment, entry.span, message)
                .with_help("write the comment on a line of its own")
                .with_fix(entry.span, format!("{}={value}", entry.key)),
        );
    }
}

/// What stands before a `#` that looks like the start of a comment.
pub(super) fn before_comment(value: &str) -> Option<&str> {
    let at = value.find(" #").or_else(|| value.find("\t#"))?;
    Some(value[..at].trim_end())
}

/// The lines of a text without their ends, each with its offset.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut offset = 0;
    text.split_inclusive('\n').map(move |raw| {
        let start = offset;
        offset += raw.len();
        (start, raw.trim_end_matches(['\n', '\r']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Sources;

    #[test]
    fn entries_keep_their_places() {
        let text = "# c\nstray=1\n[A]\n K = v # tail \nL=1 \\\n# between\n 2\n; c\nnonsense\n[B]\r\nM=\r\n";
        let mut sources = Sources::default();
        let file = sources.add("x", text);
        let mut report = Report::default();
        let found = sections(file, text, Grammar::Systemd, &mut report);
        assert_eq!(found.len(), 2);
        let entries: Vec<(&str, &str, &str)> = found
            .iter()
            .flat_map(|section| &section.entries)
            .map(|e| (e.key.as_str(), e.value.as_str(), &text[e.span.range()]))
            .collect();
        assert_eq!(
            entries,
            [
                ("K", "v # tail", "K = v # tail "),
                ("L", "1 2", "L=1 \\\n# between\n 2"),
                ("M", "", "M="),
            ]
        );
        assert_eq!(found[1].name.value, "B");
        assert_eq!(report.notes().len(), 2, "{report:?}");
    }

    /// As `nmcli --offline` and systemd-networkd take them.
    #[test]
    fn some_lines_make_the_whole_file_void() {
        for (text, systemd, keyfile) in [
            ("[A]\nK=v\n", 1, 1),
            ("[A]\n; c\nK=v\n", 1, 0),
            ("[A]\nnonsense\n", 1, 0),
            ("K=v\n[A]\n", 1, 0),
            ("[A\nK=v\n", 0, 0),
        ] {
            let mut sources = Sources::default();
            let file = sources.add("x", text);
            let found = |grammar| {
                let mut report = Report::default();
                sections(file, text, grammar, &mut report).len()
            };
            let seen = (found(Grammar::Systemd), found(Grammar::Keyfile));
            assert_eq!(seen, (systemd, keyfile), "{text:?}");
        }
    }
}
