"""Real MCP servers and a real model, started on free ports of loopback."""
import http.server
import json
import os
import pathlib
import socket
import sys
import threading
import time

from bed.gateway import ROOT, clean_environment
from bed.process import Process, eventually, free_port

SERVERS = ROOT / "tests" / "servers"
TOKEN = "sk_token_of_the_guarded_server"


class Server:
    """A running server with its `url`."""

    def __init__(self, process, port, path):
        self.process = process
        process.wait_for_port(port)
        self.url = f"http://127.0.0.1:{port}{path}"

    def stop(self):
        self.process.stop()


def node_modules():
    return pathlib.Path(os.environ["PORTUNUS_TEST_NODE_MODULES"])


def everything(folder, mode):
    """npm's reference server; `mode` is streamableHttp or sse."""
    port = free_port()
    script = node_modules() / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    process = Process(["node", script, mode], folder / f"everything-{mode}.log", env=clean_environment({"PORT": str(port)}))
    return Server(process, port, "/sse" if mode == "sse" else "/mcp")


class Workbench(Server):
    """Our own server on fastmcp, which writes down each call."""

    def __init__(self, folder, name, *options):
        port = free_port()
        self.journal = folder / f"{name}.jsonl"
        self.journal.touch()
        command = [sys.executable, SERVERS / "workbench.py", port, self.journal, *options]
        super().__init__(Process(command, folder / f"{name}.log"), port, "/mcp")

    def events(self):
        return [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]

    def started(self, tool=None):
        """The calls that began, of one tool or of all."""
        return [e for e in self.events() if e["event"] == "start" and tool in (None, e["tool"])]

    def wait_for(self, event, tool):
        """The first entry of this event and tool."""
        def found():
            return [e for e in self.events() if e["event"] == event and e["tool"] == tool]
        assert eventually(found), f"no {event} of {tool}"
        return found()[0]

    def clear(self):
        self.journal.write_text("", encoding="utf-8")


def llama(folder):
    """A small language model on llama.cpp's server."""
    port = free_port()
    command = [sys.executable, SERVERS / "llama.py", port, SERVERS / "tool-template.jinja"]
    process = Process(command, folder / "llama.log")
    # On a busy machine with a cold page cache the weights take their time.
    process.wait_for(r"\bready http://", 300)
    return Server(process, port, "/v1")


def mcp(server, label="bench", **fields):
    """The `mcp` tool of a request for this server, approval never unless said otherwise."""
    return {"type": "mcp", "server_label": label, "server_url": server.url, "require_approval": "never", **fields}


class Silent:
    """Accepts connections, reads, and never answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/mcp"
        self.opened, self.ended_at = threading.Event(), []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=[connection], daemon=True).start()

    def _read(self, connection):
        with connection:
            while self._more(connection):
                self.opened.set()
        self.ended_at.append(time.time())

    @staticmethod
    def _more(connection):
        try:
            return connection.recv(65536)
        except OSError:
            return b""

    def wait_for_connection(self):
        assert self.opened.wait(10), "nobody came"

    def wait_for_end(self):
        """When the first connection ended, Unix time in seconds."""
        assert eventually(lambda: self.ended_at), "the connection was kept"
        return self.ended_at[0]

    def stop(self):
        self.listener.close()


class Redirecting:
    """An HTTP server that sends everybody to `target`."""

    def __init__(self, target):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                seen.append(self.path)
                self.send_response(307)
                self.send_header("location", target)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mcp"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hits(self):
        return len(self.seen)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
