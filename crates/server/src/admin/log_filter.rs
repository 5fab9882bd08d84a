//! The query of the log list: Portkey's export filters by their names, and ours.

use super::Query;
use crate::answer::Refusal;
use portunus_protocol::error::code;
use portunus_store::LogFilter;

/// Every name that the list understands, those of its pages first.
const NAMES: [&str; 24] = [
    "limit",
    "after",
    "workspace_id",
    "status_code",
    "ai_model",
    "ai_org",
    "virtual_keys",
    "configs",
    "api_key_ids",
    "trace_id",
    "time_of_generation_min",
    "time_of_generation_max",
    "cost_min",
    "cost_max",
    "total_units_min",
    "total_units_max",
    "prompt_token_min",
    "prompt_token_max",
    "completion_token_min",
    "completion_token_max",
    "mcp_server",
    "mcp_tool",
    "error_source",
    "contains",
];

/// Whose fault an error can be.
const ERROR_SOURCES: [&str; 4] = ["client", "gateway", "provider", "mcp"];
/// Rows of a page when `limit` is not given, and the most of one.
const LIMIT: (u32, u32) = (50, 500);

/// Pico-dollars of a cent.
pub const PICODOLLARS_PER_CENT: f64 = 1e10;

/// The filter that a query asks for.
///
/// # Errors
/// 400 that names an unknown or wrong parameter.
pub fn filter(query: &Query) -> Result<LogFilter, Refusal> {
    read(query, &NAMES)
}

/// The filter that an export asks for: the same names, without those of pages and workspace.
///
/// # Errors
/// As [`filter`].
pub fn of_export(query: &Query) -> Result<LogFilter, Refusal> {
    let (_pages, names) = NAMES.split_at(3);
    read(query, names)
}

fn read(query: &Query, names: &[&str]) -> Result<LogFilter, Refusal> {
    query.only(names)?;
    query.once(names)?;
    let moment = |name| {
        query
            .moment(name)
            .map(|at| at.map(jiff::Timestamp::as_millisecond))
    };
    Ok(LogFilter {
        status_code: status_codes(query)?,
        ai_model: query.list("ai_model"),
        virtual_keys: query.list("virtual_keys"),
        api_key_ids: query.list("api_key_ids"),
        configs: query.list("configs"),
        providers: query.list("ai_org"),
        trace_id: query.get("trace_id").map(str::to_owned),
        error_source: error_sources(query)?,
        time_of_generation_min_ms: moment("time_of_generation_min")?,
        time_of_generation_max_ms: moment("time_of_generation_max")?,
        cost_min_picodollars: cost(query, "cost_min")?,
        cost_max_picodollars: cost(query, "cost_max")?,
        total_units_min: query.number("total_units_min")?,
        total_units_max: query.number("total_units_max")?,
        prompt_token_min: query.number("prompt_token_min")?,
        prompt_token_max: query.number("prompt_token_max")?,
        completion_token_min: query.number("completion_token_min")?,
        completion_token_max: query.number("completion_token_max")?,
        mcp_server: query.get("mcp_server").map(str::to_owned),
        mcp_tool: query.get("mcp_tool").map(str::to_owned),
        contains: query.get("contains").map(str::to_owned),
    })
}

/// How many rows the query asks for.
///
/// # Errors
/// 400 that names the range.
pub fn limit(query: &Query) -> Result<u32, Refusal> {
    let Some(text) = query.get("limit") else {
        return Ok(LIMIT.0);
    };
    let number = text.parse().ok().filter(|n| (1..=LIMIT.1).contains(n));
    number.ok_or_else(|| {
        let message = format!("Invalid 'limit': expected a number from 1 to {}.", LIMIT.1);
        Refusal::field("limit", code::VALUE, message)
    })
}

fn error_sources(query: &Query) -> Result<Vec<String>, Refusal> {
    let asked = query.list("error_source");
    match asked.iter().find(|s| !ERROR_SOURCES.contains(&s.as_str())) {
        None => Ok(asked),
        Some(odd) => {
            let known = ERROR_SOURCES.join(", ");
            let message = format!("Invalid 'error_source': '{odd:.80}'. There are {known}.");
            Err(Refusal::field("error_source", code::VALUE, message))
        }
    }
}

fn status_codes(query: &Query) -> Result<Vec<u16>, Refusal> {
    let wrong = |_| {
        let message = "Invalid type for 'status_code': expected numbers, parted by commas.";
        Refusal::field("status_code", code::TYPE, message)
    };
    query
        .list("status_code")
        .iter()
        .map(|text| text.parse().map_err(wrong))
        .collect()
}

/// Portkey counts cost in cents; rows hold pico-dollars.
fn cost(query: &Query, name: &str) -> Result<Option<i64>, Refusal> {
    let cents: Option<f64> = query.number(name)?;
    Ok(cents.map(|cents| (cents * PICODOLLARS_PER_CENT).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts;

    async fn of(text: &str) -> Result<LogFilter, Refusal> {
        let request = http::Request::builder()
            .uri(format!("/x?{text}"))
            .body(())
            .unwrap();
        let mut parts = request.into_parts().0;
        filter(&Query::from_request_parts(&mut parts, &()).await.unwrap())
    }

    #[tokio::test]
    async fn portkeys_names() {
        let text = "status_code=200,499&ai_model=gpt-4.1&cost_min=0.2236&virtual_keys=a,b\
                    &time_of_generation_min=2026-05-30T13:33:59Z&mcpTool=ask_question";
        let got = of(text).await.unwrap();
        assert_eq!(got.status_code, [200, 499]);
        assert_eq!(got.cost_min_picodollars, Some(2_236_000_000));
        assert_eq!(got.virtual_keys, ["a", "b"]);
        assert_eq!(got.time_of_generation_min_ms, Some(1_780_148_039_000));
        assert_eq!(got.mcp_tool.as_deref(), Some("ask_question"));
    }

    #[tokio::test]
    async fn the_limit_has_a_range() {
        for (text, good) in [
            ("0", false),
            ("1", true),
            ("500", true),
            ("501", false),
            ("-1", false),
        ] {
            let request = http::Request::builder().uri(format!("/x?limit={text}"));
            let mut parts = request.body(()).unwrap().into_parts().0;
            let found = limit(&Query::from_request_parts(&mut parts, &()).await.unwrap());
            assert_eq!(found.is_ok(), good, "{text}");
            let named = |refusal: Refusal| refusal.body.message.contains("from 1 to 500");
            assert!(found.map_or_else(named, |_| true), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_not_known_is_refused_by_name() {
        for (text, param) in [
            ("metadata=x", "metadata"),
            ("error_source=moon", "error_source"),
            ("limit=1&limit=2", "limit"),
            ("status_code=ok", "status_code"),
            ("cost_max=cheap", "cost_max"),
            ("time_of_generation_max=now", "time_of_generation_max"),
        ] {
            assert_eq!(
                of(text).await.unwrap_err().body.param.as_deref(),
                Some(param)
            );
        }
    }
}
