//! The passage of the tools' results that fits the question best.

use super::history::Result;
use super::words::{Prompt, stems_of};
use std::ops::Range;

/// Characters of a quotation, about.
const MAX_CHARS: usize = 600;

/// The tool and the passage. `None` when no tool said anything.
pub(super) fn best<'a>(results: &'a [Result], prompt: &Prompt) -> Option<(&'a str, String)> {
    let stems = prompt.stems();
    let passages = results.iter().flat_map(|result| {
        let text = result.text.trim();
        let blocks = blocks(text).into_iter();
        blocks.map(move |block| (result, &text[block.start..], &text[block]))
    });
    let scored = passages.map(|(result, rest, first)| {
        let passage = shorten(rest, MAX_CHARS);
        (fits(first, &passage, &stems), result, passage)
    });
    // The first of equals, which `max_by_key` does not give.
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some((&best.1.tool, best.2))
}

/// Points of a passage: words of the question in its first block count twice.
fn fits(first: &str, passage: &str, stems: &[&str]) -> usize {
    let count = |text: &str| {
        let words = stems_of(text);
        stems
            .iter()
            .filter(|stem| words.iter().any(|word| word == *stem))
            .count()
    };
    2 * count(first) + count(passage)
}

/// Where the paragraphs are; a heading stays with what follows it.
fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    while let Some(skipped) = text[start..].find(|c: char| !c.is_whitespace()) {
        start += skipped;
        let until_blank =
            |from: usize| text[from..].find("\n\n").map_or(text.len(), |at| from + at);
        let mut end = until_blank(start);
        if text[start..].starts_with('#') && end < text.len() {
            end = until_blank(end + 2);
        }
        out.push(start..end);
        start = end;
    }
    out
}

/// The text cut to `max` characters, at the end of a sentence where there is one.
pub(super) fn shorten(text: &str, max: usize) -> String {
    let text = text.trim();
    let Some((end, _)) = text.char_indices().nth(max) else {
        return text.to_owned();
    };
    let cut = &text[..end];
    let sentence = [". ", ".\n", "? ", "! ", "\n\n"]
        .iter()
        .filter_map(|mark| cut.rfind(mark))
        .max()
        .filter(|at| *at >= end / 2);
    match sentence {
        Some(at) => cut[..=at].trim_end().to_owned(),
        None => {
            let word = cut.rfind(char::is_whitespace).unwrap_or(end);
            format!("{} …", cut[..word].trim_end())
        }
    }
}
