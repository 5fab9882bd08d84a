// One call with a Node SDK: node call.mjs openai|portkey create|stream|count
// Reads {base_url, key, virtual_key, trace_id, body} as JSON from standard input, prints what came as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.PORTUNUS_TEST_NODE_MODULES}/here.js`);
const { OpenAI } = require("openai");
const { Portkey, createHeaders } = require("portkey-ai");

const [sdk, mode] = process.argv.slice(2);
const given = JSON.parse(readFileSync(0, "utf8"));

function client() {
  const named = { apiKey: given.key, virtualKey: given.virtual_key, traceID: given.trace_id };
  if (sdk === "portkey") return new Portkey({ ...named, baseURL: given.base_url });
  return new OpenAI({ apiKey: "xx", baseURL: given.base_url, defaultHeaders: createHeaders(named) });
}

async function response() {
  if (mode === "create") return client().responses.create(given.body);
  const stream = await client().responses.stream(given.body); // Portkey's gives a promise of it
  return stream.finalResponse();
}

async function show() {
  if (mode === "count") return client().responses.inputTokens.count(given.body);
  const { id, status, output } = await response();
  const parts = output.filter((item) => item.type === "message").flatMap((item) => item.content);
  const output_text = parts.map((part) => part.text).join(""); // the streamed form lacks it in openai 6.8
  return { id, status, output, output_text };
}

try {
  console.log(JSON.stringify(await show()));
} catch (error) {
  console.log(JSON.stringify({ error: error.status ?? error.constructor.name, message: error.message }));
}
