// One message on the page, from the first caret to its place in history.

import { link, plain } from "./inline.js";
import { make } from "./make.js";
import { Markdown } from "./markdown.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const WARNING = "M8 2.2 14.6 13.6H1.4zM8 6.4v3.4M8 11.6v.2";
const NOTES = {
  waiting: "Waiting to be sent",
  failed: "The answer broke off here",
  quarantined: "The answer broke off here",
  cancelled: "Stopped",
};

export class Entry {
  id = null; // of the message, once there is one
  session = null; // null: not in a conversation yet, so at the end
  seq = 0;
  turn = null;
  client = null;
  raw = "";
  attempt = -1;
  length = 0; // of raw, in code points, as the gateway counts
  state = ""; // running | done | failed | cancelled | … of its turn

  #markdown = null;

  constructor(role, origin) {
    this.role = role;
    this.origin = origin;
    this.element = make("div", `entry ${role} ${origin}`);
    this.message = make("article", "message");
    if (origin === "operator") this.message.append(make("p", "by", "A person"));
    this.body = make("div", "body");
    this.foot = make("footer", "foot");
    this.time = make("time");
    this.foot.append(this.time);
    this.message.append(make("span", "visually-hidden", label(role, origin)), this.body, this.foot);
    this.element.append(this.message);
    if (role === "assistant") {
      this.body.classList.add("text");
      this.#markdown = new Markdown(this.body);
    } else {
      this.body.dir = "auto";
    }
  }

  // Nobody here asked for it: a schedule or a program did.
  generated() {
    if (!this.message.querySelector(".by")) this.message.prepend(make("p", "by planned", "System-generated"));
  }

  at(iso) {
    const moment = new Date(iso);
    this.moment = moment;
    this.time.dateTime = iso;
    this.time.textContent = clock.format(moment);
    this.time.title = whole.format(moment);
  }

  // All of it at once; left alone where it is what we have.
  settle(text) {
    if (text !== this.raw) {
      this.clear();
      this.grow(text);
    }
    this.#markdown?.end();
    this.element.classList.remove("running");
  }

  grow(text) {
    this.raw += text;
    for (const _ of text) this.length += 1;
    if (this.#markdown) this.#markdown.append(text);
    else this.body.append(plain(text));
  }

  clear() {
    this.raw = "";
    this.length = 0;
    this.body.replaceChildren();
    this.#markdown?.reset();
  }

  turnIs(state) {
    this.state = state;
    this.element.classList.toggle("running", state === "running" || state === "queued");
    const broken = state in NOTES;
    if (broken !== this.element.classList.contains("failed")) {
      this.element.classList.toggle("failed", broken);
      this.note(broken ? NOTES[state] : "", WARNING);
    }
    if (state === "done" || broken) this.#markdown?.end();
  }

  note(text, icon = null, ...controls) {
    this.foot.querySelector(".note")?.remove();
    for (const button of this.foot.querySelectorAll("button")) button.remove();
    if (!text) return;
    const note = make("span", "note");
    if (icon) note.append(sign(icon));
    note.append(text);
    this.foot.prepend(note, ...controls);
  }

  pending(state) {
    this.element.classList.toggle("pending", Boolean(state));
    this.note(state ? NOTES[state] : "");
  }

  refused(reason, ...controls) {
    this.element.classList.remove("pending");
    this.element.classList.add("refused");
    this.note(`Not sent: ${reason}`, WARNING, ...controls);
  }

  attach(files) {
    if (!files?.length || this.body.querySelector(".files")) return;
    const list = make("ul", "files");
    for (const file of files) {
      const item = make("li");
      item.append(link(file.url, file.name || file.url));
      list.append(item);
    }
    this.body.append(list);
  }
}

function label(role, origin) {
  if (role === "user") return "You:";
  if (role === "system") return "Note:";
  return origin === "operator" ? "Answer by a person:" : "Answer:";
}

function sign(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "currentColor");
  line.setAttribute("stroke-width", "1.4");
  line.setAttribute("stroke-linecap", "round");
  line.setAttribute("stroke-linejoin", "round");
  svg.append(line);
  return svg;
}
