// Portkey's Node SDK calls its configs API, then asks through the saved config: node configs.mjs
// Reads {base_url, admin, key, first, second} as JSON from standard input, prints what came as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.PORTUNUS_TEST_NODE_MODULES}/here.js`);
const { Portkey } = require("portkey-ai");

const given = JSON.parse(readFileSync(0, "utf8"));
const { configs } = new Portkey({ apiKey: given.admin, baseURL: given.base_url });

const answer = async (slug) => {
  const client = new Portkey({ apiKey: given.key, baseURL: given.base_url, config: slug });
  try {
    const response = await client.responses.create({ model: "asked", input: "hello" });
    return { text: response.output_text ?? response.output[0].content[0].text };
  } catch (error) {
    return { status: error.status, message: error.message };
  }
};

const created = await configs.create({ name: "From Node", config: given.first, isDefault: 0 });
const slug = created.slug;
const retrieved = await configs.retrieve({ slug });
const before = await answer(slug);
const updated = await configs.update({ slug, name: "Changed", config: given.second });
const after = await answer(slug);
const listed = await configs.list({});
await configs.delete({ slug });
const gone = await answer(slug);
console.log(JSON.stringify({ created, retrieved, before, updated, after, listed, gone }));
