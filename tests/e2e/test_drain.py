"""The end of the process: what is promised to those who are being served, and to those who come."""
import concurrent.futures
import signal
import socket
import sqlite3
import threading

import httpx

from bed.gateway import Gateway
from bed.process import eventually, free_port
from bed.servers import mcp
from bed.stream import read_events

STREAMS = 200
CALLS = 20


def start(folder, provider, **env):
    gateway = Gateway(folder, {"PORTUNUS_METRICS__LISTEN": f"127.0.0.1:{free_port()}", **env})
    gateway.probes = httpx.Client(base_url=f"http://{gateway.env['PORTUNUS_METRICS__LISTEN']}")
    gateway.make_virtual_key("chat", "openai-chat", provider.base_url)
    gateway.make_virtual_key("responses", "openai", provider.base_url)
    gateway.key = gateway.make_key("drain")
    return gateway


def inflight(gateway):
    lines = gateway.probes.get("/metrics").text.splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("portunus_inflight_requests ")))


def read_to_end(connection):
    """All that the gateway still says on an open connection."""
    connection.settimeout(60)
    pieces = []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    connection.close()
    return b"".join(pieces)


def everybody(connections):
    with concurrent.futures.ThreadPoolExecutor(len(connections)) as pool:
        return list(pool.map(read_to_end, connections))


def refused(gateway):
    host, port = gateway.url.split("//")[1].split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def crowd(gateway, bench, seconds):
    """Streams from both kinds of provider, and tool calls that take `seconds`."""
    streams = [
        gateway.begin({"model": "slow", "input": "hi", "stream": True}, ["chat", "responses"][number % 2]) for number in range(STREAMS)
    ]
    body = {"model": "gpt-4.1", "input": '[call sleep {"seconds":%d}]' % seconds, "tools": [mcp(bench)]}
    calls = [gateway.begin({**body, "stream": number % 2 == 0}, "chat") for number in range(CALLS)]
    assert eventually(lambda: inflight(gateway) == STREAMS + CALLS, 60)
    assert eventually(lambda: len(bench.started("sleep")) == CALLS, 60)
    return streams, calls


def test_what_fits_the_grace_is_finished_and_the_rest_is_told(tmp_path, the_provider, bench):
    gateway = start(tmp_path, the_provider, PORTUNUS_SHUTDOWN__GRACE_MS="6000", PORTUNUS_SHUTDOWN__DELAY_MS="1500")
    streams, calls = crowd(gateway, bench, 3)
    gateway.process.child.send_signal(signal.SIGTERM)
    assert eventually(lambda: gateway.probes.get("/readyz").status_code == 503)
    assert gateway.probes.get("/readyz").json()["status"] == "draining"
    late = gateway.post({"model": "gpt-4.1", "input": "hi"}, "chat")
    assert late.status_code == 200 and late.headers["connection"] == "close", "taken until the listeners close"
    assert eventually(lambda: refused(gateway))
    told = everybody(streams)
    answered = everybody(calls)
    assert gateway.process.child.wait(30) == 0
    assert all(b"slept 3 s" in answer for answer in answered), "tool calls that fit the grace end well"
    for answer in told:
        assert answer.count(b"event: error") == 1 and b'"code":"shutting_down"' in answer, answer[-600:]
        assert b"response.failed" in answer and b"response.completed" not in answer
    with sqlite3.connect(gateway.data / "portunus.db") as database:
        ((rows,),) = database.execute("SELECT count(*) FROM requests")
    assert rows == STREAMS + CALLS + 1, "the log was written out"


def test_a_second_signal_ends_at_once(tmp_path, the_provider, bench):
    gateway = start(tmp_path, the_provider, PORTUNUS_SHUTDOWN__GRACE_MS="60000")
    stream = gateway.begin({"model": "slow", "input": "hi", "stream": True}, "chat")
    assert eventually(lambda: inflight(gateway) == 1)
    gateway.process.child.send_signal(signal.SIGTERM)
    gateway.process.wait_for("is ending: 1 requests still run")
    gateway.process.child.send_signal(signal.SIGTERM)
    assert gateway.process.child.wait(10) == 0
    read_to_end(stream)
    again = Gateway(tmp_path)
    try:
        (row,) = again.admin("GET", "/logs").json()["data"]
        assert row["outcome"] in ("canceled", "failed"), row
    finally:
        again.stop()


class Front:
    """A load balancer in small: a TCP proxy to a node whose `/readyz` says 200, asked every 100 ms."""

    def __init__(self, nodes):
        self.nodes = dict.fromkeys(nodes, False)
        self.refused = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        for work in (self._check, self._accept):
            threading.Thread(target=work, daemon=True).start()

    def _check(self):
        while not self.over.is_set():
            for node in list(self.nodes):
                self.nodes[node] = self._ready(node)
            self.over.wait(0.1)

    @staticmethod
    def _ready(node):
        try:
            return httpx.get(f"http://127.0.0.1:{node}/readyz", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def _accept(self):
        number = 0
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            ready = [node for node, good in self.nodes.items() if good]
            number += 1
            try:
                node = socket.create_connection(("127.0.0.1", ready[number % len(ready)]), 5)
            except (OSError, ZeroDivisionError):
                self.refused += 1
                client.close()
                continue
            for pair in ((client, node), (node, client)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self.over.set()
        self.listener.close()


def test_a_rolling_restart_refuses_and_fails_nothing(tmp_path, the_provider):
    from test_shared import MASTER_KEY, Postgres
    postgres = Postgres()
    ports = [free_port(), free_port()]
    homes = [tmp_path / f"node{port}" for port in ports]
    url = postgres.database("rolling")

    def node(number):
        env = {"PORTUNUS_DATABASE": url, "PORTUNUS_MASTER_KEY": MASTER_KEY, "PORTUNUS_LISTEN": f"127.0.0.1:{ports[number]}",
            "PORTUNUS_SHUTDOWN__DELAY_MS": "1000"}
        return Gateway(homes[number], env)
    front = over = None
    try:
        for home in homes:
            home.mkdir()
        nodes = [node(0), node(1)]
        nodes[0].make_virtual_key("chat", "openai-chat", the_provider.base_url)
        key = nodes[0].make_key("rolling")
        front = Front(ports)
        assert eventually(lambda: all(front.nodes.values()))
        over, outcomes = threading.Event(), []

        def load():
            while not over.is_set():
                # One connection each: nothing is repeated for us.
                with httpx.Client(base_url=front.url, timeout=30) as client:
                    try:
                        answer = client.post("/v1/responses", json={"model": "gpt-4.1", "input": "hi"},
                            headers={"x-portkey-api-key": key, "x-portkey-virtual-key": "chat"})
                        outcomes.append(answer.status_code)
                    except httpx.HTTPError as error:
                        outcomes.append(repr(error))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(load) for _ in range(4)]
            for number in (0, 1):
                before = len(outcomes)
                assert eventually(lambda: len(outcomes) > before + 20, 30)
                assert nodes[number].stop() == 0
                nodes[number] = node(number)
                assert eventually(lambda: all(front.nodes.values()), 30)
            before = len(outcomes)
            assert eventually(lambda: len(outcomes) > before + 20, 30)
            over.set()
            concurrent.futures.wait(workers)
        assert set(outcomes) == {200} and front.refused == 0, (len(outcomes), set(outcomes), front.refused)
    finally:
        if over:
            over.set()
        if front:
            front.stop()
        for gateway in nodes:
            gateway.stop()
        postgres.stop()
