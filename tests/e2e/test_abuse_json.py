"""JSON that breaks readers: refused with the field's path, or taken for what it says; never more than its size in work."""
import json
import time

import httpx
import pytest

from bed import raw
from bed.gateway import Gateway

MIB = 1 << 20
CAP = 60 * MIB


@pytest.fixture(scope="module")
def roomy(folder, the_provider):
    """A gateway that takes large bodies."""
    home = folder / "roomy"
    home.mkdir()
    gateway = Gateway(home, {"PORTUNUS_LIMITS__BODY_BYTES": str(CAP)})
    gateway.make_virtual_key("responses", "openai", the_provider.base_url)
    gateway.make_virtual_key("chat", "openai-chat", the_provider.base_url)
    gateway.key = gateway.make_key("roomy")
    gateway.http.timeout = httpx.Timeout(120)
    yield gateway
    gateway.stop()


def send(gateway, text, virtual_key="chat"):
    """The answer, and the most memory beyond that before it."""
    raw.forget_peak(gateway)
    before = raw.memory(gateway)
    content = text if isinstance(text, bytes) else text.encode()
    headers = {**gateway.headers(virtual_key), "content-type": "application/json"}
    answer = gateway.http.post("/v1/responses", content=content, headers=headers)
    return answer, raw.memory(gateway, "VmHWM") - before


def refused(answer, param):
    assert answer.status_code == 400, answer.text[:500]
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == param, error
    assert error["message"] and len(error["message"]) < 2000
    assert answer.headers["x-portkey-trace-id"] and answer.headers["x-request-id"]


DEEP = "[" * 100_000 + "]" * 100_000
OBJECTS = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("body, param", [
    ('{"model":"m","input":"hi","tools":%s}' % DEEP, "tools"),
    ('{"model":"m","input":"hi","tool_choice":%s}' % OBJECTS, "tool_choice"),
    ('{"model":"m","input":"hi","model":"n"}', None),
    ('{"model":"m","input":"hi","Model":"n"}', None),
    ('{"model":"m","input":"hi","mod\\u0065l":"n"}', None),
    ('{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example/","server_url":"https://b.example/"}]}',
        "tools"),
    ("{%s}" % ",".join('"k%d":1' % n for n in range(1_000_000)), None),
    ('{"model":"\\ud800","input":"hi"}', "model"),
    ('{"model":"m","input":"hi"', None), ("[]", None), ('{"model":"m"} x', None), ("", None),
    (b'{"model":"\xff","input":"hi"}', None), ('\ufeff{"model":"m","input":"hi"}', None), ("NaN", None),
])
def test_json_that_no_field_may_hold(gateway, provider, upstream, body, param):
    answer, _ = send(gateway, body, upstream)
    refused(answer, param)
    assert provider.requests() == []


@pytest.mark.parametrize("body, param", [
    ('{"model":"m","input":%s}' % DEEP, "input"),
    ('{"model":"m","input":"hi","metadata":%s}' % OBJECTS, "metadata"),
    ('{"model":"m","input":"hi","temperature":1e400}', "temperature"),
    ('{"model":"m","input":"hi","max_output_tokens":1e400}', "max_output_tokens"),
    ('{"model":"m","input":"hi","max_output_tokens":99999999999999999999999}', "max_output_tokens"),
    ('{"model":"m","input":"\\ud800 alone"}', "input"),
    ('{"model":"m","input":[{"role":"user","content":"\\udc00\\ud800"}]}', "input"),
    ('{"model":"m","input":"hi","top_p":-1e400}', "top_p"),
])
def test_json_that_a_translation_cannot_say(gateway, provider, body, param):
    answer, _ = send(gateway, body)
    refused(answer, param)
    assert provider.requests() == []


def test_a_million_keys_inside_cost_a_bounded_multiple_of_their_size(roomy, provider):
    """A tree of values is some twenty times its text: under the hundred from which it would be a hole."""
    inner = json.dumps({f"k{n}": 1 for n in range(1_000_000)})
    body = '{"model":"m","input":"hi","metadata":%s}' % inner
    answer, rise = send(roomy, body)
    refused(answer, "metadata")
    assert rise < 30 * len(body), f"{rise} bytes"


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_a_string_of_fifty_mebibytes(roomy, provider, upstream):
    body = '{"model":"gpt-4.1","input":"%s"}' % ("x" * (50 * MIB))
    raw.forget_peak(roomy)
    answer, rise = send(roomy, body, upstream)
    assert answer.status_code in (200, 413, 502), answer.text[:300]
    assert rise < 5 * CAP, f"{rise} bytes"


CYCLE = {"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}},
    "$defs": {"t": {"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}, "b": {"$ref": "#"}}}}}


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_schemas_that_refer_to_themselves_go_on_as_they_are(gateway, provider, upstream):
    body = {"model": "gpt-4.1", "input": "hi", "tools": [{"type": "function", "name": "f", "parameters": CYCLE}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": CYCLE}}}
    answer = gateway.post(body, upstream)
    assert answer.status_code == 200, answer.text
    (request,) = provider.requests()
    assert json.dumps(request["body"]).count("$ref") == 6, "neither written out nor lost"


def test_work_stays_in_proportion(gateway):
    """A refusal of the worst of them takes no longer than a hundred times what sending it takes."""
    body = ('{"model":"m","input":"hi","tools":%s}' % json.dumps([{"type": "function", "name": f"f{n}"} for n in range(50_000)])).encode()
    spent = cpu(gateway)
    answer, _ = send(gateway, body)
    assert answer.status_code < 500
    assert cpu(gateway) - spent < 100 * max(sending(body), 0.05)


def cpu(gateway):
    with open(f"/proc/{gateway.process.child.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def sending(body):
    begun = time.process_time()
    json.loads(body)
    return time.process_time() - begun


PATHS = ["/v1/../v1/logs", "/v1/%2e%2e/v1/logs", "/v1%2flogs", "/v1/%252e%252e/logs", "//v1/logs", "/V1/logs", "/v1/logs;x", "/v1/logs.", "/v1/logs/",
    "/v1/logs%00", "/v1/responses/../logs", "/v1/responses/..%2flogs", "/v1/responses/%2e%2e/logs", "/v1/./logs", "/v1/responses/resp_1%2f..%2f..%2flogs",
    "/v1\\logs", "/%76%31/logs", "/metrics/../v1/logs", "http://x/v1/logs/../logs"]


@pytest.mark.parametrize("path", PATHS)
def test_path_tricks_reach_nothing(gateway, path):
    """With the rights of an application and of the admin alike: there is one spelling of a route."""
    for key in (gateway.key, gateway.admin_token):
        line = f"GET {path} HTTP/1.1"
        answer = raw.exchange(gateway, raw.head(gateway, f"x-portkey-api-key: {key}", "connection: close", line=line, key=False))
        # Where an id of that spelling may stand, the admin token is no key of the data plane.
        expected = (400, 404) if key == gateway.key else (400, 401, 404)
        assert answer.status in expected, (path, answer.raw[:300])
        assert answer.error()["message"] and answer.headers["x-request-id"]
