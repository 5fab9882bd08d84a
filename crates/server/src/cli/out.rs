//! What the commands print: text for people, JSON for programs. A reader that goes away
//! (`portunus logs | head`) is no error.

use serde_json::{Value, json};
use std::io::{IsTerminal, Write, stderr, stdout};

/// Where a command prints and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    json: bool,
    colours: bool,
}

impl Out {
    /// Standard output; colours on a terminal, unless `NO_COLOR` is set.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colours: !json && wanted && stdout().is_terminal(),
        }
    }

    /// True when the caller asked for JSON.
    #[must_use]
    pub fn is_json(self) -> bool {
        self.json
    }

    /// One line.
    pub fn line(self, text: &str) {
        let _reader_gone = writeln!(stdout(), "{text}");
    }

    /// Part of a line, shown at once.
    pub fn part(self, text: &str) {
        let mut out = stdout();
        let _reader_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// JSON, indented.
    pub fn json(self, value: &Value) {
        self.line(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// JSON on one line, for streams.
    pub fn json_line(self, value: &Value) {
        self.line(&value.to_string());
    }

    /// Something of this slug has changed; `answer` is what the gateway said.
    pub fn changed(self, what: &str, slug: &str, answer: &Value) {
        if self.json {
            self.json(&answer["data"]);
        } else {
            self.line(&format!("{what} {slug} changed."));
        }
    }

    /// Something of this slug is gone.
    pub fn removed(self, what: &str, slug: &str) {
        if self.json {
            self.json(&json!({"slug": slug, "deleted": true}));
        } else {
            self.line(&format!("{what} {slug} removed."));
        }
    }

    /// Rows under headings, columns as wide as they need.
    pub fn table(self, headings: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            cells.chain([headings[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let print = |cells: Vec<&str>| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.line(&self.dim(&print(headings.to_vec())));
        for row in rows {
            self.line(&print(row.iter().map(String::as_str).collect()));
        }
    }

    /// The `data` of a list of the API; each column is a heading and a field's name.
    pub fn list(self, found: &Value, columns: &[(&str, &str)]) {
        if self.json {
            return self.json(found);
        }
        let rows = found["data"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let cells = |row: &Value| {
            columns
                .iter()
                .map(|(_, field)| cell(&row[*field]))
                .collect()
        };
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        self.table(&headings, &rows.iter().map(cells).collect::<Vec<_>>());
    }

    /// Text that stands out.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.painted("1", text)
    }

    /// Text that stands back.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    /// Text of something that went well.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.painted("32", text)
    }

    /// Text of something that failed.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.painted("31", text)
    }

    /// Text of a name.
    #[must_use]
    pub fn cyan(self, text: &str) -> String {
        self.painted("36", text)
    }

    /// Text in one of the colours that [`Self::bold`] and its kin use.
    fn painted(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One line on standard error.
pub fn complain(text: &str) {
    let _nobody_listens = writeln!(stderr(), "{text}");
}

/// Why a command ends badly, on standard error, in the form that was asked for.
pub fn fail(json: bool, message: &str) {
    if json {
        complain(&json!({"error": {"message": message}}).to_string());
    } else {
        complain(&format!("portunus: {message}"));
    }
}

/// An error and its causes on one line; a cause that the text before ends with is not repeated.
#[must_use]
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Foreign text for a terminal: control characters become `\u{…}`, so that no escape code in a
/// tool's name or a log row acts.
#[must_use]
pub fn inert(text: &str) -> String {
    let odd =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if odd(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The first `most` characters, with a sign when something is cut.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A field of a JSON answer as a cell.
#[must_use]
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => inert(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_do_not_act() {
        assert_eq!(
            inert("a\u{1b}[2Jb\n\u{202e}"),
            "a\\u{1b}[2Jb\\u{a}\\u{202e}"
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("gone").context("cannot read x: gone");
        assert_eq!(
            chain(&error.context("settings")),
            "settings: cannot read x: gone"
        );
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöüß", 4), "äöüß");
        assert_eq!(cut("äöüßx", 4), "äöü…");
    }
}
