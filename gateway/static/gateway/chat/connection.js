// The websocket, kept open: it comes back by itself, notices a dead line, and knows when
// it is no use to try.

const DELAYS = [300, 700, 1500, 3000, 6000, 10000];
const QUIET = 25000; // then we ask whether anybody is there
const PATIENCE = 8000; // and wait this long for any frame at all
const FORBIDDEN = 4403;

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #tries = 0;
  #timer = 0;
  #watch = 0;
  #refused = false;

  constructor(path) {
    super();
    this.#url = new URL(path, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    });
  }

  open() {
    if (this.#refused || this.#socket) return;
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.#url);
    let opened = false;
    this.#socket = socket;
    this.#expect(PATIENCE);
    socket.addEventListener("open", () => {
      opened = true;
      this.#say("open");
    });
    socket.addEventListener("message", (event) => {
      this.#tries = 0;
      this.#expect(QUIET, true);
      this.#say("frame", JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (this.#socket !== socket) return;
      this.#lost(event.code === FORBIDDEN, opened);
    });
  }

  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #lost(forbidden, opened) {
    clearTimeout(this.#watch);
    this.#socket = null;
    if (forbidden || (!opened && (await this.#shut()))) {
      this.#refused = true;
      this.#say("refused");
      return;
    }
    const delay = DELAYS[Math.min(this.#tries, DELAYS.length - 1)];
    this.#tries += 1;
    this.#say("lost", { tries: this.#tries });
    this.#timer = setTimeout(() => this.open(), delay * (0.7 + Math.random() * 0.6));
  }

  // A refused handshake looks like a lost line to a browser. The page itself tells more.
  async #shut() {
    try {
      const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store", redirect: "manual" });
      return answer.type === "opaqueredirect" || answer.status === 403;
    } catch {
      return false;
    }
  }

  #expect(delay, ask = false) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      if (ask && this.send({ type: "ping" })) this.#expect(PATIENCE);
      else this.#drop();
    }, delay);
  }

  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.close();
    this.#lost(false, true);
  }

  #hurry() {
    if (this.#socket) {
      if (this.send({ type: "ping" })) this.#expect(PATIENCE);
    } else if (!this.#refused) {
      this.#tries = 0;
      this.open();
    }
  }
}
