"""Finds a secret in bytes in any of the ways in which it may be written."""
import base64
import urllib.parse


def spellings(secret):
    """The secret plain, URL-encoded, JSON-escaped, hexadecimal, and as Base64 at each of three offsets."""
    raw = secret.encode()
    yield raw
    yield urllib.parse.quote(secret, safe="").encode()
    yield raw.hex().encode()
    for offset in range(3):
        # Only the characters that do not depend on the neighbours.
        padded = base64.b64encode(b"\0" * offset + raw)
        start, cut = -(-offset * 8 // 6), (len(raw) + offset) % 3
        inner = padded[start:len(padded) - (4 if cut else 0)]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def hits(secrets, places):
    """(name of the secret, name of the place) wherever one is found."""
    return [
        (name, place) for place, content in places.items() for name, secret in secrets.items()
        if any(spelling in content for spelling in set(spellings(secret)))
    ]
