//! Which tool fits the prompt.

use super::fill;
use super::history::Result;
use super::words::{Prompt, stem, stems_of};
use crate::turn::ToolDef;
use serde_json::Value;

/// Words in the name of a tool that finds things out.
const SEARCHES: &[&str] = &["search", "find", "query", "ask", "lookup"];
/// Words in the name of a tool that shows one thing whole.
const READS: &[&str] = &["read", "get", "fetch", "open", "show", "view"];
/// Points from which a tool is taken to fit.
const FITS: i32 = 3;

/// The tool that fits best, if any fits well.
pub(super) fn fitting<'a>(tools: &'a [ToolDef], prompt: &Prompt) -> Option<&'a ToolDef> {
    best(tools, prompt).filter(|tool| points(tool, prompt) >= FITS)
}

/// The tool that fits best; the first of equals.
pub(super) fn best<'a>(tools: &'a [ToolDef], prompt: &Prompt) -> Option<&'a ToolDef> {
    // `max_by_key` takes the last of equals, so the order is turned round.
    tools.iter().rev().max_by_key(|tool| points(tool, prompt))
}

/// After a search: the tool that reads what was found, with its arguments.
pub(super) fn follow_up<'a>(
    tools: &'a [ToolDef],
    prompt: &Prompt,
    result: &Result,
) -> Option<(&'a ToolDef, String)> {
    if !has_word(&result.tool, SEARCHES) || result.text.starts_with("Error") {
        return None;
    }
    tools
        .iter()
        .filter(|tool| tool.name != result.tool && has_word(&tool.name, READS))
        .find_map(|tool| {
            let key = fill::only_text(tool)?;
            let found = found(&result.text, &key, prompt)?;
            Some((tool, serde_json::json!({ key: found }).to_string()))
        })
}

fn has_word(name: &str, words: &[&str]) -> bool {
    stems_of(name)
        .iter()
        .any(|stem| words.contains(&stem.as_str()))
}

fn points(tool: &ToolDef, prompt: &Prompt) -> i32 {
    let name = stems_of(&tool.name);
    let description = stems_of(tool.description.as_deref().unwrap_or_default());
    let mut points = 0;
    for word in prompt.stems() {
        if name.iter().any(|part| part == word) {
            points += 4;
        } else if description.iter().any(|part| part == word) {
            points += 1;
        }
    }
    if prompt.is_question() && has_word(&tool.name, SEARCHES) {
        points += 3;
    }
    points + fill::points(tool, prompt)
}

/// What the result offers for the argument `key`: a field of that name, a labelled value, or
/// the first word of a heading or list entry; the one whose line fits the prompt best.
fn found(text: &str, key: &str, prompt: &Prompt) -> Option<String> {
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && let Some(found) = field(&value, key)
    {
        return Some(found);
    }
    let stems = prompt.stems();
    let fits = |line: &str| {
        let line = stems_of(line);
        stems
            .iter()
            .filter(|word| line.iter().any(|other| other == *word))
            .count()
    };
    let offers = text
        .lines()
        .filter_map(|line| Some((offer(line, key)?, fits(line))));
    let best = offers.rev().max_by_key(|(_, fits)| *fits);
    best.map(|(found, _)| found)
}

fn field(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Object(fields) => match fields.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => fields.values().find_map(|inner| field(inner, key)),
        },
        Value::Array(all) => all.iter().find_map(|inner| field(inner, key)),
        _ => None,
    }
}

fn offer(line: &str, key: &str) -> Option<String> {
    let line = line.trim();
    if let Some((label, rest)) = line.split_once(':')
        && stem(label.trim_matches(|c: char| !c.is_alphanumeric())) == stem(key)
    {
        return first_word(rest);
    }
    let entry = line
        .strip_prefix(['#', '-', '*', '+'])
        .map(|rest| rest.trim_start_matches('#'))
        .or_else(|| {
            let (number, rest) = line.split_once(['.', ')'])?;
            number.parse::<u32>().ok().map(|_| rest)
        })?;
    first_word(entry)
}

fn first_word(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
    (!word.is_empty()).then(|| word.to_owned())
}
