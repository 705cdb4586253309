// Compares listed tools with the reference byte for byte.
import { dig, elements, members, removed, replaced } from '../lib/rawjson.mjs';
import { equal, truthy } from '../lib/report.mjs';

// listAll follows the cursor and returns the raw texts of all tools. ask(cursor) gives the raw result of one page.
export async function listAll(ask) {
  const tools = [];
  let cursor;
  for (let page = 0; page < 100; page++) {
    const result = await ask(cursor);
    tools.push(...elements(dig(result, 'tools')));
    cursor = dig(result, 'nextCursor');
    if (cursor === undefined) return tools;
  }
  throw new Error('100 pages and no end');
}

export function compareBytes(tools, profile, settings) {
  const names = tools.map((raw) => JSON.parse(members(raw).get('name')));
  for (const tool of profile.tools) truthy(names.includes(settings.prefix + tool), `${settings.prefix + tool} is not listed, but ${names}`);
  if (!settings.reference) return `${tools.length} tools`;
  const want = elements(settings.reference).map((raw) => {
    const name = settings.prefix + JSON.parse(members(raw).get('name'));
    return replaced(raw, 'name', JSON.stringify(name));
  });
  // A gateway sorts by name, an upstream lists in its own order. `execution` speaks of tasks; who offers none may leave it out (M-73).
  const comparable = (list) => list.map((raw) => (settings.direct ? raw : removed(raw, 'execution'))).toSorted();
  equal(comparable(tools), comparable(want), 'bytes of the tools');
  if (!settings.direct) equal(names, names.toSorted(byBytes), 'order of names');
  return `${tools.length} tools, byte for byte`;
}

function byBytes(a, b) {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
