"""Recorded traffic of OpenAI's Responses API: the folder, and each exchange in it.

`PORTUNUS_WIRE` names the folder, else it is looked for beside the project. Nothing of it is kept here."""
import dataclasses
import json
import os
import pathlib

from bed.gateway import ROOT

WIRE = pathlib.Path(os.environ.get("PORTUNUS_WIRE") or ROOT.parent / "shared" / "wire")
FOLDERS = ("openai-responses", "responses")
PLAIN = {"model": "gpt-4.1", "input": "hi"}  # asked with where the recording holds the answer alone


@dataclasses.dataclass
class Exchange:
    """One request and its answer; `body` is what was sent as the answer, byte by byte where the recording has that."""
    name: str
    method: str
    path: str
    request: object
    status: int
    body: bytes
    streamed: bool

    def events(self):
        return [json.loads(line[6:]) for line in self.body.decode().splitlines() if line.startswith("data: {")]

    def response(self):
        """The response object: the body, or what the terminal event holds."""
        return self.events()[-1]["response"] if self.streamed else json.loads(self.body)

    def answers_a_response(self):
        return self.method == "POST" and self.path == "/v1/responses"


def is_there():
    return all((WIRE / folder).is_dir() for folder in FOLDERS)


def exchanges():
    """Every exchange of both folders, in the order in which they were recorded within a file."""
    return [exchange for folder in FOLDERS for path in sorted((WIRE / folder).iterdir()) for exchange in of_file(path)]


def of_file(path):
    name = f"{path.parent.name}/{path.name}"
    if path.parent.name == "responses":
        return of_case(path, name) if path.suffix == ".json" else []
    if path.name.endswith((".sse", ".chunks.txt")):
        return [of_stream(path, name)]
    if path.suffix != ".json" or path.name.startswith("requests-"):
        return []
    return of_document(json.loads(path.read_text(encoding="utf-8")), name)


def of_document(document, name):
    if isinstance(document, list):
        return [of_pair(pair, f"{name}#{at}") for at, pair in enumerate(document) if "request" in pair]
    if "object" in document:
        return [of_pair({"request": {"method": "POST", "url": "/v1/responses", "body": None},
            "response": {"status": 200, "body": document}}, name)]
    return [of_pair(pair, f"{name}#{case}.{at}") for case, pairs in document.items() for at, pair in enumerate(pairs)]


def of_case(path, name):
    """One of `responses/`: the body may be in a file of its own."""
    pairs = json.loads(path.read_text(encoding="utf-8"))["exchanges"]
    for pair in pairs:
        if "body_file" in pair["response"]:
            pair["response"]["body"] = (path.parent / pair["response"]["body_file"]).read_bytes()
    return [of_pair(pair, f"{name}#{at}" if len(pairs) > 1 else name) for at, pair in enumerate(pairs)]


def of_pair(pair, name):
    request = pair["request"] or {"method": "POST", "url": "/v1/responses", "body": None}
    path = "/v1" + request["url"].split("/v1", 1)[1] if "/v1" in request["url"] else "/v1/responses"
    if path.rstrip("/") == "/v1" or request["method"] == "POST" and path.endswith("/responses"):
        path = "/v1/responses"
    body = pair["response"]["body"]
    streamed = isinstance(body, bytes)
    sent = request["body"] or ({**PLAIN, "stream": streamed} if request["method"] == "POST" else None)
    raw = body if streamed else json.dumps(body).encode()
    return Exchange(name, request["method"], path, sent, pair["response"]["status"], raw, streamed)


def of_stream(path, name):
    raw = path.read_bytes()
    if path.name.endswith(".chunks.txt"):
        frames = [json.loads(line) for line in raw.decode().splitlines()]
        raw = "".join(f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n" for frame in frames).encode()
    request = request_of(path.name) or {"method": "POST", "url": "/v1/responses", "body": None}
    url, body = request["url"], request["body"] or {**PLAIN, "stream": True}
    return Exchange(name, request["method"], url[url.index("/v1"):], body, 200, raw, True)


def request_of(name):
    """The request of a stream, where its source keeps it."""
    kept = json.loads((WIRE / "openai-responses" / "requests-of-the-streams.json").read_text(encoding="utf-8"))
    if name.startswith("background-stream-resume"):
        return kept["background-stream.2026-02.sse"][1]["request"]
    found = kept.get(name)
    found = found[0] if isinstance(found, list) else found
    return found and found["request"]
