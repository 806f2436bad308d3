// An agent in plain Node (18 or newer): keeps a shopping list in the session's context.
//
//   node examples/agents/agent.mjs           # PORT=9000 is the default
//   OPENCLAW_AGENT_URL=http://127.0.0.1:9000/rpc/message
//
// "buy milk" adds, "bought milk" takes away, anything else shows the list. The list
// comes with each call as `context` and goes back in `metadata`, so the program keeps
// nothing itself, except which keys it has served. Answers stream as server-sent events.

import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const port = Number(process.env.PORT ?? 9000);
const REMEMBERED = 1000;
const MAX_BYTES = 64 * 1024 * 1024;
const served = new Map(); // Idempotency-Key -> answer

class BadQuestion extends Error {}

async function readQuestion(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new BadQuestion("too large");
    chunks.push(chunk);
  }
  let question;
  try {
    question = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw new BadQuestion("the body is not JSON");
  }
  const messages = question?.messages;
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new BadQuestion("messages must be a list with at least one message");
  }
  if (!messages.every((message) => message && typeof message === "object")) {
    throw new BadQuestion("a message must be an object");
  }
  return question;
}

// What is to be answered: the last `waiting` messages.
function waiting(question) {
  return question.messages
    .slice(-Math.max(1, Number(question.waiting) || 1))
    .filter((message) => message.role === "user")
    .map((message) => String(message.content ?? ""));
}

function compose(question) {
  const kept = question.context?.shopping;
  let list = Array.isArray(kept) ? kept.map(String) : [];
  const notes = [];
  for (const text of waiting(question)) {
    const [, verb, thing] = /^\s*(buy|bought)\s+(.+)/is.exec(text) ?? [];
    if (verb?.toLowerCase() === "buy") list = [...list, thing.trim()];
    else if (verb) list = list.filter((item) => item !== thing.trim());
    else notes.push(text);
  }
  const shown = list.length ? `Your list: ${list.join(", ")}.` : "Your list is empty.";
  const content = notes.length ? `${shown} You said: ${notes.join("\n")}` : shown;
  return { content, metadata: { context: { shopping: list } } };
}

function answerOnce(key, question) {
  const answer = served.get(key) ?? compose(question);
  if (key) {
    served.set(key, answer);
    if (served.size > REMEMBERED) served.delete(served.keys().next().value);
  }
  return answer;
}

function whole(response, status, data) {
  const body = Buffer.from(JSON.stringify(data));
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": body.length });
  response.end(body);
}

async function stream(response, answer) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const pieces = answer.content.match(/\s*\S+|\s+$/g) ?? [];
  const step = Math.max(1, Math.floor(pieces.length / 200));
  for (let start = 0; start < pieces.length; start += step) {
    if (response.destroyed) return; // the gateway has closed the connection: cancelled
    const text = pieces.slice(start, start + step).join("");
    response.write(`event: token\ndata: ${JSON.stringify({ text })}\n\n`);
    await pause(5); // where a model would think
  }
  response.end(`event: final\ndata: ${JSON.stringify(answer)}\n\n`);
}

async function turn(request, response) {
  let question;
  try {
    question = await readQuestion(request);
  } catch (error) {
    if (!(error instanceof BadQuestion)) throw error;
    return whole(response, 400, { error: error.message });
  }
  const answer = answerOnce(request.headers["idempotency-key"] ?? "", question);
  return question.stream ? stream(response, answer) : whole(response, 200, answer);
}

const server = createServer((request, response) => {
  response.on("error", () => {}); // the other side is gone; nothing is owed to it
  if (request.method === "GET" && request.url === "/health") {
    return whole(response, 200, { status: "ok" });
  }
  if (request.method !== "POST") return whole(response, 404, { error: "not found" });
  turn(request, response).catch(() => response.destroy()); // it was cut off while we read
});
server.listen(port, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${port}/rpc/message`);
});
