"""Every wait and every loop has an end, and the answer says which one was met."""
import pytest

from bed.gateway import Gateway
from bed.servers import mcp
from bed.stream import check, items, text, types


@pytest.fixture(scope="module")
def hasty(folder, the_provider):
    """A gateway whose bounds are small."""
    env = {
        "PORTUNUS_PROVIDERS__FIRST_BYTE_TIMEOUT_MS": "700", "PORTUNUS_PROVIDERS__IDLE_TIMEOUT_MS": "700",
        "PORTUNUS_MCP__CALL_TIMEOUT_MS": "700", "PORTUNUS_MCP__LIST_TIMEOUT_MS": "700", "PORTUNUS_LIMITS__TURNS": "3",
        "PORTUNUS_LIMITS__BODY_BYTES": "100000",
    }
    home = folder / "hasty"
    home.mkdir()
    gateway = Gateway(home, env)
    gateway.make_virtual_key("responses", "openai", the_provider.base_url)
    gateway.make_virtual_key("chat", "openai-chat", the_provider.base_url)
    gateway.key = gateway.make_key("hasty")
    yield gateway
    gateway.stop()


def ask(prompt, *tools, model="gpt-4.1"):
    return {"model": model, "input": prompt, "tools": list(tools)}


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("model", ["slow-head", "stall"])
def test_a_provider_that_says_nothing(hasty, provider, upstream, model):
    answer = hasty.post(ask("hi", model=model), upstream)
    assert answer.status_code == 504 and "time" in answer.json()["error"]["message"].lower(), answer.text
    events = hasty.stream(ask("hi", model=model), upstream) if model == "stall" else None
    assert events is None or types(events)[-1] in ("response.failed", "error")


def test_the_message_names_the_wait(hasty, provider):
    first = hasty.post(ask("hi", model="slow-head"), "chat").json()["error"]["message"]
    events = hasty.stream(ask("hi", model="stall"), "chat")
    (between,) = [event["error"]["message"] for event in events if event["type"] == "error"]
    assert first != between


def test_a_tool_that_takes_too_long(hasty, provider, bench):
    response = check(hasty.stream(ask('[call sleep {"seconds":20}]', mcp(bench)), "chat"))
    (call,) = items(response, "mcp_call")
    assert (call["status"], call["output"]) == ("failed", None)
    assert call["error"] == {"type": "http_error", "code": 424, "message": "424: "}
    assert response["status"] == "completed" and text(response)
    (row,) = hasty.log_of(response)["tool_calls"]
    assert row["outcome"] in ("timeout", "outcome_unknown") and row["total_ms"] < 5000
    assert len(bench.started("sleep")) == 1


def test_a_server_that_takes_too_long_to_list(hasty, provider, silent_server):
    answer = hasty.post(ask("hi", mcp(silent_server, "silent")), "chat")
    assert answer.status_code == 424 and "424 (Failed Dependency)" in answer.json()["error"]["message"]
    assert provider.requests() == []


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_a_loop_without_end(hasty, provider, bench, upstream):
    body = ask('[call echo {"message":"again"}]', mcp(bench), model="endless")
    events = hasty.stream(body, upstream)
    response = check(events)
    assert types(events)[-2:] == ["error", "response.failed"]
    assert response["error"]["code"] == "server_error" and "turn" in response["error"]["message"].lower()
    assert len(items(response, "mcp_call")) == len(bench.started()), "what was done is kept"
    assert len(provider.requests()) == 3


def test_a_body_that_is_too_large(hasty, provider):
    answer = hasty.post(ask("x" * 200_000), "chat")
    assert answer.status_code == 413 and answer.json()["error"]["message"]
    assert provider.requests() == []


def test_a_server_that_redirects_is_not_followed(gateway, provider, bench, redirecting_server):
    server = redirecting_server(bench.url)
    answer = gateway.post(ask("hi", mcp(server, "moved", headers={"X-Secret": "s"})), "chat")
    assert answer.status_code == 424 and "307" in answer.json()["error"]["message"]
    assert server.hits() > 0 and bench.events() == []


@pytest.fixture(scope="module")
def brief(folder, the_provider):
    """A gateway that gives a request three seconds."""
    home = folder / "brief"
    home.mkdir()
    gateway = Gateway(home, {"PORTUNUS_LIMITS__REQUEST_TIMEOUT_MS": "3000"})
    gateway.make_virtual_key("responses", "openai", the_provider.base_url)
    gateway.make_virtual_key("chat", "openai-chat", the_provider.base_url)
    gateway.key = gateway.make_key("brief")
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_a_request_that_takes_too_long(brief, provider, bench, upstream):
    """The response fails, says which bound it met, and keeps what it has."""
    events = brief.stream(ask('[call sleep {"seconds":1}]', mcp(bench), model="endless"), upstream)
    response = check(events)
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert "3 seconds" in response["error"]["message"] and types(events)[-2:] == ["error", "response.failed"]
    assert [call["status"] for call in items(response, "mcp_call")][:2] == ["completed", "completed"]
    whole = brief.post(ask('[call sleep {"seconds":1}]', mcp(bench), model="endless"), upstream)
    assert whole.json()["status"] == "failed" if whole.status_code == 200 else whole.headers["x-should-retry"] == "false"
