// Reads upstreams.json.
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { here } from './settings.mjs';

// stdioCommand returns {command, args, env} that start a server on stdio, extra arguments last.
export function stdioCommand(name, extra = []) {
  const all = JSON.parse(readFileSync(path.join(here, 'upstreams.json'), 'utf8'));
  const found = all[name]?.stdio;
  if (!found) throw new Error(`no upstream ${name} with stdio; there are ${Object.keys(all)}`);
  return {
    command: found.command,
    args: [...found.args.map((arg) => (arg.endsWith('js') ? path.join(here, arg) : arg)), ...extra],
    env: found.env ?? {},
  };
}
