//! What became of each line that was read: nothing is dropped in silence.
//!
//! A dialect notes the fate of every piece of text it meets; [`Report::lines`] then answers for every line of every
//! file. A line that nobody noted is told as unknown, so a gap in a dialect shows as one.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{FileId, Located, Sources, Span};

/// What became of a piece of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// It means the same as before.
    Mapped,
    /// It is taken over, but not as it stands.
    Changed {
        /// The difference.
        what: String,
    },
    /// Its meaning is known, and lost.
    Unsupported {
        /// The reason.
        why: String,
        /// What to do about it.
        way_out: String,
    },
    /// Nobody knows it at this place.
    Unknown {
        /// What was probably meant.
        suggestion: Option<String>,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped => f.write_str("mapped"),
            Self::Changed { what } => write!(f, "mapped with a change: {what}"),
            Self::Unsupported { why, way_out } => write!(f, "unsupported: {why}; {way_out}"),
            Self::Unknown {
                suggestion: Some(meant),
            } => write!(f, "unknown; did you mean {meant}?"),
            Self::Unknown { suggestion: None } => f.write_str("unknown"),
        }
    }
}

/// The fate of one piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The piece.
    pub span: Span,
    /// What became of it.
    pub fate: Fate,
}

/// The fates of everything in a set of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    notes: Vec<Note>,
    findings: Vec<Diagnostic>,
    port_mtus: Vec<(Located<u32>, String)>,
    devices: Vec<Located<String>>,
}

impl Report {
    /// Everything that was noted, in the order it was.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Notes that a piece means the same as before.
    pub fn mapped(&mut self, span: Span) {
        self.note(span, Fate::Mapped);
    }

    /// Notes that a piece is taken over with a difference.
    pub fn changed(&mut self, span: Span, what: impl Into<String>) {
        self.note(span, Fate::Changed { what: what.into() });
    }

    /// Notes that a piece is lost: the reason, and what to do.
    pub fn unsupported(&mut self, span: Span, why: impl Into<String>, way_out: impl Into<String>) {
        let (why, way_out) = (why.into(), way_out.into());
        self.note(span, Fate::Unsupported { why, way_out });
    }

    /// Notes that nobody knows a piece, with what was probably meant.
    pub fn unknown(&mut self, span: Span, suggestion: Option<String>) {
        self.note(span, Fate::Unknown { suggestion });
    }

    /// Everything that breaks a rule, in the order it was found.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.findings
    }

    /// MTUs that files give to ports of bonds, with the port: the model has no room for them, since ports have their
    /// bond's.
    pub fn port_mtus(&self) -> &[(Located<u32>, String)] {
        &self.port_mtus
    }

    /// Devices that the files set up, also those that are no part of what is wanted.
    pub fn devices(&self) -> &[Located<String>] {
        &self.devices
    }

    /// Notes something that breaks a rule. What becomes of the text is noted beside it.
    pub fn finding(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// Notes that a piece is lost because it breaks a rule, with what to do: [`unsupported`](Self::unsupported) and
    /// [`finding`](Self::finding) in one.
    pub fn breach(
        &mut self,
        code: Code,
        span: Span,
        why: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        let (why, way_out) = (why.into(), way_out.into());
        self.finding(Diagnostic::new(code, span, why.as_str()).with_help(way_out.as_str()));
        self.unsupported(span, why, way_out);
    }

    /// Notes that a file gives an MTU to a port.
    pub fn port_mtu(&mut self, port: &str, mtu: Located<u32>) {
        self.port_mtus.push((mtu, port.to_owned()));
    }

    /// Notes that a file sets a device up.
    pub fn device(&mut self, name: Located<String>) {
        self.devices.push(name);
    }

    /// Takes in what another step (reading, then writing) has to say.
    pub fn extend(&mut self, other: Self) {
        self.notes.extend(other.notes);
        self.findings.extend(other.findings);
        self.port_mtus.extend(other.port_mtus);
        self.devices.extend(other.devices);
    }

    /// Whether everything was taken over unchanged.
    pub fn is_faithful(&self) -> bool {
        self.notes.iter().all(|note| note.fate == Fate::Mapped)
    }

    /// The fate of every line of every file. `is_comment` says of a line's text, without blanks around it, whether the
    /// file's dialect takes it for a comment.
    pub fn lines(&self, sources: &Sources, is_comment: impl Fn(&str) -> bool) -> Vec<LineReport> {
        let mut notes: BTreeMap<FileId, Vec<&Note>> = BTreeMap::new();
        for note in &self.notes {
            notes.entry(note.span.file).or_default().push(note);
        }
        let mut lines = Vec::new();
        for (file, source) in sources.iter() {
            let mut start = 0;
            let texts: Vec<(usize, &str)> = source
                .text
                .split_inclusive('\n')
                .map(|raw| {
                    let at = start;
                    start += raw.len();
                    (at, raw.trim_end_matches(['\n', '\r']))
                })
                .collect();
            let fates = fates(notes.get(&file).map_or(&[], Vec::as_slice), &texts);
            for (index, ((_, text), fates)) in texts.into_iter().zip(fates).enumerate() {
                let silent = text.trim().is_empty() || is_comment(text.trim());
                lines.push(LineReport {
                    file: source.name.clone(),
                    line: index + 1,
                    text: text.to_owned(),
                    fates: if fates.is_empty() && !silent {
                        vec![Fate::Unknown { suggestion: None }]
                    } else {
                        fates
                    },
                });
            }
        }
        lines
    }

    fn note(&mut self, span: Span, fate: Fate) {
        self.notes.push(Note { span, fate });
    }
}

/// What was noted about each line of a file; that something is mapped goes without saying where there is more to
/// say.
fn fates(notes: &[&Note], lines: &[(usize, &str)]) -> Vec<Vec<Fate>> {
    let mut all = vec![Vec::new(); lines.len()];
    for note in notes {
        // An empty line has its place too.
        let end = |(start, text): &(usize, &str)| start + text.len().max(1);
        let first = lines.partition_point(|line| end(line) <= note.span.start);
        let touched = lines[first..]
            .iter()
            .take_while(|(start, _)| *start < note.span.end)
            .count();
        for fates in &mut all[first..first + touched] {
            fates.push(note.fate.clone());
        }
    }
    for fates in &mut all {
        fates.sort();
        fates.dedup();
        if fates.len() > 1 {
            fates.retain(|fate| *fate != Fate::Mapped);
        }
    }
    all
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineReport {
    /// Path of its file.
    pub file: String,
    /// Its number, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// Its fates; none for a blank line or a comment.
    pub fates: Vec<Fate>,
}

impl fmt::Display for LineReport {
    /// `FILE:LINE: TEXT`, and below it one line for each fate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text.trim_end())?;
        for fate in &self.fates {
            write!(f, "\n    {fate}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_fate() {
        let mut sources = Sources::default();
        let file = sources.add("a.conf", "# about\n\none = 1\ntwo = 2\nthree = 3\nfour");
        let mut report = Report::default();
        report.mapped(Span::new(file, 9..16));
        report.mapped(Span::new(file, 17..24));
        report.changed(Span::new(file, 23..24), "it becomes 3");
        report.unsupported(Span::new(file, 25..39), "nothing has it", "leave it out");
        let lines = report.lines(&sources, |line| line.starts_with('#'));
        let texts: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "a.conf:1: # about",
                "a.conf:2: ",
                "a.conf:3: one = 1\n    mapped",
                "a.conf:4: two = 2\n    mapped with a change: it becomes 3",
                "a.conf:5: three = 3\n    unsupported: nothing has it; leave it out",
                "a.conf:6: four\n    unsupported: nothing has it; leave it out",
            ]
        );
        assert!(!report.is_faithful());
    }

    #[test]
    fn a_line_nobody_noted_is_unknown() {
        let mut sources = Sources::default();
        sources.add("a.conf", "; about\nstray\n");
        let lines = Report::default().lines(&sources, |line| line.starts_with(';'));
        assert_eq!(lines[0].fates, []);
        assert_eq!(lines[1].fates, [Fate::Unknown { suggestion: None }]);
    }
}
