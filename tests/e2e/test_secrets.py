"""Secrets are nowhere: a different canary in each place where one is given, then a search for all of them."""
import json
import pathlib

import pytest

from bed.canary import hits
from bed.gateway import ADMIN_TOKEN, Gateway
from bed.servers import mcp

CANARIES = {
    "virtual key": "sk-canary-Virtual-3fQ8mZ1xW7",
    "provider key of the environment": "sk-canary-Environment-9kLp2Rt5",
    "mcp authorization": "canary-Authorization-5hTn8Vb2Yq",
    "mcp header": "canary-Header-7jMd4Cw9Sa+/=",
    "url path": "canary-Path-2gXs6Ke3Po",
    "url query": "canary-Query-8bNf1Zu4Li",
    "url password": "canary-Password-6vGr9Hj0Tw",
    "caller's own key": "sk-canary-Caller-1cBq7Dy3Mx",
    "master key": "a3f1c2d4e5b60718293a4b5c6d7e8f90112233445566778899aabbccddeeff01",
    "admin token": ADMIN_TOKEN,
}


def test_the_search_finds_what_is_there():
    import base64
    secret = "canary-Query-8bNf1Zu4Li?"
    for around in (b"", b"x", b"xy"):
        place = base64.b64encode(around + secret.encode() + b"tail")
        assert hits({"s": secret}, {"p": place}) == [("s", "p")]
    assert hits({"s": secret}, {"p": b"?q=canary-Query-8bNf1Zu4Li%3F&"}) == [("s", "p")]
    assert hits({"s": secret}, {"p": b"canary-Query"}) == []


@pytest.fixture(scope="module", params=["redacted", "full"])
def marked(request, folder, the_provider):
    """A gateway of its own, with a canary wherever it takes a secret."""
    env = {
        "OPENAI_API_KEY": CANARIES["provider key of the environment"],
        "PORTUNUS_MASTER_KEY": CANARIES["master key"], "PORTUNUS_LOG__PAYLOAD": request.param,
        "PORTUNUS_LOG__LEVEL": "debug,portunus=trace",
    }
    home = folder / f"marked-{request.param}"
    home.mkdir()
    gateway = Gateway(home, env)
    for slug, provider in (("responses", "openai"), ("chat", "openai-chat")):
        gateway.make_virtual_key(slug, provider, the_provider.base_url, key=CANARIES["virtual key"])
    gateway.key = gateway.make_key("marked")
    yield gateway
    gateway.stop()


def tools(bench, guarded, token):
    """`mcp` tools that work and that fail, each with a canary in it."""
    header = {"X-Canary": CANARIES["mcp header"]}
    query = f"?key={CANARIES['url query']}"
    yield mcp(bench, headers=header, server_url=bench.url + query)
    yield mcp(bench, authorization=CANARIES["mcp authorization"])
    yield mcp(guarded, authorization=CANARIES["mcp authorization"])
    yield mcp(guarded, headers={"Authorization": "Bearer " + CANARIES["mcp authorization"], **header})
    yield mcp(bench, server_url=f"{bench.url}/{CANARIES['url path']}{query}", headers=header)
    yield mcp(bench, server_url=f"http://127.0.0.1:9/{CANARIES['url path']}{query}", headers=header)
    yield mcp(bench, server_url=f"http://u:{CANARIES['url password']}@127.0.0.1:9/{CANARIES['url path']}{query}")
    yield mcp(bench, server_url=f"https://10.1.2.3/{CANARIES['url path']}{query}", headers=header)
    yield mcp(bench, server_url=f"https://wiki.example/{CANARIES['url path']}{query}", headers=header)
    yield mcp(bench, headers={"X-Canary": CANARIES["mcp header"] + "\n"})
    yield mcp(bench, headers=[CANARIES["mcp header"]], authorization={"token": CANARIES["mcp authorization"]})


MODELS = ["gpt-4.1", "fail-500-after-tool", "fail-401", "quota", "cut-after-tool", "garbage"]
PROMPTS = ['[call echo {"message":"a"}]', '[call fail {"reason":"b"}] [then die_not {}]', "[no tool]"]


def drive(gateway, bench, guarded, token):
    """Many calls, good and bad; everything that came back, by name."""
    came = {}
    own = {"authorization": "Bearer " + CANARIES["caller's own key"]}
    for tool in tools(bench, guarded, token):
        for upstream in ("responses", "chat"):
            for number, model in enumerate(MODELS):
                body = {"model": model, "input": PROMPTS[number % 3], "tools": [tool], "stream": number % 2 == 0}
                for more in ({}, own):
                    answer = gateway.post(body, upstream, **more)
                    by = "provider" if "wiki.example" in tool["server_url"] and upstream == "responses" else "gateway"
                    came[f"{by}'s answer {len(came)}"] = answer.content + json.dumps(dict(answer.headers)).encode()
    return came


def test_no_secret_is_anywhere(marked, provider, bench, guarded, token):
    came = drive(marked, bench, guarded, token)
    assert len(came) > 200
    last = marked.post({"model": "gpt-4.1", "input": "last"}, "chat", **{"x-portkey-trace-id": "last"})
    assert last.status_code == 200
    marked.logs_of_trace("last", 1)
    rows = marked.logs(limit=500)["data"]
    assert len(rows) > 200
    places = {**came} | {f"row {row['id']}": json.dumps(marked.log(row["id"])).encode() for row in rows[:100]}
    places |= {path: marked.http.get(path).content for path in ("/metrics", "/openapi.json")}
    for path in ("/virtual-keys", "/virtual-keys/chat", "/virtual-keys/openai", "/api-keys", "/logs"):
        places[path] = marked.admin("GET", path).content
    pid = marked.process.child.pid
    places["command line"] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    places |= {str(path): path.read_bytes() for path in marked.folder.rglob("*") if path.is_file()}
    assert any(name.endswith(".db") for name in places), "the database is among the places"
    assert hits({"control": "X-Canary"}, places), "the name of the header, which is no secret, is found"
    secrets = {**CANARIES, "gateway key": marked.key}
    assert [hit for hit in hits(secrets, places) if not its_own_url(hit)] == []


def its_own_url(hit):
    """A provider that runs the tools itself tells its caller the URL that the caller sent; its bytes are not touched."""
    secret, place = hit
    return secret in ("url path", "url query") and place.startswith("provider's answer")


def test_only_the_providers_own_key_reaches_the_provider(marked, provider, bench):
    for upstream in ("responses", "chat"):
        for authorization in ("Bearer xx", "Bearer OPENAI_API_KEY", "Bearer " + marked.key, "Bearer sk-someone-elses"):
            provider.clear()
            body = {"model": "gpt-4.1", "input": '[call echo {"message":"a"}]', "tools": [mcp(bench)]}
            extra = {"authorization": authorization, "cookie": "a=b", "x-forwarded-for": "10.0.0.9", "x-api-key": marked.key}
            assert marked.post(body, upstream, **extra).status_code == 200
            for request in provider.requests():
                assert request["headers"]["authorization"] == "Bearer " + CANARIES["virtual key"]
                named = set(request["headers"])
                assert not {h for h in named if h.startswith("x-portkey") or h.startswith("x-forwarded")}
                assert not named & {"cookie", "x-api-key", "x-stainless-lang"}
                assert marked.key not in json.dumps(request)


def test_only_its_own_headers_reach_a_tool_server(marked, provider, bench):
    tool = mcp(bench, headers={"X-Mine": "1"}, authorization="the-token")
    marked.ask({"model": "gpt-4.1", "input": '[call echo {"message":"a"}]', "tools": [tool]}, "chat")
    (call,) = bench.started()
    assert (call["headers"]["x-mine"], call["headers"]["authorization"]) == ("1", "Bearer the-token")
    text = json.dumps(call["headers"])
    assert marked.key not in text and CANARIES["virtual key"] not in text and "x-portkey" not in text


def test_a_key_of_the_environment_is_offered_and_not_kept(marked):
    (row,) = [v for v in marked.admin("GET", "/virtual-keys").json()["data"] if v["slug"] == "openai"]
    assert "environment" in json.dumps(row).lower()
    files = {str(p): p.read_bytes() for p in marked.data.rglob("*") if p.is_file()}
    assert hits({"key": CANARIES["provider key of the environment"]}, files) == []
