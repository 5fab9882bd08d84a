"""An MCP server with tools that are useful to a test, over Streamable HTTP or HTTP+SSE.

usage: workbench.py PORT JOURNAL [--token TOKEN] [--extra N] [--page-size N] [--transport http|sse]

Every call is appended to JOURNAL as a JSON line: {"tool", "event": "start" | "end" | "cancelled", "headers"}.
"""
import argparse
import asyncio
import json
import os
import time

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.dependencies import get_http_headers
from fastmcp.server.middleware import Middleware


class Journal(Middleware):
    def __init__(self, path):
        self.path = path

    def write(self, tool, event):
        entry = {"tool": tool, "event": event, "at": time.time(), "headers": get_http_headers(include_all=True)}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    async def on_call_tool(self, context, call_next):
        tool = context.message.name
        self.write(tool, "start")
        try:
            result = await call_next(context)
        except asyncio.CancelledError:
            self.write(tool, "cancelled")
            raise
        except Exception:
            self.write(tool, "end")
            raise
        self.write(tool, "end")
        return result


def echo(message: str) -> str:
    """Repeats the message."""
    return f"workbench heard: {message}"


def create_payment_link(amount: float, currency: str = "usd") -> str:
    """Creates a payment link for an amount of money."""
    return f"https://pay.example/{currency}/{amount:g}"


def fail(reason: str) -> str:
    """Always fails."""
    raise ToolError(f"it failed because of {reason}")


async def sleep(seconds: float) -> str:
    """Answers after some seconds."""
    await asyncio.sleep(seconds)
    return f"slept {seconds:g} s"


def die() -> str:
    """Ends the server in the middle of the call."""
    os._exit(1)


def large(kilobytes: int) -> str:
    """Answers with a long text."""
    return "0123456789abcdef" * 64 * kilobytes


def spare(number):
    """A tool that only makes the list longer."""
    def tool(text: str) -> str:
        return f"{number}: {text}"
    tool.__name__ = f"spare_{number:02}"
    tool.__doc__ = f"Spare tool number {number}."
    return tool


def build(options):
    users = {options.token: {"client_id": "tests", "scopes": []}}
    auth = StaticTokenVerifier(users) if options.token else None
    server = FastMCP("workbench", auth=auth, list_page_size=options.page_size, middleware=[Journal(options.journal)])
    for tool in (echo, create_payment_link):
        server.tool(tool, annotations={"readOnlyHint": tool is echo})
    for tool in (fail, sleep, die, large):
        server.tool(tool)
    for number in range(options.extra):
        server.tool(spare(number))
    return server


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("journal")
    parser.add_argument("--token")
    parser.add_argument("--extra", type=int, default=0)
    parser.add_argument("--page-size", type=int)
    parser.add_argument("--transport", default="http", choices=["http", "sse"])
    options = parser.parse_args()
    build(options).run(transport=options.transport, host="127.0.0.1", port=options.port, show_banner=False)


if __name__ == "__main__":
    main()
