// Drives the TypeScript SDK v2 client. MCP_ERA: legacy (the library's default), auto, or modern (2026-07-28 and nothing else).
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { profileOf } from './lib/profiles.mjs';
import { Report, equal, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';
import { runSuite } from './lib/suite.mjs';
import { tap } from './lib/tap.mjs';

const modern = '2026-07-28';
const settings = readSettings();
const report = new Report(`ts-v2 ${settings.era}`);
const modes = { legacy: {}, auto: { versionNegotiation: { mode: 'auto' } }, modern: { versionNegotiation: { mode: { pin: modern } } } };
const client = new Client({ name: 'e2e-ts-v2', version: '1' }, { capabilities: {}, ...modes[settings.era] });
const transport = new StreamableHTTPClientTransport(new URL(settings.url), { requestInit: { headers: authorization(settings) } });

const connected = await report.check('connect', async () => {
  truthy(modes[settings.era], `unknown MCP_ERA ${settings.era}`);
  await client.connect(transport);
  truthy(client.getServerCapabilities()?.tools, 'the server declares no tools');
  const version = client.getNegotiatedProtocolVersion();
  if (settings.era === 'legacy') equal(version === modern, false, 'a modern version without asking for it');
  if (settings.era === 'modern') equal(version, modern, 'protocol version');
  return `${version} ${JSON.stringify(client.getServerVersion())}`;
});
if (connected) {
  await runSuite(
    report,
    {
      received: tap(transport),
      listTools: async () => (await client.listTools()).tools,
      callTool: (name, args, { onProgress, signal } = {}) =>
        client.callTool({ name, arguments: args }, { onprogress: onProgress, signal }),
    },
    profileOf(settings),
    settings,
  );
  await report.check('close', async () => {
    if (settings.era === 'legacy') await transport.terminateSession();
    await client.close();
  });
}
report.finish();
