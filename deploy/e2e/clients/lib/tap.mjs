// Listens between a transport and the client library on it. The TypeScript client hands notifications to a later turn of the event
// loop and responses to this one, so a progress callback can come after the result, or never; the order of messages is
// judged where they arrive.
export function tap(transport) {
  const received = [];
  const deliver = transport.onmessage;
  transport.onmessage = (message, ...rest) => {
    received.push(message);
    deliver(message, ...rest);
  };
  return received;
}
