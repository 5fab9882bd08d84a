"""Who may do what: every route of the OpenAPI document, as every role, on the binary. A route that no rule covers fails."""
import base64
import concurrent.futures
import contextlib
import itertools
import json
import sqlite3
import time

import httpx
import pytest

from bed.canary import hits
from bed.gateway import Gateway
from bed.process import eventually
from bed.servers import mcp

HI = {"model": "gpt-4.1", "input": "hi"}
CREDENTIAL = "sk-canary-Roles-7vQ2mZ8xW4"
NOBODY = "http://127.0.0.1:9/v1"  # no provider is there
DATA = {"completions.write", "models.list"}
# What comes before {id} or {slug} (or ends the path), and the family of its scopes.
FAMILIES = {"virtual-keys": "virtual_keys", "providers": "virtual_keys", "integrations": "virtual_keys",
    "api-keys": "api_keys", "configs": "configs", "exports": "exports", "logs": "logs", "approvals": "approvals"}
VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
SCOPES = sorted({f"{family}.{verb}" for family in ("virtual_keys", "api_keys", "configs")
    for verb in ("list", "read", *VERBS.values())} | DATA | {"logs.list", "logs.view", "logs.write", "logs.export",
    "metrics.view", "approvals.list", "approvals.update"})
# Empty lists and 501 for every good key: what Portkey has and we do not.
ABSENT = ("guardrails", "labels", "collections", "prompts", "users", "secret-references", "audit-logs")
TOKEN_ALONE = ("/v1/admin/workspaces", "/v1/portunus/reload")
CARRIERS = {"x-portkey-api-key": "{}", "authorization": "Bearer {}", "x-api-key": "{}"}
# They change nothing, so no lock holds them.
NO_WRITE = ("/models", "/workspaces", "/cancel", "/reload")


def guard(method, path, tag):
    """Who may: everybody, `link`, `data`, `any` good key, the `token` alone, or whoever has this scope."""
    words = path.split("/")
    if tag != "admin plane":
        return {"console": "everybody", "probes": "everybody", "open": "link", "data plane": "data"}[tag]
    if path in TOKEN_ALONE:
        return "token"
    if any(word in ABSENT for word in words):
        return "any"
    (family, *_) = [FAMILIES[word] for word in words if word in FAMILIES][::-1]
    if family == "exports":
        return "logs.export"
    one = "{id}" in words or "{slug}" in words
    if family == "logs":
        return {"POST": "logs.write", "GET": "logs.view" if one else "logs.list"}[method]
    if family == "approvals":
        return {"POST": "approvals.update", "GET": "approvals.list"}[method]
    if method == "GET":
        return f"{family}.{'read' if one else 'list'}"
    return f"{family}.{'update' if one else VERBS[method]}" if method == "POST" else f"{family}.{VERBS[method]}"


def expected(guarded, path, role, scopes):
    """The refusal that a role must get; None where it must be let in."""
    if guarded in ("everybody", "link"):
        return 403 if guarded == "link" else None
    if role in ("anonymous", "wrong") or (role == "token" and guarded == "data"):
        return 401
    if guarded == "any" or role == "token":
        return None
    needed = DATA if path == "/v1/models" else {"completions.write"} if guarded == "data" else {guarded}
    return None if needed & scopes else 403


class House:
    """A gateway with two workspaces: all that can have an id is there in the first, nothing in the second."""

    def __init__(self, folder, provider, bench):
        self.gateway = Gateway(folder, {"PORTUNUS_PROVIDERS__ALLOW": "127.0.0.0/8"})
        # One connection for each request: a refusal that comes before the body was read ends the connection.
        self.gateway.http.close()
        self.gateway.http = httpx.Client(base_url=self.gateway.url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
        self.bench, self.numbers = bench, itertools.count()
        document = self.gateway.http.get("/openapi.json").json()
        self.routes = [(method.upper(), path, one["tags"][0], "requestBody" in one)
            for path, item in document["paths"].items() for method, one in item.items()]
        self.second = self.admin("POST", "/admin/workspaces", json={"name": "Second"})["id"]
        self.first = next(row["id"] for row in self.admin("GET", "/admin/workspaces")["data"] if row["id"] != self.second)
        self.ours = self.gateway.key = self.gateway.make_key("ours", scopes=SCOPES)
        self.theirs = self.gateway.make_key("theirs", scopes=SCOPES, workspace_id=self.second)
        self.gateway.make_virtual_key("ours", "openai-chat", provider.base_url, key=CREDENTIAL)
        self.gateway.make_virtual_key("native", "openai", provider.base_url, key=CREDENTIAL)
        self.ids = self.furnish()

    def admin(self, method, path, **request):
        answer = self.gateway.admin(method, path, **request)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def furnish(self):
        response = self.gateway.ask(HI, "ours")
        return {"virtual-keys": "ours", "providers": "ours", "integrations": "ours", "responses": response["id"],
            "logs": self.gateway.log_of(response)["id"], "approvals": self.approval(), "exports": self.export(),
            "api-keys": self.admin("POST", "/api-keys/workspace/service", json={"name": "to be changed"})["id"],
            "configs": self.admin("POST", "/configs", json={"name": "c", "config": {"virtual_key": "ours"}})["slug"]}

    def approval(self):
        tool = mcp(self.bench, require_approval="always")
        asked = self.gateway.ask({**HI, "input": '[call echo {"message":"a"}]', "tools": [tool]}, "ours")
        return next(item["id"] for item in asked["output"] if item["type"] == "mcp_approval_request")

    def export(self):
        return self.admin("POST", "/logs/exports", json={"filters": {}, "requested_data": ["id", "request"]})["id"]

    def throw_away(self, noun):
        """The id of one that a test may delete or decide."""
        number = next(self.numbers)
        if noun in ("virtual-keys", "providers", "integrations"):
            return self.gateway.make_virtual_key(f"away-{number}", "openai", NOBODY, key=CREDENTIAL)
        if noun == "configs":
            return self.admin("POST", "/configs", json={"name": "away", "config": {"virtual_key": "ours"}})["slug"]
        if noun == "api-keys":
            return self.admin("POST", "/api-keys/workspace/service", json={"name": "away"})["id"]
        return self.approval() if noun == "approvals" else self.export()

    def body(self, method, path):
        """A body that the route takes; a route without one here fails."""
        number = next(self.numbers)
        entry = {"request": {"url": "https://a.example/v1/responses", "body": {}}, "response": {"body": {}}}
        made = {
            "/v1/admin/workspaces": {"name": f"w{number}"}, "/v1/api-keys/{type}/{sub-type}": {"name": f"k{number}"},
            "/v1/configs": {"name": f"c{number}", "config": {"virtual_key": "ours"}}, "/v1/logs": entry,
            "/v1/integrations": {"name": f"i{number}", "ai_provider_id": "openai", "key": CREDENTIAL, "configurations": {"custom_host": NOBODY}},
            "/v1/logs/exports": {"filters": {}, "requested_data": ["id"]},
            "/v1/providers": {"name": f"p{number}", "integration_id": "ours"},
            "/v1/virtual-keys": {"name": f"v{number}", "provider": "openai", "key": CREDENTIAL, "custom_host": NOBODY},
            "/v1/responses": HI, "/v1/responses/input_tokens": HI,
        }
        changed = {"api-keys": {"name": f"n{number}"}, "configs": {"name": f"n{number}"}, "exports": {"description": f"d{number}"},
            "integrations": {"description": f"d{number}"}, "providers": {"note": f"n{number}"},
            "virtual-keys": {"note": f"n{number}"}, "approvals": {"reason": f"r{number}"}}
        last = {"models": {"allow_all_models": True}, "workspaces": {"workspaces": []}, "rotate": {}}
        word = path.rsplit("/", 1)[1]
        return made[path] if path in made else last[word] if word in last else changed[noun_of(path)]

    def ask(self, method, path, key=None, carrier="x-portkey-api-key", **request):
        """Status and text of an answer; of one that streams, only the status."""
        headers = {carrier: CARRIERS[carrier].format(key)} if key else {}
        with self.gateway.http.stream(method, path, headers=headers, **request) as answer:
            text = "" if answer.headers.get("content-type") == "text/event-stream" else answer.read().decode()
            return answer.status_code, text

    def lists(self, key):
        """What a key sees in each list of the admin plane."""
        paths = [path for method, path, tag, _ in self.routes
            if method == "GET" and tag == "admin plane" and "{" not in path and "stream" not in path and path not in TOKEN_ALONE]
        return {path: without_use(self.ask("GET", path, key)) for path in paths}


def without_use(answer):
    """An answer without when keys were last used, which every test changes."""
    status, text = answer
    content = json.loads(text)
    for row in content.get("data", []):
        row.pop("last_used_at", None)
    return status, content


def noun_of(path):
    return path.split("/{")[0].rsplit("/", 1)[1]


def filled(path, one):
    return path.replace("{type}", "workspace").replace("{sub-type}", "service").replace("{id}", one).replace("{slug}", one)


def takes_an_id(path):
    return ("{id}" in path or "{slug}" in path) and "/prompts/" not in path


@pytest.fixture(scope="module")
def house(tmp_path_factory, the_provider, the_bench):
    house = House(tmp_path_factory.mktemp("house"), the_provider, the_bench)
    yield house
    house.gateway.stop()


@pytest.fixture(scope="module")
def roles(house):
    """Name, key and scopes of each role: beside the six, a key with each scope alone."""
    ours = house.gateway.make_key("data")
    forged = ours[:-1] + ("a" if ours[-1] != "a" else "b")
    single = [(scope, house.gateway.make_key(scope, scopes=[scope]), {scope}) for scope in SCOPES]
    return [("anonymous", None, set()), ("wrong", forged, set()), ("data", ours, DATA), *single,
        ("token", house.gateway.admin_token, set()), ("second", house.theirs, set(SCOPES))]


def test_every_route_as_every_role(house, provider, roles):
    wrong = []
    for method, path, tag, has_body in house.routes:
        guarded = guard(method, path, tag)
        for role, key, scopes in roles:
            body = {"json": {"x": 1}} if has_body else {}
            got, _ = house.ask(method, filled(path, "none"), key, **body)
            want = expected(guarded, path, role, scopes)
            if (got != want) if want else got in (401, 403) or (got >= 500 and got != 501):
                wrong.append(f"{method} {path} as {role}: {got} instead of {want or 'in'}")
    assert wrong == []
    assert len(house.routes) > 70 and [r for r in provider.requests() if r["path"] != "/v1/models"] == []


def test_a_route_that_no_rule_covers_has_no_guard():
    for method, path, tag in [("GET", "/v1/news", "admin plane"), ("GET", "/x", "news"), ("PUT", "/v1/logs", "admin plane")]:
        with pytest.raises((KeyError, ValueError)):
            guard(method, path, tag)


def test_what_is_not_documented_opens_for_nobody(house):
    known = {(method, path) for method, path, *_ in house.routes}
    for path in sorted({path for _, path in known}):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {m for m, p in known if p == path}:
            for key in (None, house.ours, house.gateway.admin_token):
                status, text = house.ask(method, filled(path, "none"), key)
                assert status in (401, 403, 404, 405), f"{method} {path}: {status} {text}"


def id_routes(house):
    return [(method, path, has_body) for method, path, tag, has_body in house.routes if takes_an_id(path) and tag != "open"]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_foreign_id_is_not_there(house, provider, bench, carrier):
    before = house.lists(house.ours)
    for method, path, has_body in id_routes(house):
        own, asked = house.ids[noun_of(path)], {"json": house.body(method, path)} if has_body else {}
        foreign = house.ask(method, filled(path, own), house.theirs, carrier, **asked)
        absent = house.ask(method, filled(path, "no-such"), house.theirs, carrier, **asked)
        assert foreign[0] == 404, f"{method} {path}: {foreign}"
        assert foreign[1].replace(own, "no-such") == absent[1], f"{method} {path} tells that it exists elsewhere"
        named = house.ask(method, filled(path, own), house.theirs, carrier, params={"workspace_id": house.first}, **asked)
        assert named[0] == 404, f"{method} {path} in the first workspace: {named}"
    assert provider.requests() == [] and bench.events() == []
    assert house.lists(house.ours) == before, "nothing has changed"


def test_the_owner_finds_each(house):
    for method, path, _ in id_routes(house):
        if method == "GET" and not path.endswith("/download"):
            status, text = house.ask(method, filled(path, house.ids[noun_of(path)]), house.ours)
            assert status == 200, f"{path}: {text}"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_request_reaches_nothing_foreign(house, provider, bench, carrier):
    approved = {"type": "mcp_approval_response", "approval_request_id": house.ids["approvals"], "approve": True}
    tools = {"tools": [mcp(bench)]}
    for headers, body in [({}, {"previous_response_id": house.ids["responses"]}), ({"x-portkey-virtual-key": "ours"}, {}),
        ({"x-portkey-config": house.ids["configs"]}, {}), ({"x-portkey-config": '{"virtual_key":"ours"}'}, {}),
        ({"x-portkey-provider": "@ours"}, {}), ({}, {"model": "@ours/gpt-4.1"}), ({}, {"input": [approved]}),
        ({}, {"input": [{"type": "item_reference", "id": house.ids["approvals"]}]})]:
        named = {carrier: CARRIERS[carrier].format(house.theirs), **headers}
        for path in ("/v1/responses", "/v1/responses/input_tokens"):
            answer = house.gateway.http.post(path, headers=named, json={**HI, **tools, **body})
            assert answer.status_code in (400, 404), f"{path} {headers} {body}: {answer.text}"
    assert provider.requests() == [] and bench.events() == []


def test_no_other_place_carries_a_key(house):
    for method, path, has_body in id_routes(house):
        asked = {"json": {}} if has_body else {}
        at = filled(path, house.ids[noun_of(path)])
        for name in CARRIERS:
            for given in ({"params": {name: house.ours}}, {"headers": {"cookie": f"{name}={house.ours}"}}):
                assert house.gateway.http.request(method, at, **given, **asked).status_code == 401, f"{method} {path}"


EXTRAS = {"role": "canary-role", "organisation_id": "canary-organisation", "tenant_id": "canary-tenant", "owner": "canary-owner",
    "budget": 987654321, "usage_limits": {"credit_limit": 987654321}, "allowed_models": ["canary-model"], "user_id": "canary-user",
    "api_key_id": "canary-key", "created_at": "canary-time"}


def send_with(house, method, path, extra):
    """The answer to a good body with more in it."""
    key = house.gateway.admin_token if path in TOKEN_ALONE else house.ours
    one = house.throw_away("approvals") if noun_of(path) == "approvals" else house.ids.get(noun_of(path), "none")
    headers = {"x-portkey-api-key": key, "x-portkey-virtual-key": "native"}
    return house.gateway.http.request(method, filled(path, one), headers=headers, json={**house.body(method, path), **extra})


@pytest.fixture
def bodies(house):
    """The routes that take a body; that each takes ours is what makes the rest mean something."""
    # What counts the input of a request makes nothing, and the fake provider cannot count.
    found = [(method, path) for method, path, _, has_body in house.routes if has_body and not path.endswith("/input_tokens")]
    for method, path in found:
        answer = send_with(house, method, path, {})
        assert answer.status_code == 200, f"{method} {path}: {answer.text}"
    return found


def nested(path):
    """Where a body has an object within, the same there."""
    return {"/v1/configs": ("config", {"virtual_key": "ours"}), "/v1/api-keys/{type}/{sub-type}": ("defaults", {}),
        "/v1/api-keys/{id}": ("defaults", {}), "/v1/integrations": ("configurations", {"custom_host": NOBODY})}.get(path)


def test_nobody_gets_more_by_asking_for_it(house, bodies):
    for method, path in bodies:
        for name, value in EXTRAS.items():
            inner = nested(path)
            for extra in [{name: value}, *([{inner[0]: {**inner[1], name: value}}] if inner else [])]:
                answer = send_with(house, method, path, extra)
                assert answer.status_code in (200, 400), f"{method} {path} {extra}: {answer.text}"
                honoured = answer.status_code == 200 and ("canary-" in answer.text or "987654321" in answer.text)
                assert not honoured, f"{method} {path} {extra}: {answer.text}"
    seen = json.dumps([house.lists(house.gateway.admin_token), *(house.ask("GET", filled(path, house.ids[noun_of(path)]), house.ours)
        for method, path, _ in id_routes(house) if method == "GET" and "/logs/" not in path)])
    assert "canary-role" not in seen and "canary-o" not in seen and "987654321" not in seen


def test_nobody_writes_into_another_workspace(house, bodies):
    before = house.lists(house.theirs)
    for method, path in bodies:
        if path in TOKEN_ALONE:
            continue
        for name in ("workspace_id", "workspaceId"):
            answer = send_with(house, method, path, {name: house.second})
            refused = answer.status_code in (400, 403, 404)
            assert refused or ("{" in path and answer.status_code == 200) or path.startswith("/v1/responses"), f"{method} {path}: {answer.text}"
    assert house.lists(house.theirs) == before


def test_no_child_is_broader_than_its_parent(house):
    own = ["api_keys.create", "api_keys.update", "api_keys.delete", "models.list"]
    parent = house.gateway.make_key("parent", scopes=own)
    make = lambda scopes: house.gateway.admin("POST", "/api-keys/workspace/service", parent, json={"name": "child", **scopes})
    child = make({"scopes": own[:1]})
    assert child.status_code == 200
    for scope in set(SCOPES) - set(own):
        for answer in (make({"scopes": [*own, scope]}),
            house.gateway.admin("PUT", f"/api-keys/{child.json()['id']}", parent, json={"scopes": [scope]})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope"), f"{scope}: {answer.text}"
    assert make({}).status_code == 403, "the default scopes are broader too"
    for method, path in [("PUT", ""), ("DELETE", ""), ("POST", "/rotate")]:
        asked = {"json": {}} if method != "DELETE" else {}
        assert house.gateway.admin(method, f"/api-keys/{house.ids['api-keys']}{path}", parent, **asked).status_code == 403


def writes(house):
    """Every admin call that changes the database: method, path, body."""
    for method, path, tag, has_body in house.routes:
        absent = any(word in ABSENT for word in path.split("/"))
        changes = "{" not in path or not path.endswith(NO_WRITE)
        if method != "GET" and tag == "admin plane" and not absent and changes and not path.endswith("/reload"):
            one = house.throw_away(noun_of(path)) if takes_an_id(path) else ""
            yield method, filled(path, one), {"json": house.body(method, path)} if has_body else {}


@pytest.fixture(scope="module")
def locked(house):
    """What came while another process held the database's lock: model requests before and beside the admin's writes."""
    token, asked = house.gateway.admin_token, list(writes(house))
    fresh = house.gateway.make_key("not used before")
    with contextlib.closing(sqlite3.connect(house.gateway.data / "portunus.db", isolation_level=None, timeout=10)) as database:
        database.execute("BEGIN IMMEDIATE")
        model = house.gateway.post(HI, "ours")
        with concurrent.futures.ThreadPoolExecutor(len(asked) + 1) as pool:
            answers = [pool.submit(house.ask, method, path, token, **body) for method, path, body in asked]
            time.sleep(0.5)  # so that they wait for the lock: there is no event to see it by
            beside = pool.submit(house.gateway.post, HI, "ours", fresh)
            answers, beside = [answer.result(30) for answer in answers], beside.result(30)
        database.execute("ROLLBACK")
    return {"asked": asked, "answers": answers, "model": model, "beside": beside}


def not_refused(locked):
    return [(*one[:2], *answer) for one, answer in zip(locked["asked"], locked["answers"])
        if answer[0] != 503 or json.loads(answer[1])["error"]["code"] != "database_unavailable"]


def test_admin_writes_are_refused_when_nothing_can_be_written(house, locked):
    assert len(locked["asked"]) > 20
    assert [one for one in not_refused(locked) if not one[1].endswith("/start")] == []
    assert locked["model"].status_code == 200, locked["model"].text
    for method, path, body in locked["asked"]:
        status, text = eventually_taken(house, method, path, house.gateway.admin_token, body)
        # One that was given up while it waited may have been made once the lock was gone: then what it
        # makes is there, or what it removes is not.
        assert status in (200, 404, 409), f"{method} {path}, once it can be written: {text}"


def test_an_export_is_not_started_when_nothing_can_be_written(locked):
    assert not_refused(locked) == []


def test_a_model_request_is_not_held_by_writes_that_wait(locked):
    assert locked["beside"].status_code == 200, locked["beside"].text


def eventually_taken(house, method, path, token, body):
    """The last answer, once it is no 503 any more."""
    answers = []
    eventually(lambda: answers.append(house.ask(method, path, token, **body)) or answers[-1][0] != 503, 10)
    return answers[-1]


def sealed(house):
    """Spellings of what the database keeps of secrets: name to bytes."""
    with contextlib.closing(sqlite3.connect(house.gateway.data / "portunus.db")) as database:
        blobs = [blob for (blob,) in database.execute(
            "SELECT sealed FROM virtual_keys UNION ALL SELECT sealed FROM vault_meta UNION ALL SELECT hash FROM api_keys")]
    assert len(blobs) > 5
    for number, blob in enumerate(blobs):
        # Ends are cut where Base64 would depend on the padding.
        inner = blob[:len(blob) // 3 * 3]
        yield number, [inner, inner.hex().encode(), base64.b64encode(inner), base64.urlsafe_b64encode(inner),
            json.dumps(list(inner))[1:-1].encode(), json.dumps(list(inner), separators=(",", ":"))[1:-1].encode()]


def everything_that_can_be_got(house):
    """The answer to each GET of the document (but the endless one), and the file of an export."""
    token, places = house.gateway.admin_token, {}
    export = house.ids["exports"]
    house.ask("POST", f"/v1/logs/exports/{export}/start", token)
    assert eventually(lambda: house.admin("GET", f"/logs/exports/{export}")["status"] == "success")
    signed = house.admin("GET", f"/logs/exports/{export}/download")["signed_url"]
    places["export"] = house.gateway.http.get(signed).content
    for method, path, tag, _ in house.routes:
        if method == "GET" and "stream" not in path and tag != "open":
            key = house.ours if tag == "data plane" else token
            status, text = house.ask(method, filled(path, house.ids.get(noun_of(path), "none")), key)
            assert status == 200, f"{path}: {text}"
            places[path] = text.encode()
    return places


def test_nothing_that_can_be_got_holds_a_credential(house):
    answer = house.admin("POST", "/integrations", json={**house.body("POST", "/v1/integrations"), "name": "another"})
    house.admin("POST", "/providers", json={"name": "a copy", "integration_id": answer["id"]})
    places = everything_that_can_be_got(house)
    assert hits({"control": "openai-chat"}, places) and len(places) > 25
    secrets = {"credential": CREDENTIAL, "key": house.ours, "token": house.gateway.admin_token}
    assert hits(secrets, places) == []
    found = [(number, place) for number, forms in sealed(house) for place, content in places.items() if any(f in content for f in forms)]
    assert found == []


def altered(house, key, change):
    """A key whose row says something else, as time or another gateway would have made it."""
    with contextlib.closing(sqlite3.connect(house.gateway.data / "portunus.db", isolation_level=None, timeout=10)) as database:
        lookup = key.split("-")[1]
        assert database.execute(f"UPDATE api_keys SET {change} WHERE ? IN (lookup, previous_lookup)", [lookup]).rowcount == 1
    return key


def make(house, name):
    """Id and secret of a new key with all scopes."""
    made = house.admin("POST", "/api-keys/workspace/service", json={"name": name, "scopes": SCOPES})
    return made["id"], made["key"]


def no_good(house):
    """Keys of every kind that opens nothing."""
    one, revoked = make(house, "revoked")
    assert house.ask("GET", "/v1/virtual-keys", revoked)[0] == 200
    house.admin("DELETE", f"/api-keys/{one}")
    one, rotated = make(house, "rotated")
    house.admin("POST", f"/api-keys/{one}/rotate", json={})
    # Of another gateway it would be: the form is good, the row is not there.
    one, unknown = make(house, "unknown")
    house.admin("DELETE", f"/api-keys/{one}")
    good = make(house, "good")[1]
    return {"revoked": revoked, "unknown": unknown, "malformed": "pk-x", "nonsense": "nonsense", "long": "pk-" + "a" * 2000,
        "wrong check": good[:-1] + ("a" if good[-1] != "a" else "b"), "cut": good[:-1],
        "expired": altered(house, make(house, "expired")[1], "expires_at_ms = 1"),
        "disabled": altered(house, make(house, "disabled")[1], "status = 'disabled'"),
        "rotated": altered(house, rotated, "previous_until_ms = 1")}


def told(house, path, carrier, key):
    """All of an answer but what differs by nature."""
    headers = {carrier: CARRIERS[carrier].format(key)} if key else {}
    answer = house.gateway.http.request("POST" if path == "/v1/responses" else "GET", path, headers=headers)
    ours = {name: value for name, value in answer.headers.items() if name not in ("date", "x-portkey-trace-id", "x-request-id", "openai-processing-ms")}
    return answer.status_code, answer.text, str(ours)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/responses", "/v1/virtual-keys", "/v1/responses/none", "/v1/admin/workspaces"])
def test_a_key_that_is_no_good_is_refused_in_one_way(house, path):
    keys = no_good(house)
    answers = {(name, carrier): told(house, path, carrier, key) for name, key in keys.items() for carrier in CARRIERS}
    answers["anonymous", ""] = told(house, path, "", None)
    assert len(set(answers.values())) == 1, answers
    assert answers["anonymous", ""][0] == 401
    assert told(house, path, "x-portkey-api-key", house.ours)[0] != 401
