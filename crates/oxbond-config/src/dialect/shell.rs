//! Statements and words as a shell splits them: quotes, backslashes, comments, operators, and variables that the text
//! itself sets. Every byte of a word keeps its place. Nothing is run.

use core::ops::Range;

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// A script of `sh`.
    Script,
    /// Assignments that a shell takes in: as a script, but nothing is replaced in them.
    Assignments,
    /// Lines of words (modprobe.d): `"` quotes, `\` joins lines, a comment is a whole line.
    Plain,
}

/// A word without its quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text.
    pub(super) text: String,
    /// The piece of the source that each byte of the text comes from.
    at: Vec<Range<usize>>,
    /// Where the whole word stands.
    pub(super) range: Range<usize>,
    /// It holds something that a shell would replace, and of which the value is not known.
    pub(super) expands: bool,
}

impl Word {
    /// Where a part of the text was written; quotes at its ends are left out.
    pub(super) fn place(&self, part: Range<usize>) -> Range<usize> {
        match (
            self.at.get(part.start),
            self.at.get(part.end.wrapping_sub(1)),
        ) {
            (Some(first), Some(last)) if !part.is_empty() => first.start..last.end.max(first.start),
            _ => self.range.clone(),
        }
    }

    /// The parts between separators, without blanks around them, each with its place; empty ones are left out.
    pub(super) fn parts(
        &self,
        within: Range<usize>,
        is_separator: impl Fn(char) -> bool,
    ) -> Vec<(&str, Range<usize>)> {
        let mut parts = Vec::new();
        let mut start = within.start;
        let text = &self.text[..within.end];
        let ends = text[within.start..]
            .char_indices()
            .filter(|(_, c)| is_separator(*c))
            .map(|(at, c)| (within.start + at, c.len_utf8()))
            .chain(core::iter::once((within.end, 0)));
        for (end, width) in ends {
            let part = &text[start..end];
            let lead = part.len() - part.trim_start().len();
            let trimmed = part.trim();
            if !trimmed.is_empty() {
                let from = start + lead;
                parts.push((trimmed, self.place(from..from + trimmed.len())));
            }
            start = end + width;
        }
        parts
    }
}

/// What stands behind a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A new line, `;` or the end of the text.
    Line,
    /// `&&`: the next runs if this one succeeds.
    And,
    /// `||`: the next runs if this one fails.
    Or,
    /// `|` or `&`.
    Other,
}

/// A command, or a line of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// Its words.
    pub(super) words: Vec<Word>,
    /// From its first word to its last.
    pub(super) range: Range<usize>,
    /// What stands behind it.
    pub(super) end: End,
    /// A quote in it is not closed on its line.
    pub(super) is_open: bool,
    /// The file its output goes to, `/dev/null` aside.
    pub(super) output: Option<String>,
}

/// Splits a text.
pub(super) struct Statements<'t> {
    text: &'t str,
    at: usize,
    grammar: Grammar,
}

impl<'t> Statements<'t> {
    /// The statements of a text.
    pub(super) fn new(text: &'t str, grammar: Grammar) -> Self {
        Self {
            text,
            at: 0,
            grammar,
        }
    }

    /// The next statement that has words. `value` knows the variables set so far.
    pub(super) fn next(&mut self, value: impl Fn(&str) -> Option<String>) -> Option<Statement> {
        while self.at < self.text.len() {
            let statement = self.statement(&value);
            if !statement.words.is_empty() {
                return Some(statement);
            }
        }
        None
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.text[self.at..].starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn statement(&mut self, value: &impl Fn(&str) -> Option<String>) -> Statement {
        let is_shell = self.grammar != Grammar::Plain;
        let mut words: Vec<Word> = Vec::new();
        let mut is_open = false;
        let mut redirected = false;
        let mut output = None;
        let end = loop {
            let Some(c) = self.peek() else {
                break End::Line;
            };
            match c {
                '\n' => {
                    self.at += 1;
                    break End::Line;
                }
                _ if self.take("\\\n") || self.take("\\\r\n") => {}
                '#' if is_shell || words.is_empty() => self.skip_line(),
                _ if c.is_whitespace() => self.at += c.len_utf8(),
                ';' if is_shell => {
                    self.at += 1;
                    break End::Line;
                }
                _ if is_shell && self.take("&&") => break End::And,
                _ if is_shell && self.take("||") => break End::Or,
                '<' | '>' if is_shell => {
                    // The number before it says which output it is.
                    let at = self.at;
                    words.pop_if(|word| {
                        word.range.end == at && word.text.bytes().all(|b| b.is_ascii_digit())
                    });
                    while self.peek().is_some_and(|c| matches!(c, '<' | '>' | '&')) {
                        self.at += 1;
                    }
                    redirected = true;
                }
                '|' | '&' if is_shell => {
                    self.at += 1;
                    break End::Other;
                }
                _ => {
                    let (word, open) = self.word(value);
                    is_open |= open;
                    // Where output goes is no word of the command.
                    if !core::mem::take(&mut redirected) {
                        words.push(word);
                    } else if word.text != "/dev/null"
                        && !word.text.bytes().all(|b| b.is_ascii_digit())
                    {
                        output = Some(word.text);
                    }
                    if open {
                        self.skip_line();
                    }
                }
            }
        };
        let start = words.first().map_or(self.at, |word| word.range.start);
        let stop = words.last().map_or(self.at, |word| word.range.end);
        Statement {
            words,
            range: start..stop,
            end,
            is_open,
            output,
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    /// A word, and whether a quote in it stays open; it begins here.
    fn word(&mut self, value: &impl Fn(&str) -> Option<String>) -> (Word, bool) {
        let is_shell = self.grammar != Grammar::Plain;
        let mut word = Word::default();
        let start = self.at;
        let mut quote = None;
        let open = loop {
            let Some(c) = self.peek() else {
                break quote.is_some();
            };
            let at = self.at;
            if c == '\n' && quote.is_some() {
                break true;
            }
            if self.take("\\\n") || self.take("\\\r\n") {
                continue;
            }
            let ends = c.is_whitespace() || (is_shell && matches!(c, ';' | '&' | '|' | '<' | '>'));
            if ends && quote.is_none() {
                break false;
            }
            self.at += c.len_utf8();
            match (c, quote) {
                ('"', None) => quote = Some('"'),
                ('\'', None) if is_shell => quote = Some('\''),
                ('$', None) if is_shell && self.take("'") => quote = Some('$'),
                ('"', Some('"')) | ('\'', Some('\'' | '$')) => quote = None,
                ('\\', None | Some('"' | '$')) if is_shell => self.escaped(quote, at, &mut word),
                ('$' | '`', None | Some('"')) if is_shell => self.variable(c, at, value, &mut word),
                _ => word.push(c, at..self.at),
            }
        };
        word.range = start..self.at;
        (word, open)
    }

    /// What stands behind a backslash.
    fn escaped(&mut self, quote: Option<char>, at: usize, word: &mut Word) {
        let Some(c) = self.peek().filter(|c| *c != '\n') else {
            return word.push('\\', at..self.at);
        };
        self.at += c.len_utf8();
        let place = at..self.at;
        match (quote, c) {
            (Some('$'), 'n') => word.push('\n', place),
            (Some('$'), 't') => word.push('\t', place),
            (Some('"'), c) if !matches!(c, '"' | '\\' | '$' | '`') => {
                word.push('\\', place.clone());
                word.push(c, place);
            }
            _ => word.push(c, place),
        }
    }

    /// What stands behind `$`: the value of a variable where it is known.
    fn variable(
        &mut self,
        sign: char,
        at: usize,
        value: &impl Fn(&str) -> Option<String>,
        word: &mut Word,
    ) {
        let rest = &self.text[self.at..];
        let name_len = |text: &str| {
            text.bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                .count()
        };
        let (name, len) = match rest.strip_prefix('{') {
            Some(inner) => {
                let len = name_len(inner);
                let closed = inner[len..].starts_with('}');
                (&inner[..len], if closed { len + 2 } else { 0 })
            }
            None => (&rest[..name_len(rest)], name_len(rest)),
        };
        let is_replaced = sign == '$' && self.grammar == Grammar::Script && len > 0;
        match value(name).filter(|_| is_replaced) {
            Some(value) => {
                self.at += len;
                value.chars().for_each(|c| word.push(c, at..self.at));
            }
            None => {
                word.expands = true;
                word.push(sign, at..self.at);
            }
        }
    }
}

impl Word {
    fn push(&mut self, c: char, place: Range<usize>) {
        self.text.push(c);
        self.at.extend(core::iter::repeat_n(place, c.len_utf8()));
    }
}

/// A text as one word of a shell: in quotes where it needs them.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/,=+%@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if !text.contains(['"', '\\', '$', '`']) {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, grammar: Grammar) -> Vec<Vec<String>> {
        let mut statements = Statements::new(text, grammar);
        let mut found = Vec::new();
        while let Some(statement) =
            statements.next(|name| (name == "BOND").then(|| "bond0".to_owned()))
        {
            assert_eq!(
                statement.range,
                statement.words[0].range.start..statement.words.last().unwrap().range.end
            );
            found.push(statement.words.into_iter().map(|word| word.text).collect());
        }
        found
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, expected) in [
            ("a b # c\nd", vec![vec!["a", "b"], vec!["d"]]),
            ("a \\\n b", vec![vec!["a", "b"]]),
            ("a 'b c' \"d 'e'\"f", vec![vec!["a", "b c", "d 'e'f"]]),
            ("a\\ b \"\\\"\\x\"", vec![vec!["a b", "\"\\x"]]),
            ("$'a\\n\\'b'", vec![vec!["a\n'b"]]),
            (
                "a; b && c || d",
                vec![vec!["a"], vec!["b"], vec!["c"], vec!["d"]],
            ),
            ("a 2>/dev/null b >&2", vec![vec!["a", "b"]]),
            (
                "ip $BOND ${BOND}x \"$BOND\" '$BOND'",
                vec![vec!["ip", "bond0", "bond0x", "bond0", "$BOND"]],
            ),
            ("a#b '#'", vec![vec!["a#b", "#"]]),
            ("a ''", vec![vec!["a", ""]]),
            ("a 'b\nc", vec![vec!["a", "b"], vec!["c"]]),
        ] {
            assert_eq!(split(text, Grammar::Script), expected, "{text}");
        }
        assert_eq!(
            split("# c\noptions a b=\"c d\" e;f #g\\\n h", Grammar::Plain),
            [["options", "a", "b=c d", "e;f", "#g", "h"]]
        );
    }

    #[test]
    fn what_is_not_known_is_told() {
        let mut statements = Statements::new("a $b `c` 'd", Grammar::Script);
        let statement = statements.next(|_| None).unwrap();
        assert!(statement.is_open);
        let expands: Vec<bool> = statement.words.iter().map(|word| word.expands).collect();
        assert_eq!(expands, [false, true, true, false]);
    }

    #[test]
    fn parts_have_their_places() {
        let text = "x \"mode=1,  miimon=100\"";
        let statement = Statements::new(text, Grammar::Script)
            .next(|_| None)
            .unwrap();
        let word = &statement.words[1];
        let parts = word.parts(0..word.text.len(), |c| c == ',');
        let places: Vec<&str> = parts
            .iter()
            .map(|(_, range)| &text[range.clone()])
            .collect();
        assert_eq!(places, ["mode=1", "miimon=100"]);
        assert_eq!(parts[1].0, "miimon=100");
    }

    #[test]
    fn quoting_is_undone_by_splitting() {
        for text in ["a", "", "a b", "it's", "$x", "a\"b", "back\\slash", "ä"] {
            let statement = Statements::new(&format!("w {}", quoted(text)), Grammar::Script)
                .next(|_| None)
                .unwrap();
            assert_eq!(statement.words[1].text, text);
        }
    }
}
