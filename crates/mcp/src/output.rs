//! What becomes of a tool's result: the `output` or `error` of an `mcp_call` item. Pure.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::block::{Block, text_block};
use crate::error::CallError;
use crate::tool::ToolResult;

/// A result as an item shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The item's `output`; `None` when the call failed.
    pub output: Option<String>,
    /// The item's `error`; `None` when it did not.
    pub error: Option<Value>,
    /// Something was left out because of the bound.
    pub truncated: bool,
}

/// Room that is kept for the notice that something was left out.
const NOTICE_BYTES: usize = 160;

/// The beginning of a text is worth showing from this length on.
const WORTH_SHOWING: usize = 64;

/// Maps a result. Text blocks are joined by a newline; with any other block the output is the
/// JSON array of all blocks; structured content counts only when there is no text block.
/// Neither `output` nor the error's content is much longer than `max_bytes`: text is cut
/// between characters, anything else that is too long is replaced by its description.
#[must_use]
pub fn of(result: &ToolResult, max_bytes: usize) -> Output {
    let blocks: Vec<Block<'_>> = result.content.iter().map(|raw| Block::read(raw)).collect();
    let texts: Vec<Option<String>> = blocks.iter().map(Block::text).collect();
    let structured = result
        .structured
        .as_deref()
        .filter(|_| texts.iter().all(Option::is_none));
    if result.is_error {
        return failure(&blocks, structured, max_bytes);
    }
    if blocks.is_empty() {
        return success(structured_text(structured, max_bytes));
    }
    if let Some(texts) = texts.into_iter().collect::<Option<Vec<_>>>() {
        return success(cut_text(&texts.join("\n"), max_bytes));
    }
    let pieces = blocks.iter().map(|block| Piece::of(block, block.raw()));
    success(array(
        pieces.chain(structured.map(Piece::structured)),
        max_bytes,
    ))
}

/// Maps a call that gave no result.
#[must_use]
pub fn of_error(error: &CallError) -> Output {
    Output {
        output: None,
        error: Some(error.item_error()),
        truncated: false,
    }
}

fn success((text, truncated): (String, bool)) -> Output {
    Output {
        output: Some(text),
        error: None,
        truncated,
    }
}

fn failure(blocks: &[Block<'_>], structured: Option<&RawValue>, max_bytes: usize) -> Output {
    let pieces = blocks.iter().map(error_piece);
    let (content, truncated) = array(pieces.chain(structured.map(Piece::structured)), max_bytes);
    // Blocks that do not parse as values (nested too deeply) are handed on as text.
    let content = serde_json::from_str(&content).unwrap_or_else(|_| json!([text_block(&content)]));
    Output {
        output: None,
        error: Some(json!({"type": "mcp_tool_execution_error", "content": content})),
        truncated,
    }
}

fn cut_text(text: &str, max_bytes: usize) -> (String, bool) {
    if text.len() <= max_bytes {
        return (text.to_owned(), false);
    }
    (head_of(text, max_bytes.saturating_sub(NOTICE_BYTES)), true)
}

fn head_of(text: &str, bytes: usize) -> String {
    let head = &text[..text.floor_char_boundary(bytes)];
    let (shown, all) = (head.len(), text.len());
    format!("{head}\n[truncated: {shown} of {all} bytes shown]")
}

fn structured_text(structured: Option<&RawValue>, max_bytes: usize) -> (String, bool) {
    match structured {
        Some(raw) if raw.get().len() > max_bytes => (structured_in_words(raw), true),
        Some(raw) => (raw.get().to_owned(), false),
        None => (String::new(), false),
    }
}

fn structured_in_words(raw: &RawValue) -> String {
    format!(
        "[structured content, {} bytes; {TOO_LONG}]",
        raw.get().len()
    )
}

const TOO_LONG: &str = "left out: longer than the gateway takes of a tool";

/// A block as it is to be shown, and what may stand in its place.
struct Piece {
    json: String,
    /// The text that may be cut.
    text: Option<String>,
    /// What it is, in words.
    words: String,
}

impl Piece {
    fn of(block: &Block<'_>, json: impl Into<String>) -> Self {
        Self {
            json: json.into(),
            text: block.any_text(),
            words: block.in_words(Some(TOO_LONG)),
        }
    }

    fn structured(raw: &RawValue) -> Self {
        Self {
            json: text_block(raw.get()).to_string(),
            text: None,
            words: structured_in_words(raw),
        }
    }

    /// The room that pieces before this one leave to it: enough for a description.
    fn least(&self) -> usize {
        self.json.len().min(NOTICE_BYTES) + 1
    }

    /// The piece in at most `room` bytes, and whether it is whole.
    fn within(self, room: usize) -> Option<(String, bool)> {
        if self.json.len() <= room {
            return Some((self.json, true));
        }
        let words = || Some(text_block(&self.words).to_string());
        let cut = self
            .text
            .as_deref()
            .and_then(|text| head_within(text, room));
        let shown = cut.or_else(words)?;
        (shown.len() <= room).then_some((shown, false))
    }
}

/// The beginning of a text as a block of at most `room` bytes. JSON may need several bytes for
/// one of the text's.
fn head_within(text: &str, room: usize) -> Option<String> {
    let mut bytes = room.checked_sub(NOTICE_BYTES)?;
    while bytes >= WORTH_SHOWING {
        let block = text_block(&head_of(text, bytes)).to_string();
        if block.len() <= room {
            return Some(block);
        }
        bytes /= 2;
    }
    None
}

/// A block as recorded errors show it: text blocks with two more keys.
fn error_piece(block: &Block<'_>) -> Piece {
    let Some(text) = block.text() else {
        return Piece::of(block, block.raw());
    };
    let fields: Value = serde_json::from_str(block.raw()).unwrap_or_default();
    let (annotations, meta) = (&fields["annotations"], &fields["_meta"]);
    let shown = json!({"type": "text", "text": text, "annotations": annotations, "meta": meta});
    Piece::of(block, shown.to_string())
}

/// The pieces as a JSON array within a bound. The last block counts those for which there is
/// not even room for a description.
fn array(pieces: impl Iterator<Item = Piece>, max_bytes: usize) -> (String, bool) {
    let pieces: Vec<Piece> = pieces.collect();
    let whole: usize = pieces.iter().map(|piece| piece.json.len() + 1).sum();
    if whole < max_bytes {
        let all: Vec<String> = pieces.into_iter().map(|piece| piece.json).collect();
        return (format!("[{}]", all.join(",")), false);
    }
    let mut room = max_bytes.saturating_sub(NOTICE_BYTES);
    let (mut out, mut left_out, mut truncated) = (vec![], 0, false);
    let mut later: usize = pieces.iter().map(Piece::least).sum();
    for piece in pieces {
        later -= piece.least();
        let free = room.saturating_sub(2 + later.min(room / 2));
        let Some((shown, is_whole)) = piece.within(free) else {
            left_out += 1;
            continue;
        };
        room -= shown.len() + 1;
        truncated |= !is_whole;
        out.push(shown);
    }
    if left_out > 0 {
        let notice = format!("[truncated: {left_out} more block(s) left out]");
        out.push(text_block(&notice).to_string());
    }
    (format!("[{}]", out.join(",")), truncated || left_out > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_egress::Phase;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn result(blocks: &[&str], structured: Option<&str>, is_error: bool) -> ToolResult {
        let content = blocks.iter().map(|block| raw(block)).collect();
        ToolResult {
            content,
            structured: structured.map(raw),
            is_error,
        }
    }

    const A: &str = r#"{"type":"text","text":"a"}"#;
    const B: &str = r#"{"type":"text","text":"b","annotations":{"audience":["robot"]}}"#;
    const IMAGE: &str = r#"{"type":"image","data":"QUJD","mimeType":"image/png"}"#;

    #[test]
    fn successes() {
        let check = |blocks: &[&str], structured, expected: &str| {
            let output = of(&result(blocks, structured, false), 1 << 20);
            assert_eq!(output.output.as_deref(), Some(expected));
            assert!(output.error.is_none() && !output.truncated);
        };
        check(&[A, B], Some(r#"{"n":1}"#), "a\nb");
        check(&[], Some(r#"{"n": 1e2}"#), r#"{"n": 1e2}"#);
        check(&[], None, "");
        check(&[A, IMAGE], None, &format!("[{A},{IMAGE}]"));
        check(
            &[r#"{"type":"new","x":1}"#],
            None,
            r#"[{"type":"new","x":1}]"#,
        );
        check(
            &[r#"{"type":"text","text":7}"#],
            None,
            r#"[{"type":"text","text":7}]"#,
        );
        check(&[r#"{"type":"text","text":"\ud800"}"#], None, "\u{fffd}");
    }

    #[test]
    fn tool_errors_carry_their_blocks() {
        let output = of(&result(&[A], None, true), 1 << 20);
        let expected = json!({"type": "mcp_tool_execution_error", "content": [
            {"type": "text", "text": "a", "annotations": null, "meta": null}]});
        assert_eq!((output.output, output.error), (None, Some(expected)));
        let empty = of(&result(&[], Some("{\"why\":1}"), true), 1 << 20);
        assert!(empty.error.unwrap().to_string().contains("why"));
    }

    #[test]
    fn deep_blocks_are_kept_as_text_in_errors() {
        let deep = format!(
            r#"{{"type":"x","v":{}{}}}"#,
            "[".repeat(400),
            "]".repeat(400)
        );
        let output = of(&result(&[&deep], None, true), 1 << 20);
        assert!(
            output.error.unwrap()["content"][0]["text"]
                .as_str()
                .unwrap()
                .contains("[[[[")
        );
    }

    #[test]
    fn text_is_cut_between_characters_with_a_notice() {
        let long = "é".repeat(5000);
        let block = json!({"type": "text", "text": long}).to_string();
        let output = of(&result(&[&block], None, false), 1001);
        let text = output.output.unwrap();
        assert!(text.len() <= 1001 && output.truncated, "{}", text.len());
        assert!(text.ends_with("of 10000 bytes shown]"), "{text}");
    }

    #[test]
    fn what_is_too_long_is_cut_or_described_where_it_stood() {
        let image =
            json!({"type": "image", "data": "A".repeat(5000), "mimeType": "x/y"}).to_string();
        let text = json!({"type": "text", "text": "\u{1}é".repeat(2500)}).to_string();
        for is_error in [false, true] {
            let output = of(&result(&[A, &image, &text, A], None, is_error), 1000);
            let array = match &output.error {
                None => serde_json::from_str(output.output.as_ref().unwrap()).unwrap(),
                Some(error) => error["content"].clone(),
            };
            let shown = array.to_string();
            assert!(output.truncated && shown.len() <= 1000, "{}", shown.len());
            assert!(!shown.contains("AAAA"), "{shown}");
            let words = array[1]["text"].as_str().unwrap();
            assert!(
                words.starts_with("[image, x/y, 3750 bytes; left out"),
                "{words}"
            );
            assert!(
                array[2]["text"]
                    .as_str()
                    .unwrap()
                    .contains("of 7500 bytes shown]")
            );
        }
    }

    #[test]
    fn blocks_without_room_for_a_description_are_counted() {
        let image =
            json!({"type": "image", "data": "A".repeat(500), "mimeType": "x/y"}).to_string();
        let output = of(&result(&[image.as_str(); 100], None, false), 1000);
        let text = output.output.unwrap();
        assert!(text.len() <= 1000 && output.truncated, "{}", text.len());
        assert!(text.ends_with("more block(s) left out]\"}]"), "{text}");
        serde_json::from_str::<Value>(&text).unwrap();
    }

    #[test]
    fn structured_content_counts_where_there_is_no_text() {
        let shown = |blocks: &[&str], max| {
            of(&result(blocks, Some(r#"{"n":1}"#), false), max)
                .output
                .unwrap()
        };
        assert_eq!(shown(&[A], 1000), "a");
        let array: Value = serde_json::from_str(&shown(&[IMAGE], 1000)).unwrap();
        assert_eq!(array[1], json!({"type": "text", "text": "{\"n\":1}"}));
        assert!(shown(&[], 5).starts_with("[structured content, 7 bytes; left out"));
    }

    #[test]
    fn a_long_text_resource_is_cut_and_a_long_blob_described() {
        let resource = |key: &str| {
            json!({"type": "resource", "resource": {"uri": "a://b", key: "x".repeat(5000)}})
                .to_string()
        };
        let output = of(
            &result(&[&resource("text"), &resource("blob")], None, false),
            1200,
        );
        let array: Value = serde_json::from_str(&output.output.unwrap()).unwrap();
        assert!(
            array[0]["text"]
                .as_str()
                .unwrap()
                .ends_with("of 5000 bytes shown]"),
            "{array}"
        );
        assert!(
            array[1]["text"]
                .as_str()
                .unwrap()
                .starts_with("[resource a://b, 3750 bytes; left out"),
            "{array}"
        );
    }

    #[test]
    fn errors_without_a_result() {
        let output = of_error(&CallError::Timeout {
            phase: Phase::Total,
        });
        assert_eq!(
            output.error.unwrap().to_string(),
            r#"{"type":"http_error","code":424,"message":"424: "}"#
        );
    }
}
