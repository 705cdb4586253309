// Drives the OAuth client of the TypeScript SDK v2 with a real browser. MCP_ERA: legacy, auto or modern. See ../README.md.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { readOAuthSettings, runLogin } from '../lib/login.mjs';
import { Report } from '../lib/report.mjs';
import { watchStreams } from '../lib/streams.mjs';

const settings = readOAuthSettings();
const report = new Report(`oauth ts-v2 ${settings.era} ${settings.metadataUrl ? 'CIMD' : 'DCR'}`, 60_000);
const modes = { legacy: {}, auto: { versionNegotiation: { mode: 'auto' } }, modern: { versionNegotiation: { mode: { pin: '2026-07-28' } } } };

function make(authProvider) {
  const client = new Client({ name: 'e2e-oauth-ts-v2', version: '1' }, modes[settings.era]);
  const streams = watchStreams();
  const transport = new StreamableHTTPClientTransport(new URL(settings.url), { authProvider, fetch: streams.fetch });
  return {
    connect: () => client.connect(transport),
    finishAuth: (params) => transport.finishAuth(params),
    listTools: async () => (await client.listTools()).tools,
    callTool: (name, args) => client.callTool({ name, arguments: args }),
    stream: async () => {
      if (client.getNegotiatedProtocolVersion() === '2026-07-28') await client.listen({ toolsListChanged: true });
      return streams.open();
    },
  };
}

await runLogin(report, settings, 'e2e OAuth v2', make);
report.finish();
