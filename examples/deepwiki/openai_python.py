"""Ask a public MCP server (no credential), with OpenAI's Python SDK and Portkey's headers.

Needs PORTKEY_API_KEY, OPENAI_VIRTUAL_KEY; takes PORTKEY_BASE_URL, MODEL, MCP_SERVER_URL, STREAM=1.
"""
import os

from openai import OpenAI
from portkey_ai import createHeaders

openai = OpenAI(
    api_key="xx",  # not used: the gateway holds the provider's key
    base_url=os.environ.get("PORTKEY_BASE_URL", "http://127.0.0.1:8787/v1"),
    default_headers=createHeaders(
        api_key=os.environ["PORTKEY_API_KEY"],
        virtual_key=os.environ["OPENAI_VIRTUAL_KEY"],
    ),
)

request = {
    "model": os.environ.get("MODEL", "gpt-4.1"),
    "tools": [
        {
            "type": "mcp",
            "server_label": "deepwiki",
            "server_url": os.environ.get("MCP_SERVER_URL", "https://mcp.deepwiki.com/mcp"),
            "require_approval": "never",
        }
    ],
    "input": "What transport protocols are supported in the 2025-03-26 version of the MCP spec?",
}


def show(item):
    if item.type == "mcp_list_tools":
        print("tools: ", ", ".join(tool.name for tool in item.tools))
    if item.type == "mcp_call":
        print("call:  ", item.name, item.arguments, "->", item.output or item.error)
    if item.type == "message":
        print("answer:", item.content[0].text)


if os.environ.get("STREAM") == "1":
    for event in openai.responses.create(**request, stream=True):
        if event.type == "response.output_item.done":
            show(event.item)
else:
    for item in openai.responses.create(**request).output:
        show(item)
