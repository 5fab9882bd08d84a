"""The ten ways a stream can go, (a) to (j), each event by event, on a provider that speaks Responses and on one that speaks chat."""
import pytest

from bed.servers import mcp
from bed.stream import check, items, text, types

LIST = ["output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done"]
OPEN = ["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"]
CALL = [*OPEN, "mcp_call.completed", "output_item.done"]
FAILED_CALL = [*OPEN, "mcp_call.failed", "output_item.done"]
MESSAGE = [
    "output_item.added", "content_part.added", "output_text.delta",
    "output_text.done", "content_part.done", "output_item.done",
]
FUNCTION = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
APPROVAL = ["output_item.added", "output_item.done"]
ECHO = '[call echo {"message":"hi"}]'
WEATHER = {"type": "function", "name": "get_weather", "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}

both = pytest.mark.parametrize("upstream", ["responses", "chat"])


def ask(prompt, *tools, **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": list(tools), **fields}


def expect(events, *groups, end="completed"):
    """The response, after exactly these events between the first two and the last."""
    response = check(events)
    inner = [name for group in groups for name in group]
    named = ["response." + name if name != "error" else name for name in ["created", "in_progress", *inner, end]]
    assert types(events) == named
    return response


def of(events, kind):
    return [event for event in events if event["type"] == kind]


@both
def test_trace_a_plain_text(gateway, provider, upstream):
    events = gateway.stream(ask("Say hello"), upstream)
    response = expect(events, MESSAGE)
    (added,), (part,) = of(events, "response.output_item.added"), of(events, "response.content_part.added")
    assert added["item"] == {"id": added["item"]["id"], "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    assert part["part"] == {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    assert all(e["logprobs"] == [] and e["content_index"] == 0 for e in of(events, "response.output_text.delta"))
    assert response["status"] == "completed" and response["completed_at"] and text(response) == "You said: Say hello"
    assert response["service_tier"] == "default" and response["usage"]["total_tokens"] > 0


@both
def test_trace_b_list_call_text(gateway, provider, bench, upstream):
    events = gateway.stream(ask(ECHO, mcp(bench)), upstream)
    response = expect(events, LIST, CALL, MESSAGE)
    opened = [event["item"] for event in of(events, "response.output_item.added")]
    assert opened[0]["tools"] == [] and (opened[1]["status"], opened[1]["arguments"], opened[1]["output"]) == ("in_progress", "", None)
    assert len(of(events, "response.mcp_call_arguments.delta")) == 1
    assert [item["type"] for item in response["output"]] == ["mcp_list_tools", "mcp_call", "message"]
    assert response["output"][1]["output"] == "workbench heard: hi"


@both
def test_trace_c_listing_fails(gateway, provider, guarded, upstream):
    events = gateway.stream(ask("hi", mcp(guarded, "dice")), upstream)
    response = expect(events, [*LIST[:2], "mcp_list_tools.failed", "output_item.done", "error"], end="failed")
    words = "Error retrieving tool list from MCP server: 'dice'. Http status code: 401 (Unauthorized)"
    (failed,), (fatal,) = of(events, "response.mcp_list_tools.failed"), of(events, "error")
    assert set(failed) == {"type", "sequence_number", "item_id", "output_index"}
    assert fatal["error"] == {"type": "external_connector_error", "code": "http_error", "message": words, "param": "tools"}
    assert response["error"] == {"code": "server_error", "message": words} and response["status"] == "failed"
    (listed,) = response["output"]
    assert (listed["tools"], listed["error"]) == ([], words) and provider.requests() == []


@both
def test_trace_d_call_fails_and_the_model_tries_again(gateway, provider, bench, upstream):
    events = gateway.stream(ask('[call fail {"reason":"b"}] [then echo {"message":"c"}]', mcp(bench)), upstream)
    response = expect(events, LIST, FAILED_CALL, CALL, MESSAGE)
    failed, good = items(response, "mcp_call")
    assert (failed["status"], failed["output"], failed["error"]["type"]) == ("failed", None, "mcp_tool_execution_error")
    assert (good["status"], good["output"], good["error"]) == ("completed", "workbench heard: c", None)
    assert set(of(events, "response.mcp_call.failed")[0]) == {"type", "sequence_number", "item_id", "output_index"}
    assert (response["status"], response["error"]) == ("completed", None)


@both
def test_trace_e_approval_asked(gateway, provider, bench, upstream):
    events = gateway.stream(ask(ECHO, mcp(bench, require_approval="always")), upstream)
    response = expect(events, LIST, APPROVAL)
    added, done = of(events, "response.output_item.added")[1], of(events, "response.output_item.done")[1]
    assert added["item"] == done["item"] == {"id": added["item"]["id"], "type": "mcp_approval_request",
        "arguments": '{"message":"hi"}', "name": "echo", "server_label": "bench"}
    assert response["usage"]["output_tokens"] > 0 and len(provider.requests()) == 1 and bench.started() == []


def resumed(gateway, bench, upstream, approve, by_reference):
    """The events after a word, in the context of the response or with a reference to its request."""
    tool = mcp(bench, require_approval="always")
    asked = gateway.ask(ask(ECHO, tool), upstream)
    (request,) = items(asked, "mcp_approval_request")
    word = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}
    if by_reference:
        body = ask([{"role": "user", "content": ECHO}, {"type": "item_reference", "id": request["id"]}, word], tool)
    else:
        body = ask([word], tool, previous_response_id=asked["id"])
    return request, gateway.stream(body, upstream)


@both
@pytest.mark.parametrize("by_reference", [False, True], ids=["in the chain", "by reference"])
def test_trace_f_resumed(gateway, provider, bench, upstream, by_reference):
    request, events = resumed(gateway, bench, upstream, True, by_reference)
    response = expect(events, LIST if by_reference else [], CALL, MESSAGE)
    added = of(events, "response.output_item.added")[by_reference]["item"]
    assert (added["approval_request_id"], added["arguments"], added["status"]) == (request["id"], "", "in_progress")
    (call,) = items(response, "mcp_call")
    assert (call["approval_request_id"], call["output"]) == (request["id"], "workbench heard: hi")
    assert call["id"].startswith("mcp_") and len(bench.started()) == 1 and len(provider.requests()) == 2


@both
@pytest.mark.parametrize("by_reference", [False, True], ids=["in the chain", "by reference"])
def test_trace_f_denied(gateway, provider, bench, upstream, by_reference):
    _, events = resumed(gateway, bench, upstream, False, by_reference)
    response = expect(events, LIST if by_reference else [], MESSAGE)
    assert "denied" in text(response) and bench.started() == []


@both
def test_trace_g_client_function(gateway, provider, bench, upstream):
    events = gateway.stream(ask('[call get_weather {"city":"Oslo"}]', mcp(bench), WEATHER), upstream)
    response = expect(events, LIST, FUNCTION)
    added = of(events, "response.output_item.added")[1]["item"]
    assert (added["status"], added["arguments"]) == ("in_progress", "") and added["call_id"].startswith("call_")
    assert response["output"][1]["arguments"] == '{"city":"Oslo"}' and len(provider.requests()) == 1


@both
def test_trace_g_client_function_beside_a_call(gateway, provider, bench, upstream):
    """The model's order stays in `output_index`; the call runs, and there is no further turn of the model."""
    prompt = '[call get_weather {"city":"Oslo"}] ' + ECHO
    events = gateway.stream(ask(prompt, mcp(bench), WEATHER), upstream)
    response = check(events)
    assert sorted(types(events)) == sorted(f"response.{name}" for name in ["created", "in_progress", *LIST, *FUNCTION, *CALL, "completed"])
    assert [item["type"] for item in response["output"]] == ["mcp_list_tools", "function_call", "mcp_call"]
    assert response["status"] == "completed" and len(bench.started()) == 1 and len(provider.requests()) == 1


@both
def test_trace_h_incomplete(gateway, provider, upstream):
    events = gateway.stream({**ask("Say hello"), "model": "length"}, upstream)
    response = expect(events, MESSAGE, end="incomplete")
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["completed_at"] is None and response["error"] is None


@both
def test_trace_i_failed(gateway, provider, bench, upstream):
    """The model's quota is gone in its second turn."""
    events = gateway.stream({**ask(ECHO, mcp(bench)), "model": "quota-after-tool"}, upstream)
    response = expect(events, LIST, CALL, ["error"], end="failed")
    (fatal,) = of(events, "error")
    assert set(fatal["error"]) == {"type", "code", "message", "param"} and fatal["error"]["code"] == "insufficient_quota"
    assert response["error"] == {"code": "insufficient_quota", "message": fatal["error"]["message"]}
    assert response["status"] == "failed" and [item["type"] for item in response["output"]] == ["mcp_list_tools", "mcp_call"]


@both
def test_trace_j_calls_in_parallel(gateway, provider, bench, upstream):
    """Opened in the order of the model, closed in pairs as they finish."""
    events = gateway.stream(ask('[call sleep {"seconds":0.4}] [call echo {"message":"b"}]', mcp(bench)), upstream)
    response = expect(events, LIST, OPEN, OPEN, *[["mcp_call.completed", "output_item.done"]] * 2, MESSAGE)
    assert [event["output_index"] for event in of(events, "response.mcp_call.completed")] == [2, 1]
    assert [call["name"] for call in items(response, "mcp_call")] == ["sleep", "echo"]
