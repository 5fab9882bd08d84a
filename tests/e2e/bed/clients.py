"""One call with each of the five clients: the official SDKs of OpenAI and Portkey for Python and Node, and curl."""
import json
import subprocess

import openai
import portkey_ai
from openai import OpenAI
from portkey_ai import Portkey, createHeaders

from bed.gateway import ROOT

CALL_MJS = ROOT / "tests" / "e2e" / "clients" / "call.mjs"
SDKS = ["openai_python", "portkey_python", "openai_node", "portkey_node"]
CLIENTS = [*SDKS, "curl"]


def python_client(sdk, gateway, virtual_key, trace_id):
    named = {"api_key": gateway.key, "virtual_key": virtual_key, "trace_id": trace_id}
    if sdk == "portkey_python":
        return Portkey(**named, base_url=gateway.base_url)
    return OpenAI(api_key="xx", base_url=gateway.base_url, default_headers=createHeaders(**named))


def call(client, mode, gateway, virtual_key, trace_id, body):
    """The response (`id`, `status`, `output`, `output_text`) or the error (`error`: its status, `message`) that a client
    gives; `mode` is `create` or `stream`."""
    if client == "curl":
        return call_curl(mode, gateway, virtual_key, trace_id, body)
    if client.endswith("_python"):
        return call_python(client, mode, gateway, virtual_key, trace_id, body)
    given = {"base_url": gateway.base_url, "key": gateway.key, "virtual_key": virtual_key, "trace_id": trace_id, "body": body}
    command = ["node", str(CALL_MJS), client.removesuffix("_node"), mode]
    return json.loads(output_of(command, given))


def output_of(command, given):
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call_python(sdk, mode, gateway, virtual_key, trace_id, body):
    client = python_client(sdk, gateway, virtual_key, trace_id)
    try:
        if mode == "create":
            response = client.responses.create(**body)
        else:
            with client.responses.stream(**body) as stream:
                for _ in stream:
                    pass
                response = stream.get_final_response()
    except (openai.APIError, portkey_ai._vendor.openai.APIError) as error:
        return {"error": getattr(error, "status_code", type(error).__name__), "message": str(error)}
    return {"id": response.id, "status": response.status, "output_text": response.output_text,
        "output": [item.model_dump(mode="json") for item in response.output]}


def call_curl(mode, gateway, virtual_key, trace_id, body):
    headers = {"content-type": "application/json", "x-portkey-api-key": gateway.key, "x-portkey-virtual-key": virtual_key,
        "x-portkey-trace-id": trace_id}
    named = [word for name, value in headers.items() if value for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "-N", f"{gateway.base_url}/responses", *named, "-d", "@-"]
    said = output_of(command, {**body, "stream": mode == "stream"})
    frames = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: ")]
    response = frames[-1]["response"] if frames else json.loads(said)
    if response.get("error"):
        return {"error": "curl", "message": response["error"]["message"]}
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return {**response, "output_text": "".join(part["text"] for part in parts)}
