//! The `tools` of a request, `mcp` above all, and their echo in the response.

use super::check::{self, Checked};
use crate::error::{ErrorBody, code};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// One entry of `tools`.
#[derive(Clone, Debug)]
pub enum Tool {
    /// A remote MCP server.
    Mcp(Box<McpTool>),
    /// A function of the client.
    Function(FunctionTool),
    /// A custom tool of the client, as it came.
    Custom(Value),
    /// A tool that the provider runs itself, as it came; the text is its `type`.
    Hosted(String, Value),
}

/// A remote MCP server. The values of `headers` and `authorization` are secrets: they are
/// neither printed nor echoed.
#[derive(Clone, Debug, Default)]
pub struct McpTool {
    /// Names the server in items.
    pub server_label: String,
    /// Where it is; `None` for a connector or tunnel, which OpenAI alone can reach.
    pub server_url: Option<String>,
    /// `connector_…`, run by OpenAI.
    pub connector_id: Option<String>,
    /// `tunnel_…`, run by OpenAI.
    pub tunnel_id: Option<String>,
    /// Bare token, sent as `Authorization: Bearer …`.
    pub authorization: Option<SecretString>,
    /// Sent on every request to the server.
    pub headers: Option<Vec<(String, SecretString)>>,
    /// Which tools the model gets; `None` = all.
    pub allowed_tools: Option<AllowedTools>,
    /// Which calls wait for the client's word.
    pub require_approval: RequireApproval,
    /// Told to the model.
    pub server_description: Option<String>,
    /// Fields that only the provider can serve: `allowed_callers`, `defer_loading`.
    pub native_only: Map<String, Value>,
}

/// `allowed_tools`: a list of names, or a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedTools {
    /// These names.
    Names(Vec<String>),
    /// What the filter matches.
    Filter(ToolFilter),
}

/// Matches a tool by name and by the hint `readOnlyHint`; when both are given, both must
/// match. A filter without either matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// These names.
    pub tool_names: Option<Vec<String>>,
    /// Tools whose hint equals this.
    pub read_only: Option<bool>,
}

impl ToolFilter {
    /// Whether the filter matches a tool of this name and hint.
    #[must_use]
    pub fn matches(&self, name: &str, read_only: bool) -> bool {
        let by_name = self
            .tool_names
            .as_ref()
            .map(|names| names.iter().any(|n| n == name));
        let by_hint = self.read_only.map(|wanted| wanted == read_only);
        match (by_name, by_hint) {
            (None, None) => false,
            (by_name, by_hint) => by_name.unwrap_or(true) && by_hint.unwrap_or(true),
        }
    }
}

impl AllowedTools {
    /// Whether a tool of this name and hint may be used. A filter without a condition
    /// allows all: it narrows nothing.
    #[must_use]
    pub fn allows(&self, name: &str, read_only: bool) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|n| n == name),
            Self::Filter(filter) if *filter == ToolFilter::default() => true,
            Self::Filter(filter) => filter.matches(name, read_only),
        }
    }
}

/// `require_approval`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequireApproval {
    /// Every call waits. The default.
    #[default]
    Always,
    /// No call waits.
    Never,
    /// `never` runs, everything else waits.
    Filters {
        /// Calls that wait.
        always: Option<ToolFilter>,
        /// Calls that run.
        never: Option<ToolFilter>,
    },
}

/// A function of the client.
#[derive(Clone, Debug)]
pub struct FunctionTool {
    /// Its name.
    pub name: String,
    /// Told to the model.
    pub description: Option<String>,
    /// JSON schema of the arguments.
    pub parameters: Option<Box<RawValue>>,
    /// Whether the arguments must fit the schema exactly.
    pub strict: Option<bool>,
}

/// How `server_url` is shown in the response and in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerUrlEcho {
    /// Origin, and `/<redacted>` where a path or query was given.
    #[default]
    Origin,
    /// The whole URL but user info and query.
    Full,
}

pub(super) fn parse_all(tools: Option<Value>) -> Checked<Vec<Tool>> {
    let Some(tools) = tools else {
        return Ok(Vec::new());
    };
    let tools = check::into_array("tools", tools)?;
    let mut labels = HashSet::new();
    let mut out = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        let tool = parse(&format!("tools[{index}]"), tool)?;
        if let Tool::Mcp(mcp) = &tool
            && !labels.insert(mcp.server_label.to_ascii_lowercase())
        {
            return Err(duplicate(&mcp.server_label));
        }
        out.push(tool);
    }
    Ok(out)
}

fn duplicate(label: &str) -> ErrorBody {
    let message = format!("Duplicate MCP server_label '{label}' found in 'tools' parameter.");
    ErrorBody::new(crate::error::kind::INVALID_REQUEST, message).param("tools")
}

fn parse(path: &str, tool: Value) -> Checked<Tool> {
    let mut fields = check::into_object(path, tool)?;
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(other) => {
            return Err(check::wrong_type(
                &format!("{path}.type"),
                "a string",
                other,
            ));
        }
        None => return Err(check::missing(&format!("{path}.type"))),
    };
    match kind.as_str() {
        "mcp" => {
            fields.shift_remove("type");
            Ok(Tool::Mcp(Box::new(mcp(path, fields)?)))
        }
        "function" => function(path, fields).map(Tool::Function),
        "custom" => Ok(Tool::Custom(Value::Object(fields))),
        _ => hosted(path, kind, Value::Object(fields)),
    }
}

/// A tool of the provider's own. An MCP server inside of one would reach the provider without
/// having been judged here.
fn hosted(path: &str, kind: String, value: Value) -> Checked<Tool> {
    if !names_server(&value) {
        return Ok(Tool::Hosted(kind, value));
    }
    let shown: String = kind.chars().take(64).collect();
    let at = format!("{path}.type");
    let message = format!(
        "Invalid value: '{shown}'. A tool that names an MCP server has the type 'mcp' and stands \
         in 'tools' itself."
    );
    Err(ErrorBody::invalid(at, code::VALUE, message))
}

/// Whether some object in `value` names an MCP server.
pub(super) fn names_server(value: &Value) -> bool {
    const KEYS: [&str; 3] = ["server_url", "connector_id", "tunnel_id"];
    match value {
        Value::Array(items) => items.iter().any(names_server),
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            KEYS.iter().any(|name| key.eq_ignore_ascii_case(name)) || names_server(value)
        }),
        _ => false,
    }
}

fn function(path: &str, mut fields: Map<String, Value>) -> Checked<FunctionTool> {
    let at = |key: &str| format!("{path}.{key}");
    let name = match fields.shift_remove("name") {
        Some(name) => check::into_string(&at("name"), name)?,
        None => return Err(check::missing(&at("name"))),
    };
    let mut take = |key: &str| fields.shift_remove(key).filter(|value| !value.is_null());
    let description = take("description").map(|v| check::into_string(&at("description"), v));
    let strict = take("strict").map(|v| check::into_bool(&at("strict"), &v));
    let parameters = match take("parameters") {
        Some(value) if !value.is_object() => {
            return Err(check::wrong_type(&at("parameters"), "an object", &value));
        }
        Some(value) => serde_json::value::to_raw_value(&value).ok(),
        None => None,
    };
    Ok(FunctionTool {
        name,
        description: description.transpose()?,
        parameters,
        strict: strict.transpose()?,
    })
}

fn mcp(path: &str, fields: Map<String, Value>) -> Checked<McpTool> {
    let mut tool = McpTool::default();
    for (key, value) in fields {
        if !value.is_null() {
            mcp_field(&mut tool, path, &key, value)?;
        }
    }
    check_label(path, &tool.server_label)?;
    check_place(path, &tool)?;
    check_authorization(path, &tool)?;
    Ok(tool)
}

fn mcp_field(tool: &mut McpTool, path: &str, key: &str, value: Value) -> Checked<()> {
    let at = format!("{path}.{key}");
    match key {
        "server_label" => tool.server_label = check::into_string(&at, value)?,
        "server_url" => tool.server_url = Some(check::into_string(&at, value)?),
        "connector_id" => tool.connector_id = Some(check::into_string(&at, value)?),
        "tunnel_id" => tool.tunnel_id = Some(check::into_string(&at, value)?),
        "authorization" => tool.authorization = Some(check::into_string(&at, value)?.into()),
        "server_description" => tool.server_description = Some(check::into_string(&at, value)?),
        "headers" => tool.headers = Some(headers(&at, value)?),
        "allowed_tools" => tool.allowed_tools = Some(allowed(&at, value)?),
        "require_approval" => tool.require_approval = approval(&at, value)?,
        "allowed_callers" | "defer_loading" => {
            tool.native_only.insert(key.to_owned(), value);
        }
        _ => return Err(check::unknown(&at)),
    }
    Ok(())
}

/// Most headers of one server.
const MAX_HEADERS: usize = 64;

fn headers(path: &str, value: Value) -> Checked<Vec<(String, SecretString)>> {
    let fields = check::into_object(path, value)?;
    if fields.len() > MAX_HEADERS {
        let message = format!("Invalid '{path}': at most {MAX_HEADERS} headers are sent.");
        return Err(ErrorBody::invalid(path, code::VALUE, message));
    }
    let mut seen = HashSet::new();
    if let Some(twin) = fields
        .keys()
        .find(|name| !seen.insert(name.to_ascii_lowercase()))
    {
        let message = format!("Invalid '{path}': the header '{twin}' is there twice.");
        return Err(ErrorBody::invalid(path, code::VALUE, message));
    }
    fields
        .into_iter()
        .map(|(name, value)| {
            let value = check::into_string(&format!("{path}.{name}"), value)?;
            Ok((name, value.into()))
        })
        .collect()
}

fn allowed(path: &str, value: Value) -> Checked<AllowedTools> {
    match value {
        Value::Array(_) => Ok(AllowedTools::Names(check::into_strings(path, value)?)),
        Value::Object(fields) => Ok(AllowedTools::Filter(filter(path, fields)?)),
        other => Err(check::wrong_type(path, "an array or an object", &other)),
    }
}

fn filter(path: &str, fields: Map<String, Value>) -> Checked<ToolFilter> {
    let mut out = ToolFilter::default();
    for (key, value) in fields {
        let at = format!("{path}.{key}");
        match key.as_str() {
            _ if value.is_null() => {}
            "tool_names" => out.tool_names = Some(check::into_strings(&at, value)?),
            "read_only" => out.read_only = Some(check::into_bool(&at, &value)?),
            _ => return Err(check::unknown(&at)),
        }
    }
    Ok(out)
}

fn approval(path: &str, value: Value) -> Checked<RequireApproval> {
    match value {
        Value::String(word) if word == "always" => Ok(RequireApproval::Always),
        Value::String(word) if word == "never" => Ok(RequireApproval::Never),
        Value::String(word) => Err(check::bad_value(path, &word, &["always", "never"])),
        Value::Object(fields) => approval_filters(path, fields),
        other => Err(check::wrong_type(path, "a string or an object", &other)),
    }
}

fn approval_filters(path: &str, fields: Map<String, Value>) -> Checked<RequireApproval> {
    let (mut always, mut never) = (None, None);
    for (key, value) in fields {
        let at = format!("{path}.{key}");
        let place = match key.as_str() {
            "always" => &mut always,
            "never" => &mut never,
            _ => return Err(check::unknown(&at)),
        };
        if !value.is_null() {
            *place = Some(filter(&at, check::into_object(&at, value)?)?);
        }
    }
    Ok(RequireApproval::Filters { always, never })
}

fn check_label(path: &str, label: &str) -> Checked<()> {
    let at = format!("{path}.server_label");
    if label.is_empty() {
        return Err(check::missing(&at));
    }
    let fits = label.starts_with(|c: char| c.is_ascii_alphabetic())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if fits {
        return Ok(());
    }
    let message = format!(
        "Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z][a-zA-Z0-9_-]*$'."
    );
    Err(ErrorBody::invalid(at, code::VALUE, message))
}

fn check_place(path: &str, tool: &McpTool) -> Checked<()> {
    let places = [
        ("server_url", tool.server_url.is_some()),
        ("connector_id", tool.connector_id.is_some()),
        ("tunnel_id", tool.tunnel_id.is_some()),
    ];
    let given: Vec<&str> = places
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match given.as_slice() {
        ["connector_id"] if tool.authorization.is_none() => Err(ErrorBody::new(
            crate::error::kind::INVALID_REQUEST,
            "Must specify 'authorization' parameter with 'connector_id'",
        )
        .param("tools")),
        [_] => Ok(()),
        [one, other, ..] => Err(check::exclusive(path, one, other)),
        [] => Err(ErrorBody::invalid(
            path,
            code::MISSING_EXCLUSIVE,
            format!(
                "Missing mutually exclusive parameters: '{path}'. Ensure you are providing exactly one of: 'server_url', 'connector_id', or 'tunnel_id'."
            ),
        )),
    }
}

fn check_authorization(path: &str, tool: &McpTool) -> Checked<()> {
    let in_headers = tool
        .headers
        .iter()
        .flatten()
        .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if tool
        .authorization
        .as_ref()
        .is_some_and(|token| token.expose_secret().is_empty())
    {
        let at = format!("{path}.authorization");
        let message = format!("Invalid '{at}': it is empty. Leave it out, or give the token.");
        return Err(ErrorBody::invalid(at, code::VALUE, message));
    }
    if in_headers && tool.authorization.is_some() {
        return Err(check::exclusive(
            path,
            "authorization",
            "headers.Authorization",
        ));
    }
    Ok(())
}

/// What stands in the place of a secret.
pub const REDACTED: &str = "<redacted>";

impl Tool {
    /// The tool as the response shows it, without secrets. Source: recorded echoes of 2025
    /// and 2026 (`type` first, then the keys in alphabetical order).
    #[must_use]
    pub fn echo(&self, url: ServerUrlEcho) -> Value {
        match self {
            Self::Mcp(tool) => tool.echo(url),
            Self::Function(tool) => tool.echo(),
            Self::Custom(value) | Self::Hosted(_, value) => value.clone(),
        }
    }
}

impl FunctionTool {
    fn echo(&self) -> Value {
        json!({
            "type": "function",
            "description": self.description,
            "name": self.name,
            "parameters": self.parameters,
            "strict": self.strict.unwrap_or(true),
        })
    }
}

impl McpTool {
    /// `server_url` as it may be shown: never user info, never the query.
    #[must_use]
    pub fn shown_url(&self, echo: ServerUrlEcho) -> Option<String> {
        self.server_url.as_deref().map(|url| shown_url(url, echo))
    }

    fn echo(&self, url: ServerUrlEcho) -> Value {
        let mut out = Map::new();
        out.insert("type".to_owned(), "mcp".into());
        out.insert("allowed_tools".to_owned(), self.allowed_echo());
        if self.authorization.is_some() {
            out.insert("authorization".to_owned(), REDACTED.into());
        }
        if let Some(id) = &self.connector_id {
            out.insert("connector_id".to_owned(), id.as_str().into());
        }
        out.insert("headers".to_owned(), self.headers_echo());
        out.insert("require_approval".to_owned(), self.require_approval.echo());
        out.insert(
            "server_description".to_owned(),
            self.server_description.clone().into(),
        );
        out.insert("server_label".to_owned(), self.server_label.as_str().into());
        out.insert("server_url".to_owned(), self.shown_url(url).into());
        if let Some(id) = &self.tunnel_id {
            out.insert("tunnel_id".to_owned(), id.as_str().into());
        }
        Value::Object(out)
    }

    fn headers_echo(&self) -> Value {
        match &self.headers {
            None => Value::Null,
            Some(headers) => headers
                .iter()
                .map(|(name, _)| (name.clone(), Value::from(REDACTED)))
                .collect(),
        }
    }

    fn allowed_echo(&self) -> Value {
        match &self.allowed_tools {
            None => Value::Null,
            Some(AllowedTools::Names(names)) => json!(names),
            Some(AllowedTools::Filter(filter)) => filter.echo(),
        }
    }
}

impl ToolFilter {
    fn echo(&self) -> Value {
        json!({"read_only": self.read_only, "tool_names": self.tool_names})
    }
}

impl RequireApproval {
    fn echo(&self) -> Value {
        let filter = |f: &Option<ToolFilter>| f.as_ref().map_or(Value::Null, ToolFilter::echo);
        match self {
            Self::Always => "always".into(),
            Self::Never => "never".into(),
            Self::Filters { always, never } => {
                json!({"always": filter(always), "never": filter(never)})
            }
        }
    }
}

/// A URL as it may be shown to its caller and in the log: no user info, no query, no
/// fragment; the path only if `echo` says so.
#[must_use]
pub fn shown_url(url: &str, echo: ServerUrlEcho) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return REDACTED.to_owned();
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let path = tail.split(['?', '#']).next().unwrap_or("");
    match echo {
        ServerUrlEcho::Full => format!("{scheme}://{host}{path}"),
        ServerUrlEcho::Origin if matches!(tail, "" | "/") => format!("{scheme}://{host}{tail}"),
        ServerUrlEcho::Origin => format!("{scheme}://{host}/{REDACTED}"),
    }
}
