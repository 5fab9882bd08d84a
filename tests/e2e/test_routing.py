"""Routing configs, sent and saved: what a real gateway makes of them when providers fail."""
import concurrent.futures
import json
import socket
import subprocess

import portkey_ai
import pytest
from portkey_ai import Portkey

from bed.gateway import ROOT, Gateway
from bed.servers import mcp
from bed.stream import check, items, text

CONFIGS_MJS = ROOT / "tests" / "e2e" / "clients" / "configs.mjs"


def target(slug, model, **more):
    return {"virtual_key": slug, "override_params": {"model": model}, **more}


def fallback(*targets):
    return {"strategy": {"mode": "fallback"}, "targets": list(targets)}


def post(gateway, config, body=None, **headers):
    config = config if isinstance(config, str) else json.dumps(config)
    return gateway.post(body or {"model": "asked", "input": "hello"}, None, **{"x-portkey-config": config, **headers})


def models(provider):
    return [request["body"]["model"] for request in provider.requests()]


def python_trip(gateway, first, second):
    """What configs.mjs does, with Portkey's Python SDK."""
    configs = Portkey(api_key=gateway.admin_token, base_url=gateway.base_url).configs

    def answer(slug):
        client = Portkey(api_key=gateway.key, base_url=gateway.base_url, config=slug)
        try:
            return {"text": client.responses.create(model="asked", input="hello").output_text}
        except portkey_ai._vendor.openai.APIStatusError as error:
            return {"status": error.status_code, "message": str(error)}

    created = configs.create(name="From Python", config=first, is_default=0)
    slug = created.slug
    retrieved = configs.retrieve(slug=slug)
    before = answer(slug)
    updated = configs.update(slug=slug, name="Changed", config=second)
    after = answer(slug)
    listed = configs.list()
    configs.delete(slug=slug)
    seen = {"created": created, "retrieved": retrieved, "updated": updated, "listed": listed}
    return {**{k: v.model_dump() for k, v in seen.items()}, "before": before, "after": after, "gone": answer(slug)}


def node_trip(gateway, first, second):
    given = {"base_url": gateway.base_url, "admin": gateway.admin_token, "key": gateway.key, "first": first, "second": second}
    done = subprocess.run(["node", str(CONFIGS_MJS)], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("trip", [python_trip, node_trip])
def test_portkeys_sdks_save_a_config_and_ask_through_it(gateway, provider, node, trip):
    if trip is node_trip and not node:
        pytest.skip("Node or its packages are not installed")
    first, second = fallback(target("responses", "fail-500"), target("chat", "first")), target("responses", "second")
    seen = trip(gateway, first, second)
    created, retrieved = seen["created"], seen["retrieved"]
    assert created["slug"].startswith("pc-from-") and created["object"] == "config"
    assert (retrieved["config"], retrieved["slug"], retrieved["version_id"]) == (first, created["slug"], created["version_id"])
    assert seen["updated"]["version_id"] not in (None, created["version_id"])
    assert ("Changed", created["slug"]) in [(row["name"], row["slug"]) for row in seen["listed"]["data"]]
    assert seen["before"]["text"] == seen["after"]["text"] == "You said: hello"
    assert models(provider) == ["fail-500", "first", "second"]
    assert seen["gone"]["status"] == 400 and created["slug"] in seen["gone"]["message"]


def test_a_key_with_a_default_config_needs_nothing_else(gateway, provider):
    body = {"name": "default", "config": target("chat", "good")}
    slug = gateway.admin("POST", "/configs", json=body).json()["slug"]
    key = gateway.make_key("configured", defaults={"config_id": slug, "allow_config_override": False})
    response = gateway.ask({"model": "asked", "input": "hello"}, None, key=key)
    row = gateway.log_of(response)
    assert (row["config"], row["virtual_key"], models(provider)) == (slug, "chat", ["good"])
    refused = gateway.post({"model": "asked", "input": "hello"}, None, key=key, **{"x-portkey-config": "{}"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "x-portkey-config"


def test_a_storm_of_failures_is_not_answered_by_a_storm_of_retries(gateway, provider):
    """R09: everybody gets 503; at most a fifth more is sent, and a floor of three."""
    requests = 200
    config = target("responses", "fail-503", retry={"attempts": 2})
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: post(gateway, config).status_code, range(requests)))
    assert all(status >= 500 for status in answers)
    sent = len(provider.requests())
    assert requests < sent <= requests * 1.2 + 3


def test_a_wait_that_the_provider_asks_for_is_kept_to(gateway, provider):
    """R09: the fake provider's 429 says `retry-after-ms: 174`."""
    answer = post(gateway, target("chat", "rate-limit", retry={"attempts": 1}))
    first, second = [request["at_ms"] for request in provider.requests()]
    assert second - first >= 174
    assert answer.status_code == 429 and answer.headers["x-portkey-retry-attempt-count"] == "-1"


@pytest.fixture(scope="module")
def bounded(folder, the_provider):
    """A gateway that gives a route 1.5 seconds in all."""
    home = folder / "bounded"
    home.mkdir()
    gateway = Gateway(home, {"PORTUNUS_LIMITS__REQUEST_TIMEOUT_MS": "1500"})
    gateway.make_virtual_key("chat", "openai-chat", the_provider.base_url)
    gateway.key = gateway.make_key("bounded")
    yield gateway
    gateway.stop()


def test_when_all_fail_each_is_listed_and_the_deadline_holds(gateway, bounded, provider):
    """R10."""
    answer = post(gateway, fallback(target("nobody", "m"), target("responses", "fail-500"), target("chat", "fail-503")))
    message = answer.json()["error"]["message"]
    for part in ("config.targets[0] ('nobody'): not called", "config.targets[1] ('responses'): 500 after", "config.targets[2] ('chat'): 503 after"):
        assert part in message, message
    assert answer.headers["x-portkey-last-used-option-index"] == "config.targets[2]"
    assert answer.headers["x-portkey-provider"] == "openai-chat"

    # Each target alone would be waited for ten minutes.
    answer = post(bounded, fallback(*[target("chat", "slow-head", request_timeout=600)] * 20), **{"x-portkey-trace-id": "deadline"})
    assert answer.status_code in (408, 500, 504) and "config.targets[1]" in answer.json()["error"]["message"]
    assert len(provider.requests()) - 2 <= 3, "none is begun after the deadline"
    (row,) = bounded.logs_of_trace("deadline", 1)
    assert row["attempts"] <= 3


def test_the_result_of_a_tool_goes_on_to_the_next_target(gateway, provider, bench):
    """R12."""
    config = json.dumps(fallback(target("chat", "fail-503-after-tool"), target("responses", "good")))
    body = {"model": "asked", "input": '[call echo {"message":"once"}]', "tools": [mcp(bench)]}
    response = check(gateway.stream(body, None, **{"x-portkey-config": config}))
    (call,) = items(response, "mcp_call")
    assert response["status"] == "completed" and call["output"] and call["output"] in text(response)
    assert len(bench.started("echo")) == 1
    row = gateway.log_of(response)
    assert (row["tool_calls"] and len(row["tool_calls"]), row["last_used_option_index"]) == (1, "config.targets[1]")


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_the_head_of_an_answer_is_waited_for_so_long(gateway, provider, upstream):
    slow = target(upstream, "slow-head", request_timeout=300)
    answer = post(gateway, slow)
    assert answer.status_code == 408 and "300ms" in answer.json()["error"]["message"], answer.text
    assert post(gateway, fallback(slow, target(upstream, "good"))).status_code == 200


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_a_stream_that_has_begun_is_not_cut(gateway, provider, upstream):
    """The model `slow` sends a piece each 100 ms: seven come later than the timeout."""
    config = json.dumps(target(upstream, "slow", request_timeout=300))
    request = {"json": {"model": "asked", "input": "hello", "stream": True},
        "headers": gateway.headers(None, **{"x-portkey-config": config})}
    with gateway.http.stream("POST", "/v1/responses", **request) as answer:
        assert answer.status_code == 200
        deltas = 0
        for line in answer.iter_lines():
            assert "response.failed" not in line, line
            deltas += line.startswith("event: response.output_text.delta")
            if deltas == 7:
                break
    assert deltas == 7


def test_a_connection_is_waited_for_no_longer(gateway, provider):
    """A listener whose queue is full answers no SYN: the connection is never made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(8)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        gateway.make_virtual_key("full", "openai", "http://127.0.0.1:%d/v1" % listener.getsockname()[1])
        full = target("full", "m", request_timeout=300)
        assert post(gateway, full).status_code == 408
        answer = post(gateway, fallback(full, target("chat", "good")))
        assert answer.status_code == 200, answer.text
        for connection in waiting:
            connection.close()
