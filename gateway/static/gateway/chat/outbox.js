// Messages that the gateway has not confirmed yet, kept over a reload. Each has an id of
// its own, so that sending it again never makes two of it.

export class Outbox {
  #key;
  #items;

  constructor(user) {
    this.#key = `openclaw.outbox.${user}`;
    this.#items = this.#read();
  }

  get items() {
    return [...this.#items];
  }

  add(text) {
    const item = { id: newId(), text, at: new Date().toISOString() };
    this.#change((items) => [...items, item]);
    return item;
  }

  remove(id) {
    this.#change((items) => items.filter((item) => item.id !== id));
  }

  refuse(id, reason) {
    this.#change((items) => items.map((item) => (item.id === id ? { ...item, reason } : item)));
  }

  // The next one to send: the oldest that was not turned down.
  next() {
    return this.#items.find((item) => !item.reason);
  }

  #change(change) {
    this.#items = change(this.#items);
    try {
      // Another tab may have added some: only ours are changed.
      const kept = this.#read().filter((item) => !this.#known.has(item.id));
      for (const item of this.#items) this.#known.add(item.id);
      localStorage.setItem(this.#key, JSON.stringify([...kept, ...this.#items]));
    } catch {
      // Storage is off or full: then they last as long as the page.
    }
  }

  #known = new Set();

  #read() {
    try {
      const items = JSON.parse(localStorage.getItem(this.#key) ?? "[]");
      return Array.isArray(items) ? items.filter((item) => typeof item?.id === "string" && typeof item.text === "string") : [];
    } catch {
      return [];
    }
  }
}

// crypto.randomUUID is missing on plain http beyond this machine.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
