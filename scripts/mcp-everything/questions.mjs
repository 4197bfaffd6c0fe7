// Tools that ask the client while the call runs, as 2025-11-25 has it: the server sends the client a request of its own.

import { fromJsonSchema } from '@modelcontextprotocol/server';
import { said, text } from './content.mjs';

const one = (name) => fromJsonSchema({ type: 'object', properties: { [name]: { type: 'string' } }, required: [name] });
const string = (more) => ({ type: 'string', ...more });

export function addQuestions(server) {
  server.registerTool(
    'test_sampling',
    { description: "Asks the client's model", inputSchema: one('prompt') },
    async ({ prompt }, ctx) => {
      const asked = { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 };
      const { content } = await ctx.mcpReq.requestSampling(asked, { relatedRequestId: ctx.mcpReq.id });
      return said(text(`LLM response: ${content.text}`));
    },
  );
  server.registerTool(
    'test_elicitation',
    { description: "Asks the client's user", inputSchema: one('message') },
    async ({ message }, ctx) => {
      const requestedSchema = {
        type: 'object',
        properties: {
          username: string({ description: "User's response" }),
          email: string({ description: "User's email address" }),
        },
        required: ['username', 'email'],
      };
      const { action, content } = await ctx.mcpReq.elicitInput({ message, requestedSchema }, { relatedRequestId: ctx.mcpReq.id });
      return said(text(`User response: action=${action}, content=${JSON.stringify(content ?? {})}`));
    },
  );
  form(server, 'test_elicitation_sep1034_defaults', 'Asks with a default for each kind of answer', {
    name: string({ default: 'John Doe' }),
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: string({ enum: ['active', 'inactive', 'pending'], default: 'active' }),
    verified: { type: 'boolean', default: true },
  });
  const options = ['option1', 'option2', 'option3'];
  const titled = (noun) => ['First', 'Second', 'Third'].map((nth, i) => ({ const: `value${i + 1}`, title: `${nth} ${noun}` }));
  form(server, 'test_elicitation_sep1330_enums', 'Asks with each way to give a choice', {
    untitledSingle: string({ enum: options }),
    titledSingle: string({ oneOf: titled('Option') }),
    legacyEnum: string({ enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] }),
    untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
    titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
  });
}

function form(server, name, description, properties) {
  server.registerTool(name, { description }, async (ctx) => {
    const asked = { message: description, requestedSchema: { type: 'object', properties, required: [] } };
    const { action, content } = await ctx.mcpReq.elicitInput(asked, { relatedRequestId: ctx.mcpReq.id });
    return said(text(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`));
  });
}
