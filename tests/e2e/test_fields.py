"""Each field of a request in the tool loop: passed, translated, acted on, or refused by name."""
import pytest

from bed.servers import mcp
from bed.stream import check, items

SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {}}, "strict": True}
CHAT_SCHEMA = {"type": "json_schema", "json_schema": {k: SCHEMA[k] for k in ("name", "schema", "strict")}}
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
ECHO = '[call echo {"message":"a"}]'

# The field as asked, what a provider of the Responses API is sent, what OpenAI's chat API is sent.
SENT = [
    ({"temperature": 0.5}, {"temperature": 0.5}, {"temperature": 0.5}),
    ({"top_p": 0.5}, {"top_p": 0.5}, {"top_p": 0.5}),
    ({"top_logprobs": 2}, {"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"include": [LOGPROBS]}, {"include": [LOGPROBS]}, {"logprobs": True, "include": None}),
    ({"include": ["web_search_call.results"]}, {"include": ["web_search_call.results"]}, 400),
    ({"include": [ENCRYPTED]}, {"include": [ENCRYPTED]}, {"include": None}),
    ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}, "include": [ENCRYPTED]}, {"reasoning_effort": "low"}),
    ({"text": {"format": SCHEMA}}, {"text": {"format": SCHEMA}}, {"response_format": CHAT_SCHEMA}),
    ({"text": {"format": {"type": "json_object"}}}, {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}}),
    ({"text": {"verbosity": "low"}}, {"text": {"verbosity": "low"}}, {"verbosity": "low"}),
    ({"user": "u"}, {"user": "u"}, {"user": "u"}),
    ({"safety_identifier": "s"}, {"safety_identifier": "s"}, {"safety_identifier": "s"}),
    ({"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
    ({"prompt_cache_retention": "24h"}, {"prompt_cache_retention": "24h"}, {"prompt_cache_retention": "24h"}),
    ({"service_tier": "flex"}, {"service_tier": "flex"}, {"service_tier": "flex"}),
    ({"truncation": "auto"}, {"truncation": "auto"}, {"truncation": None}),
    ({"metadata": {"a": "b"}}, {"metadata": None}, {"metadata": None}),
    ({"store": True}, {"store": False}, {"store": None}),
    ({"prompt_cache_options": {"mode": "x"}}, {"prompt_cache_options": {"mode": "x"}}, 400),
]


def ask(bench, **fields):
    return {"model": "gpt-4.1", "input": ECHO, "tools": [mcp(bench)], **fields}


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("field, native, chat", SENT, ids=[next(iter(f[0])) + str(n) for n, f in enumerate(SENT)])
def test_every_turn_has_the_field(gateway, provider, bench, upstream, field, native, chat):
    expected = native if upstream == "responses" else chat
    answer = gateway.post(ask(bench, **field), upstream)
    if expected == 400:
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["param"].split("[")[0] == next(iter(field)), error
        assert error["code"].startswith("unsupported_") and provider.requests() == []
        return
    assert answer.status_code == 200, answer.text
    bodies = [request["body"] for request in provider.requests()]
    assert len(bodies) == 2
    for body in bodies:
        assert {key: body.get(key) for key in expected} == expected


# What the response shows of the request.
ECHOED = {"temperature": 0.5, "top_p": 0.5, "top_logprobs": 2, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k",
    "prompt_cache_retention": "24h", "metadata": {"a": "b"}, "max_output_tokens": 1000, "instructions": "Be brief."}


@pytest.mark.parametrize("upstream", ["responses", "chat"])
def test_echoes(gateway, provider, bench, upstream):
    body = ask(bench, **ECHOED, service_tier="flex", truncation="auto", text={"format": SCHEMA})
    response = check(gateway.stream(body, upstream))
    assert {key: response[key] for key in ECHOED} == ECHOED
    assert response["text"] == {"format": SCHEMA, "verbosity": "medium"}
    # What was used, not what was asked for: the fake says `default`, and no chat provider truncates.
    assert response["service_tier"] == "default"
    assert response["truncation"] == ("auto" if upstream == "responses" else "disabled")


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("field, param, code", [
    ({"metadata": {str(n): "v" for n in range(17)}}, "metadata", "object_above_max_properties"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
    ({"safety_identifier": "s" * 129}, "safety_identifier", "string_above_max_length"),
    ({"include": ["nothing"]}, "include[0]", "invalid_value"),
    ({"text": {"verbosity": "loud"}}, "text.verbosity", "invalid_value"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "missing_required_parameter"),
    ({"truncation": "some"}, "truncation", "invalid_value"),
    ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    ({"reasoning": {"effort": "a lot"}}, "reasoning.effort", "invalid_value"),
    ({"stream_options": {"include_obfuscation": "no"}}, "stream_options.include_obfuscation", "invalid_type"),
], ids=lambda value: str(value)[:40])
def test_bad_values(gateway, provider, bench, upstream, field, param, code):
    error = gateway.post(ask(bench, **field), upstream).json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert provider.requests() == [] and bench.started() == []


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@pytest.mark.parametrize("options, there", [(None, True), ({"include_obfuscation": True}, True), ({"include_obfuscation": False}, False)])
def test_obfuscation(gateway, provider, bench, upstream, options, there):
    events = gateway.stream(ask(bench, stream_options=options), upstream)
    deltas = [event for event in events if event["type"].endswith(".delta")]
    assert {event["type"] for event in deltas} == {"response.mcp_call_arguments.delta", "response.output_text.delta"}
    assert all(("obfuscation" in event) is there for event in deltas)
    assert not any("obfuscation" in event for event in events if event not in deltas)


@pytest.fixture(scope="module")
def vendors(gateway, the_provider):
    """Virtual keys of vendors with their own ways, all at the fake provider."""
    for name in ("deepseek", "openrouter", "groq", "llama-cpp"):
        gateway.make_virtual_key(f"as-{name}", name, the_provider.base_url)


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize("field, param", [({"top_logprobs": 2}, "top_logprobs"), ({"include": [LOGPROBS]}, "include[0]")])
def test_a_vendor_without_log_probabilities(gateway, provider, field, param):
    answer = gateway.post({"model": "m", "input": "hi", **field}, "as-groq")
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param and "'groq'" in answer.text
    assert provider.requests() == []


@pytest.mark.usefixtures("vendors")
def test_a_format_that_would_bar_the_tools_is_told_in_words(gateway, provider, bench):
    response = gateway.ask(ask(bench, text={"format": SCHEMA}), "as-llama-cpp")
    assert len(items(response, "mcp_call")) == 1
    for request in provider.requests():
        assert "response_format" not in request["body"]
        assert '"properties"' in request["body"]["messages"][0]["content"]
    provider.clear()
    gateway.ask({"model": "m", "input": "hi", "text": {"format": SCHEMA}}, "as-llama-cpp")
    assert provider.requests()[0]["body"]["response_format"] == CHAT_SCHEMA


def shape(provider):
    """The last request's history: types of items, or roles."""
    body = provider.requests()[-1]["body"]
    if "input" in body:
        return [item.get("type", "message") for item in body["input"]]
    return [message["role"] for message in body["messages"]]


@pytest.mark.parametrize("streamed", [True, False])
def test_native_thoughts_are_replayed_in_order(gateway, provider, bench, streamed):
    """Sealed by the provider, carried by us, given back as they came: in the loop and in the next request."""
    body = ask(bench, model="thinks", reasoning={"effort": "low"}, input=ECHO + ' [then echo {"message":"b"}]')
    response = check(gateway.stream(body)) if streamed else gateway.ask(body)
    assert [item["type"] for item in response["output"]][1:] == ["reasoning", "mcp_call"] * 2 + ["reasoning", "message"]
    assert shape(provider) == ["message", *["reasoning", "function_call", "function_call_output"] * 2]
    thoughts = [item for item in provider.requests()[-1]["body"]["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"] for item in thoughts] == ["sealed: Thought 1.", "sealed: Thought 2."]
    assert all(item["id"].startswith("rs_") for item in thoughts)
    assert all(request["body"]["store"] is False for request in provider.requests())
    assert all(request["body"]["include"] == [ENCRYPTED] for request in provider.requests())
    gateway.ask(ask(bench, model="thinks", reasoning={"effort": "low"}, input="[no tool] more", previous_response_id=response["id"]))
    again = [item["encrypted_content"] for item in provider.requests()[-1]["body"]["input"] if item["type"] == "reasoning"]
    assert again == ["sealed: Thought 1.", "sealed: Thought 2.", "sealed: Thought 3."]


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize("streamed", [True, False])
def test_thoughts_go_back_to_the_vendor_as_it_wants_them(gateway, provider, bench, streamed):
    def assistant(vendor):
        body = ask(bench, model="thinks", input=ECHO + ' [then echo {"message":"b"}]')
        response = check(gateway.stream(body, vendor)) if streamed else gateway.ask(body, vendor)
        assert [item["type"] for item in response["output"]][1:3] == ["reasoning", "mcp_call"]
        return [m for m in provider.requests()[-1]["body"]["messages"] if m["role"] == "assistant"]

    plain = assistant("as-deepseek")
    assert [m["reasoning_content"] for m in plain] == ["Thought 1.", "Thought 2."]
    details = assistant("as-openrouter")
    assert [m["reasoning_details"][0]["signature"] for m in details] == ["of Thought 1.", "of Thought 2."]
    assert not any("reasoning_content" in m for m in details)
    assert not any("reasoning_content" in m or "reasoning_details" in m for m in assistant("as-llama-cpp"))


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize("field, param", [
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"input": [{"role": "assistant", "content": "so"}, {"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "input[1].content[0]"),
])
def test_a_stream_that_cannot_be_served_does_not_begin(gateway, provider, guarded, field, param):
    """A plain answer, before the MCP server is asked (which would be a 424 here)."""
    answer = gateway.post({**ask(guarded, **field), "stream": True}, "as-groq")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert answer.headers["content-type"].startswith("application/json")


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "low"}


@pytest.mark.usefixtures("vendors")
def test_what_the_caller_shows_is_sent_or_refused(gateway, provider):
    def body(*parts):
        return {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, *parts]}]}

    gateway.ask(body(PICTURE), "chat")
    (sent,) = provider.requests()[-1]["body"]["messages"]
    assert sent["content"][1] == {"type": "image_url", "image_url": {"url": PICTURE["image_url"], "detail": "low"}}
    provider.clear()
    for vendor, part, param in [
        ("as-deepseek", PICTURE, "input[0].content[1]"),
        ("as-groq", {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}, "input[0].content[1]"),
        ("as-groq", {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}, "input[0].content[1]"),
        ("chat", {"type": "input_image", "file_id": "file-1"}, "input[0].content[1].file_id"),
        ("chat", {"type": "input_file", "file_url": "https://a.example/a.pdf"}, "input[0].content[1].file_url"),
    ]:
        answer = gateway.post(body(part), vendor)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert provider.requests() == []
