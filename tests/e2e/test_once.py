"""`Idempotency-Key`: one key, one effect, also over a process that is killed."""
import concurrent.futures
import json
import signal

import pytest

from bed.gateway import Gateway
from bed.servers import mcp
from bed.stream import final, items, read_events

ECHO = '[call echo {"message":"a"}]'


def ask(prompt, *tools, **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": list(tools), **fields}


def once(gateway, body, key, virtual_key="chat", **request):
    headers = {**gateway.headers(virtual_key), "idempotency-key": key}
    return gateway.http.post("/v1/responses", json=body, headers=headers, **request)


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_the_same_request_runs_once(gateway, provider, bench, upstream):
    body = ask(ECHO, mcp(bench))
    first, second = (once(gateway, body, f"same-{upstream}", upstream) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json() and second.headers["x-portunus-idempotent-replay"] == "true"
    assert len(bench.started()) == 1 and len(provider.requests()) == 2


def test_a_stream_is_repeated_event_by_event(gateway, provider, bench):
    body = ask(ECHO, mcp(bench), stream=True)
    first, second = (list(read_events(once(gateway, body, "stream"))) for _ in range(2))
    assert first == second and final(first)["status"] == "completed"
    assert len(bench.started()) == 1


def test_another_body_is_refused(gateway, provider, bench):
    once(gateway, ask(ECHO, mcp(bench)), "other")
    answer = once(gateway, ask("[call fail {\"reason\":\"b\"}]", mcp(bench)), "other")
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "idempotency_key_reused"
    assert [event["tool"] for event in bench.started()] == ["echo"]


def test_a_key_belongs_to_its_caller(gateway, provider, bench):
    once(gateway, ask(ECHO, mcp(bench)), "mine")
    headers = {**gateway.headers("chat", gateway.make_key("other caller")), "idempotency-key": "mine"}
    other = gateway.http.post("/v1/responses", json=ask(ECHO, mcp(bench)), headers=headers)
    assert other.status_code == 200 and "x-portunus-idempotent-replay" not in other.headers
    assert len(bench.started()) == 2


def test_of_many_at_once_one_runs(gateway, provider, bench):
    body = ask('[call sleep {"seconds":1}]', mcp(bench))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: once(gateway, body, "many"), range(8)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] + [409] * 7
    refused = [a.json()["error"]["code"] for a in answers if a.status_code == 409]
    assert set(refused) == {"idempotency_key_in_use"}
    assert len(bench.started()) == 1


def test_what_was_refused_may_be_tried_again(gateway, provider, bench):
    body = ask(ECHO, {**mcp(bench), "server_url": "http://10.0.0.1/mcp"})
    assert once(gateway, body, "again").status_code == 400
    assert once(gateway, ask(ECHO, mcp(bench)), "again").status_code == 200


def test_a_killed_process_leaves_an_outcome_that_is_told(folder, the_provider, bench):
    home = folder / "killed"
    home.mkdir()
    gateway = Gateway(home)
    gateway.make_virtual_key("chat", "openai-chat", the_provider.base_url)
    gateway.key = gateway.make_key("killed")
    body = ask('[call sleep {"seconds":30}]', mcp(bench))
    connection = gateway.begin(body, "chat", **{"idempotency-key": "killed"})
    bench.wait_for("start", "sleep")
    gateway.process.child.send_signal(signal.SIGKILL)
    gateway.process.child.wait()
    connection.close()
    again = Gateway(home)
    again.key = gateway.key
    # The same bytes: the digest is that of the body as it was sent.
    headers = {**again.headers("chat"), "idempotency-key": "killed", "content-type": "application/json"}
    answer = again.http.post("/v1/responses", content=json.dumps(body), headers=headers)
    assert answer.status_code == 409, answer.text
    error = answer.json()["error"]
    assert error["code"] == "idempotency_outcome_unknown"
    assert "'sleep' of 'bench': outcome unknown" in error["message"]
    assert len(bench.started("sleep")) == 1
    again.stop()
