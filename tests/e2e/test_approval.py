"""What needs an approval is asked for and never runs."""
import pytest

from bed.servers import mcp
from bed.stream import check, items, types

ECHO = '[call echo {"message":"a"}]'
BOTH = ECHO + ' [call fail {"reason":"b"}]'
# require_approval, the prompt, the tools that run, the tools that are asked for.
POLICIES = [
    ("always", ECHO, [], ["echo"]),
    (None, ECHO, [], ["echo"]),
    ("never", ECHO, ["echo"], []),
    ({"never": {"tool_names": ["echo"]}}, BOTH, ["echo"], ["fail"]),
    ({"never": {"read_only": True}}, BOTH, ["echo"], ["fail"]),
    ({"always": {"tool_names": ["fail"]}}, BOTH, [], ["echo", "fail"]),
    ({"always": {"tool_names": ["fail"]}, "never": {"tool_names": ["echo"]}}, BOTH, ["echo"], ["fail"]),
]


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("policy, prompt, run, asked", POLICIES, ids=[f"{p[0]}" for p in POLICIES])
def test_policy(gateway, provider, bench, upstream, policy, prompt, run, asked):
    body = {"model": "gpt-4.1", "input": prompt, "tools": [mcp(bench, require_approval=policy)]}
    response = gateway.ask(body, upstream)
    assert sorted(e["tool"] for e in bench.started()) == sorted(run)
    assert [i["name"] for i in items(response, "mcp_approval_request")] == asked
    assert response["status"] == "completed"
    assert len(provider.requests()) == (1 if asked else 2)


def test_left_out_means_always(gateway, provider, bench):
    tool = mcp(bench)
    del tool["require_approval"]
    response = gateway.ask({"model": "gpt-4.1", "input": ECHO, "tools": [tool]}, "chat")
    assert bench.started() == [] and len(items(response, "mcp_approval_request")) == 1
    assert response["tools"][0]["require_approval"] == "always"


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_the_request_in_a_stream(gateway, provider, bench, upstream):
    body = {"model": "gpt-4.1", "input": ECHO, "tools": [mcp(bench, require_approval="always")]}
    events = gateway.stream(body, upstream)
    check(events)
    assert types(events)[6:] == ["response.output_item.added", "response.output_item.done", "response.completed"]
    assert events[6]["item"] == events[7]["item"]
    item = events[6]["item"]
    assert item == {"id": item["id"], "type": "mcp_approval_request", "arguments": '{"message":"a"}',
        "name": "echo", "server_label": "bench"}
    assert item["id"].startswith("mcpr_")


def test_an_answer_to_a_request_that_nobody_made_runs_nothing(gateway, provider, bench):
    history = [{"role": "user", "content": ECHO},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_" + "0" * 48, "approve": True}]
    body = {"model": "gpt-4.1", "input": history, "tools": [mcp(bench, require_approval="always")]}
    answer = gateway.post(body, "chat")
    assert answer.status_code == 400 and bench.started() == []
