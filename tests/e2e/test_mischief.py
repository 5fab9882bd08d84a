"""What a wicked caller or a confused model tries; each was once possible."""
import json

import pytest

from bed.servers import Silent, mcp
from bed.stream import items

INSIDE = {"type": "mcp", "server_label": "in", "server_url": "https://10.0.0.1/mcp", "require_approval": "never"}


def ask(prompt, *tools, **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": list(tools), **fields}


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize("mode", ["required", "auto"])
def test_allowed_tools_narrow_every_turn(gateway, provider, bench, upstream, mode):
    choice = {"type": "allowed_tools", "mode": mode,
        "tools": [{"type": "mcp", "server_label": "bench", "name": "echo"}]}
    prompt = '[call echo {"message":"a"}] [then fail {"reason":"b"}]'
    gateway.post(ask(prompt, mcp(bench), tool_choice=choice), upstream)
    assert [event["tool"] for event in bench.started()] == ["echo"]


NESTED = {
    "additional_tools": {"input": [{"type": "additional_tools", "tools": [INSIDE]}, {"role": "user", "content": "hi"}]},
    "namespace": {"tools": [{"type": "namespace", "name": "n", "tools": [INSIDE]}]},
    "tool_choice": {"tools": [], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [INSIDE]}},
    "capitals": {"tools": [{**INSIDE, "type": "MCP"}]},
}


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize("place", NESTED)
def test_a_server_hidden_in_the_body_reaches_nobody(gateway, provider, upstream, place):
    answer = gateway.post({"model": "gpt-4.1", "input": "hi", **NESTED[place]}, upstream)
    assert answer.status_code == 400 and provider.requests() == [], answer.text


@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_twins_in_a_tool_are_refused(gateway, provider, bench, upstream):
    raw = ('{"model":"gpt-4.1","input":"hi","tools":[{"type":"mcp","server_label":"bench","server_url":"%s",'
        '"require_approval":"always","require_approval":"never"}]}' % bench.url)
    headers = {**gateway.headers(upstream), "content-type": "application/json"}
    answer = gateway.http.post("/v1/responses", content=raw, headers=headers)
    assert answer.status_code == 400 and provider.requests() == []
    assert answer.json()["error"]["param"] == "tools"


def test_a_mistyped_slug_goes_nowhere(gateway, provider):
    key = gateway.make_key("with default", defaults={"virtual_key": "chat"})
    for model in ("@chat", "@chat/", "@/gpt-4.1"):
        answer = gateway.post({"model": model, "input": "hi"}, None, key=key)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "model"
    assert provider.requests() == []


def test_an_unknown_tool_is_told_to_the_model(gateway, provider, bench):
    response = gateway.ask(ask("[call no_such_tool {}]", mcp(bench)), "chat")
    assert items(response, "function_call") == [] and items(response, "message")
    told = provider.requests()[-1]["body"]["messages"][-1]
    assert told["role"] == "tool" and "not available" in told["content"] and bench.started() == []


@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_a_page_of_html_is_no_answer(gateway, provider, upstream):
    answer = gateway.post({"model": "garbage", "input": "hi"}, upstream)
    assert answer.status_code == 502 and "provider" in answer.json()["error"]["message"]
    row = gateway.logs_of_trace(answer.headers["x-portkey-trace-id"], 1)[0]
    assert row["error_source"] == "provider"


def test_a_timeout_of_the_callers_own(gateway, provider):
    answer = gateway.post({"model": "slow-head", "input": "hi"}, "chat", **{"x-portkey-request-timeout": "300"})
    assert answer.status_code == 408 and "300ms" in answer.json()["error"]["message"]


def test_nothing_is_kept_when_the_caller_says_so(gateway, provider):
    answer = gateway.post({"model": "gpt-4.1", "input": "a canary"}, "chat", **{"x-portkey-debug": "false"})
    row = gateway.log_of(answer.json())
    assert "canary" not in str(row) and row["payload_level"] == "none"


def refused(gateway, param, body, **headers):
    answer = gateway.post(body, "chat", **headers)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text


def test_what_is_counted_is_capped(gateway, provider, bench):
    many = {f"x-{n}": "value" for n in range(65)}
    refused(gateway, "tools[0].headers", ask("hi", mcp(bench, headers=many)))
    refused(gateway, "tools", ask("hi", *[mcp(bench, f"s{n}") for n in range(33)]))
    refused(gateway, "input", {"model": "gpt-4.1", "input": [{"type": "item_reference", "id": f"msg_{n}"} for n in range(257)]})
    group = {"strategy": {"mode": "fallback"}, "targets": [{}] * 51}
    config = json.dumps({"strategy": {"mode": "fallback"}, "targets": [group, group]}, separators=(",", ":"))
    refused(gateway, "x-portkey-config", {"model": "gpt-4.1", "input": "hi"}, **{"x-portkey-config": config})
    assert provider.requests() == [] and bench.started() == []


def test_a_chain_of_responses_has_an_end(gateway, provider):
    body, made = {"model": "gpt-4.1", "input": "hi"}, None
    for _ in range(257):
        made = gateway.ask({**body, **({"previous_response_id": made} if made else {})}, "chat")["id"]
    refused(gateway, "previous_response_id", {**body, "previous_response_id": made})


def test_servers_are_listed_at_once(gateway, provider):
    """The second is asked though the first never answers."""
    first, second = Silent(), Silent()
    connection = gateway.begin(ask("hi", mcp(first, "one"), mcp(second, "two")), "chat")
    first.wait_for_connection()
    second.wait_for_connection()
    connection.close()
    first.stop()
    second.stop()
