// Drives the client library of the tasks extension (2026-07-28) at the server of deploy/conformance/fixture.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createTaskSessionFromClient, resultFromTaskOutcome } from '@modelcontextprotocol/ext-tasks/client';

import { Report, equal, matches, truthy } from './lib/report.mjs';
import { authorization, readSettings } from './lib/settings.mjs';
import { textOf } from './lib/suite.mjs';

const protocolVersion = '2026-07-28';
const settings = readSettings();
const report = new Report('ext-tasks');
const clientInfo = { name: 'e2e-ext-tasks', version: '1' };
const clientCapabilities = { elicitation: { form: {} }, extensions: { 'io.modelcontextprotocol/tasks': {} } };
const client = new Client(clientInfo, { capabilities: clientCapabilities, versionNegotiation: { mode: { pin: protocolVersion } } });
const ids = new Set(); // of tasks, as the wire had them

let lastID = 0;

// rawDispatch sends one request: the SDK's own codecs refuse results that are tasks, so the library leaves this to its user.
async function rawDispatch(request, { signal } = {}) {
  const { method, params } = request;
  const named = method.startsWith('tasks/') ? params.taskId : params.name;
  const response = await fetch(settings.url, {
    method: 'POST', signal, body: JSON.stringify({ jsonrpc: '2.0', id: ++lastID, ...request }),
    headers: {
      'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': protocolVersion,
      'Mcp-Method': method, ...(named === undefined ? {} : { 'Mcp-Name': named }), ...authorization(settings),
    },
  });
  const text = await response.text();
  const last = response.headers.get('content-type').startsWith('text/event-stream') ? text.trim().split('\n').pop().replace(/^data: ?/, '') : text;
  const answer = JSON.parse(last);
  if (answer.error) return { kind: 'error', error: answer.error };
  if (answer.result.taskId) ids.add(answer.result.taskId);
  return { kind: 'result', result: answer.result };
}

const asked = [];
let session;

// run calls a tool to its end; ids gets what its task was called.
async function run(tool, args) {
  ids.clear();
  asked.length = 0;
  const execution = await session.callTool(settings.prefix + tool, args);
  const { outcome } = await execution.settle();
  return resultFromTaskOutcome(outcome);
}

function oneID() {
  equal(ids.size, 1, `ids of the task ${[...ids]}`);
  if (!settings.direct) truthy([...ids][0].startsWith('pst1.'), `the server's own id is seen: ${[...ids]}`);
}

const connected = await report.check('connect', async () => {
  await client.connect(new StreamableHTTPClientTransport(new URL(settings.url), { requestInit: { headers: authorization(settings) } }));
  truthy(client.getServerCapabilities()?.extensions?.['io.modelcontextprotocol/tasks'], 'the extension is not declared');
  session = createTaskSessionFromClient(client, {
    endpointId: settings.url, rawDispatch, v2RequestFraming: { protocolVersion, clientInfo, clientCapabilities },
    onInputRequest: async (request) => {
      asked.push(request.params.message);
      return { action: 'accept', content: { name: 'Ada', confirm: true } };
    },
  });
});
if (connected) {
  await report.check('a task', async () => {
    equal(textOf(await run('slow_compute', { seconds: 0.3, label: 'pi' })), 'computed pi', 'text');
    oneID();
  });
  await report.check('a task that asks', async () => {
    equal(textOf(await run('confirm_delete', { filename: 'old.txt' })), 'deleted old.txt', 'text');
    equal(asked, ['Delete it?'], 'questions');
    oneID();
  });
  await report.check('a question before the task', async () => {
    equal(textOf(await run('test_tool_with_task', {})), 'Hello, Ada!', 'text');
    equal(asked, ['Your name?'], 'questions');
    oneID();
  });
  await report.check('a tool that fails', async () => {
    const result = await run('failing_job', {});
    equal(result.isError, true, 'isError');
    oneID();
  });
  await report.check('a task that breaks', async () => {
    try {
      await run('protocol_error_job', {});
    } catch (error) {
      matches(String(error), /job has broken/, 'error');
      return;
    }
    throw new Error('it did not fail');
  });
  await report.check('cancellation', async () => {
    ids.clear();
    const execution = await session.callTool(`${settings.prefix}slow_compute`, { seconds: 30 });
    await execution.cancel();
    const { outcome } = await execution.settle();
    equal(outcome.kind ?? outcome.status ?? outcome.type, 'cancelled', `outcome ${JSON.stringify(outcome)}`);
    oneID();
  });
  await report.check('close', async () => {
    await session.close();
    await client.close();
  });
}
report.finish();
