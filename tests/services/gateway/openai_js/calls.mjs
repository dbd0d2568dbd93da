// What the `openai` package for JavaScript gets from a gateway. `node calls.mjs <folder with node_modules> <base URL>`
// prints it as one JSON object; tests/services/gateway/test_http_openai_js.py says what it must be.
import { createRequire } from "node:module";

const [folder, baseURL] = process.argv.slice(2);
const OpenAI = createRequire(`${folder}/`)("openai").default;
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const model = "tutelage/say";
const ask = (content, more = {}) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content }], ...more });

const { data: chat, response } = await ask("chat").withResponse();

const pieces = [];
let used = null;
for await (const chunk of await ask("stream", { stream: true, stream_options: { include_usage: true } })) {
  pieces.push(...chunk.choices.map((choice) => choice.delta.content).filter(Boolean));
  used = chunk.usage ?? used;
}

const weather = { type: "function", function: { name: "weather", parameters: { type: "object" } } };
const tools = await ask("tools", { tools: [weather] });
const helped = await client.chat.completions
  .stream({ model, messages: [{ role: "user", content: "tools" }], tools: [weather] })
  .finalChatCompletion();

const schema = { type: "object", properties: { street: { type: "string" } }, required: ["street"] };
const parsed = await client.chat.completions.parse({
  model,
  messages: [{ role: "user", content: "schema" }],
  response_format: { type: "json_schema", json_schema: { name: "address", schema } },
});

const failure = async (promise) => {
  const error = await promise.then(() => null, (caught) => caught);
  return { name: error?.constructor.name, status: error?.status, code: error?.code, param: error?.param };
};

console.log(
  JSON.stringify({
    chat: chat.choices[0].message.content,
    answered_by: response.headers.get("x-tutelage-answered-by"),
    stream: pieces,
    used: used?.total_tokens,
    tools: tools.choices[0].message.tool_calls,
    helped: helped.choices[0].message.tool_calls.map((call) => call.function.arguments),
    parsed: parsed.choices[0].message.parsed ?? JSON.parse(parsed.choices[0].message.content),
    models: (await client.models.list()).data.map((one) => one.id),
    model: (await client.models.retrieve(model)).id,
    unknown: await failure(client.chat.completions.create({ model: "gpt-4", messages: chat.choices.map((choice) => choice.message) })),
    bad: await failure(ask("x", { n: 2 })),
  }),
);
