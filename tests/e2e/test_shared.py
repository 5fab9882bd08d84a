"""Several processes on one PostgreSQL: what one makes the other knows, and what must happen once happens once."""
import concurrent.futures
import hashlib
import itertools
import signal
import threading
import time

import pytest

from bed.gateway import Gateway
from bed.postgres import Postgres
from bed.process import eventually
from bed.servers import mcp
from bed.stream import items, text

MASTER_KEY = hashlib.sha256(b"shared").hexdigest()
NUMBERS = itertools.count()
# As documented, and a little for the machine.
REVOKED_WITHIN_SECONDS = 2.5


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.stop()


class Shared:
    """Gateways of one database; all are stopped at the end."""

    def __init__(self, folder, postgres, provider):
        self.folder, self.provider = folder, provider
        self.url = postgres.database(f"shared{next(NUMBERS)}")
        self.gateways = []
        self.key = None

    def start(self, **env):
        home = self.folder / f"gateway{len(self.gateways)}"
        home.mkdir()
        gateway = Gateway(home, {"PORTUNUS_DATABASE": self.url, "PORTUNUS_MASTER_KEY": MASTER_KEY, **env})
        self.gateways.append(gateway)
        gateway.key = self.key
        return gateway

    def pair(self, **env):
        """Two gateways; the keys are made on the first."""
        one = self.start(**env)
        one.make_virtual_key("chat", "openai-chat", self.provider.base_url)
        one.make_virtual_key("responses", "openai", self.provider.base_url)
        one.key = self.key = one.make_key("shared")
        return one, self.start(**env)

    def stop(self):
        for gateway in self.gateways:
            gateway.stop()


@pytest.fixture
def shared(tmp_path, postgres, the_provider):
    made = Shared(tmp_path, postgres, the_provider)
    yield made
    made.stop()


def ask(prompt, *tools, **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": list(tools), **fields}


ECHO = '[call echo {"message":"a"}]'


def once(gateway, body, key):
    return gateway.http.post("/v1/responses", json=body, headers={**gateway.headers("chat"), "idempotency-key": key})


def test_processes_that_start_at_once_make_one_schema(shared):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        homes = [shared.folder / f"at-once{number}" for number in range(3)]
        for home in homes:
            home.mkdir()
        env = {"PORTUNUS_DATABASE": shared.url, "PORTUNUS_MASTER_KEY": MASTER_KEY}
        shared.gateways.extend(pool.map(lambda home: Gateway(home, env), homes))
    key = shared.gateways[0].make_key("first")
    for gateway in shared.gateways:
        assert gateway.http.get("/v1/models", headers=gateway.headers("demo", key)).status_code == 200


def test_keys_and_virtual_keys_of_one_open_the_other(shared, provider):
    _, two = shared.pair()
    assert text(two.ask(ask("hi"), "chat"))


def test_a_response_of_one_is_continued_and_deleted_on_the_other(shared, provider):
    one, two = shared.pair()
    first = one.ask(ask("my name is Ada"), "chat")
    second = two.ask(ask("go on", previous_response_id=first["id"]), "chat")
    assert second["previous_response_id"] == first["id"]
    assert "my name is Ada" in str(provider.requests()[-1]["body"])
    assert two.http.get(f"/v1/responses/{first['id']}", headers=two.headers(None)).json()["id"] == first["id"]
    assert one.http.delete(f"/v1/responses/{second['id']}", headers=one.headers(None)).status_code == 200
    assert two.http.get(f"/v1/responses/{second['id']}", headers=two.headers(None)).status_code == 404


def test_what_one_asks_is_answered_on_the_other_once(shared, provider, bench):
    one, two = shared.pair()
    tool = mcp(bench, require_approval="always")
    asked = one.ask(ask(ECHO, tool), "chat")
    (question,) = items(asked, "mcp_approval_request")
    yes = [{"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}]
    body = {"model": "gpt-4.1", "input": yes, "tools": [tool], "previous_response_id": asked["id"]}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: [one, two][number % 2].post(body, "chat"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert len(bench.started("echo")) == 1


def test_of_the_same_request_on_both_one_runs(shared, provider, bench):
    one, two = shared.pair()
    body = ask('[call sleep {"seconds":1}]', mcp(bench))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: once([one, two][number % 2], body, "both"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 409} == {"idempotency_key_in_use"}
    assert len(bench.started("sleep")) == 1
    again = [once(gateway, body, "both") for gateway in (one, two)]
    assert again[0].json() == again[1].json() and again[1].headers["x-portunus-idempotent-replay"] == "true"


def test_a_key_that_one_revokes_is_refused_by_the_other_in_time(shared, provider):
    one, two = shared.pair()
    made = one.admin("POST", "/api-keys/workspace/service", json={"name": "short", "scopes": ["completions.write"]}).json()
    assert two.post(ask("hi"), "chat", key=made["key"]).status_code == 200
    assert one.admin("DELETE", f"/api-keys/{made['id']}").status_code == 200
    revoked = time.monotonic()
    assert one.post(ask("hi"), "chat", key=made["key"]).status_code == 401
    assert eventually(lambda: two.post(ask("hi"), "chat", key=made["key"]).status_code == 401)
    assert time.monotonic() - revoked < REVOKED_WITHIN_SECONDS


def begin_sleep(gateway, bench, key, seconds):
    """A request whose tool is at work, in the background; the future of its answer."""
    count = len(bench.started("sleep"))
    answer = concurrent.futures.Future()

    def work():
        try:
            answer.set_result(once(gateway, sleeping(bench, seconds), key))
        except Exception as error:  # the process was killed
            answer.set_exception(error)
    threading.Thread(target=work, daemon=True).start()
    assert eventually(lambda: len(bench.started("sleep")) > count)
    return answer


def sleeping(bench, seconds):
    return ask('[call sleep {"seconds":%d}]' % seconds, mcp(bench))


def refused(gateway, bench, key, seconds):
    answer = once(gateway, sleeping(bench, seconds), key)
    return (answer.status_code, answer.json().get("error", {}).get("code"), answer.text)


def test_only_the_calls_of_the_dead_are_unknown(shared, provider, bench):
    dead, alive = shared.pair()
    theirs = begin_sleep(alive, bench, "alive", 20)
    begin_sleep(dead, bench, "dead", 60)
    assert refused(alive, bench, "dead", 60)[1] == "idempotency_key_in_use"
    dead.process.child.send_signal(signal.SIGKILL)
    dead.process.child.wait()

    def unknown():
        _, code, said = refused(alive, bench, "dead", 60)
        return code == "idempotency_outcome_unknown" and "'sleep' of 'bench': outcome unknown" in said
    assert eventually(unknown, 20)
    again = shared.start()
    status, code, said = refused(again, bench, "alive", 20)
    assert (status, code) == (409, "idempotency_key_in_use") and "'sleep' of 'bench': at work" in said
    finished = theirs.result(60)
    assert finished.status_code == 200, finished.text
    assert once(again, sleeping(bench, 20), "alive").json() == finished.json()
    assert len(bench.started("sleep")) == 2, "nothing ran twice"


def test_a_database_that_hangs_holds_nobody_for_long(shared, postgres, provider):
    one, _ = shared.pair()
    one.ask(ask("hi"), "chat")
    postgres.pause()
    try:
        time.sleep(2.5)  # the row of the key is no longer kept
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda _: one.post(ask("hi"), "chat"), range(30)))
        assert {(a.status_code, a.json()["error"]["code"]) for a in answers} == {(503, "database_unavailable")}
        assert all("retry-after" in answer.headers for answer in answers)
        assert time.monotonic() - begun < 12, "5 s, and as much for the machine"
        ready = one.http.get("/readyz")
        assert ready.status_code == 503 and ready.json()["degraded"] == "database_unavailable"
        assert one.http.get("/livez").status_code == 200
    finally:
        postgres.resume()
    assert eventually(lambda: one.http.get("/readyz").status_code == 200, 20)
    assert eventually(lambda: one.post(ask("hi"), "chat").status_code == 200, 20)
    assert one.http.get("/readyz").json()["degraded"] is None
