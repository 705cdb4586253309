// The checks that every client library goes through. A client is given as {listTools(), callTool(name, args, {onProgress, signal}),
// received}: the functions return what the library's user gets and throw what they get thrown, received is what tap.mjs collects.
import { elements, members } from './rawjson.mjs';
import { equal, matches, truthy, until, within } from './report.mjs';

export async function runSuite(report, client, profile, settings) {
  const named = (tool) => settings.prefix + tool;

  await report.check('list', async () => {
    const tools = await client.listTools();
    compareTools(tools, profile, settings);
    return `${tools.length} tools`;
  });

  for (const call of profile.calls) {
    await report.check(`call ${call.tool}`, async () => {
      const result = await client.callTool(named(call.tool), call.args);
      checkResult(result, call);
    });
  }

  await report.check('error result', async () => {
    const { tool, args, text } = profile.failure;
    const result = await client.callTool(named(tool), args);
    equal(result.isError, true, 'isError');
    matches(textOf(result), text, 'text of the error');
  });

  await report.check('unknown tool', async () => {
    try {
      const result = await client.callTool(named('no-such-tool'), {});
      // Servers on the TypeScript SDK answer an unknown tool with a tool result; a gateway answers as the specification says.
      truthy(settings.direct && result.isError, `got a result, want error -32602: ${JSON.stringify(result)}`);
    } catch (error) {
      if (error.code === undefined) throw error;
      equal(error.code, -32602, `code of "${error.message}"`);
    }
  });

  if (profile.progress) await report.check('progress', () => progress(client, named, profile.progress));
  if (profile.cancel) await report.check('cancel', () => cancel(client, named, profile));
}

async function progress(client, named, { tool, args, steps, text }) {
  client.received.length = 0;
  const result = await client.callTool(named(tool), args, { onProgress: () => {} });
  checkResult(result, { text });
  const order = client.received
    .filter((message) => message.method === 'notifications/progress' || message.method === undefined)
    .map((message) => (message.method ? message.params.progress : 'response'));
  equal(order, [...Array.from({ length: steps }, (_, i) => i + 1), 'response'], 'messages in the order of their arrival');
  equal(client.received.every((message) => !message.method?.endsWith('/progress') || message.params.total === steps), true, 'total');
  return `${steps} notifications in order, then the result`;
}

async function cancel(client, named, profile) {
  const { tool, args, seen } = profile.cancel;
  const abort = new AbortController();
  let started;
  const running = new Promise((resolve) => {
    started = resolve;
  });
  const call = client.callTool(named(tool), args, { onProgress: started, signal: abort.signal }).then(
    (result) => ({ result }),
    (error) => ({ error }),
  );
  const early = await within(10_000, Promise.race([running, call]));
  truthy(!early?.result && !early?.error, `the call ended before it was cancelled: ${JSON.stringify(early)} ${early?.error}`);
  abort.abort('the test cancels this call');
  const outcome = await within(5_000, call);
  truthy(outcome.error, `a cancelled call gave a result: ${JSON.stringify(outcome.result)}`);
  if (seen) {
    await until('the upstream sees the cancellation', async () => {
      const counts = JSON.parse(textOf(await client.callTool(named(seen.tool), seen.args)));
      return counts.started === 1 && counts.cancelled === 1;
    });
  }
  const [next] = profile.calls;
  checkResult(await client.callTool(named(next.tool), next.args), next);
  return seen ? 'seen by the upstream; the next call works' : 'the next call works';
}

// compareTools compares what a library shows of tools with the reference, or with the profile when there is none. Libraries put keys in
// another order and leave members out; raw.mjs compares bytes.
export function compareTools(tools, profile, settings) {
  const names = tools.map((tool) => tool.name);
  for (const tool of profile.tools) {
    truthy(names.includes(settings.prefix + tool), `tool ${settings.prefix + tool} is not listed, but ${names}`);
  }
  if (!settings.reference) return;
  equal(names.toSorted(), referenceTools(settings).map(([name]) => name).toSorted(), 'names');
  const byName = new Map(referenceTools(settings));
  for (const tool of tools) {
    const want = members(byName.get(tool.name));
    for (const member of ['description', 'title', 'inputSchema', 'outputSchema']) {
      const raw = want.get(member);
      if (raw === undefined && tool[member] === undefined) continue;
      equal(tool[member], raw && JSON.parse(raw), `${tool.name}.${member}`);
    }
  }
}

// referenceTools returns [exposed name, raw text] of each tool of the reference.
export function referenceTools(settings) {
  return elements(settings.reference).map((raw) => [settings.prefix + JSON.parse(members(raw).get('name')), raw]);
}

export function checkResult(result, { text, structured }) {
  equal(Boolean(result.isError), false, `isError of ${JSON.stringify(result)}`);
  if (text) matches(textOf(result), text, 'text');
  if (structured) equal(result.structuredContent, structured, 'structuredContent');
}

export function textOf(result) {
  return result.content.filter((block) => block.type === 'text').map((block) => block.text).join('');
}
