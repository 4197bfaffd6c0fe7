// What the server has without asking anybody: tools, resources, prompts and completions with the contents that the conformance
// suite's descriptions name.

import { crc32, deflateSync } from 'node:zlib';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromJsonSchema, ResourceTemplate } from '@modelcontextprotocol/server';

export const text = (words) => ({ type: 'text', text: words });
export const said = (...content) => ({ content });
const asUser = (content) => ({ role: 'user', content });

/** A picture of one red pixel. */
function png() {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const size = Buffer.alloc(4);
    const sum = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([size, body, sum]);
  };
  const header = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]); // 1 × 1, 8 bits, RGB
  const rows = deflateSync(Buffer.from([0, 255, 0, 0]));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]);
}

/** A sound of one millisecond of silence. */
function wav() {
  const samples = Buffer.alloc(8, 128);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20); // PCM
  head.writeUInt16LE(1, 22); // mono
  head.writeUInt32LE(8000, 24);
  head.writeUInt32LE(8000, 28);
  head.writeUInt16LE(1, 32);
  head.writeUInt16LE(8, 34);
  head.write('data', 36);
  head.writeUInt32LE(samples.length, 40);
  return Buffer.concat([head, samples]);
}

const image = { type: 'image', data: png().toString('base64'), mimeType: 'image/png' };
const audio = { type: 'audio', data: wav().toString('base64'), mimeType: 'audio/wav' };
const embedded = (uri, mimeType, words) => ({ type: 'resource', resource: { uri, mimeType, text: words } });

/** @param changes what tells the open subscriptions that a list is another one now */
export function addContent(server, changes) {
  addTools(server, changes);
  addSchemas(server);
  addResources(server);
  addPrompts(server);
  addCompletions(server);
}

function addTools(server, changes) {
  const tool = (name, description, call) => server.registerTool(name, { description }, call);
  const fixed = (name, description, ...content) => tool(name, description, () => said(...content));

  fixed('test_simple_text', 'Answers with text', text('This is a simple text response for testing.'));
  fixed('test_image_content', 'Answers with a picture', image);
  fixed('test_audio_content', 'Answers with a sound', audio);
  fixed(
    'test_embedded_resource',
    'Answers with a resource',
    embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
  );
  fixed(
    'test_multiple_content_types',
    'Answers with text, a picture and a resource',
    text('Multiple content types test:'),
    image,
    embedded('test://mixed-content-resource', 'application/json', JSON.stringify({ test: 'data', value: 123 })),
  );
  fixed('test_streaming_elicitation', 'Answers at once: its stream holds nothing but the answer', text('done'));

  tool('test_error_handling', 'Fails', () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  tool('test_tool_with_logging', 'Logs three times', async (ctx) => {
    for (const words of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await ctx.mcpReq.log('info', words);
      await sleep(50);
    }
    return said(text('logged'));
  });
  tool('test_logging_tool', 'Logs once, to whoever asked for logs', async (ctx) => {
    await ctx.mcpReq.log('info', 'test_logging_tool was called');
    return said(text('logged'));
  });
  tool('test_tool_with_progress', 'Reports 0, 50 and 100 of 100', async (ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) {
        await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
      }
      await sleep(50);
    }
    return said(text('all of it done'));
  });
  tool('test_reconnection', 'Breaks its own stream off and answers on the next one', async (ctx) => {
    ctx.http?.closeSSE?.();
    await sleep(100);
    return said(text('answered after the stream was broken off'));
  });
  tool('test_trigger_tool_change', 'Says that the tools changed', () => {
    changes.toolsChanged();
    return said(text('said'));
  });
  tool('test_trigger_prompt_change', 'Says that the prompts changed', () => {
    changes.promptsChanged();
    return said(text('said'));
  });
}

/** Tools that are here for their schemas. */
function addSchemas(server) {
  const region = { type: 'string', description: 'mirrored in the header Mcp-Param-Region', 'x-mcp-header': 'Region' };
  server.registerTool(
    'test_x_mcp_header',
    { description: 'Has an argument that a header repeats', inputSchema: fromJsonSchema({ type: 'object', properties: { region } }) },
    (args) => said(text(`region: ${args.region ?? 'none'}`)),
  );
  const string = { type: 'string' };
  const address = { $anchor: 'addressDef', type: 'object', properties: { street: string, city: string } };
  const needs = (...required) => ({ required });
  server.registerTool(
    'json_schema_2020_12_tool',
    {
      description: 'Tool with JSON Schema 2020-12 features',
      inputSchema: fromJsonSchema({
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        $defs: { address },
        properties: {
          name: string,
          address: { $ref: '#/$defs/address' },
          contactMethod: { type: 'string', enum: ['phone', 'email'] },
          phone: string,
          email: string,
        },
        allOf: [{ anyOf: [needs('phone'), needs('email')] }],
        if: { properties: { contactMethod: { const: 'phone' } }, ...needs('contactMethod') },
        then: needs('phone'),
        else: needs('email'),
        additionalProperties: false,
      }),
    },
    (args) => said(text(JSON.stringify(args))),
  );
}

function addResources(server) {
  const resource = (name, uri, mimeType, content) =>
    server.registerResource(name, uri, { description: `The resource ${name}`, mimeType }, () => ({
      contents: [{ uri, mimeType, ...content }],
    }));
  resource('static-text', 'test://static-text', 'text/plain', { text: 'This is the content of the static text resource.' });
  resource('static-binary', 'test://static-binary', 'image/png', { blob: image.data });
  resource('watched-resource', 'test://watched-resource', 'text/plain', { text: 'Nobody changes this.' });

  const mimeType = 'application/json';
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'A resource for each id', mimeType },
    (uri, { id }) => ({
      contents: [{ uri: uri.href, mimeType, text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }],
    }),
  );

  const watched = new Set();
  server.server.setRequestHandler('resources/subscribe', ({ params }) => {
    watched.add(params.uri);
    return {};
  });
  server.server.setRequestHandler('resources/unsubscribe', ({ params }) => {
    watched.delete(params.uri);
    return {};
  });
}

function addPrompts(server) {
  const strings = (described) =>
    fromJsonSchema({
      type: 'object',
      properties: Object.fromEntries(Object.entries(described).map(([name, description]) => [name, { type: 'string', description }])),
      required: Object.keys(described),
    });
  server.registerPrompt('test_simple_prompt', { description: 'Takes no argument' }, () => ({
    messages: [asUser(text('This is a simple prompt for testing.'))],
  }));
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'Takes two arguments', argsSchema: strings({ arg1: 'the first', arg2: 'the second' }) },
    ({ arg1, arg2 }) => ({ messages: [asUser(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))] }),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'Holds the resource it is given', argsSchema: strings({ resourceUri: 'which resource' }) },
    ({ resourceUri }) => ({
      messages: [
        asUser(embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
        asUser(text('Please process the embedded resource above.')),
      ],
    }),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'Holds a picture' }, () => ({
    messages: [asUser(image), asUser(text('Please analyze the image above.'))],
  }));
}

function addCompletions(server) {
  const known = ['paris', 'park', 'party', 'pluto'];
  server.server.setRequestHandler('completion/complete', ({ params }) => {
    const values = known.filter((word) => word.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
}
