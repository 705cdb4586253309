// Watches the long streams of a client library, which shows nothing of them itself.

// watchStreams returns a fetch for the library. open resolves to {ended}, a promise of the end of the newest stream, once there is one.
export function watchStreams() {
  const streams = [];
  return {
    fetch: async (url, init) => {
      const response = await globalThis.fetch(url, init);
      const long = (init?.method ?? 'GET') === 'GET' || /"subscriptions\/listen"/.test(String(init?.body ?? ''));
      if (!long || !response.headers.get('content-type')?.startsWith('text/event-stream')) return response;
      const { body, ended } = watch(response.body);
      streams.push({ ended });
      return new Response(body, response);
    },
    open: async () => {
      for (let waited = 0; streams.length === 0; waited += 20) {
        if (waited > 5_000) throw new Error('the client opened no stream');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return streams.at(-1);
    },
  };
}

// watch passes a body on, and resolves ended when the server ends it.
function watch(source) {
  const reader = source.getReader();
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  const body = new ReadableStream({
    pull: async (controller) => {
      try {
        const { done, value } = await reader.read();
        if (value && /"result":/.test(new TextDecoder().decode(value))) end(); // the answer to a listen is its end, and libraries read no further
        if (!done) return controller.enqueue(value);
        end();
        controller.close();
      } catch (error) {
        end();
        controller.error(error);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { body, ended };
}
