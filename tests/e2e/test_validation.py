"""Bad input: the status, the words, the field and the code of each refusal."""
import pytest

BASE = {"type": "mcp", "server_label": "a", "server_url": "https://tools.example/mcp", "require_approval": "never"}


def tool(**fields):
    """The good tool with some fields changed; None takes one away."""
    return {k: v for k, v in {**BASE, **fields}.items() if v is not None}


def with_tools(*tools):
    return {"model": "gpt-4.1", "input": "hi", "tools": list(tools)}


def history(*items):
    return {**with_tools(tool()), "input": [{"role": "user", "content": "hi"}, *items]}


LABEL_PATTERN = "^[a-zA-Z][a-zA-Z0-9_-]*$"
# The name of the case, the body, the message, the param, the code.
CASES = [
    ("no label", with_tools(tool(server_label=None)),
        "Missing required parameter: 'tools[0].server_label'.", "tools[0].server_label", "missing_required_parameter"),
    ("no url", with_tools(tool(server_url=None)),
        "Missing mutually exclusive parameters: 'tools[0]'. Ensure you are providing exactly one of: "
        "'server_url', 'connector_id', or 'tunnel_id'.", "tools[0]", "missing_mutually_exclusive_parameters"),
    ("url and connector", with_tools(tool(connector_id="connector_gmail", authorization="t")),
        "Mutually exclusive parameters: 'tools[0]'. Ensure you are only providing one of: "
        "'server_url' or 'connector_id'.", "tools[0]", "mutually_exclusive_parameters"),
    ("connector without token", with_tools(tool(server_url=None, connector_id="connector_gmail")),
        "Must specify 'authorization' parameter with 'connector_id'", "tools", None),
    ("label twice", with_tools(tool(), tool(server_label="A")),
        "Duplicate MCP server_label 'A' found in 'tools' parameter.", "tools", None),
    ("label pattern", with_tools(tool(server_label="1 a")),
        f"Invalid 'tools[0].server_label': string does not match pattern. Expected a string that matches the "
        f"pattern '{LABEL_PATTERN}'.", "tools[0].server_label", "invalid_value"),
    ("two credentials", with_tools(tool(authorization="t", headers={"authorization": "Bearer u"})),
        "Mutually exclusive parameters: 'tools[0]'. Ensure you are only providing one of: "
        "'authorization' or 'headers.Authorization'.", "tools[0]", "mutually_exclusive_parameters"),
    ("approval word", with_tools(tool(require_approval="sometimes")),
        "Invalid value: 'sometimes'. Supported values are: 'always' and 'never'.",
        "tools[0].require_approval", "invalid_value"),
    ("headers as a list", with_tools(tool(headers=["x"])),
        "Invalid type for 'tools[0].headers': expected an object, but got an array instead.",
        "tools[0].headers", "invalid_type"),
    ("second tool", with_tools(tool(), tool(server_label="b", server_url=7)),
        "Invalid type for 'tools[1].server_url': expected a string, but got an integer instead.",
        "tools[1].server_url", "invalid_type"),
    ("unknown field of the tool", with_tools(tool(n=1)),
        "Unknown parameter: 'tools[0].n'.", "tools[0].n", "unknown_parameter"),
    ("no model", {"input": "hi"}, "Missing required parameter: 'model'.", "model", "missing_required_parameter"),
    ("temperature", {"model": "gpt-4.1", "input": "hi", "temperature": -1},
        "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -1 instead.",
        "temperature", "decimal_below_min_value"),
    ("top_p", {"model": "gpt-4.1", "input": "hi", "top_p": 2},
        "Invalid 'top_p': decimal above maximum value. Expected a value <= 1, but got 2 instead.",
        "top_p", "decimal_above_max_value"),
    ("no calls", {**with_tools(tool()), "max_tool_calls": 0},
        "Invalid 'max_tool_calls': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        "max_tool_calls", "integer_below_min_value"),
    ("unknown field", {"model": "gpt-4.1", "input": "hi", "n": 1}, "Unknown parameter: 'n'.", "n", "unknown_parameter"),
    ("no output of a call", history({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}),
        "No tool output found for function call call_1.", "input", None),
    ("open approval", history({"type": "mcp_approval_request", "id": "mcpr_1", "arguments": "{}", "name": "n", "server_label": "a"}),
        "The following MCP approval requests do not have an approval: mcpr_1", "input", None),
    ("item twice", history(*[{"type": "message", "id": "msg_1", "role": "user", "content": "hi"}] * 2),
        "Duplicate item found with id msg_1. Remove duplicate items from your input and try again.", "input", None),
    ("tool choice", {**with_tools(tool()), "tool_choice": {"type": "mcp", "server_label": "zz"}},
        "Tool choice 'zz' not found in 'tools' parameter.", "tool_choice", None),
    ("tool choice of a function", {**with_tools(tool()), "tool_choice": {"type": "function", "name": "f"}}, None, "tool_choice", None),
    ("tools of others", with_tools({"type": "web_search"}), None, "tools[0].type", None),
    ("unknown response", {**with_tools(tool()), "previous_response_id": "resp_" + "0" * 48},
        f"Previous response with id 'resp_{'0' * 48}' not found.", "previous_response_id", "previous_response_not_found"),
    ("response and conversation", {**with_tools(), "previous_response_id": "resp_1", "conversation": "conv_1"},
        "Mutually exclusive parameters. Ensure you are only providing one of: 'previous_response_id' or 'conversation'.",
        None, "mutually_exclusive_parameters"),
    ("url and tunnel", with_tools(tool(tunnel_id="tunnel_" + "a" * 32)),
        "Mutually exclusive parameters: 'tools[0]'. Ensure you are only providing one of: "
        "'server_url' or 'tunnel_id'.", "tools[0]", "mutually_exclusive_parameters"),
    ("unknown approval", history({"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}),
        "No approval request found with id 'mcpr_1'.", "input[1].approval_request_id", "invalid_value"),
    ("background and not stored", {**with_tools(), "background": True, "store": False}, None, "background",
        "unsupported_parameter"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("body, message, param, code", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_refusal(gateway, provider, body, message, param, code, stream):
    answer = gateway.post({**body, "stream": stream}, "chat")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == param
    if message:
        assert (error["message"], error["code"]) == (message, code)
    assert answer.json()["message"] and answer.headers["x-portkey-trace-id"]
    assert provider.requests() == []


FORBIDDEN = [
    "http://8.8.8.8/mcp", "https://10.0.0.1/mcp", "https://169.254.169.254/latest", "https://[::1]/mcp",
    "https://192.168.1.1:8443/mcp", "https://100.64.0.1/", "https://0x0a000001/", "https://[::ffff:10.0.0.1]/",
    "https://167772161/", "ftp://tools.example/", "https://user:pass@tools.example/", "file:///etc/passwd", "nonsense",
]


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize("url", FORBIDDEN)
def test_forbidden_url(gateway, provider, url, upstream):
    for stream in (False, True):
        answer = gateway.post({**with_tools(tool(server_url=url)), "stream": stream}, upstream)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == ("tools[0].server_url", "invalid_value")
        assert "pass@" not in answer.text and "/latest" not in answer.text and "/etc/passwd" not in answer.text
    assert provider.requests() == []


@pytest.mark.parametrize("field, value", [("background", True), ("conversation", "conv_1"), ("prompt", {"id": "pmpt_1"})])
def test_what_is_not_built_is_refused_by_name(gateway, provider, field, value):
    answer = gateway.post({**with_tools(tool()), field: value}, "chat")
    assert answer.status_code == 400 and answer.json()["error"]["param"] == field
    assert field in answer.json()["error"]["message"]


RAW = {
    "not json": b"{", "a list": b"[]", "empty": b"", "a name twice": b'{"model":"a","model":"b","input":"x"}',
    "a name in another case": b'{"model":"a","Model":"b","input":"x"}',
    "deep": b'{"model":"a","input":' + b"[" * 5000 + b"]" * 5000 + b"}", "not utf-8": b'{"model":"\xff"}',
}


@pytest.mark.parametrize("case", RAW)
def test_a_body_that_is_no_request(gateway, provider, case):
    headers = gateway.headers("chat", **{"content-type": "application/json"})
    answer = gateway.http.post("/v1/responses", content=RAW[case], headers=headers)
    assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error", answer.text
    assert provider.requests() == []


@pytest.mark.parametrize("headers, status", [
    ({}, 401), ({"x-portkey-api-key": "pk-wrong"}, 401), ({"authorization": "Bearer xx"}, 401),
    ({"authorization": "Bearer OPENAI_API_KEY"}, 401),
])
def test_no_key(gateway, provider, headers, status):
    answer = gateway.http.post("/v1/responses", json={"model": "a", "input": "b"}, headers=headers)
    assert answer.status_code == status and answer.headers["x-portkey-trace-id"]
    assert answer.json()["error"]["message"] and answer.json()["status"] == "failure"


def test_an_unknown_virtual_key(gateway, provider):
    answer = gateway.post({"model": "a", "input": "b"}, "no-such-key")
    assert answer.status_code in (400, 404) and "no-such-key" in answer.json()["error"]["message"]


@pytest.mark.parametrize("method, path, status", [("GET", "/v1/nothing", 404), ("GET", "/v1/responses", 405)])
def test_other_routes(gateway, method, path, status):
    answer = gateway.http.request(method, path, headers=gateway.headers("chat"))
    assert answer.status_code == status and answer.json()["error"]["message"]
    assert answer.headers["x-portkey-trace-id"]
