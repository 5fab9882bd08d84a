//! Content of messages and of tool results, from parts of the Responses API to chat's.

use crate::compat::Row;
use crate::json::text;
use crate::provider::EncodeError;
use portunus_protocol::error::code;
use portunus_protocol::item::{Content, InputFile, InputImage, Part};
use serde_json::{Map, Value, json};

/// What a tool said: chat's tool messages carry text only, so pictures and files go into a
/// user message after them.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) media: Vec<Value>,
}

enum Piece {
    Text(String),
    Media(Value),
}

/// Content of a user message: a string when there is nothing but one text.
pub(super) fn user(row: &Row, path: &str, content: &Content) -> Result<Value, EncodeError> {
    let mut pieces = pieces(row, path, content)?;
    let only_text = pieces.iter().all(|piece| matches!(piece, Piece::Text(_)));
    if pieces.len() == 1 && only_text {
        return Ok(pieces.pop().map_or(Value::Null, Piece::into_bare));
    }
    if only_text && (row.quirks.joins_text || pieces.is_empty()) {
        return Ok(Value::String(joined(pieces).text));
    }
    Ok(pieces.into_iter().map(Piece::into_part).collect())
}

/// Content of a system or assistant message, which is text.
pub(super) fn plain(row: &Row, path: &str, content: &Content) -> Result<String, EncodeError> {
    let answer = joined(pieces(row, path, content)?);
    if answer.media.is_empty() {
        return Ok(answer.text);
    }
    Err(reject(
        row,
        &format!("{path}.content"),
        "a picture or file outside of a user message",
    ))
}

/// Content of a tool's result.
pub(super) fn answer(row: &Row, path: &str, content: &Content) -> Result<Answer, EncodeError> {
    Ok(joined(pieces(row, path, content)?))
}

/// A refusal to translate: names the field and the provider.
pub(super) fn reject(row: &Row, param: &str, what: &str) -> EncodeError {
    EncodeError {
        param: Some(param.to_owned()),
        code: code::VALUE,
        message: format!(
            "Invalid '{param}': {what} cannot be sent to the provider '{}'.",
            row.name
        ),
    }
}

impl Piece {
    fn into_bare(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text),
            Self::Media(value) => value,
        }
    }

    fn into_part(self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Media(value) => value,
        }
    }
}

fn joined(pieces: Vec<Piece>) -> Answer {
    let mut texts = Vec::new();
    let mut media = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => texts.push(text),
            Piece::Media(value) => media.push(value),
        }
    }
    Answer {
        text: texts.join("\n"),
        media,
    }
}

fn pieces(row: &Row, path: &str, content: &Content) -> Result<Vec<Piece>, EncodeError> {
    match content {
        Content::Text(text) => Ok(vec![Piece::Text(text.clone())]),
        Content::Parts(parts) => parts
            .iter()
            .enumerate()
            .map(|(index, part)| piece(row, &format!("{path}.content[{index}]"), part))
            .collect(),
    }
}

fn piece(row: &Row, path: &str, part: &Part) -> Result<Piece, EncodeError> {
    match part {
        Part::InputText(part) => Ok(Piece::Text(part.text.clone())),
        Part::OutputText(part) => Ok(Piece::Text(part.text.clone())),
        Part::Refusal { refusal } => Ok(Piece::Text(refusal.clone())),
        Part::InputImage(image) => image_part(row, path, image).map(Piece::Media),
        Part::InputFile(file) => file_part(row, path, file).map(Piece::Media),
        Part::Other(value) => other_part(row, path, value),
    }
}

fn image_part(row: &Row, path: &str, image: &InputImage) -> Result<Value, EncodeError> {
    let url = match &image.image_url {
        Some(url) if row.quirks.images => url,
        Some(_) => return Err(reject(row, path, "an image")),
        None => {
            let at = format!("{path}.file_id");
            return Err(reject(row, &at, "an image by file id"));
        }
    };
    let mut fields = Map::new();
    fields.insert("url".to_owned(), url.as_str().into());
    if let Some(detail) = &image.detail {
        fields.insert("detail".to_owned(), detail.as_str().into());
    }
    Ok(json!({"type": "image_url", "image_url": fields}))
}

fn file_part(row: &Row, path: &str, file: &InputFile) -> Result<Value, EncodeError> {
    if !row.quirks.files {
        return Err(reject(row, path, "a file"));
    }
    let mut fields = Map::new();
    let wanted = [
        ("file_id", &file.file_id),
        ("filename", &file.filename),
        ("file_data", &file.file_data),
    ];
    for (key, value) in wanted {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value.as_str().into());
        }
    }
    if file.file_url.is_some() {
        let at = format!("{path}.file_url");
        return Err(reject(row, &at, "a file by URL"));
    }
    if file.file_data.is_none() && file.file_id.is_none() {
        return Err(reject(row, path, "a file without 'file_data'"));
    }
    Ok(json!({"type": "file", "file": fields}))
}

fn other_part(row: &Row, path: &str, value: &Value) -> Result<Piece, EncodeError> {
    match value.get("type").and_then(Value::as_str) {
        Some("input_audio") if row.quirks.files => Ok(Piece::Media(value.clone())),
        Some("text" | "summary_text" | "reasoning_text") => Ok(Piece::Text(
            text(value, "text").unwrap_or_default().to_owned(),
        )),
        kind => Err(reject(
            row,
            path,
            &format!("a part of type '{}'", kind.unwrap_or_default()),
        )),
    }
}
