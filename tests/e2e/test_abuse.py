"""Abuse of HTTP/1: odd heads, huge and slow messages. Every answer is one of ours, good traffic goes on."""
import itertools
import re

import pytest

from bed import raw
from bed.gateway import Gateway
from bed.process import eventually

CAP = 1_000_000
ASK = b'{"model":"gpt-4.1","input":"hi"}'


@pytest.fixture(scope="module")
def strict(folder, the_provider):
    """A gateway whose caps are small and whose timers are short."""
    home = folder / "strict"
    home.mkdir()
    gateway = Gateway(home, {
        "PORTUNUS_LIMITS__BODY_BYTES": str(CAP), "PORTUNUS_LIMITS__HEADER_TIMEOUT_MS": "1500",
        "PORTUNUS_LIMITS__BODY_TIMEOUT_MS": "1500", "PORTUNUS_LIMITS__WRITE_TIMEOUT_MS": "1500",
    })
    gateway.make_virtual_key("responses", "openai", the_provider.base_url)
    gateway.key = gateway.make_key("strict")
    yield gateway
    gateway.stop()


def check(answer, status, code=None):
    """An error in OpenAI's shape, with the marks that every answer has."""
    assert answer.status == status, answer.raw[:500]
    error = answer.error()
    assert error["type"] == "invalid_request_error" or status == 408, error
    assert error["message"] and set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code, error
    assert answer.headers["x-request-id"].startswith("req_") and answer.headers["x-portkey-trace-id"]
    assert answer.headers["x-portunus-error-source"] == "client"
    assert int(answer.headers["content-length"]) == len(answer.body)


def good(gateway):
    assert gateway.ask({"model": "gpt-4.1", "input": "hi"})["status"] == "completed"


LENGTH = f"content-length: {len(ASK)}"
CHUNKED = "transfer-encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ASK), ASK)


@pytest.mark.parametrize("fields", [
    [LENGTH, CHUNKED], [CHUNKED, LENGTH], [LENGTH, "Transfer-ENCODING:chunked"], [CHUNKED, "content-length: 0"],
    [LENGTH, "content-length: 5"], ["content-length: 5, 6"], ["content-length: +32"], ["content-length: -1"],
    ["content-length: 0x20"], ["content-length: 99999999999999999999"], ["content-length: "],
    ["transfer-encoding: gzip"], ["transfer-encoding: chunked, identity"], ["transfer-encoding: xchunked"],
    ["transfer-encoding : chunked"], ["transfer-encoding:\x0bchunked"], [LENGTH, " folded: line"],
    [LENGTH, "x y: z"], [LENGTH, "x-nul: a\x00b"], [LENGTH, "no colon"], [LENGTH, "x-cr: a\rb: c"],
])
def test_heads_that_could_be_read_in_two_ways(strict, provider, fields):
    answer = raw.exchange(strict, raw.head(strict, *fields) + CHUNKS)
    check(answer, 400, "malformed_request")
    assert answer.raw.count(b"HTTP/1.1 ") == 1 and provider.requests() == []


@pytest.mark.parametrize("line", [
    "POST /v1/responses HTTP/9.9", "POST  /v1/responses HTTP/1.1", "PO ST / HTTP/1.1", "\x01 / HTTP/1.1", "POST /v1/\x7f\x00 HTTP/1.1",
    "hello",
])
def test_request_lines_that_are_none(strict, line):
    check(raw.exchange(strict, raw.head(strict, LENGTH, line=line) + ASK), 400, "malformed_request")


def test_two_lengths_on_a_connection_that_was_good_before(strict, provider):
    with raw.connect(strict) as connection:
        connection.sendall(raw.head(strict, LENGTH) + ASK)
        first = b""
        while b'"completed"' not in first or not first.rstrip().endswith(b"}"):
            first += connection.recv(1 << 16)
        provider.clear()
        connection.sendall(raw.head(strict, CHUNKED, LENGTH) + CHUNKS)
        check(raw.Answer(raw.read_all(connection)), 400, "malformed_request")
    assert provider.requests() == []


@pytest.mark.parametrize("fields", [
    [f"x-{n}: y" for n in range(200)], ["x-long: " + "y" * 65536], ["x-long: " + "y" * 8_000_000],
])
def test_heads_that_are_too_large(strict, fields):
    answer = raw.exchange(strict, raw.head(strict, *fields))
    check(answer, 431, "headers_too_large")
    assert "limits.header" in answer.error()["message"]


def test_headers_that_are_ours_or_the_connections_do_not_reach_the_provider(strict, provider):
    fields = [LENGTH, "connection: close, x-secret", "x-secret: s", "x-forwarded-for: 1.2.3.4", "proxy-authorization: p",
        "te: trailers", "upgrade: websocket", "content_length: 1", "forwarded: for=1.2.3.4", "x-forwarded-host: evil"]
    answer = raw.exchange(strict, raw.head(strict, *fields) + ASK)
    assert answer.status == 200, answer.raw
    (request,) = provider.requests()
    sent = {name.lower(): value for name, value in dict(request["headers"]).items()}
    for name in ("x-secret", "x-forwarded-for", "proxy-authorization", "te", "upgrade", "content_length", "forwarded", "x-forwarded-host"):
        assert name not in sent, name
    assert "evil" not in str(sent) and "x-portkey-api-key" not in sent


def test_a_body_over_the_cap_is_refused_before_it_is_sent(strict):
    for fields in (["content-length: 104857600"], ["content-length: 104857600", "expect: 100-continue"]):
        with raw.connect(strict) as connection:
            connection.sendall(raw.head(strict, *fields))
            answer = raw.Answer(read_answer(connection))
            check(answer, 413, "request_too_large")


def read_answer(connection):
    got = b""
    while b"\r\n\r\n" not in got or not got.endswith(b"}"):
        part = connection.recv(1 << 16)
        if not part:
            break
        got += part
    return got


@pytest.mark.parametrize("chunked", [False, True])
def test_a_hundred_mebibytes(strict, chunked):
    raw.forget_peak(strict)
    before, piece = raw.memory(strict), b" " * (1 << 20)
    pieces = (b"100000\r\n%s\r\n" % piece if chunked else piece for _ in range(100))
    field = CHUNKED if chunked else f"content-length: {100 << 20}"
    answer = raw.exchange(strict, itertools.chain([raw.head(strict, field)], pieces))
    check(answer, 413, "request_too_large")
    rise = raw.memory(strict, "VmHWM") - before
    assert rise < 3 * CAP + (2 << 20), f"{rise} bytes"


def test_expect(strict, provider):
    with raw.connect(strict) as connection:
        connection.sendall(raw.head(strict, LENGTH, "expect: 100-continue", "connection: close"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(ASK)
        assert raw.Answer(raw.read_all(connection)).status == 200


@pytest.mark.parametrize("body", [
    b"".join(b"1;%s\r\n \r\n" % (b"x" * 1000) for _ in range(100)), b"1;" + b"x" * 1_000_000, b"zz\r\n", b"fffffffffffffffffff\r\n",
    b"20\r\n" + ASK + b"XX", b"0\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
])
def test_chunks_that_are_none(strict, provider, body):
    check(raw.exchange(strict, raw.head(strict, CHUNKED) + body), 400)
    assert provider.requests() == []


def test_slow_heads_and_slow_bodies_are_dropped(strict, provider):
    with raw.connect(strict) as nothing, raw.connect(strict) as half, raw.connect(strict) as body:
        half.sendall(raw.head(strict, LENGTH)[:-4])
        body.sendall(raw.head(strict, LENGTH) + ASK[:5])
        assert raw.read_all(half) == b"" and raw.read_all(nothing) == b""
        answer = raw.Answer(raw.read_all(body))
    check(answer, 408)
    assert provider.requests() == []


def test_drops_of_a_body_do_not_make_the_timer_begin_anew(strict):
    with raw.connect(strict) as connection:
        connection.sendall(raw.head(strict, "content-length: 1000000"))
        connection.settimeout(0.2)
        got = None
        for _ in range(100):
            try:
                connection.sendall(b" ")
                got = connection.recv(1 << 16)
            except TimeoutError:
                continue
            break
        assert got and raw.Answer(got).status == 408


def test_a_client_that_does_not_read_is_dropped(strict):
    with raw.connect(strict, receive_buffer=4096) as connection:
        line = raw.head(strict, line="GET /openapi.json HTTP/1.1")
        connection.settimeout(5)
        with pytest.raises((TimeoutError, ConnectionError)):
            connection.sendall(line * 20_000)  # some hundred MB of answers
        assert eventually(lambda: open_connections(strict) <= 2, 20), "it is still served"


def open_connections(gateway):
    (count,) = re.findall(r"^portunus_connections (\d+)", gateway.http.get("/metrics").text, re.M)
    return int(count)


def test_many_silent_sockets_beside_good_traffic(strict):
    raw.forget_peak(strict)
    before, sockets = raw.memory(strict), [raw.connect(strict) for _ in range(1000)]
    for number, connection in enumerate(sockets):
        connection.sendall(raw.head(strict, LENGTH)[: number % 50])
    for _ in range(5):
        good(strict)
    assert all(raw.read_all(connection) == b"" for connection in sockets)
    for connection in sockets:
        connection.close()
    good(strict)
    assert raw.memory(strict, "VmHWM") - before < 64 << 20
