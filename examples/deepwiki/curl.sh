#!/usr/bin/env bash
# Ask a public MCP server (no credential), with curl. Prints the answer as it comes.
# Needs PORTKEY_API_KEY, OPENAI_VIRTUAL_KEY; takes PORTKEY_BASE_URL, MODEL, MCP_SERVER_URL, STREAM=1.
set -euo pipefail

curl -sSN --fail-with-body "${PORTKEY_BASE_URL:-http://127.0.0.1:8787/v1}/responses" \
  -H "Content-Type: application/json" \
  -H "x-portkey-api-key: $PORTKEY_API_KEY" \
  -H "x-portkey-virtual-key: $OPENAI_VIRTUAL_KEY" \
  --data @- <<JSON
{
  "model": "${MODEL:-gpt-4.1}",
  "stream": $([[ ${STREAM:-} == 1 ]] && echo true || echo false),
  "tools": [
    {
      "type": "mcp",
      "server_label": "deepwiki",
      "server_url": "${MCP_SERVER_URL:-https://mcp.deepwiki.com/mcp}",
      "require_approval": "never"
    }
  ],
  "input": "What transport protocols are supported in the 2025-03-26 version of the MCP spec?"
}
JSON
