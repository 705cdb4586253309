// SPDX-License-Identifier: Apache-2.0
// An MCP server over stdio with three tools on two pages. `crash` ends it at once, `empty` leaves it without tools, `deaf` without answers.
const mode = process.argv[2];
if (mode === "crash") process.exit(3);
const key = process.env.KEY && require("fs").readFileSync(process.env.KEY, "utf8");
const tool = (name) => ({ name, description: `home ${process.env.HOME} key ${key} inherited ${process.env.RECORD_TEST}`, inputSchema: { type: "object" } });
const answer = (method, params) => {
  if (method === "initialize") return { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "tiny", version: "1" } };
  if (mode === "empty") return { tools: [] };
  if (params && params.cursor === "more") return { tools: [tool("third")] };
  return { tools: [tool("first"), tool("second")], nextCursor: mode === "endless" ? "again" : "more" };
};
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id !== undefined && mode !== "deaf") process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: answer(method, params) }) + "\n");
});
