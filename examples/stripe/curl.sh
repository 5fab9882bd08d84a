#!/usr/bin/env bash
# Use an MCP server that wants a credential, with curl. Prints the answer as it comes.
# Needs PORTKEY_API_KEY, OPENAI_VIRTUAL_KEY, STRIPE_KEY; takes PORTKEY_BASE_URL, MODEL, MCP_SERVER_URL, STREAM=1.
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
      "server_label": "stripe",
      "server_url": "${MCP_SERVER_URL:-https://mcp.stripe.com}",
      "require_approval": "never",
      "headers": {"Authorization": "Bearer $STRIPE_KEY"}
    }
  ],
  "input": "Create a payment link for \$20"
}
JSON
