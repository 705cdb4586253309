// Drives the OAuth client of the TypeScript SDK v2 for a person who may not use the gateway: she logs in, and the client gets
// access_denied. See ../README.md.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { Person } from '../lib/browser.mjs';
import { listenForCallback } from '../lib/callback.mjs';
import { readOAuthSettings, refused } from '../lib/login.mjs';
import { provider } from '../lib/provider.mjs';
import { Report, equal, truthy } from '../lib/report.mjs';

const settings = readOAuthSettings();
const report = new Report('oauth ts-v2 denied', 60_000);
const callback = await listenForCallback();
const person = await Person.start(settings.account);
const sent = [];
const auth = provider({ name: 'e2e OAuth denied', redirect: callback.url, sent });
const connect = () => {
  const client = new Client({ name: 'e2e-oauth-denied', version: '1' });
  const transport = new StreamableHTTPClientTransport(new URL(settings.url), { authProvider: auth });
  return { transport, connecting: client.connect(transport) };
};
const steps = [
  ['the client is sent to the browser', () => refused(connect().connecting)],
  ['the person logs in, and the client gets access_denied', async () => {
    const seen = [];
    await person.authorize(sent[0], { seen, provider: settings.provider });
    truthy(seen.some((text) => text.includes('The app cannot be connected')), `no page says why: ${seen.join(' ---- ')}`);
    const params = await callback.next();
    equal(params.get('error'), 'access_denied', `error after ${seen.join(' ---- ')}`);
    equal(params.get('state'), auth.memory.state, 'state');
    equal(params.get('iss'), sent[0].origin, 'iss');
    equal(params.get('code'), null, 'code');
    truthy(/access/.test(params.get('error_description')), `description: ${params.get('error_description')}`);
    truthy(!seen.some((text) => text.includes('It will be able to')), 'she was asked for a consent that is worth nothing');
  }],
  ['the client has no token and stays out', async () => {
    equal(auth.memory.tokens, undefined, 'tokens');
    await refused(connect().connecting);
  }],
];
try {
  for (const [step, run] of steps) {
    if (!(await report.check(step, run))) break;
  }
} finally {
  await person.close();
  callback.close();
}
report.finish();
