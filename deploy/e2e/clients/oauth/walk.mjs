// Walks authorization URLs in one browser as the person of OAUTH_USER, for clients that are no JavaScript. For each URL it prints a line
// of JSON, {ended, seen, kept}: where the browser ended, the text of every page on the way, and the cookies that it has then. With
// OAUTH_PROVIDER the person logs in at that identity provider. Usage: node walk.mjs URL..., or
// node walk.mjs --revoke ISSUER CLIENT to take a client's access away, or
// node walk.mjs --connect LINK to give the credential that a link asks for: the values of OAUTH_TYPED, a JSON array, or a grant at the
// server's authorization server.
import { readFileSync } from 'node:fs';

import { Person } from '../lib/browser.mjs';

const person = await Person.start(JSON.parse(readFileSync(process.env.OAUTH_USER, 'utf8')));
try {
  const [first, ...rest] = process.argv.slice(2);
  if (first === '--revoke') {
    process.stdout.write((await person.revoke(rest[0], rest[1])) + '\n');
  } else if (first === '--connect') {
    const seen = [];
    const ended = await person.connect(rest[0], { seen, typed: JSON.parse(process.env.OAUTH_TYPED ?? '[]') });
    process.stdout.write(JSON.stringify({ ended, seen, kept: await person.cookies() }) + '\n');
  } else {
    for (const url of [first, ...rest]) {
      const seen = [];
      const ended = await person.authorize(url, { seen, provider: process.env.OAUTH_PROVIDER ?? '' });
      process.stdout.write(JSON.stringify({ ended, seen, kept: await person.cookies() }) + '\n');
    }
  }
} finally {
  await person.close();
}
