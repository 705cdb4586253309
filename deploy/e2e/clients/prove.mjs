// Runs every driver straight against the servers, with no gateway between: what fails here is the driver's or the server's fault.
//   npm test
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { within } from './lib/report.mjs';
import { here } from './lib/settings.mjs';

const data = mkdtempSync(path.join(tmpdir(), 'penstock-prove-'));
const upstreams = JSON.parse(readFileSync(path.join(here, 'upstreams.json'), 'utf8'));
const servers = [];

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.on('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// start starts an HTTP upstream of upstreams.json and returns its URL.
async function start(name, kind) {
  const port = await freePort();
  const fill = (text) => text.replaceAll('{port}', port).replaceAll('{clients}', here).replaceAll('{data}', data);
  const { command, args, env, url, ready } = upstreams[name][kind];
  const filled = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, fill(value)]));
  const child = spawn(command, args.map(fill), { cwd: here, env: { ...process.env, ...filled }, stdio: ['ignore', 'pipe', 'pipe'] });
  servers.push(child);
  const [stream, words] = ready.split(': ');
  let log = '';
  const listening = new Promise((resolve, reject) => {
    child.on('exit', (status) => reject(new Error(`${name} ${kind} ended with ${status}: ${log}`)));
    for (const out of ['stdout', 'stderr']) {
      child[out].on('data', (chunk) => {
        log += chunk;
        if (out === stream && log.includes(words)) resolve();
      });
    }
  });
  await within(15_000, listening);
  return fill(url);
}

function run(command, args, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: here, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.on('close', (status) => resolve({ status, out }));
  });
}

async function reference(name, ...extra) {
  const file = path.join(data, `${name}.json`);
  const { status, out } = await run('node', ['reference.mjs', name, ...extra], { MCP_DIRECT: '1' });
  if (status !== 0) throw new Error(`reference ${name}: exit code ${status}`);
  writeFileSync(file, out);
  return file;
}

async function main() {
  const [everything, sse, fidelity] = [await start('everything', 'http'), await start('everything', 'sse'), await start('fidelity', 'http')];
  const lists = { everything: await reference('everything'), fidelity: await reference('fidelity') };
  const odd = { MCP_URL: fidelity, MCP_PROFILE: 'fidelity', MCP_REFERENCE: lists.fidelity };
  const matrix = [
    ['ts-v1.mjs', { MCP_URL: everything, MCP_REFERENCE: lists.everything }],
    ['ts-v1.mjs', { MCP_URL: sse, MCP_TRANSPORT: 'sse' }],
    ['ts-v1.mjs', odd],
    ['ts-v1.mjs', { MCP_URL: 'stdio:filesystem', MCP_PROFILE: 'filesystem', MCP_FILES_ROOT: data, MCP_REFERENCE: await reference('filesystem', data) }],
    ['ts-v1.mjs', { MCP_URL: 'stdio:memory', MCP_PROFILE: 'memory', MEMORY_FILE_PATH: path.join(data, 'memory.jsonl'), MCP_REFERENCE: await reference('memory') }],
    ['ts-v2.mjs', { MCP_URL: everything, MCP_REFERENCE: lists.everything }],
    ['ts-v2.mjs', { MCP_URL: sse, MCP_TRANSPORT: 'sse' }],
    ['ts-v2.mjs', { MCP_URL: everything, MCP_ERA: 'auto', MCP_REFERENCE: lists.everything }],
    ['ts-v2.mjs', { ...odd, MCP_ERA: 'auto' }],
    ['ts-v2.mjs', { ...odd, MCP_ERA: 'modern' }],
    // The inspector declares more than nothing, so this server lists more to it than the reference has.
    ['inspector.mjs', { MCP_URL: everything }],
    ['inspector.mjs', { MCP_URL: sse, MCP_TRANSPORT: 'sse' }],
    ['inspector.mjs', { ...odd, MCP_ERA: 'modern' }],
    ['mcp-remote.mjs', { MCP_URL: everything, MCP_REFERENCE: lists.everything }],
    ['mcp-remote.mjs', { MCP_URL: sse, MCP_TRANSPORT: 'sse' }],
    ['mcp-remote.mjs', odd],
    ['ts-v1.mjs', { MCP_URL: everything, MCP_FEATURES: '1' }],
    ['ts-v1.mjs', { MCP_URL: sse, MCP_TRANSPORT: 'sse', MCP_FEATURES: '1' }],
    ['ts-v2.mjs', { MCP_URL: everything, MCP_FEATURES: '1' }],
    ['inspector.mjs', { MCP_URL: everything, MCP_FEATURES: '1' }],
    ['mcp-remote.mjs', { MCP_URL: everything, MCP_FEATURES: '1' }],
    ['mcp-remote.mjs', { MCP_URL: sse, MCP_TRANSPORT: 'sse', MCP_FEATURES: '1' }],
    ['raw.mjs', { MCP_URL: everything, MCP_REFERENCE: lists.everything }],
    ['raw.mjs', { ...odd, MCP_ERA: 'modern' }],
  ];
  let failed = 0;
  for (const [driver, env] of matrix) {
    const { status, out } = await run('node', [driver], { MCP_DIRECT: '1', ...env });
    const lines = out.trim().split('\n').map((line) => JSON.parse(line));
    const words = `${driver} ${env.MCP_PROFILE ?? 'everything'} ${env.MCP_TRANSPORT ?? ''} ${env.MCP_ERA ?? ''}`.replaceAll(/ +/g, ' ');
    console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${words}: ${lines.length} checks`);
    for (const line of lines.filter((line) => !line.ok)) console.log(`     ${line.check}: ${line.detail}`);
    if (status !== 0) failed++;
  }
  return failed;
}

// However this ends: nothing stays behind.
process.on('exit', () => {
  for (const server of servers) server.kill();
  rmSync(data, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
process.exit((await main()) ? 1 : 0);
