// Makes calls of the admin API by gRPC-Web, with the library that browsers use (connect-web), and prints what came back.
//   ADMIN_URL=… ADMIN_TOKEN=… DESCRIPTORS=file node grpc-web.mjs < calls.jsonl
// Each line of standard input is {service, method, request}; for each a line {ok, response} or {ok: false, code, message} is printed, where
// code is the name in lower case, as "aborted". DESCRIPTORS is a binary google.protobuf.FileDescriptorSet with all imports
// (`buf build -o file`). MCP_… settings are not used. A refused call is an answer, not a failure of this program.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { createFileRegistry, fromBinary, fromJson, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';

function required(name) {
  if (!process.env[name]) {
    console.error(`${name} is not set; see the head of this file`);
    process.exit(2);
  }
  return process.env[name];
}

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(required('DESCRIPTORS'))));
const token = process.env.ADMIN_TOKEN ?? '';
const transport = createGrpcWebTransport({
  baseUrl: required('ADMIN_URL'),
  interceptors: [
    (next) => (request) => {
      if (token) request.header.set('Authorization', `Bearer ${token}`);
      return next(request);
    },
  ],
});

async function call({ service: serviceName, method: methodName, request }) {
  const service = registry.getService(serviceName);
  if (!service) throw new Error(`no service ${serviceName} in DESCRIPTORS`);
  const method = service.methods.find((candidate) => candidate.name === methodName);
  if (!method) throw new Error(`no method ${methodName} in ${serviceName}`);
  try {
    const response = await createClient(service, transport)[method.localName](fromJson(method.input, request ?? {}, { registry }));
    return { ok: true, response: toJson(method.output, response, { registry }) };
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const code = Code[error.code].replace(/(?<=[a-z])([A-Z])/g, '_$1').toLowerCase();
    return { ok: false, code, message: error.rawMessage };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim()) process.stdout.write(JSON.stringify(await call(JSON.parse(line))) + '\n');
}
