//! The secrets of one request, so that no text that is kept or told repeats them.

use portunus_protocol::request::{Head, McpTool, ServerUrlEcho};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Shorter values ("1", "en") are no secrets, and blanking them would spoil every text.
const MIN_BYTES: usize = 6;

/// Paths such as `/mcp` are no secrets either.
const MIN_PATH_BYTES: usize = 8;

/// Fields of items whose values are words of the protocol, names and ids.
const WORDS: [&str; 10] = [
    "type",
    "object",
    "status",
    "role",
    "id",
    "call_id",
    "approval_request_id",
    "previous_response_id",
    "server_label",
    "name",
];

/// Values that came with a request or were opened for it: headers and tokens of its MCP
/// servers, their URLs beyond the origin, the provider's key.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Longest first, so that a part never leaves the rest of a whole behind.
    values: Vec<(SecretString, String)>,
}

impl Secrets {
    /// The secrets of the MCP servers of a request.
    pub(crate) fn of(head: &Head<'_>) -> Self {
        let mut secrets = Self::default();
        for (_, tool) in head.mcp_tools() {
            secrets.add_tool(tool);
        }
        secrets
    }

    fn add_tool(&mut self, tool: &McpTool) {
        for (_, value) in tool.headers.iter().flatten() {
            self.add(value.expose_secret(), MIN_BYTES);
            // "Bearer abc": the second part alone is one as well.
            if let Some((_, token)) = value.expose_secret().split_once(' ') {
                self.add(token, MIN_BYTES);
            }
        }
        if let Some(token) = &tool.authorization {
            self.add(token.expose_secret(), MIN_BYTES);
        }
        if let (Some(url), Some(shown)) = (&tool.server_url, tool.shown_url(ServerUrlEcho::Origin))
        {
            self.add_url(url, &shown);
        }
    }

    /// What a URL of an MCP server has beyond what is shown of it.
    pub(crate) fn add_url(&mut self, url: &str, shown: &str) {
        if url != shown {
            self.insert(url, shown.to_owned());
        }
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let Some(start) = rest.find(['/', '?']) else {
            return;
        };
        let (path, query) = rest[start..]
            .split_once('?')
            .unwrap_or((&rest[start..], ""));
        self.add(path, MIN_PATH_BYTES);
        for part in query.split('&') {
            self.add(
                part.split_once('=').map_or(part, |(_, value)| value),
                MIN_BYTES,
            );
        }
    }

    /// One more value that is to be blanked.
    pub(crate) fn add_secret(&mut self, value: &SecretString) {
        self.add(value.expose_secret(), MIN_BYTES);
    }

    fn add(&mut self, value: &str, min_bytes: usize) {
        if value.len() >= min_bytes {
            self.insert(value, "<redacted>".to_owned());
            // As it stands in a JSON text, where that differs.
            let json = Value::from(value).to_string();
            let inner = &json[1..json.len() - 1];
            if inner != value {
                self.insert(inner, "<redacted>".to_owned());
            }
        }
    }

    fn insert(&mut self, value: &str, shown: String) {
        let longer =
            |(known, _): &(SecretString, String)| known.expose_secret().len() >= value.len();
        let place = self.values.partition_point(longer);
        self.values
            .insert(place, (SecretString::from(value), shown));
    }

    /// JSON of items or of a response without them. Only what people, models and tools say is
    /// looked at: a header value such as `message` must not spoil the words of the protocol.
    pub(crate) fn blank_json(&self, json: String) -> String {
        let told = |(value, _): &(SecretString, String)| json.contains(value.expose_secret());
        if !self.values.iter().any(told) {
            return json;
        }
        match serde_json::from_str(&json) {
            Ok(mut value) => {
                self.blank_value(&mut value);
                value.to_string()
            }
            Err(_) => self.blank(&json),
        }
    }

    fn blank_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.blank(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.blank_value(item)),
            Value::Object(fields) => fields
                .iter_mut()
                .filter(|(name, _)| !WORDS.contains(&name.as_str()))
                .for_each(|(_, value)| self.blank_value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `text` without them.
    pub(crate) fn blank(&self, text: &str) -> String {
        self.values
            .iter()
            .fold(text.to_owned(), |text, (value, shown)| {
                let value = value.expose_secret();
                if text.contains(value) {
                    text.replace(value, shown)
                } else {
                    text
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_server_but_its_origin_is_left() {
        let body = br#"{"model":"m","tools":[{"type":"mcp","server_label":"a",
            "server_url":"https://a.example/canary1/mcp?k=canary2","headers":{"X":"Bearer canary\"3"},"authorization":null},
            {"type":"mcp","server_label":"b","server_url":"https://b.example/mcp","authorization":"canary4"}]}"#;
        let secrets = Secrets::of(&Head::parse(body).unwrap());
        let text = r#"https://a.example/canary1/mcp?k=canary2 /canary1/mcp canary2 Bearer canary"3 canary\"3 canary4 /mcp"#;
        assert_eq!(
            secrets.blank(text),
            "https://a.example/<redacted> <redacted> <redacted> <redacted> <redacted> <redacted> /mcp"
        );
    }

    #[test]
    fn a_secret_does_not_spoil_the_protocol() {
        let body = br#"{"model":"m","tools":[{"type":"mcp","server_label":"a",
            "server_url":"https://a.example/mcp","headers":{"X":"message","Y":"canary\"3"}}]}"#;
        let secrets = Secrets::of(&Head::parse(body).unwrap());
        let items = r#"[{"type":"message","content":[{"text":"a message, canary\"3"}]}]"#;
        assert_eq!(
            secrets.blank_json(items.to_owned()),
            r#"[{"type":"message","content":[{"text":"a <redacted>, <redacted>"}]}]"#
        );
    }
}
