"""Reload: SIGHUP and the admin API read the settings anew; what is wrong changes nothing."""
import json
import signal
import ssl
import subprocess
import socket
import shutil

import pytest

from bed.gateway import Gateway
from bed.process import eventually
from bed.servers import mcp
from bed.stream import final, read_events, text

FEW = '[limits]\nturns = 1\n'
MANY = '[limits]\nturns = 8\n'


class Changing(Gateway):
    """A gateway with a settings file that a test rewrites."""

    def __init__(self, folder, settings, provider, env=None):
        self.file = folder / "portunus.toml"
        self.write(settings)
        super().__init__(folder, env, ["--config", str(self.file)])
        self.make_virtual_key("chat", "openai-chat", provider.base_url)
        self.key = self.make_key("reload")

    def write(self, settings):
        self.file.write_text(settings, encoding="utf-8")

    def reload(self):
        return self.admin("POST", "/portunus/reload")

    def hangup(self, said):
        """SIGHUP; waits for a new line of the log."""
        self.process.child.send_signal(signal.SIGHUP)
        return self.process.wait_for(said)


@pytest.fixture
def changing(tmp_path, the_provider):
    made = []

    def make(settings, env=None):
        made.append(Changing(tmp_path, settings, the_provider, env))
        return made[-1]
    yield make
    for gateway in made:
        gateway.stop()


def ask(server, prompt='[call echo {"message":"a"}]', **fields):
    return {"model": "gpt-4.1", "input": prompt, "tools": [mcp(server)], **fields}


def turns_fail(gateway, server):
    answer = gateway.post(ask(server), "chat").json()
    return "turn" in json.dumps(answer.get("error") or {})


def test_a_request_that_runs_keeps_its_settings_and_the_next_has_the_new(changing, provider, bench):
    gateway = changing(MANY)
    body = ask(bench, '[call sleep {"seconds":1}] [then echo {"message":"b"}]', stream=True)
    with gateway.http.stream("POST", "/v1/responses", json=body, headers=gateway.headers("chat")) as answer:
        bench.wait_for("start", "sleep")
        gateway.write(FEW)
        report = gateway.reload().json()
        assert (report["changed"], report["restart"]) == (["limits.turns"], [])
        assert turns_fail(gateway, bench)
        assert final(list(read_events(answer)))["status"] == "completed"
    assert len(bench.started("echo")) == 2, "the one that ran, and the one of the request that was too long"


def test_a_hangup_reloads_too_and_sessions_stay_warm(changing, provider, everything):
    gateway = changing(FEW)
    assert turns_fail(gateway, everything)
    gateway.write(MANY)
    gateway.hangup("settings reloaded")
    response = gateway.ask(ask(everything), "chat")
    assert response["status"] == "completed"
    assert [row["cached"] for row in gateway.log_of(response)["tool_lists"]] == [True]


BAD = 'listn = "x"\n[limits]\nturns = 0\nbody_bytes = "many"\n'


def check_problems(gateway, problems):
    assert {(p["path"], p["place"]) for p in problems} == {
        ("listn", f"{gateway.file}:1:1"), ("limits.turns", f"{gateway.file}:3:1"), ("limits.body_bytes", f"{gateway.file}:4:1"),
    }


def test_what_is_wrong_changes_nothing(changing, provider, bench):
    gateway = changing(FEW)
    gateway.write(BAD)
    answer = gateway.reload()
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "invalid_settings", answer.text
    check_problems(gateway, answer.json()["problems"])
    said = gateway.run("reload", "--config", str(gateway.file), "-o", "json")
    assert said.returncode == 1
    check_problems(gateway, json.loads(said.stdout)["problems"])
    checked = gateway.run("check", "--config", str(gateway.file), "-o", "json")
    assert json.loads(checked.stdout)["problems"] == json.loads(said.stdout)["problems"]
    gateway.hangup("settings not reloaded")
    assert f"{gateway.file}:3:1" in gateway.process.output()
    assert turns_fail(gateway, bench), "the old settings stay"


def test_broken_toml_is_named_by_line_and_column(changing, provider):
    gateway = changing(FEW)
    gateway.write("[limits]\nturns = = 1\n")
    (problem,) = gateway.reload().json()["problems"]
    assert problem["place"] == f"{gateway.file}:2:9" and problem["message"]


def test_what_needs_a_restart_is_named(changing, provider, bench):
    gateway = changing(FEW)
    gateway.write('core_dumps = true\n[log]\nqueue = 7\n' + MANY)
    done = gateway.run("reload", "--config", str(gateway.file), "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["changed"], sorted(report["restart"])) == (["limits.turns"], ["core_dumps", "log.queue"])
    gateway.process.wait_for("need a restart")
    again = gateway.reload().json()
    assert (again["changed"], sorted(again["restart"])) == ([], ["core_dumps", "log.queue"])


def test_an_address_that_is_no_longer_allowed_is_refused(changing, provider, bench):
    gateway = changing('[mcp]\nallow = ["127.0.0.0/8"]\n', {"PORTUNUS_MCP__ALLOW": "127.0.0.0/8"})
    assert gateway.ask(ask(bench), "chat")["status"] == "completed"
    # The environment is stronger than the file, and nobody changes it from outside.
    gateway.write('[mcp]\nallow = []\n')
    assert gateway.reload().json()["changed"] == []
    assert gateway.ask(ask(bench), "chat")["status"] == "completed"


def test_the_allow_list_changes_at_once(changing, provider, bench):
    gateway = changing('[mcp]\nallow = ["127.0.0.0/8"]\n', {"PORTUNUS_MCP__ALLOW": None})
    assert gateway.ask(ask(bench), "chat")["status"] == "completed"
    gateway.write('[mcp]\nallow = ["10.0.0.0/8"]\n')
    assert gateway.reload().json()["changed"] == ["mcp.allow"]
    refused = gateway.post(ask(bench), "chat")
    assert refused.status_code == 400 and len(bench.started()) == 1, refused.text


def test_the_key_of_a_provider_is_read_from_its_file_anew(changing, provider, tmp_path):
    secret = tmp_path / "groq"
    secret.write_text("sk-first\n")
    gateway = changing('[providers]\nallow = []\n', {"GROQ_API_KEY_FILE": str(secret)})
    keys = lambda: {row["slug"]: row["masked_key"] for row in gateway.admin("GET", "/virtual-keys").json()["data"]}
    first = keys()["groq"]
    secret.write_text("sk-other-and-longer\n")
    assert gateway.reload().json()["changed"] == ["GROQ_API_KEY"]
    assert keys()["groq"] != first
    secret.unlink()
    problem = gateway.reload().json()["problems"][0]
    assert problem["path"] == "GROQ_API_KEY_FILE"
    assert "groq" in keys()


def test_the_level_of_the_log_changes(changing, provider):
    gateway = changing('[log]\nlevel = "warn"\n')
    gateway.write('[log]\nlevel = "debug"\n')
    assert gateway.reload().json()["changed"] == ["log.level"]
    gateway.http.get("/livez")
    gateway.process.wait_for("answered.*/livez")


def test_only_the_admin_token_reloads(changing, provider):
    gateway = changing(FEW)
    answer = gateway.admin("POST", "/portunus/reload", token=gateway.make_key("scoped", scopes=["logs.list"]))
    assert answer.status_code == 403


def certificate(folder, name):
    """A self-signed certificate and its key, in place of those that are there."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )


def served(gateway):
    """The certificate that the gateway shows, DER."""
    host, port = gateway.url.split("//")[1].split(":")
    context = ssl._create_unverified_context()
    with socket.create_connection((host, int(port)), 10) as raw, context.wrap_socket(raw) as secure:
        return secure.getpeercert(binary_form=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_certificate_is_read_anew(tmp_path):
    certificate(tmp_path, "first")
    file = tmp_path / "portunus.toml"
    file.write_text(f'[tls]\ncert = "{tmp_path}/cert.pem"\nkey = "{tmp_path}/key.pem"\n')
    gateway = Gateway(tmp_path, arguments=["--config", str(file)])
    try:
        first = served(gateway)
        certificate(tmp_path, "second")
        gateway.process.child.send_signal(signal.SIGHUP)
        assert eventually(lambda: served(gateway) != first)
        second = served(gateway)
        (tmp_path / "key.pem").write_text("none")
        gateway.process.child.send_signal(signal.SIGHUP)
        gateway.process.wait_for("settings not reloaded")
        assert served(gateway) == second
    finally:
        gateway.stop()
