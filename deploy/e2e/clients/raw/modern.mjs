// 2026-07-28: one POST per request, no session.
import { send } from '../lib/http.mjs';
import { Modern, errorCode, modernVersion, request, response } from '../lib/mcp.mjs';
import { dig } from '../lib/rawjson.mjs';
import { equal, truthy } from '../lib/report.mjs';
import { checkResult } from '../lib/suite.mjs';
import { checkOrder } from './legacy.mjs';
import { compareBytes, listAll } from './lists.mjs';

export async function checkModern(report, settings, profile) {
  const client = new Modern(settings);
  const check = (name, fn) => report.check(`${modernVersion} ${name}`, fn);
  const result = async (...args) => {
    const { answer, id } = await client.ask(...args);
    equal(answer.status, 200, `status (${answer.body.slice(0, 500)})`);
    const raw = dig(response(answer, id), 'result');
    truthy(raw !== undefined, `an error: ${answer.body.slice(0, 500)}`);
    equal(dig(raw, 'resultType'), '"complete"', 'resultType');
    if (!settings.direct) truthy(dig(raw, '_meta', 'io.modelcontextprotocol/serverInfo', 'name'), `no serverInfo in ${raw.slice(0, 500)}`);
    return raw;
  };
  const cached = (raw) => {
    truthy(Number(dig(raw, 'ttlMs')) >= 0, `ttlMs ${dig(raw, 'ttlMs')}`);
    equal(dig(raw, 'cacheScope'), '"private"', 'cacheScope');
  };

  await check('server/discover', async () => {
    const raw = await result('server/discover');
    truthy(JSON.parse(dig(raw, 'supportedVersions')).includes(modernVersion), `supportedVersions ${dig(raw, 'supportedVersions')}`);
    truthy(dig(raw, 'capabilities', 'tools'), 'no tools capability');
    cached(raw);
  });
  await check('list', async () => {
    const tools = await listAll(async (cursor) => {
      const raw = await result('tools/list', cursor ? `"cursor":${cursor}` : '');
      cached(raw);
      return raw;
    });
    return compareBytes(tools, profile, settings);
  });
  for (const call of profile.calls) {
    await check(`call ${call.tool}`, async () => {
      const raw = await result('tools/call', `"name":"${settings.prefix + call.tool}","arguments":${JSON.stringify(call.args)}`);
      checkResult(JSON.parse(raw), call);
    });
  }
  if (profile.progress) {
    await check('progress', async () => {
      const { tool, args, steps } = profile.progress;
      const meta = client.meta(',"progressToken":"my \\"token\\""');
      const { answer, id } = await client.ask('tools/call', `"name":"${settings.prefix + tool}","arguments":${JSON.stringify(args)}`, { meta });
      checkOrder(answer.messages.map((text) => JSON.parse(text)), id, steps);
    });
  }
  if (!settings.direct) {
    await checkRefusals(check, client, settings, profile);
    await checkMethods(check, client, settings);
  }
}

// checkRefusals is the validation order of M-23 and the headers of M-24.
async function checkRefusals(check, client, settings, profile) {
  const [call] = profile.calls;
  const params = `"name":"${settings.prefix + call.tool}","arguments":${JSON.stringify(call.args)}`;
  const meta = client.meta();
  const without = (key) => meta.replace(new RegExp(`,?"io\\.modelcontextprotocol/${key}":("[^"]*"|\\{[^}]*\\})`), '').replace('{,', '{');
  const table = [
    ['no _meta', 'tools/list', '', { meta: '{}' }, 400, -32602],
    ['no version header', 'tools/list', '', { headers: { 'MCP-Protocol-Version': undefined } }, 400, -32020],
    ['version header differs', 'tools/list', '', { headers: { 'MCP-Protocol-Version': '2025-11-25' } }, 400, -32020],
    ['unknown version', 'tools/list', '', { headers: { 'MCP-Protocol-Version': '2031-01-01' }, meta: meta.replace(modernVersion, '2031-01-01') }, 400, -32022],
    ['no clientCapabilities', 'tools/list', '', { meta: without('clientCapabilities') }, 400, -32602],
    ['no Mcp-Method', 'tools/list', '', { headers: { 'Mcp-Method': undefined } }, 400, -32020],
    ['Mcp-Method differs', 'tools/list', '', { headers: { 'Mcp-Method': 'tools/call' } }, 400, -32020],
    ['Mcp-Method in capitals', 'tools/list', '', { headers: { 'Mcp-Method': 'Tools/List' } }, 400, -32020],
    ['unknown method', 'no/such', '', {}, 404, -32601],
    ['no Mcp-Name', 'tools/call', params, { headers: { 'Mcp-Name': undefined } }, 400, -32020],
    ['Mcp-Name differs', 'tools/call', params, { headers: { 'Mcp-Name': 'other' } }, 400, -32020],
    ['bad base64 in Mcp-Name', 'tools/call', params, { headers: { 'Mcp-Name': '=?base64?%%?=' } }, 400, -32020],
    ['unknown tool', 'tools/call', '"name":"no-such-tool","arguments":{}', {}, 200, -32602],
    ['initialize', 'initialize', '', {}, 404, -32601],
    ['ping', 'ping', '', {}, 404, -32601],
    ['logging/setLevel', 'logging/setLevel', '"level":"info"', {}, 404, -32601],
    ['resources/subscribe', 'resources/subscribe', '"uri":"x:y"', { headers: { 'Mcp-Name': 'x:y' } }, 404, -32601],
  ];
  for (const [name, method, fields, options, status, code] of table) {
    await check(`refused: ${name}`, async () => {
      const { answer, id } = await client.ask(method, fields, options);
      equal([answer.status, errorCode(answer, id)], [status, code], `status and code (${answer.body.slice(0, 300)})`);
    });
  }
  await check('Mcp-Name in base64', async () => {
    const name = `=?base64?${Buffer.from(settings.prefix + call.tool).toString('base64')}?=`;
    const { answer, id } = await client.ask('tools/call', params, { headers: { 'Mcp-Name': name } });
    checkResult(JSON.parse(dig(response(answer, id), 'result')), { text: undefined });
  });
}

async function checkMethods(check, client, settings) {
  await check('notification', async () => {
    const body = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}';
    const answer = await send(settings.url, { headers: client.headers('notifications/cancelled'), body });
    equal([answer.status, answer.body], [202, ''], 'status and body');
  });
  await check('array', async () => {
    const answer = await send(settings.url, { headers: client.headers('tools/list'), body: `[${request(1, 'tools/list', '{}')}]` });
    equal(answer.status, 400, 'status');
  });
  for (const method of ['GET', 'DELETE']) {
    await check(`${method} is not allowed`, async () => {
      const answer = await send(settings.url, { method, headers: client.headers('x') });
      equal(answer.status, 405, 'status');
    });
  }
  await check('a session id is ignored', async () => {
    const { answer, id } = await client.ask('tools/list', '', { headers: { 'Mcp-Session-Id': 'garbage' } });
    equal(answer.status, 200, 'status');
    truthy(dig(response(answer, id), 'result', 'tools'), 'tools');
    equal(answer.headers['mcp-session-id'], undefined, 'session id in the answer');
  });
}
