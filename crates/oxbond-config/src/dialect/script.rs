//! Scripts of `sh` as far as their commands stand one after the other: variables that the script sets are replaced, what
//! stands in conditions, loops and functions is told and left out, and nothing is run.

use std::collections::BTreeMap;

use super::shell::{End, Grammar, Statements, Word};
use crate::report::Report;
use crate::span::{FileId, Span};

/// Words with which something begins that is not run from top to bottom, and with which it ends.
const OPENING: [&str; 6] = ["if", "for", "while", "until", "case", "{"];
const CLOSING: [&str; 4] = ["fi", "done", "esac", "}"];

/// Commands without an effect on the network.
const IDLE: [&str; 10] = [
    "set", "exit", ":", "true", "echo", "sleep", "printf", "ping", "cat", "udevadm",
];

/// A command.
pub(super) struct Line {
    /// Its words, without what only says who runs it.
    pub(super) words: Vec<Word>,
    /// Where it is.
    pub(super) span: Span,
    /// It runs only if the command before it fails.
    or: bool,
}

impl Line {
    /// Whether it is taken over. `looked` says that the command before it only shows something, as scripts do to find out
    /// whether a device is there.
    pub(super) fn counts(&self, looked: bool, report: &mut Report) -> bool {
        if self.or && looked {
            let what = "it is taken over as if the command before it had failed";
            report.changed(self.span, what);
        } else if self.or {
            let why = "it runs only if the command before it fails";
            report.unsupported(
                self.span,
                why,
                "write it as a line of its own, or remove it",
            );
        }
        looked || !self.or
    }
}

/// Splits a text into the commands that may matter; notes what does not, and what cannot be read.
pub(super) fn lines(file: FileId, text: &str, report: &mut Report) -> Vec<Line> {
    let mut statements = Statements::new(text, Grammar::Script);
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut end = End::Line;
    while let Some(statement) = statements.next(|name| variables.get(name).cloned()) {
        let span = Span::new(file, statement.range.clone());
        let or = core::mem::replace(&mut end, statement.end) == End::Or;
        let mut words = statement.words;
        let first = words[0].text.as_str();
        if OPENING.contains(&first) || first.ends_with("()") {
            depth += 1;
        }
        if depth > 0 {
            let why = "what stands in a shell's conditions, loops and functions is not read";
            report.unsupported(span, why, "write the commands one after the other");
            if CLOSING.contains(&first) {
                depth -= 1;
            }
            continue;
        }
        if statement.is_open {
            report.unsupported(span, "a quote in it is not closed on its line", "close it");
            continue;
        }
        if assignments(&words, &mut variables) {
            report.mapped(span);
            continue;
        }
        if let Some(output) = &statement.output {
            let why = format!("it writes to {output}, and commands are not run");
            report.unsupported(span, why, "write a command for the device in its place");
            continue;
        }
        if IDLE.contains(&first) {
            report.mapped(span);
            continue;
        }
        if words.iter().any(|word| word.expands) {
            let why = "a shell would replace a part of it, and what with is not said here";
            report.unsupported(span, why, "write the value itself");
            continue;
        }
        let before = words
            .iter()
            .take_while(|word| matches!(word.text.as_str(), "sudo" | "exec" | "-E" | "-n"))
            .count();
        words.drain(..before);
        if words.is_empty() {
            report.mapped(span);
        } else {
            found.push(Line { words, span, or });
        }
    }
    found
}

/// Takes variables in, if the words are nothing else.
fn assignments(words: &[Word], variables: &mut BTreeMap<String, String>) -> bool {
    let first = words[0].text.as_str();
    let skipped = usize::from(matches!(first, "export" | "local" | "readonly"));
    let mut found = Vec::new();
    for word in &words[skipped..] {
        let Some((name, value)) = word.text.split_once('=') else {
            return false;
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return false;
        }
        found.push((name.to_owned(), (!word.expands).then(|| value.to_owned())));
    }
    for (name, value) in found {
        match value {
            Some(value) => variables.insert(name, value),
            // What it is now, is not known.
            None => variables.remove(&name),
        };
    }
    true
}
