// Drives a gateway whose load_tools_when_needed is switched while clients look on: MCP_ERA is v1 (TypeScript SDK v1), legacy or modern
// (TypeScript SDK v2). A POST to MCP_SWITCH/on and MCP_SWITCH/off switches it, and answers when the gateway's nodes have it.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { Report, equal, matches, truthy, until } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';

const settings = readSettings();
const report = new Report(`search ${settings.era}`);
const v1 = settings.era === 'v1';
const echo = `${settings.prefix}echo`;

let streams = 0; // GET streams of the session that are open
const options = {
  requestInit: { headers: authorization(settings) },
  fetch: async (url, init) => {
    const response = await fetch(url, init);
    if ((init?.method ?? 'GET') === 'GET' && response.ok) streams++;
    return response;
  },
};
const mode = settings.era === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {};
const client = v1 ? new ClientV1({ name: 'e2e-search', version: '1' }) : new Client({ name: 'e2e-search', version: '1' }, mode);
const transport = new (v1 ? TransportV1 : StreamableHTTPClientTransport)(new URL(settings.url), options);

let changes = 0;
const names = async () => (await client.listTools()).tools.map((tool) => tool.name).sort();
const call = (name, args) => client.callTool({ name, arguments: args });
const said = (result) => result.content.map((part) => part.text).join('');

async function turn(way) {
  const before = changes;
  const answer = await fetch(`${process.env.MCP_SWITCH}/${way}`, { method: 'POST' });
  equal(answer.status, 200, `switching ${way}`);
  await until('tools/list_changed', () => changes > before, 10_000);
}

const connected = await report.check('connect', async () => {
  if (v1) client.setNotificationHandler(ToolListChangedNotificationSchema, () => changes++);
  else client.setNotificationHandler('notifications/tools/list_changed', () => changes++);
  await client.connect(transport);
  if (settings.era === 'modern') await client.listen({ toolsListChanged: true });
  else await until('the stream of the session', () => streams > 0);
});
if (connected) {
  await report.check('off by default', async () => {
    const listed = await names();
    truthy(listed.includes(echo), `${echo} is not listed`);
    truthy(!listed.includes('search_tools') && !listed.includes('run_tool'), `listed ${listed}`);
  });
  await report.check('switched on', async () => {
    await turn('on');
    equal(await names(), ['run_tool', 'search_tools'], 'tools');
  });
  await report.check('search, run, result', async () => {
    const found = await call('search_tools', { query: 'echo a message' });
    equal(JSON.parse(said(found)), found.structuredContent, 'text and structured content');
    const [first] = found.structuredContent.tools;
    equal([first.name, first.available, first.server], [echo, true, 'rec'], 'the first tool');
    matches(first.signature, /message[!?]:string/, 'its signature');
    const ran = await call('run_tool', { tool_name: first.name, arguments: { message: 'hello through the door' } });
    equal([said(ran), ran.isError ?? false], ['hello through the door', false], 'result');
    const whole = await call('search_tools', { query: 'echo a message', detail: 'schema', limit: 1 });
    equal(whole.structuredContent.tools[0].inputSchema.type, 'object', 'its schema');
  });
  await report.check('by its own name', async () => equal(said(await call(echo, { message: 'hello' })), 'hello', 'result'));
  await report.check('what does not run', async () => {
    const unknown = await call('run_tool', { tool_name: 'rec__ecco', arguments: {} });
    equal([unknown.isError, unknown.structuredContent.penstock_error.type], [true, 'UNKNOWN_TOOL'], 'an unknown tool');
    const misfit = await call('run_tool', { tool_name: 'echo', arguments: { message: 7 } });
    equal([misfit.isError, misfit.structuredContent.penstock_error.problems[0].path], [true, '$.message'], 'arguments that do not fit');
    let refused;
    await call('run_tool', { tool_name: 'echo', arguments: {}, tool_args: {} }).catch((error) => (refused = error));
    equal(refused?.code, -32602, 'both names of the arguments');
  });
  await report.check('switched off', async () => {
    await turn('off');
    truthy((await names()).includes(echo), `${echo} is not listed`);
  });
  await report.check('close', () => client.close());
}
report.finish();
