// The chat page: puts its parts together.

import { Connection } from "./connection.js";
import { copy } from "./copy.js";
import { Follow } from "./follow.js";
import { make } from "./make.js";
import { Outbox } from "./outbox.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const page = $("chat");
const maxBytes = Number(page.dataset.maxBytes);
const timeline = new Timeline($("timeline"));
const follow = new Follow($("scroller"), $("to-end"));
const outbox = new Outbox(page.dataset.user);
const connection = new Connection("/ws/chat/");
const title = document.title;
const bytes = new TextEncoder();

let ready = false; // history is here
let sending = null; // id of the message whose answer we wait for
let retries = 0;

// --- what the gateway says -------------------------------------------------

const heard = {
  history({ kind, messages, more }) {
    const change = () => messages.forEach((message) => timeline.put(message));
    if (kind === "earlier") follow.above(change);
    else follow.during(change);
    if (kind !== "since") $("earlier").hidden = !more;
    messages.forEach((message) => outbox.remove(message.client));
  },
  status() {
    if (!ready) {
      ready = true;
      $("skeleton").hidden = true;
      outbox.items.forEach(showPending);
    }
    emptiness();
    connectionSays("");
    sending = null;
    pump();
  },
  message(message) {
    let added = null;
    follow.during(() => {
      added = timeline.put(message);
    });
    outbox.remove(message.client);
    if (added && message.role !== "user") follow.arrived();
    if (message.role !== "user") speak(message.text);
    emptiness();
    unread();
  },
  live(frame) {
    let outcome = null;
    follow.during(() => {
      outcome = timeline.live(frame);
    });
    if (outcome === "gap") connection.send({ type: "resync", turn: frame.turn });
    else if (outcome) follow.arrived();
    emptiness();
  },
  accepted({ id }) {
    outbox.remove(id);
    retries = 0;
    timeline.byClient(id)?.pending("");
    if (sending === id) sending = null;
    pump();
  },
  refused({ id, reason, retry }) {
    if (sending === id) sending = null;
    if (retry) {
      retries += 1;
      setTimeout(pump, Math.min(15000, 700 * 2 ** retries));
      return;
    }
    outbox.refuse(id, reason);
    showRefused(id, reason);
    pump();
  },
};

connection.addEventListener("open", () => connection.send({ type: "hello", after: timeline.newest }));
connection.addEventListener("frame", (event) => heard[event.detail.type]?.(event.detail));
connection.addEventListener("lost", (event) => {
  sending = null;
  for (const item of outbox.items) if (!item.reason) timeline.byClient(item.id)?.pending("waiting");
  // One short break is not worth a word.
  if (event.detail.tries > 1) connectionSays("Connection lost. Trying again; what you write is kept.");
});
connection.addEventListener("refused", () => {
  connectionSays("This chat is closed in this browser. ", true);
  const again = make("a", "", "Open it again");
  again.href = location.pathname;
  $("connection").append(again);
  $("text").disabled = true;
  $("composer").querySelector(".send").disabled = true;
});

// --- what the person says ----------------------------------------------------

function pump() {
  const item = outbox.next();
  if (!ready || sending || !item) return;
  if (connection.send({ type: "say", id: item.id, text: item.text })) sending = item.id;
}

function showPending(item) {
  if (timeline.byClient(item.id)) return;
  follow.during(() => timeline.own(item).pending("waiting"));
  if (item.reason) showRefused(item.id, item.reason);
}

function showRefused(id, reason) {
  const entry = timeline.byClient(id);
  if (!entry) return;
  const again = make("button", "", "Edit");
  again.type = "button";
  again.addEventListener("click", () => {
    $("text").value = entry.raw;
    outbox.remove(id);
    timeline.drop(entry);
    typed();
    $("text").focus();
  });
  entry.refused(reason, again);
}

function send() {
  const text = $("text").value.trim();
  if (!text || bytes.encode(text).length > maxBytes) return;
  const item = outbox.add(text);
  $("text").value = "";
  typed();
  emptiness();
  timeline.own(item).pending("");
  follow.toEnd();
  emptiness();
  pump();
}

function typed() {
  const box = $("text");
  const size = bytes.encode(box.value).length;
  const long = size > maxBytes;
  $("composer").querySelector(".send").disabled = !box.value.trim() || long;
  $("hint").classList.toggle("problem", long);
  if (long) {
    $("hint").dataset.usual ??= $("hint").textContent;
    $("hint").textContent = `Too long to send: ${Math.ceil(size / 1024)} of ${maxBytes / 1024} KB.`;
  } else if ($("hint").dataset.usual) {
    $("hint").textContent = $("hint").dataset.usual;
  }
  if (!CSS.supports("field-sizing", "content")) {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + 2}px`;
  }
  keepDraft(box.value);
}

function keepDraft(text) {
  try {
    sessionStorage.setItem("openclaw.draft", text);
  } catch {
    // then a reload loses it
  }
}

function draft() {
  try {
    return sessionStorage.getItem("openclaw.draft") ?? "";
  } catch {
    return "";
  }
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("text").addEventListener("input", typed);
$("text").addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word (229 in older Safari).
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault();
    send();
  }
});

// --- the rest of the page ------------------------------------------------------

function emptiness() {
  $("empty").hidden = !ready || !timeline.empty;
}

function connectionSays(text, final = false) {
  const line = $("connection");
  line.textContent = text;
  line.classList.toggle("shown", Boolean(text));
  line.classList.toggle("final", final);
}

function speak(text) {
  $("spoken").textContent = text.slice(0, 2000);
}

function unread() {
  document.title = document.hidden && follow.fresh ? `(${follow.fresh}) ${title}` : title;
}

$("timeline").addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
$("earlier").addEventListener("click", () => connection.send({ type: "earlier", before: timeline.oldest }));
new IntersectionObserver(([seen]) => {
  if (seen.isIntersecting && ready && !follow.atEnd) $("earlier").click();
}).observe($("earlier"));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) follow.seen();
  unread();
});
for (const button of document.querySelectorAll(".try")) {
  button.addEventListener("click", () => {
    $("text").value = button.textContent;
    send();
  });
}

$("text").value = draft();
typed();
if (matchMedia("(hover: hover)").matches) $("text").focus();
connection.open();
