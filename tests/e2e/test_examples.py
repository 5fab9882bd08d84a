"""The files of examples/, as they are, from five clients, streamed and not, against each kind of model."""
import json
import shutil
import subprocess
import sys

import pytest

from bed.gateway import ROOT, clean_environment
from bed.servers import TOKEN
from bed.stream import items, text

EXAMPLES = ROOT / "examples"
CLIENTS = {
    "curl.sh": "bash", "openai_node.mjs": "node", "openai_python.py": sys.executable,
    "portkey_node.mjs": "node", "portkey_python.py": sys.executable,
}
# The model's kind, the story, the MCP server (none: the public one, whose tools the provider runs), a piece of the result.
CASES = [
    ("provider", "deepwiki", None, "ask_question was asked about"),
    ("provider", "stripe", None, "ask_question was asked about"),
    ("responses", "deepwiki", "everything", "Echo: What transport protocols"),
    ("responses", "stripe", "guarded", "https://pay.example/usd/20"),
    ("responses", "deepwiki", "everything_sse", "Echo: What transport protocols"),
    ("responses", "deepwiki", "paged", "workbench heard: What transport protocols"),
    ("chat", "deepwiki", "everything", "Echo: What transport protocols"),
    ("chat", "deepwiki", "everything_sse", "Echo: What transport protocols"),
    ("chat", "deepwiki", "paged", "workbench heard: What transport protocols"),
    ("chat", "stripe", "guarded", "https://pay.example/usd/20"),
    ("llama", "deepwiki", "everything", "Echo: "),
    ("llama", "deepwiki", "everything_sse", "Echo: "),
    ("llama", "stripe", "guarded", "workbench heard: "),
]
# server-everything has 13; one of them must be run as a task, which the gateway does not offer.
TOOLS = {"everything": 12, "everything_sse": 12, "paged": 36, "guarded": 6, None: 2}


def run(story, client, gateway, virtual_key, server, stream):
    env = {
        "PORTKEY_BASE_URL": gateway.base_url, "PORTKEY_API_KEY": gateway.key,
        "OPENAI_VIRTUAL_KEY": virtual_key, "STRIPE_KEY": TOKEN, "STREAM": stream,
    }
    if server:
        env["MCP_SERVER_URL"] = server.url
    command = [CLIENTS[client], str(EXAMPLES / story / client)]
    done = subprocess.run(command, env=clean_environment(env), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def response_of(output, stream):
    """What curl printed: the object, or the last event's."""
    if stream:
        output = [line for line in output.splitlines() if line.startswith("data: ")][-1].removeprefix("data: ")
        return json.loads(output)["response"]
    return json.loads(output)


def shown_by_curl(output, stream):
    response = response_of(output, stream)
    (tools,), (call,) = items(response, "mcp_list_tools"), items(response, "mcp_call")
    return [t["name"] for t in tools["tools"]], call["output"], text(response)


def shown_by_sdk(output):
    tools, rest = output.removeprefix("tools: ").split("\ncall:  ", 1)
    call, answer = rest.split("\nanswer: ", 1)
    return [name.strip() for name in tools.split(",")], call, answer


@pytest.mark.parametrize("stream", ["", "1"], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind, story, server, result", CASES, ids=["-".join(filter(None, case[:3])) for case in CASES])
def test_example(request, gateway, kind, story, server, result, client, stream):
    if client.endswith(".mjs") and not ((EXAMPLES / "node_modules").exists() and shutil.which("node")):
        pytest.skip("Node or the examples' packages are not installed")
    if kind == "llama":
        request.getfixturevalue("llama")
    name, server = server, server and request.getfixturevalue(server)
    virtual_key = "responses" if kind == "provider" else kind
    output = run(story, client, gateway, virtual_key, server, stream)
    tools, call, answer = shown_by_curl(output, stream) if client == "curl.sh" else shown_by_sdk(output)
    assert result in call and result in answer
    assert len(tools) == TOOLS[name]


def test_readme_names_each_file():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for story in ("deepwiki", "stripe"):
        assert sorted(path.name for path in (EXAMPLES / story).iterdir()) == sorted(CLIENTS)
        assert f"`{story}/`" in readme
    assert all(f"`{client}`" in readme for client in CLIENTS)


def test_the_credential_reaches_the_server_and_nobody_else(gateway, provider, guarded):
    guarded.clear()
    run("stripe", "curl.sh", gateway, "chat", guarded, "")
    (call,) = guarded.started()
    assert call["headers"]["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in json.dumps(provider.requests())
