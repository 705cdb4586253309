// The versions with sessions: 2025-03-26 to 2025-11-25 over Streamable HTTP.
import { open, send } from '../lib/http.mjs';
import { Legacy, baseHeaders, errorCode, request, response } from '../lib/mcp.mjs';
import { dig, elements } from '../lib/rawjson.mjs';
import { equal, truthy } from '../lib/report.mjs';
import { checkResult } from '../lib/suite.mjs';
import { compareBytes, listAll } from './lists.mjs';

export async function checkLegacy(report, settings, profile, version) {
  const client = new Legacy(settings, version);
  const check = (name, fn) => report.check(`${version} ${name}`, fn);
  const opened = await check('initialize', async () => {
    const result = await client.initialize();
    equal(JSON.parse(dig(result, 'protocolVersion')), version, 'protocolVersion');
    truthy(/^[\x21-\x7e]{1,512}$/.test(client.session), `session id ${client.session}`);
  });
  if (!opened) return;

  await check('ping', async () => {
    const { answer, id } = await client.ask('ping');
    equal([answer.status, dig(response(answer, id), 'result')], [200, '{}'], 'status and result');
  });
  await check('list', async () => {
    const tools = await listAll(async (cursor) => {
      const { answer, id } = await client.ask('tools/list', cursor ? `{"cursor":${cursor}}` : undefined);
      return dig(response(answer, id), 'result');
    });
    return compareBytes(tools, profile, settings);
  });
  for (const call of profile.calls) {
    await check(`call ${call.tool}`, async () => {
      const params = JSON.stringify({ name: settings.prefix + call.tool, arguments: call.args });
      const { answer, id } = await client.ask('tools/call', params);
      checkResult(JSON.parse(dig(response(answer, id), 'result')), call);
    });
  }
  if (profile.progress) {
    await check('progress', async () => {
      const { tool, args, steps } = profile.progress;
      const params = JSON.stringify({ name: settings.prefix + tool, arguments: args, _meta: { progressToken: 'my "token"' } });
      const { answer, id } = await client.ask('tools/call', params);
      checkOrder(answer.messages.map((text) => JSON.parse(text)), id, steps);
    });
  }
  if (!settings.direct) await checkPromises(check, client, settings);

  await check('end of the session', async () => {
    const answer = await client.end();
    // The specification leaves the status open; a gateway answers 204.
    truthy(settings.direct ? answer.status < 300 : answer.status === 204, `status ${answer.status}`);
    const { answer: late } = await client.ask('tools/list');
    truthy(settings.direct ? late.status >= 400 : late.status === 404, `status after the end: ${late.status}`);
  });
}

export function checkOrder(messages, id, steps) {
  const order = messages.map((message) => (message.method === 'notifications/progress' ? message.params.progress : message.id));
  equal(order, [...Array.from({ length: steps }, (_, i) => i + 1), id], 'messages in order');
  equal(messages.slice(0, steps).every((message) => message.params.progressToken === 'my "token"'), true, 'our progress token');
}

// checkPromises is what a gateway owes a legacy client beyond what every server does (M-1, M-11, M-34, M-46).
async function checkPromises(check, client, settings) {
  const post = (headers, body) => send(settings.url, { headers, body });

  await check('id is echoed raw', async () => {
    for (const id of ['"a\\u0062c"', '-0', '9007199254740993', '""']) {
      const answer = await post(client.headers(), request(id, 'ping'));
      equal(dig(answer.messages[0], 'id'), id, 'id');
    }
  });
  await check('unknown method', async () => {
    const { answer, id } = await client.ask('no/such', '{}');
    equal([answer.status, errorCode(answer, id)], [200, -32601], 'status and code');
  });
  await check('unknown tool', async () => {
    const { answer, id } = await client.ask('tools/call', '{"name":"no-such-tool","arguments":{}}');
    equal([answer.status, errorCode(answer, id)], [200, -32602], 'status and code');
  });
  await check('params that are no object', async () => {
    const { answer, id } = await client.ask('tools/call', '[]');
    equal(errorCode(answer, id), -32602, 'code');
  });
  await check('no session id', async () => {
    const answer = await post(baseHeaders(settings), request(1, 'tools/list'));
    equal([answer.status, errorCode(answer, 1)], [400, -32600], 'status and code');
  });
  await check('session id that does not open', async () => {
    const [first] = client.session;
    for (const garbage of ['garbage', `${client.session}x`, (first === 'x' ? 'y' : 'x') + client.session.slice(1)]) {
      const answer = await post(client.headers({ 'Mcp-Session-Id': garbage }), request(1, 'tools/list'));
      equal([answer.status, errorCode(answer, 1)], [404, -32600], `status and code for ${garbage}`);
      equal(JSON.parse(dig(response(answer, 1), 'error', 'message')), 'Invalid session ID', 'message');
    }
  });
  await check('unknown version header', async () => {
    const answer = await post(client.headers({ 'MCP-Protocol-Version': '1999-01-01' }), request(1, 'tools/list'));
    equal([answer.status, errorCode(answer, 1)], [400, -32022], 'status and code');
    equal(JSON.parse(dig(response(answer, 1), 'error', 'data', 'requested')), '1999-01-01', 'data.requested');
    truthy(elements(dig(response(answer, 1), 'error', 'data', 'supported')).length > 0, 'data.supported is empty');
  });
  await check('another legacy version header', async () => {
    const answer = await post(client.headers({ 'MCP-Protocol-Version': '2025-06-18' }), request(1, 'ping'));
    equal(answer.status, 200, 'status');
  });
  await check('batch', async () => {
    const answer = await post(client.headers(), `[${request(1, 'ping')},${request(2, 'tools/list')}]`);
    if (client.version !== '2025-03-26') {
      equal(answer.status, 400, 'status: only 2025-03-26 has batches');
      return;
    }
    equal(answer.status, 200, 'status');
    truthy(response(answer, 1) && response(answer, 2), 'both responses');
  });
  await check('own stream', async () => {
    const stream = await open(settings.url, { headers: client.headers({ Accept: 'text/event-stream' }) });
    equal([stream.status, stream.headers['content-type']], [200, 'text/event-stream'], 'status and type');
    stream.close();
  });
  await check('GET without a session', async () => {
    const headers = { ...baseHeaders(settings), 'MCP-Protocol-Version': client.version };
    equal((await send(settings.url, { method: 'GET', headers })).status, 400, 'status');
  });
}
