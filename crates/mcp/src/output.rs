//! What becomes of a tool's result: the `output` or `error` of an `mcp_call` item, and what
//! the model is told. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::CallError;
use crate::message::string;
use crate::tool::ToolResult;

/// A result as an item shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The item's `output`; `None` when the call failed.
    pub output: Option<String>,
    /// The item's `error`; `None` when it did not.
    pub error: Option<Value>,
    /// What the model gets: the output without binary data, or the error as compact JSON.
    pub for_model: String,
    /// Something was left out because of the bound.
    pub truncated: bool,
}

/// Room that is kept for the notice that something was left out.
const NOTICE_BYTES: usize = 160;

/// Maps a result. Text blocks are joined by a newline; with any other block the output is the
/// JSON array of all blocks; structured content counts only when there is no block at all.
/// Neither `output` nor the error's content is much longer than `max_bytes`; text is cut
/// between characters, a block with binary data is kept whole or left out.
#[must_use]
pub fn of(result: &ToolResult, max_bytes: usize) -> Output {
    let blocks: Vec<Block<'_>> = result.content.iter().map(|raw| Block::read(raw)).collect();
    if result.is_error {
        return failure(&blocks, result.structured.as_deref(), max_bytes);
    }
    if blocks.is_empty() {
        let text = result.structured.as_ref().map_or("", |raw| raw.get());
        return success(cut_text(text, max_bytes));
    }
    if let Some(texts) = blocks
        .iter()
        .map(|block| block.text.as_deref())
        .collect::<Option<Vec<_>>>()
    {
        return success(cut_text(&texts.join("\n"), max_bytes));
    }
    let (output, truncated) = array(blocks.iter().map(Block::whole), max_bytes);
    let (for_model, _) = array(blocks.iter().map(Block::slim), max_bytes);
    Output {
        output: Some(output),
        error: None,
        for_model,
        truncated,
    }
}

/// Maps a call that gave no result.
#[must_use]
pub fn of_error(error: &CallError) -> Output {
    let error = error.item_error();
    Output {
        output: None,
        for_model: error.to_string(),
        error: Some(error),
        truncated: false,
    }
}

fn success((text, truncated): (String, bool)) -> Output {
    Output {
        output: Some(text.clone()),
        error: None,
        for_model: text,
        truncated,
    }
}

fn failure(blocks: &[Block<'_>], structured: Option<&RawValue>, max_bytes: usize) -> Output {
    let error = |content: Value| json!({"type": "mcp_tool_execution_error", "content": content});
    let spare = structured
        .filter(|_| blocks.is_empty())
        .map(|raw| Piece::text(raw.get()));
    let whole = blocks.iter().map(Block::for_error).chain(spare.clone());
    let slim = blocks.iter().map(Block::slim).chain(spare);
    let (content, truncated) = array(whole, max_bytes);
    let (slim, _) = array(slim, max_bytes);
    // Blocks that do not parse as values (nested too deeply) are handed on as text.
    let read =
        |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!([text_value(text)]));
    Output {
        output: None,
        error: Some(error(read(&content))),
        for_model: error(read(&slim)).to_string(),
        truncated,
    }
}

fn cut_text(text: &str, max_bytes: usize) -> (String, bool) {
    if text.len() <= max_bytes {
        return (text.to_owned(), false);
    }
    let head = &text[..text.floor_char_boundary(max_bytes.saturating_sub(NOTICE_BYTES))];
    let notice = format!(
        "\n[truncated: {} of {} bytes shown]",
        head.len(),
        text.len()
    );
    (format!("{head}{notice}"), true)
}

/// One content block, looked at just enough.
struct Block<'a> {
    raw: &'a RawValue,
    kind: String,
    /// Set for a plain text block.
    text: Option<String>,
}

#[derive(Deserialize)]
struct BlockFields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

/// A block as JSON text, and its own text if it may be cut.
#[derive(Clone)]
struct Piece {
    json: String,
    kind: String,
    text: Option<String>,
}

impl Piece {
    fn text(text: &str) -> Self {
        Self {
            json: text_value(text).to_string(),
            kind: "text".to_owned(),
            text: Some(text.to_owned()),
        }
    }
}

fn text_value(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

impl<'a> Block<'a> {
    fn read(raw: &'a RawValue) -> Self {
        let fields = serde_json::from_str::<BlockFields<'_>>(raw.get()).ok();
        let kind = fields
            .as_ref()
            .and_then(|fields| string(fields.kind?))
            .unwrap_or_default();
        let text = fields
            .filter(|_| kind == "text")
            .and_then(|fields| string(fields.text?));
        Self { raw, kind, text }
    }

    /// As the server sent it.
    fn whole(&self) -> Piece {
        let json = self.raw.get().to_owned();
        Piece {
            json,
            kind: self.kind.clone(),
            text: self.text.clone(),
        }
    }

    /// As recorded errors show it: text blocks with two more keys.
    fn for_error(&self) -> Piece {
        let piece = self.whole();
        let Some(text) = &self.text else { return piece };
        let fields: Value = serde_json::from_str(self.raw.get()).unwrap_or_default();
        let (annotations, meta) = (&fields["annotations"], &fields["_meta"]);
        let block = json!({"type": "text", "text": text, "annotations": annotations, "meta": meta});
        Piece {
            json: block.to_string(),
            ..piece
        }
    }

    /// Without binary data, which a model cannot read as text.
    fn slim(&self) -> Piece {
        let piece = self.whole();
        if self.text.is_some() {
            return piece;
        }
        let Ok(mut block) = serde_json::from_str::<Value>(self.raw.get()) else {
            return piece;
        };
        for pointer in ["/data", "/blob", "/resource/blob"] {
            if let Some(Value::String(data)) = block.pointer_mut(pointer) {
                *data = format!("[{} base64 characters, not shown]", data.len());
            }
        }
        Piece {
            json: block.to_string(),
            ..piece
        }
    }
}

/// The pieces as a JSON array within a bound. What does not fit is named in a last block.
fn array(pieces: impl Iterator<Item = Piece>, max_bytes: usize) -> (String, bool) {
    let pieces: Vec<Piece> = pieces.collect();
    let whole = 2 + pieces
        .iter()
        .map(|piece| piece.json.len() + 1)
        .sum::<usize>();
    let room = if whole <= max_bytes {
        max_bytes
    } else {
        max_bytes.saturating_sub(NOTICE_BYTES)
    };
    let (mut out, mut left_out, mut left_bytes) = (vec![], vec![], 0);
    let mut used = 2;
    for piece in pieces {
        if used + piece.json.len() < room {
            used += piece.json.len() + 1;
            out.push(piece.json);
            continue;
        }
        left_bytes += piece.json.len();
        left_out.push(piece.kind);
        // The beginning of a text is worth showing if there is room for more than a few words.
        let room_for_text = room.saturating_sub(used + 64) / 2;
        if let Some(text) = piece.text.filter(|_| room_for_text > 64) {
            let head = &text[..text.floor_char_boundary(room_for_text)];
            let cut = text_value(head).to_string();
            used += cut.len() + 1;
            out.push(cut);
        }
    }
    let truncated = !left_out.is_empty();
    if truncated {
        out.push(text_value(&notice(&left_out, left_bytes)).to_string());
    }
    (format!("[{}]", out.join(",")), truncated)
}

fn notice(kinds: &[String], bytes: usize) -> String {
    let kind: String = match kinds {
        [one] if !one.is_empty() => one.chars().take(30).collect(),
        _ => "content".to_owned(),
    };
    format!(
        "[truncated: {} {kind} block(s) of {bytes} bytes cut or left out]",
        kinds.len()
    )
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
    fn the_model_gets_no_base64() {
        let blob = r#"{"type":"resource","resource":{"uri":"a:b","blob":"QUJD"}}"#;
        let output = of(&result(&[A, IMAGE, blob], None, false), 1 << 20);
        assert!(!output.for_model.contains("QUJD"), "{}", output.for_model);
        assert!(output.for_model.contains("image/png") && output.output.unwrap().contains("QUJD"));
    }

    #[test]
    fn tool_errors_carry_their_blocks() {
        let output = of(&result(&[A], None, true), 1 << 20);
        let expected = json!({"type": "mcp_tool_execution_error", "content": [
            {"type": "text", "text": "a", "annotations": null, "meta": null}]});
        assert_eq!((output.output, output.error), (None, Some(expected)));
        assert_eq!(
            output.for_model,
            format!(r#"{{"type":"mcp_tool_execution_error","content":[{A}]}}"#)
        );
        let empty = of(&result(&[], Some("{\"why\":1}"), true), 1 << 20);
        assert!(empty.for_model.contains("why"), "{}", empty.for_model);
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
    fn base64_is_kept_whole_or_left_out() {
        let image = json!({"type": "image", "data": "A".repeat(5000), "mimeType": "x"}).to_string();
        let text = json!({"type": "text", "text": "t".repeat(5000)}).to_string();
        for is_error in [false, true] {
            let output = of(&result(&[A, &image, &text, A], None, is_error), 1000);
            let array = match &output.error {
                None => serde_json::from_str(output.output.as_ref().unwrap()).unwrap(),
                Some(error) => error["content"].clone(),
            };
            let shown = array.to_string();
            assert!(output.truncated && shown.len() <= 1200, "{}", shown.len());
            assert!(!shown.contains("AAAA") && shown.contains("ttt"), "{shown}");
            assert!(shown.contains("truncated: 2 content block(s)"), "{shown}");
        }
    }

    #[test]
    fn errors_without_a_result() {
        let output = of_error(&CallError::Timeout {
            phase: Phase::Total,
        });
        assert_eq!(
            output.for_model,
            r#"{"type":"http_error","code":424,"message":"424: "}"#
        );
    }
}
