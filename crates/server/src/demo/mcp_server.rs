//! A small real MCP server: Streamable HTTP, stateless, revision 2026-07-28 and the older ones
//! with a handshake. Its tools are over the project's own documentation.

use super::pages;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

/// Where it answers.
pub(super) const PATH: &str = "/mcp";
/// Longest message.
const MESSAGE_MAX_BYTES: usize = 1 << 20;
/// The newest revision.
const MODERN: &str = "2026-07-28";
/// Older revisions with a handshake, the newest first.
const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// How long clients may keep the tool list: it does not change while the process runs.
const LIST_TTL_MS: u64 = 300_000;

const PARSE_ERROR: i64 = -32700;
const UNKNOWN_METHOD: i64 = -32601;
const BAD_PARAMS: i64 = -32602;
const HEADER_MISMATCH: i64 = -32020;
const UNSUPPORTED_VERSION: i64 = -32022;

/// The server, at `/mcp`. Methods but POST get 405, as the specification asks of a server
/// without streams of its own.
pub(super) fn router() -> Router {
    Router::new().fallback(answer)
}

async fn answer(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path() != PATH {
        return StatusCode::NOT_FOUND.into_response();
    }
    if parts.method != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    let Ok(bytes) = axum::body::to_bytes(body, MESSAGE_MAX_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    respond(&parts.headers, &bytes)
}

/// The answer to one message.
fn respond(headers: &HeaderMap, bytes: &Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(bytes) else {
        return error(
            StatusCode::BAD_REQUEST,
            &Value::Null,
            PARSE_ERROR,
            "no JSON",
            Value::Null,
        );
    };
    let Some(id) = message.get("id") else {
        // A notification.
        return StatusCode::ACCEPTED.into_response();
    };
    let call = Call {
        id,
        method: message["method"].as_str().unwrap_or_default(),
        params: &message["params"],
        modern: is_modern(headers, &message),
    };
    if let Some(refused) = call.refused(headers) {
        return refused;
    }
    match call.method {
        "initialize" if !call.modern => call.result(initialize(call.params)),
        "ping" if !call.modern => call.result(json!({})),
        "server/discover" if call.modern => call.result(discover()),
        "tools/list" => call.result(json!({"tools": tools()})),
        "tools/call" => call.tool(),
        _ => {
            let status = if call.modern {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::OK
            };
            error(status, id, UNKNOWN_METHOD, "unknown method", Value::Null)
        }
    }
}

/// A message speaks the newest revision when its header or its `_meta` says so.
fn is_modern(headers: &HeaderMap, message: &Value) -> bool {
    let named = message["params"]["_meta"].get("io.modelcontextprotocol/protocolVersion");
    let header = headers
        .get("mcp-protocol-version")
        .and_then(|v| v.to_str().ok());
    named.is_some() || header.is_some_and(|version| !LEGACY.contains(&version))
}

struct Call<'a> {
    id: &'a Value,
    method: &'a str,
    params: &'a Value,
    modern: bool,
}

impl Call<'_> {
    /// What is wrong with a message of the newest revision: version, or headers that
    /// contradict the body.
    fn refused(&self, headers: &HeaderMap) -> Option<Response> {
        if !self.modern {
            return None;
        }
        let version = self.params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str();
        if version != Some(MODERN) {
            let known = json!({"supported": [MODERN], "requested": version});
            let text = "unsupported protocol version";
            return Some(error(
                StatusCode::BAD_REQUEST,
                self.id,
                UNSUPPORTED_VERSION,
                text,
                known,
            ));
        }
        let expected = [
            ("mcp-protocol-version", version),
            ("mcp-method", Some(self.method)),
            (
                "mcp-name",
                self.params["name"]
                    .as_str()
                    .filter(|_| self.method == "tools/call"),
            ),
        ];
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let wrong = expected
            .iter()
            .find(|(name, value)| value.is_some() && header(name) != *value)?;
        let text = format!("header {} does not match the body", wrong.0);
        Some(error(
            StatusCode::BAD_REQUEST,
            self.id,
            HEADER_MISMATCH,
            &text,
            Value::Null,
        ))
    }

    fn result(&self, mut result: Value) -> Response {
        if self.modern {
            result["resultType"] = "complete".into();
            if self.method != "tools/call" {
                result["ttlMs"] = LIST_TTL_MS.into();
                result["cacheScope"] = "public".into();
            }
        }
        Json(json!({"jsonrpc": "2.0", "id": self.id, "result": result})).into_response()
    }

    fn tool(&self) -> Response {
        let arguments = &self.params["arguments"];
        let text = |name: &str| {
            arguments[name]
                .as_str()
                .map(str::trim)
                .filter(|t| !t.is_empty())
        };
        let outcome = match self.params["name"].as_str() {
            Some("list_pages") => Ok(pages::list()),
            Some("search_docs") => text("query").map(pages::search).ok_or("`query` is missing"),
            Some("read_page") => match text("page") {
                Some(page) => pages::read(page)
                    .map(str::to_owned)
                    .ok_or("there is no such page"),
                None => Err("`page` is missing"),
            },
            _ => {
                return error(
                    StatusCode::OK,
                    self.id,
                    BAD_PARAMS,
                    "unknown tool",
                    Value::Null,
                );
            }
        };
        let is_error = outcome.is_err();
        let text = outcome.unwrap_or_else(str::to_owned);
        self.result(json!({"content": [{"type": "text", "text": text}], "isError": is_error}))
    }
}

fn error(status: StatusCode, id: &Value, code: i64, message: &str, data: Value) -> Response {
    let mut error = json!({"code": code, "message": message});
    if !data.is_null() {
        error["data"] = data;
    }
    (
        status,
        Json(json!({"jsonrpc": "2.0", "id": id, "error": error})),
    )
        .into_response()
}

fn server_info() -> Value {
    json!({"name": "portunus-docs", "title": "Portunus documentation", "version": env!("CARGO_PKG_VERSION")})
}

fn initialize(params: &Value) -> Value {
    let asked = params["protocolVersion"]
        .as_str()
        .filter(|version| LEGACY.contains(version));
    json!({
        "protocolVersion": asked.unwrap_or(LEGACY[0]), "capabilities": {"tools": {}},
        "serverInfo": server_info(),
    })
}

fn discover() -> Value {
    json!({
        "supportedVersions": [MODERN], "capabilities": {"tools": {}}, "serverInfo": server_info(),
        "instructions": "Tools over the documentation of Portunus.",
    })
}

fn tools() -> Value {
    let tool = |name: &str, description: &str, properties: Value, required: Value| {
        json!({
            "name": name, "description": description, "annotations": {"readOnlyHint": true},
            "inputSchema": {
                "type": "object", "properties": properties, "required": required,
                "additionalProperties": false,
            },
        })
    };
    json!([
        tool(
            "list_pages",
            "List the pages of the documentation of Portunus.",
            json!({}),
            json!([])
        ),
        tool(
            "read_page",
            "Read one page of the documentation of Portunus, whole.",
            json!({"page": {"type": "string", "description": "Name of the page, such as ARCHITECTURE"}}),
            json!(["page"])
        ),
        tool(
            "search_docs",
            "Search the documentation of Portunus for a question or for words.",
            json!({"query": {"type": "string", "description": "The question or words to search for"}}),
            json!(["query"])
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn send(headers: &[(&'static str, &str)], message: Value) -> (u16, Value) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let response = respond(&map, &Bytes::from(message.to_string()));
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn modern(method: &str, name: Option<&str>) -> Value {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": MODERN});
        let mut params = json!({"_meta": meta});
        if let Some(name) = name {
            params["name"] = name.into();
        }
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    #[tokio::test]
    async fn the_newest_revision() {
        let version = ("mcp-protocol-version", MODERN);
        let head = [version, ("mcp-method", "server/discover")];
        let (status, got) = send(&head, modern("server/discover", None)).await;
        assert_eq!(
            (status, &got["result"]["supportedVersions"][0]),
            (200, &json!(MODERN))
        );
        let head = [
            version,
            ("mcp-method", "tools/call"),
            ("mcp-name", "list_pages"),
        ];
        let (_, got) = send(&head, modern("tools/call", Some("list_pages"))).await;
        assert_eq!(got["result"]["resultType"], "complete");
        assert_eq!(got["result"]["isError"], false);
    }

    #[tokio::test]
    async fn headers_that_contradict_the_body_are_refused() {
        let head = [
            ("mcp-protocol-version", MODERN),
            ("mcp-method", "tools/list"),
        ];
        let (status, got) = send(&head, modern("tools/call", Some("list_pages"))).await;
        assert_eq!(
            (status, &got["error"]["code"]),
            (400, &json!(HEADER_MISMATCH))
        );
        let (status, _) = send(&head, modern("nonsense", None)).await;
        assert_eq!(status, 400);
    }

    #[tokio::test]
    async fn the_handshake() {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18"}});
        let (_, got) = send(&[], hello).await;
        assert_eq!(got["result"]["protocolVersion"], "2025-06-18");
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(send(&[], done).await.0, 202);
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let (_, got) = send(&[("mcp-protocol-version", "2025-06-18")], list).await;
        assert_eq!(got["result"]["tools"].as_array().unwrap().len(), 3);
        assert!(got["result"].get("resultType").is_none());
    }

    #[tokio::test]
    async fn a_tools_own_failure_is_a_result() {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "read_page", "arguments": {"page": "nowhere"}}});
        let (status, got) = send(&[], call).await;
        assert_eq!((status, &got["result"]["isError"]), (200, &json!(true)));
    }
}
