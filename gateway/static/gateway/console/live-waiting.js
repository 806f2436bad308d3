// What waits, and why. Told by the gateway every two seconds; it also says which turns run.

import { make } from "../chat/make.js";
import { button, duration, place, put } from "./live-card.js";

const PACE = 2000;
const REASONS = {
  operator: () => ["handed-over", "handed to an operator"],
  running: () => ["waiting", "behind a running turn"],
  earlier: () => ["waiting", "behind an earlier turn of this conversation"],
  no_agent: () => ["unsure", "no agent: no rule fits and there is no default"],
  backoff: (row) => ["waiting", `tries again after ${row.error || "a failure"} (try ${row.attempts} failed)`],
  more: () => ["waiting", "waits a moment for more"],
  away: () => ["unsure", "its agent does not answer; it is tried again by itself"],
  full: () => ["waiting", "as many turns run as may"],
  soon: () => ["waiting", "starts in a moment"],
};

export class Waiting {
  rows = [];
  shown = 0;
  #items = new Map(); // turn -> its line
  #timer = 0;

  constructor(page, list, more) {
    this.page = page;
    this.list = list;
    this.more = more;
  }

  start() {
    const look = async () => {
      clearTimeout(this.#timer);
      if (!document.hidden) await this.look();
      this.#timer = setTimeout(look, PACE);
    };
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) look();
    });
    look();
  }

  async look() {
    const asked = Date.now();
    let told;
    try {
      const answer = await fetch(this.page.waitingUrl, { cache: "no-store", redirect: "manual" });
      if (!answer.ok) return;
      told = await answer.json();
    } catch {
      return; // the websocket says that the connection is lost
    }
    this.page.told(told, asked);
    if (this.page.paused) return;
    this.rows = told.waiting;
    this.count = told.waiting.length + told.more;
    this.left = told.more;
    this.page.settle();
  }

  // Draw what fits the filters.
  show(fits) {
    const rows = this.rows.filter(fits);
    const wanted = new Set(rows.map((row) => row.turn));
    for (const [turn, item] of this.#items) {
      if (wanted.has(turn)) continue;
      item.element.remove();
      this.#items.delete(turn);
    }
    let before = null;
    for (const row of rows) {
      const item = this.#items.get(row.turn) ?? this.#add(row);
      item.show(row);
      const next = before ? before.nextElementSibling : this.list.firstElementChild;
      if (next !== item.element) this.list.insertBefore(item.element, next);
      before = item.element;
    }
    this.shown = rows.length;
    this.more.hidden = !this.left;
    put(this.more, this.left ? `and ${this.left.toLocaleString()} more` : "");
  }

  tick(now) {
    for (const item of this.#items.values()) item.tick(now);
  }

  #add(row) {
    const item = new Line(row, this.page);
    this.#items.set(row.turn, item);
    return item;
  }
}

class Line {
  constructor(row, page) {
    this.page = page;
    this.element = make("li");
    this.who = make("a", "who");
    this.name = make("bdi");
    this.who.append(this.name);
    this.where = make("span", "where");
    this.why = make("span", "state");
    this.reason = make("span", "reason");
    this.why.append(this.reason);
    this.until = make("span", "quiet num");
    this.time = make("time", "num");
    this.element.append(this.who, this.where, this.why, this.until, this.time);
    if (page.cancel) {
      const stop = button("act end stop", "Drop");
      stop.addEventListener("click", () => page.cancel(row.turn, stop));
      this.element.append(stop);
    }
  }

  show(row) {
    this.row = row;
    put(this.name, row.name || row.user || "somebody");
    this.who.href = this.page.sessionUrl(row.session);
    put(this.where, place(row));
    const [kind, why] = (REASONS[row.kind] ?? REASONS.soon)(row);
    this.why.className = `state ${kind}`;
    put(this.reason, why);
    this.tick(this.page.now());
  }

  tick(now) {
    put(this.time, duration(Math.max(0, (now - Date.parse(this.row.since)) / 1000)));
    const left = (Date.parse(this.row.until) - now) / 1000;
    put(this.until, this.row.kind === "backoff" && left > 0 ? `in ${duration(left + 1)}` : "");
  }
}
