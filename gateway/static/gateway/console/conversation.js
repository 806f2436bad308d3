// A session's page: markdown, times, day lines; more at the top; what happens now at the end.

import { Connection } from "../chat/connection.js";
import { copy } from "../chat/copy.js";
import { Follow } from "../chat/follow.js";
import { plain } from "../chat/inline.js";
import { Markdown } from "../chat/markdown.js";
import { Turns } from "./growing.js";
import { TYPING } from "./keys.js";
import { dayOf, sameDay, show } from "./times.js";

const $ = (id) => document.getElementById(id);
const page = $("conversation");
const list = $("entries");
const follow = new Follow($("scroller"), $("to-end"));
const atEnd = page.dataset.end === ""; // else it shows a stretch of the past
const turns = new Turns();
const AGAIN = 2000; // ms between looks at what is still moving
const SOON = 150; // ms in which news are gathered into one look

// --- what the server wrote, made ready ---------------------------------------

function dress(entry) {
  const text = entry.querySelector(":scope .text");
  if (text && !text.dataset.raw) {
    const raw = text.textContent;
    text.dataset.raw = "1";
    if ("live" in text.dataset) turns.hold(entry, text, raw);
    else if ("markdown" in text.dataset) written(text, raw);
    else if (raw.includes("://")) text.replaceChildren(plain(raw));
  }
  entry.querySelectorAll("time").forEach(show);
}

function written(text, raw) {
  text.replaceChildren();
  text.classList.add("marked");
  const markdown = new Markdown(text);
  markdown.append(raw);
  markdown.end();
}

function dayLines() {
  let before = null;
  for (const entry of list.querySelectorAll(".entry")) {
    const at = new Date(entry.dataset.at);
    const line = entry.previousElementSibling?.matches(".day") ? entry.previousElementSibling : null;
    const text = before && sameDay(before, at) ? "" : dayOf(at);
    if (text && !line) {
      const made = document.createElement("h2");
      made.className = "day";
      made.textContent = text;
      entry.before(made);
    } else if (!text) {
      line?.remove();
    } else if (line.textContent !== text) {
      line.textContent = text;
    }
    before = at;
  }
}

// --- parts of the page, fetched ------------------------------------------------

async function part(query) {
  const answer = await fetch(`${page.dataset.entries}?${query}`, { headers: { accept: "text/html" } });
  if (answer.redirected || answer.status === 403) {
    out = true;
    says("No longer signed in here. Reload the page to sign in.");
  }
  if (!answer.ok || answer.redirected) throw new Error(`status ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function earlier() {
  const link = $("earlier");
  if (link.hidden || link.ariaBusy === "true") return;
  link.ariaBusy = "true";
  try {
    const found = await part(`before=${link.dataset.before}`);
    const entries = [...found.querySelectorAll("#entries > .entry")].map((entry) => document.importNode(entry, true));
    follow.above(() => {
      list.prepend(...entries.filter((entry) => !$(entry.id)));
      entries.forEach(dress);
      dayLines();
    });
    const { earlier: more, first } = found.getElementById("entries").dataset;
    link.dataset.before = first;
    link.hidden = !more;
  } catch {
    if (!out) says("The earlier messages could not be loaded. Try again.");
  }
  link.ariaBusy = "false";
}

let looking = false;
let wanted = false;
let out = false; // signed out: nobody will answer any more
let timer = 0;

function soon(delay = SOON) {
  clearTimeout(timer);
  timer = setTimeout(look, delay);
}

// Look again where something moves and at the end of the conversation, page by page: what
// stands still in between is not read again.
async function look() {
  if (!atEnd || out) return;
  if (looking) {
    wanted = true;
    return;
  }
  looking = true;
  try {
    for (let from = place(0); from < Infinity; ) {
      const found = await part(`since=${from}`);
      const end = Number(found.getElementById("entries").dataset.end || Infinity);
      take(found, from, end);
      from = end < Infinity ? place(end) : end;
    }
  } catch {
    wanted = true;
  }
  looking = false;
  if (wanted) {
    wanted = false;
    if (!out) soon(AGAIN);
  } else if (list.querySelector("[data-moving]") && !document.hidden) {
    soon(AGAIN);
  }
}

// Where to look from: the first thing that moves at `from` or after it, else the last one.
function place(from) {
  const entries = [...list.querySelectorAll(".entry")];
  const moves = (entry) => "moving" in entry.dataset && Number(entry.dataset.seq) >= from;
  const seq = Math.floor(Number((entries.find(moves) ?? entries.at(-1))?.dataset.seq ?? 0));
  return Math.max(from, seq - (seq % 1000));
}

function take(found, from, end) {
  const told = [...found.querySelectorAll("#entries > .entry")];
  const ids = new Set(told.map((entry) => entry.id));
  follow.during(() => {
    for (const entry of told) put(document.importNode(entry, true));
    for (const entry of [...list.querySelectorAll(".entry")]) {
      const seq = Number(entry.dataset.seq);
      if (seq >= from && seq < end && !ids.has(entry.id) && !turns.grows(entry)) entry.remove();
    }
    dayLines();
    if (told.length) $("empty")?.remove();
  });
  head(document.importNode(found.getElementById("head"), true));
}

function put(entry) {
  const known = $(entry.id);
  if (known?.dataset.rev === entry.dataset.rev && known.dataset.state === entry.dataset.state) return;
  // What was written here token by token is kept as it is: it only moves into its place.
  const grown = turns.take(entry.dataset.turn, entry.querySelector(".text"));
  dress(entry);
  if (grown) entry.querySelector(".text").replaceWith(grown);
  if (known) keepOpen(known, entry);
  if (known?.dataset.seq === entry.dataset.seq) {
    known.replaceWith(entry);
    return;
  }
  known?.remove(); // this page had to guess its place
  const seq = Number(entry.dataset.seq);
  const after = [...list.querySelectorAll(".entry")].find((other) => Number(other.dataset.seq) > seq);
  const day = after?.previousElementSibling?.matches(".day") ? after.previousElementSibling : after;
  list.insertBefore(entry, day ?? null);
  if (!known && !grown) follow.arrived();
}

function keepOpen(before, after) {
  const open = [...before.querySelectorAll("details[open]")].map((details) => details.className);
  for (const details of after.querySelectorAll("details")) details.open = open.includes(details.className);
}

function head(fresh) {
  fresh.querySelectorAll("time").forEach(show);
  const old = $("head");
  if (old.textContent !== fresh.textContent && !old.contains(document.activeElement)) old.replaceWith(fresh);
}

// --- live ------------------------------------------------------------------------

const connection = new Connection(`/ws/live/?session=${encodeURIComponent(page.dataset.session)}`);
let before = false;

connection.addEventListener("open", () => {
  says("");
  if (before) look(); // what came while the line was down
  before = true;
});
connection.addEventListener("frame", ({ detail }) => {
  for (const frame of Array.isArray(detail) ? detail : [detail]) hear(frame);
});
connection.addEventListener("lost", ({ detail }) => {
  if (detail.tries > 1) says("Connection lost. Trying again; nothing will be missing.");
});
connection.addEventListener("refused", () => says("No longer signed in here. Reload the page to sign in."));

function hear(frame) {
  if (frame.event) return soon();
  if (!frame.turn || frame.session !== page.dataset.session) return undefined;
  let outcome = null;
  follow.during(() => {
    outcome = turns.hear(frame, () => make(frame));
  });
  if (outcome === "gap") connection.send({ resync: frame.turn });
  if (outcome === "ended" || outcome === "begun") soon();
  return undefined;
}

// A turn that this page has not heard of yet: its place is at the end until the server says.
function make(frame) {
  const entry = document.createElement("article");
  entry.className = "entry turn";
  entry.id = `t${frame.turn}`;
  Object.assign(entry.dataset, { turn: frame.turn, at: new Date().toISOString(), moving: "", state: "" });
  entry.dataset.seq = list.querySelector(".entry:last-of-type")?.dataset.seq ?? "0";
  const bubble = document.createElement("div");
  bubble.className = "bubble";
  const text = document.createElement("div");
  text.className = "text";
  text.dir = "auto";
  text.dataset.raw = "1";
  bubble.append(text);
  entry.append(bubble);
  list.append(entry);
  dayLines();
  follow.arrived();
  turns.hold(entry, text, "");
}

function says(text) {
  $("line").textContent = text;
}

// --- hands ------------------------------------------------------------------------

page.addEventListener("click", (event) => {
  const button = event.target.closest("button, a");
  if (!button) return;
  if (button.matches(".copy")) copy(button);
  if (button.dataset.ask && !confirm(button.dataset.ask)) event.preventDefault();
  if (button.id === "earlier") {
    event.preventDefault();
    earlier();
  }
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPING)) return;
  const open = event.target.closest?.("details[open]");
  if (open) open.open = false;
  else $("back").click();
});
document.addEventListener("visibilitychange", () => {
  follow.seen();
  if (!document.hidden) look();
});

// Back is the list as it was left, with its search and page, also after a look at others of
// the person's conversations or an action here.
function rememberList() {
  const back = $("back");
  const key = "openclaw.list";
  try {
    const from = new URL(document.referrer || location.origin);
    if (from.origin + from.pathname === back.href) sessionStorage.setItem(key, from.search);
    else if (!from.href.startsWith(back.href)) sessionStorage.removeItem(key);
    back.search = sessionStorage.getItem(key) ?? "";
  } catch {
    // storage is off: then it is the list as it begins
  }
}

rememberList();
list.querySelectorAll(".entry").forEach(dress);
dayLines();
document.querySelectorAll("time").forEach(show);
const name = location.hash.slice(1);
const goal = name && ($(name) ?? list.querySelector(`[data-turn="${CSS.escape(name.slice(1))}"]`));
if (goal) {
  goal.scrollIntoView({ block: "center" });
  goal.classList.add("sought");
} else if (atEnd) {
  follow.toEnd();
}
new IntersectionObserver(([seen]) => {
  if (seen.isIntersecting && !follow.atEnd) earlier();
}).observe($("earlier"));
if (atEnd) {
  connection.open();
  if (list.querySelector("[data-moving]")) soon(AGAIN);
}
