//! A small scanner of Rust sources: what is code, and where functions begin and end.

/// The source with comments and the inside of string and character literals blanked out.
///
/// Every character becomes one character, and line ends stay, so that an offset (in characters)
/// or a line number means the same in both texts.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut masked = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = token_end(&chars, at);
        if end == at {
            masked.push(chars[at]);
            at += 1;
        } else {
            masked.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    masked
}

/// Where the comment or literal that starts here ends; `at` itself when none does.
fn token_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, |rest| rest[0] == '\n', 0),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        '\'' => char_literal_end(chars, at),
        'r' | 'b' | 'c' if !follows_word(chars, at) => prefixed_string_end(chars, at),
        _ => at,
    }
}

/// The first place from `at` on that the test accepts, plus `extra`; else the end.
fn find(chars: &[char], at: usize, accept: impl Fn(&[char]) -> bool, extra: usize) -> usize {
    let found = (at..chars.len()).find(|&place| accept(&chars[place..]));
    found.map_or(chars.len(), |place| place + extra)
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && is_word(chars[at - 1])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut place) = (0, at);
    while place + 1 < chars.len() {
        match (chars[place], chars[place + 1]) {
            ('/', '*') => (depth, place) = (depth + 1, place + 2),
            ('*', '/') if depth == 1 => return place + 2,
            ('*', '/') => (depth, place) = (depth - 1, place + 2),
            _ => place += 1,
        }
    }
    chars.len()
}

/// `at` is the first character inside the quotes.
fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// A lifetime (`'a`) is code, a character literal (`'a'`, `'\''`) is not.
fn char_literal_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), Some(_)) => find(chars, at + 3, |rest| rest[0] == '\'', 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `c"…"`; raw names such as `r#type` are code.
fn prefixed_string_end(chars: &[char], at: usize) -> usize {
    let letters = chars[at..]
        .iter()
        .take_while(|c| "rbc".contains(**c))
        .count();
    let hashes = chars[at + letters..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    let quote = at + letters + hashes;
    let raw = chars[at..at + letters].contains(&'r');
    if letters > 2 || chars.get(quote) != Some(&'"') || (hashes > 0 && !raw) {
        return at;
    }
    if !raw {
        return string_end(chars, quote + 1);
    }
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    };
    find(chars, quote + 1, closes, hashes + 1)
}

/// A function with a body: its name, its first line (from 1), its length in lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// All functions with a body, counted from the line with `fn` to the closing brace.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    let starts = (0..chars.len()).filter(|&at| is_fn_keyword(&chars, at));
    starts.filter_map(|at| function_at(&chars, at)).collect()
}

fn is_fn_keyword(chars: &[char], at: usize) -> bool {
    chars[at..].starts_with(&['f', 'n'])
        && !follows_word(chars, at)
        && chars.get(at + 2).is_some_and(|c| c.is_whitespace())
}

/// None for pointers (`fn (…)`), macro patterns (`fn $name`) and declarations that end in `;`.
fn function_at(chars: &[char], at: usize) -> Option<Function> {
    let name_at = find(chars, at + 2, |rest| !rest[0].is_whitespace(), 0);
    let name: String = chars
        .get(name_at..)?
        .iter()
        .take_while(|c| is_word(**c))
        .collect();
    if name.is_empty() {
        return None;
    }
    let open = body_start(chars, name_at)?;
    let close = brace_end(chars, open);
    let line_breaks = |range: &[char]| range.iter().filter(|c| **c == '\n').count();
    let lines = line_breaks(&chars[at..close]) + 1;
    Some(Function {
        name,
        line: line_breaks(&chars[..at]) + 1,
        lines,
    })
}

/// The brace that opens the body: the first one outside round and square brackets.
fn body_start(chars: &[char], from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, c) in chars[from..].iter().enumerate() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(from + offset),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The place after the brace that closes the one at `open`.
fn brace_end(chars: &[char], open: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, c) in chars[open..].iter().enumerate() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    chars.len()
}

/// Line number (from 1) of a character offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.chars().take(offset).filter(|c| *c == '\n').count() + 1
}

/// The part of a source before its first `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]").next().unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::{code_only, functions, line_of, without_tests};

    /// `expected` is what remains of the source, blanks apart.
    #[track_caller]
    fn check_code(source: &str, expected: &str) {
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<String>(), expected);
        let line_ends = |text: &str| -> Vec<usize> {
            text.chars()
                .enumerate()
                .filter(|(_, c)| *c == '\n')
                .map(|(at, _)| at)
                .collect()
        };
        assert_eq!(line_ends(&code), line_ends(source));
        assert_eq!(code.chars().count(), source.chars().count());
    }

    #[test]
    fn comments_are_blanked() {
        check_code("a // {\nb", "ab");
        check_code("a /* { /* } */\n{ */ b", "ab");
        check_code("a /* open {\n", "a");
        check_code("a / b", "a/b");
    }

    #[test]
    fn strings_are_blanked() {
        check_code(r#"f("{\"}", 1)"#, "f(,1)");
        check_code(r##"f(r#"{"}"#, r"\", "{")"##, "f(,,)");
        check_code(r#"f(br"\", b"{", c"}")"#, "f(,,)");
        check_code("f(\"a\n{\")", "f()");
        check_code("f(\"open {", "f(");
    }

    #[test]
    fn names_that_look_like_prefixes_are_code() {
        check_code("r#type+bar+\"x\"", "r#type+bar+");
        check_code("br+rb[0]", "br+rb[0]");
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        check_code("fn f<'a>(x:&'a str)", "fnf<'a>(x:&'astr)");
        check_code(r"['{','\'','\u{7b}','é','\\']", "[,,,,]");
        check_code("b'{'+x::<'static>", "b+x::<'static>");
    }

    #[track_caller]
    fn check_functions(source: &str, expected: &[(&str, usize, usize)]) {
        let found: Vec<_> = functions(&code_only(source))
            .into_iter()
            .map(|function| (function.name, function.line, function.lines))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(name, line, lines)| (name.to_owned(), line, lines))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn functions_are_measured_from_keyword_to_closing_brace() {
        check_functions(
            "fn a() {}\n\npub async fn b(\n    x: u8,\n) -> u8 {\n    x\n}\n",
            &[("a", 1, 1), ("b", 3, 5)],
        );
    }

    #[test]
    fn braces_in_literals_and_comments_do_not_count() {
        check_functions(
            "fn a() {\n    // }\n    f(\"}\", '}');\n}\nfn b() {}\n",
            &[("a", 1, 4), ("b", 5, 1)],
        );
    }

    #[test]
    fn a_function_within_a_function_is_found_too() {
        check_functions(
            "fn a() {\n    fn b() {\n    }\n}",
            &[("a", 1, 4), ("b", 2, 2)],
        );
    }

    #[test]
    fn declarations_pointers_and_patterns_are_left_out() {
        check_functions(
            "trait T { fn a(&self, x: [u8; 2]); }\ntype F = fn (u8);\n",
            &[],
        );
        check_functions("macro_rules! m { ($n:ident) => { fn $n() { } } }", &[]);
    }

    #[test]
    fn an_array_length_does_not_end_the_signature() {
        check_functions("fn a(x: [u8; 2]) {\n}", &[("a", 1, 2)]);
    }

    #[test]
    fn lines_and_test_modules() {
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(without_tests("a #[cfg(test)] b"), "a ");
    }
}
