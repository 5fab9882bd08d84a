"""Order and content of the events, on a provider that speaks Responses and on one that speaks chat."""
import pytest

from bed.servers import mcp
from bed.stream import check, items, text, types

LIST = ["output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done"]
OPEN = ["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"]
CALL = [*OPEN, "mcp_call.completed", "output_item.done"]
MESSAGE = [
    "output_item.added", "content_part.added", "output_text.delta",
    "output_text.done", "content_part.done", "output_item.done",
]
FUNCTION = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]

both = pytest.mark.parametrize("upstream", ["responses", "chat"])


def lifecycle(*groups):
    inner = [name for group in groups for name in group]
    return ["response." + name for name in ["created", "in_progress", *inner, "completed"]]


def ask(prompt, *tools, **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": list(tools), **fields}


@both
def test_list_call_answer(gateway, provider, bench, upstream):
    events = gateway.stream(ask('[call echo {"message":"hi"}]', mcp(bench)), upstream)
    response = check(events)
    assert types(events) == lifecycle(LIST, CALL, MESSAGE)
    assert response["status"] == "completed" and response["error"] is None
    tools, call, message = response["output"]
    assert set(tools) == {"id", "type", "server_label", "tools"} and tools["id"].startswith("mcpl_")
    assert call == {
        "id": call["id"], "type": "mcp_call", "status": "completed", "approval_request_id": None,
        "arguments": '{"message":"hi"}', "error": None, "name": "echo",
        "output": "workbench heard: hi", "server_label": "bench",
    }
    assert call["id"].startswith("mcp_") and message["id"].startswith("msg_")
    assert text(response) == "The tool said: workbench heard: hi"
    assert len(bench.started("echo")) == 1


@both
def test_the_list_item_shows_the_tools_as_the_server_has_them(gateway, provider, bench, upstream):
    response = gateway.ask(ask("[no tool]", mcp(bench)), upstream)
    (listed,) = items(response, "mcp_list_tools")
    echo = listed["tools"][0]
    assert list(echo) == ["annotations", "description", "input_schema", "name"]
    assert echo["annotations"] == {"read_only": True} and echo["description"] == "Repeats the message."
    assert echo["input_schema"]["required"] == ["message"]
    assert listed["tools"][1]["annotations"] == {"read_only": False}


@both
def test_added_items_are_empty_and_calls_say_what_runs(gateway, provider, bench, upstream):
    events = gateway.stream(ask('[call echo {"message":"hi"}]', mcp(bench)), upstream)
    tools, call, message = [e["item"] for e in events if e["type"] == "response.output_item.added"]
    assert tools["tools"] == []
    assert (call["status"], call["arguments"], call["output"], call["name"]) == ("in_progress", "", None, "echo")
    assert message["content"] == [] and message["status"] == "in_progress"
    small = [e for e in events if ".mcp_list_tools." in e["type"] or ".mcp_call." in e["type"]]
    assert all(set(e) == {"type", "sequence_number", "output_index", "item_id"} for e in small)


@both
def test_calls_in_parallel_keep_the_order_of_the_model(gateway, provider, bench, upstream):
    prompt = '[call sleep {"seconds":0.4}] [call echo {"message":"b"}]'
    events = gateway.stream(ask(prompt, mcp(bench)), upstream)
    response = check(events)
    assert types(events) == lifecycle(LIST, OPEN, OPEN, *[["mcp_call.completed", "output_item.done"]] * 2, MESSAGE)
    assert [call["name"] for call in items(response, "mcp_call")] == ["sleep", "echo"]
    finished = [e["output_index"] for e in events if e["type"] == "response.mcp_call.completed"]
    assert finished == [2, 1], "the quick one is told first"
    starts = [e["at"] for e in bench.started()]
    assert max(starts) - min(starts) < 0.3, "both ran at once"
    assert text(response) == "The tool said: slept 0.4 s; workbench heard: b"


@both
def test_one_call_a_turn_when_parallel_calls_are_off(gateway, provider, bench, upstream):
    prompt = '[call echo {"message":"a"}] [call echo {"message":"b"}]'
    response = gateway.ask(ask(prompt, mcp(bench), parallel_tool_calls=False), upstream)
    assert len(items(response, "mcp_call")) == 1 and len(bench.started()) == 1


@both
def test_several_rounds_in_one_response(gateway, provider, bench, upstream):
    prompt = '[call echo {"message":"a"}] [then echo {"message":"b"}] [then echo {"message":"c"}]'
    events = gateway.stream(ask(prompt, mcp(bench)), upstream)
    response = check(events)
    assert types(events) == lifecycle(LIST, CALL, CALL, CALL, MESSAGE)
    assert [c["output"][-1] for c in items(response, "mcp_call")] == ["a", "b", "c"]
    assert len(provider.requests()) == 4


@both
def test_usage_is_the_sum_over_the_turns(gateway, provider, bench, upstream):
    response = gateway.ask(ask('[call echo {"message":"a"}]', mcp(bench)), upstream)
    row = gateway.log_of(response)
    assert len(row["turns"]) == 2
    for name in ("input_tokens", "output_tokens"):
        assert response["usage"][name] == sum(turn[name] for turn in row["turns"]) > 0
    assert response["usage"]["total_tokens"] == response["usage"]["input_tokens"] + response["usage"]["output_tokens"]


@both
def test_streamed_and_whole_answers_agree(gateway, provider, bench, upstream):
    body = ask('[call echo {"message":"a"}]', mcp(bench), metadata={"k": "v"}, instructions="Be short.")
    streamed, whole = check(gateway.stream(body, upstream)), gateway.ask(body, upstream)
    assert masked(streamed) == masked(whole)


def masked(value):
    """Without ids, times and counts of tokens."""
    if isinstance(value, dict):
        hidden = {"id", "created_at", "completed_at", "usage"}
        return {k: masked(v) for k, v in value.items() if k not in hidden}
    return [masked(v) for v in value] if isinstance(value, list) else value


WEATHER = {
    "type": "function", "name": "get_weather", "description": "Weather of a city", "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@both
def test_a_client_function_alone(gateway, provider, bench, upstream):
    events = gateway.stream(ask('[call get_weather {"city":"Oslo"}]', mcp(bench), WEATHER), upstream)
    function = items(check(events), "function_call")[0]
    assert types(events) == lifecycle(LIST, FUNCTION) and function["arguments"] == '{"city":"Oslo"}'
    assert function["id"].startswith("fc_") and function["call_id"].startswith("call_")


@both
def test_a_client_function_beside_a_server(gateway, provider, bench, upstream):
    prompt = '[call echo {"message":"a"}] [call get_weather {"city":"Oslo"}]'
    response = check(gateway.stream(ask(prompt, mcp(bench), WEATHER), upstream))
    assert [i["type"] for i in response["output"]] == ["mcp_list_tools", "mcp_call", "function_call"]
    _, call, function = response["output"]
    assert (call["type"], call["status"]) == ("mcp_call", "completed")
    assert (function["type"], function["name"], function["status"]) == ("function_call", "get_weather", "completed")
    assert function["call_id"] and function["arguments"] == '{"city":"Oslo"}'
    assert response["status"] == "completed" and len(provider.requests()) == 1, "the client's turn now"


@both
def test_the_client_answers_its_function_and_the_loop_goes_on(gateway, provider, bench, upstream):
    prompt = '[call echo {"message":"a"}] [call get_weather {"city":"Oslo"}]'
    first = gateway.ask(ask(prompt, mcp(bench), WEATHER), upstream)
    (function,) = items(first, "function_call")
    history = [{"role": "user", "content": prompt}, *first["output"]]
    history.append({"type": "function_call_output", "call_id": function["call_id"], "output": "rain"})
    second = gateway.ask({**ask("", mcp(bench), WEATHER), "input": history}, upstream)
    assert "rain" in text(second) and "workbench heard: a" in text(second)
    assert len(bench.started()) == 1, "the first call is history now"


@both
def test_a_required_choice_holds_for_the_first_turn_only(gateway, provider, bench, upstream):
    response = gateway.ask(ask("hello", mcp(bench), tool_choice="required"), upstream)
    first, second = [request["body"] for request in provider.requests()]
    assert first["tool_choice"] == "required" and second.get("tool_choice", "auto") == "auto"
    assert response["tool_choice"] == "required"


def max_tokens(request):
    names = ("max_output_tokens", "max_completion_tokens", "max_tokens")
    return next((request["body"][name] for name in names if name in request["body"]), None)


@both
def test_max_output_tokens_span_the_turns(gateway, provider, bench, upstream):
    body = {**ask('[call echo {"message":"a"}]', mcp(bench), max_output_tokens=64), "model": "endless"}
    events = gateway.stream(body, upstream)
    response = check(events)
    assert events[-1]["type"] == "response.incomplete" and response["max_output_tokens"] == 64
    assert response["incomplete_details"] == {"reason": "max_output_tokens"} and items(response, "message") == []
    turns = gateway.log_of(response)["turns"]
    spent = [sum(turn["output_tokens"] for turn in turns[:at]) for at in range(len(turns))]
    assert [max_tokens(request) for request in provider.requests()] == [64 - tokens for tokens in spent]
    assert len(turns) > 2 and all(call["status"] == "completed" for call in items(response, "mcp_call"))
    # OpenAI takes no fewer than 16: a turn with less is not asked for.
    assert upstream == "chat" or 64 - spent[-1] >= 16


@both
def test_max_tool_calls_ends_completed(gateway, provider, bench, upstream):
    body = {**ask('[call echo {"message":"a"}]', mcp(bench), max_tool_calls=2), "model": "endless"}
    response = check(gateway.stream(body, upstream))
    assert response["status"] == "completed"
    assert len(items(response, "mcp_call")) == 2 == len(bench.started())


def test_a_chat_provider_that_ignores_stream_is_understood(gateway, provider, bench):
    body = {**ask('[call echo {"message":"a"}]', mcp(bench)), "model": "whole"}
    events = gateway.stream(body, "chat")
    assert text(check(events)) == "The tool said: workbench heard: a"


def test_the_echo_of_the_tools_hides_path_and_headers(gateway, provider, bench):
    tool = mcp(bench, headers={"X-Secret": "s3cr3t"}, allowed_tools={"tool_names": ["echo"]})
    response = gateway.ask(ask("[no tool]", tool), "chat")
    assert response["tools"] == [{
        "type": "mcp", "allowed_tools": {"read_only": None, "tool_names": ["echo"]},
        "headers": {"X-Secret": "<redacted>"}, "require_approval": "never", "server_description": None,
        "server_label": "bench", "server_url": bench.url.removesuffix("/mcp") + "/<redacted>",
    }]
