//! Places in the files that were read: every value of the model remembers where it was written.

use core::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file among [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(usize);

/// A piece of a file: bytes `start..end` of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte, at least `start`.
    pub end: usize,
}

impl Span {
    /// Bytes `range` of `file`.
    pub const fn new(file: FileId, range: Range<usize>) -> Self {
        Self {
            file,
            start: range.start,
            end: range.end,
        }
    }

    /// The bytes.
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written. For a value that was filled in: what made it necessary.
    pub span: Span,
}

impl<T> Located<T> {
    /// A value with its place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A place as people count: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as it was given or found.
    pub name: String,
    /// Its whole text.
    pub text: String,
    /// Offsets at which its lines begin.
    line_starts: Vec<usize>,
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            line_starts: core::iter::once(0).chain(behind).collect(),
            name,
            text,
        }
    }

    /// Line and column of a byte offset. An offset behind the end is taken for the end, one within a character for
    /// that character.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line_of(offset);
        Position {
            line: line + 1,
            column: self.text[self.line_starts[line]..offset].chars().count() + 1,
        }
    }

    /// The text of a line, counted from 1, without its end; nothing for a line there is not.
    pub fn line(&self, number: usize) -> &str {
        let start = number
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index));
        let Some(start) = start else {
            return "";
        };
        let end = self
            .line_starts
            .get(number)
            .copied()
            .unwrap_or(self.text.len());
        self.text[*start..end].trim_end_matches(['\n', '\r'])
    }

    /// The whole lines that a place touches, the offset of the first, and its number from 1.
    pub(crate) fn lines_around(&self, span: Span) -> (&str, usize, usize) {
        let first = self.line_of(span.start);
        // The place may end behind the line's end, at the start of the next.
        let last = self.line_of(span.end);
        let end = self
            .line_starts
            .get(last + 1)
            .copied()
            .unwrap_or(self.text.len());
        let start = self.line_starts[first];
        (&self.text[start..end], start, first + 1)
    }

    /// The line of an offset, from 0.
    fn line_of(&self, offset: usize) -> usize {
        // The first line begins at 0, so one at least begins at or before any offset.
        self.line_starts.partition_point(|start| *start <= offset) - 1
    }
}

/// All files of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// A part of a set lacks the files of the others.
    files: Vec<Option<Arc<Source>>>,
}

impl Sources {
    /// Takes a file in.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let source = Source::new(name.into(), text.into());
        self.files.push(Some(Arc::new(source)));
        FileId(self.files.len() - 1)
    }

    /// Some of the files, under the ids they have here.
    #[must_use]
    pub fn part(&self, keep: impl Fn(FileId) -> bool) -> Self {
        let kept = self.files.iter().enumerate();
        Self {
            files: kept
                .map(|(index, file)| file.clone().filter(|_| keep(FileId(index))))
                .collect(),
        }
    }

    /// The file with this id, which must come from these sources.
    ///
    /// # Panics
    ///
    /// With an id of other sources.
    pub fn get(&self, file: FileId) -> &Source {
        self.files[file.0]
            .as_ref()
            .expect("the id comes from these sources")
    }

    /// All files with their ids, in the order they were taken in.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        let files = self.files.iter().enumerate();
        files.filter_map(|(index, file)| Some((FileId(index), file.as_deref()?)))
    }

    /// The ids of all files, in order of name.
    pub fn by_name(&self) -> Vec<FileId> {
        let mut files: Vec<(&str, FileId)> = self
            .iter()
            .map(|(file, source)| (source.name.as_str(), file))
            .collect();
        files.sort();
        files.into_iter().map(|(_, file)| file).collect()
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        self.get(span.file).position(span.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("a".into(), "ab\nä=1\n".into());
        assert_eq!(
            (source.line(2), source.line(3), source.line(9)),
            ("ä=1", "", "")
        );
        for (offset, line, column) in [
            (0, 1, 1),
            (2, 1, 3),
            (3, 2, 1),
            (5, 2, 2),
            (4, 2, 1),
            (8, 3, 1),
            (99, 3, 1),
        ] {
            assert_eq!(
                source.position(offset),
                Position { line, column },
                "offset {offset}"
            );
        }
    }
}
