// The MCP server that the conformance suite is run against, first directly and then through Aegis.
//
// One endpoint, http://127.0.0.1:PORT/mcp, speaks both ways of Streamable HTTP: with sessions (2025-11-25 and before) and
// without (2026-07-28). Everything on the wire is the official SDK's; here is only what it serves. Started as
//
//     node22 server.mjs [PORT]
//
// it prints its URL, alone on a line, once it listens; without a port it takes a free one.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import {
  localhostHostValidation,
  localhostOriginValidation,
  NodeStreamableHTTPServerTransport,
  toNodeHandler,
  toWebRequest,
} from '@modelcontextprotocol/node';
import {
  createMcpHandler,
  createRequestStateCodec,
  isInitializeRequest,
  isLegacyRequest,
  McpServer,
} from '@modelcontextprotocol/server';
import { addContent } from './content.mjs';
import { addQuestions } from './questions.mjs';
import { addRounds } from './rounds.mjs';

const states = createRequestStateCodec({ key: crypto.getRandomValues(new Uint8Array(32)) });

/** Tells the open subscriptions that a list is another one now. */
const changes = { toolsChanged: () => modern.notify.toolsChanged(), promptsChanged: () => modern.notify.promptsChanged() };

function everything() {
  const server = new McpServer(
    { name: 'aegis-mcp-everything', version: '1.0.0' },
    {
      capabilities: {
        completions: {},
        logging: {},
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        tools: { listChanged: true },
      },
      requestState: { verify: states.verify },
    },
  );
  addContent(server, changes);
  addQuestions(server);
  addRounds(server, states);
  return server;
}

// 2026-07-28: each request has a server of its own.
const modern = createMcpHandler(everything, { legacy: 'reject', onerror: report });
const serveModern = toNodeHandler(modern, { onerror: report });

// 2025-11-25: a transport for each session, with what it sent kept so that a broken stream can be taken up again.
const sessions = new Map();

function sentEvents() {
  const events = [];
  return {
    async storeEvent(stream, message) {
      events.push({ stream, message });
      return String(events.length - 1);
    },
    async replayEventsAfter(last, { send }) {
      const from = Number(last);
      const stream = events[from]?.stream;
      if (stream === undefined) throw new Error(`no event ${last} was sent`);
      for (let id = from + 1; id < events.length; id++) {
        const { stream: of, message } = events[id];
        if (of === stream && Object.keys(message).length > 0) await send(String(id), message);
      }
      return stream;
    },
  };
}

async function begin() {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: sentEvents(),
    retryInterval: 500,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await everything().connect(transport);
  return transport;
}

async function serveSession(req, res, body) {
  const id = req.headers['mcp-session-id'];
  if (id === undefined && isInitializeRequest(body)) {
    await (await begin()).handleRequest(req, res, body);
  } else if (sessions.has(id)) {
    await sessions.get(id).handleRequest(req, res, body);
  } else if (id === undefined) {
    refuse(res, 400, -32000, 'the request names no session');
  } else {
    refuse(res, 404, -32001, 'there is no such session');
  }
}

function refuse(res, status, code, message) {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }));
}

async function bodyOf(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function report(error) {
  console.error(error.message); // mostly a request that the SDK refused
}

const hostIsLocal = localhostHostValidation();
const originIsLocal = localhostOriginValidation();

const http = createServer(async (req, res) => {
  if (!hostIsLocal(req, res) || !originIsLocal(req, res)) return;
  if (new URL(req.url, 'http://localhost').pathname !== '/mcp') return refuse(res, 404, -32000, 'the endpoint is /mcp');
  let body;
  try {
    body = await bodyOf(req);
  } catch {
    return refuse(res, 400, -32700, 'the body is no JSON');
  }
  try {
    const legacy = await isLegacyRequest(await toWebRequest(req, body));
    await (legacy ? serveSession : serveModern)(req, res, body);
  } catch (error) {
    report(error);
    if (!res.headersSent) refuse(res, 500, -32603, 'the server failed; its standard error says why');
  }
});

http.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}/mcp`));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
