//! What a type cannot say about the settings: bounds, allow-lists, combinations.

use super::{Problem, Settings};
use portunus_egress::AllowList;

/// Everything that is wrong with settings whose types are right.
pub(super) fn problems(settings: &Settings) -> Vec<Problem> {
    let mut found = Vec::new();
    found.extend(bind(settings));
    found.extend(two_on_one(settings));
    found.extend(home(settings));
    found.extend(tls(settings));
    found.extend(database(settings));
    found.extend(allow_list("mcp.allow", &settings.mcp.allow));
    found.extend(allow_list("providers.allow", &settings.providers.allow));
    found.extend(log_level(&settings.log.level));
    found.extend(bounds(settings));
    found
}

fn bind(settings: &Settings) -> Option<Problem> {
    let safe = settings.listen.ip().is_loopback()
        || settings.tls_files().is_some()
        || settings.insecure_bind;
    (!safe).then(|| {
        Problem::new(
            "listen",
            format!(
                "{} can be reached from other machines: set tls.cert and tls.key, or say \
                 --insecure-bind (insecure_bind = true) when TLS ends in front of the gateway",
                settings.listen
            ),
        )
    })
}

/// Two listeners on one address; port 0 is a free one each time.
fn two_on_one(settings: &Settings) -> Option<Problem> {
    let same = settings.listen.port() != 0 && settings.metrics.listen == Some(settings.listen);
    same.then(|| Problem::new("metrics.listen", "the same as listen: take another port"))
}

/// Only a shell knows what `~` is.
fn home(settings: &Settings) -> Option<Problem> {
    settings.data_dir.starts_with("~").then(|| {
        let message = "`~` is not expanded here: write the whole path of the folder";
        Problem::new("data_dir", message)
    })
}

fn tls(settings: &Settings) -> Option<Problem> {
    let (field, other) = match (&settings.tls.cert, &settings.tls.key) {
        (Some(_), None) => ("tls.key", "tls.cert"),
        (None, Some(_)) => ("tls.cert", "tls.key"),
        _ => return None,
    };
    Some(Problem::new(
        field,
        format!("missing: {other} is set, TLS needs both"),
    ))
}

fn database(settings: &Settings) -> Option<Problem> {
    let url = settings.database.as_deref()?;
    let schemes = ["sqlite:", "postgres:", "postgresql:"];
    let known = schemes.iter().any(|scheme| url.starts_with(scheme));
    let expected = "expected a URL that begins with `sqlite:` or `postgres:`";
    (!known).then(|| Problem::new("database", expected))
}

/// Parses entry by entry, so that each wrong one is named.
fn allow_list(path: &str, entries: &[String]) -> Vec<Problem> {
    let wrong = |(index, entry): (usize, &String)| {
        let error = AllowList::parse([entry]).err()?;
        Some(Problem::new(format!("{path}[{index}]"), error.to_string()))
    };
    entries.iter().enumerate().filter_map(wrong).collect()
}

fn log_level(level: &str) -> Option<Problem> {
    let error = tracing_subscriber::EnvFilter::try_new(level).err()?;
    Some(Problem::new("log.level", error.to_string()))
}

/// Numbers that must not be zero, each with its largest sensible value.
fn bounds(s: &Settings) -> Vec<Problem> {
    const DAY_MS: u64 = 86_400_000;
    const GIB: usize = 1 << 30;
    let times = [
        ("mcp.list_timeout_ms", s.mcp.list_timeout_ms),
        ("mcp.call_timeout_ms", s.mcp.call_timeout_ms),
        (
            "providers.first_byte_timeout_ms",
            s.providers.first_byte_timeout_ms,
        ),
        ("providers.idle_timeout_ms", s.providers.idle_timeout_ms),
        ("log.flush_ms", s.log.flush_ms),
        ("limits.connect_timeout_ms", s.limits.connect_timeout_ms),
        ("limits.body_timeout_ms", s.limits.body_timeout_ms),
        ("limits.header_timeout_ms", s.limits.header_timeout_ms),
        ("limits.write_timeout_ms", s.limits.write_timeout_ms),
        ("limits.request_timeout_ms", s.limits.request_timeout_ms),
    ];
    let sizes = [
        ("mcp.max_pages", s.mcp.max_pages),
        ("mcp.max_tools", s.mcp.max_tools),
        ("mcp.max_list_bytes", s.mcp.max_list_bytes),
        ("mcp.max_result_bytes", s.mcp.max_result_bytes),
        ("mcp.max_sessions", s.mcp.max_sessions),
        ("providers.max_body_bytes", s.providers.max_body_bytes),
        ("log.payload_max_bytes", s.log.payload_max_bytes),
        ("log.queue", s.log.queue),
        ("log.batch", s.log.batch),
        ("limits.body_bytes", s.limits.body_bytes),
        ("limits.headers", s.limits.headers),
        ("limits.connections", s.limits.connections),
        ("limits.concurrency", s.limits.concurrency),
        ("limits.turns", s.limits.turns as usize),
        ("limits.turn_bytes", s.limits.turn_bytes),
        ("limits.tool_calls", s.limits.tool_calls as usize),
        ("limits.parallel_tool_calls", s.limits.parallel_tool_calls),
        ("limits.tool_output_bytes", s.limits.tool_output_bytes),
        ("limits.mcp_servers", s.limits.mcp_servers),
    ];
    let times = times
        .into_iter()
        .filter_map(|(path, value)| range(path, value, 1, DAY_MS));
    let sizes = sizes
        .into_iter()
        .filter_map(|(path, value)| range(path, value as u64, 1, GIB as u64));
    // hyper refuses a buffer of less than 8 KiB.
    let head = range(
        "limits.header_bytes",
        s.limits.header_bytes as u64,
        8 << 10,
        16 << 20,
    );
    let lives = [
        ("state.response_days", s.state.response_days, 3_650),
        ("state.approval_hours", s.state.approval_hours, 8_760),
    ];
    let lives = lives
        .into_iter()
        .filter_map(|(path, value, most)| range(path, value.into(), 1, most));
    let kept = range("log.retention_days", s.log.retention_days.into(), 0, 36_500);
    times
        .chain(sizes)
        .chain(lives)
        .chain(head)
        .chain(kept)
        .collect()
}

fn range(path: &str, value: u64, least: u64, most: u64) -> Option<Problem> {
    let fits = (least..=most).contains(&value);
    (!fits).then(|| Problem::new(path, format!("{value} is not between {least} and {most}")))
}
