// What each upstream server offers, and what to do with it. Tool names are the upstream's own; the drivers put the prefix in front.
import { writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';

import { truthy } from './report.mjs';

const unique = () => randomBytes(6).toString('hex');

function everything() {
  const message = `hello ${unique()}`;
  return {
    tools: [
      'echo', 'get-annotated-message', 'get-env', 'get-resource-links', 'get-resource-reference', 'get-structured-content', 'get-sum',
      'get-tiny-image', 'gzip-file-as-resource', 'toggle-simulated-logging', 'toggle-subscriber-updates', 'trigger-long-running-operation',
    ],
    calls: [
      { tool: 'echo', args: { message }, text: new RegExp(`^Echo: ${message}$`) },
      { tool: 'get-sum', args: { a: 20, b: 22 }, text: /^The sum of 20 and 22 is 42\.$/ },
      {
        tool: 'get-structured-content', args: { location: 'Chicago' }, text: /drizzle/,
        structured: { temperature: 36, conditions: 'Light rain / drizzle', humidity: 82 },
      },
    ],
    failure: { tool: 'get-sum', args: { a: 1 }, text: /b/ },
    progress: { tool: 'trigger-long-running-operation', args: { duration: 0.5, steps: 10 }, steps: 10, text: /completed/ },
    // This server does not say what it saw of a cancellation; the client's side is checked.
    cancel: { tool: 'trigger-long-running-operation', args: { duration: 20, steps: 200 } },
  };
}

function filesystem({ filesRoot }) {
  truthy(filesRoot, 'MCP_FILES_ROOT is not set: the directory that the filesystem server serves');
  const content = `content ${unique()}`;
  const file = path.join(filesRoot, `hello-${unique()}.txt`);
  writeFileSync(file, content);
  const copy = path.join(filesRoot, `copy-${unique()}.txt`);
  return {
    tools: [
      'create_directory', 'directory_tree', 'edit_file', 'get_file_info', 'list_allowed_directories', 'list_directory',
      'list_directory_with_sizes', 'move_file', 'read_file', 'read_media_file', 'read_multiple_files', 'read_text_file', 'search_files',
      'write_file',
    ],
    calls: [
      { tool: 'read_text_file', args: { path: file }, text: new RegExp(`^${content}$`) },
      { tool: 'write_file', args: { path: copy, content: `${content} äöü 漢字 \u{1F600}` }, text: /Successfully wrote/ },
      { tool: 'read_text_file', args: { path: copy }, text: new RegExp(`^${content} äöü 漢字 \u{1F600}$`, 'u') },
    ],
    failure: { tool: 'read_text_file', args: { path: path.join(filesRoot, 'no-such-file') }, text: /ENOENT|no such file/i },
  };
}

function memory() {
  const name = `entity-${unique()}`;
  const entity = { name, entityType: 'test', observations: ['seen once'] };
  return {
    tools: [
      'add_observations', 'create_entities', 'create_relations', 'delete_entities', 'delete_observations', 'delete_relations',
      'open_nodes', 'read_graph', 'search_nodes',
    ],
    calls: [
      { tool: 'create_entities', args: { entities: [entity] }, text: new RegExp(name) },
      { tool: 'open_nodes', args: { names: [name] }, text: new RegExp(name), structured: { entities: [entity], relations: [] } },
    ],
    failure: { tool: 'add_observations', args: { observations: [{ entityName: `no-${name}`, contents: ['x'] }] }, text: /not found/ },
  };
}

// The server beside these drivers, fidelity/server.mjs.
function fidelity() {
  const key = unique();
  return {
    tools: ['echo-raw', 'fail', 'odd-result', 'odd-schema', 'progress', 'seen', 'wait'],
    calls: [{ tool: 'odd-schema', args: { city: 'Ulm' }, text: /Ulm/, structured: { city: 'Ulm', list: [1, 2] } }],
    failure: { tool: 'fail', args: {}, text: /on purpose/ },
    // All of them in one write, with the result right behind them.
    progress: { tool: 'progress', args: { steps: 50 }, steps: 50, text: /done/ },
    cancel: { tool: 'wait', args: { key }, seen: { tool: 'seen', args: { key } } },
  };
}

export function profileOf(settings) {
  const make = { everything, filesystem, memory, fidelity }[settings.profile];
  truthy(make, `unknown MCP_PROFILE ${settings.profile}`);
  return make(settings);
}
