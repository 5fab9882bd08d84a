//! Between rows and columns: reading and writing.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::driver::{Arguments, Bound, Readable, Row};
use crate::error::StoreError;
use crate::model::RequestRow;

pub(super) fn get<'r, T: Readable<'r>>(
    row: &'r Row,
    column: &'static str,
) -> Result<T, StoreError> {
    T::read(row, column).map_err(|error| corrupt(column, &error))
}

pub(super) fn get_json<T: DeserializeOwned>(
    row: &Row,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|error| corrupt(column, &error))
}

pub(super) fn get_time(row: &Row, column: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(get(row, column)?).map_err(|error| corrupt(column, &error))
}

pub(super) fn get_time_opt(
    row: &Row,
    column: &'static str,
) -> Result<Option<Timestamp>, StoreError> {
    let time: Option<i64> = get(row, column)?;
    let time = time.map(Timestamp::from_millisecond).transpose();
    time.map_err(|error| corrupt(column, &error))
}

pub(crate) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(Box::new(error)))
}

fn corrupt(column: &'static str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        column,
        reason: error.to_string(),
    }
}

/// Lists every field of a row once, so that the compiler finds a forgotten one.
macro_rules! columns {
    ($row:ident: $($plain:ident)+; json: $($json:ident)*) => {
        /// The columns that are named as the fields, in the order of [`bind`].
        pub(crate) const NAMES: &[&str] = &[$(stringify!($plain),)+ $(stringify!($json),)*];

        pub(crate) fn bind(row: &$row, out: &mut Arguments) -> Result<(), StoreError> {
            $(push(out, &row.$plain)?;)+
            $(push(out, json(&row.$json)?)?;)*
            Ok(())
        }

        pub(super) fn read(row: &Row) -> Result<$row, StoreError> {
            Ok($row {
                $($plain: get(row, stringify!($plain))?,)+
                $($json: get_json(row, stringify!($json))?,)*
            })
        }
    };
}
pub(super) use columns;

columns!(RequestRow:
    id workspace_id created_at_ms trace_id span_id parent_span_id span_name request_id
    response_id endpoint method status_code outcome error_source error_code error_message stream
    api_key_id api_key_name virtual_key config config_id config_version_id mode
    last_used_option provider model_asked model_served execution
    mcp_execution input_tokens cached_input_tokens cache_write_tokens output_tokens
    reasoning_tokens total_tokens cost_picodollars price_source total_ms first_token_ms gateway_ms
    provider_ms tools_ms turns tool_calls tool_errors attempts retry_count cache_status
    payload_level request_body response_body preview;
    json: client metadata notes);

/// Adds one bound value.
pub(crate) fn push(out: &mut Arguments, value: impl Bound) -> Result<(), StoreError> {
    value.add_to(out).map_err(StoreError::Database)
}
