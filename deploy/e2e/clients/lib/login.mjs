// What all OAuth drivers check, in the order a person meets it: refused without a login, login and consent in the browser, tools, a new
// token by refresh, then the access taken away in the page.
import { readFileSync } from 'node:fs';

import { Person } from './browser.mjs';
import { listenForCallback } from './callback.mjs';
import { provider } from './provider.mjs';
import { equal, truthy, until } from './report.mjs';
import { readSettings } from './settings.mjs';

export function readOAuthSettings() {
  return {
    ...readSettings(),
    // The person: a JSON file with email and password, as demo.user is.
    account: JSON.parse(readFileSync(process.env.OAUTH_USER, 'utf8')),
    provider: process.env.OAUTH_PROVIDER ?? '',
    issuer: process.env.OAUTH_ISSUER ?? '',
    metadataUrl: process.env.OAUTH_METADATA_URL || undefined,
    tool: process.env.OAUTH_TOOL ?? 'demo__echo',
  };
}

// limit is how long an access that was taken away may still work (RS-12).
const limit = 5_000;

// runLogin drives a client. make(provider) returns {connect, finishAuth(params), listTools, callTool(name, args), stream()}: connect
// throws an error of a name that ends in UnauthorizedError while nobody is logged in; stream opens a long stream and returns {ended}, a
// promise of its end.
export async function runLogin(report, settings, name, make) {
  const callback = await listenForCallback();
  const person = await Person.start(settings.account);
  const sent = [];
  const auth = provider({ name, redirect: callback.url, metadataUrl: settings.metadataUrl, sent });
  let client = make(auth);
  const steps = [
    ['without a login the client is sent to the browser', async () => {
      await refused(client.connect());
      equal(sent.length, 1, 'authorization URLs');
      const asked = sent[0].searchParams;
      equal(asked.get('code_challenge_method'), 'S256', 'code_challenge_method');
      equal(asked.get('resource'), settings.url, 'resource');
      equal(asked.get('client_id') === settings.metadataUrl, settings.metadataUrl !== undefined, 'the metadata document is the client_id');
      return sent[0].origin;
    }],
    ['login and consent in the browser', async () => {
      const seen = [];
      await person.authorize(sent[0], { seen, provider: settings.provider });
      const params = await callback.next();
      equal(params.get('state'), auth.memory.state, 'state');
      equal(params.get('iss'), sent[0].origin, 'iss');
      truthy(params.get('code'), `no code: ${params}`);
      const consent = seen.find((text) => /Allow/.test(text)) ?? '';
      truthy(consent.includes(name), `the consent page does not name the client: ${seen.join('\n----\n')}`);
      truthy(consent.includes('127.0.0.1'), 'the consent page does not name the redirect host (AZ-12)');
      await client.finishAuth(params);
      truthy(auth.memory.tokens?.refresh_token, 'there is no refresh token');
      return `${seen.length} pages`;
    }],
    ['tools are listed and called', async () => {
      client = make(auth);
      await client.connect();
      const tools = await client.listTools();
      truthy(tools.some((tool) => tool.name === settings.tool), `no ${settings.tool} in ${tools.map((t) => t.name)}`);
      const result = await client.callTool(settings.tool, { message: 'hello' });
      equal(result.content[0].text, 'hello', 'the answer');
    }],
    ['a dead access token is exchanged for a new one', async () => {
      const before = auth.memory.tokens;
      auth.memory.tokens = { ...before, access_token: before.access_token.slice(0, -8) + 'AAAAAAAA' };
      const result = await client.callTool(settings.tool, { message: 'again' });
      equal(result.content[0].text, 'again', 'the answer');
      truthy(auth.memory.tokens.access_token !== before.access_token, 'the access token is the old one');
      truthy(auth.memory.tokens.refresh_token !== before.refresh_token, 'the refresh token was not rotated');
      equal(sent.length, 1, 'authorization URLs');
    }],
    ['access taken away in the page ends calls and streams', async () => {
      const { ended } = await client.stream();
      const text = await person.revoke(settings.issuer || sent[0].origin, name);
      const began = Date.now();
      let stream;
      ended.then(() => (stream = Date.now() - began));
      await until('calls are refused', async () => {
        try {
          await client.callTool(settings.tool, { message: 'late' });
          return false;
        } catch {
          return true;
        }
      }, limit);
      const call = Date.now() - began;
      await until('the stream ends', () => stream !== undefined, limit - call);
      truthy(!text.includes(name), 'the page still lists the client');
      return `calls after ${call} ms, stream after ${stream} ms`;
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
}

// refused wants that a client is not let in without a login.
export async function refused(connecting) {
  try {
    await connecting;
  } catch (error) {
    truthy(/Unauthorized/.test(`${error?.name} ${error?.constructor?.name} ${error}`), `another error: ${error?.stack ?? error}`);
    return;
  }
  throw new Error('the client connected without a login');
}
