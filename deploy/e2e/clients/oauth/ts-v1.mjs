// Drives the OAuth client of the TypeScript SDK v1 with a real browser. See ../README.md.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { readOAuthSettings, runLogin } from '../lib/login.mjs';
import { Report } from '../lib/report.mjs';
import { watchStreams } from '../lib/streams.mjs';

const settings = readOAuthSettings();
const report = new Report(`oauth ts-v1 ${settings.metadataUrl ? 'CIMD' : 'DCR'}`, 60_000);

function make(authProvider) {
  const client = new Client({ name: 'e2e-oauth-ts-v1', version: '1' });
  const streams = watchStreams();
  const transport = new StreamableHTTPClientTransport(new URL(settings.url), { authProvider, fetch: streams.fetch });
  return {
    connect: () => client.connect(transport),
    finishAuth: (params) => transport.finishAuth(params.get('code'), params.get('iss') ?? undefined),
    listTools: async () => (await client.listTools()).tools,
    callTool: (name, args) => client.callTool({ name, arguments: args }),
    stream: streams.open,
  };
}

await runLogin(report, settings, 'e2e OAuth v1', make);
report.finish();
