// Drives the TypeScript SDK v2 client, which can show its person a page, for a person who has no credential for a server: the call asks to
// open a link (URL-mode elicitation), the person connects in Chromium, and the call goes on. MCP_ERA=modern is asked within the call, legacy
// gets an error that names the link and calls again. Both stay connected. See ../README.md.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { Person } from '../lib/browser.mjs';
import { readOAuthSettings } from '../lib/login.mjs';
import { Report, equal, truthy } from '../lib/report.mjs';
import { authorization } from '../lib/settings.mjs';

const settings = readOAuthSettings();
const report = new Report(`oauth connect ${settings.era}`, 60_000);
const modes = { legacy: {}, modern: { versionNegotiation: { mode: { pin: '2026-07-28' } } } };
const person = await Person.start(settings.account);
const opened = [];
const client = new Client({ name: 'e2e-connect', version: '1' }, { capabilities: { elicitation: { url: {} } }, ...modes[settings.era] });

async function open(params) {
  opened.push(params.url);
  equal(params.mode, 'url', 'mode');
  const seen = [];
  await person.connect(params.url, { seen });
  truthy(seen.at(-1).includes('Connected. Go back to your client'), seen.join('\n----\n'));
}

client.setRequestHandler('elicitation/create', async ({ params }) => {
  await open(params);
  return { action: 'accept' };
});
const call = (message) => client.callTool({ name: settings.tool, arguments: { message } });
try {
  await report.check('connect', async () => {
    await client.connect(new StreamableHTTPClientTransport(new URL(settings.url), { requestInit: { headers: authorization(settings) } }));
    return client.getNegotiatedProtocolVersion();
  });
  await report.check('the call asks for a credential, and goes on with it', async () => {
    let result;
    try {
      result = await call('first');
    } catch (error) {
      equal(settings.era, 'legacy', `refused with ${error?.stack ?? error}; the era`);
      equal(error.code, -32042, 'the code of the error');
      equal(error.data.elicitations.length, 1, 'links');
      await open(error.data.elicitations[0]);
      result = await call('first');
    }
    equal(result.content[0].text, 'first', 'the answer');
    equal(opened.length, 1, 'links opened');
  });
  await report.check('the next call asks for nothing', async () => {
    equal((await call('second')).content[0].text, 'second', 'the answer');
    equal(opened.length, 1, 'links opened');
  });
} finally {
  await person.close();
  await client.close().catch(() => {}); // it ends with its process in any case
}
report.finish();
