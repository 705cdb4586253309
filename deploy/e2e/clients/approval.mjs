// Calls the tool rec__echo, whose calls a policy holds, with a client of the TypeScript SDK. MCP_ERA: v1, or of v2 legacy or modern.
// MCP_ANSWER is what the person says to each form, empty for a client that cannot show any. MCP_MESSAGE goes along; MCP_WANT is what the
// result must hold, and MCP_REFUSED=1 says that it must be an error.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

import { Report, equal, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';

const settings = readSettings();
const { MCP_ERA: era, MCP_ANSWER: answer = '', MCP_MESSAGE: message, MCP_WANT: want, MCP_REFUSED: refused } = process.env;
const report = new Report(`approval ${era} ${answer}`);
const info = { name: 'e2e-approval', version: '1' };
const capabilities = answer ? { elicitation: {} } : {};
const url = new URL(settings.url);
const options = { requestInit: { headers: authorization(settings) } };
const asked = [];
const person = ({ params }) => {
  asked.push(params.message);
  return answer === 'accept' ? { action: answer, content: {} } : { action: answer };
};

const isV1 = era === 'v1';
const modes = { legacy: {}, modern: { versionNegotiation: { mode: { pin: '2026-07-28' } } } };
const client = isV1 ? new ClientV1(info, { capabilities }) : new Client(info, { capabilities, ...modes[era] });
const transport = isV1 ? new TransportV1(url, options) : new StreamableHTTPClientTransport(url, options);
if (answer) client.setRequestHandler(isV1 ? ElicitRequestSchema : 'elicitation/create', person);

const connected = await report.check('connect', () => client.connect(transport));
if (connected) {
  await report.check('call', async () => {
    const result = await client.callTool({ name: 'rec__echo', arguments: { message } });
    const text = result.content.map((block) => block.text).join('');
    equal(Boolean(result.isError), refused === '1', `isError of ${text}`);
    truthy(text.includes(want), `${text} without ${want}`);
    equal(asked.length > 0, answer !== '', 'asked');
    return asked.join('; ');
  });
  await report.check('close', () => client.close());
}
report.finish();
