"""A request that needs nothing from the gateway reaches a Responses provider byte for byte."""
import httpx

# Spellings that a parser would change: exponents, escapes, a long integer, blanks, the order of the keys.
ODD = (
    '{ "temperature":1e0,"model" : "gpt-4.1",\n "metadata":{"z":"\\u00e9\\/","a":"x"},'
    '"input":"h\\u0069","x_unknown":[12345678901234567890123, 1.50] ,"stream":%s}'
)


def send(gateway, content, **headers):
    named = gateway.headers("responses", **{"content-type": "application/json", **headers})
    return gateway.http.post("/v1/responses", content=content, headers=named)


def test_the_body_is_untouched(gateway, provider):
    for stream in ("false", "true"):
        content = ODD % stream
        answer = send(gateway, content)
        assert answer.status_code == 200, answer.text
        assert provider.requests()[-1]["raw"] == content


def test_the_answer_is_untouched(gateway, provider):
    """The same request twice, straight and through the gateway: equal but for ids and times."""
    for stream in (False, True):
        body = {"model": "gpt-4.1", "input": "hello", "stream": stream}
        straight = httpx.post(provider.base_url + "/responses", json=body)
        through = gateway.post(body, "responses")
        assert through.headers["content-type"] == straight.headers["content-type"]
        assert masked(through.text) == masked(straight.text)
        assert through.headers["x-request-id"] != straight.headers["x-request-id"]
        assert "openai-organization" not in through.headers


def masked(text):
    """Digits that count up, taken out."""
    return "".join("#" if c in "0123456789abcdef" else c for c in text)


def test_only_the_model_is_replaced_when_it_names_the_virtual_key(gateway, provider):
    tight = '{"model":"%s","metadata":{"z":"\\u00e9\\/" , "a":1e0},"input":"h\\u0069","x":[12345678901234567890123, 1.50]}'
    assert send(gateway, tight % "@responses/gpt-4.1").status_code == 200
    assert provider.requests()[-1]["raw"] == tight % "gpt-4.1"


def test_a_provider_that_runs_tools_gets_them_whole(gateway, provider):
    tool = {"type": "mcp", "server_label": "wiki", "server_url": "https://wiki.example/mcp?x=1",
        "headers": {"Authorization": "Bearer t"}, "require_approval": "never"}
    gateway.ask({"model": "gpt-4.1", "input": "What is there?", "tools": [tool]}, "responses")
    assert provider.requests()[-1]["body"]["tools"] == [tool]


def test_who_runs_the_tools_can_be_chosen(gateway, provider, bench):
    tool = {"type": "mcp", "server_label": "bench", "server_url": bench.url, "require_approval": "never"}
    body = {"model": "gpt-4.1", "input": "hi", "tools": [tool]}
    refused = gateway.post(body, "responses", **{"x-portkey-config": '{"mcp_execution":"provider"}'})
    assert refused.status_code == 400 and "mcp_execution" in refused.json()["error"]["message"]
    assert provider.requests() == []
