// An MCP server for tests, of both eras, whose lists and results are written by hand as JSON text.
//   node fidelity/server.mjs stdio
//   PORT=… node fidelity/server.mjs http      prints the URL when it listens; PORT 0 or none takes a free one
// It never parses an argument into a number: what it echoes are the bytes that came.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { members } from '../lib/rawjson.mjs';
import { Core } from './core.mjs';

const core = new Core();

function stdio() {
  const send = (text) => process.stdout.write(text + '\n');
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  lines.on('line', (line) => {
    if (line.trim()) core.handle('', line, send).catch((error) => console.error(error));
  });
  lines.on('close', () => process.exit(0));
}

const sessions = new Set();

async function http(request, response) {
  const session = request.headers['mcp-session-id'] ?? '';
  if (request.method === 'DELETE' && sessions.delete(session)) return response.writeHead(204).end();
  if (request.method !== 'POST') return response.writeHead(405, { Allow: 'POST, DELETE' }).end();
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const message = members(body);
  const method = JSON.parse(message.get('method') ?? 'null');
  const modern = body.includes('io.modelcontextprotocol/protocolVersion');
  const headers = { 'Content-Type': 'application/json' };
  if (modern && request.headers['mcp-method'] !== method && message.has('id')) {
    return response.writeHead(400, headers).end(`{"jsonrpc":"2.0","id":${message.get('id')},"error":{"code":-32020,"message":"Mcp-Method"}}`);
  }
  if (!modern && method === 'initialize') {
    headers['Mcp-Session-Id'] = randomUUID();
    sessions.add(headers['Mcp-Session-Id']);
  } else if (!modern && !sessions.has(session)) {
    return response.writeHead(session ? 404 : 400, headers).end('{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid session ID"}}');
  }
  if (!message.has('id')) {
    await core.handle(session, body, () => {});
    return response.writeHead(202).end();
  }
  await answer(request, response, { session: modern ? randomUUID() : session, id: message.get('id'), body, modern, headers });
}

// answer writes JSON if the response is the first message, and an event stream otherwise.
async function answer(request, response, { session, id, body, modern, headers }) {
  if (modern) response.on('close', () => core.cancel(session, id)); // closing is how a modern client cancels
  let last;
  await core.handle(session, body, (text) => {
    if (last !== undefined) writeEvent(response, headers, last);
    last = text;
    // Progress must not wait for the result.
    if (text.includes('"method":"notifications/')) {
      writeEvent(response, headers, text);
      last = undefined;
    }
  });
  if (response.headersSent) {
    if (last !== undefined) writeEvent(response, headers, last);
    return response.end();
  }
  if (last === undefined) return response.writeHead(202).end(); // cancelled before anything was sent
  const unknownMethod = modern && last.includes('"code":-32601');
  return response.writeHead(unknownMethod ? 404 : 200, headers).end(last);
}

function writeEvent(response, headers, text) {
  if (!response.headersSent) response.writeHead(200, { ...headers, 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(`event: message\ndata: ${text}\n\n`);
}

if (process.argv[2] === 'http') {
  const server = createServer((request, response) => {
    http(request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
} else {
  stdio();
}
