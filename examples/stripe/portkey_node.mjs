// Use an MCP server that wants a credential, with Portkey's Node SDK.
// Needs PORTKEY_API_KEY, OPENAI_VIRTUAL_KEY, STRIPE_KEY; takes PORTKEY_BASE_URL, MODEL, MCP_SERVER_URL, STREAM=1.
import { Portkey } from "portkey-ai";

const portkey = new Portkey({
  apiKey: process.env.PORTKEY_API_KEY,
  virtualKey: process.env.OPENAI_VIRTUAL_KEY,
  baseURL: process.env.PORTKEY_BASE_URL ?? "http://127.0.0.1:8787/v1",
});

const request = {
  model: process.env.MODEL ?? "gpt-4.1",
  tools: [
    {
      type: "mcp",
      server_label: "stripe",
      server_url: process.env.MCP_SERVER_URL ?? "https://mcp.stripe.com",
      require_approval: "never",
      headers: { Authorization: `Bearer ${process.env.STRIPE_KEY}` },
    },
  ],
  input: "Create a payment link for $20",
};

function show(item) {
  if (item.type === "mcp_list_tools") console.log("tools: ", item.tools.map((tool) => tool.name).join(", "));
  if (item.type === "mcp_call") console.log("call:  ", item.name, item.arguments, "->", item.output ?? item.error);
  if (item.type === "message") console.log("answer:", item.content[0].text);
}

if (process.env.STREAM === "1") {
  for await (const event of await portkey.responses.create({ ...request, stream: true })) {
    if (event.type === "response.output_item.done") show(event.item);
  }
} else {
  (await portkey.responses.create(request)).output.forEach(show);
}
