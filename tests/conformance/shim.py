"""The client under test, as the conformance suite starts it: `shim.py URL-OF-THE-MOCK-SERVER`.

Asks the running gateway for a response with that server as its only tool. The model behind the
gateway is the fake provider, which calls what the marks in the prompt say: the calls that the
scenario names, else each listed tool once. Succeeds when the gateway completed every response.
"""
import json
import os
import sys
import urllib.request

# The scenario that wants a tool's schema back, exactly as this client shows it.
ECHO_OF_A_SCHEMA = "json-schema-2020-12-preservation"


def ask(url, prompt):
    """The response to one prompt."""
    tool = {"type": "mcp", "server_label": "mock", "server_url": url, "require_approval": "never"}
    body = {"model": "fake", "input": prompt, "tools": [tool], "store": False}
    headers = {
        "content-type": "application/json",
        "x-portkey-api-key": os.environ["CONFORMANCE_KEY"],
        "x-portkey-virtual-key": "fake",
    }
    request = urllib.request.Request(
        os.environ["CONFORMANCE_GATEWAY"] + "/v1/responses", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=25) as answer:
        response = json.load(answer)
    json.dump(response, sys.stdout, indent=1)
    if response["status"] != "completed":
        sys.exit(f"the response is {response['status']}: {response['error']}")
    return response


def mark(word, call):
    return f"[{word} {call['name']} {json.dumps(call['arguments'])}]"


def one_by_one(calls):
    """A prompt that makes the model call these, one in a round."""
    return " ".join(mark("then" if at else "call", call) for at, call in enumerate(calls))


def listed_schema(response, name):
    (listed,) = [item for item in response["output"] if item["type"] == "mcp_list_tools"]
    (tool,) = [tool for tool in listed["tools"] if tool["name"] == name]
    return tool["input_schema"]


def main(url):
    calls = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")).get("toolCalls")
    if os.environ["MCP_CONFORMANCE_SCENARIO"] == ECHO_OF_A_SCHEMA:
        schema = listed_schema(ask(url, "[no tool]"), "json_schema_2020_12_tool")
        calls = [{"name": "json_schema_echo", "arguments": {"schema": schema}}]
    ask(url, one_by_one(calls) if calls else "[every tool]")


main(sys.argv[1])
