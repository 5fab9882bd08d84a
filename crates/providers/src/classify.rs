//! What an error answer means: one reading for all vendors, since each of them borrows the
//! others' shapes.

mod report;
mod retry;

use crate::failure::{Failure, FailureKind, Source};
use crate::redact::redact;
use http::HeaderMap;
use portunus_protocol::error::{ErrorBody, code, kind};
use report::Report;
use serde_json::Value;

/// Sorts an answer with an error status (or a 200 that holds an error).
pub(crate) fn classify(provider: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let report = Report::read(body);
    let mut failure = failure(provider, Some(status), &report);
    failure.retry_after = retry::after(headers, &report);
    match headers
        .get("x-should-retry")
        .map(http::HeaderValue::as_bytes)
    {
        Some(b"true") => failure.retry = true,
        Some(b"false") => failure.retry = false,
        _ => {}
    }
    failure
}

/// Sorts an error that came inside a stream or a 200, if `value` is one.
pub(crate) fn inside(provider: &str, value: &Value) -> Option<Failure> {
    let report = Report::of(value);
    report.is_error.then(|| failure(provider, None, &report))
}

fn failure(provider: &str, upstream: Option<u16>, report: &Report) -> Failure {
    let status = upstream
        .filter(|status| *status >= 300)
        .or(report.status)
        .unwrap_or_else(|| status_of_words(report));
    let kind = kind_of(status, report);
    let words = Words {
        provider,
        status,
        report,
    };
    Failure {
        kind,
        source: source_of(kind),
        retry: retries(kind, status),
        retry_after: retry::in_report(report),
        status: status_for_caller(kind, status),
        body: words.body(kind),
        upstream_status: upstream,
        upstream_code: report.code.clone().or_else(|| report.kind.clone()),
    }
}

/// An error without a number: its words stand for the usual status.
fn status_of_words(report: &Report) -> u16 {
    const WORDS: &[(&str, u16)] = &[
        ("invalid_api_key", 401),
        ("authentication", 401),
        ("permission", 403),
        ("insufficient_quota", 429),
        ("rate_limit", 429),
        ("throttling", 429),
        ("overloaded", 503),
        ("not_found", 404),
        ("server_error", 500),
        ("invalid_request", 400),
        ("invalid_prompt", 400),
        ("context_length", 400),
        ("exceed_context_size", 400),
        ("content_filter", 400),
        ("bad_request", 400),
        ("badrequest", 400),
    ];
    let found = WORDS.iter().find(|(word, _)| report.says(&[word]));
    found.map_or(500, |(_, status)| *status)
}

fn kind_of(status: u16, report: &Report) -> FailureKind {
    if report.says(&["tool_use_failed"]) {
        return FailureKind::BadAnswer;
    }
    if is_quota(status, report) {
        return FailureKind::Quota;
    }
    if report.says(&["invalid_api_key", "api_key_invalid"]) {
        return FailureKind::Auth;
    }
    match status {
        401 => FailureKind::Auth,
        403 => forbidden(report),
        404 => FailureKind::NotFound,
        429 => FailureKind::RateLimit,
        408 | 504 | 522 | 524 => FailureKind::Timeout,
        409 | 425 | 503 | 529 => FailureKind::Overloaded,
        400..=499 if status != 424 => bad_request(report),
        500 if report.mentions(CLIENT_FAULTS) => FailureKind::BadRequest,
        300..=399 => FailureKind::BadAnswer,
        _ => FailureKind::Server,
    }
}

/// Faults of the request that servers report as their own (llama.cpp).
const CLIENT_FAULTS: &[&str] = &["image input is not supported"];

fn is_quota(status: u16, report: &Report) -> bool {
    let named = report.says(&["insufficient_quota", "billing", "insufficient_balance"]);
    let told = report.mentions(&[
        "insufficient balance",
        "credit balance is too low",
        "exceeded your current quota",
    ]);
    status == 402 || named || told
}

/// A 403 is about the credential unless it says that it is about the place or the right.
fn forbidden(report: &Report) -> FailureKind {
    let rights = report.says(&[
        "permission",
        "unsupported_country",
        "forbidden",
        "access_denied",
    ]) || report.mentions(&[
        "permission",
        "not supported",
        "not have access",
        "not allowed",
    ]);
    if rights {
        FailureKind::Permission
    } else {
        FailureKind::Auth
    }
}

fn bad_request(report: &Report) -> FailureKind {
    if report.says(&["content_filter", "content_policy"]) {
        FailureKind::ContentFilter
    } else {
        FailureKind::BadRequest
    }
}

fn is_context(report: &Report) -> bool {
    report.says(&["context_length", "exceed_context_size"])
        || report.mentions(&[
            "maximum context length",
            "context window",
            "context size",
            "context length",
            "prompt is too long",
        ])
}

fn source_of(kind: FailureKind) -> Source {
    match kind {
        FailureKind::BadRequest | FailureKind::NotFound | FailureKind::ContentFilter => {
            Source::Client
        }
        FailureKind::Auth | FailureKind::Permission => Source::Gateway,
        _ => Source::Upstream,
    }
}

fn retries(kind: FailureKind, status: u16) -> bool {
    match kind {
        FailureKind::BadAnswer => !(300..400).contains(&status),
        _ => matches!(
            kind,
            FailureKind::RateLimit
                | FailureKind::Overloaded
                | FailureKind::Server
                | FailureKind::Timeout
        ),
    }
}

fn status_for_caller(kind: FailureKind, upstream: u16) -> u16 {
    match kind {
        FailureKind::BadRequest if upstream == 413 => 413,
        FailureKind::BadRequest | FailureKind::ContentFilter => 400,
        FailureKind::Permission => 403,
        FailureKind::NotFound => 404,
        FailureKind::RateLimit | FailureKind::Quota => 429,
        FailureKind::Overloaded => 503,
        FailureKind::Timeout if upstream == 408 => 503,
        FailureKind::Timeout => 504,
        FailureKind::Auth | FailureKind::Server | FailureKind::BadAnswer => 502,
    }
}

/// Makes the error for our caller.
struct Words<'a> {
    provider: &'a str,
    status: u16,
    report: &'a Report,
}

impl Words<'_> {
    fn body(&self, failure: FailureKind) -> ErrorBody {
        let report = self.report;
        match failure {
            FailureKind::BadRequest if is_context(report) => {
                self.client(Some("context_length_exceeded"))
            }
            FailureKind::BadRequest => self.client(None),
            FailureKind::ContentFilter => self.client(Some("content_filter")),
            FailureKind::NotFound if self.names_a_model() => self.client(Some(code::MODEL)),
            FailureKind::NotFound => self.client(Some("not_found")),
            FailureKind::Permission => self.client(Some("permission_denied")),
            FailureKind::Auth => {
                ErrorBody::new(kind::SERVER, self.rejected()).code(code::PROVIDER_AUTH)
            }
            FailureKind::Quota => {
                ErrorBody::new("insufficient_quota", self.message()).code("insufficient_quota")
            }
            FailureKind::RateLimit => {
                ErrorBody::new(kind::REQUESTS, self.message()).code("rate_limit_exceeded")
            }
            FailureKind::Overloaded => {
                ErrorBody::new(kind::UNAVAILABLE, self.message()).code("overloaded")
            }
            FailureKind::Timeout => ErrorBody::new(kind::TIMEOUT, self.message()).code("timeout"),
            FailureKind::BadAnswer if report.code.is_some() => self.own_code(),
            FailureKind::Server | FailureKind::BadAnswer => {
                ErrorBody::new(kind::SERVER, self.message()).code(code::SERVER)
            }
        }
    }

    /// An error about the request; the provider's own code and field stay.
    fn client(&self, code: Option<&'static str>) -> ErrorBody {
        let mut body = ErrorBody::new(kind::INVALID_REQUEST, self.message());
        body.param.clone_from(&self.report.param);
        body.code = match code {
            Some(code) => Some(code.into()),
            None => self.report.word_code().map(Into::into),
        };
        body
    }

    fn own_code(&self) -> ErrorBody {
        let body = ErrorBody::new(kind::SERVER, self.message());
        match self.report.word_code() {
            Some(code) => body.code(code),
            None => body.code(code::SERVER),
        }
    }

    fn names_a_model(&self) -> bool {
        self.report.says(&["model_not_found", "deploymentnotfound"])
            || self.report.mentions(&["model", "deployment"])
    }

    fn rejected(&self) -> String {
        let mut text = format!(
            "The provider '{}' rejected the credential that is stored for it (HTTP {}).",
            self.provider, self.status
        );
        if let Some(said) = &self.report.message {
            text.push_str(" It said: ");
            text.push_str(&redact(said));
        }
        text
    }

    fn message(&self) -> String {
        match &self.report.message {
            Some(said) => redact(said),
            None => format!(
                "The provider '{}' answered with HTTP {} and no message.",
                self.provider, self.status
            ),
        }
    }
}

#[cfg(test)]
mod tests;
