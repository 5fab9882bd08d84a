//! What a model is told of a finished MCP call, made from the item alone: in the next turn, in
//! the next request and for items that a client sends again it is the same. Pure.
//!
//! No address that a server names is ever opened: a link stays a line of text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portunus_protocol::item::{Content, InputFile, InputImage, InputText, Part};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

use crate::block::Block;

/// Kinds of images that models take.
const IMAGES: &[&str] = &["image/png", "image/jpeg", "image/webp", "image/gif"];

/// Kinds of sound that models take, and OpenAI's words for them.
const SOUNDS: &[(&str, &str)] = &[
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/wave", "wav"),
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
];

/// The content for the model: the output with images, sound and files as parts, or the error as
/// compact JSON. Empty when the call has neither.
#[must_use]
pub fn of(output: Option<&str>, error: Option<&Value>) -> Content {
    match (output, error) {
        (Some(output), _) => of_output(output),
        (None, Some(error)) => Content::Text(of_error(error)),
        (None, None) => Content::Text(String::new()),
    }
}

/// Content as one text, for those who keep it: anything but text in words.
#[must_use]
pub fn plain(content: &Content) -> Cow<'_, str> {
    match content {
        Content::Text(text) => text.into(),
        Content::Parts(parts) => {
            let texts: Vec<String> = parts.iter().map(|part| part.in_words(None)).collect();
            texts.join("\n").into()
        }
    }
}

fn of_output(output: &str) -> Content {
    let Some(blocks) = blocks(output) else {
        return Content::Text(output.to_owned());
    };
    Content::Parts(blocks.iter().flat_map(parts).collect())
}

/// The blocks, if the output is the JSON array of a result that is not all text.
fn blocks(output: &str) -> Option<Vec<Block<'_>>> {
    if !output.starts_with("[{") {
        return None;
    }
    let raw: Vec<&RawValue> = serde_json::from_str(output).ok()?;
    let blocks: Vec<Block<'_>> = raw.into_iter().map(Block::read).collect();
    let known = |block: &Block<'_>| {
        ["image", "audio", "resource", "resource_link"].contains(&block.kind.as_str())
    };
    let typed = blocks.iter().all(|block| !block.kind.is_empty());
    (typed && blocks.iter().any(known)).then_some(blocks)
}

fn parts(block: &Block<'_>) -> Vec<Part> {
    match block.kind.as_str() {
        "text" | "resource" if block.any_text().is_some() => vec![text(block)],
        "image" | "audio" | "resource" => binary(block),
        "resource_link" => vec![input_text(block.in_words(None))],
        _ => vec![input_text(block.without_data())],
    }
}

/// A resource's text comes with its address.
fn text(block: &Block<'_>) -> Part {
    let text = block.any_text().unwrap_or_default();
    match block.kind.as_str() {
        "resource" => input_text(format!("{}\n{text}", block.in_words(None))),
        _ => input_text(text),
    }
}

/// Binary data as a part that some model takes, else in words.
fn binary(block: &Block<'_>) -> Vec<Part> {
    let Some(bytes) = block.data().and_then(|data| decoded(&data)) else {
        return vec![input_text(
            block.in_words(Some("not shown: it is not base64")),
        )];
    };
    let Some(part) = part(block, &bytes) else {
        let why = "not shown: no kind of content that models take";
        return vec![input_text(block.in_words(Some(why)))];
    };
    match block.kind.as_str() {
        "resource" => vec![input_text(block.in_words(None)), part],
        _ => vec![part],
    }
}

fn part(block: &Block<'_>, bytes: &[u8]) -> Option<Part> {
    let mime = block.mime()?;
    let url = |mime: &str| Some(format!("data:{mime};base64,{}", STANDARD.encode(bytes)));
    if let Some(mime) = IMAGES.iter().find(|known| **known == mime) {
        return Some(Part::InputImage(InputImage {
            image_url: url(mime),
            ..InputImage::default()
        }));
    }
    if let Some((_, format)) = SOUNDS.iter().find(|(known, _)| *known == mime) {
        let sound = json!({"data": STANDARD.encode(bytes), "format": format});
        return Some(Part::Other(
            json!({"type": "input_audio", "input_audio": sound}),
        ));
    }
    if mime == "application/pdf" {
        return Some(Part::InputFile(InputFile {
            file_data: url(&mime),
            filename: block.file_name().or(Some("file.pdf".to_owned())),
            ..InputFile::default()
        }));
    }
    let readable = mime.starts_with("text/") || mime == "application/json";
    let text = std::str::from_utf8(bytes).ok().filter(|_| readable)?;
    Some(input_text(text.to_owned()))
}

/// Some servers break base64 into lines, some leave out its padding.
fn decoded(data: &str) -> Option<Vec<u8>> {
    let bare: String = data.split_ascii_whitespace().collect();
    let bare = bare.trim_end_matches('=');
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(bare);
    bytes.ok().filter(|bytes| !bytes.is_empty())
}

/// An error as compact JSON, its content without binary data.
fn of_error(error: &Value) -> String {
    let mut error = error.clone();
    let content = error.get_mut("content").and_then(Value::as_array_mut);
    for block in content.into_iter().flatten() {
        if let Ok(raw) = serde_json::value::to_raw_value(block)
            && let Ok(slim) = serde_json::from_str(&Block::read(&raw).without_data())
        {
            *block = slim;
        }
        if let Some(fields) = block.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
    }
    error.to_string()
}

fn input_text(text: String) -> Part {
    Part::InputText(InputText {
        text,
        ..InputText::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &Value) {
        let content = of(Some(output), None);
        assert_eq!(serde_json::to_value(&content).unwrap(), *expected);
        let text = plain(&content);
        assert!(!text.contains("QUJD"), "{text}");
    }

    fn block(fields: &Value) -> String {
        json!([fields]).to_string()
    }

    #[test]
    fn text_stays_text() {
        for text in [
            "plain",
            "",
            "[{\"type\":\"text\",\"text\":\"a\"}]",
            "[{\"type\":\"node\",\"id\":1}]",
            "[{\"type\":\"image\"},{\"id\":1}]",
            "[{\"type\":\"image\"",
        ] {
            check(text, &text.into());
        }
    }

    #[test]
    fn media_become_parts() {
        let text = json!({"type": "text", "text": "see"});
        let image = json!({"type": "image", "data": "QUJD\nRA", "mimeType": "image/PNG"});
        check(
            &json!([text, image]).to_string(),
            &json!([{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "data:image/png;base64,QUJDRA=="}]),
        );
        check(
            &block(&json!({"type": "audio", "data": "QUJD", "mimeType": "audio/mpeg"})),
            &json!([{"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}}]),
        );
        let pdf = json!({"uri": "a://b/c.pdf?x", "blob": "QUJD", "mimeType": "application/pdf"});
        check(
            &block(&json!({"type": "resource", "resource": pdf})),
            &json!([
                {"type": "input_text", "text": "[resource a://b/c.pdf?x, application/pdf, 3 bytes]"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "c.pdf"}]),
        );
    }

    #[test]
    fn what_no_model_takes_is_described() {
        let said = |fields: &Value, words: &str| {
            check(
                &block(fields),
                &json!([{"type": "input_text", "text": words}]),
            );
        };
        said(
            &json!({"type": "image", "data": "QUJD", "mimeType": "image/tiff"}),
            "[image, image/tiff, 3 bytes; not shown: no kind of content that models take]",
        );
        said(
            &json!({"type": "image", "data": "https://a.example/i.png", "mimeType": "image/png"}),
            "[image, image/png, 17 bytes; not shown: it is not base64]",
        );
        said(
            &json!({"type": "resource_link", "uri": "http://10.0.0.1/x", "name": "n"}),
            "[resource link http://10.0.0.1/x, \"n\"]",
        );
        said(
            &json!({"type": "resource", "resource": {"uri": "a://b", "text": "hi"}}),
            "[resource a://b, 2 bytes]\nhi",
        );
    }

    #[test]
    fn a_text_in_base64_is_read() {
        let blob = json!({"uri": "a://b", "mimeType": "text/plain", "blob": "aGk="});
        check(
            &block(&json!({"type": "resource", "resource": blob})),
            &json!([{"type": "input_text", "text": "[resource a://b, text/plain, 2 bytes]"}, {"type": "input_text", "text": "hi"}]),
        );
    }

    #[test]
    fn errors_are_compact_and_without_base64() {
        let error = json!({"type": "mcp_tool_execution_error", "content": [
            {"type": "text", "text": "a", "annotations": null, "meta": null},
            {"type": "image", "data": "QUJD", "mimeType": "image/png"}]});
        let Content::Text(text) = of(None, Some(&error)) else {
            panic!("an error is text")
        };
        assert_eq!(
            text,
            r#"{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"a"},{"type":"image","data":"[4 base64 characters, not shown]","mimeType":"image/png"}]}"#
        );
    }
}
