"""Rows of the request log: what they say, how they are found, and that none is lost."""
import re

import pytest

from bed.gateway import portunus_binary
from bed.process import Process, eventually
from bed.servers import mcp

UPSTREAMS = ["responses", "chat"]


def ask(prompt, *tools, model="gpt-4.1", **fields):
    return {"model": model, "input": prompt, "tools": list(tools), **fields}


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_row_tells_every_step(gateway, provider, bench, upstream):
    headers = {"x-portkey-metadata": '{"team":"red"}', "x-portkey-trace-id": f"steps-{upstream}"}
    body = ask('[call sleep {"seconds":0.2}] [then fail {"reason":"x"}]', mcp(bench))
    answer = gateway.post(body, upstream, **headers)
    assert answer.headers["x-portkey-trace-id"] == f"steps-{upstream}"
    row = gateway.log_of(answer.json())
    assert (row["trace_id"], row["request_id"]) == (f"steps-{upstream}", answer.headers["x-request-id"])
    assert (row["outcome"], row["response_status_code"], row["is_success"]) == ("completed", 200, True)
    assert (row["virtual_key"], row["api_key_name"]) == (upstream, "tests")
    assert (row["model_asked"], row["model_served"]) == ("gpt-4.1", "gpt-4.1-2025-04-14")
    assert (row["execution"], row["mcp_execution"]) == ("tool_loop", "gateway")
    assert row["metadata"] == {"team": "red"} and row["tool_errors"] == 1
    assert [turn["finish"] for turn in row["turns"]] == ["tool_calls", "tool_calls", "stop"] or len(row["turns"]) == 3
    (listed,) = row["tool_lists"]
    assert (listed["server_label"], listed["tools"], listed["run_by"], listed["outcome"]) == ("bench", 6, "gateway", "completed")
    slow, failed = row["tool_calls"]
    assert (slow["tool"], slow["outcome"], slow["turn"]) == ("sleep", "completed", 0)
    assert slow["argument_bytes"] == len('{"seconds":0.2}') and slow["result_bytes"] > 0
    assert slow["wait_ms"] + slow["read_ms"] >= 200 and 200 <= slow["total_ms"] <= row["response_time"]
    assert (failed["tool"], failed["outcome"], failed["turn"]) == ("fail", "tool_error", 1)
    assert len(row["attempts"]) == 3 and all(a["status_code"] == 200 for a in row["attempts"])
    assert "/mcp" not in slow["server_url"] and slow["server_url"].startswith("http://127.0.0.1:")


def test_the_times_add_up(gateway, provider, bench):
    row = gateway.log_of(gateway.ask(ask('[call sleep {"seconds":0.3}]', mcp(bench)), "chat"))
    parts = row["gateway_processing_time"] + row["upstream_response_time"] + row["tools_time"]
    assert abs(parts - row["response_time"]) <= 5 and row["tools_time"] >= 300


def test_cost_is_known_for_a_known_model_and_null_for_another(gateway, provider):
    known = gateway.log_of(gateway.ask(ask("hi"), "responses"))
    unknown = gateway.log_of(gateway.ask(ask("hi", model="no-such-model"), "responses"))
    assert known["cost_picodollars"] > 0 and known["cost"] > 0 and known["total_units"] > 0
    assert unknown["cost_picodollars"] is None and unknown["cost"] is None and unknown["total_units"] > 0


def test_what_a_provider_ran_itself_is_told_too(gateway, provider):
    tool = {"type": "mcp", "server_label": "wiki", "server_url": "https://wiki.example/mcp", "require_approval": "never"}
    for stream in (False, True):
        body = ask("What is there?", tool)
        response = gateway.stream(body, "responses")[-1]["response"] if stream else gateway.ask(body, "responses")
        row = gateway.log_of(response)
        assert (row["execution"], row["mcp_execution"]) == ("pass_through", "provider")
        assert row["total_units"] == response["usage"]["total_tokens"]
        (listed,), (call,) = row["tool_lists"], row["tool_calls"]
        assert (listed["server_label"], listed["tools"], listed["run_by"]) == ("wiki", 2, "provider")
        assert (call["tool"], call["run_by"], call["outcome"]) == ("ask_question", "provider", "completed")


def test_that_no_tool_was_called_can_be_seen(gateway, provider, bench):
    row = gateway.log_of(gateway.ask(ask("[no tool]", mcp(bench)), "chat"))
    assert row["tool_calls"] == [] and len(row["tool_lists"]) == 1


def test_failures_name_their_source(gateway, provider, guarded):
    def source(trace_id, body):
        gateway.post(body, "chat", **{"x-portkey-trace-id": trace_id})
        (row,) = gateway.logs_of_trace(trace_id, 1)
        return row["error_source"], row["is_success"]
    assert source("source-provider", ask("hi", model="fail-500")) == ("provider", False)
    assert source("source-mcp", ask("hi", mcp(guarded))) == ("mcp", False)
    assert source("source-client", ask("hi", temperature=-1)) == ("client", False)


def test_filters(gateway, provider, bench, everything):
    gateway.log_of(gateway.ask(ask('[call get-sum {"a":1,"b":2}]', mcp(everything, "sums"), model="filter-model"), "chat"))

    def found(**query):
        return [row["model_asked"] for row in gateway.logs(limit=500, **query)["data"]]
    for query in ({"mcp_server": "sums"}, {"mcp_tool": "get-sum"}, {"ai_model": "filter-model"}):
        assert "filter-model" in found(**query), query
        assert "filter-model" not in found(**query, status_code=404), query
        assert "filter-model" not in found(**query, virtual_keys="responses"), query
        assert "filter-model" not in found(**query, time_of_generation_max="2026-01-01T00:00:00Z"), query
    assert found(mcp_server="sums", mcp_tool="echo") == [] == found(mcp_server="nobody")
    assert set(found(error_source="mcp", status_code=424)) <= {"gpt-4.1"}
    wrong = gateway.admin("GET", "/logs", params={"no_such_filter": "x"})
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "no_such_filter"


def test_pages(gateway, provider):
    trace = {"x-portkey-trace-id": "pages"}
    for _ in range(5):
        gateway.post(ask("hi"), "responses", **trace)
    gateway.logs_of_trace("pages", 5)
    seen, after = [], {}
    for size in (2, 2, 1):
        page = gateway.logs(trace_id="pages", limit=2, **after)
        assert page["object"] == "list" and len(page["data"]) == size and page["last_id"] == page["data"][-1]["id"]
        assert page["has_more"] is (size == 2)
        seen += [row["id"] for row in page["data"]]
        after = {"after": page["last_id"]}
    assert len(set(seen)) == 5 and seen == sorted(seen, reverse=True), "newest first, each once"


def log_counts(gateway):
    """Rows of the log by what became of them, from the metrics."""
    found = re.findall(r'^portunus_log_rows_total{reason="(\w+)"} (\d+)', gateway.http.get("/metrics").text, re.M)
    return {reason: int(number) for reason, number in found}


def test_sent_is_stored_plus_dropped(gateway, provider):
    before = log_counts(gateway)
    for _ in range(20):
        gateway.post(ask("hi"), "responses", **{"x-portkey-trace-id": "counted"})
    gateway.logs_of_trace("counted", 20)

    def settled():
        now = log_counts(gateway)
        return now["sent"] - before["sent"] >= 20 and now["sent"] == now["stored"] + now["dropped"]
    assert eventually(settled), log_counts(gateway)


def test_the_command_follows_new_rows(gateway, provider, folder):
    command = [portunus_binary(), "logs", "-f", "-o", "json"]
    env = {**gateway.env, "PORTUNUS_LISTEN": gateway.url.split("//")[1]}
    follower = Process(command, folder / "follow.log", env=env)

    def told():
        gateway.post(ask("hi", model="followed"), "chat")
        return "followed" in follower.output()
    try:
        assert eventually(told), follower.output()
    finally:
        follower.stop()


def test_the_command_shows_rows(gateway, provider, bench):
    row = gateway.log_of(gateway.ask(ask('[call echo {"message":"a"}]', mcp(bench)), "chat"))
    done = gateway.run("logs", row["id"], "-o", "json")
    assert done.returncode == 0, done.stderr
    assert row["id"] in done.stdout and '"echo"' in done.stdout
