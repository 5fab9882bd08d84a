"""Servers, tools and models that fail."""
import pytest

from bed.process import free_port
from bed.servers import Workbench, mcp
from bed.stream import check, items, text, types

UPSTREAMS = ["responses", "chat"]


def ask(prompt, *tools, model="gpt-4.1", **fields):
    return {"model": model, "input": prompt, "tools": list(tools), **fields}


class Nowhere:
    """A server that is not there."""
    def __init__(self):
        self.url = f"http://127.0.0.1:{free_port()}/mcp"


UNLISTABLE = {
    "nowhere": (lambda guarded: mcp(Nowhere(), "gone"), "424 (Failed Dependency)"),
    "no token": (lambda guarded: mcp(guarded, "gone"), "401 (Unauthorized)"),
    "wrong path": (lambda guarded: mcp(guarded, "gone", server_url=guarded.url + "/x"), "404 (Not Found)"),
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("case", UNLISTABLE)
def test_a_server_that_cannot_be_listed_fails_the_request(gateway, provider, guarded, upstream, case):
    tool, status = UNLISTABLE[case]
    answer = gateway.post(ask("hi", tool(guarded)), upstream)
    assert answer.status_code == 424
    assert answer.json()["error"] == {
        "message": f"Error retrieving tool list from MCP server: 'gone'. Http status code: {status}",
        "type": "external_connector_error", "param": "tools", "code": "http_error",
    }
    assert answer.headers["x-portkey-trace-id"] and answer.headers["x-request-id"]
    assert provider.requests() == [], "no model turn"


@pytest.mark.parametrize("case", UNLISTABLE)
def test_a_stream_tells_it_in_events(gateway, provider, guarded, case):
    tool, status = UNLISTABLE[case]
    events = gateway.stream(ask("hi", tool(guarded)), "chat")
    response = check(events)
    assert types(events) == ["response.created", "response.in_progress", "response.output_item.added",
        "response.mcp_list_tools.in_progress", "response.mcp_list_tools.failed", "response.output_item.done",
        "error", "response.failed"]
    said = f"Error retrieving tool list from MCP server: 'gone'. Http status code: {status}"
    assert events[5]["item"]["tools"] == [] and events[5]["item"]["error"] == said
    assert set(events[4]) == {"type", "sequence_number", "output_index", "item_id"}
    assert events[6]["error"] == {"type": "external_connector_error", "code": "http_error", "message": said, "param": "tools"}
    assert response["status"] == "failed" and response["error"]["message"] == said


def test_one_bad_server_among_good_ones(gateway, provider, bench):
    answer = gateway.post(ask("hi", mcp(bench), mcp(Nowhere(), "gone")), "chat")
    assert answer.status_code == 424 and "'gone'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_tool_that_fails_is_told_to_the_model(gateway, provider, bench, upstream):
    events = gateway.stream(ask('[call fail {"reason":"rain"}]', mcp(bench)), upstream)
    response = check(events)
    (call,) = items(response, "mcp_call")
    assert call["status"] == "failed" and call["output"] is None
    assert call["error"]["type"] == "mcp_tool_execution_error"
    assert call["error"]["content"][0]["text"] == "it failed because of rain"
    assert "response.mcp_call.failed" in types(events) and "response.mcp_call.completed" not in types(events)
    assert response["status"] == "completed" and "it failed because of rain" in text(response)


def test_arguments_that_the_server_refuses(gateway, provider, bench):
    response = gateway.ask(ask('[call echo {"wrong":1}]', mcp(bench)), "chat")
    (call,) = items(response, "mcp_call")
    assert call["status"] == "failed" and call["error"]["type"] in ("mcp_tool_execution_error", "mcp_protocol_error")
    assert response["status"] == "completed"


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_server_that_dies_in_the_call(gateway, provider, folder, upstream):
    server = Workbench(folder, f"dying-{upstream}")
    try:
        response = check(gateway.stream(ask("[call die {}]", mcp(server)), upstream))
        (call,) = items(response, "mcp_call")
        assert call["status"] == "failed" and call["error"]["type"] == "http_error" and call["output"] is None
        assert response["status"] == "completed"
        assert len(server.started("die")) == 1, "never sent again"
        (row,) = gateway.log_of(response)["tool_calls"]
        assert row["outcome"] == "outcome_unknown"
    finally:
        server.stop()


def test_a_tool_that_does_not_exist_is_told_to_the_model(gateway, provider, bench):
    answer = gateway.post(ask("[call no_such_tool {}]", mcp(bench)), "chat")
    assert answer.status_code == 200 and bench.started() == []


def test_a_large_result_is_bounded_with_a_notice(gateway, provider, bench):
    response = gateway.ask(ask('[call large {"kilobytes":3000}]', mcp(bench)), "chat")
    (call,) = items(response, "mcp_call")
    assert call["status"] == "completed"
    sent = sum(len(str(m["content"])) for m in provider.requests()[-1]["body"]["messages"])
    assert sent <= 3 << 20


# The model's name, the status of a whole answer.
FIRST_TURN = {
    "fail-500": (500, 599), "fail-503": (500, 599), "fail-400": (400, 400), "fail-404": (404, 404),
    "rate-limit": (429, 429), "quota": (429, 429), "garbage": (502, 502), "cut": (502, 502),
    "truncated": (502, 502), "bad-frame": (502, 502), "error-in-stream": (400, 599),
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("model", FIRST_TURN)
def test_a_model_that_fails_in_the_first_turn(gateway, provider, bench, upstream, model):
    answer = gateway.post(ask("hi", mcp(bench), model=model), upstream)
    low, high = FIRST_TURN[model]
    assert low <= answer.status_code <= high, answer.text
    check_error(answer)


def check_error(answer):
    body = answer.json()
    assert set(body["error"]) == {"message", "type", "param", "code"} and body["error"]["message"]
    assert body["status"] == "failure" and body["message"]
    assert answer.headers["x-portkey-trace-id"] and answer.headers["x-request-id"]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("model", FIRST_TURN)
def test_a_model_that_fails_after_a_tool_ran(gateway, provider, bench, upstream, model):
    body = ask('[call echo {"message":"a"}]', mcp(bench), model=f"{model}-after-tool")
    answer = gateway.post(body, upstream)
    assert answer.status_code >= 400, answer.text
    check_error(answer)
    assert answer.headers["x-should-retry"] == "false"
    assert len(bench.started()) == 1


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("model", FIRST_TURN)
def test_a_stream_whose_model_fails_after_a_tool_ran(gateway, provider, bench, upstream, model):
    body = ask('[call echo {"message":"a"}]', mcp(bench), model=f"{model}-after-tool")
    events = gateway.stream(body, upstream)
    response = check(events)
    assert types(events)[-2:] == ["error", "response.failed"]
    assert response["status"] == "failed" and response["error"]["message"]
    assert items(response, "mcp_call")[0]["output"] == "workbench heard: a", "what was done is kept"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_in_pass_through_is_the_providers_own(gateway, provider, stream):
    answer = gateway.post({"model": "fail-404", "input": "hi", "stream": stream}, "responses")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"
    check_headers(answer)


def check_headers(answer):
    assert answer.headers["x-portkey-trace-id"] and answer.headers["x-request-id"]
    assert "openai-organization" not in answer.headers


@pytest.mark.parametrize("model", ["cut", "truncated"])
def test_a_pass_through_stream_that_breaks_off_never_ends_well(gateway, provider, model):
    events = gateway.stream({"model": model, "input": "hi " * 40}, "responses")
    kinds = [e["type"] for e in events]
    assert "response.completed" not in kinds and kinds[-1] in ("error", "response.failed")


def test_cut_arguments_are_never_run(gateway, provider, bench):
    body = ask('[call echo {"message":"a"}]', mcp(bench), model="bad-arguments")
    answer = gateway.post({**body, "max_tool_calls": 3}, "chat")
    assert bench.started() == [] and answer.status_code < 600


def test_a_wrong_provider_key_says_whose_fault_it_is(gateway, provider):
    gateway.make_virtual_key("wrong", "groq", provider.base_url, key="wrong-key")
    answer = gateway.post({"model": "gpt-4.1", "input": "hi"}, "wrong")
    assert answer.status_code in (401, 502) and "wrong-key" not in answer.text
    check_headers(answer)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_retry_that_was_asked_for_repeats_the_turn_and_never_the_tool(gateway, provider, bench, upstream):
    config = {"x-portkey-config": '{"retry":{"attempts":2,"on_status_codes":[503]}}'}
    body = ask('[call echo {"message":"a"}]', mcp(bench), model="fail-503-after-tool")
    answer = gateway.post(body, upstream, **config)
    assert answer.status_code >= 500 and answer.headers["x-should-retry"] == "false"
    assert len(provider.requests()) == 1 + 3 and len(bench.started()) == 1


def test_without_a_config_nothing_is_retried(gateway, provider):
    assert gateway.post(ask("hi", model="fail-503"), "chat").status_code >= 500
    assert len(provider.requests()) == 1
