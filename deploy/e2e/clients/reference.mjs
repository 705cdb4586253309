// Prints the raw text of an upstream's tools array, asked over stdio without any relay: what lists through a gateway are compared with.
//   node reference.mjs NAME [EXTRA ARGUMENT...]        NAME and how to start it: upstreams.json
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { dig, members } from './lib/rawjson.mjs';
import { within } from './lib/report.mjs';
import { stdioCommand } from './lib/upstreams.mjs';

const [name, ...extra] = process.argv.slice(2);
const { command, args, env } = stdioCommand(name, extra);
const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
const waiting = new Map();
createInterface({ input: child.stdout }).on('line', (line) => {
  const id = members(line).get('id');
  waiting.get(id)?.(line);
});
const failed = new Promise((_, reject) => {
  child.on('error', reject);
  child.on('exit', (status) => reject(new Error(`${name} ended with ${status}`)));
});

let next = 0;
function ask(method, params) {
  const id = String(++next);
  const answered = new Promise((resolve) => waiting.set(id, resolve));
  child.stdin.write(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}\n`);
  return within(15_000, Promise.race([answered, failed]));
}

// Some servers list more tools to a client that can be asked. A node declares everything when it discovers a server; with MCP_DIRECT the
// list is for drivers that declare nothing.
const capabilities = process.env.MCP_DIRECT === '1' ? '{}' : '{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{}}';
await ask('initialize', `{"protocolVersion":"2025-11-25","capabilities":${capabilities},"clientInfo":{"name":"reference","version":"1"}}`);
child.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
const tools = [];
let cursor;
do {
  const answer = await ask('tools/list', cursor === undefined ? '{}' : `{"cursor":${cursor}}`);
  const list = dig(answer, 'result', 'tools');
  if (list === undefined) throw new Error(answer);
  tools.push(list.slice(1, -1));
  cursor = dig(answer, 'result', 'nextCursor');
} while (cursor !== undefined && cursor !== 'null');
// Killed: a server that waits for an answer to roots/list would stay for a while.
process.stdout.write(`[${tools.join(',')}]\n`, () => {
  child.kill('SIGKILL');
  process.exit(0);
});
