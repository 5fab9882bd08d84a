"""The five clients: their strict stream helpers, the trip of an approval, and how often they repeat a call that failed."""
import pytest
from openai import OpenAI

from bed.clients import CLIENTS, SDKS, call, python_client
from bed.servers import mcp

BOTH = ["responses", "chat"]
MODES = ["create", "stream"]


def present(name, node):
    if name.endswith("_node") and not node:
        pytest.skip("Node or its packages are not installed")
    return name


@pytest.fixture(params=SDKS)
def sdk(request, node):
    return present(request.param, node)


@pytest.fixture(params=CLIENTS)
def client(request, node):
    return present(request.param, node)


@pytest.mark.parametrize("upstream", BOTH)
@pytest.mark.parametrize("prompt", [
    '[call echo {"message":"a"}]', '[call echo {"message":"a"}] [call fail {"reason":"b"}] [then echo {"message":"c"}]', "[no tool]",
], ids=["one call", "three calls", "no call"])
def test_the_strict_stream_helpers_accept_the_events(gateway, provider, bench, sdk, upstream, prompt):
    body = {"model": "gpt-4.1", "input": prompt, "tools": [mcp(bench)]}
    streamed = call(sdk, "stream", gateway, upstream, "helpers", body)
    whole = call(sdk, "create", gateway, upstream, "helpers", body)
    assert streamed.get("status") == whole.get("status") == "completed", (streamed, whole)
    assert streamed["output_text"] == whole["output_text"]
    assert [i["type"] for i in streamed["output"]] == [i["type"] for i in whole["output"]]


ECHO = '[call echo {"message":"a"}]'


def kinds(answer):
    return [item["type"] for item in answer["output"]]


def asked(client, mode, gateway, upstream, bench, prompt=ECHO):
    """A response that waits for a word, and the ids of its requests; nothing has run."""
    answer = call(client, mode, gateway, upstream, "approval", waiting(bench, input=prompt))
    assert answer.get("status") == "completed", answer
    assert bench.started() == []
    return answer, [item["id"] for item in answer["output"] if item["type"] == "mcp_approval_request"]


def waiting(bench, **fields):
    return {"model": "gpt-4.1", "tools": [mcp(bench, require_approval="always")], **fields}


def word(request_id, approve=True, **more):
    return {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve, **more}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", BOTH)
def test_an_approval_by_previous_response_id(gateway, provider, bench, client, upstream, mode):
    answer, (request,) = asked(client, mode, gateway, upstream, bench)
    assert kinds(answer) == ["mcp_list_tools", "mcp_approval_request"]
    body = waiting(bench, previous_response_id=answer["id"], input=[word(request)])
    done = call(client, mode, gateway, upstream, "approval", body)
    assert kinds(done) == ["mcp_call", "message"]
    assert (done["output"][0]["approval_request_id"], done["output"][0]["output"]) == (request, "workbench heard: a")
    assert "workbench heard: a" in done["output_text"] and len(bench.started()) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", BOTH)
def test_an_approval_by_items_resent(gateway, provider, bench, client, upstream, mode):
    """As the SDK gives the items back, whatever null it adds to them."""
    answer, (request,) = asked(client, mode, gateway, upstream, bench)
    history = [{"role": "user", "content": ECHO}, *answer["output"], word(request)]
    done = call(client, mode, gateway, upstream, "approval", waiting(bench, input=history))
    assert kinds(done) == ["mcp_call", "message"], done
    assert "workbench heard: a" in done["output_text"] and len(bench.started()) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", BOTH)
def test_a_denial_with_its_reason(gateway, provider, bench, client, upstream, mode):
    answer, (request,) = asked(client, mode, gateway, upstream, bench)
    body = waiting(bench, previous_response_id=answer["id"], input=[word(request, False, reason="too dear")])
    done = call(client, mode, gateway, upstream, "approval", body)
    assert kinds(done) == ["message"] and bench.started() == []
    assert "denied" in done["output_text"] and "too dear" in done["output_text"]


@pytest.mark.parametrize("upstream", BOTH)
def test_several_requests_are_answered_in_one_go(gateway, provider, bench, client, upstream):
    prompt = ECHO + ' [call fail {"reason":"b"}] [call echo {"message":"c"}]'
    answer, (first, second, third) = asked(client, "stream", gateway, upstream, bench, prompt)
    body = waiting(bench, previous_response_id=answer["id"], input=[word(first), word(second, False), word(third)])
    done = call(client, "stream", gateway, upstream, "approval", body)
    assert kinds(done) == ["mcp_call", "mcp_call", "message"]
    assert [item["approval_request_id"] for item in done["output"][:2]] == [first, third]
    assert [entry["tool"] for entry in bench.started()] == ["echo", "echo"]
    assert "workbench heard: a" in done["output_text"] and "denied" in done["output_text"]


# The model's name, requests made by OpenAI's SDKs, by Portkey's.
BEFORE = [("fail-400", 1, 1), ("fail-404", 1, 1), ("rate-limit", 3, 1), ("fail-500", 3, 1), ("fail-503", 3, 1)]


@pytest.mark.parametrize("upstream", BOTH)
@pytest.mark.parametrize("model, by_openai, by_portkey", BEFORE)
def test_repeats_before_a_tool_ran(gateway, provider, bench, sdk, upstream, model, by_openai, by_portkey):
    body = {"model": model, "input": "hi", "tools": [mcp(bench)]}
    answer = call(sdk, "create", gateway, upstream, "", body)
    assert isinstance(answer["error"], int) and answer["error"] >= 400
    assert len(provider.requests()) == (by_openai if sdk.startswith("openai") else by_portkey)


AFTER = ["rate-limit", "fail-408", "fail-409", "fail-500", "fail-503", "cut", "garbage"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", BOTH)
@pytest.mark.parametrize("model", AFTER)
def test_nothing_is_repeated_once_a_tool_ran(gateway, provider, bench, client, upstream, model, mode):
    trace_id = f"once-{client}-{upstream}-{model}-{mode}"
    body = {"model": f"{model}-after-tool", "input": ECHO, "tools": [mcp(bench)]}
    answer = call(client, mode, gateway, upstream, trace_id, body)
    assert answer.get("error") and (answer.get("message") or mode == "stream"), answer
    assert len(bench.started()) == 1
    (row,) = gateway.logs_of_trace(trace_id, 1)
    assert (row["tool_calls"], row["error_source"]) == (1, "provider")


@pytest.mark.parametrize("upstream", BOTH)
def test_an_error_in_a_stream_is_the_providers(gateway, provider, client, upstream):
    """Though the SDKs hang up at it."""
    trace_id = f"fatal-{client}-{upstream}"
    answer = call(client, "stream", gateway, upstream, trace_id, {"model": "error-in-stream", "input": "hi"})
    assert answer["error"], answer
    (row,) = gateway.logs_of_trace(trace_id, 1)
    assert row["error_source"] == "provider" and len(provider.requests()) == 1


def test_a_server_that_cannot_be_listed_is_asked_once(gateway, provider, guarded, sdk):
    body = {"model": "gpt-4.1", "input": "hi", "tools": [mcp(guarded)]}
    answer = call(sdk, "create", gateway, "chat", f"unlisted-{sdk}", body)
    assert answer["error"] == 424 and "401 (Unauthorized)" in answer["message"]
    gateway.logs_of_trace(f"unlisted-{sdk}", 1)


def test_the_model_list(gateway):
    client = python_client("portkey_python", gateway, "chat", "models")
    assert "gpt-4.1" in [model.id for model in client.models.list().data]


def test_only_a_base_url_and_a_key(gateway, provider):
    """A client that can set nothing else: the key names its virtual key."""
    key = gateway.make_key("plain", defaults={"virtual_key": "chat"})
    client = OpenAI(api_key=key, base_url=gateway.base_url)
    assert client.responses.create(model="gpt-4.1", input="hello").output_text == "You said: hello"
    assert provider.requests()[0]["path"] == "/v1/chat/completions"


def test_the_model_may_name_the_virtual_key(gateway, provider):
    client = OpenAI(api_key=gateway.key, base_url=gateway.base_url)
    assert client.responses.create(model="@chat/gpt-4.1", input="hello").output_text == "You said: hello"
    assert provider.requests()[0]["body"]["model"] == "gpt-4.1"
