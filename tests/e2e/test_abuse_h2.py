"""Abuse of HTTP/2 by hand-made frames. The connection that does it ends, the others go on."""
import re
import struct

import pytest
from hpack import Encoder
from hyperframe import frame as frames

from bed import raw
from bed.gateway import Gateway
from bed.process import eventually

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GOAWAY = 7


@pytest.fixture(scope="module")
def strict(folder, the_provider):
    home = folder / "strict-h2"
    home.mkdir()
    gateway = Gateway(home, {"PORTUNUS_LIMITS__HEADER_TIMEOUT_MS": "1500", "PORTUNUS_LIMITS__WRITE_TIMEOUT_MS": "1500"})
    gateway.make_virtual_key("responses", "openai", the_provider.base_url)
    gateway.key = gateway.make_key("strict")
    yield gateway
    gateway.stop()


@pytest.fixture
def beside(strict):
    """Good traffic on another connection, and the memory that the abuse may cost."""
    raw.forget_peak(strict)
    before = raw.memory(strict)
    yield
    for _ in range(3):
        assert strict.ask({"model": "gpt-4.1", "input": "hi"})["status"] == "completed"
    assert raw.memory(strict, "VmHWM") - before < 32 << 20
    assert eventually(lambda: open_connections(strict) <= 2, 15), "the abuser is still connected"


def open_connections(gateway):
    (count,) = re.findall(r"^portunus_connections (\d+)", gateway.http.get("/metrics").text, re.M)
    return int(count)


class H2:
    """A connection of HTTP/2 whose frames are made by hand."""

    def __init__(self, gateway, settings=None, receive_buffer=None):
        self.authority = gateway.url.split("//")[1]
        self.socket = raw.connect(gateway, receive_buffer)
        self.encoder = Encoder()
        self.send(PREFACE, settings_frame(settings or {}))
        self.stream = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        content = [part if isinstance(part, bytes) else part.serialize() for part in parts]
        self.socket.sendall(b"".join(content))

    def block(self, path="/openapi.json", *more):
        fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", self.authority), *more]
        return self.encoder.encode(fields)

    def headers(self, block=None, flags=("END_HEADERS", "END_STREAM")):
        self.stream += 2
        made = frames.HeadersFrame(self.stream, data=self.block() if block is None else block)
        for flag in flags:
            made.flags.add(flag)
        return made

    def read(self):
        """The types and bodies of the frames that come until the end; pings are answered."""
        got, rest = [], b""
        while True:
            while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
                length = int.from_bytes(rest[:3], "big")
                got.append((rest[3], rest[9 : 9 + length]))
                if rest[3] == 6 and not rest[4] & 1:
                    self.answer_ping(rest[9:17])
                rest = rest[9 + length :]
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return got
            if not part:
                return got
            rest += part

    def answer_ping(self, data):
        ping = frames.PingFrame(0, opaque_data=data)
        ping.flags.add("ACK")
        try:
            self.send(ping)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def goes_away(self):
        """The error code of the last GOAWAY."""
        bodies = [body for kind, body in self.read() if kind == GOAWAY]
        assert bodies, "no GOAWAY"
        return struct.unpack(">I", bodies[-1][4:8])[0]

    def drip(self, count):
        """Opens the window by one byte at a time; whether the gateway ends that."""
        self.socket.settimeout(0.02)
        for _ in range(count):
            try:
                self.send(frames.WindowUpdateFrame(self.stream, window_increment=1))
                while self.socket.recv(1 << 16):
                    pass
                return True
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return True
        return False

    def flood(self, made, count):
        """Sends until the gateway has had enough."""
        try:
            for _ in range(count):
                self.send(*made())
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass


def settings_frame(settings):
    return frames.SettingsFrame(0, settings=settings)


def reset(stream):
    return frames.RstStreamFrame(stream, error_code=8)


def test_rapid_reset(strict, beside):
    with H2(strict) as h2:
        h2.flood(lambda: (h2.headers(), reset(h2.stream)), 5000)
        assert h2.goes_away() == 11, "ENHANCE_YOUR_CALM"


def test_resets_by_our_own_errors(strict, beside):
    """The client makes the gateway reset its streams (a window of zero), which costs as much."""
    with H2(strict) as h2:
        zero = lambda: frames.WindowUpdateFrame(h2.stream, window_increment=(1 << 31) - 1)
        h2.flood(lambda: (h2.headers(), zero()), 5000)
        assert h2.goes_away() == 11


def test_continuation_flood(strict, beside):
    with H2(strict) as h2:
        h2.send(h2.headers(flags=("END_STREAM",)))
        # Without an end, fields that a decoder may not keep.
        block = h2.encoder.encode([("x-%d" % n, "y" * 100) for n in range(100)])
        h2.flood(lambda: (frames.ContinuationFrame(h2.stream, data=block),), 20_000)
        assert h2.goes_away() in (1, 11)


def test_empty_continuations(strict, beside):
    with H2(strict) as h2:
        h2.send(h2.headers(flags=("END_STREAM",)))
        h2.flood(lambda: (frames.ContinuationFrame(h2.stream, data=b""),), 100_000)
        h2.read()


def test_a_header_list_over_the_cap(strict, beside):
    with H2(strict) as h2:
        # One entry of the table, named again and again: small on the wire.
        h2.encoder.encode([("x-bomb", "y" * 4000)])
        block = h2.block("/livez", *[("x-bomb", "y" * 4000)] * 2000)
        first, rest = block[:16000], block[16000:]
        h2.send(h2.headers(first, ("END_STREAM",) if rest else ("END_HEADERS", "END_STREAM")))
        while rest:
            part, rest = rest[:16000], rest[16000:]
            more = frames.ContinuationFrame(h2.stream, data=part)
            if not rest:
                more.flags.add("END_HEADERS")
            h2.send(more)
        statuses = [body for kind, body in h2.read() if kind in (1, 3, GOAWAY)]
        assert statuses, "refused: 431, a reset or GOAWAY"


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("made", [
    lambda: settings_frame({4: 65535}), lambda: frames.PingFrame(0, opaque_data=b"x" * 8),
    lambda: frames.PriorityFrame(1, depends_on=0, stream_weight=1),
], ids=["settings", "ping", "priority"])
def test_floods_of_control_frames(strict, beside, made, reads):
    with H2(strict, receive_buffer=None if reads else 4096) as h2:
        h2.socket.settimeout(3)
        h2.flood(lambda: [made()] * 100, 2000)
        if reads:
            h2.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                h2.read()
                raise TimeoutError


def test_a_window_that_stays_shut(strict, beside):
    with H2(strict, {4: 0}) as h2:
        h2.send(*[h2.headers() for _ in range(100)])
        assert h2.goes_away() == 0
    assert open_connections(strict) <= 2


def test_a_window_of_one_byte(strict, beside):
    with H2(strict, {4: 1}) as h2:
        h2.send(h2.headers())
        assert h2.drip(400), "it may read a byte at a time for ever"


def test_a_client_that_reads_slowly_but_reads_gets_all(strict):
    """The window opens by less than an answer, again and again."""
    expected = len(strict.http.get("/openapi.json").content)
    with H2(strict, {4: 4096}) as h2:
        h2.send(h2.headers())
        got = 0
        while got < expected:
            kind, flags, body = next_frame(h2.socket)
            if kind == 0:
                got += len(body)
                h2.send(frames.WindowUpdateFrame(1, window_increment=len(body) or 1))
                h2.send(frames.WindowUpdateFrame(0, window_increment=len(body) or 1))
        assert got == expected


def next_frame(connection):
    head = connection.recv(9, 0x100)  # MSG_WAITALL
    length = int.from_bytes(head[:3], "big")
    return head[3], head[4], connection.recv(length, 0x100) if length else b""


def test_a_preface_and_then_nothing(strict, beside):
    with H2(strict) as h2:
        h2.read()
