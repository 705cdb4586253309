// Slices of JSON text, byte for byte: JSON.parse would round integers and lose duplicate keys.

const space = /[ \t\r\n]/;

function skip(text, i) {
  while (i < text.length && space.test(text[i])) i++;
  return i;
}

// end returns the index after the value that starts at i.
function end(text, i) {
  if (text[i] === '"') {
    for (i++; text[i] !== '"'; i++) {
      if (i >= text.length) throw new Error('unterminated string');
      if (text[i] === '\\') i++;
    }
    return i + 1;
  }
  if (text[i] !== '{' && text[i] !== '[') {
    while (i < text.length && !/[,\]}\s]/.test(text[i])) i++;
    return i;
  }
  let depth = 0;
  do {
    if (i >= text.length) throw new Error('unterminated value');
    if (text[i] === '"') {
      i = end(text, i);
      continue;
    }
    if (text[i] === '{' || text[i] === '[') depth++;
    if (text[i] === '}' || text[i] === ']') depth--;
    i++;
  } while (depth > 0);
  return i;
}

// members returns the members of an object: name → raw text of the value, in the text's order.
export function members(text) {
  const found = new Map();
  let i = skip(text, 0);
  if (text[i] !== '{') throw new Error(`not an object: ${text.slice(0, 80)}`);
  i = skip(text, i + 1);
  while (text[i] !== '}') {
    const keyEnd = end(text, i);
    const key = JSON.parse(text.slice(i, keyEnd));
    i = skip(text, keyEnd);
    if (text[i] !== ':') throw new Error(`no colon after ${key}`);
    i = skip(text, i + 1);
    const valueEnd = end(text, i);
    if (found.has(key)) throw new Error(`duplicate member ${key}`);
    found.set(key, text.slice(i, valueEnd));
    i = skip(text, valueEnd);
    if (text[i] === ',') i = skip(text, i + 1);
    else if (text[i] !== '}') throw new Error(`no comma after ${key}`);
  }
  return found;
}

// elements returns the raw texts of an array's elements.
export function elements(text) {
  const found = [];
  let i = skip(text, 0);
  if (text[i] !== '[') throw new Error(`not an array: ${text.slice(0, 80)}`);
  i = skip(text, i + 1);
  while (text[i] !== ']') {
    const valueEnd = end(text, i);
    found.push(text.slice(i, valueEnd));
    i = skip(text, valueEnd);
    if (text[i] === ',') i = skip(text, i + 1);
    else if (text[i] !== ']') throw new Error('no comma in an array');
  }
  return found;
}

// dig follows member names down from an object and returns the raw text there, or undefined.
export function dig(text, ...names) {
  for (const name of names) {
    if (text === undefined) return undefined;
    text = members(text).get(name);
  }
  return text;
}

// replaced puts another value into one member, every other byte untouched.
export function replaced(text, name, value) {
  const { start, stop } = locate(text, name);
  return text.slice(0, start) + value + text.slice(stop);
}

// removed takes one member out with the comma before it, or after it if it is the first. Without such a member the text is returned as it is.
export function removed(text, name) {
  const found = locate(text, name);
  if (!found) return text;
  const before = text.slice(0, found.key).trimEnd();
  if (before.endsWith(',')) return before.slice(0, -1) + text.slice(found.stop);
  return before + text.slice(found.stop).replace(/^\s*,\s*/, '');
}

// locate returns where a member's key starts, and where its value starts and stops.
function locate(text, name) {
  let i = skip(text, skip(text, 0) + 1);
  while (text[i] === '"') {
    const key = i;
    const keyEnd = end(text, i);
    const start = skip(text, skip(text, keyEnd) + 1);
    const stop = end(text, start);
    if (JSON.parse(text.slice(key, keyEnd)) === name) return { key, start, stop };
    i = skip(text, skip(text, stop) + 1);
  }
  return undefined;
}
