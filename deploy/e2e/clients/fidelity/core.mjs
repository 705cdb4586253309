// The fidelity server without a transport: takes the text of one message, gives the texts of the answers to send.
import { dig, members } from '../lib/rawjson.mjs';
import { oddResult, toolTexts } from './tools.mjs';

const modern = '2026-07-28';
const legacy = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];
const serverInfo = '{"name":"fidelity","version":"1"}';
const text = (s) => `"content":[{"type":"text","text":${JSON.stringify(s)}}]`;

export class Core {
  #waits = new Map(); // request's cancel function by `${session}/${raw id}`
  #seen = new Map(); // key → {started, cancelled}

  // handle answers one message of a session ('' when modern or on stdio). send(text) may be called several times; the response comes last.
  // It resolves when nothing more comes: without a response if the request was cancelled.
  async handle(session, raw, send) {
    const message = members(raw);
    const method = message.has('method') ? JSON.parse(message.get('method')) : undefined;
    const id = message.get('id');
    if (id === undefined) {
      if (method === 'notifications/cancelled') this.cancel(session, dig(raw, 'params', 'requestId'));
      return;
    }
    if (method === undefined) return; // a response; this server asks nothing
    const params = message.get('params') ?? '{}';
    const era = dig(params, '_meta') && members(dig(params, '_meta')).has('io.modelcontextprotocol/protocolVersion') ? 'modern' : 'legacy';
    const answer = await this.#answer({ session, id, method, params, era, send });
    if (answer !== undefined) send(`{"jsonrpc":"2.0","id":${id},${answer}}`);
  }

  cancel(session, id) {
    this.#waits.get(`${session}/${id}`)?.();
  }

  async #answer(call) {
    const { method, params, era } = call;
    const result = (body) => (era === 'modern' ? `"result":{"resultType":"complete",${body}}` : `"result":{${body}}`);
    const cached = era === 'modern' ? ',"ttlMs":1000,"cacheScope":"private"' : '';
    switch (method) {
      case 'initialize': {
        const asked = JSON.parse(dig(params, 'protocolVersion'));
        const version = legacy.includes(asked) ? asked : legacy[0];
        return `"result":{"protocolVersion":"${version}","capabilities":{"tools":{}},"serverInfo":${serverInfo}}`;
      }
      case 'server/discover':
        return result(`"supportedVersions":["${modern}"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":${serverInfo}}${cached}`);
      case 'ping':
        return result('');
      case 'tools/list':
        return result(`"tools":[${toolTexts.join(',')}]${cached}`);
      case 'tools/call':
        return this.#callTool(call, result);
      default:
        return `"error":{"code":-32601,"message":"Method not found"}`;
    }
  }

  async #callTool({ session, id, params, send }, result) {
    const name = JSON.parse(dig(params, 'name') ?? '""');
    const args = dig(params, 'arguments') ?? '{}';
    const token = dig(params, '_meta', 'progressToken');
    const progress = (n, total) =>
      token === undefined ||
      send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":${n},"total":${total}}}`);
    switch (name) {
      case 'echo-raw':
        return result(`${text(args)},"structuredContent":${args}`);
      case 'fail':
        return result(`${text('this tool fails on purpose')},"isError":true`);
      case 'odd-result':
        return result(oddResult.slice(1, -1));
      case 'odd-schema': {
        const city = dig(args, 'city') ?? '""';
        return result(`${text(JSON.parse(city))},"structuredContent":{"city":${city},"list":[1,2]}`);
      }
      case 'progress': {
        const total = Number(dig(args, 'steps') ?? 3);
        const pause = Number(dig(args, 'pause_ms') ?? 0);
        for (let n = 1; n <= total; n++) {
          progress(n, total);
          if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        }
        return result(text('done'));
      }
      case 'seen':
        return result(text(JSON.stringify(this.#counts(JSON.parse(dig(args, 'key'))))));
      case 'wait':
        return (await this.#wait(`${session}/${id}`, JSON.parse(dig(args, 'key')), progress)) ? undefined : result(text('nobody cancelled'));
      default:
        return `"error":{"code":-32602,"message":"Unknown tool"}`;
    }
  }

  #counts(key) {
    if (!this.#seen.has(key)) this.#seen.set(key, { started: 0, cancelled: 0 });
    return this.#seen.get(key);
  }

  // wait resolves to whether it was cancelled.
  async #wait(call, key, progress) {
    const counts = this.#counts(key);
    counts.started++;
    let timer;
    const cancelled = new Promise((resolve) => {
      this.#waits.set(call, () => resolve(true));
      timer = setTimeout(() => resolve(false), 30_000);
    });
    progress(1, 2);
    const outcome = await cancelled;
    clearTimeout(timer);
    this.#waits.delete(call);
    if (outcome) counts.cancelled++;
    return outcome;
  }
}
