"""A client that goes away stops the model and the tool within a second, and the log row says so."""
import time

import pytest

from bed.process import eventually
from bed.servers import mcp

UPSTREAMS = ["responses", "chat"]
WITHIN_MS = 1000


def read_until(connection, word):
    """Reads from the socket until `word` has come."""
    connection.settimeout(20)
    seen = b""
    while word not in seen:
        piece = connection.recv(65536)
        assert piece, f"closed before {word!r}: {seen!r}"
        seen += piece


def hang_up(connection):
    """Closes the connection; the moment, Unix time in milliseconds."""
    moment = time.time() * 1000
    connection.close()
    return moment


def canceled_row(gateway, trace_id):
    (row,) = gateway.logs_of_trace(trace_id, 1)
    assert (row["outcome"], row["response_status_code"]) == ("canceled", 499)
    return gateway.log(row["id"])


def begin(gateway, trace_id, body, upstream):
    return gateway.begin(body, upstream, **{"x-portkey-trace-id": trace_id})


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_in_the_middle_of_a_stream(gateway, provider, upstream):
    connection = begin(gateway, f"mid-{upstream}", {"model": "slow", "input": "hi", "stream": True}, upstream)
    read_until(connection, b"output_text.delta")
    moment = hang_up(connection)
    assert provider.wait_for_disconnect() - moment < WITHIN_MS
    canceled_row(gateway, f"mid-{upstream}")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_before_the_first_byte(gateway, provider, upstream, stream):
    trace_id = f"head-{upstream}-{stream}"
    connection = begin(gateway, trace_id, {"model": "slow-head", "input": "hi", "stream": stream}, upstream)
    provider.wait_for_request()
    moment = hang_up(connection)
    assert provider.wait_for_disconnect() - moment < WITHIN_MS
    canceled_row(gateway, trace_id)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_in_the_loop_before_the_first_byte(gateway, provider, bench, stream):
    trace_id = f"loop-{stream}"
    body = {"model": "slow-head-after-tool", "input": '[call echo {"message":"a"}]', "tools": [mcp(bench)], "stream": stream}
    connection = begin(gateway, trace_id, body, "chat")
    assert eventually(lambda: len(provider.requests()) == 2)
    moment = hang_up(connection)
    assert provider.wait_for_disconnect() - moment < WITHIN_MS
    row = canceled_row(gateway, trace_id)
    assert [call["outcome"] for call in row["tool_calls"]] == ["completed"]


@pytest.mark.parametrize("mode, stream", [("bench", True), ("bench", False), ("everything", True), ("everything_sse", True)])
def test_while_a_tool_runs(request, gateway, provider, mode, stream):
    server = request.getfixturevalue(mode)
    trace_id = f"tool-{mode}-{stream}"
    ours = mode == "bench"
    call = '[call sleep {"seconds":30}]' if ours else '[call trigger-long-running-operation {"duration":30,"steps":3}]'
    connection = begin(gateway, trace_id, {"model": "gpt-4.1", "input": call, "tools": [mcp(server)], "stream": stream}, "chat")
    if ours:
        server.wait_for("start", "sleep")
    else:
        read_until(connection, b"mcp_call_arguments.done")
    moment = hang_up(connection)
    row = canceled_row(gateway, trace_id)
    (call,) = row["tool_calls"]
    assert call["outcome"] in ("canceled", "outcome_unknown")
    assert time.time() * 1000 - moment < 3 * WITHIN_MS, "the row does not wait for the tool"
    assert len(provider.requests()) == 1, "no further turn"
    if ours:
        assert server.wait_for("cancelled", "sleep")["at"] * 1000 - moment < WITHIN_MS


def test_while_tools_are_listed(gateway, provider, silent_server):
    trace_id = "list"
    tool = {"type": "mcp", "server_label": "silent", "server_url": silent_server.url, "require_approval": "never"}
    connection = begin(gateway, trace_id, {"model": "gpt-4.1", "input": "hi", "tools": [tool], "stream": True}, "chat")
    silent_server.wait_for_connection()
    moment = hang_up(connection)
    assert silent_server.wait_for_end() * 1000 - moment < WITHIN_MS
    canceled_row(gateway, trace_id)
