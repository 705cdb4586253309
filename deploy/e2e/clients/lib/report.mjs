// One JSON line per check on standard output: {client, check, ok, detail}. The process ends with 1 if one failed or none ran.
import { isDeepStrictEqual } from 'node:util';

export class Report {
  #client;
  #deadline;
  #failed = 0;
  #passed = 0;

  // deadline bounds one check, in milliseconds: a client that hangs is a failed check and not a hung test.
  constructor(client, deadline = 30_000) {
    this.#client = client;
    this.#deadline = deadline;
  }

  // check runs fn; what it returns becomes the detail, what it throws the failure. Returns whether it passed.
  async check(name, fn) {
    let line = { client: this.#client, check: name, ok: true, detail: '' };
    try {
      line.detail = (await within(this.#deadline, fn())) ?? '';
      this.#passed++;
    } catch (error) {
      line.ok = false;
      line.detail = String(error?.stack ?? error);
      this.#failed++;
    }
    process.stdout.write(JSON.stringify(line) + '\n');
    return line.ok;
  }

  // finish ends the process. A client library may leave sockets and timers behind; they do not decide when a test ends.
  finish() {
    if (this.#passed + this.#failed === 0) {
      process.stdout.write(JSON.stringify({ client: this.#client, check: 'any', ok: false, detail: 'no check ran' }) + '\n');
      this.#failed++;
    }
    process.exit(this.#failed ? 1 : 0);
  }
}

export async function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// until polls fn until it returns a truthy value, and returns that.
export async function until(what, fn, milliseconds = 5_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const value = await fn();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${milliseconds} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function equal(got, want, what) {
  if (!isDeepStrictEqual(got, want)) {
    throw new Error(`${what}: got ${show(got)}, want ${show(want)}`);
  }
}

export function truthy(value, what) {
  if (!value) throw new Error(what);
}

export function matches(text, pattern, what) {
  if (!pattern.test(text)) throw new Error(`${what}: got ${show(text)}, want a match of ${pattern}`);
}

function show(value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text?.length > 1000 ? `${text.slice(0, 1000)}… (${text.length} characters)` : String(text);
}
