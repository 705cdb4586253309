// Drives mcp-remote, which logs in by itself: it opens the system's browser, which is Chromium here. See ../README.md.
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

import { Person } from '../lib/browser.mjs';
import { readOAuthSettings } from '../lib/login.mjs';
import { Report, equal, truthy, until } from '../lib/report.mjs';
import { here } from '../lib/settings.mjs';

const settings = readOAuthSettings();
const report = new Report('oauth mcp-remote', 60_000);
const home = mkdtempSync(path.join(tmpdir(), 'mcp-remote-'));
const opened = path.join(home, 'opened');
const allowed = path.join(home, 'allowed');
appendFileSync(opened, '');
writeFileSync(allowed, '');

// The system's browser, by the names that openers look for: it notes what it is told to open, and goes there while the person wants to
// log in.
const browser = path.join(home, 'x-www-browser');
writeFileSync(
  browser,
  `#!/bin/sh
echo "$1" >>'${opened}'
[ -e '${allowed}' ] || exit 0
'${process.execPath}' '${path.join(here, 'oauth/walk.mjs')}' "$1" >>'${home}/walk.log' 2>&1 &
`,
);
chmodSync(browser, 0o755);
const urls = () => readFileSync(opened, 'utf8').split('\n').filter(Boolean);

const client = new Client({ name: 'e2e-oauth-mcp-remote', version: '1' });
const transport = new StdioClientTransport({
  command: process.execPath,
  args: [path.join(here, 'node_modules/mcp-remote/dist/proxy.js'), settings.url, '--allow-http', '--transport', 'http-only'],
  env: {
    PATH: `${home}:${process.env.PATH}`,
    HOME: home,
    MCP_REMOTE_CONFIG_DIR: path.join(home, 'config'),
    BROWSER: browser,
    OAUTH_USER: process.env.OAUTH_USER,
  },
  stderr: 'ignore',
});

const connected = await report.check('login and consent in the browser it opens', async () => {
  await client.connect(transport, { timeout: 50_000 });
  equal(urls().length, 1, 'pages opened');
  equal(new URL(urls()[0]).searchParams.get('code_challenge_method'), 'S256', 'code_challenge_method');
});
if (!connected && existsSync(`${home}/walk.log`)) console.error(readFileSync(`${home}/walk.log`, 'utf8'));
if (connected) {
  await report.check('tools are listed and called', async () => {
    const { tools } = await client.listTools();
    truthy(tools.some((tool) => tool.name === settings.tool), `no ${settings.tool}`);
    const result = await client.callTool({ name: settings.tool, arguments: { message: 'hello' } });
    equal(result.content[0].text, 'hello', 'the answer');
  });
  await report.check('access taken away in the page ends calls', async () => {
    rmSync(allowed);
    const person = await Person.start(settings.account);
    try {
      await person.revoke(new URL(urls()[0]).origin, 'MCP CLI Proxy');
    } catch (error) {
      throw new Error(`${error}\nclients registered: ${urls()}`);
    } finally {
      await person.close();
    }
    const began = Date.now();
    let failed = false;
    const call = async () => {
      try {
        await client.callTool({ name: settings.tool, arguments: { message: 'late' } }, undefined, { timeout: 2_000 });
      } catch {
        failed = true;
      }
    };
    await until('calls end, or the browser is opened anew', async () => {
      await call();
      return failed || urls().length > 1;
    }, 5_000);
    return `after ${Date.now() - began} ms`;
  });
}
await client.close().catch(() => {}); // it ends with its process in any case
rmSync(home, { recursive: true, force: true });
report.finish();
