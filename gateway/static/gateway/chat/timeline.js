// All messages in their order, with the lines between days and conversations. A message is
// known by its own id, by the turn it came from, or by the id this page gave it, so that
// what was streamed or sent becomes history in place.

import { dayOf, sameDay } from "./days.js";
import { Entry } from "./entry.js";
import { make } from "./make.js";

export class Timeline {
  #list;
  #entries = [];
  #byId = new Map();
  #byTurn = new Map();
  #byClient = new Map();

  constructor(list) {
    this.#list = list;
  }

  get empty() {
    return this.#entries.length === 0;
  }

  get newest() {
    return Math.max(0, ...this.#byId.keys());
  }

  get oldest() {
    return this.#entries.find((entry) => entry.id)?.id ?? 0;
  }

  byClient(id) {
    return this.#byClient.get(id);
  }

  // A message of history. Returns the entry if it was not on the page before.
  put(message) {
    const known = this.#byId.get(message.id) ?? this.#byTurn.get(message.turn) ?? this.#byClient.get(message.client);
    if (known && message.partial && known.id) return null; // its answer came after all
    const entry = known ?? new Entry(message.role, message.origin);
    entry.session = message.session;
    entry.seq = message.seq;
    if (message.id) this.#byId.set((entry.id = message.id), entry);
    if (message.turn) this.#byTurn.set((entry.turn = message.turn), entry);
    if (message.client) this.#byClient.set((entry.client = message.client), entry);
    entry.at(message.at);
    if (message.generated) entry.generated();
    entry.settle(message.text);
    entry.attach(message.files);
    if (message.partial) entry.turnIs(message.state);
    else if (entry.role === "user") entry.pending("");
    this.#place(entry);
    return known ? null : entry;
  }

  // Something this person wrote, on its way.
  own(item) {
    const entry = new Entry("user", "user");
    this.#byClient.set((entry.client = item.id), entry);
    entry.at(item.at);
    entry.settle(item.text);
    this.#place(entry);
    return entry;
  }

  drop(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#byClient.delete(entry.client);
    this.#byTurn.delete(entry.turn);
    entry.element.remove();
    this.#lines();
  }

  // A frame of a running turn: "gap" if something before it is missing, the entry if it is
  // new to the page, or null.
  live(frame) {
    let entry = this.#byTurn.get(frame.turn);
    if (entry?.id) return null; // it is history already
    const known = Boolean(entry);
    if (!known) {
      entry = new Entry("assistant", "agent");
      entry.session = frame.session;
      entry.at(new Date().toISOString());
    }
    if (frame.attempt !== entry.attempt) {
      if (frame.offset !== 0) return "gap";
      if (frame.attempt < entry.attempt) return null;
      if (entry.attempt >= 0) entry.clear();
      entry.attempt = frame.attempt;
    }
    if (frame.offset > entry.length) return "gap";
    if (frame.seq) entry.seq = frame.seq;
    this.#byTurn.set((entry.turn = frame.turn), entry);
    this.#grow(entry, frame);
    entry.turnIs(frame.state);
    if (frame.state !== "running" && frame.state !== "queued" && !entry.raw) {
      if (known) this.drop(entry);
      this.#byTurn.delete(frame.turn);
      return null; // it ended without a word
    }
    this.#place(entry);
    return known ? null : entry;
  }

  #grow(entry, frame) {
    if (frame.offset === entry.length) {
      if (frame.text) entry.grow(frame.text);
      return;
    }
    // Told again what we have, wholly or in part: only what differs is touched.
    const before = Array.from(entry.raw);
    const told = Array.from(frame.text);
    const end = frame.offset + told.length;
    const same = before.slice(frame.offset, end).join("") === told.slice(0, before.length - frame.offset).join("");
    if (same && end >= before.length) {
      entry.grow(told.slice(before.length - frame.offset).join(""));
    } else if (!same || frame.state !== "running") {
      entry.clear();
      entry.grow(before.slice(0, frame.offset).join("") + frame.text);
    }
  }

  #place(entry) {
    const entries = this.#entries.filter((other) => other !== entry);
    let at = entries.length;
    while (at > 0 && compare(entry, entries[at - 1]) < 0) at -= 1;
    if (this.#entries[at] === entry) return;
    entries.splice(at, 0, entry);
    this.#entries = entries;
    this.#list.insertBefore(entry.element, entries[at + 1]?.element ?? null);
    this.#lines();
  }

  // The lines between days and conversations, and what stands close together.
  #lines() {
    let before = null;
    for (const entry of this.#entries) {
      const day = before && sameDay(before.moment, entry.moment) ? "" : dayOf(entry.moment);
      const fresh = before && entry.session && before.session && entry.session !== before.session;
      const text = [fresh ? "New conversation" : "", day].filter(Boolean).join(" · ");
      const line = entry.element.querySelector(":scope > .line");
      if (text && !line) entry.element.prepend(make("p", "line", text));
      else if (!text) line?.remove();
      else if (line.textContent !== text) line.textContent = text;
      const close = before && !text && before.role === entry.role && before.origin === entry.origin;
      entry.element.classList.toggle("follows", Boolean(close));
      before = entry;
    }
  }
}

function compare(a, b) {
  if (a.session === null || b.session === null) {
    return Number(a.session === null) - Number(b.session === null);
  }
  if (a.session !== b.session) return a.session < b.session ? -1 : 1;
  return a.seq - b.seq;
}
