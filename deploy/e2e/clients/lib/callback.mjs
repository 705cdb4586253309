// The loopback callback of a native application (RFC 8252 §7.3).
import { createServer } from 'node:http';

// listenForCallback opens a free port of 127.0.0.1. next resolves to the parameters of the next request to /callback.
export async function listenForCallback() {
  const waiting = [];
  const early = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (url.pathname !== '/callback') {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>You can close this page.</p>');
    const take = waiting.shift();
    if (take) take(url.searchParams);
    else early.push(url.searchParams);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/callback`,
    next: () => (early.length ? Promise.resolve(early.shift()) : new Promise((resolve) => waiting.push(resolve))),
    close: () => server.close(),
  };
}
