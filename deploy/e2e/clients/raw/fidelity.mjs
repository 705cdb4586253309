// What goes through unchanged: integers beyond 2^53, unknown members, key order, escapes, spellings of numbers (M-9, M-73).
import { Legacy, Modern, response } from '../lib/mcp.mjs';
import { dig, members } from '../lib/rawjson.mjs';
import { equal } from '../lib/report.mjs';
import { oddResult } from '../fidelity/tools.mjs';

const odd =
  '{"id":9007199254740993,"max":18446744073709551615,"huge":123456789012345678901234567890,"neg":-0,"exp":1E+2,"one":1.0,' +
  '"z":1,"a":2,"\\u006bey":"\\u00e9\\/\\ud83d\\ude00","nested":{"b":[null,true,{"":[]}]},"long":"' + 'x'.repeat(70_000) + '"}';

export async function checkFidelity(report, settings) {
  const legacy = new Legacy(settings, '2025-11-25');
  const clients = [['2025-11-25', async (tool, args) => {
    if (!legacy.session) await legacy.initialize();
    const { answer, id } = await legacy.ask('tools/call', `{"name":"${settings.prefix + tool}","arguments":${args}}`);
    return dig(response(answer, id), 'result');
  }]];
  if (!settings.direct || settings.era === 'modern') {
    clients.push(['2026-07-28', async (tool, args) => {
      const { answer, id } = await new Modern(settings).ask('tools/call', `"name":"${settings.prefix + tool}","arguments":${args}`);
      return dig(response(answer, id), 'result');
    }]);
  }
  for (const [version, call] of clients) {
    await report.check(`${version} arguments unchanged`, async () => {
      const result = await call('echo-raw', odd);
      equal(dig(result, 'structuredContent'), odd, 'structuredContent, made of the arguments the upstream got');
      equal(JSON.parse(dig(result, 'content'))[0].text, odd, 'text, made of the arguments the upstream got');
      return `${odd.length} bytes`;
    });
    await report.check(`${version} result unchanged`, async () => {
      const result = await call('odd-result', '{}');
      for (const [name, raw] of members(oddResult)) {
        if (name === '_meta') {
          const key = 'example.com/cursor';
          equal(dig(result, '_meta', key), dig(raw, key), `_meta ${key}`);
        } else {
          equal(dig(result, name), raw, name);
        }
      }
    });
  }
}
