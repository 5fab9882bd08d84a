"""`POST /v1/responses/input_tokens`: the provider's own count, or a clear no."""
import json
import subprocess

import openai
import pytest
from openai import OpenAI

from bed.clients import CALL_MJS
from bed.servers import mcp

PATH = "/v1/responses/input_tokens"
BODY = {"model": "gpt-4.1", "input": "How long is this?", "instructions": "Be brief."}


def count(gateway, body, virtual_key="responses", **headers):
    return gateway.http.post(PATH, json=body, headers=gateway.headers(virtual_key, **headers))


def refused(answer, status, param, code):
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code), error
    assert error["type"] == "invalid_request_error"
    return error["message"]


def python(gateway, virtual_key, body):
    headers = {"x-portkey-api-key": gateway.key, "x-portkey-virtual-key": virtual_key}
    client = OpenAI(api_key="xx", base_url=gateway.base_url, default_headers=headers, max_retries=0)
    counted = client.responses.input_tokens.count(**body)
    return {"object": counted.object, "input_tokens": counted.input_tokens}


def node(gateway, virtual_key, body):
    given = {"base_url": gateway.base_url, "key": gateway.key, "virtual_key": virtual_key, "body": body}
    command = ["node", str(CALL_MJS), "openai", "count"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_the_provider_counts_for_python(gateway, provider):
    counted = python(gateway, "responses", BODY)
    assert counted["object"] == "response.input_tokens" and counted["input_tokens"] > 0
    (request,) = provider.requests()
    assert request["path"] == PATH and request["body"] == BODY


@pytest.mark.usefixtures("need_node_sdk")
def test_the_provider_counts_for_node(gateway, provider):
    assert node(gateway, "responses", BODY) == python(gateway, "responses", BODY)
    assert [request["body"] for request in provider.requests()] == [BODY, BODY]


def test_other_providers_do_not_guess(gateway, provider):
    with pytest.raises(openai.BadRequestError) as caught:
        python(gateway, "chat", BODY)
    assert caught.value.code == "unsupported_value" and caught.value.param == "model"
    assert "does not guess" in str(caught.value) and "'openai-chat'" in str(caught.value)
    assert provider.requests() == []


@pytest.mark.usefixtures("need_node_sdk")
def test_node_is_told_the_same(gateway, provider):
    answer = node(gateway, "chat", BODY)
    assert answer["error"] == 400 and "does not guess" in answer["message"]


def test_the_log_has_a_row_without_usage(gateway, provider):
    assert count(gateway, BODY, **{"x-portkey-trace-id": "count"}).status_code == 200
    (row,) = gateway.logs_of_trace("count", 1)
    assert (row["request_url"], row["outcome"], row["execution"]) == (PATH, "completed", "pass_through")
    whole = gateway.log(row["id"])
    assert whole["attempts"][0]["status_code"] == 200 and whole.get("total_tokens") in (None, 0)


def test_the_same_checks_as_for_a_response(gateway, provider):
    assert "model" in refused(count(gateway, {"input": "x"}), 400, "model", "missing_required_parameter")
    inside = {"type": "mcp", "server_label": "s", "server_url": "https://10.0.0.1/mcp"}
    refused(count(gateway, {**BODY, "tools": [inside]}), 400, "tools[0].server_url", "invalid_value")
    refused(count(gateway, {**BODY, "conversation": "conv_1"}), 400, "conversation", "unsupported_parameter")
    refused(count(gateway, {**BODY, "previous_response_id": "resp_1"}), 400, "previous_response_id",
        "previous_response_not_found")
    refused(count(gateway, BODY, "no-such-key"), 400, "x-portkey-virtual-key", "virtual_key_not_found")
    wrong = gateway.http.post(PATH, json=BODY, headers=gateway.headers(key="pk-wrong"))
    assert wrong.status_code == 401 and provider.requests() == []
    assert gateway.http.post(PATH, content="{", headers=gateway.headers()).status_code == 415


def test_what_the_gateway_would_add_is_not_counted(gateway, provider, everything):
    refused(count(gateway, {**BODY, "tools": [mcp(everything)]}), 400, "tools", "unsupported_value")
    earlier = gateway.ask({"model": "gpt-4.1", "input": "hi"}, "chat")
    provider.clear()
    body = {**BODY, "previous_response_id": earlier["id"]}
    refused(count(gateway, body), 400, "previous_response_id", "unsupported_value")
    assert provider.requests() == []


def test_a_chain_that_the_provider_knows_is_counted_there(gateway, provider):
    earlier = gateway.ask({"model": "gpt-4.1", "input": "hi"}, "responses")
    body = {**BODY, "previous_response_id": earlier["id"]}
    assert count(gateway, body).status_code == 200
    assert provider.requests()[-1]["body"] == body


def test_a_fallback_counts_where_it_can(gateway, provider):
    config = {"strategy": {"mode": "fallback"}, "targets": [
        {"virtual_key": "chat"},
        {"virtual_key": "responses", "override_params": {"model": "gpt-4.1-mini", "temperature": 0}}]}
    answer = count(gateway, BODY, None, **{"x-portkey-config": json.dumps(config)})
    assert answer.status_code == 200 and answer.headers["x-portkey-last-used-option-index"] == "config.targets[1]"
    assert provider.requests()[-1]["body"] == {**BODY, "model": "gpt-4.1-mini"}


@pytest.mark.parametrize("model, status, source", [
    ("fail-400", 400, "client"), ("rate-limit", 429, "provider"), ("fail-500", 502, "provider")])
def test_the_providers_no_is_the_answer(gateway, provider, model, status, source):
    answer = count(gateway, {**BODY, "model": model})
    assert (answer.status_code, answer.headers["x-portunus-error-source"]) == (status, source)
    assert answer.json()["error"]["message"] and len(provider.requests()) == 1
