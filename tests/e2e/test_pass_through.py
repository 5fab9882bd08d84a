"""A request that needs nothing from the gateway reaches a Responses provider byte for byte."""
import json
import socket
import struct
import threading

import httpx

# Spellings that a parser would change: exponents, escapes, a long integer, blanks, the order of the keys.
ODD = (
    '{ "temperature":1e0,"model" : "gpt-4.1",\n "metadata":{"z":"\\u00e9\\/","a":"x"},'
    '"input":"h\\u0069","x_unknown":[12345678901234567890123, 1.50] ,"stream":%s}'
)


def send(gateway, content, **headers):
    named = gateway.headers("responses", **{"content-type": "application/json", **headers})
    return gateway.http.post("/v1/responses", content=content, headers=named)


def test_the_body_is_untouched(gateway, provider):
    for stream in ("false", "true"):
        content = ODD % stream
        answer = send(gateway, content)
        assert answer.status_code == 200, answer.text
        assert provider.requests()[-1]["raw"] == content


def test_the_answer_is_untouched(gateway, provider):
    """The same request twice, straight and through the gateway: equal but for ids and times."""
    for stream in (False, True):
        body = {"model": "gpt-4.1", "input": "hello", "stream": stream}
        straight = httpx.post(provider.base_url + "/responses", json=body)
        through = gateway.post(body, "responses")
        assert through.headers["content-type"] == straight.headers["content-type"]
        assert masked(through.text) == masked(straight.text)
        assert through.headers["x-request-id"] != straight.headers["x-request-id"]
        assert "openai-organization" not in through.headers


def masked(text):
    """Digits that count up, taken out."""
    return "".join("#" if c in "0123456789abcdef" else c for c in text)


def test_only_the_model_is_replaced_when_it_names_the_virtual_key(gateway, provider):
    tight = '{"model":"%s","metadata":{"z":"\\u00e9\\/" , "a":1e0},"input":"h\\u0069","x":[12345678901234567890123, 1.50]}'
    assert send(gateway, tight % "@responses/gpt-4.1").status_code == 200
    assert provider.requests()[-1]["raw"] == tight % "gpt-4.1"


def test_a_provider_that_runs_tools_gets_them_whole(gateway, provider):
    tool = {"type": "mcp", "server_label": "wiki", "server_url": "https://wiki.example/mcp?x=1",
        "headers": {"Authorization": "Bearer t"}, "require_approval": "never"}
    gateway.ask({"model": "gpt-4.1", "input": "What is there?", "tools": [tool]}, "responses")
    assert provider.requests()[-1]["body"]["tools"] == [tool]


def test_who_runs_the_tools_can_be_chosen(gateway, provider, bench):
    tool = {"type": "mcp", "server_label": "bench", "server_url": bench.url, "require_approval": "never"}
    body = {"model": "gpt-4.1", "input": "hi", "tools": [tool]}
    refused = gateway.post(body, "responses", **{"x-portkey-config": '{"mcp_execution":"provider"}'})
    assert refused.status_code == 400 and "mcp_execution" in refused.json()["error"]["message"]
    assert provider.requests() == []


def breaks_off(pieces):
    """A provider that answers one request with these bytes of a stream and then resets the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        asked.wait(20)  # until the client has everything that came before the reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    asked = threading.Event()
    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1", asked


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def test_a_stream_that_breaks_off_after_an_event_too_long_to_read_says_so(gateway):
    created = event("response.created", sequence_number=0, response={"id": "resp_broken", "output": [], "status": "in_progress"})
    long = event("response.odd", sequence_number=1, text="x" * (9 << 20))
    host, all_here = breaks_off([created, long])
    gateway.make_virtual_key("breaks-off", "openai", host)
    body, headers = {"model": "m", "input": "hi", "stream": True}, gateway.headers("breaks-off")
    said = b""
    with gateway.http.stream("POST", "/v1/responses", json=body, headers=headers) as answer:
        for piece in answer.iter_bytes():
            said += piece
            if len(said) >= len(created) + len(long):
                all_here.set()
    assert said.startswith(created + long)
    rest = said[len(created) + len(long):]
    assert b"event: error\n" in rest and b"event: response.failed\n" in rest, rest
    (row,) = gateway.logs_of_trace(answer.headers["x-portkey-trace-id"], 1)
    assert (row["outcome"], row["error_source"]) == ("failed", "provider")
