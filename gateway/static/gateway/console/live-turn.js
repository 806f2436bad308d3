// What is known of one turn, without a page: its text exactly as sent, checked by offsets.

const ENDED = new Set(["done", "failed", "cancelled", "quarantined"]);

export class Turn {
  attempt = -1;
  state = "running";
  points = 0; // of the text, in code points, as the gateway counts
  version = 0; // raised when text already taken in has changed
  traces = [];
  endedAt = null; // milliseconds, as this browser's clock says
  #text = "";
  #fresh = [];

  constructor(id) {
    this.id = id;
    this.agent = this.user = this.name = this.chat = this.channel = this.session = this.error = "";
    this.started = null;
  }

  get text() {
    if (this.#fresh.length) {
      this.#text += this.#fresh.join("");
      this.#fresh = [];
    }
    return this.#text;
  }

  get ended() {
    return ENDED.has(this.state);
  }

  // As it is now, whatever comes: what a card shows while the page is paused.
  still() {
    const { text, points, version, traces, attempt } = this;
    return { text, points, version, traces, attempt };
  }

  // True when there is something new, false when not, "gap" when something before is missing.
  take(frame) {
    if (frame.attempt < this.attempt) return false;
    if (frame.attempt > this.attempt) {
      if (frame.offset !== 0) return "gap";
      this.#restart(frame.attempt);
    }
    if (frame.offset > this.points) return "gap";
    this.#head(frame);
    const over = frame.state !== "running";
    if (frame.offset === this.points) this.#append(frame.text);
    else this.#overlap(frame, over);
    this.state = frame.state;
    if (this.ended && this.endedAt === null) this.endedAt = frame.ended ? Date.parse(frame.ended) : Date.now();
    return true;
  }

  #restart(attempt) {
    this.attempt = attempt;
    this.#replace("");
    this.traces = [];
    this.endedAt = null;
    this.error = "";
  }

  #head(frame) {
    this.session = frame.session;
    this.channel = frame.channel;
    if (frame.error) this.error = frame.error;
    if (frame.started) {
      for (const key of ["agent", "user", "name", "chat"]) this[key] = frame[key] ?? "";
      this.started = Date.parse(frame.started);
      this.traces = [];
    }
    if (frame.trace?.length) this.traces = this.traces.concat(frame.trace);
  }

  #append(text) {
    if (!text) return;
    this.#fresh.push(text);
    for (const _ of text) this.points += 1;
  }

  #replace(text) {
    this.#fresh = [];
    this.#text = text;
    this.points = 0;
    for (const _ of text) this.points += 1;
    this.version += 1;
  }

  // Told again what is here, wholly or in part. Only what differs changes anything; a
  // snapshot in several pieces is shorter than what is here until its last one. Of a turn
  // that was stopped the database may know less than was seen here.
  #overlap(frame, over) {
    const text = this.text;
    const at = this.#index(frame.offset);
    const ours = text.slice(at);
    if (frame.text.startsWith(ours)) this.#append(frame.text.slice(ours.length));
    else if (!ours.startsWith(frame.text)) this.#replace(text.slice(0, at) + frame.text);
    else if (over && (frame.ended === undefined || frame.state === "done" || frame.text)) this.#replace(text.slice(0, at + frame.text.length));
  }

  #index(offset) {
    const text = this.text;
    if (text.length === this.points) return offset;
    let at = 0;
    for (let point = 0; point < offset; point += 1) at += text.codePointAt(at) > 0xffff ? 2 : 1;
    return at;
  }
}
