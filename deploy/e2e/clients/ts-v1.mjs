// Drives the TypeScript SDK v1 client. MCP_TRANSPORT: http (default) or sse. MCP_URL may also be stdio:NAME, which starts that server
// of upstreams.json directly: how these checks prove themselves against a server that only speaks stdio. MCP_FEATURES=1 checks all that
// is not tools.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport, getDefaultEnvironment } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { runFeatures } from './lib/features.mjs';
import { profileOf } from './lib/profiles.mjs';
import { Report, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';
import { runSuite } from './lib/suite.mjs';
import { tap } from './lib/tap.mjs';
import { stdioCommand } from './lib/upstreams.mjs';
import { featuresOf, questions } from './lib/v1.mjs';

const settings = readSettings();
const report = new Report(`ts-v1 ${settings.transport}`);
const client = new Client({ name: 'e2e-ts-v1', version: '1' }, { capabilities: settings.features ? questions : {} });
const transport = makeTransport();

function makeTransport() {
  if (settings.url.startsWith('stdio:')) {
    const { command, args, env } = stdioCommand(settings.url.slice('stdio:'.length), settings.filesRoot ? [settings.filesRoot] : []);
    const passed = Object.fromEntries(Object.keys(env).map((name) => [name, process.env[name] ?? env[name]]));
    return new StdioClientTransport({ command, args, env: { ...getDefaultEnvironment(), ...passed }, stderr: 'ignore' });
  }
  const options = { requestInit: { headers: authorization(settings) } };
  const url = new URL(settings.url);
  return settings.transport === 'sse' ? new SSEClientTransport(url, options) : new StreamableHTTPClientTransport(url, options);
}

const connected = await report.check('connect', async () => {
  await client.connect(transport);
  truthy(client.getServerCapabilities()?.tools, 'the server declares no tools');
  await client.ping();
  return JSON.stringify(client.getServerVersion());
});
if (connected && settings.features) await runFeatures(report, featuresOf(client), settings);
if (connected && !settings.features) {
  await runSuite(
    report,
    {
      received: tap(transport),
      listTools: async () => (await client.listTools()).tools,
      callTool: (name, args, { onProgress, signal } = {}) =>
        client.callTool({ name, arguments: args }, undefined, { onprogress: onProgress, signal }),
    },
    profileOf(settings),
    settings,
  );
}
if (connected) {
  await report.check('close', async () => {
    if (transport.terminateSession) await transport.terminateSession();
    await client.close();
  });
}
report.finish();
