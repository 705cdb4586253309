// Input that no client sends: each has its exact answer (M-10 to M-16, RS-…), and the gateway goes on serving.
import { send } from '../lib/http.mjs';
import { Legacy, baseHeaders, request } from '../lib/mcp.mjs';
import { dig } from '../lib/rawjson.mjs';
import { equal, matches, truthy } from '../lib/report.mjs';

export async function checkBadInput(report, settings) {
  const client = new Legacy(settings, '2025-11-25');
  await client.initialize();
  await checkBodies(report, settings, client);
  await checkHeaders(report, settings, client);
  await checkAccess(report, settings);
  await report.check('still serving', async () => {
    equal((await client.ask('ping')).answer.status, 200, 'status');
  });
}

async function checkBodies(report, settings, client) {
  const deep = '['.repeat(300) + ']'.repeat(300);
  const table = [
    ['empty body', '', 400, -32700],
    ['no JSON', '{"jsonrpc":', 400, -32700],
    ['two values', `${request(1, 'ping')}${request(2, 'ping')}`, 400, -32700],
    ['byte order mark', `\ufeff${request(1, 'ping')}`, 400, -32700],
    ['invalid UTF-8', Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'), Buffer.from([0xff]), Buffer.from('"}')]), 400, -32700],
    ['a string', '"ping"', 400, -32600],
    ['no jsonrpc', '{"id":1,"method":"ping"}', 400, -32600],
    ['jsonrpc 1.0', '{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, -32600],
    ['id null', '{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600],
    ['id with a fraction', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 400, -32600],
    ['id is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}', 400, -32600],
    ['duplicate method', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', 400, -32600],
    ['too deep', `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":${deep}}}`, 400, -32600],
  ];
  for (const [name, body, status, code] of table) {
    await report.check(`body: ${name}`, async () => {
      const answer = await send(settings.url, { headers: client.headers(), body });
      equal([answer.status, Number(dig(answer.messages[0], 'error', 'code'))], [status, code], 'status and code');
    });
  }
  await report.check('body: duplicate tool name', async () => {
    const params = '{"name":"a","name":"b","arguments":{}}';
    const { answer } = await client.ask('tools/call', params);
    equal(Number(dig(answer.messages[0], 'error', 'code')), -32600, 'code');
  });
  await report.check('body: above 4 MiB', async () => {
    const body = request(1, 'tools/call', `{"name":"x","arguments":{"x":"${'x'.repeat(5 << 20)}"}}`);
    // The answer may come before the whole body went out; then the connection breaks, which is an answer, too.
    const status = await send(settings.url, { headers: client.headers(), body }).then((a) => a.status, (error) => error.code);
    truthy([413, 'EPIPE', 'ECONNRESET'].includes(status), `got ${status}`);
  });
}

async function checkHeaders(report, settings, client) {
  const url = new URL(settings.url);
  const table = [
    ['Content-Type text/plain', { 'Content-Type': 'text/plain' }, 415],
    ['Content-Type with charset', { 'Content-Type': 'application/json; charset=utf-8' }, 200],
    ['Content-Encoding gzip', { 'Content-Encoding': 'gzip' }, 415],
    ['Accept of something else', { Accept: 'text/html' }, 406],
    ['Accept anything', { Accept: '*/*' }, 200],
    ['Accept JSON only', { Accept: 'application/json' }, 200],
    ['foreign Origin', { Origin: 'http://evil.example' }, 403],
    ['Origin null', { Origin: 'null' }, 403],
    ['own Origin', { Origin: url.origin }, 200],
    ['foreign Host', { Host: 'evil.example' }, 403],
    ['localhost as Host', { Host: `localhost:${url.port}` }, 200],
  ];
  for (const [name, headers, status] of table) {
    await report.check(`header: ${name}`, async () => {
      const answer = await send(settings.url, { headers: client.headers(headers), body: request(1, 'ping') });
      equal(answer.status, status, `status (${answer.body.slice(0, 200)})`);
    });
  }
  await report.check('header: PUT', async () => {
    const answer = await send(settings.url, { method: 'PUT', headers: client.headers(), body: '{}' });
    equal([answer.status, answer.headers.allow], [405, 'GET, POST, DELETE, OPTIONS'], 'status and Allow');
  });
}

async function checkAccess(report, settings) {
  const other = new URL(settings.url);
  other.pathname = other.pathname.replace(/[^/]+$/, 'no-such-gateway');
  const without = { ...baseHeaders(settings) };
  delete without.Authorization;
  const body = request(1, 'server/discover', '{}');
  await report.check('access: unknown gateway', async () => {
    const answer = await send(other, { headers: baseHeaders(settings), body });
    equal(answer.status, 404, 'status');
  });
  const mangled = settings.token.slice(0, -4) + (settings.token.endsWith('AAAA') ? 'BBBB' : 'AAAA');
  const plain = { ...without, Authorization: `Bearer ${settings.token}` };
  const table = [
    // name, headers, query, status, what the challenge says (RS-3, RS-4, RS-7)
    ['no token', without, '', 401, /^Bearer\b/],
    ['garbled token', { ...without, Authorization: 'Bearer garbage' }, '', 401, /^Bearer .*error="invalid_token"/],
    ['token with other last letters', { ...without, Authorization: `Bearer ${mangled}` }, '', 401, /^Bearer .*error="invalid_token"/],
    ['Basic', { ...without, Authorization: 'Basic YTpi' }, '', 401, /^Bearer\b/],
    ['Bearer and nothing', { ...without, Authorization: 'Bearer' }, '', 400, /error="invalid_request"/],
    ['two tokens', { ...without, Authorization: [plain.Authorization, plain.Authorization] }, '', 400, /error="invalid_request"/],
    ['token in the query', without, `?access_token=${settings.token}`, 400, /error="invalid_request"/],
  ];
  for (const [name, headers, query, status, challenge] of table) {
    await report.check(`access: ${name}`, async () => {
      const answer = await send(settings.url + query, { headers, body });
      equal(answer.status, status, `status (${answer.body.slice(0, 200)})`);
      matches(answer.headers['www-authenticate'] ?? '', challenge, 'WWW-Authenticate');
      equal(answer.headers['cache-control'], 'no-store', 'Cache-Control');
      truthy(!answer.body.includes(settings.token), 'the answer holds the token');
    });
  }
  await report.check('access: scheme in lower case', async () => {
    const client = new Legacy(settings, '2025-11-25');
    await client.initialize();
    const headers = client.headers({ Authorization: `bearer ${settings.token}` });
    equal((await send(settings.url, { headers, body: request(1, 'ping') })).status, 200, 'status');
  });
  await report.check('access: trailing slash', async () => {
    const client = new Legacy({ ...settings, url: `${settings.url}/` }, '2025-11-25');
    await client.initialize();
  });
}
