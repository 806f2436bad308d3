// One turn on the page. Its head is always true; its text is written while it is in view.
// While the page is paused both are as they were at that moment.

import { make } from "../chat/make.js";
import { GrowingText } from "./live-text.js";

const WORDS = {
  running: ["running", "writing"],
  queued: ["waiting", "waits to run again"],
  done: ["done", "answered"],
  failed: ["failed", "failed"],
  quarantined: ["failed", "quarantined"],
  cancelled: ["waiting", "stopped"],
};
const FOLDS = { reasoning: "Reasoning", tool_call: "Tools", tool_result: "Tools", attachment: "Files" };
const AT_END = 8; // pixels

export class Card {
  visible = false;
  whole = false;
  held = false; // the person reads further up
  fits = true;
  ended = false; // as its head says
  #still = null; // while paused: what there was to show
  #text;
  #folds = new Map();
  #told = 0; // traces shown
  #toldOf = null;

  constructor(turn, page) {
    this.turn = turn;
    this.page = page;
    this.element = make("article", "turn");
    this.element.tabIndex = -1;
    this.element.id = turn.id;
    this.#head();
    this.folds = make("div", "folds");
    this.scroller = make("div", "scroller");
    scrolls(this.scroller, "Text");
    this.body = make("div", "text");
    this.scroller.append(this.body);
    this.#text = new GrowingText(this.body);
    this.#foot();
    this.element.append(this.head, this.folds, this.scroller, this.foot);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  #head() {
    this.head = make("header");
    this.who = make("a", "who");
    this.name = make("bdi");
    this.who.append(this.name);
    this.state = make("span", "state");
    this.time = make("time", "num");
    this.where = make("p", "where");
    this.head.append(this.who, this.state, this.time, this.where);
    this.who.id = `${this.turn.id}-who`;
    this.element.setAttribute("aria-labelledby", this.who.id);
  }

  #foot() {
    this.foot = make("footer");
    this.news = button("act news", "");
    this.news.hidden = true;
    this.news.addEventListener("click", () => this.toEnd());
    this.all = button("act all", "Show all");
    this.all.setAttribute("aria-expanded", "false");
    this.all.hidden = true;
    this.all.addEventListener("click", () => this.open(!this.whole));
    this.size = make("span", "quiet num");
    this.foot.append(this.size, this.news, this.all);
    if (this.page.cancel) {
      this.stop = button("act end stop", "Stop");
      this.stop.addEventListener("click", () => this.page.cancel(this.turn.id, this.stop));
      this.foot.append(this.stop);
    }
  }

  // Everything but the text.
  showHead() {
    const { turn } = this;
    put(this.name, turn.name || turn.user || "somebody");
    this.who.href = this.page.sessionUrl(turn.session);
    put(this.where, place(turn, turn.attempt > 1 ? `try ${turn.attempt}` : ""));
    const [kind, word] = WORDS[turn.state] ?? WORDS.failed;
    this.state.className = `state ${kind}`;
    put(this.state, turn.error ? `${word}: ${turn.error}` : word);
    this.ended = turn.ended;
    this.element.classList.toggle("ended", turn.ended);
    this.element.classList.toggle("writing", turn.state === "running");
    if (this.stop) this.stop.hidden = turn.ended;
    this.tick(this.page.now());
  }

  tick(now) {
    const { turn } = this;
    if (turn.started === null) return;
    const seconds = Math.max(0, ((turn.endedAt ?? now) - turn.started) / 1000);
    put(this.time, duration(seconds));
  }

  pause(paused) {
    this.#still = paused ? this.turn.still() : null;
  }

  get #known() {
    return this.#still ?? this.turn;
  }

  // The text as far as it is known. Called at most once per frame, and only while in view.
  showText() {
    this.#showTraces();
    if (this.held) {
      const units = this.#known.text.length - this.#text.shown;
      this.news.hidden = units <= 0;
      put(this.news, `${units.toLocaleString()} new ↓`);
      return;
    }
    this.#text.show(this.#known, this.whole);
    const above = this.#text.above;
    this.element.classList.toggle("cut", above > 0);
    this.all.hidden = !this.whole && above === 0 && !this.overflows;
    put(this.size, counted(this.#known.points));
  }

  // Roughly, without asking for a layout: more than the closed box has room for.
  get overflows() {
    const { points, text } = this.#known;
    return points > 400 || text.split("\n", 9).length > 8;
  }

  open(whole) {
    this.whole = whole;
    this.held = false;
    this.element.classList.toggle("open", whole);
    this.all.setAttribute("aria-expanded", String(whole));
    put(this.all, whole ? "Show less" : "Show all");
    this.news.hidden = true;
    this.page.touch(this);
  }

  toEnd() {
    this.held = false;
    this.news.hidden = true;
    this.scroller.scrollTop = 0; // the box is upside down: 0 is its end
    this.page.touch(this);
  }

  #scrolled() {
    const held = this.scroller.scrollTop < -AT_END;
    if (held === this.held) return;
    this.held = held;
    if (!held) this.toEnd();
  }

  // Tool calls and reasoning, folded; what is inside is built when it is opened.
  #showTraces() {
    const { traces, attempt } = this.#known;
    if (this.#toldOf !== attempt) {
      this.#toldOf = attempt;
      this.#told = 0;
      this.#folds.clear();
      this.folds.replaceChildren();
    }
    if (traces.length < this.#told) this.#told = 0;
    if (traces.length === this.#told) return;
    this.#told = traces.length;
    const kinds = new Map();
    for (const item of traces) {
      const kind = FOLDS[item.kind] ?? "Other";
      if (!kinds.has(kind)) kinds.set(kind, []);
      kinds.get(kind).push(item);
    }
    for (const [kind, items] of kinds) this.#fold(kind).show(items);
  }

  #fold(kind) {
    if (!this.#folds.has(kind)) {
      const fold = new Fold(kind);
      this.#folds.set(kind, fold);
      this.folds.append(fold.element);
    }
    return this.#folds.get(kind);
  }
}

class Fold {
  #items = [];
  #built = 0;

  constructor(kind) {
    this.kind = kind;
    this.element = make("details");
    this.summary = make("summary");
    this.inside = make("div", "inside");
    scrolls(this.inside, kind);
    this.element.append(this.summary, this.inside);
    this.element.addEventListener("toggle", () => this.#build());
  }

  show(items) {
    this.#items = items;
    const calls = items.filter((item) => item.kind !== "tool_result");
    const last = this.kind === "Tools" ? calls.at(-1)?.data?.name : "";
    put(this.summary, [this.kind, calls.length > 1 && this.kind !== "Reasoning" ? calls.length : "", last].filter(Boolean).join(" · "));
    this.#build();
  }

  #build() {
    if (!this.element.open) return;
    for (const { kind, data } of this.#items.slice(this.#built)) {
      if (kind === "reasoning" && typeof data.text === "string") this.#think(data.text);
      else this.inside.append(make("pre", "raw", said(kind, data)));
    }
    this.#built = this.#items.length;
  }

  #think(text) {
    if (this.inside.lastElementChild?.className !== "thought") {
      const thought = make("p", "thought");
      thought.dir = "auto";
      this.inside.append(thought);
    }
    this.inside.lastElementChild.append(text);
  }
}

function said(kind, data) {
  const { name, ...rest } = data;
  const title = { tool_call: "call", tool_result: "result" }[kind] ?? kind;
  return `${title} ${typeof name === "string" ? name : ""}\n${JSON.stringify(rest, null, 2)}`;
}

// Where somebody writes, and who answers.
export function place({ channel, chat, user, name, agent }, more = "") {
  const where = [channel, chat && chat !== user ? `chat ${chat}` : "", name ? user : "", more];
  return where.filter(Boolean).join(" · ") + (agent ? ` → ${agent}` : "");
}

// A box that scrolls can be reached and scrolled with the keyboard.
function scrolls(box, label) {
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", label);
}

function counted(points) {
  if (!points) return "";
  return points === 1 ? "1 character" : `${points.toLocaleString()} characters`;
}

export function duration(seconds) {
  const whole = Math.floor(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${pad(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
}

export function button(className, text) {
  const element = make("button", className, text);
  element.type = "button";
  return element;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
