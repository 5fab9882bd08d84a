//! A log filter as conditions. Column names are literals, values are bound.

use sqlx::{Encode, QueryBuilder, Type};

use super::driver::Database;
use crate::model::LogFilter;

/// Columns that [`LogFilter::contains`] looks into.
const TEXT_COLUMNS: [&str; 7] = [
    "preview",
    "error_message",
    "model_asked",
    "model_served",
    "trace_id",
    "request_id",
    "response_id",
];

/// Pushes ` WHERE …` for the table `requests` under the name `r`.
pub(super) fn push_where(
    query: &mut QueryBuilder<Database>,
    workspace_id: &str,
    filter: &LogFilter,
) {
    query
        .push(" WHERE r.workspace_id = ")
        .push_bind(workspace_id);
    push_lists(query, filter);
    push_ranges(query, filter);
    if let Some(trace_id) = &filter.trace_id {
        query.push(" AND r.trace_id = ").push_bind(trace_id);
    }
    push_mcp(query, workspace_id, filter);
    if let Some(text) = &filter.contains {
        push_contains(query, text);
    }
}

fn push_lists(query: &mut QueryBuilder<Database>, filter: &LogFilter) {
    let status: Vec<_> = filter.status_code.iter().copied().map(i64::from).collect();
    any_of(query, &["status_code"], &status);
    any_of(query, &["model_asked", "model_served"], &filter.ai_model);
    any_of(query, &["virtual_key"], &filter.virtual_keys);
    any_of(query, &["api_key_id"], &filter.api_key_ids);
    any_of(query, &["config", "config_id"], &filter.configs);
    any_of(query, &["provider"], &filter.providers);
    any_of(query, &["error_source"], &filter.error_source);
}

/// One of the columns has one of the values.
fn any_of<T>(query: &mut QueryBuilder<Database>, columns: &[&'static str], values: &[T])
where
    for<'t> &'t T: Encode<'t, Database> + Type<Database>,
{
    if values.is_empty() {
        return;
    }
    for (position, column) in columns.iter().enumerate() {
        let before = if position == 0 { " AND (r." } else { " OR r." };
        query.push(before).push(column).push(" IN (");
        let mut list = query.separated(", ");
        for value in values {
            list.push_bind(value);
        }
        query.push(")");
    }
    query.push(")");
}

fn push_ranges(query: &mut QueryBuilder<Database>, filter: &LogFilter) {
    for (column, least, most) in [
        (
            "created_at_ms",
            filter.time_of_generation_min_ms,
            filter.time_of_generation_max_ms,
        ),
        (
            "cost_picodollars",
            filter.cost_min_picodollars,
            filter.cost_max_picodollars,
        ),
        (
            "total_tokens",
            filter.total_units_min,
            filter.total_units_max,
        ),
        (
            "input_tokens",
            filter.prompt_token_min,
            filter.prompt_token_max,
        ),
        (
            "output_tokens",
            filter.completion_token_min,
            filter.completion_token_max,
        ),
    ] {
        for (comparison, value) in [(" >= ", least), (" <= ", most)] {
            if let Some(value) = value {
                query
                    .push(" AND r.")
                    .push(column)
                    .push(comparison)
                    .push_bind(value);
            }
        }
    }
}

/// `IN` and not `EXISTS`: the tool's logs are found once, by an index, and not for each request.
fn push_mcp(query: &mut QueryBuilder<Database>, workspace_id: &str, filter: &LogFilter) {
    if filter.mcp_server.is_none() && filter.mcp_tool.is_none() {
        return;
    }
    query.push(" AND r.id IN (SELECT log_id FROM tool_uses WHERE workspace_id = ");
    query.push_bind(workspace_id);
    for (column, value) in [
        ("tool", &filter.mcp_tool),
        ("server_label", &filter.mcp_server),
    ] {
        if let Some(value) = value {
            query
                .push(" AND ")
                .push(column)
                .push(" = ")
                .push_bind(value);
        }
    }
    query.push(")");
}

fn push_contains(query: &mut QueryBuilder<Database>, text: &str) {
    let pattern = format!("%{}%", escape_like(&text.to_ascii_lowercase()));
    for (position, column) in TEXT_COLUMNS.iter().enumerate() {
        let before = if position == 0 {
            " AND (lower(r."
        } else {
            " OR lower(r."
        };
        query
            .push(before)
            .push(column)
            .push(") LIKE ")
            .push_bind(&pattern)
            .push(r" ESCAPE '\'");
    }
    query.push(")");
}

/// Makes `%`, `_` and the escape character itself stand for themselves in a `LIKE` pattern.
fn escape_like(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_characters_stand_for_themselves() {
        assert_eq!(escape_like(r"50%_\x"), r"50\%\_\\x");
    }

    #[test]
    fn no_value_is_in_the_text() {
        let value = "x' OR 1=1 --";
        let filter = LogFilter {
            ai_model: vec![value.to_owned(), value.to_owned()],
            trace_id: Some(value.to_owned()),
            mcp_server: Some(value.to_owned()),
            mcp_tool: Some(value.to_owned()),
            contains: Some(value.to_owned()),
            ..LogFilter::default()
        };
        let mut query = QueryBuilder::new("");
        push_where(&mut query, value, &filter);
        assert!(!query.sql().as_str().contains("1=1"));
    }
}
