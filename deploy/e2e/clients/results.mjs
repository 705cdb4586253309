// Drives a gateway in front of server-everything whose results meet policies: MCP_ERA is v1 (TypeScript SDK v1), legacy or modern
// (TypeScript SDK v2). results_test.go says which policies there are.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { Report, equal, matches, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';

const settings = readSettings();
const report = new Report(`results ${settings.era}`);
const v1 = settings.era === 'v1';
const mode = settings.era === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {};
const client = v1 ? new ClientV1({ name: 'e2e-results', version: '1' }) : new Client({ name: 'e2e-results', version: '1' }, mode);
const transport = new (v1 ? TransportV1 : StreamableHTTPClientTransport)(new URL(settings.url), { requestInit: { headers: authorization(settings) } });

const call = (name, args) => client.callTool({ name: settings.prefix + name, arguments: args });
const said = (result) => result.content.map((part) => part.text ?? '').join('');

if (await report.check('connect', () => client.connect(transport))) {
  await client.listTools(); // the library checks structured content against the schemas it has seen
  await report.check('redacted', async () => {
    const got = await call('echo', { message: 'the key is sk-abc123, keep it' });
    equal([said(got), got.isError ?? false], ['Echo: the key is [redacted], keep it', false], 'result');
  });
  await report.check('redacted by arguments', async () => {
    equal(said(await call('echo', { message: 'loud: quiet words' })), 'Echo: loud: [redacted] words', 'with the condition');
    equal(said(await call('echo', { message: 'quiet words' })), 'Echo: quiet words', 'without it');
  });
  await report.check('untouched', async () => equal(said(await call('echo', { message: '"plain" \u2028 \u00e9' })), 'Echo: "plain" \u2028 \u00e9', 'result'));
  await report.check('structured content', async () => {
    const got = await call('get-structured-content', { location: 'New York' });
    equal(got.structuredContent.conditions, '[redacted]', 'conditions');
    truthy(typeof got.structuredContent.temperature === 'number', 'the temperature is no number');
    matches(said(got), /\[redacted\]/, 'text');
  });
  await report.check('blocked', async () => {
    const got = await call('get-env', {});
    equal([got.isError, said(got)], [true, 'The policy "no-env" withholds this result: Ask SRE.'], 'result');
    equal(got.structuredContent.penstock_error.type, 'RESULT_BLOCKED', 'type');
  });
  await report.check('resource by a link', async () => {
    const got = await call('get-resource-links', { count: 1 });
    const link = got.content.find((part) => part.type === 'resource_link');
    const read = await client.readResource({ uri: link.uri });
    const text = read.contents.map((part) => part.text ?? Buffer.from(part.blob, 'base64').toString()).join('');
    truthy(text.includes('[redacted]') && !text.includes('created'), `it reads ${text}`);
  });
  await report.check('untrusted', async () => {
    const image = (await call('get-tiny-image', {})).content.find((part) => part.type === 'image');
    truthy(Buffer.from(image.data, 'base64').subarray(1, 4).toString() === 'PNG', 'it is no PNG');
  });
  await report.check('shadow', async () => matches(said(await call('get-sum', { a: 2, b: 3 })), /5/, 'result'));
  await report.check('close', () => client.close());
}
report.finish();
