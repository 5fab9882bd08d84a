"""The process: its first start, its settings, its commands, the demo."""
import hashlib
import json
import os
import re
import signal
import stat

import pytest

from bed.gateway import Gateway, clean_environment, portunus_binary
from bed.process import Process


@pytest.fixture
def fresh(tmp_path):
    gateway = Gateway(tmp_path, admin_token=None)
    yield gateway
    gateway.stop()


def printed_token(gateway):
    (token,) = {m for m in re.findall(r"\bpa-[\w-]+|\b[\w-]{32,}\b", gateway.process.output()) if accepted(gateway, m)}
    return token


def accepted(gateway, token):
    return gateway.admin("GET", "/virtual-keys", token=token).status_code == 200


def test_a_first_start_makes_its_secrets_and_prints_the_token_once(fresh):
    token = printed_token(fresh)
    assert token
    for name in ("master-key", "admin-token"):
        assert stat.S_IMODE(os.stat(fresh.data / name).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(fresh.data).st_mode) == 0o700
    fresh.stop()
    again = Gateway(fresh.folder, admin_token=None)
    try:
        assert token not in again.process.output() and accepted(again, token)
    finally:
        again.stop()


def test_keys_made_on_the_command_line_open_the_gateway(gateway, provider):
    made = gateway.run("virtual-key", "create", "--name", "cli", "--provider", "groq",
        "--custom-host", provider.base_url, "-o", "json", stdin="sk-from-stdin\n")
    assert made.returncode == 0, made.stderr
    assert "sk-from-stdin" not in made.stdout + made.stderr
    made = gateway.run("key", "create", "--name", "cli", "-o", "json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    answer = gateway.post({"model": "gpt-4.1", "input": "hi"}, "cli", key=key)
    assert answer.status_code == 200, answer.text
    assert provider.requests()[0]["headers"]["authorization"] == "Bearer sk-from-stdin"


def test_a_revoked_key_opens_nothing(gateway, provider):
    made = json.loads(gateway.run("key", "create", "--name", "short-lived", "-o", "json").stdout)
    body = {"model": "gpt-4.1", "input": "hi"}
    assert gateway.post(body, "chat", key=made["key"]).status_code == 200
    assert gateway.run("key", "revoke", made["id"]).returncode == 0
    assert gateway.post(body, "chat", key=made["key"]).status_code == 401


def test_health(gateway):
    assert gateway.http.get("/livez").status_code == gateway.http.get("/readyz").status_code == 200
    assert "portunus_" in gateway.http.get("/metrics").text
    assert gateway.http.get("/openapi.json").json()["paths"]["/v1/responses"]


def test_check_names_every_problem(tmp_path):
    config = tmp_path / "portunus.toml"
    config.write_text('listen = "nowhere"\nunknown = 1\n[limits]\nturns = -1\n', encoding="utf-8")
    checked = Process([portunus_binary(), "check", "--config", config], tmp_path / "check.log", env=clean_environment({}))
    assert checked.child.wait(20) != 0
    checked.pump.join(5)
    assert all(name in checked.output() for name in ("listen", "unknown", "limits.turns"))


def test_an_orderly_end(tmp_path):
    gateway = Gateway(tmp_path)
    assert gateway.stop() == 0


def test_the_demo_shows_the_whole_way(tmp_path):
    env = clean_environment({"PORTUNUS_LISTEN": "127.0.0.1:0", "HOME": str(tmp_path)})
    demo = Process([portunus_binary(), "demo"], tmp_path / "demo.log", env=env, cwd=tmp_path)
    try:
        demo.wait_for(r"Ctrl-C")
        shown = demo.output().lower()
        for word in ("request", "mcp_list_tools", "mcp_call", "search", "answer", "log"):
            assert word in shown
        demo.child.send_signal(signal.SIGINT)
        assert demo.child.wait(15) in (0, 130)
    finally:
        demo.stop()


def run_to_end(tmp_path, *arguments, **env):
    """A start that must fail; what it said."""
    settings = {"PORTUNUS_LISTEN": "127.0.0.1:0", "PORTUNUS_DATA_DIR": str(tmp_path / "data"), **env}
    process = Process([portunus_binary(), *arguments], tmp_path / "log", env=clean_environment(settings))
    try:
        assert process.child.wait(20) != 0
    finally:
        process.stop()
    return process.output()


def test_an_address_for_everybody_needs_tls_or_a_word(tmp_path):
    said = run_to_end(tmp_path, PORTUNUS_LISTEN="0.0.0.0:0")
    assert "insecure_bind" in said or "--insecure-bind" in said


def master_key(name):
    return hashlib.sha256(name.encode()).hexdigest()


def test_another_master_key_is_refused_at_start(tmp_path, provider):
    first = Gateway(tmp_path, {"PORTUNUS_MASTER_KEY": master_key("one")})
    first.make_virtual_key("kept", "groq", provider.base_url)
    first.stop()
    said = run_to_end(tmp_path, PORTUNUS_MASTER_KEY=master_key("two"))
    assert "master key" in said.lower() and master_key("two") not in said


def test_what_was_made_survives_a_restart(tmp_path, provider):
    first = Gateway(tmp_path)
    first.make_virtual_key("kept", "openai-chat", provider.base_url)
    key = first.make_key("kept")
    first.stop()
    second = Gateway(tmp_path)
    try:
        answer = second.post({"model": "gpt-4.1", "input": "hi"}, "kept", key=key)
        assert answer.status_code == 200, answer.text
        assert provider.requests()[0]["headers"]["authorization"] == "Bearer sk-of-the-fake"
    finally:
        second.stop()


def test_a_proxy_of_the_environment_is_not_used(tmp_path, provider, bench):
    proxy = "http://127.0.0.1:9"
    gateway = Gateway(tmp_path, {"HTTP_PROXY": proxy, "http_proxy": proxy, "ALL_PROXY": proxy, "HTTPS_PROXY": proxy})
    try:
        gateway.make_virtual_key("chat", "openai-chat", provider.base_url)
        gateway.key = gateway.make_key("proxy")
        tool = {"type": "mcp", "server_label": "bench", "server_url": bench.url, "require_approval": "never"}
        gateway.ask({"model": "gpt-4.1", "input": '[call echo {"message":"a"}]', "tools": [tool]}, "chat")
        assert len(bench.started()) == 1
    finally:
        gateway.stop()


def test_the_schema_of_the_settings(gateway):
    schema = json.loads(gateway.run("config", "schema").stdout)
    assert {"listen", "mcp", "limits"} <= set(schema["properties"])


def test_keys_of_the_environment_can_be_turned_off(tmp_path):
    gateway = Gateway(tmp_path, {"OPENAI_API_KEY": "sk-x", "PORTUNUS_PROVIDERS__ENVIRONMENT_KEYS": "false"})
    try:
        assert "openai" not in [row["slug"] for row in gateway.admin("GET", "/virtual-keys").json()["data"]]
    finally:
        gateway.stop()
