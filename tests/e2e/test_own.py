"""The gateway never calls itself, whatever the allow-list opens, and it leaves no core dump."""
import os
import re
import resource
import signal
import socket

import pytest

from bed.gateway import Gateway
from bed.servers import mcp


class At:
    def __init__(self, url):
        self.url = url


def refusal(gateway, url):
    answer = gateway.post({"model": "gpt-4.1", "input": "hi", "tools": [mcp(At(url), "own")]}, "chat")
    assert answer.status_code in (400, 424), answer.text
    return answer.json()["error"]["message"]


SPELLINGS = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"]


@pytest.mark.parametrize("host", SPELLINGS)
def test_its_own_address_is_refused_though_the_network_is_open(gateway, provider, host):
    message = refusal(gateway, f"http://{host}:{gateway.url.rsplit(':', 1)[1]}/v1/responses")
    assert "orbidden" in message or "gateway itself" in message, message
    assert provider.requests() == []


def test_its_own_address_is_named_as_such(gateway, provider):
    assert "is this gateway itself" in refusal(gateway, gateway.url + "/mcp")
    made = gateway.admin("POST", "/virtual-keys", json={
        "name": "self", "provider": "openai", "key": "sk", "custom_host": gateway.base_url,
    })
    assert made.status_code == 400 and "is this gateway itself" in made.text


def own_addresses():
    """Addresses of this machine that are not loopback."""
    found = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return {address for address in found if not address.startswith("127.")}


def test_a_listener_on_all_addresses_is_known_on_each(tmp_path, provider):
    settings = {"PORTUNUS_LISTEN": "0.0.0.0:0", "PORTUNUS_INSECURE_BIND": "true", "PORTUNUS_MCP__ALLOW": "0.0.0.0/0"}
    settings["PORTUNUS_METRICS__LISTEN"] = "127.0.0.1:0"
    gateway = Gateway(tmp_path, settings)
    try:
        gateway.make_virtual_key("chat", "openai-chat", provider.base_url)
        gateway.key = gateway.make_key("own")
        port = gateway.url.rsplit(":", 1)[1]
        for address in {"127.0.0.1", "127.8.8.8", *own_addresses()}:
            assert "is this gateway itself" in refusal(gateway, f"http://{address}:{port}/mcp"), address
    finally:
        gateway.stop()


def limits(gateway):
    with open(f"/proc/{gateway.process.child.pid}/limits", encoding="utf-8") as file:
        return re.search(r"Max core file size\s+(\S+)\s+(\S+)", file.read()).groups()


def dies_with_a_dump(gateway):
    """Whether the system says that the process left a core dump."""
    os.kill(gateway.process.child.pid, signal.SIGQUIT)
    # Looked at without being taken: the bed waits for the process too.
    return os.waitid(os.P_PID, gateway.process.child.pid, os.WEXITED | os.WNOWAIT).si_code == os.CLD_DUMPED


@pytest.fixture
def dumps_allowed(tmp_path, monkeypatch):
    """What the gateway is started with would leave a dump, in its folder."""
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("this system allows no core dump at all")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_it_leaves_no_core_dump(tmp_path, dumps_allowed):
    gateway = Gateway(tmp_path)
    assert limits(gateway) == ("0", "0")
    assert not dies_with_a_dump(gateway)
    gateway.stop()
    assert not list(tmp_path.glob("core*"))


def test_unless_it_is_told_to(tmp_path, dumps_allowed):
    gateway = Gateway(tmp_path, {"PORTUNUS_CORE_DUMPS": "true"})
    assert limits(gateway)[0] != "0"
    dumped = dies_with_a_dump(gateway)
    gateway.stop()
    if not dumped:
        pytest.skip("this system writes no core dump of any process")
