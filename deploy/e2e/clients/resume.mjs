// Breaks the connection of the TypeScript SDK v1 client while a tool runs: the client comes back for the rest of the answer with
// Last-Event-ID, and the call has run once. Profiles: everything, fidelity.
import net from 'node:net';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { Report, equal, matches, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';
import { textOf } from './lib/suite.mjs';

const calls = {
  everything: { tool: 'trigger-long-running-operation', args: { duration: 3, steps: 3 }, text: /completed/ },
  fidelity: { tool: 'progress', args: { steps: 3, pause_ms: 700 }, text: /done/ },
};

const settings = readSettings();
const report = new Report('resume');
const upstream = new URL(settings.url);

// A line between client and gateway that can be cut.
const sockets = new Set();
const line = net.createServer((near) => {
  const far = net.connect(Number(upstream.port), upstream.hostname);
  for (const [from, to] of [[near, far], [far, near]]) {
    sockets.add(from);
    from.on('error', () => to.destroy());
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
    from.pipe(to);
  }
});
await new Promise((resolve) => line.listen(0, '127.0.0.1', resolve));

function cut() {
  for (const socket of sockets) socket.destroy();
}

const url = new URL(settings.url);
url.port = line.address().port;
const client = new Client({ name: 'e2e-resume', version: '1' }, { capabilities: {} });
const resumed = []; // Last-Event-ID of requests that came back
const transport = new StreamableHTTPClientTransport(url, {
  requestInit: { headers: authorization(settings) },
  fetch: (to, init) => {
    const id = new Headers(init?.headers).get('last-event-id');
    if (id) resumed.push(id);
    return fetch(to, init);
  },
});

const connected = await report.check('connect', () => client.connect(transport));
if (connected) {
  const { tool, args, text } = calls[settings.profile];
  await report.check('the rest of an answer', async () => {
    const steps = [];
    const result = await client.callTool({ name: settings.prefix + tool, arguments: args }, undefined, {
      timeout: 20_000,
      onprogress: ({ progress }) => {
        steps.push(progress);
        if (progress === 1) cut();
      },
    });
    matches(textOf(result), text, 'text');
    equal(steps, [1, 2, 3], 'progress');
    truthy(resumed.length > 0, 'nothing was resumed');
  });
  await report.check('the session goes on', async () => {
    cut();
    truthy((await client.listTools()).tools.length > 0, 'no tools');
  });
}
await client.close();
line.close();
cut();
report.finish();
