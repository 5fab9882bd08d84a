//! The project's own documentation, embedded, and a small search over it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Name and text of each page.
pub(super) const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Most passages that a search gives.
const FOUND: usize = 4;
/// Longest excerpt of a passage, in characters.
const EXCERPT: usize = 700;
/// Words that say nothing about a page.
const COMMON: [&str; 28] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "does", "do", "for", "from", "how",
    "in", "is", "it", "of", "on", "or", "that", "the", "this", "to", "what", "which", "with",
    "who",
];

/// A paragraph or an item of a list, under its heading. Code is no passage.
#[derive(Debug, PartialEq, Eq)]
struct Passage {
    page: &'static str,
    heading: String,
    text: String,
    /// Heading and text as they are searched.
    words: (Vec<String>, Vec<String>),
}

/// The names of all pages, a line each, with their first heading.
pub(super) fn list() -> String {
    let line = |(name, text): &(&str, &str)| format!("{name}: {}", first_heading(text));
    PAGES.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn first_heading(text: &str) -> &str {
    let heading = text.lines().find_map(|line| line.strip_prefix("# "));
    heading
        .or_else(|| text.lines().find(|line| !line.is_empty()))
        .unwrap_or_default()
}

/// The text of a page, by its name, with or without folder and `.md`, whatever the case.
pub(super) fn read(page: &str) -> Option<&'static str> {
    let wanted = page.trim().trim_end_matches(".md").to_ascii_lowercase();
    let matches = |name: &str| {
        let name = name.trim_end_matches(".md").to_ascii_lowercase();
        name == wanted || name.rsplit('/').next() == Some(wanted.as_str())
    };
    PAGES
        .iter()
        .find(|(name, _)| matches(name))
        .map(|(_, text)| *text)
}

/// All passages, and how many hold each word. The pages never change while the process runs.
struct Index {
    passages: Vec<Passage>,
    holders: HashMap<String, usize>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    Index::of(
        PAGES
            .iter()
            .flat_map(|(page, text)| passages(page, text))
            .collect(),
    )
});

impl Index {
    fn of(passages: Vec<Passage>) -> Self {
        let mut holders = HashMap::new();
        for passage in &passages {
            let unique: HashSet<&String> = passage.words.1.iter().collect();
            for word in unique {
                *holders.entry(word.clone()).or_default() += 1;
            }
        }
        Self { passages, holders }
    }

    /// The passages that fit best, the best first.
    fn find(&self, query: &str) -> Vec<&Passage> {
        let words = words(query);
        let mut scored: Vec<(usize, &Passage)> = self
            .passages
            .iter()
            .map(|passage| (self.score(passage, &words), passage))
            .collect();
        scored.retain(|(points, _)| *points > 0);
        scored.sort_by_key(|(points, _)| Reverse(*points));
        scored
            .into_iter()
            .take(FOUND)
            .map(|(_, passage)| passage)
            .collect()
    }

    /// Rare words count more, words of the heading too; each word counts once.
    fn score(&self, passage: &Passage, words: &[String]) -> usize {
        let (heading, text) = &passage.words;
        let points = |word: &String| {
            let places = 2 * usize::from(text.contains(word)) + usize::from(heading.contains(word));
            let holders = self.holders.get(word).copied().unwrap_or(0);
            places * (10 + (self.passages.len() / (1 + holders)).min(90))
        };
        words.iter().map(points).sum()
    }
}

/// The passages that fit the query best, each with page and heading.
pub(super) fn search(query: &str) -> String {
    let found = INDEX.find(query);
    if found.is_empty() {
        return format!("Nothing found for \"{query}\". `list_pages` names all pages.");
    }
    let shown = found.iter().map(|passage| {
        let text: String = passage.text.chars().take(EXCERPT).collect();
        format!("{} > {}: {}", passage.page, passage.heading, text.trim())
    });
    shown.collect::<Vec<_>>().join("\n\n")
}

fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_alphanumeric());
    let words = parts.map(|word| stem(&word.to_lowercase()));
    words
        .filter(|word| word.len() > 1 && !COMMON.contains(&word.as_str()))
        .collect()
}

/// Singular and plural count as one word.
fn stem(word: &str) -> String {
    word.strip_suffix('s')
        .filter(|rest| rest.len() > 3)
        .unwrap_or(word)
        .to_owned()
}

/// A page cut into passages: at headings, blank lines and items of lists.
fn passages(page: &'static str, text: &str) -> Vec<Passage> {
    let mut heading = first_heading(text).to_owned();
    let (mut found, mut open, mut in_code) = (Vec::new(), String::new(), false);
    for line in text.lines().chain([""]) {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        let title = line.trim_start_matches('#');
        let is_heading = !in_code && title.len() < line.len() && title.starts_with(' ');
        if is_heading || fence || line.trim().is_empty() || is_item(line) {
            found.extend(passage(page, &heading, std::mem::take(&mut open)));
        }
        if is_heading {
            heading = title.trim().to_owned();
        } else if !in_code && !fence {
            open.push_str(line.trim());
            open.push(' ');
        }
    }
    found
}

fn passage(page: &'static str, heading: &str, text: String) -> Option<Passage> {
    let found = (words(heading), words(&text));
    let worth = found.1.len() > 2;
    worth.then(|| Passage {
        page,
        heading: heading.to_owned(),
        text,
        words: found,
    })
}

/// A line that begins an item of a list or a row of a table.
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with(['-', '*', '|']) || (number.len() < line.len() && number.starts_with(". "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(String, String)> {
        let cut = passages("p.md", text).into_iter();
        cut.map(|passage| (passage.heading, passage.text.trim().to_owned()))
            .collect()
    }

    #[test]
    fn a_page_is_cut_at_headings_blank_lines_and_items() {
        let text = "# One\nfirst long\nparagraph here\n\n```\n# no heading in code\n```\n\
                    ## Two\n- an item of words\n- another item follows\n1. third item counted\n";
        let pair = |heading: &str, text: &str| (heading.to_owned(), text.to_owned());
        assert_eq!(
            texts(text),
            [
                pair("One", "first long paragraph here"),
                pair("Two", "- another item follows"),
                pair("Two", "1. third item counted"),
            ]
        );
    }

    #[test]
    fn rare_words_win() {
        let text =
            "# P\nthe gateway runs tools\n\nthe gateway seals keys\n\nthe gateway ends well\n";
        let index = Index::of(passages("p.md", text));
        assert!(
            index.find("Which gateway seals the keys?")[0]
                .text
                .contains("seals")
        );
        assert!(index.find("zebra").is_empty());
    }

    #[test]
    fn common_words_and_plurals() {
        assert_eq!(
            words("What is the transports of a key"),
            ["transport", "key"]
        );
    }
}
