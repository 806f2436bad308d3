// The live page: puts its parts together. Frames are taken in as they come; the page is
// written once per animation frame, for a few milliseconds at most, where somebody looks.
// While it is paused only what the person touches is written, as it was at that moment.

import { Connection } from "../chat/connection.js";
import { TYPING } from "./keys.js";
import { Card, put } from "./live-card.js";
import { Turn } from "./live-turn.js";
import { Waiting } from "./live-waiting.js";

const BUDGET = 7; // milliseconds of writing per animation frame
const ENDED_KEPT = 30;
const ENDED_SECONDS = 90;
const ASKED_AT_ONCE = 50;
const LOST_AFTER = 3000; // a turn the database does not know as running any more

const $ = (id) => document.getElementById(id);
const data = $("live").dataset;
const token = document.querySelector("#live [name=csrfmiddlewaretoken]")?.value;
const connection = new Connection("/ws/live/?batch=1");
const cards = new Map(); // turn id -> card
const fresh = new Map(); // turn id -> turn that has no card yet
const dirty = new Set(); // cards whose text has grown
const heads = new Set(); // cards whose head has changed
const touched = new Set(); // cards to be written although the page is paused
const asked = new Set(); // turns whose snapshot was asked for

let paused = false;
let drawing = 0;
let skew = 0; // the gateway's clock minus ours

const page = {
  waitingUrl: data.waitingUrl,
  now: () => Date.now() + skew,
  sessionUrl: (session) => data.sessionUrl.replace("SESSION", encodeURIComponent(session)),
  get paused() {
    return paused;
  },
  touch(card) {
    (paused ? touched : dirty).add(card);
    draw();
  },
  told(answer, askedAt) {
    skew = Date.parse(answer.now) - (askedAt + Date.now()) / 2;
    lookForLost(new Set(answer.running));
  },
  settle,
  cancel: data.cancelUrl ? cancel : null,
};
const waiting = new Waiting(page, $("queue"), $("more"));

// --- what the gateway says ----------------------------------------------------------

function take(frame) {
  if (!frame.turn) return;
  const turn = cards.get(frame.turn)?.turn ?? fresh.get(frame.turn) ?? new Turn(frame.turn);
  const before = `${turn.state} ${turn.attempt}`;
  const outcome = turn.take(frame);
  if (outcome === "gap") {
    if (!asked.has(turn.id)) connection.send({ resync: turn.id });
    asked.add(turn.id);
    return;
  }
  if (!outcome) return;
  asked.delete(turn.id);
  turn.missing = 0;
  if (turn.ended && frame.ended === undefined) turn.endedAt = page.now();
  const card = cards.get(turn.id);
  if (!card) {
    fresh.set(turn.id, turn);
  } else {
    if (before !== `${turn.state} ${turn.attempt}` || frame.started) heads.add(card);
    if (card.visible) dirty.add(card);
  }
}

connection.addEventListener("frame", ({ detail }) => {
  if (Array.isArray(detail)) detail.forEach(take);
  draw();
});
connection.addEventListener("open", () => {
  asked.clear();
  says("");
  waiting.look();
});
connection.addEventListener("lost", ({ detail }) => {
  if (detail.tries > 1) says("Connection lost. Trying again; nothing will be missing.");
});
connection.addEventListener("refused", () => says("This account may not watch any more, or has logged out. Load the page again to log in."));

// A turn that ended while nobody told us: its end is in the database. So is why one failed.
async function lookForLost(running) {
  const lost = [];
  for (const turn of [...fresh.values(), ...[...cards.values()].map((card) => card.turn)]) {
    if (turn.state === "failed" && !turn.error && !turn.whyTold) {
      lost.push(turn);
    } else if (turn.ended || running.has(turn.id)) {
      turn.missing = 0;
    } else {
      turn.missing ||= Date.now();
      if (Date.now() - turn.missing > LOST_AFTER) lost.push(turn);
    }
  }
  if (!lost.length) return;
  const some = lost.slice(0, ASKED_AT_ONCE); // the others at the next look
  const query = new URLSearchParams(some.map((turn) => ["turn", turn.id]));
  try {
    const answer = await fetch(`${data.endedUrl}?${query}`, { cache: "no-store", redirect: "manual" });
    if (!answer.ok) return;
    (await answer.json()).frames.forEach(take);
  } catch {
    return; // at the next look
  }
  for (const turn of some) {
    turn.whyTold = turn.state === "failed";
    turn.missing = 0;
  }
  draw();
}

// --- writing the page -----------------------------------------------------------------

function draw() {
  if (!drawing && (!paused || touched.size)) drawing = requestAnimationFrame(write);
}

function write() {
  drawing = 0;
  const until = performance.now() + BUDGET;
  const left = () => performance.now() < until;
  if (paused) {
    texts(touched, left);
    draw();
    return;
  }
  let added = false;
  for (const turn of fresh.values()) {
    if (!left()) break;
    fresh.delete(turn.id);
    add(turn);
    added = true;
  }
  for (const card of heads) {
    if (!left()) break;
    heads.delete(card);
    card.showHead();
    if (card.turn.state === "queued") drop(card); // it stands among what waits
    added = true;
  }
  texts(dirty, left);
  if (added) settle();
  if (fresh.size || heads.size || dirty.size) draw();
}

function texts(waiting, left) {
  for (const card of waiting) {
    if (!left()) break;
    waiting.delete(card);
    card.showText();
  }
}

const eyes = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const card = cards.get(target.id);
      if (!card) continue;
      card.visible = isIntersecting;
      if (isIntersecting) page.touch(card);
      else [dirty, touched].forEach((some) => some.delete(card));
    }
  },
  { rootMargin: "300px" },
);

function add(turn) {
  if (turn.state === "queued") return; // it stands among what waits
  const card = new Card(turn, page);
  cards.set(turn.id, card);
  card.showHead();
  choose(card);
  $("turns").append(card.element);
  eyes.observe(card.element);
}

function drop(card) {
  eyes.unobserve(card.element);
  dirty.delete(card);
  heads.delete(card);
  cards.delete(card.turn.id);
  card.element.remove();
}

// Ended turns stay for a while: the newest of them, and what somebody has opened.
function forget() {
  const ended = [...cards.values()].filter((card) => card.turn.ended);
  ended.sort((a, b) => b.turn.endedAt - a.turn.endedAt);
  ended.forEach((card, place) => {
    const old = page.now() - card.turn.endedAt > ENDED_SECONDS * 1000;
    const inUse = card.whole || card.held || card.element.contains(document.activeElement) || card.folds.querySelector("[open]");
    if (place >= ENDED_KEPT * 4 || ((old || place >= ENDED_KEPT) && !inUse)) drop(card);
  });
}

// While nothing is written (paused, or the tab is hidden) what ended unseen is bounded too.
function forgetUnseen() {
  const ended = [...fresh.values()].filter((turn) => turn.ended);
  for (const turn of ended.slice(0, -ENDED_KEPT)) fresh.delete(turn.id);
}

// --- filters, counts --------------------------------------------------------------------

const filters = $("filters");

function wishes() {
  return Object.fromEntries([...new FormData(filters)].map(([name, value]) => [name, value.trim()]));
}

function fits(turn, kind, wish) {
  const words = () => `${turn.name} ${turn.user} ${turn.chat} ${turn.session}`.toLowerCase();
  return (
    (!wish.channel || wish.channel === turn.channel) &&
    (!wish.agent || wish.agent === turn.agent) &&
    (!wish.state || wish.state === kind) &&
    (!wish.q || words().includes(wish.q.toLowerCase()))
  );
}

function choose(card, wish = wishes()) {
  card.fits = fits(card.turn, card.ended ? "ended" : "running", wish);
  card.element.hidden = !card.fits;
}

function settle() {
  const wish = wishes();
  let running = 0;
  let shown = 0;
  for (const card of cards.values()) {
    choose(card, wish);
    running += card.ended ? 0 : 1;
    shown += card.fits ? 1 : 0;
  }
  const started = new Set(cards.keys()); // what runs by now waits no more
  waiting.show((row) => fits(row, "waiting", wish) && !(started.has(row.turn) && !cards.get(row.turn).ended));
  $("waiting").hidden = waiting.shown === 0;
  const nothing = shown === 0 && waiting.shown === 0;
  const chosen = Object.values(wish).some(Boolean);
  $("empty").hidden = !nothing || chosen || fresh.size > 0;
  $("filtered").hidden = !nothing || !chosen;
  const words = [`${running} running`, `${waiting.count ?? 0} waiting`];
  if (cards.size > running) words.push(`${cards.size - running} ended`);
  put($("counts"), words.join(" · "));
}

function filter() {
  const query = new URLSearchParams(Object.entries(wishes()).filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  settle();
}

for (const [name, value] of new URLSearchParams(location.search)) {
  const field = filters.elements[name];
  if (field?.name) field.value = value;
}
filters.addEventListener("input", filter);
filters.addEventListener("submit", (event) => event.preventDefault());

// --- what the person does ----------------------------------------------------------------

async function cancel(turn, pressed) {
  pressed.disabled = true;
  put(pressed, "Stopping…");
  try {
    const body = new URLSearchParams({ turn });
    const headers = { "X-CSRFToken": token };
    const answer = await fetch(data.cancelUrl, { method: "POST", body, headers });
    if (!answer.ok) throw new Error(answer.statusText);
    waiting.look();
  } catch {
    pressed.disabled = false;
    put(pressed, "Not stopped: try again");
  }
}

function pause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("live").classList.toggle("paused", paused);
  put($("pause"), paused ? "Follow" : "Pause");
  (paused ? dirty : touched).clear();
  for (const card of cards.values()) {
    card.pause(paused);
    if (card.visible) page.touch(card);
    if (!paused) heads.add(card);
  }
  draw();
  if (!paused) waiting.look();
}
$("pause").addEventListener("click", pause);

function step(by) {
  const fitting = [...cards.values()].filter((card) => card.fits);
  fitting.sort((one, other) => Number(one.ended) - Number(other.ended)); // as they stand
  const shown = fitting.map((card) => card.element);
  const at = shown.findIndex((element) => element.contains(document.activeElement));
  const next = shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : at + by];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  p: pause,
  "/": () => filters.elements.q.select(),
  Enter: () => document.activeElement.classList.contains("turn") && document.activeElement.querySelector(".who").click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.(TYPING);
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else cards.get(event.target.closest(".turn")?.id)?.open(false);
  } else if (!typing && keys[event.key] && !(event.key === "Enter" && !event.target.classList.contains("turn"))) {
    event.preventDefault();
    keys[event.key]();
  }
});

// --- all the while --------------------------------------------------------------------------

function says(text) {
  put($("connection"), text);
}

setInterval(() => {
  forgetUnseen();
  if (paused) {
    put($("pause"), dirty.size + fresh.size + heads.size ? "Follow · news" : "Follow");
    return;
  }
  const now = page.now();
  for (const card of cards.values()) if (card.visible && !card.turn.ended) card.tick(now);
  waiting.tick(now);
  const before = cards.size;
  forget();
  if (cards.size !== before) settle();
}, 1000);

connection.open();
waiting.start();
