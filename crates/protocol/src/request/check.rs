//! One place per kind of refusal, worded as OpenAI words it.

use super::type_name;
use crate::error::{ErrorBody, code};
use crate::shallow::Shallow;
use serde_json::{Map, Value};

pub(super) type Checked<T> = Result<T, ErrorBody>;

pub(super) fn missing(path: &str) -> ErrorBody {
    ErrorBody::invalid(
        path,
        code::MISSING,
        format!("Missing required parameter: '{path}'."),
    )
}

pub(super) fn unknown(path: &str) -> ErrorBody {
    ErrorBody::invalid(path, code::UNKNOWN, format!("Unknown parameter: '{path}'."))
}

pub(super) fn wrong_type(path: &str, expected: &str, got: &Value) -> ErrorBody {
    let got = type_name(got);
    let message = format!("Invalid type for '{path}': expected {expected}, but got {got} instead.");
    ErrorBody::invalid(path, code::TYPE, message)
}

pub(super) fn bad_value(path: &str, got: &str, supported: &[&str]) -> ErrorBody {
    let shown: String = got.chars().take(64).collect();
    let list: Vec<String> = supported.iter().map(|word| format!("'{word}'")).collect();
    let list = match list.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, [only])) => format!("{only} and {last}"),
        Some((last, rest)) => format!("{}, and {last}", rest.join(", ")),
        None => String::new(),
    };
    let message = format!("Invalid value: '{shown}'. Supported values are: {list}.");
    ErrorBody::invalid(path, code::VALUE, message)
}

pub(super) fn exclusive(path: &str, one: &str, other: &str) -> ErrorBody {
    let message = format!(
        "Mutually exclusive parameters: '{path}'. Ensure you are only providing one of: '{one}' or '{other}'."
    );
    ErrorBody::invalid(path, code::EXCLUSIVE, message)
}

/// The value of a top-level field; null counts as absent.
pub(super) fn value(shallow: &Shallow<'_>, key: &str) -> Checked<Option<Value>> {
    let Some(raw) = shallow.get(key) else {
        return Ok(None);
    };
    let value = serde_json::from_str(raw.get()).map_err(|error| unreadable(key, &error))?;
    Ok(Some(value).filter(|value| !Value::is_null(value)))
}

/// The library counts lines and columns from the beginning of the field: they are left out.
fn unreadable(key: &str, error: &serde_json::Error) -> ErrorBody {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    ErrorBody::invalid(key, code::JSON, format!("Invalid '{key}': {what}."))
}

/// As [`value`], without a key that is there twice.
pub(super) fn strict(shallow: &Shallow<'_>, key: &str) -> Checked<Option<Value>> {
    let Some(raw) = shallow.get(key) else {
        return Ok(None);
    };
    let value = crate::shallow::strict(raw.get()).map_err(|error| unreadable(key, &error))?;
    Ok(Some(value).filter(|value| !Value::is_null(value)))
}

pub(super) fn string(shallow: &Shallow<'_>, key: &str) -> Checked<Option<String>> {
    value(shallow, key)?
        .map(|value| into_string(key, value))
        .transpose()
}

/// A string of at most `max` characters.
pub(super) fn string_to(shallow: &Shallow<'_>, key: &str, max: usize) -> Checked<Option<String>> {
    let text = string(shallow, key)?;
    text.as_ref()
        .map_or(Ok(()), |text| length(key, text, max))?;
    Ok(text)
}

/// OpenAI's words for a string that is too long.
pub(super) fn length(path: &str, text: &str, max: usize) -> Checked<()> {
    let got = text.chars().count();
    if got <= max {
        return Ok(());
    }
    let message = format!(
        "Invalid '{path}': string too long. Expected a string with maximum length {max}, but got a string with length {got} instead."
    );
    Err(ErrorBody::invalid(path, "string_above_max_length", message))
}

/// A field that, where it is there, is one of some words.
pub(super) fn word(
    fields: &Map<String, Value>,
    key: &str,
    path: &str,
    words: &[&str],
) -> Checked<()> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(word)) if words.contains(&word.as_str()) => Ok(()),
        Some(Value::String(word)) => Err(bad_value(path, word, words)),
        Some(other) => Err(wrong_type(path, "a string", other)),
    }
}

pub(super) fn boolean(shallow: &Shallow<'_>, key: &str) -> Checked<Option<bool>> {
    value(shallow, key)?
        .map(|value| into_bool(key, &value))
        .transpose()
}

pub(super) fn object(shallow: &Shallow<'_>, key: &str) -> Checked<Option<Map<String, Value>>> {
    value(shallow, key)?
        .map(|value| into_object(key, value))
        .transpose()
}

/// An integer from `min` on.
pub(super) fn integer(shallow: &Shallow<'_>, key: &str, min: u64) -> Checked<Option<u64>> {
    let Some(value) = value(shallow, key)? else {
        return Ok(None);
    };
    if let Some(number) = value.as_i64()
        && i128::from(number) < i128::from(min)
    {
        return Err(below(key, "integer", min, &value));
    }
    value
        .as_u64()
        .map(Some)
        .ok_or_else(|| wrong_type(key, "an integer", &value))
}

/// An integer from 0 to `max`.
pub(super) fn integer_to(shallow: &Shallow<'_>, key: &str, max: u64) -> Checked<Option<u64>> {
    let number = integer(shallow, key, 0)?;
    match number {
        Some(number) if number > max => Err(above(key, "integer", max, &number.into())),
        _ => Ok(number),
    }
}

/// A number between two bounds.
pub(super) fn decimal(
    shallow: &Shallow<'_>,
    key: &str,
    min: u64,
    max: u64,
) -> Checked<Option<f64>> {
    let Some(value) = value(shallow, key)? else {
        return Ok(None);
    };
    let number = value
        .as_f64()
        .ok_or_else(|| wrong_type(key, "a decimal", &value))?;
    if number < min as f64 {
        return Err(below(key, "decimal", min, &value));
    }
    if number > max as f64 {
        return Err(above(key, "decimal", max, &value));
    }
    Ok(Some(number))
}

fn above(key: &str, kind: &str, max: u64, got: &Value) -> ErrorBody {
    let message = format!(
        "Invalid '{key}': {kind} above maximum value. Expected a value <= {max}, but got {got} instead."
    );
    let code = if kind == "integer" {
        "integer_above_max_value"
    } else {
        "decimal_above_max_value"
    };
    ErrorBody::invalid(key, code, message)
}

fn below(key: &str, kind: &str, min: u64, got: &Value) -> ErrorBody {
    let message = format!(
        "Invalid '{key}': {kind} below minimum value. Expected a value >= {min}, but got {got} instead."
    );
    let code = if kind == "integer" {
        "integer_below_min_value"
    } else {
        "decimal_below_min_value"
    };
    ErrorBody::invalid(key, code, message)
}

pub(super) fn into_string(path: &str, value: Value) -> Checked<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(path, "a string", &other)),
    }
}

pub(super) fn into_bool(path: &str, value: &Value) -> Checked<bool> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(path, "a boolean", value))
}

pub(super) fn into_object(path: &str, value: Value) -> Checked<Map<String, Value>> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type(path, "an object", &other)),
    }
}

pub(super) fn into_array(path: &str, value: Value) -> Checked<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong_type(path, "an array", &other)),
    }
}

pub(super) fn into_strings(path: &str, value: Value) -> Checked<Vec<String>> {
    let items = into_array(path, value)?;
    let numbered = items.into_iter().enumerate();
    numbered
        .map(|(index, item)| into_string(&format!("{path}[{index}]"), item))
        .collect()
}
