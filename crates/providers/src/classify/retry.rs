//! How long a provider asks to wait.

use super::report::Report;
use http::HeaderMap;
use jiff::Timestamp;
use std::time::Duration;

/// The wait, from the first place that names one. There is no clock here: a date counts
/// from the answer's own `date` header.
pub(super) fn after(headers: &HeaderMap, report: &Report) -> Option<Duration> {
    header(headers, "retry-after-ms")
        .and_then(|text| seconds(text.parse::<f64>().ok()? / 1000.0))
        .or_else(|| header(headers, "retry-after").and_then(|text| retry_after(headers, text)))
        .or_else(|| anthropic(headers))
        .or_else(|| openai(headers))
        .or_else(|| in_report(report))
}

/// The wait that a body names: Google's `RetryInfo`, or words such as "try again in 174ms".
pub(super) fn in_report(report: &Report) -> Option<Duration> {
    report
        .delay
        .as_deref()
        .and_then(span)
        .or_else(|| in_words(report.message.as_deref()?))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn retry_after(headers: &HeaderMap, text: &str) -> Option<Duration> {
    match text.trim().parse::<f64>() {
        Ok(count) => seconds(count),
        Err(_) => until(headers, date(text)?),
    }
}

fn until(headers: &HeaderMap, then: Timestamp) -> Option<Duration> {
    let now = date(header(headers, "date")?)?;
    Duration::try_from(then.duration_since(now)).ok()
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim())
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// `anthropic-ratelimit-…-reset`, RFC 3339: the latest of those that are used up.
fn anthropic(headers: &HeaderMap) -> Option<Duration> {
    let names = ["requests", "tokens", "input-tokens", "output-tokens"];
    names
        .iter()
        .filter(|name| {
            header(headers, &format!("anthropic-ratelimit-{name}-remaining")) == Some("0")
        })
        .filter_map(|name| header(headers, &format!("anthropic-ratelimit-{name}-reset")))
        .filter_map(|text| until(headers, text.parse().ok()?))
        .max()
}

/// `x-ratelimit-reset-…`, such as `6m0s`: the latest of those that are used up.
fn openai(headers: &HeaderMap) -> Option<Duration> {
    ["requests", "tokens"]
        .iter()
        .filter(|name| header(headers, &format!("x-ratelimit-remaining-{name}")) == Some("0"))
        .filter_map(|name| span(header(headers, &format!("x-ratelimit-reset-{name}"))?))
        .max()
}

fn in_words(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    let place = ["try again in ", "retry in ", "retry after "]
        .iter()
        .find_map(|words| Some(lower.find(words)? + words.len()))?;
    let rest = &lower[place..];
    let mut words = rest.split_whitespace();
    let first = words.next()?.trim_end_matches(['.', ',', ';']);
    match words.next() {
        Some(unit) if first.parse::<f64>().is_ok() => {
            let unit = unit.trim_end_matches(['.', ',', ';']);
            let unit = match unit {
                "second" | "seconds" => "s",
                "minute" | "minutes" => "m",
                "milliseconds" => "ms",
                _ => return None,
            };
            span(&format!("{first}{unit}"))
        }
        _ => span(first),
    }
}

/// A span such as `1s`, `6m0s`, `1.5s`, `174ms`, `34.4s`.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let count: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        total += count * unit_seconds(&rest[..letters])?;
        rest = &rest[letters..];
    }
    seconds(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}

fn seconds(count: f64) -> Option<Duration> {
    let span = Duration::try_from_secs_f64(count).ok()?;
    // Rounded: 0.174 has no exact form.
    Some(Duration::from_millis(
        u64::try_from((span + Duration::from_micros(500)).as_millis()).ok()?,
    ))
}
