"""Reads a stream of events as it is on the wire, and checks what must hold for every one."""
import json

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def read_events(answer):
    """The events of an SSE body: each frame an `event:` line that names the type and one `data:` line."""
    name, data = None, None
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            assert data is None, "two data lines in one frame"
            data = line.removeprefix("data: ")
        elif line == "" and data is not None:
            event = json.loads(data)
            assert event["type"] == name, f"frame {name} holds {event['type']}"
            yield event
            name, data = None, None
        else:
            assert line == "", f"odd line {line!r}"
    assert data is None, "the stream ends within a frame"


def types(events):
    """The types in order, runs of the same delta as one."""
    shown = []
    for event in events:
        if not (event["type"].endswith(".delta") and shown and shown[-1] == event["type"]):
            shown.append(event["type"])
    return shown


def final(events):
    """The response of the terminal event."""
    assert events[-1]["type"] in TERMINAL, events[-1]
    return events[-1]["response"]


def items(response, kind):
    return [item for item in response["output"] if item["type"] == kind]


def text(response):
    parts = [part for item in items(response, "message") for part in item["content"]]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


def check(events):
    """Everything that holds for each stream (numbers, one response, item life cycles, the end); returns the response."""
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"]
    assert events[0]["response"] == events[1]["response"]
    assert events[0]["response"]["output"] == [] and events[0]["response"]["usage"] is None
    assert {e["response"]["id"] for e in events if "response" in e} == {events[0]["response"]["id"]}
    assert sum(e["type"] in TERMINAL for e in events) == 1
    fatal = [e for e in events if e.get("error")]
    assert [e["type"] for e in fatal] in ([], ["error"]), "only the fatal event may carry an error"
    response = final(events)
    check_items(events, response)
    return response


def check_items(events, response):
    """Each item is opened once, in order, touched only while open, closed once, and final as closed."""
    opened, closed = {}, {}
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(opened), "output_index without gaps, in order"
            opened[event["output_index"]] = event["item"]
        elif kind == "response.output_item.done":
            at = event["output_index"]
            assert at in opened and at not in closed
            for key in ("id", "type"):
                assert opened[at][key] == event["item"][key]
            closed[at] = event["item"]
        elif "output_index" in event:
            at = event["output_index"]
            assert at in opened and at not in closed, f"{kind} outside of its item's life"
            assert event["item_id"] == opened[at]["id"]
    assert sorted(closed) == sorted(opened), "an item was left open"
    assert response["output"] == [closed[at] for at in sorted(closed)]
    assert len({item["id"] for item in response["output"]}) == len(response["output"])
    check_deltas(events, closed)


def check_deltas(events, closed):
    """The deltas of each item join to what its last form says."""
    joined = {}
    for event in events:
        if event["type"].endswith(".delta"):
            joined.setdefault(event["output_index"], []).append(event["delta"])
    for at, pieces in joined.items():
        item = closed[at]
        whole = item["arguments"] if "arguments" in item else "".join(part["text"] for part in item["content"])
        assert "".join(pieces) == whole
