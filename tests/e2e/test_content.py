"""Images, resources and structured content of tools: what the model is sent, what the caller gets."""
import json

import pytest

from bed.servers import mcp
from bed.stream import check, items, text

UPSTREAMS = ["responses", "chat"]
MODES = ["streamed", "whole"]
SEES, BLIND = "gpt-4.1", "gpt-oss-120b"


def ask(gateway, upstream, mode, body):
    """The response, streamed or not."""
    if mode == "streamed":
        return check(gateway.stream(body, upstream))
    return gateway.ask(body, upstream)


def body(prompt, server, **fields):
    return {"model": SEES, "input": prompt, "tools": [mcp(server)], **fields}


def results(provider, upstream):
    """What the last request to the model says of the tools: texts and media, in order."""
    sent = provider.requests()[-1]["body"]
    if upstream == "responses":
        outputs = [item["output"] for item in sent["input"] if item.get("type") == "function_call_output"]
        parts = [part for output in outputs for part in ([{"text": output}] if isinstance(output, str) else output)]
        return [part["text"] for part in parts if "text" in part], [part for part in parts if "text" not in part]
    said = [m["content"] for m in sent["messages"] if m["role"] == "tool"]
    after = [m["content"] for m in sent["messages"] if m["role"] == "user" and isinstance(m["content"], list)]
    return said, [part for content in after for part in content if part["type"] != "text"]


def url_of(media):
    url = media["image_url"]
    return url if isinstance(url, str) else url["url"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_an_image_reaches_a_model_that_sees(gateway, provider, everything, upstream, mode):
    response = ask(gateway, upstream, mode, body("[call get-tiny-image {}]", everything))
    (call,) = items(response, "mcp_call")
    blocks = json.loads(call["output"])
    assert [block["type"] for block in blocks] == ["text", "image", "text"] and call["error"] is None
    texts, (image,) = results(provider, upstream)
    assert url_of(image) == "data:image/png;base64," + blocks[1]["data"]
    assert blocks[0]["text"] in "\n".join(texts) and blocks[1]["data"][:40] not in "\n".join(texts)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_an_image_is_described_to_a_model_that_does_not(gateway, provider, everything, upstream, mode):
    response = ask(gateway, upstream, mode, body("[call get-tiny-image {}]", everything, model=BLIND))
    image = json.loads(items(response, "mcp_call")[0]["output"])[1]
    texts, media = results(provider, upstream)
    assert media == [] and "[image, image/png, " in texts[0] and "takes no images" in texts[0]
    assert image["data"][:40] not in json.dumps(provider.requests()[-1])
    assert "[image, image/png, " in text(response)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_the_image_is_there_in_the_next_request(gateway, provider, everything, upstream):
    first = gateway.ask(body("[call get-tiny-image {}]", everything), upstream)
    image = json.loads(items(first, "mcp_call")[0]["output"])[1]
    gateway.ask(body("[no tool] And now?", everything, previous_response_id=first["id"]), upstream)
    _, (again,) = results(provider, upstream)
    assert url_of(again) == "data:image/png;base64," + image["data"]
    history = [{"role": "user", "content": "[call get-tiny-image {}]"}, *first["output"],
        {"role": "user", "content": "[no tool] And by value?"}]
    gateway.ask(body(history, everything), upstream)
    assert results(provider, upstream)[1] == [again]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("kind, shown", [("Text", "This is a plaintext resource"), ("Blob", "This is a base64 blob")])
def test_an_embedded_resource(gateway, provider, everything, upstream, mode, kind, shown):
    prompt = '[call get-resource-reference {"resourceType":"%s","resourceId":1}]' % kind
    response = ask(gateway, upstream, mode, body(prompt, everything))
    blocks = json.loads(items(response, "mcp_call")[0]["output"])
    resource = next(block["resource"] for block in blocks if block["type"] == "resource")
    texts, media = results(provider, upstream)
    told = "\n".join(texts)
    assert f"[resource {resource['uri']}, {resource['mimeType']}" in told and shown in told and media == []
    assert resource.get("blob", "no blob") not in told


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_links_stay_words(gateway, provider, everything, upstream):
    response = gateway.ask(body('[call get-resource-links {"count":2}]', everything), upstream)
    blocks = json.loads(items(response, "mcp_call")[0]["output"])
    links = [block for block in blocks if block["type"] == "resource_link"]
    told = "\n".join(results(provider, upstream)[0])
    assert len(links) == 2 and all(f"[resource link {link['uri']}" in told for link in links)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_structured_content(gateway, provider, everything, upstream):
    response = gateway.ask(body('[call get-structured-content {"location":"Chicago"}]', everything), upstream)
    (call,) = items(response, "mcp_call")
    assert results(provider, upstream) == ([call["output"]], []) and "temperature" in json.loads(call["output"])


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_an_annotated_message_with_an_image(gateway, provider, everything, upstream):
    prompt = '[call get-annotated-message {"messageType":"error","includeImage":true}]'
    response = gateway.ask(body(prompt, everything), upstream)
    blocks = json.loads(items(response, "mcp_call")[0]["output"])
    assert blocks[0]["annotations"]["priority"] == 1
    texts, (image,) = results(provider, upstream)
    assert blocks[0]["text"] in texts[0] and url_of(image).startswith("data:image/png;base64,")


def test_the_log_keeps_no_base64(gateway, provider, everything):
    response = gateway.ask(body("[call get-tiny-image {}]", everything), "chat")
    row = gateway.log_of(response)
    image = json.loads(items(response, "mcp_call")[0]["output"])[1]
    assert image["data"][:40] not in json.dumps(row["tool_calls"])
    kept = row["tool_calls"][0].get("result")
    assert kept is None or "[image, image/png, " in kept


def test_two_results_with_media_come_after_all_tool_messages(gateway, provider, everything):
    gateway.ask(body("[call get-tiny-image {}] [call get-tiny-image {}]", everything), "chat")
    sent = provider.requests()[-1]["body"]["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert [part["type"] for part in sent[-1]["content"]] == ["text", "image_url"] * 2
