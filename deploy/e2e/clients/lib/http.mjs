// HTTP without a client library: any header, any bytes, and the answer's bytes as they came.
import { request } from 'node:http';

// send makes one request on a connection of its own and returns {status, headers, body, messages}. messages are the texts of the
// JSON-RPC messages in the answer, from JSON or from an event stream.
export function send(url, { method = 'POST', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers, agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const stream = response.headers['content-type']?.startsWith('text/event-stream');
        resolve({ status: response.statusCode, headers: response.headers, body: text, messages: stream ? events(text) : text ? [text] : [] });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

// open starts a request and returns {status, headers, close} as soon as the answer's head is there; the body is left to flow.
export function open(url, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers, agent: false }, (response) => {
      response.resume();
      response.on('error', () => {}); // closing from our side is an error to node
      resolve({ status: response.statusCode, headers: response.headers, close: () => outgoing.destroy() });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function events(text) {
  return text
    .split(/\r\n\r\n|\n\n|\r\r/)
    .map((event) =>
      event
        .split(/\r\n|\n|\r/)
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).replace(/^ /, ''))
        .join('\n'),
    )
    .filter((data) => data.trim() !== '');
}
