"""Compares our events with recorded ones: what differs by nature is masked, everything else must be the same."""
import json

# Keys that OpenAI has added since some recording was made: ours may have them where the recording does not.
NEWER = {"completed_at", "frequency_penalty", "presence_penalty", "moderation", "tool_usage", "prompt_cache_retention",
    "phase", "cache_write_tokens", "access_programs", "status", "tools"}
# Of OpenAI's account or its own tools, which no answer of a gateway-run loop has.
THEIRS = {"billing", "tool_usage", "access_programs"}
ONCE = {"created_at": 1, "completed_at": 1, "obfuscation": "", "encrypted_content": "", "model": "", "server_url": ""}


def masked(value, key=None):
    """Without ids, times, secrets, numbers of tokens and the name of the snapshot."""
    if isinstance(value, dict):
        return {name: masked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if key in ("id", "first_id", "last_id", "item_id", "call_id", "approval_request_id", "previous_response_id") and value:
        return value.split("_")[0]
    if key is not None and key.endswith("_tokens") and key != "max_output_tokens":
        return 0
    return ONCE[key] if key in ONCE and value is not None else value


def joined(events):
    """Each run of deltas of one kind and item as one."""
    out = []
    for event in events:
        last = out[-1] if out else {}
        if event["type"].endswith(".delta") and (last.get("type"), last.get("output_index")) == (event["type"], event["output_index"]):
            out[-1] = {**last, "delta": last["delta"] + event["delta"]}
        else:
            out.append(event)
    return out


def renumbered(events):
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def as_we_would(events):
    """A recorded stream without the three things in which ours is meant to differ: every list is closed, right after it
    completed and in the order of the request; a resumed call begins once."""
    lists = {e["output_index"]: e for e in events if e["type"] == "response.output_item.done" and e["item"]["type"] == "mcp_list_tools"}
    final = events[-1].get("response", {}).get("output", [])
    out, begun, ends = [], set(), []
    for event in events:
        kind, at = event["type"], event.get("output_index")
        if kind == "response.mcp_call.in_progress" and at in begun:
            continue
        if kind == "response.mcp_call.in_progress":
            begun.add(at)
        if kind == "response.mcp_list_tools.completed":
            done = lists.get(at) or {"type": "response.output_item.done", "output_index": at, "item": final[at]}
            ends += [event, done]
        elif event in lists.values():
            out += in_order(ends)
            ends = []
        else:
            out.append(event)
    return out


def in_order(ends):
    """Lists complete in the order of their servers' answers, which says nothing."""
    return sorted(ends, key=lambda event: event["output_index"])


def lists_in_order(events):
    """The same of our own events."""
    ends = [at for at, e in enumerate(events) if e["type"] == "response.mcp_list_tools.completed"]
    if not ends:
        return events
    first, after = ends[0], ends[-1] + 2
    return [*events[:first], *in_order(events[first:after]), *events[after:]]


def without(events, kind):
    """As if no item of this type had been streamed."""
    gone = {e["output_index"] for e in events if e["type"] == "response.output_item.added" and e["item"]["type"] == kind}
    kept = [e for e in events if e.get("output_index") not in gone]
    return [{**e, "output_index": e["output_index"] - sum(g < e["output_index"] for g in gone)} if "output_index" in e else e for e in kept]


def plain(events):
    return [masked(event) for event in renumbered(joined(events))]


def differences(theirs, ours, place=""):
    """Paths at which the two differ, with both values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(k for k in ours if k not in theirs)]:
            if key not in ours and key not in THEIRS:
                yield f"{place}.{key} is missing"
            elif key not in theirs and key not in NEWER:
                yield f"{place}.{key} was never seen: {json.dumps(ours[key])[:80]}"
            elif key in ours and key in theirs:
                yield from differences(theirs[key], ours[key], f"{place}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            yield f"{place} has {len(ours)} instead of {len(theirs)}: {kinds(ours)} instead of {kinds(theirs)}"
        for at, (one, other) in enumerate(zip(theirs, ours)):
            yield from differences(one, other, f"{place}[{at}]")
    elif theirs != ours:
        yield f"{place} is {json.dumps(ours)[:120]} instead of {json.dumps(theirs)[:120]}"


def kinds(values):
    return [value.get("type") if isinstance(value, dict) else value for value in values][:40]
