"""Real MCP servers: each transport, pages, tokens, several at once, filters."""
import pytest

from bed.servers import mcp
from bed.stream import check, items, text

UPSTREAMS = ["responses", "chat"]


def ask(prompt, *tools, **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": list(tools), **fields}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("mode", ["everything", "everything_sse"])
def test_everything_over_both_transports(request, gateway, provider, mode, upstream):
    server = request.getfixturevalue(mode)
    response = check(gateway.stream(ask('[call get-sum {"a":2,"b":3}]', mcp(server)), upstream))
    (call,) = items(response, "mcp_call")
    assert call["output"] == "The sum of 2 and 3 is 5." and call["output"] in text(response)
    (listed,) = items(response, "mcp_list_tools")
    assert {"echo", "get-sum", "get-tiny-image"} <= {tool["name"] for tool in listed["tools"]}


@pytest.mark.parametrize("mode", ["everything", "everything_sse"])
def test_results_that_are_not_text(request, gateway, provider, mode):
    server = request.getfixturevalue(mode)
    prompt = '[call get-tiny-image {}] [then get-structured-content {"location":"New York"}]'
    response = gateway.ask(ask(prompt, mcp(server)), "chat")
    image, structured = items(response, "mcp_call")
    assert image["status"] == structured["status"] == "completed"
    assert '"type":"image"' in image["output"].replace(" ", "") and "temperature" in structured["output"]


def test_all_pages_are_listed_and_a_tool_of_the_last_page_runs(gateway, provider, paged):
    response = gateway.ask(ask('[call spare_29 {"text":"x"}]', mcp(paged)), "chat")
    (listed,), (call,) = items(response, "mcp_list_tools"), items(response, "mcp_call")
    assert len(listed["tools"]) == 36 and listed["tools"][-1]["name"] == "spare_29"
    assert call["output"] == "29: x"


@pytest.mark.parametrize("credential", ["headers", "authorization"])
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_server_that_wants_a_token(gateway, provider, guarded, token, upstream, credential):
    given = {"headers": {"Authorization": f"Bearer {token}"}, "authorization": token}[credential]
    response = gateway.ask(ask('[call echo {"message":"in"}]', mcp(guarded, **{credential: given})), upstream)
    assert items(response, "mcp_call")[0]["output"] == "workbench heard: in"
    (echoed,) = response["tools"]
    assert echoed[credential] in ("<redacted>", {"Authorization": "<redacted>"})


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_the_same_tool_name_on_two_servers(gateway, provider, bench, everything, upstream):
    prompt = '[call bench__echo {"message":"1"}] [call every__echo {"message":"2"}]'
    response = check(gateway.stream(ask(prompt, mcp(bench), mcp(everything, "every")), upstream))
    assert [i["server_label"] for i in items(response, "mcp_list_tools")] == ["bench", "every"]
    first, second = items(response, "mcp_call")
    assert (first["name"], first["server_label"], first["output"]) == ("echo", "bench", "workbench heard: 1")
    assert (second["name"], second["server_label"], second["output"]) == ("echo", "every", "Echo: 2")


def test_a_client_function_named_as_a_tool(gateway, provider, bench):
    function = {"type": "function", "name": "echo", "parameters": {"type": "object", "properties": {}}, "strict": False}
    response = gateway.ask(ask('[call bench__echo {"message":"1"}] [call echo {}]', mcp(bench), function), "chat")
    assert [i["type"] for i in response["output"]] == ["mcp_list_tools", "mcp_call", "function_call"]


@pytest.mark.parametrize("allowed, names", [
    (["echo", "fail"], ["echo", "fail"]),
    ({"tool_names": ["fail"]}, ["fail"]),
    ({"read_only": True}, ["echo"]),
    ({"tool_names": ["echo", "fail"], "read_only": True}, ["echo"]),
    (["nothing"], []),
    (None, ["echo", "create_payment_link", "fail", "sleep", "die", "large"]),
], ids=str)
def test_allowed_tools(gateway, provider, bench, allowed, names):
    response = gateway.ask(ask("[no tool]", mcp(bench, allowed_tools=allowed)), "chat")
    (listed,) = items(response, "mcp_list_tools")
    assert [tool["name"] for tool in listed["tools"]] == names
    offered = [t["function"]["name"] for t in provider.requests()[0]["body"].get("tools", [])]
    assert offered == names


def test_a_tool_that_is_not_allowed_does_not_run(gateway, provider, bench):
    body = ask('[call fail {"reason":"x"}]', mcp(bench, allowed_tools=["echo"]))
    response = gateway.post(body, "chat")
    assert bench.started() == []
    assert "it failed because" not in response.text


def test_a_warm_list_is_used_again(gateway, provider, everything):
    body = ask("[no tool]", mcp(everything))
    first, second = gateway.ask(body, "chat"), gateway.ask(body, "chat")
    assert [i["tools"] for i in items(first, "mcp_list_tools")] == [i["tools"] for i in items(second, "mcp_list_tools")]
    assert gateway.log_of(second)["tool_lists"][0]["cached"] is True


def test_lists_are_not_shared_between_credentials(gateway, provider, guarded, token):
    gateway.ask(ask("[no tool]", mcp(guarded, authorization=token)), "chat")
    refused = gateway.post(ask("[no tool]", mcp(guarded, authorization="another")), "chat")
    assert refused.status_code == 424 and "401 (Unauthorized)" in refused.json()["error"]["message"]


# tool_choice, the label of the server whose tool is called, the tool when it is fixed.
CHOICES = [
    ({"type": "mcp", "server_label": "bench", "name": "create_payment_link"}, "bench", "create_payment_link"),
    ({"type": "mcp", "server_label": "bench"}, "bench", None),
    ({"type": "mcp", "server_label": "every", "name": None}, "every", None),
    ({"type": "mcp"}, None, None),
    ("required", None, None),
    ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp", "server_label": "bench"}]}, "bench", None),
]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("choice, label, name", CHOICES, ids=[str(c[0]) for c in CHOICES])
def test_tool_choice(gateway, provider, bench, everything, upstream, choice, label, name):
    tools = [mcp(everything, "every", allowed_tools=["get-sum"]), mcp(bench, allowed_tools=["echo", "create_payment_link"])]
    response = gateway.ask(ask("Good morning", *tools, tool_choice=choice), upstream)
    (call,) = items(response, "mcp_call")
    assert label in (None, call["server_label"]) and name in (None, call["name"])
    first = provider.requests()[0]["body"]
    assert first["tool_choice"] == "required" or first["tool_choice"]["type"] in ("function", "allowed_tools")
    assert len(items(response, "mcp_list_tools")) == 2 and response["status"] == "completed"


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("choice", [
    {"type": "function", "name": "weather"},
    {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]},
], ids=lambda choice: choice["type"])
def test_a_client_function_by_choice(gateway, provider, bench, upstream, choice):
    function = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
    response = gateway.ask(ask("Good morning", mcp(bench), function, tool_choice=choice), upstream)
    assert [item["type"] for item in response["output"]] == ["mcp_list_tools", "function_call"]
    assert response["output"][1]["name"] == "weather" and bench.started() == []


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_no_tool_by_choice(gateway, provider, bench, upstream):
    response = gateway.ask(ask('[call echo {"message":"a"}]', mcp(bench), tool_choice="none"), upstream)
    assert items(response, "mcp_call") == [] and bench.started() == []
