// The smallest MCP client of each era: builds requests as text, returns answers as text.
import { dig, members } from './rawjson.mjs';
import { send } from './http.mjs';
import { equal } from './report.mjs';
import { authorization } from './settings.mjs';

export const modernVersion = '2026-07-28';
const accept = 'application/json, text/event-stream';
const info = '{"name":"e2e-raw","version":"1"}';

export function baseHeaders(settings) {
  return { ...authorization(settings), 'Content-Type': 'application/json', Accept: accept };
}

// request is the text of a JSON-RPC request. params is raw text.
export function request(id, method, params) {
  return `{"jsonrpc":"2.0","id":${id},"method":"${method}"${params === undefined ? '' : `,"params":${params}`}}`;
}

// response finds the response with this id among the messages of an answer.
export function response(answer, id) {
  const found = answer.messages.find((text) => members(text).get('id') === String(id) && !members(text).has('method'));
  if (found === undefined) throw new Error(`no response ${id} in ${answer.status} ${answer.body.slice(0, 500)}`);
  return found;
}

export function errorCode(answer, id) {
  return Number(dig(response(answer, id), 'error', 'code'));
}

export class Legacy {
  #settings;
  #next = 1;
  session;

  constructor(settings, version) {
    this.#settings = settings;
    this.version = version;
  }

  headers(more = {}) {
    return {
      ...baseHeaders(this.#settings),
      ...(this.session ? { 'Mcp-Session-Id': this.session, 'MCP-Protocol-Version': this.version } : {}),
      ...more,
    };
  }

  async initialize() {
    const params = `{"protocolVersion":"${this.version}","capabilities":{},"clientInfo":${info}}`;
    const answer = await send(this.#settings.url, { headers: baseHeaders(this.#settings), body: request(0, 'initialize', params) });
    equal(answer.status, 200, `status of initialize (${answer.body.slice(0, 500)})`);
    this.session = answer.headers['mcp-session-id'];
    const done = await send(this.#settings.url, { headers: this.headers(), body: '{"jsonrpc":"2.0","method":"notifications/initialized"}' });
    equal([done.status, done.body], [202, ''], 'answer to notifications/initialized');
    return dig(response(answer, 0), 'result');
  }

  // ask sends one request and returns {answer, id}.
  async ask(method, params, more) {
    const id = this.#next++;
    return { id, answer: await send(this.#settings.url, { headers: this.headers(more), body: request(id, method, params) }) };
  }

  end() {
    return send(this.#settings.url, { method: 'DELETE', headers: this.headers() });
  }
}

export class Modern {
  #settings;
  #next = 1;

  constructor(settings) {
    this.#settings = settings;
  }

  // meta is the raw text of the required _meta.
  meta(more = '') {
    return `{"io.modelcontextprotocol/protocolVersion":"${modernVersion}","io.modelcontextprotocol/clientInfo":${info},"io.modelcontextprotocol/clientCapabilities":{}${more}}`;
  }

  headers(method, more = {}) {
    return { ...baseHeaders(this.#settings), 'MCP-Protocol-Version': modernVersion, 'Mcp-Method': method, ...more };
  }

  // ask sends one request. params is raw text without _meta: '' or '"name":"echo","arguments":{}'. headers and meta replace the right ones.
  async ask(method, params = '', { headers = {}, meta } = {}) {
    const id = this.#next++;
    const body = request(id, method, `{${params}${params ? ',' : ''}"_meta":${meta ?? this.meta()}}`);
    const name = params ? dig(`{${params}}`, 'name') : undefined;
    const all = this.headers(method, { ...(name ? { 'Mcp-Name': JSON.parse(name) } : {}), ...headers });
    for (const key of Object.keys(all)) if (all[key] === undefined) delete all[key];
    return { id, answer: await send(this.#settings.url, { headers: all, body }) };
  }
}
