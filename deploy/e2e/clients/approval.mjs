// Calls the tool rec__echo, whose calls a policy holds, with a client of the TypeScript SDK. MCP_ERA: v1, or of v2 legacy or modern.
// MCP_ANSWER is what the person says to each form, empty for a client that cannot show any. MCP_MESSAGE goes along; MCP_WANT is what the
// result must hold, and MCP_REFUSED=1 says that it must be an error. With MCP_NOTICES the client gives up after 20 s without a notice of
// progress, its person answers "never" with nothing, and the file MCP_TOLD is written after so many notices.
import { writeFileSync } from 'node:fs';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

import { Report, equal, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';

const settings = readSettings();
const { MCP_ERA: era, MCP_ANSWER: answer = '', MCP_MESSAGE: message, MCP_WANT: want, MCP_REFUSED: refused } = process.env;
const { MCP_NOTICES: notices, MCP_TOLD: toldFile } = process.env;
const report = new Report(`approval ${era} ${answer}`, notices ? 60_000 : undefined);
const info = { name: 'e2e-approval', version: '1' };
const capabilities = answer ? { elicitation: {} } : {};
const url = new URL(settings.url);
const options = { requestInit: { headers: authorization(settings) } };
const asked = [];
const person = ({ params }) => {
  asked.push(params.message);
  if (answer === 'never') return new Promise(() => {});
  return answer === 'accept' ? { action: answer, content: {} } : { action: answer };
};

const isV1 = era === 'v1';
const modes = { legacy: {}, modern: { versionNegotiation: { mode: { pin: '2026-07-28' } } } };
const client = isV1 ? new ClientV1(info, { capabilities }) : new Client(info, { capabilities, ...modes[era] });
const transport = isV1 ? new TransportV1(url, options) : new StreamableHTTPClientTransport(url, options);
if (answer) client.setRequestHandler(isV1 ? ElicitRequestSchema : 'elicitation/create', person);

const progress = [];
const patience = {
  timeout: 20_000,
  resetTimeoutOnProgress: true,
  onprogress: (p) => {
    if (!p.message?.includes('waits for an approval')) return; // the client's own, about rounds of questions
    progress.push(p);
    if (progress.length === Number(notices)) writeFileSync(toldFile, p.message);
  },
};
const call = { name: 'rec__echo', arguments: { message } };
const ask = () => (isV1 ? client.callTool(call, undefined, patience) : client.callTool(call, patience));

const connected = await report.check('connect', () => client.connect(transport));
if (connected) {
  await report.check('call', async () => {
    const result = await (notices ? ask() : client.callTool(call));
    const text = result.content.map((block) => block.text).join('');
    equal(Boolean(result.isError), refused === '1', `isError of ${text}`);
    truthy(text.includes(want), `${text} without ${want}`);
    equal(asked.length > 0, answer !== '', 'asked');
    if (notices) {
      truthy(progress.length >= Number(notices), `${progress.length} notices`);
      truthy(
        progress.every((p, i) => i === 0 || p.progress > progress[i - 1].progress),
        `progress ${JSON.stringify(progress)}`,
      );
    }
    return asked.join('; ');
  });
  await report.check('close', () => client.close());
}
report.finish();
