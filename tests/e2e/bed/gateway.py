"""The real gateway binary, with a data folder of its own."""
import json
import os
import pathlib
import socket
import subprocess

import httpx

from bed.process import Process, eventually
from bed.stream import read_events

ROOT = pathlib.Path(__file__).resolve().parents[3]
ADMIN_TOKEN = "test-admin-token-0123456789abcdef0123456789"


def target_folder():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"


def portunus_binary():
    return pathlib.Path(os.environ.get("PORTUNUS_BIN", target_folder() / "portunus"))


def clean_environment(extra):
    """This process's environment without provider keys and Portunus settings, plus `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PORTUNUS_", "PORTKEY_")) and not k.endswith("_API_KEY")}
    return {**kept, **extra}


class Gateway:
    """A running gateway; `admin` talks to its admin API, `post` and `stream` to its data plane."""

    def __init__(self, folder, env=None, arguments=(), admin_token=ADMIN_TOKEN):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.log_file = self.folder / "gateway.log"
        settings = {
            "PORTUNUS_LISTEN": "127.0.0.1:0",
            "PORTUNUS_DATA_DIR": str(self.data),
            "PORTUNUS_MCP__ALLOW": "127.0.0.0/8",
        }
        if admin_token:
            settings["PORTUNUS_ADMIN_TOKEN"] = admin_token
        self.admin_token = admin_token
        given = {**settings, **(env or {})}
        self.env = clean_environment({name: value for name, value in given.items() if value is not None})
        self.process = Process([portunus_binary(), *arguments], self.log_file, env=self.env)
        # A listener on all addresses is reached by loopback too.
        shown = self.process.wait_for(r"https?://(127\.0\.0\.1|0\.0\.0\.0):\d+").group(0)
        self.url = shown.replace("0.0.0.0", "127.0.0.1")
        self.process.wait_for_port(int(self.url.rsplit(":", 1)[1]))
        self.http = httpx.Client(base_url=self.url, timeout=60)
        self.key = None

    @property
    def base_url(self):
        return self.url + "/v1"

    def admin(self, method, path, token=None, **request):
        headers = {"x-portkey-api-key": token or self.admin_token}
        return self.http.request(method, "/v1" + path, headers=headers, **request)

    def make_key(self, name, **fields):
        """A gateway key, as text."""
        body = {"name": name, "scopes": ["completions.write", "models.list"], **fields}
        answer = self.admin("POST", "/api-keys/workspace/service", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["key"]

    def make_virtual_key(self, slug, provider, host, key="sk-of-the-fake", **fields):
        body = {"name": slug, "slug": slug, "provider": provider, "key": key, "custom_host": host, **fields}
        answer = self.admin("POST", "/virtual-keys", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["slug"]

    def headers(self, virtual_key="responses", key=None, **more):
        named = {"x-portkey-virtual-key": virtual_key} if virtual_key else {}
        return {"x-portkey-api-key": key or self.key, **named, **more}

    def post(self, body, virtual_key="responses", key=None, **headers):
        """A non-streamed answer, whatever its status."""
        return self.http.post("/v1/responses", json=body, headers=self.headers(virtual_key, key, **headers))

    def ask(self, body, virtual_key="responses", key=None):
        """The response object of a request that must succeed."""
        answer = self.post(body, virtual_key, key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stream(self, body, virtual_key="responses", key=None, **headers):
        """All events of a streamed answer that must begin with 200."""
        request = dict(json={**body, "stream": True}, headers=self.headers(virtual_key, key, **headers))
        with self.http.stream("POST", "/v1/responses", **request) as answer:
            if answer.status_code != 200:
                raise AssertionError(f"{answer.status_code}: {answer.read().decode()}")
            assert answer.headers["content-type"].startswith("text/event-stream")
            return list(read_events(answer))

    def logs(self, **query):
        answer = self.admin("GET", "/logs", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log(self, log_id):
        answer = self.admin("GET", f"/logs/{log_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log_of(self, response):
        """The whole log row of a response, once it is written."""
        def found():
            return [row for row in self.logs(limit=100)["data"] if row["response_id"] == response["id"]]
        assert eventually(found), f"no log row of {response['id']}"
        return self.log(found()[0]["id"])

    def logs_of_trace(self, trace_id, count):
        """The rows of a trace, newest first, once there are `count`; fails when there are more."""
        eventually(lambda: len(self.logs(trace_id=trace_id)["data"]) >= count)
        rows = self.logs(trace_id=trace_id)["data"]
        assert len(rows) == count, rows
        return rows

    def begin(self, body, virtual_key="responses", **headers):
        """Sends a request and returns the open socket, nothing read."""
        content = json.dumps(body).encode()
        head = {**self.headers(virtual_key, **headers), "host": self.url.split("//")[1],
            "content-type": "application/json", "content-length": str(len(content))}
        lines = ["POST /v1/responses HTTP/1.1", *(f"{k}: {v}" for k, v in head.items()), "", ""]
        host, port = head["host"].split(":")
        connection = socket.create_connection((host, int(port)), 10)
        connection.sendall("\r\n".join(lines).encode() + content)
        return connection

    def run(self, *arguments, stdin="", **env):
        """A `portunus` command against this gateway's data folder."""
        return subprocess.run(
            [str(portunus_binary()), *arguments], env={**self.env, "PORTUNUS_LISTEN": self.url.split("//")[1], **env},
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )

    def stop(self):
        self.http.close()
        return self.process.stop()
