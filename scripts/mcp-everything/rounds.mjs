// Tools and a prompt that ask the client between two rounds of the same call, as 2026-07-28 has it: the server answers that
// input is required, and the client calls again with that input and with the server's own sealed state.

import { acceptedContent, CLIENT_CAPABILITIES_META_KEY, inputRequired } from '@modelcontextprotocol/server';
import { said, text } from './content.mjs';

const ask = (message, name, type = 'string') =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties: { [name]: { type } }, required: [name] },
  });
const sample = (words, maxTokens) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(words) }], maxTokens });

/** The answer to a question, or nothing when it is missing, was declined or is no answer. */
const answer = (ctx, key) => acceptedContent(ctx.mcpReq.inputResponses, key);
const response = (ctx, key) => ctx.mcpReq.inputResponses?.[key];

/** @param states seals and opens the state that travels through the client */
export function addRounds(server, states) {
  const tool = (name, description, call) => server.registerTool(name, { description }, call);
  const named = 'test_input_required_result';

  tool(`${named}_elicitation`, 'Asks the user for a name', (ctx) => {
    const name = answer(ctx, 'user_name')?.name;
    if (typeof name === 'string') return said(text(`Hello, ${name}!`));
    return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } });
  });
  tool(`${named}_sampling`, 'Asks the model a question', (ctx) => {
    const words = response(ctx, 'capital_question')?.content?.text;
    if (typeof words === 'string') return said(text(words));
    return inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?', 100) } });
  });
  tool(`${named}_list_roots`, 'Asks for the roots', (ctx) => {
    const roots = response(ctx, 'client_roots')?.roots;
    if (Array.isArray(roots)) return said(text(`roots: ${roots.map(({ uri }) => uri).join(' ')}`));
    return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });
  tool('test_missing_capability', "Needs a client that has a model", (ctx) => {
    if (response(ctx, 'answer') !== undefined) return said(text('asked'));
    return inputRequired({ inputRequests: { answer: sample('Say one word.', 16) } });
  });
  addCapabilities(server, `${named}_capabilities`);
  addStates(tool, named, states);
  addMultiRound(tool, named, states);
  addPrompt(server, `${named}_prompt`);
}

/** Asks only for what the client says it can do. */
function addCapabilities(server, name) {
  server.registerTool(name, { description: 'Asks for whatever the client can answer' }, (ctx) => {
    if (ctx.mcpReq.inputResponses !== undefined) return said(text('asked'));
    const can = ctx.mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
    const inputRequests = {};
    if (can.sampling) inputRequests.greeting = sample('Generate a greeting', 50);
    if (can.elicitation) inputRequests.user_name = ask('What is your name?', 'name');
    return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : said(text('the client can answer nothing'));
  });
}

/** Asks once, with a state that has to come back unchanged; a changed one is refused before these functions are called. */
function addStates(tool, named, states) {
  for (const name of [`${named}_request_state`, `${named}_tampered_state`]) {
    tool(name, 'Asks for a yes and gives a state along', async (ctx) => {
      if (ctx.mcpReq.requestState()?.of === name && answer(ctx, 'confirm') !== undefined) return said(text('state-ok'));
      const inputRequests = { confirm: ask('Please confirm', 'ok', 'boolean') };
      return inputRequired({ inputRequests, requestState: await states.mint({ of: name }) });
    });
  }
  const name = `${named}_multiple_inputs`;
  tool(name, 'Asks the user, the model and for the roots at once', async (ctx) => {
    const user = answer(ctx, 'user_name')?.name;
    const greeting = response(ctx, 'greeting')?.content?.text;
    const roots = response(ctx, 'client_roots')?.roots;
    const complete = typeof user === 'string' && typeof greeting === 'string' && Array.isArray(roots);
    if (ctx.mcpReq.requestState()?.of === name && complete) {
      return said(text(`${greeting}, ${user}, with ${roots.length} roots`));
    }
    const inputRequests = {
      user_name: ask('What is your name?', 'name'),
      greeting: sample('Generate a greeting', 50),
      client_roots: inputRequired.listRoots(),
    };
    return inputRequired({ inputRequests, requestState: await states.mint({ of: name }) });
  });
}

/** Asks twice; the state tells how far the call has come. */
function addMultiRound(tool, named, states) {
  const name = `${named}_multi_round`;
  tool(name, 'Asks the user two questions, one after the other', async (ctx) => {
    const state = ctx.mcpReq.requestState();
    const next = async (key, question, learned) =>
      inputRequired({ inputRequests: { [key]: question }, requestState: await states.mint({ of: name, ...learned }) });
    if (state?.of === name && state.user !== undefined) {
      const color = answer(ctx, 'step2')?.color;
      if (typeof color === 'string') return said(text(`${state.user} likes ${color}`));
      return next('step2', ask('Step 2: What is your favorite color?', 'color'), { user: state.user });
    }
    const user = answer(ctx, 'step1')?.name;
    if (state?.of === name && typeof user === 'string') {
      return next('step2', ask('Step 2: What is your favorite color?', 'color'), { user });
    }
    return next('step1', ask('Step 1: What is your name?', 'name'), {});
  });
}

function addPrompt(server, name) {
  server.registerPrompt(name, { description: 'Asks the user for its context' }, (ctx) => {
    const context = answer(ctx, 'user_context')?.context;
    if (typeof context === 'string') return { messages: [{ role: 'user', content: text(`The context is ${context}.`) }] };
    return inputRequired({ inputRequests: { user_context: ask('What context should the prompt use?', 'context') } });
  });
}
