"""A second workspace sees nothing of the first."""
import pytest


@pytest.fixture(scope="module")
def other(gateway, the_provider):
    """A workspace with a virtual key and a key of its own."""
    made = gateway.admin("POST", "/admin/workspaces", json={"name": "Other"})
    assert made.status_code == 200, made.text
    workspace = made.json()["id"]
    gateway.make_virtual_key("theirs", "groq", the_provider.base_url, workspace_id=workspace)
    scopes = ["completions.write", "models.list", "logs.list", "logs.view", "virtual_keys.list", "virtual_keys.read",
        "virtual_keys.update", "virtual_keys.delete", "api_keys.list", "api_keys.read", "api_keys.delete"]
    return gateway.make_key("others", workspace_id=workspace, scopes=scopes)


def as_other(gateway, other, method, path, **request):
    return gateway.admin(method, path, token=other, **request)


def test_each_key_reaches_only_its_own_virtual_keys(gateway, provider, other):
    body = {"model": "gpt-4.1", "input": "hi"}
    assert gateway.post(body, "theirs", key=other).status_code == 200
    foreign = gateway.post(body, "chat", key=other)
    missing = gateway.post(body, "no-such", key=other)
    assert foreign.status_code == missing.status_code and foreign.status_code in (400, 404)
    assert foreign.text.replace("chat", "X") == missing.text.replace("no-such", "X") or foreign.json()["error"]["code"] == missing.json()["error"]["code"]
    assert gateway.post(body, "theirs").status_code == foreign.status_code
    assert len(provider.requests()) == 1


def test_logs_of_another_workspace_are_not_there(gateway, provider, other):
    row = gateway.log_of(gateway.ask({"model": "gpt-4.1", "input": "mine"}, "chat"))
    assert as_other(gateway, other, "GET", f"/logs/{row['id']}").status_code == 404
    listed = as_other(gateway, other, "GET", "/logs", params={"limit": 500}).json()["data"]
    assert row["id"] not in [r["id"] for r in listed]
    assert {r["workspace_id"] for r in listed} <= {r["workspace_id"] for r in listed if r["virtual_key"] in ("theirs", None, "chat", "no-such")}
    for query in ({"workspace_id": row["workspace_id"]}, {"after": row["id"]}):
        answer = as_other(gateway, other, "GET", "/logs", params=query)
        assert answer.status_code in (400, 403, 404), answer.text


def test_virtual_keys_of_another_workspace_are_not_there(gateway, other):
    listed = as_other(gateway, other, "GET", "/virtual-keys").json()["data"]
    assert [v["slug"] for v in listed if v["slug"] in ("chat", "responses", "theirs")] == ["theirs"]
    for method in ("GET", "DELETE"):
        assert as_other(gateway, other, method, "/virtual-keys/chat").status_code == 404
    assert as_other(gateway, other, "PUT", "/virtual-keys/chat", json={"note": "x"}).status_code == 404
    assert gateway.admin("GET", "/virtual-keys/chat").status_code == 200


def test_api_keys_of_another_workspace_are_not_there(gateway, other):
    ours = [k for k in gateway.admin("GET", "/api-keys").json()["data"] if k["name"] == "tests"]
    (key,) = ours
    for method in ("GET", "DELETE"):
        assert as_other(gateway, other, method, f"/api-keys/{key['id']}").status_code == 404
    assert key["id"] not in as_other(gateway, other, "GET", "/api-keys").text


def test_planes_are_apart(gateway, other):
    plain = gateway.make_key("data-only")
    for path in ("/logs", "/virtual-keys", "/api-keys"):
        assert gateway.admin("GET", path, token=plain).status_code == 403
    assert as_other(gateway, other, "POST", "/admin/workspaces", json={"name": "Third"}).status_code == 403
    assert gateway.post({"model": "gpt-4.1", "input": "hi"}, "chat", key=gateway.admin_token).status_code in (401, 403)
