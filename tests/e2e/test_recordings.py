"""Our events have the keys that recorded OpenAI streams have. Needs the recordings beside the project; skipped without."""
import json

import pytest

from bed.gateway import ROOT
from bed.servers import mcp

RECORDED = ROOT.parent / "shared" / "wire" / "openai-responses"
FILES = ["mcp-call-stream.2025-10.sse", "mcp-two-calls-in-turn-stream.2025-09.sse", "function-call-stream.2025-12.sse"]
# Keys newer than these recordings, and those that differ between them.
NEWER = {"completed_at", "frequency_penalty", "presence_penalty", "moderation", "prompt_cache_retention", "tool_usage",
    "phase", "access_programs", "cache_write_tokens"}
SOMETIMES = {"obfuscation", "status", "encrypted_content", "billing", "tool_usage"}

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings beside the project")


def keys(events):
    """Key sets by event type, of items by event type and item type, of the response and of its usage."""
    found = {}
    for event in events:
        note(found, event["type"], event)
        if "item" in event:
            note(found, f"{event['type']} {event['item']['type']}", event["item"])
        if "part" in event:
            note(found, f"{event['type']} part", event["part"])
        if event["type"] == "response.completed":
            note(found, "usage", event["response"]["usage"])
        if "response" in event:
            note(found, "response", event["response"])
    return found


def note(found, name, mapping):
    found.setdefault(name, set()).update(mapping)


def recorded():
    for name in FILES:
        lines = (RECORDED / name).read_text(encoding="utf-8").splitlines()
        yield from (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_keys(gateway, provider, bench, upstream):
    function = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    ours = []
    for prompt in ('[call echo {"message":"a"}] [then echo {"message":"b"}]', "[call f {}]"):
        body = {"model": "gpt-4.1", "input": prompt, "tools": [mcp(bench), function]}
        ours += gateway.stream(body, upstream)
    theirs, ours = keys(recorded()), keys(ours)
    compared = set(theirs) & set(ours)
    assert {"response", "usage", "response.mcp_call.completed", "response.output_item.done mcp_call"} <= compared
    for name in sorted(compared):
        assert theirs[name] - SOMETIMES <= ours[name], f"{name} lacks keys"
        assert ours[name] <= theirs[name] | NEWER | SOMETIMES, f"{name} has keys that were never seen"
