"""HTTP by hand, for what no client would send."""
import json
import socket


class Answer:
    """One answer of HTTP/1; `raw` is all that came."""

    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.raw = raw
        self.status = int(first.split(" ")[1]) if first else None
        self.headers = dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in fields))

    def error(self):
        return json.loads(self.body)["error"]


def connect(gateway, receive_buffer=None):
    host, port = gateway.url.split("//")[1].split(":")
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect((host, int(port)))
    return connection


def read_all(connection):
    """What comes until the gateway closes."""
    parts = []
    while True:
        try:
            part = connection.recv(1 << 16)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def head(gateway, *fields, line="POST /v1/responses HTTP/1.1", key=True):
    """A head that is good but for the `fields`."""
    own = [f"host: {gateway.url.split('//')[1]}", "content-type: application/json"]
    if key:
        own += [f"{name}: {value}" for name, value in gateway.headers().items()]
    return "\r\n".join([line, *own, *fields, "", ""]).encode("latin-1")


def exchange(gateway, content):
    """The answer to these bytes, read until the gateway closes, which must not hang on our next ones."""
    with connect(gateway) as connection:
        pieces = [content] if isinstance(content, bytes) else content
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return Answer(read_all(connection))


def memory(gateway, name="VmRSS"):
    """A line of the process's status, in bytes; `VmHWM` is the most since `forget_peak`."""
    with open(f"/proc/{gateway.process.child.pid}/status", encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith(name + ":")]
    return int(line.split()[1]) * 1024


def forget_peak(gateway):
    with open(f"/proc/{gateway.process.child.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
