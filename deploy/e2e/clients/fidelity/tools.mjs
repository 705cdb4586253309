// The tools of the fidelity server as JSON text: what a typed relay loses is in here. Integers beyond 2^53, schema keywords that few
// libraries know, members that no version of the specification has, escapes and odd number spellings.

const open = '{"type":"object"}';

const oddSchema = `{
  "name": "odd-schema",
  "x-unknown": {"big": 9223372036854775807, "list": [1.0, 1e3, -0, 0.1000]},
  "title": "\\u004fdd \\/ schema",
  "description": "Schema keywords, escapes \\u00e9 and \\ud83d\\ude00, and unknown members.",
  "inputSchema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "$anchor": "root", "type": "object",
    "properties": {"city": {"type": "string", "x-order": 18446744073709551616}},
    "allOf": [{"if": {"properties": {"city": {"const": "Ulm"}}}, "then": {"required": ["city"]}}],
    "unevaluatedProperties": false, "x-limit": 12345678901234567890},
  "outputSchema": {"type": "object", "properties": {"city": {"type": "string"},
    "list": {"type": "array", "items": {"type": "integer"}}}, "required": ["city"]},
  "annotations": {"readOnlyHint": true, "x-cost": 0.10},
  "_meta": {"example.com/serial": 9007199254740993, "example.com/nested": {"a": [null, true]}}
}`;

// toolTexts are in the order of their names.
export const toolTexts = [
  `{"name":"echo-raw","description":"Answers with the bytes of its arguments.","inputSchema":${open}}`,
  `{"name":"fail","description":"Fails on purpose.","inputSchema":${open}}`,
  `{"name":"odd-result","description":"A result that no version of the specification describes.","inputSchema":${open}}`,
  // One line, as it must be on stdio; inside strings there is no line break.
  oddSchema.replace(/\n\s*/g, ' '),
  `{"name":"progress","description":"Reports progress and ends at once.","inputSchema":${open}}`,
  `{"name":"seen","description":"How often a key's wait started and was cancelled.","inputSchema":${open}}`,
  `{"name":"wait","description":"Waits until it is cancelled, at most 30 s.","inputSchema":${open}}`,
];

// oddResult is the result of odd-result.
export const oddResult =
  '{"x-before":1,"content":[{"type":"text","text":"\\u00fcber \\/ 1"},' +
  '{"type":"hologram","pixels":123456789012345678901234567890,"a":{"b":[]}}],' +
  '"structuredContent":{"id":9007199254740993,"price":1.10,"exp":1E+2,"empty":{},"\\u006bey":null},' +
  '"_meta":{"example.com/cursor":18446744073709551615},"x-after":[[],{}]}';
