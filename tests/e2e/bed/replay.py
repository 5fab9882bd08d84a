"""Peers that say what recordings say: a provider that gives prepared answers in turn, and an MCP server with recorded tools."""
import http.server
import json
import threading
import uuid


class Peer:
    """An HTTP server on loopback; `answer(request)` of the subclass gives (status, content type, body), or None to say nothing."""

    def __init__(self):
        peer = self
        self.released = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                answer = peer.answer(self.path, json.loads(raw))
                if answer is None:
                    self.close_connection = True
                    peer.released.wait(30)
                    return
                status, kind, body = answer
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.send_error(405)

            do_DELETE = do_GET

            def log_message(self, *_):
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Provider(Peer):
    """Answers each request with the next of `answers`: functions of the request's body, or what `answer` returns."""

    def __init__(self):
        self.answers, self.requests = [], []
        super().__init__()

    def set(self, *answers):
        self.answers, self.requests = list(answers), []

    def answer(self, path, body):
        self.requests.append(body)
        if not self.answers:
            return 500, "application/json", b'{"error":{"message":"nothing more was recorded"}}'
        answer = self.answers.pop(0)
        return answer(body) if callable(answer) else answer


class Tools(Peer):
    """A server of the revisions before 2026-07-28 for each label: `lists` by label, `results` in the order of the calls.

    A result is a text, None (never answered), or a number: the status of the HTTP answer."""

    def __init__(self):
        self.lists, self.results, self.calls, self.number = {}, [], [], 0
        super().__init__()

    def set(self, lists, results):
        """Other lists come from other URLs, since a list is kept by its URL."""
        self.number += lists is not self.lists
        self.lists, self.results, self.calls = lists, list(results), []

    def url_of(self, label):
        return f"{self.url}/{self.number}/{label}/mcp"

    def answer(self, path, message):
        method = message.get("method")
        if "id" not in message:
            return 202, "text/plain", b""
        if method == "initialize":
            return result(message, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "recorded", "version": "1"}})
        if method == "tools/list":
            return result(message, {"tools": self.lists[path.split("/")[2]]})
        if method == "tools/call":
            return self.call(message)
        return 404, "text/plain", b"not here"

    def call(self, message):
        self.calls.append((message["params"]["name"], message["params"]["arguments"]))
        output = self.results.pop(0)
        if isinstance(output, int):
            return output, "text/plain", b"no"
        return output and result(message, {"content": [{"type": "text", "text": output}]})


def result(message, value):
    return 200, "application/json", json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}).encode()


def wire_name(body, name):
    """The name under which the model was offered a tool."""
    offered = [tool.get("function", tool)["name"] for tool in body.get("tools") or []]
    return next((n for n in offered if n == name or n.endswith(f"__{name}")), name)


def responses_turn(response, items):
    """What a provider that speaks Responses answers in a turn whose output is `items`, as a stream."""
    def answer(body):
        output = [as_model_output(item, body) for item in items]
        running = {**response, "status": "in_progress", "output": [], "usage": None, "service_tier": "auto",
            "incomplete_details": None}
        events = [{"type": "response.created", "response": running}, {"type": "response.in_progress", "response": running}]
        for at, item in enumerate(output):
            events += item_events(at, item)
        status = response["status"]
        events.append({"type": f"response.{status}", "response": {**response, "output": output}})
        frames = [f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
            for number, event in enumerate(events)]
        return 200, "text/event-stream", "".join(frames).encode()
    return answer


def as_model_output(item, body):
    """A call that the recording shows as run is a function call to the model."""
    if item["type"] not in ("mcp_call", "mcp_approval_request"):
        return item
    number = uuid.uuid4().hex
    return {"id": f"fc_{number}", "type": "function_call", "status": "completed", "arguments": item["arguments"],
        "call_id": f"call_{number}", "name": wire_name(body, item["name"])}


def item_events(at, item):
    place = {"item_id": item["id"], "output_index": at}
    opened = {**item, "content": [], "status": "in_progress"} if item["type"] == "message" else item
    if item["type"] == "function_call":
        opened = {**item, "arguments": "", "status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": at, "item": opened}
    if item["type"] == "message":
        for index, part in enumerate(item["content"]):
            inside = {**place, "content_index": index}
            yield {"type": "response.content_part.added", **inside, "part": {**part, "text": ""}}
            yield {"type": "response.output_text.delta", **inside, "delta": part["text"], "logprobs": [], "obfuscation": "x"}
            yield {"type": "response.output_text.done", **inside, "text": part["text"], "logprobs": []}
            yield {"type": "response.content_part.done", **inside, "part": part}
    if item["type"] == "function_call":
        yield {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"], "obfuscation": "x"}
        yield {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def chat_turn(response, items):
    """The same turn of a provider that speaks chat completions, which knows no reasoning items."""
    def answer(body):
        calls = [as_model_output(item, body) for item in items if item["type"] not in ("message", "reasoning")]
        texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
        deltas = [{"role": "assistant", "content": text} for text in texts]
        deltas += [{"tool_calls": [{"index": at, "id": call["call_id"], "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"]}}]} for at, call in enumerate(calls)]
        stop = "length" if response["status"] == "incomplete" else "tool_calls" if calls else "stop"
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": response["model"]}
        chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": stop}]})
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        chunks.append({**head, "choices": [], "usage": usage})
        frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
        return 200, "text/event-stream", "".join(frames).encode()
    return answer
