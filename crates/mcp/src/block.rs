//! One content block of a tool's result, looked at just enough to show it, to cut it and to
//! say in words what it is.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use portunus_protocol::media::base64_bytes;

use crate::message::string;

/// Words of a server in a description are cut at this many characters.
const WORDS: usize = 200;

/// A block as the server sent it. What is no block at all has an empty kind.
pub(crate) struct Block<'a> {
    raw: &'a RawValue,
    /// `text`, `image`, `audio`, `resource`, `resource_link`, or what comes next.
    pub(crate) kind: String,
    /// The fields that say what it is: those of the resource, when one is embedded.
    fields: Fields<'a>,
}

/// Strings are looked at where they stand: base64 may be long.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow, alias = "blob")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    mime_type: Option<&'a RawValue>,
    #[serde(borrow)]
    uri: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

impl<'a> Block<'a> {
    pub(crate) fn read(raw: &'a RawValue) -> Self {
        let mut fields = read(raw);
        let kind = fields.kind.and_then(string).unwrap_or_default();
        if let Some(resource) = fields.resource.filter(|_| kind == "resource") {
            fields = read(resource);
        }
        Self { raw, kind, fields }
    }

    /// The block as JSON, unchanged.
    pub(crate) fn raw(&self) -> &'a str {
        self.raw.get()
    }

    /// The text of a text block.
    pub(crate) fn text(&self) -> Option<String> {
        self.any_text().filter(|_| self.kind == "text")
    }

    /// The text of a text block or of an embedded resource.
    pub(crate) fn any_text(&self) -> Option<String> {
        let has_text = ["text", "resource"].contains(&self.kind.as_str());
        self.fields.text.filter(|_| has_text).and_then(string)
    }

    /// The base64 of an image, of sound or of an embedded resource.
    pub(crate) fn data(&self) -> Option<String> {
        let binary = ["image", "audio", "resource"].contains(&self.kind.as_str());
        self.fields.data.filter(|_| binary).and_then(string)
    }

    /// The type without parameters, in lower case.
    pub(crate) fn mime(&self) -> Option<String> {
        let mime = self.fields.mime_type.and_then(string)?;
        let bare = mime.split(';').next().unwrap_or_default().trim();
        (!bare.is_empty()).then(|| bare.to_ascii_lowercase())
    }

    /// The last part of the resource's address, for a file's name.
    pub(crate) fn file_name(&self) -> Option<String> {
        let uri = self.fields.uri.and_then(string)?;
        let name = uri.split(['?', '#']).next()?.rsplit('/').next()?;
        (!name.is_empty()).then(|| short(name))
    }

    /// The block as JSON, its binary data replaced by its length.
    pub(crate) fn without_data(&self) -> String {
        let Ok(mut block) = serde_json::from_str::<Value>(self.raw.get()) else {
            return self.raw.get().to_owned();
        };
        for pointer in ["/data", "/blob", "/resource/blob"] {
            if let Some(Value::String(data)) = block.pointer_mut(pointer) {
                *data = format!("[{} base64 characters, not shown]", data.len());
            }
        }
        block.to_string()
    }

    /// What the block is, in words: kind, address, name, type and size. `why` says why this
    /// stands in its place.
    pub(crate) fn in_words(&self, why: Option<&str>) -> String {
        let words = |raw: Option<&RawValue>| raw.and_then(string).map(|text| short(&text));
        let fields = &self.fields;
        let kind = match self.kind.as_str() {
            "" => "content".to_owned(),
            "resource_link" => "resource link".to_owned(),
            kind => short(kind),
        };
        let head = [Some(kind), words(fields.uri)].into_iter().flatten();
        let mut said = vec![head.collect::<Vec<_>>().join(" ")];
        let name = words(fields.title).or_else(|| words(fields.name));
        said.extend(name.map(|name| format!("\"{name}\"")));
        said.extend(self.mime().map(|mime| short(&mime)));
        said.push(format!("{} bytes", self.bytes()));
        if self.kind == "resource_link" && fields.size.is_none() {
            said.pop();
        }
        said.extend(words(fields.description));
        let why = why.map_or_else(String::new, |why| format!("; {why}"));
        format!("[{}{why}]", said.join(", "))
    }

    /// The size of what the block brings, or of what it says that a link leads to.
    fn bytes(&self) -> u64 {
        let inside = |raw: &RawValue| raw.get().len().saturating_sub(2) as u64;
        let fields = &self.fields;
        match (fields.size, fields.data, fields.text) {
            (Some(size), ..) if self.kind == "resource_link" => size.get().parse().unwrap_or(0),
            (_, Some(data), _) => base64_bytes(data.get().trim_matches('"')),
            (_, _, Some(text)) => inside(text),
            _ => self.raw.get().len() as u64,
        }
    }
}

fn read(raw: &RawValue) -> Fields<'_> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn short(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS)
        .collect()
}

/// A text block.
pub(crate) fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(block: &str, why: Option<&str>, expected: &str) {
        let raw = RawValue::from_string(block.to_owned()).unwrap();
        assert_eq!(Block::read(&raw).in_words(why), expected);
    }

    #[test]
    fn blocks_in_words() {
        let image = r#"{"type":"image","data":"QUJDRA==","mimeType":"Image/PNG; x=1"}"#;
        check(image, None, "[image, image/png, 4 bytes]");
        check(
            image,
            Some("left out"),
            "[image, image/png, 4 bytes; left out]",
        );
        check(
            r#"{"type":"resource","resource":{"uri":"a://b/c.txt","mimeType":"text/plain","text":"abc"}}"#,
            None,
            "[resource a://b/c.txt, text/plain, 3 bytes]",
        );
        check(
            r#"{"type":"resource_link","uri":"a://b","name":"n","title":"T\n","size":12,"description":"D"}"#,
            None,
            "[resource link a://b, \"T \", 12 bytes, D]",
        );
        check(
            r#"{"type":"resource_link","uri":"a://b","mimeType":null}"#,
            None,
            "[resource link a://b]",
        );
        check(r#"{"type":"new"}"#, None, "[new, 14 bytes]");
        check("7", None, "[content, 1 bytes]");
    }
}
