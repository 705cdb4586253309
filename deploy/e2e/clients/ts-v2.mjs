// Drives the TypeScript SDK v2 client. MCP_ERA: legacy (the library's default), auto, or modern (2026-07-28 and nothing else). MCP_TRANSPORT:
// http (default) or sse, the latter with the legacy era only. MCP_FEATURES=1 checks all that is not tools.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { answerTo, runFeatures } from './lib/features.mjs';
import { profileOf } from './lib/profiles.mjs';
import { Report, equal, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';
import { runSuite } from './lib/suite.mjs';
import { tap } from './lib/tap.mjs';

const modern = '2026-07-28';
const settings = readSettings();
const report = new Report(`ts-v2 ${settings.era} ${settings.transport}`);
const modes = { legacy: {}, auto: { versionNegotiation: { mode: 'auto' } }, modern: { versionNegotiation: { mode: { pin: modern } } } };
const questions = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const client = new Client({ name: 'e2e-ts-v2', version: '1' }, { capabilities: settings.features ? questions : {}, ...modes[settings.era] });
const Transport = settings.transport === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport;
const transport = new Transport(new URL(settings.url), { requestInit: { headers: authorization(settings) } });

// features runs what is not tools.
async function features() {
  const [asked, notes] = [[], []];
  for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list']) {
    client.setRequestHandler(method, ({ params }) => answerTo(asked, method, params));
  }
  for (const method of ['notifications/message', 'notifications/resources/updated']) {
    client.setNotificationHandler(method, (note) => notes.push(note));
  }
  const isModern = client.getNegotiatedProtocolVersion() === modern;
  await runFeatures(
    report,
    {
      asked, notes, modern: isModern, url: true,
      instructions: () => client.getInstructions() ?? '',
      listPrompts: async () => (await client.listPrompts()).prompts,
      getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
      complete: async (ref, argument, context) => (await client.complete({ ref, argument, context })).completion,
      listResources: async () => (await client.listResources()).resources,
      listTemplates: async () => (await client.listResourceTemplates()).resourceTemplates,
      readResource: async (uri) => (await client.readResource({ uri })).contents,
      callTool: (name, args) => client.callTool({ name, arguments: args }),
      // A modern client knows no tasks of this server's version: to it, the call is one long call.
      callTask: isModern && (async (name, args) => ({ result: await client.callTool({ name, arguments: args }), ids: [] })),
      logFrom: (level) => (isModern ? undefined : client.setLoggingLevel(level)),
      subscribe: async (uri) => {
        if (!isModern) {
          await client.subscribeResource({ uri });
          return () => client.unsubscribeResource({ uri });
        }
        const subscription = await client.listen({ resourceSubscriptions: [uri] });
        return () => subscription.close();
      },
    },
    settings,
  );
}

const connected = await report.check('connect', async () => {
  truthy(modes[settings.era], `unknown MCP_ERA ${settings.era}`);
  await client.connect(transport);
  truthy(client.getServerCapabilities()?.tools, 'the server declares no tools');
  const version = client.getNegotiatedProtocolVersion();
  if (settings.era === 'legacy') equal(version === modern, false, 'a modern version without asking for it');
  if (settings.era === 'modern') equal(version, modern, 'protocol version');
  return `${version} ${JSON.stringify(client.getServerVersion())}`;
});
if (connected && settings.features) await features();
if (connected && !settings.features) {
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
}
if (connected) {
  await report.check('close', async () => {
    if (settings.era === 'legacy') await transport.terminateSession?.();
    await client.close();
  });
}
report.finish();
