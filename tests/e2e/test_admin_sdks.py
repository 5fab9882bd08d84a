"""Portkey's own SDKs against the admin plane: the calls as they send them, the answers as they read them."""
import json
import subprocess

import httpx
import pytest
from portkey_ai import Portkey

from bed.gateway import ROOT
from bed.process import eventually

ADMIN_MJS = ROOT / "tests" / "e2e" / "clients" / "admin.mjs"
SECRET = "sk-of-an-sdk-0123456789"


class Python:
    """Calls `virtual_keys.create` and the like; answers are plain JSON."""

    def __init__(self, gateway):
        self.client = Portkey(api_key=gateway.admin_token, base_url=gateway.base_url)

    def __call__(self, path, **arguments):
        at = self.client
        for name in path.split("."):
            at = getattr(at, name)
        answer = at(**arguments)
        return json.loads(str(answer)) if hasattr(answer, "model_dump") else answer


class Node:
    """As `Python`; the names become those of the Node SDK."""

    def __init__(self, gateway):
        self.given = {"base_url": gateway.base_url, "key": gateway.admin_token}

    def __call__(self, path, **arguments):
        words = {"export_id": "exportId", "requested_data": "requestedData", "sub_type": "sub-type"}
        named = {words.get(name, name): value for name, value in arguments.items()}
        path = path.replace("virtual_keys", "virtualKeys").replace("api_keys", "apiKeys")
        command = ["node", str(ADMIN_MJS), path]
        given = json.dumps({**self.given, "arguments": [named]})
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert "failed" not in answer, answer
        return answer


@pytest.fixture(params=["python", "node"])
def sdk(request, gateway, node):
    if request.param == "node" and not node:
        pytest.skip("Node or its packages are not installed")
    call = (Python if request.param == "python" else Node)(gateway)
    call.name = request.param
    return call


def test_virtual_keys(sdk, gateway):
    slug = sdk("virtual_keys.create", name=f"vk {sdk.name}", provider="openai", key=SECRET, note="a")["data"]["slug"]
    assert slug in [item["slug"] for item in sdk("virtual_keys.list")["data"]]
    sdk("virtual_keys.update", slug=slug, note="b")
    one = gateway.admin("GET", f"/virtual-keys/{slug}").json()
    assert one["note"] == "b" and SECRET not in json.dumps(one)
    assert sdk("virtual_keys.retrieve", slug=slug)
    sdk("virtual_keys.delete", slug=slug)
    assert gateway.admin("GET", f"/virtual-keys/{slug}").status_code == 404


def test_api_keys(sdk, gateway):
    made = sdk("api_keys.create", type="workspace", sub_type="service", name=f"key {sdk.name}", scopes=["models.list"])
    assert gateway.admin("GET", "/models", token=made["key"]).status_code == 200
    sdk("api_keys.update", id=made["id"], name="renamed")
    assert sdk("api_keys.retrieve", id=made["id"])["name"] == "renamed"
    assert made["id"] in [item["id"] for item in sdk("api_keys.list")["data"]]
    rotated = gateway.admin("POST", f"/api-keys/{made['id']}/rotate").json()  # no SDK has a call for it
    assert gateway.admin("GET", "/models", token=rotated["key"]).status_code == 200
    sdk("api_keys.delete", id=made["id"])
    assert gateway.admin("GET", "/models", token=rotated["key"]).status_code == 401


def test_integrations_and_providers(sdk, gateway, the_provider):
    slug = f"int-{sdk.name}"
    made = sdk("integrations.create", name="Mine", slug=slug, ai_provider_id="openai", key=SECRET,
        configurations={"custom_host": the_provider.base_url})
    assert made["slug"] == slug
    assert slug in [item["slug"] for item in sdk("integrations.list")["data"]]
    sdk("integrations.update", slug=slug, description="theirs")
    one = sdk("integrations.retrieve", slug=slug)
    assert (one["description"], one["masked_key"]) == ("theirs", "…6789")
    assert sdk("integrations.models.list", slug=slug)["total"] == 0
    assert sdk("integrations.workspaces.list", slug=slug)["total"] == 1
    second = sdk("providers.create", name="Second", slug=f"{slug}-2", integration_id=made["id"])["slug"]
    assert second in [item["slug"] for item in sdk("providers.list")["data"]]
    sdk("providers.update", slug=second, note="n")
    assert sdk("providers.retrieve", slug=second)["integration_id"] == made["id"]
    assert gateway.post({"model": "gpt-4.1", "input": "hi"}, second).status_code == 200
    sdk("providers.delete", slug=second)
    sdk("integrations.delete", slug=slug)
    assert gateway.admin("GET", f"/virtual-keys/{slug}").status_code == 404


def test_logs_are_inserted_and_exported(sdk, gateway):
    trace_id = f"sdk-{sdk.name}"
    sdk("logs.create", request={"url": "https://api.openai.com/v1/responses", "method": "POST", "headers": {},
            "body": {"model": "gpt-4.1", "input": "told"}},
        response={"status": 200, "headers": {}, "body": {"usage": {"input_tokens": 3, "output_tokens": 2}},
            "response_time": 9},
        metadata={"trace_id": trace_id, "team": "blue"})
    (row,) = gateway.logs_of_trace(trace_id, 1)
    assert (row["source"], row["total_units"]) == ("inserted", 5)
    made = sdk("logs.exports.create", filters={"trace_id": "none"}, requested_data=["id", "trace_id", "request"])
    export_id = made["id"]
    assert made["total"] == 0
    assert sdk("logs.exports.update", export_id=export_id, filters={"trace_id": trace_id})["total"] == 1
    sdk("logs.exports.start", export_id=export_id)
    assert eventually(lambda: sdk("logs.exports.retrieve", export_id=export_id)["status"] == "success")
    assert export_id in [item["id"] for item in sdk("logs.exports.list")["data"]]
    answer = httpx.get(sdk("logs.exports.download", export_id=export_id)["signed_url"])
    (line,) = [json.loads(text) for text in answer.text.splitlines()]
    assert (line["id"], line["trace_id"]) == (row["id"], trace_id)
    assert line["request"]["body"]["input"] == "told"
    stopped = sdk("logs.exports.create", filters={}, requested_data=["id"])["id"]
    sdk("logs.exports.cancel", export_id=stopped)
    assert sdk("logs.exports.retrieve", export_id=stopped)["status"] == "stopped"
