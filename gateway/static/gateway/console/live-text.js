// A growing text in few DOM nodes: it only ever appends, and drops what has left the view.

const TAIL = 1400; // UTF-16 units shown of a text that is not opened
const BLOCK = 1000; // a new block begins at the next line end after so many
const LONGEST = 6000; // or after so many where no line ends

export class GrowingText {
  #box;
  #shown = 0; // up to here the text stands in the box, or was dropped from it
  #version = -1;
  #whole = false;
  #first = 0; // where the box begins in the text

  constructor(box) {
    this.#box = box;
  }

  // How much of the text stands above what is shown.
  get above() {
    return this.#first;
  }

  get shown() {
    return this.#shown;
  }

  show(turn, whole) {
    const text = turn.text;
    if (turn.version !== this.#version || (whole && this.#first > 0) || whole !== this.#whole) {
      this.#version = turn.version;
      this.#whole = whole;
      this.#box.replaceChildren();
      this.#first = this.#shown = whole ? 0 : beginning(text, text.length - TAIL);
    } else if (!whole && text.length - this.#shown > TAIL) {
      this.#box.replaceChildren();
      this.#first = this.#shown = beginning(text, text.length - TAIL);
    }
    this.#append(text.slice(this.#shown));
    this.#shown = text.length;
    if (!whole) this.#trim();
  }

  #append(text) {
    let rest = text;
    while (rest) {
      const block = this.#open();
      const room = Math.max(0, BLOCK - block.length);
      const line = rest.indexOf("\n", room);
      const most = Math.max(1, LONGEST - block.length);
      let end = line < 0 ? rest.length : line + 1;
      if (end > most) end = most + (half(rest, most) ? 1 : 0);
      block.appendData(rest.slice(0, end));
      rest = rest.slice(end);
    }
  }

  // The text node that the next words go to.
  #open() {
    const last = this.#box.lastElementChild?.firstChild;
    if (last && last.length < LONGEST && !(last.length >= BLOCK && last.data.endsWith("\n"))) return last;
    const block = document.createElement("div");
    block.dir = "auto";
    block.append(document.createTextNode(""));
    this.#box.append(block);
    return block.firstChild;
  }

  #trim() {
    while (this.#shown - this.#first > 2 * TAIL) {
      const block = this.#box.firstElementChild;
      const spare = this.#shown - this.#first - TAIL;
      const node = block.firstChild;
      if (node.length <= spare) {
        this.#first += node.length;
        block.remove();
      } else {
        const cut = beginning(node.data, spare);
        node.deleteData(0, cut);
        this.#first += cut;
      }
    }
  }
}

// A place at or just before `at` that does not cut a character in two.
function beginning(text, at) {
  if (at <= 0) return 0;
  return half(text, at) ? at - 1 : at;
}

function half(text, at) {
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code <= 0xdfff;
}
