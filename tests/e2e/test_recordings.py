"""All recorded traffic of OpenAI's Responses API, through the gateway: what the caller gets is what OpenAI's callers got.

Handed through: the recorded answer is the provider's, and the caller gets it byte for byte.
Run by the gateway: a provider that says what the recorded model said and an MCP server with the recorded tools;
the recorded events are what must come out, by `bed/diff.py`. What cannot be produced stands in
`recordings-baseline.txt` with the reason; what stands there and can be produced fails, too."""
import json
import pathlib

import pytest
from openai import OpenAI

from bed import recorded, replay
from bed.diff import as_we_would, differences, lists_in_order, masked, plain, renumbered, without
from bed.gateway import Gateway
from bed.stream import check, items

pytestmark = pytest.mark.skipif(not recorded.is_there(), reason=f"no recordings at {recorded.WIRE} (PORTUNUS_WIRE names them)")
BASELINE = dict(line.split(None, 1) for line in
    (pathlib.Path(__file__).parent / "recordings-baseline.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#"))
ALL = recorded.exchanges() if recorded.is_there() else []
ASKED = [e for e in ALL if e.answers_a_response()]
# Of those, the ones whose tools are remote, which the gateway can run as well.
LOOPS = [e for e in ASKED if e.status == 200 and e.response().get("output") and (e.response().get("tools") or [{}])[0].get("type") == "mcp"]


def names(exchanges):
    return [exchange.name for exchange in exchanges]


@pytest.fixture(scope="module")
def model():
    peer = replay.Provider()
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def tools():
    peer = replay.Tools()
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def player(folder, model):
    """A gateway in front of the recorded provider, in either dialect. A recorded call that took too long must not take as long here."""
    home = folder / "recordings"
    home.mkdir()
    gateway = Gateway(home, {"PORTUNUS_MCP__CALL_TIMEOUT_MS": "700"})
    gateway.make_virtual_key("responses", "openai", model.url + "/v1")
    gateway.make_virtual_key("chat", "openai-chat", model.url + "/v1")
    gateway.key = gateway.make_key("recordings")
    yield gateway
    gateway.stop()


def test_the_baseline_names_recordings():
    known = {f"{mode}:{e.name}" for mode in ("through", "responses", "chat") for e in ALL}
    assert not set(BASELINE) - known
    for name, reason in BASELINE.items():
        print(f"not produced: {name}  {reason}")


@pytest.mark.parametrize("exchange", ASKED, ids=names(ASKED))
def test_handed_through(player, model, exchange):
    body = exchange.request
    if "previous_response_id" in body:
        ask_first(player, model, exchange)
    kind = "text/event-stream; charset=utf-8" if exchange.streamed else "application/json"
    model.set((exchange.status, kind, exchange.body))
    answer = player.post(body)
    if reason := BASELINE.get(f"through:{exchange.name}"):
        assert answer.content != exchange.body and model.requests == [], reason
        return
    assert model.requests == [body]
    assert answer.status_code == exchange.status
    if exchange.status == 200:
        assert answer.content == exchange.body
    else:
        assert answer.json()["error"] == json.loads(exchange.body)["error"]


def ask_first(player, model, exchange):
    """The request before, so that the gateway knows the response that is named."""
    before = ASKED[names(ASKED).index(exchange.name) - 1]
    model.set((before.status, "application/json", before.body))
    assert player.post(before.request).json()["id"] == exchange.request["previous_response_id"]


def turns(output):
    """The items of each turn of the model: a turn ends with a call, or an approval request, or with the response."""
    turn = []
    for item in output:
        if item["type"] == "mcp_list_tools":
            continue
        if item["type"] != "mcp_call" or not item.get("approval_request_id"):
            turn.append(item)
        if item["type"] == "mcp_call":
            if turn:
                yield turn
            turn = []
    if turn:
        yield turn


def served(tool):
    """A tool as its server had it."""
    return {"name": tool["name"], "description": tool.get("description"), "inputSchema": tool["input_schema"],
        "annotations": {"readOnlyHint": tool["annotations"]["read_only"]}}


ROLL = {"name": "roll", "inputSchema": {"type": "object"}}


def prepare(model, tools, upstream, response, lists=None):
    """The peers say what the recording says."""
    output = response["output"]
    shown = lists or {i["server_label"]: [served(t) for t in i["tools"]] or [ROLL] for i in items(response, "mcp_list_tools")}
    results = [outcome(item) for item in items(response, "mcp_call")]
    turn = replay.responses_turn if upstream == "responses" else replay.chat_turn
    model.set(*[turn(response, turn_items) for turn_items in turns(output)])
    tools.set(shown, results)


def outcome(call):
    """What the server did: the text that it answered, or nothing in 60 s."""
    error = call.get("error")
    return None if error and error["code"] == 424 else call["output"]


def with_our_servers(tools, request, echoed):
    """The recorded request, its servers ours. Where it is not known it is put together from the echo."""
    made = {**request, "tools": [server(tool, tools) for tool in request.get("tools") or echoed]}
    return {k: v for k, v in made.items() if k not in ("stream",)}


def server(tool, tools):
    kept = {k: v for k, v in tool.items() if v is not None}
    return {**kept, "server_url": tools.url_of(tool["server_label"])} if "server_url" in kept else kept


# Recordings that go on from another one: how the answer of the one before is told.
APPROVED = "openai-responses/mcp-approval-4-approved-stream.2025-12.chunks.txt"
GRANTED = "responses/openai_mcp_approval_granted_streamed.json"
DENIED = "openai-responses/mcp-approval-2-denied-stream.2025-12.chunks.txt"
ASKING = {APPROVED: "openai-responses/mcp-approval-1-request-stream.2025-12.chunks.txt",
    DENIED: "openai-responses/mcp-approval-1-request-stream.2025-12.chunks.txt",
    GRANTED: "responses/openai_mcp_approval_streamed.json"}


def by_name(name):
    return ALL[names(ALL).index(name)]


def request_after(player, model, tools, upstream, exchange):
    """The request; where it goes on from another recording, that one is played first and its ids taken."""
    response = exchange.response()
    if exchange.name in ASKING:
        asked, _ = play(player, model, tools, upstream, by_name(ASKING[exchange.name]))
        (request,) = items(asked, "mcp_approval_request")
        word = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": exchange.name != DENIED}
        return {**recorded.PLAIN, "input": [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": request["id"]}, word]}
    if not exchange.name.endswith("#1"):
        return exchange.request
    before = by_name(exchange.name.replace("#1", "#0"))
    asked, _ = play(player, model, tools, upstream, before)
    text = json.dumps(exchange.request).replace(before.response()["id"], asked["id"])
    matched = items_pairs(before.response()["output"], asked["output"])
    for theirs, mine in matched:
        text = text.replace(theirs["id"], mine["id"])
    assert response["previous_response_id"] is None or asked["id"] in text
    return json.loads(text)


def items_pairs(theirs, mine):
    """The items of two outputs that are the same but for their ids; a chat provider has no reasoning."""
    kinds = {item["type"] for item in mine}
    return zip([item for item in theirs if item["type"] in kinds], mine, strict=True)


def play(player, model, tools, upstream, exchange):
    """The response and, where it was streamed, the events that the gateway makes of a recording."""
    request = request_after(player, model, tools, upstream, exchange)
    goes_on = exchange.name.endswith("#1") or exchange.name in ASKING
    prepare(model, tools, upstream, exchange.response(), tools.lists if goes_on else None)
    body = with_our_servers(tools, request, exchange.response()["tools"])
    if not exchange.streamed:
        answer = player.post(body, upstream)
        assert answer.status_code == 200, answer.text
        return answer.json(), None
    events = player.stream(body, upstream)
    return check(events), events


# Settings of the model's own, which the provider tells with its answer: our first two events come before it.
SETTINGS = {"reasoning", "temperature", "top_p", "prompt_cache_retention"}
# What chat completions have no word for, so that our answer holds the default.
NOT_CHAT = SETTINGS | {"service_tier", "text", "prompt_cache_key"}


def compared(events, upstream):
    """What is compared: of a provider that speaks chat, no reasoning and nothing that chat has no word for."""
    if upstream == "chat":
        events = renumbered(without(events, "reasoning"))
    return plain([comparable(event, upstream) for event in events])


def comparable(event, upstream):
    unknown = NOT_CHAT if upstream == "chat" else SETTINGS if event["type"] in ("response.created", "response.in_progress") else set()
    if "response" not in event:
        return event
    response = {k: v for k, v in event["response"].items() if k not in unknown}
    if upstream == "chat":
        response["output"] = [{k: v for k, v in item.items() if k != "phase"} for item in response["output"] if item["type"] != "reasoning"]
    return {**event, "response": response}


def whole(response):
    """An answer that was not streamed, as an event to compare."""
    return {"type": "whole", "response": response}


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("exchange", LOOPS, ids=names(LOOPS))
def test_run_by_the_gateway(player, model, tools, exchange, upstream):
    if reason := BASELINE.get(f"{upstream}:{exchange.name}"):
        with pytest.raises(AssertionError):
            compare(player, model, tools, exchange, upstream)
        pytest.skip(f"not produced: {reason}")
    compare(player, model, tools, exchange, upstream)


def compare(player, model, tools, exchange, upstream):
    response, events = play(player, model, tools, upstream, exchange)
    theirs = as_we_would(exchange.events()) if events else [whole(exchange.response())]
    ours = lists_in_order(events) if events else [whole(response)]
    found = list(differences(compared(theirs, upstream), compared(ours, upstream)))
    assert found == [], "\n".join(found)
    assert model.answers == [] and tools.results == [], "everything that was recorded was asked for"


STORED = "openai-responses/state-get-delete-cancel-input-items-conversations.2025-09.json"


@pytest.mark.parametrize("case", ["delete", "input_items_paging", "store_false"])
def test_what_is_asked_afterwards(player, model, case):
    """Reading, paging and deleting, with the ids that the gateway gave."""
    first, *rest = [e for e in ALL if e.name.startswith(f"{STORED}#{case}.")]
    model.set((first.status, "application/json", first.body))
    assert player.post(first.request).status_code == 200
    ids = {}
    for exchange in rest:
        path = exchange.path
        for theirs, mine in ids.items():
            path = path.replace(theirs, mine)
        answer = player.http.request(exchange.method, path, headers=player.headers())
        theirs, mine = json.loads(exchange.body), answer.json()
        ids.update((a["id"], b["id"]) for a, b in zip(theirs.get("data", []), mine.get("data", [])))
        assert answer.status_code == exchange.status
        mine = {"error": mine["error"]} if exchange.status >= 400 else mine
        found = list(differences(masked(theirs), masked(mine)))
        assert found == [], "\n".join(found)


def history(*more):
    return {"model": "gpt-4.1", "input": [{"role": "user", "content": "hi"}, *more]}


def tool_with(**fields):
    return {"model": "gpt-4.1", "input": "hi", "tools": [{"type": "mcp", "require_approval": "never", **fields}]}


DUPLICATE = "mcpr_022444f7f0878ab8006a766d20b08881a290edfa9c9943f2ae"
UNKNOWN = "resp_0823e5c39b58eeda016a9e3791b5fc87d0ab255e3516832886"
# The recorded error by its name, and what brings it about. The rest is told by `test_failures.py` (a list that fails),
# by `test_what_is_asked_afterwards` (GET of what is deleted), or needs conversations.
ERRORS = {
    "mcp tool without server_label": tool_with(server_url="https://tools.example/mcp"),
    "mcp tool without server_url, connector_id and tunnel_id": tool_with(server_label="a"),
    "server_url and connector_id together": tool_with(server_label="a", server_url="https://t.example/", connector_id="connector_gmail", authorization="t"),
    "approval item sent twice (previous_response_id plus item_reference)": history(
        *[{"type": "mcp_approval_request", "id": DUPLICATE, "arguments": "{}", "name": "n", "server_label": "a"}] * 2,
        {"type": "mcp_approval_response", "approval_request_id": DUPLICATE, "approve": True}),
    "tool_choice names a tool that is not in tools": {**tool_with(server_label="a", server_url="https://tools.example/mcp"),
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}},
    "previous response unknown": {**history(), "previous_response_id": UNKNOWN},
    "temperature below range, stream true": {**history(), "temperature": -1, "stream": True},
}


@pytest.mark.parametrize("case", ERRORS)
def test_refused_as_openai_does(player, model, case):
    document = json.loads((recorded.WIRE / "openai-responses" / "errors-http.json").read_text(encoding="utf-8"))
    (expected,) = [entry for entry in document if entry["case"] == case]
    model.set()
    answer = player.post(ERRORS[case], "chat")
    assert (answer.status_code, answer.json()["error"]) == (expected["status"], expected["body"]["error"])
    assert model.requests == []


# The helper refuses a stream whose response changes its id in the middle, as that of this vendor does.
ROTATING = "responses/github_copilot_item_ids_rotate.json"
STREAMS = [e for e in ASKED if e.streamed and e.events()[-1]["type"] == "response.completed"
    and e.name != ROTATING and f"through:{e.name}" not in BASELINE]


@pytest.mark.parametrize("exchange", STREAMS, ids=names(STREAMS))
def test_the_sdks_accumulator_agrees(player, model, exchange):
    """OpenAI's own helper, fed through the gateway, ends with the recorded response."""
    model.set((200, "text/event-stream", exchange.body))
    client = OpenAI(api_key="xx", base_url=player.base_url, default_headers=player.headers(), max_retries=0)
    with client.responses.stream(**{k: v for k, v in exchange.request.items() if k != "stream"}) as stream:
        final = stream.get_final_response()
    assert final.id == exchange.response()["id"]
    assert [item.type for item in final.output] == [item["type"] for item in exchange.response()["output"]]
    assert final.output_text == "".join(part["text"] for item in items(exchange.response(), "message") for part in item["content"])
