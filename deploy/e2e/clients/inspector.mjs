// Drives the MCP inspector's command line, one process per request. MCP_TRANSPORT: http (default) or sse; MCP_ERA: legacy, auto, modern.
// MCP_FEATURES=1 checks prompts and resources instead of tools.
// It runs on the Node of this folder, because it needs a newer one than many machines have.
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { profileOf } from './lib/profiles.mjs';
import { Report, equal, matches, truthy } from './lib/report.mjs';
import { authorization, here, node22, readSettings } from './lib/settings.mjs';
import { checkResult, compareTools, textOf } from './lib/suite.mjs';

const settings = readSettings();
const report = new Report(`inspector ${settings.transport} ${settings.era}`);
const profile = profileOf(settings);
const home = mkdtempSync(path.join(tmpdir(), 'inspector-'));

// inspect runs one request and returns {status, value, log}: the exit code, the JSON that was printed, standard error.
function inspect(...args) {
  const fixed = ['--cli', '--server-url', settings.url, '--transport', settings.transport, '--format', 'json', '--quiet'];
  if (settings.era !== 'legacy') fixed.push('--protocol-era', settings.era);
  for (const [name, value] of Object.entries(authorization(settings))) fixed.push('--header', `${name}: ${value}`);
  const program = path.join(here, 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');
  return new Promise((resolve, reject) => {
    const child = spawn(node22, [program, ...fixed, ...args], {
      env: { PATH: `${path.dirname(node22)}:${process.env.PATH}`, HOME: home },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let log = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (log += chunk));
    child.on('error', reject);
    child.on('close', (status) => {
      try {
        resolve({ status, value: out ? JSON.parse(out) : undefined, log });
      } catch (error) {
        reject(new Error(`${error}: ${out}`));
      }
    });
  });
}

const callTool = (tool, args) =>
  inspect('--method', 'tools/call', '--tool-name', settings.prefix + tool, '--tool-args-json', JSON.stringify(args));

if (settings.features) await features();
else await tools();
report.finish();

async function features() {
  const result = async (...args) => {
    const { status, value, log } = await inspect(...args);
    equal(status, 0, `exit code (${log})`);
    return value.result;
  };
  await report.check('prompts', async () => {
    const { prompts } = await result('--method', 'prompts/list');
    truthy(prompts.some((prompt) => prompt.name === `${settings.prefix}args-prompt`), JSON.stringify(prompts));
    const prompt = await result('--method', 'prompts/get', '--prompt-name', `${settings.prefix}args-prompt`, '--prompt-args', 'city=Ulm');
    matches(prompt.messages[0].content.text, /weather in Ulm/, 'text of the prompt');
  });
  await report.check('resources', async () => {
    const { resources } = await result('--method', 'resources/list');
    const { contents } = await result('--method', 'resources/read', '--uri', resources[0].uri);
    equal(contents[0].uri, resources[0].uri, 'uri of the contents');
    const { resourceTemplates } = await result('--method', 'resources/templates/list');
    truthy(resourceTemplates.length > 0, 'no templates');
    return `${resources.length} resources`;
  });
}

async function tools() {
  await report.check('list', async () => {
    const { status, value, log } = await inspect('--method', 'tools/list');
    equal(status, 0, `exit code (${log})`);
    compareTools(value.result.tools, profile, settings);
    return `${value.result.tools.length} tools`;
  });

  for (const call of profile.calls) {
    await report.check(`call ${call.tool}`, async () => {
      const { status, value, log } = await callTool(call.tool, call.args);
      equal(status, 0, `exit code (${log})`);
      checkResult(value.result, call);
    });
  }

  await report.check('error result', async () => {
    const { status, value } = await callTool(profile.failure.tool, profile.failure.args);
    truthy(status !== 0, 'exit code 0 for a failed tool');
    equal(value.result.isError, true, 'isError');
    matches(textOf(value.result), profile.failure.text, 'text of the error');
  });

  await report.check('unknown tool', async () => {
    // It looks the name up in the list and asks the server nothing.
    const { status, log } = await callTool('no-such-tool', {});
    truthy(status !== 0, 'exit code 0 for an unknown tool');
    matches(log, /not[ _]found/i, 'message');
  });
}
