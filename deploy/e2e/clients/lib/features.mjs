// What a client library does with a server besides calling tools: prompts, resources, completion, logging, subscriptions, and the questions
// that a server asks it. The profile is server-everything's. A client is given as the functions below; they return what the library's user
// gets. asked and notes collect what the client was asked and told.
import { equal, matches, truthy, until } from './report.mjs';
import { textOf } from './suite.mjs';

// answers are what a client answers to each question of a server.
export const answers = {
  'sampling/createMessage': { model: 'none', role: 'assistant', content: { type: 'text', text: 'sampled by the client' } },
  'elicitation/create': (params) => {
    if (params.mode === 'url') return { action: 'accept' };
    const choices = params.requestedSchema.properties.interpretation;
    return { action: 'accept', content: choices ? { interpretation: choices.oneOf[0].const } : { name: 'Ada', integer: 7, check: true } };
  },
  'roots/list': { roots: [{ uri: 'file:///tmp/project', name: 'the project' }] },
};

// answerTo is the answer to a question; asked gets the question.
export function answerTo(asked, method, params) {
  asked.push({ method, params });
  const answer = answers[method];
  return typeof answer === 'function' ? answer(params) : answer;
}

const dynamicText = 'demo://resource/dynamic/text/1';

export async function runFeatures(report, client, settings) {
  const named = (name) => settings.prefix + name;

  await report.check('instructions', async () => {
    truthy(client.instructions().length > 100, `instructions: ${client.instructions()}`);
  });
  await report.check('prompts', async () => {
    const prompts = await client.listPrompts();
    const names = prompts.map((prompt) => prompt.name);
    for (const name of ['args-prompt', 'completable-prompt', 'resource-prompt', 'simple-prompt']) {
      truthy(names.includes(named(name)), `prompt ${named(name)} is not listed, but ${names}`);
    }
    const prompt = await client.getPrompt(named('args-prompt'), { city: 'Ulm' });
    matches(prompt.messages[0].content.text, /weather in Ulm/, 'text of the prompt');
    const embedded = await client.getPrompt(named('resource-prompt'), { resourceType: 'Text', resourceId: '1' });
    equal(embedded.messages.find((m) => m.content.type === 'resource')?.content.resource.uri, dynamicText, 'embedded resource');
  });
  await report.check('completion', async () => {
    const ref = { type: 'ref/prompt', name: named('completable-prompt') };
    equal((await client.complete(ref, { name: 'department', value: 'Eng' })).values, ['Engineering'], 'of a prompt');
    const context = { arguments: { department: 'Engineering' } };
    equal((await client.complete(ref, { name: 'name', value: 'A' }, context)).values, ['Alice'], 'with a context');
    const template = { type: 'ref/resource', uri: 'demo://resource/dynamic/text/{resourceId}' };
    equal((await client.complete(template, { name: 'resourceId', value: '7' })).values, ['7'], 'of a template');
  });
  await report.check('resources', async () => {
    const resources = await client.listResources();
    truthy(resources.length > 3, `${resources.length} resources`);
    const document = await client.readResource(resources[0].uri);
    equal(document[0].uri, resources[0].uri, 'uri of the contents');
    truthy(document[0].text.length > 0, 'text of the contents');
    const templates = await client.listTemplates();
    truthy(templates.some((t) => t.uriTemplate === 'demo://resource/dynamic/text/{resourceId}'), JSON.stringify(templates));
    matches((await client.readResource(dynamicText))[0].text, /Resource 1/, 'text of a template\'s resource');
    try {
      await client.readResource('nothing://here');
      throw new Error('a resource that is not there was read');
    } catch (error) {
      if (error.code === undefined) throw error;
      // This server answers as 2026-07-28 would, in every version, and its answers pass.
      equal(error.code, -32602, `code of "${error.message}"`);
    }
    return `${resources.length} resources`;
  });
  await questions(report, client, named, settings);
  await report.check('logging', async () => {
    await client.logFrom('debug');
    client.notes.length = 0;
    const begun = await client.callTool(named('toggle-simulated-logging'), {});
    matches(textOf(begun), /Started/, 'answer');
    if (!client.modern) await until('a log message', async () => client.notes.some((n) => n.method === 'notifications/message'), 15_000);
    await client.callTool(named('toggle-simulated-logging'), {});
  });
  await report.check('subscription', async () => {
    client.notes.length = 0;
    const ended = await client.subscribe(dynamicText);
    // A modern call has no session that could be told apart: this server's updates then go to nobody.
    if (!client.modern) {
      await client.callTool(named('toggle-subscriber-updates'), {});
      await until('an update', async () => client.notes.some((n) => n.method === 'notifications/resources/updated' && n.params.uri === dynamicText), 15_000);
      await client.callTool(named('toggle-subscriber-updates'), {});
    }
    await ended();
  });
}

// questions has a tool ask the client while it runs.
async function questions(report, client, named, settings) {
  const ask = async (method, tool, args, text) => {
    client.asked.length = 0;
    const result = await client.callTool(named(tool), args);
    equal(Boolean(result.isError), false, `isError of ${JSON.stringify(result)}`);
    matches(textOf(result), text, 'text');
    // This server asks for the roots by itself, some time after a session's start.
    const asked = client.asked.filter((question) => question.method !== 'roots/list');
    equal([...new Set(asked.map((question) => question.method))], [method], 'questions');
    return asked[0].params;
  };
  await report.check('sampling', async () => {
    const params = await ask('sampling/createMessage', 'trigger-sampling-request', { prompt: 'why?', maxTokens: 17 }, /sampled by the client/);
    equal(params.maxTokens, 17, 'maxTokens');
  });
  await report.check('elicitation', async () => {
    const params = await ask('elicitation/create', 'trigger-elicitation-request', {}, /Name: Ada[\s\S]*Favorite Integer: 7/);
    equal(params.requestedSchema.properties.legacyTitledEnum.enumNames[1], 'Dogs', 'a rare member of the schema');
  });
  if (client.url) {
    await report.check('elicitation by URL', async () => {
      const params = await ask(
        'elicitation/create', 'trigger-url-elicitation', { url: 'https://example.com/sign', message: 'Please sign' }, /completed the URL elicitation/,
      );
      equal([params.mode, params.url], ['url', 'https://example.com/sign'], 'question');
    });
    await report.check('elicitation by URL, demanded by an error', async () => {
      // The server demands a first page with -32042; the call that is sent again asks for the second. A modern client sees two questions.
      client.asked.length = 0;
      const args = { url: 'https://example.com/pay', message: 'Please pay', errorPath: true };
      let pages = [];
      let result;
      try {
        result = await client.callTool(named('trigger-url-elicitation'), args);
      } catch (error) {
        equal(error.code, -32042, `code of "${error.message}"`);
        pages = error.data.elicitations.map((page) => page.url);
        result = await client.callTool(named('trigger-url-elicitation'), args);
      }
      matches(textOf(result), /completed the URL elicitation/, 'text');
      pages.push(...client.asked.filter((q) => q.method === 'elicitation/create').map((q) => q.params.url));
      equal(pages, ['https://modelcontextprotocol.io', 'https://example.com/pay'], 'pages');
    });
  }
  if (client.callTask) {
    await report.check('task', async () => {
      client.asked.length = 0;
      const { result, ids } = await client.callTask(named('simulate-research-query'), { topic: 'python', ambiguous: true });
      matches(textOf(result), /Research Report: python \(/, 'text');
      const asked = client.asked.filter((q) => q.params?.requestedSchema?.properties.interpretation);
      // The server itself repeats old questions to a client that comes back to a stream.
      equal(settings.direct ? Math.min(asked.length, 1) : asked.length, 1, 'questions');
      equal(new Set(ids).size <= 1, true, `one task has the ids ${ids}`);
      if (!settings.direct) equal(ids.every((id) => id.startsWith('pst1.')), true, `the server's own id is seen: ${ids}`);
    });
  }
  await report.check('roots', async () => {
    // This server asks once in a session, soon after its start, and remembers.
    matches(textOf(await client.callTool(named('get-roots-list'), {})), /file:\/\/\/tmp\/project/, 'text');
  });
}
