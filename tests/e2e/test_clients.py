"""The four SDKs: their strict stream helpers, and how often they repeat a call that failed."""
import json
import subprocess

import openai
import portkey_ai
import pytest
from openai import OpenAI
from portkey_ai import Portkey, createHeaders

from bed.gateway import ROOT
from bed.servers import mcp

CALL_MJS = ROOT / "tests" / "e2e" / "clients" / "call.mjs"
SDKS = ["openai_python", "portkey_python", "openai_node", "portkey_node"]


def python_client(sdk, gateway, virtual_key, trace_id):
    named = {"api_key": gateway.key, "virtual_key": virtual_key, "trace_id": trace_id}
    if sdk == "portkey_python":
        return Portkey(**named, base_url=gateway.base_url)
    return OpenAI(api_key="xx", base_url=gateway.base_url, default_headers=createHeaders(**named))


def call_python(sdk, mode, gateway, virtual_key, trace_id, body):
    client = python_client(sdk, gateway, virtual_key, trace_id)
    try:
        if mode == "create":
            response = client.responses.create(**body)
        else:
            with client.responses.stream(**body) as stream:
                for _ in stream:
                    pass
                response = stream.get_final_response()
    except (openai.APIError, portkey_ai._vendor.openai.APIError) as error:
        return {"error": getattr(error, "status_code", type(error).__name__), "message": str(error)}
    return {"id": response.id, "status": response.status, "output_text": response.output_text,
        "output": [item.model_dump(mode="json") for item in response.output]}


def call(sdk, mode, gateway, virtual_key, trace_id, body):
    if sdk.endswith("_python"):
        return call_python(sdk, mode, gateway, virtual_key, trace_id, body)
    given = {"base_url": gateway.base_url, "key": gateway.key, "virtual_key": virtual_key, "trace_id": trace_id, "body": body}
    command = ["node", str(CALL_MJS), sdk.removesuffix("_node"), mode]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=SDKS)
def sdk(request, node):
    if request.param.endswith("_node") and not node:
        pytest.skip("Node or its packages are not installed")
    return request.param


@pytest.mark.parametrize("upstream", ["responses", "chat"])
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


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_an_approval_request_reaches_the_client(gateway, provider, bench, sdk, upstream):
    body = {"model": "gpt-4.1", "input": '[call echo {"message":"a"}]', "tools": [mcp(bench, require_approval="always")]}
    streamed = call(sdk, "stream", gateway, upstream, "approval", body)
    assert [i["type"] for i in streamed["output"]] == ["mcp_list_tools", "mcp_approval_request"]


# The model's name, requests made by OpenAI's SDKs, by Portkey's.
BEFORE = [("fail-400", 1, 1), ("fail-404", 1, 1), ("rate-limit", 3, 1), ("fail-500", 3, 1), ("fail-503", 3, 1)]


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("model, by_openai, by_portkey", BEFORE)
def test_repeats_before_a_tool_ran(gateway, provider, bench, sdk, upstream, model, by_openai, by_portkey):
    body = {"model": model, "input": "hi", "tools": [mcp(bench)]}
    answer = call(sdk, "create", gateway, upstream, "", body)
    assert isinstance(answer["error"], int) and answer["error"] >= 400
    assert len(provider.requests()) == (by_openai if sdk.startswith("openai") else by_portkey)


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("model", ["rate-limit", "fail-500", "fail-503", "cut", "garbage"])
def test_nothing_is_repeated_once_a_tool_ran(gateway, provider, bench, sdk, upstream, model):
    trace_id = f"once-{sdk}-{upstream}-{model}"
    body = {"model": f"{model}-after-tool", "input": '[call echo {"message":"a"}]', "tools": [mcp(bench)]}
    answer = call(sdk, "create", gateway, upstream, trace_id, body)
    assert isinstance(answer["error"], int) and answer["message"]
    assert len(bench.started()) == 1
    (row,) = gateway.logs_of_trace(trace_id, 1)
    assert (row["tool_calls"], row["error_source"]) == (1, "provider")


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
