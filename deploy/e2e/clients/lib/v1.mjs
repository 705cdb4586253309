// The TypeScript SDK v1 client as features.mjs wants it, for the drivers that are built on it.
import {
  CallToolResultSchema, CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { answerTo } from './features.mjs';

// questions are the capabilities of a client that can be asked everything.
export const questions = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };

export function featuresOf(client) {
  const [asked, notes] = [[], []];
  for (const schema of [CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema]) {
    client.setRequestHandler(schema, ({ method, params }) => answerTo(asked, method, params));
  }
  for (const schema of [LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema]) {
    client.setNotificationHandler(schema, (note) => notes.push(note));
  }
  return {
    asked, notes, url: true,
    instructions: () => client.getInstructions() ?? '',
    listPrompts: async () => (await client.listPrompts()).prompts,
    getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
    complete: async (ref, argument, context) => (await client.complete({ ref, argument, context })).completion,
    listResources: async () => (await client.listResources()).resources,
    listTemplates: async () => (await client.listResourceTemplates()).resourceTemplates,
    readResource: async (uri) => (await client.readResource({ uri })).contents,
    callTool: (name, args) => client.callTool({ name, arguments: args }),
    callTask: async (name, args) => {
      const ids = [];
      for await (const message of client.experimental.tasks.callToolStream({ name, arguments: args }, CallToolResultSchema, { task: {} })) {
        if (message.task) ids.push(message.task.taskId);
        if (message.type === 'error') throw message.error;
        if (message.type === 'result') return { result: message.result, ids };
      }
      throw new Error('the task ended without a result');
    },
    logFrom: (level) => client.setLoggingLevel(level),
    subscribe: async (uri) => {
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
  };
}
