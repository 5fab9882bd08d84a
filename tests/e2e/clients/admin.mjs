// One admin call with Portkey's Node SDK: node admin.mjs logs.exports.create
// Reads {base_url, key, arguments} as JSON from standard input, prints what came as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.PORTUNUS_TEST_NODE_MODULES}/here.js`);
const { Portkey } = require("portkey-ai");

const given = JSON.parse(readFileSync(0, "utf8"));
const client = new Portkey({ apiKey: given.key, baseURL: given.base_url });
const path = process.argv[2].split(".");
const method = path.pop();
const resource = path.reduce((at, name) => at[name], client);

try {
  console.log(JSON.stringify(await resource[method](...given.arguments)));
} catch (error) {
  console.log(JSON.stringify({ failed: error.status ?? error.constructor.name, message: error.message }));
}
