// Drives mcp-remote as a desktop application does: started as a stdio server, with the URL of the real one as its argument.
// MCP_TRANSPORT: http (default) or sse. MCP_FEATURES=1 checks all that is not tools.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport, getDefaultEnvironment } from '@modelcontextprotocol/sdk/client/stdio.js';

import { runFeatures } from './lib/features.mjs';
import { profileOf } from './lib/profiles.mjs';
import { Report, truthy } from './lib/report.mjs';
import { here, readSettings } from './lib/settings.mjs';
import { runSuite } from './lib/suite.mjs';
import { tap } from './lib/tap.mjs';
import { featuresOf, questions } from './lib/v1.mjs';

const settings = readSettings();
const report = new Report(`mcp-remote ${settings.transport}`);
const args = [path.join(here, 'node_modules/mcp-remote/dist/proxy.js'), settings.url, '--allow-http', '--transport', `${settings.transport}-only`];
if (settings.token) args.push('--header', 'Authorization:${AUTH_HEADER}'); // the form its manual recommends: no space, value from the environment

const transport = new StdioClientTransport({
  command: process.execPath,
  args,
  stderr: 'pipe',
  env: {
    ...getDefaultEnvironment(),
    AUTH_HEADER: `Bearer ${settings.token}`,
    MCP_REMOTE_CONFIG_DIR: mkdtempSync(path.join(tmpdir(), 'mcp-remote-')),
  },
});
let log = '';
transport.stderr.on('data', (chunk) => {
  log = (log + chunk).slice(-4096);
});
const client = new Client({ name: 'e2e-mcp-remote', version: '1' }, { capabilities: settings.features ? questions : {} });

const connected = await report.check('connect', async () => {
  try {
    await client.connect(transport);
  } catch (error) {
    throw new Error(`${error}\nlast words of mcp-remote: ${log.replaceAll(settings.token || '\0', '[token]')}`);
  }
  truthy(client.getServerCapabilities()?.tools, 'the server declares no tools');
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
if (connected) await report.check('close', () => client.close());
await transport.close();
report.finish();
