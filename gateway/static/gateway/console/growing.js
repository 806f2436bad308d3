// Turns that are being written: each frame is appended where it belongs, checked by its
// offset (code points), and never rendered again.

import { Markdown } from "../chat/markdown.js";

const LIVE = new Set(["running", "queued"]);

export class Turns {
  #turns = new Map(); // id -> {entry, text, markdown, raw, length, attempt, open}

  // An entry whose text grows. What stands in it already is shown until the first frame.
  hold(entry, text, raw) {
    text.replaceChildren();
    text.classList.add("marked");
    const markdown = new Markdown(text);
    markdown.append(raw);
    this.#turns.set(entry.dataset.turn, { entry, text, markdown, raw, length: size(raw), attempt: -1, open: true });
  }

  grows(entry) {
    const turn = this.#turns.get(entry.dataset.turn);
    return Boolean(turn?.open && turn.entry === entry);
  }

  // "gap" where something before this frame is missing, "begun" and "ended" where the
  // server has more to say about it.
  hear(frame, make) {
    let turn = this.#turns.get(frame.turn);
    const begun = !turn;
    if (begun) {
      if (!LIVE.has(frame.state) && !frame.text) return "ended";
      make();
      turn = this.#turns.get(frame.turn);
    }
    if (frame.attempt < turn.attempt) return null;
    if (frame.attempt !== turn.attempt) {
      if (frame.offset !== 0) return "gap";
      turn.attempt = frame.attempt;
      clear(turn);
    }
    if (frame.offset > turn.length) return "gap";
    grow(turn, frame);
    turn.open = LIVE.has(frame.state);
    turn.entry.classList.toggle("running", frame.state === "running");
    if (!turn.open) turn.markdown.end();
    return turn.open ? (begun ? "begun" : null) : "ended";
  }

  // The text that was written for this turn, if it is just what the server has: the entry
  // that takes its place keeps it. Forgets the turn once it has ended.
  take(id, told) {
    const turn = this.#turns.get(id);
    if (!turn || !told) return null;
    if ("live" in told.dataset) {
      told.dataset.raw = "1";
      turn.entry = told.closest(".entry");
      if (turn.open) turn.entry.classList.add("running");
      return turn.text;
    }
    this.#turns.delete(id);
    if (told.textContent !== turn.raw) return null;
    turn.markdown.end();
    return turn.text;
  }
}

function grow(turn, frame) {
  if (frame.offset === turn.length) {
    append(turn, frame.text);
    return;
  }
  // Told again what we have, wholly or in part: only what differs is touched.
  const have = Array.from(turn.raw);
  const told = Array.from(frame.text);
  const known = have.slice(frame.offset, frame.offset + told.length).join("");
  const again = told.slice(0, have.length - frame.offset).join("");
  if (known === again && frame.offset + told.length >= have.length) {
    append(turn, told.slice(have.length - frame.offset).join(""));
  } else if (known !== again) {
    clear(turn);
    append(turn, have.slice(0, frame.offset).join("") + frame.text);
  }
}

function append(turn, text) {
  if (!text) return;
  turn.raw += text;
  turn.length += size(text);
  turn.markdown.append(text);
}

function clear(turn) {
  turn.raw = "";
  turn.length = 0;
  turn.markdown.reset();
}

function size(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
