use super::*;
use serde_json::{Map, json};

/// `(body, param, code, a piece of the message)`.
fn refuse(body: &Value, param: &str, code: &str, piece: &str) {
    let text = body.to_string();
    let result =
        Head::parse(text.as_bytes()).and_then(|head| Body::parse(&head, false).map(|_| ()));
    let error = result.expect_err(&text);
    assert_eq!(
        error.param.as_deref().unwrap_or(""),
        param,
        "{text}: {error:?}"
    );
    assert_eq!(
        error.code.as_deref().unwrap_or(""),
        code,
        "{text}: {error:?}"
    );
    assert!(error.message.contains(piece), "{text}: {error:?}");
    assert_eq!(error.kind, "invalid_request_error");
}

fn mcp(change: &Value) -> Value {
    let mut tool = json!({"type":"mcp","server_label":"a","server_url":"https://a.example/mcp"});
    for (key, value) in change.as_object().unwrap() {
        tool[key] = value.clone();
    }
    tool.as_object_mut()
        .unwrap()
        .retain(|_, value| value != "absent");
    json!({"model":"m","input":"x","tools":[tool]})
}

#[test]
fn the_table_of_refusals() {
    refuse(
        &json!({"input":"x"}),
        "model",
        "missing_required_parameter",
        "'model'",
    );
    refuse(
        &mcp(&json!({"server_label":"absent"})),
        "tools[0].server_label",
        "missing_required_parameter",
        "Missing required parameter: 'tools[0].server_label'.",
    );
    refuse(
        &mcp(&json!({"server_url":"absent"})),
        "tools[0]",
        "missing_mutually_exclusive_parameters",
        "exactly one of: 'server_url', 'connector_id', or 'tunnel_id'.",
    );
    refuse(
        &mcp(&json!({"connector_id":"connector_gmail"})),
        "tools[0]",
        "mutually_exclusive_parameters",
        "only providing one of: 'server_url' or 'connector_id'.",
    );
    refuse(
        &mcp(&json!({"server_url":"absent","connector_id":"connector_gmail"})),
        "tools",
        "",
        "Must specify 'authorization'",
    );
    refuse(
        &mcp(&json!({"server_label":"1a"})),
        "tools[0].server_label",
        "invalid_value",
        "^[a-zA-Z][a-zA-Z0-9_-]*$",
    );
    refuse(
        &mcp(&json!({"authorization":"t","headers":{"authorization":"u"}})),
        "tools[0]",
        "mutually_exclusive_parameters",
        "'authorization' or 'headers.Authorization'",
    );
    refuse(
        &mcp(&json!({"require_approval":"sometimes"})),
        "tools[0].require_approval",
        "invalid_value",
        "Invalid value: 'sometimes'. Supported values are: 'always' and 'never'.",
    );
    refuse(
        &mcp(&json!({"headers":[]})),
        "tools[0].headers",
        "invalid_type",
        "Invalid type for 'tools[0].headers': expected an object, but got an array instead.",
    );
    refuse(
        &mcp(&json!({"n":1})),
        "tools[0].n",
        "unknown_parameter",
        "Unknown parameter: 'tools[0].n'.",
    );
    refuse(
        &mcp(&json!({"allowed_tools":{"names":[]}})),
        "tools[0].allowed_tools.names",
        "unknown_parameter",
        "",
    );
    refuse(
        &json!({"model":"m","temperature":-1}),
        "temperature",
        "decimal_below_min_value",
        "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -1 instead.",
    );
    refuse(
        &json!({"model":"m","max_tool_calls":0}),
        "max_tool_calls",
        "integer_below_min_value",
        "",
    );
    refuse(
        &json!({"model":"m","tool_choice":{"type":"web_search"}}),
        "tool_choice",
        "",
        "Tool choice 'web_search' not found in 'tools' parameter.",
    );
    refuse(
        &json!({"model":"m","zzz":1}),
        "zzz",
        "unknown_parameter",
        "",
    );
    refuse(
        &json!({"model":"m","prompt":{"id":"p"}}),
        "prompt",
        "unsupported_parameter",
        "",
    );
    refuse(
        &json!({"model":"m","tools":[{"type":"web_search"}]}),
        "tools[0].type",
        "invalid_value",
        "web_search",
    );
    refuse(
        &json!({"model":"m","input":[{"type":"mcp_call","id":1}]}),
        "input[0]",
        "invalid_value",
        "",
    );
    refuse(
        &json!({"model":"m","metadata":{"k":1}}),
        "metadata.k",
        "invalid_type",
        "",
    );
}

#[test]
fn lengths() {
    let long = |count: usize| "é".repeat(count);
    let many: Map<String, Value> = (0..17).map(|n| (n.to_string(), "v".into())).collect();
    let metadata = |fields: Value| json!({"model":"m","metadata": fields});
    refuse(
        &metadata(json!({"k": long(513)})),
        "metadata.k",
        "string_above_max_length",
        "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, but got a string with length 513 instead.",
    );
    refuse(
        &metadata(json!({long(65): "v"})),
        "metadata",
        "property_name_above_max_length",
        "",
    );
    refuse(
        &metadata(many.into()),
        "metadata",
        "object_above_max_properties",
        "with 17",
    );
    refuse(
        &json!({"model":"m","safety_identifier": long(129)}),
        "safety_identifier",
        "string_above_max_length",
        "",
    );
}

#[test]
fn words() {
    let text = |fields: Value| json!({"model":"m","text": fields});
    let include = |word: &str| json!({"model":"m","include":["reasoning.encrypted_content", word]});
    let schema = json!({"format":{"type":"json_schema","name":"n"}});
    let format = |word: &str| json!({"format":{"type": word}});
    let options = json!({"model":"m","stream_options":{"include_obfuscation":1}});
    let (value, kind) = ("invalid_value", "invalid_type");
    let missing = "missing_required_parameter";
    for (body, param, code) in [
        (
            include("web_search_call.results"),
            "include[1]",
            "unsupported_value",
        ),
        (include("x"), "include[1]", value),
        (text(format("xml")), "text.format.type", value),
        (text(schema), "text.format.schema", missing),
        (text(json!({"format":"json"})), "text.format", kind),
        (text(json!({"verbosity":"loud"})), "text.verbosity", value),
        (
            json!({"model":"m","truncation":"some"}),
            "truncation",
            value,
        ),
        (options, "stream_options.include_obfuscation", kind),
    ] {
        refuse(&body, param, code, "");
    }
}

#[test]
fn a_native_provider_takes_every_include_and_new_formats() {
    let include = super::body::INCLUDE;
    let text = json!({"model":"m","include": include,"text":{"format":{"type":"new"}}}).to_string();
    let body = Body::parse(&Head::parse(text.as_bytes()).unwrap(), true).unwrap();
    assert_eq!(body.options.include, include);
    let limits = json!({"model":"m","metadata":{"k".repeat(64): "v".repeat(512)},"safety_identifier":"s".repeat(128)});
    let text = limits.to_string();
    assert!(Body::parse(&Head::parse(text.as_bytes()).unwrap(), false).is_ok());
}

#[test]
fn one_label_for_two_servers() {
    let tool = json!({"type":"mcp","server_label":"A","server_url":"https://a.example/mcp"});
    let twin = json!({"type":"mcp","server_label":"a","server_url":"https://b.example/mcp"});
    let body = json!({"model":"m","tools":[tool, twin]});
    refuse(
        &body,
        "tools",
        "",
        "Duplicate MCP server_label 'a' found in 'tools' parameter.",
    );
}

fn echo(change: &Value, expected: &Value) {
    let text = mcp(change).to_string();
    let head = Head::parse(text.as_bytes()).unwrap();
    let got = head.tools[0].echo(ServerUrlEcho::Origin);
    assert_eq!(got.to_string(), expected.to_string());
}

#[test]
fn echoes() {
    echo(
        &json!({}),
        &json!({"type":"mcp","allowed_tools":null,"headers":null,"require_approval":"always","server_description":null,"server_label":"a","server_url":"https://a.example/<redacted>"}),
    );
    echo(
        &json!({"server_url":"https://u:p@a.example:8443/x?k=1","headers":{"K":"v"},"authorization":"t","allowed_tools":{"tool_names":["a"]},"require_approval":{"never":{"tool_names":["a"]}}}),
        &json!({"type":"mcp","allowed_tools":{"read_only":null,"tool_names":["a"]},"authorization":"<redacted>","headers":{"K":"<redacted>"},"require_approval":{"always":null,"never":{"read_only":null,"tool_names":["a"]}},"server_description":null,"server_label":"a","server_url":"https://a.example:8443/<redacted>"}),
    );
}

#[test]
fn a_full_url_shows_no_query_and_no_user() {
    let text = mcp(&json!({"server_url":"https://u:p@a.example/x/y?k=1#f"})).to_string();
    let head = Head::parse(text.as_bytes()).unwrap();
    assert_eq!(
        head.tools[0].echo(ServerUrlEcho::Full)["server_url"],
        "https://a.example/x/y"
    );
}

#[test]
fn secrets_are_not_printed() {
    let text = mcp(&json!({"headers":{"K":"canary"}})).to_string();
    let head = Head::parse(text.as_bytes()).unwrap();
    assert!(!format!("{:?}", head.tools).contains("canary"));
}

fn choice(value: Value) -> ToolChoice {
    let mut body = mcp(&json!({}));
    body["tool_choice"] = value;
    let text = body.to_string();
    let head = Head::parse(text.as_bytes()).unwrap();
    Body::parse(&head, false).unwrap().tool_choice
}

#[test]
fn tool_choices() {
    let all = ToolRef::Mcp {
        server_label: None,
        name: None,
    };
    let label = ToolRef::Mcp {
        server_label: Some("a".to_owned()),
        name: None,
    };
    assert_eq!(choice(json!("required")), ToolChoice::Required);
    assert_eq!(choice(json!({"type":"mcp"})), ToolChoice::Force(vec![all]));
    assert_eq!(
        choice(
            json!({"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"a","name":null}]})
        ),
        ToolChoice::Among(vec![label])
    );
}

#[test]
fn a_string_input_is_one_user_message() {
    let text = json!({"model":"m","input":"hi"}).to_string();
    let head = Head::parse(text.as_bytes()).unwrap();
    let body = Body::parse(&head, false).unwrap();
    assert_eq!(
        serde_json::to_value(&body.input).unwrap(),
        json!([{"type":"message","content":"hi","role":"user"}])
    );
}
