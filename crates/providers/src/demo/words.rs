//! The prompt, taken apart.

/// Words that say nothing about what is asked.
const COMMON: &[&str] = &[
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "could",
    "did", "do", "does", "for", "from", "give", "had", "has", "have", "how", "i", "if", "in",
    "into", "is", "it", "its", "let", "me", "my", "of", "on", "one", "or", "our", "please",
    "should", "so", "some", "tell", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "to", "us", "use", "using", "want", "was", "we", "were", "what", "when",
    "where", "which", "who", "why", "will", "with", "would", "you", "your",
];

/// A question of the user.
#[derive(Debug)]
pub(super) struct Prompt {
    text: String,
    words: Vec<Word>,
}

#[derive(Debug)]
struct Word {
    /// As it was written, without punctuation around it.
    written: String,
    stem: String,
}

impl Prompt {
    pub(super) fn new(text: &str) -> Self {
        let words = text
            .split_whitespace()
            .map(bare)
            .filter(|word| !word.is_empty());
        Self {
            text: text.trim().to_owned(),
            words: words
                .map(|word| Word {
                    written: word.to_owned(),
                    stem: stem(word),
                })
                .collect(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it asks for something to be found out.
    pub(super) fn is_question(&self) -> bool {
        self.text.contains('?')
            || self.words.first().is_some_and(|first| {
                matches!(
                    first.written.to_lowercase().as_str(),
                    "what" | "which" | "who" | "how" | "why" | "where" | "when" | "find"
                )
            })
    }

    /// The stems of the words that matter, each once.
    pub(super) fn stems(&self) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        for word in self.words.iter().filter(|word| matters(&word.written)) {
            if !out.contains(&word.stem.as_str()) {
                out.push(&word.stem);
            }
        }
        out
    }

    /// The words that matter as they were written, without those of `not`.
    pub(super) fn key_words(&self, not: &[String]) -> String {
        let words = self.words.iter().filter(|word| matters(&word.written));
        let words = words.filter(|word| !not.contains(&word.stem));
        words
            .map(|word| word.written.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Text in quotation marks.
    pub(super) fn quoted(&self) -> Option<&str> {
        [('"', '"'), ('\u{201c}', '\u{201d}'), ('`', '`')]
            .into_iter()
            .find_map(|(open, close)| {
                let (_, rest) = self.text.split_once(open)?;
                let (inside, _) = rest.split_once(close)?;
                Some(inside.trim()).filter(|inside| !inside.is_empty())
            })
    }

    /// Numbers in the order of the prompt.
    pub(super) fn numbers(&self) -> Vec<f64> {
        let signs = |c: char| !c.is_ascii_digit() && c != '.' && c != '-';
        let words = self.words.iter().filter(|word| !is_date(&word.written));
        words
            .flat_map(|word| {
                word.written
                    .split(signs)
                    .filter_map(|text| text.parse().ok())
            })
            .collect()
    }

    /// The first word that `wanted` takes.
    pub(super) fn word(&self, wanted: impl Fn(&str) -> bool) -> Option<&str> {
        let mut words = self.words.iter().map(|word| word.written.as_str());
        words.find(|word| wanted(word))
    }

    /// `owner/name`, as repositories are named.
    pub(super) fn repository(&self) -> Option<(&str, &str)> {
        self.words.iter().find_map(|word| {
            let path = word.written.trim_start_matches("https://github.com/");
            let (owner, name) = path.split_once('/')?;
            let legal = |part: &str| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            };
            (legal(owner) && legal(name)).then_some((owner, name))
        })
    }

    /// A name: words in capitals after the first one, as one text.
    pub(super) fn proper_name(&self) -> Option<String> {
        let capital = |word: &&Word| word.written.starts_with(char::is_uppercase);
        let rest = self.words.iter().skip(1);
        let name: Vec<_> = rest
            .skip_while(|word| !capital(word))
            .take_while(capital)
            .map(|word| word.written.as_str())
            .collect();
        (!name.is_empty()).then(|| name.join(" "))
    }
}

/// Stems of the words in a name such as `search_docs` or `getWeather`, or in a description.
pub(super) fn stems_of(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
        before = c;
    }
    let words = spaced.split_whitespace().filter(|word| matters(word));
    words.map(stem).collect()
}

/// A word without its ending, in small letters: enough to match plurals and some verbs.
pub(super) fn stem(word: &str) -> String {
    let lower = word.to_lowercase();
    let endings = ["ing", "ed", "es", "s"];
    let cut = endings.iter().find_map(|ending| {
        let rest = lower.strip_suffix(ending)?;
        (rest.chars().count() >= 4).then(|| rest.to_owned())
    });
    cut.unwrap_or(lower)
}

pub(super) fn is_date(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').collect();
    matches!(parts.as_slice(), [year, month, day]
        if year.len() == 4 && month.len() == 2 && day.len() == 2
            && word.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
}

fn matters(word: &str) -> bool {
    !COMMON.contains(&word.to_lowercase().as_str())
}

fn bare(word: &str) -> &str {
    let edge = |c: char| !c.is_alphanumeric() && c != '-' && c != '/';
    word.trim_matches(edge).trim_end_matches('-')
}
