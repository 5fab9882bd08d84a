"""What is missing for a while: room on the disk, the database's lock, file descriptors, the right time, the process itself."""
import concurrent.futures
import glob
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading

import httpx
import pytest

from bed.gateway import Gateway, portunus_binary
from bed.process import eventually, free_port
from bed.servers import mcp
from bed.stream import text

HI = {"model": "gpt-4.1", "input": "hi"}


def prepared(gateway, provider):
    gateway.make_virtual_key("chat", "openai-chat", provider.base_url)
    gateway.key = gateway.make_key("hard times")
    return gateway


def counts(gateway):
    """The fate of the log's rows."""
    lines = gateway.http.get("/metrics").text.splitlines()
    fates = {}
    for line in lines:
        if line.startswith("portunus_log_rows_total{"):
            name, value = line.rsplit(" ", 1)
            fates[name.split('"')[1]] = int(float(value))
    return fates


def lost(gateway):
    return counts(gateway).get("dropped", 0)


def even(gateway):
    """Whether every row has met its fate."""
    found = counts(gateway)
    return found["sent"] == found.get("stored", 0) + found.get("dropped", 0)


def durable(gateway, name="more"):
    return gateway.admin("POST", "/api-keys/workspace/service", json={"name": name, "scopes": ["completions.write"]})


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def fill(folder):
    """Leaves no byte; the file that takes them."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass
    return ballast


def test_a_full_disk_costs_what_is_stored_and_not_the_answers(small_disk, tmp_path, the_provider):
    gateway = prepared(Gateway(tmp_path, {"PORTUNUS_DATA_DIR": str(small_disk / "data")}), the_provider)
    try:
        first = gateway.ask(HI, "chat")
        ballast = fill(small_disk)
        # What the log has to keep is more than what is left of the last page.
        for _ in range(5):
            assert text(gateway.ask({"model": "gpt-4.1", "input": "x" * 30_000}, "chat"))
        assert eventually(lambda: lost(gateway) > 0, 20)
        refused = durable(gateway)
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "database_unavailable", refused.text
        ballast.unlink()
        assert eventually(lambda: durable(gateway).status_code == 200, 20), "it goes on by itself"
        after = gateway.ask(HI, "chat")
        for response in (first, after):
            found = gateway.http.get(f"/v1/responses/{response['id']}", headers=gateway.headers(None))
            assert found.status_code == 200
        assert eventually(lambda: even(gateway))
    finally:
        gateway.stop()


class Lock:
    """The write lock of the gateway's database, held by another process (this one)."""

    def __init__(self, gateway):
        self.connection = sqlite3.connect(gateway.data / "portunus.db", isolation_level=None, timeout=10)

    def __enter__(self):
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_):
        self.connection.execute("ROLLBACK")
        self.connection.close()


def test_a_locked_database_holds_nobody_for_long(tmp_path, the_provider):
    gateway = prepared(Gateway(tmp_path), the_provider)
    try:
        with Lock(gateway):
            # A request is not held by what it leaves behind; one that has to be on disk is refused.
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                asked = [pool.submit(gateway.post, HI, "chat") for _ in range(20)]
                refused = pool.submit(durable, gateway)
                done = concurrent.futures.wait([*asked, refused], 20)
            assert not done.not_done, "somebody waits for as long as the lock is held"
            assert {answer.result().status_code for answer in asked} == {200}
            assert refused.result().json()["error"]["code"] == "database_unavailable"
            assert gateway.http.get("/readyz").status_code == 200, "it can be read"
        assert eventually(lambda: durable(gateway).status_code == 200, 20)
    finally:
        gateway.stop()


def test_a_log_that_is_too_slow_is_cut_and_counted(tmp_path, the_provider):
    settings = {"PORTUNUS_LOG__QUEUE": "8", "PORTUNUS_LOG__BATCH": "4", "PORTUNUS_LOG__FLUSH_MS": "10"}
    gateway = prepared(Gateway(tmp_path, settings), the_provider)
    try:
        body = {**HI, "store": False}
        with Lock(gateway), concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: gateway.post(body, "chat").status_code, range(200)))
            assert set(answers) == {200}
            found = counts(gateway)
            assert found["sent"] - found.get("stored", 0) - found.get("dropped", 0) <= 8 + 2 + 4 + 1, "the queue is bounded"
            assert found.get("dropped", 0) > 100
        assert eventually(lambda: even(gateway), 20)
        found = counts(gateway)
        assert found["sent"] == 200
        with sqlite3.connect(gateway.data / "portunus.db") as database:
            ((rows,),) = database.execute("SELECT count(*) FROM requests")
        assert rows == found["stored"], "what is counted as stored is there"
    finally:
        gateway.stop()


def test_few_file_descriptors_leave_room_for_health_and_answers(tmp_path, the_provider):
    probes = f"127.0.0.1:{free_port()}"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    gateway = prepared(Gateway(tmp_path, {"PORTUNUS_METRICS__LISTEN": probes}), the_provider)
    gateway.stop()
    prefix = ["prlimit", "--nofile=64:64"]
    if shutil.which(prefix[0]) is None:
        pytest.skip("prlimit is not installed")
    gateway = Limited(tmp_path, {"PORTUNUS_METRICS__LISTEN": probes, "PORTUNUS_LIMITS__HEADER_TIMEOUT_MS": "2000"}, prefix, gateway.key)
    host, port = gateway.url.split("//")[1].split(":")
    idle = []
    try:
        assert "leaves no room for limits.connections" in gateway.process.output()
        for _ in range(40):
            idle.append(socket.create_connection((host, int(port)), 5))
        before = cpu(gateway)
        for _ in range(10):
            assert httpx.get(f"http://{probes}/livez", timeout=5).status_code == 200
            assert httpx.get(f"http://{probes}/readyz", timeout=5).status_code == 200
        for connection in idle:
            connection.close()
        assert eventually(lambda: answered(gateway), 30), "it recovers"
        assert cpu(gateway) - before < 5, "it does not spin"
        assert "cannot accept connections" not in gateway.process.output(), "descriptors did not run out"
    finally:
        gateway.stop()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


class Limited(Gateway):
    """A gateway that is started through another command."""

    def __init__(self, folder, env, prefix, key, **more):
        wrapper = folder / "wrapped"
        wrapper.write_text("#!/bin/sh\nexec " + " ".join(prefix) + f' {portunus_binary()} "$@"\n')
        wrapper.chmod(0o755)
        before = os.environ.get("PORTUNUS_BIN")
        os.environ["PORTUNUS_BIN"] = str(wrapper)
        try:
            super().__init__(folder, env, **more)
        finally:
            if before is None:
                del os.environ["PORTUNUS_BIN"]
            else:
                os.environ["PORTUNUS_BIN"] = before
        self.key = key


def answered(gateway):
    try:
        return gateway.post(HI, "chat").status_code == 200
    except httpx.HTTPError:
        return False


def cpu(gateway):
    """Seconds of processor time that the process has had."""
    with open(f"/proc/{gateway.process.child.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_a_clock_that_jumps_ends_what_has_a_date_and_nothing_else(tmp_path, the_provider, bench):
    gateway = prepared(Gateway(tmp_path), the_provider)
    gateway.stop()
    clock = tmp_path / "clock"
    clock.write_text("+0d\n")
    # The monotonic clock is the machine's: no change of the date moves it.
    libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not libraries:
        pytest.skip("libfaketime is not installed")
    env = {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    again = Gateway(tmp_path, env)
    again.key = gateway.key
    try:
        ids, first = set(), again.ask(HI, "chat")
        for jump in ("+10d", "-10d", "+0d"):
            call = {**HI, "input": '[call sleep {"seconds":1}]', "tools": [mcp(bench)]}
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                running = pool.submit(again.ask, call, "chat")
                assert eventually(lambda: len(bench.started("sleep")) == len(ids) + 1)
                clock.write_text(jump + "\n")
                response = running.result(30)
            assert response["status"] == "completed" and "slept 1 s" in str(response["output"])
            ids.add(response["id"])
            assert text(again.ask(HI, "chat")), jump
        assert len(ids) == 3
        clock.write_text("+31d\n")
        gone = again.http.get(f"/v1/responses/{first['id']}", headers=again.headers(None))
        assert gone.status_code == 404, "kept for 30 days"
        assert again.http.get("/readyz").status_code == 200
    finally:
        assert again.stop() == 0


ROUNDS = 5


def test_what_was_acknowledged_survives_kill_9(tmp_path, the_provider, bench):
    gateway = prepared(Gateway(tmp_path), the_provider)
    key, acknowledged = gateway.key, {"keys": [], "responses": [], "approvals": [], "calls": []}
    for number in range(ROUNDS):
        load(gateway, bench, acknowledged, number)
        gateway.process.child.send_signal(signal.SIGKILL)
        gateway.process.child.wait()
        gateway.http.close()
        gateway = Gateway(tmp_path)
        gateway.key = key
    try:
        assert all(acknowledged.values()), {name: len(rows) for name, rows in acknowledged.items()}
        for secret in acknowledged["keys"]:
            assert gateway.http.get("/v1/models", headers=gateway.headers(None, secret)).status_code == 200
        for found in acknowledged["responses"]:
            assert gateway.http.get(f"/v1/responses/{found}", headers=gateway.headers(None)).status_code == 200
        for found in acknowledged["approvals"]:
            assert gateway.admin("GET", f"/portunus/approvals/{found}").json()["state"] == "pending"
        with sqlite3.connect(gateway.data / "portunus.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            done = {row[0] for row in database.execute("SELECT id FROM tool_journal WHERE state = 'done'")}
        assert set(acknowledged["calls"]) <= done
    finally:
        gateway.stop()


def load(gateway, bench, acknowledged, number):
    """Work of all kinds, from four sides, until each side has been served a few times."""
    over = threading.Event()
    served = threading.Semaphore(0)
    tool, asking = mcp(bench), mcp(bench, require_approval="always")
    echo = {"model": "gpt-4.1", "input": '[call echo {"message":"a"}]'}

    def keys(_):
        acknowledged["keys"].append(durable(gateway).json()["key"])

    def responses(_):
        acknowledged["responses"].append(gateway.ask(HI, "chat")["id"])

    def approvals(_):
        output = gateway.ask({**echo, "tools": [asking]}, "chat")["output"]
        acknowledged["approvals"].extend(i["id"] for i in output if i["type"] == "mcp_approval_request")

    def calls(turn):
        headers = {**gateway.headers("chat"), "idempotency-key": f"{number}-{turn}"}
        answer = gateway.http.post("/v1/responses", json={**echo, "tools": [tool]}, headers=headers).json()
        acknowledged["calls"].extend(i["id"] for i in answer["output"] if i["type"] == "mcp_call")

    def side(work):
        turn = 0
        while not over.is_set():
            try:
                work(turn)
            except (httpx.HTTPError, AssertionError, KeyError, RuntimeError):
                return  # killed in the middle: not acknowledged
            turn += 1
            served.release()
    for work in (keys, responses, approvals, calls):
        threading.Thread(target=side, args=[work], daemon=True).start()
    for _ in range(30):
        assert served.acquire(timeout=30)
