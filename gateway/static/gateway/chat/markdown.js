// Markdown that grows: `append` takes text as it arrives and touches only the block that
// is still open. What stands before it is never built again, so selections and scroll
// positions survive. The line that has not ended yet is a draft: shown, and made anew
// when more of it arrives.

import { inline } from "./inline.js";

// None of these tries a text twice: whatever follows the mark is taken whole.
const FENCE = /^\s*(`{3,}|~{3,}(?!~))(?=[^`]*$)\s*([^\s`]*)/;
const ITEM = /^(\s*)([-*+•]|\d{1,9}[.)])\s+([^]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+([^]*)$/;
const HEADING_END = /(?<!#)#+$/;
const QUOTE = /^ {0,3}> ?([^]*)$/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const DASHES = /^:?-+:?$/;
const UNCLEAR = /^\s*(?:[-*+•>#|`~_=]+|\d{1,9}[.)]?)\s*$/; // may yet become a marker
const LONG = 4000; // characters of one paragraph that are built again at once
const DEEPEST = 8; // quotes within quotes

export class Markdown {
  #root;
  #line = ""; // the last line, not ended yet
  #block = null;
  #draft = null;
  #depth;

  constructor(root, depth = 0) {
    this.#root = root;
    this.#depth = depth;
  }

  append(text) {
    this.#withdraw();
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop();
    for (const line of lines) this.#take(line.endsWith("\r") ? line.slice(0, -1) : line);
    if (this.#line.length > LONG) this.#extend();
    this.#show(this.#line);
  }

  // No more is to come.
  end() {
    this.#withdraw();
    if (this.#line) this.#take(this.#line);
    this.#line = "";
    this.#close();
  }

  reset() {
    this.#root.replaceChildren();
    this.#line = "";
    this.#block = this.#draft = null;
  }

  #take(line) {
    if (this.#block?.take(line)) return;
    this.#close();
    this.#block = open(line, this.#depth);
    if (this.#block) this.#root.append(this.#block.element);
  }

  #extend() {
    if (this.#block) {
      if (this.#block.extend?.(this.#line)) this.#line = "";
    } else if (this.#line.trim()) {
      this.#block = open(this.#line, this.#depth);
      this.#block.extend?.("");
      this.#root.append(this.#block.element);
      this.#line = "";
    }
  }

  #show(line) {
    if (this.#block) {
      if (this.#block.show(line)) return;
      this.#block.render?.();
    }
    if (!line.trim() || UNCLEAR.test(line)) return;
    if (FENCE.test(line)) return; // its language is still being written
    this.#draft = open(line, this.#depth);
    this.#draft?.render?.();
    if (this.#draft) this.#root.append(this.#draft.element);
  }

  #withdraw() {
    this.#draft?.element.remove();
    this.#draft = null;
    this.#block?.withdraw?.();
  }

  #close() {
    this.#block?.render?.();
    this.#block?.end?.();
    this.#block = null;
  }
}

function open(line, depth) {
  let match;
  if (!line.trim()) return null;
  if ((match = FENCE.exec(line))) return new Fence(match[1], match[2]);
  if ((match = HEADING.exec(line))) return new Heading(match[1].length, match[2].trimEnd().replace(HEADING_END, "").trimEnd());
  if (RULE.test(line)) return new Rule();
  if (QUOTE.test(line) && depth < DEEPEST) return new Quote(line, depth);
  if (ITEM.test(line)) return new List(line);
  return new Paragraph(line);
}

function startsBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
}

// The line below a table's head: |---|:-:|
function isDivider(line) {
  return cellsOf(line).every((cell) => DASHES.test(cell.trim()));
}

function cellsOf(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/);
}

function make(name, content = "") {
  const element = document.createElement(name);
  element.append(content);
  return element;
}

class Paragraph {
  #text;
  #joint = "\n"; // between what is there and what comes; nothing within a line
  #settled = 0; // nodes that are not touched again
  #lines = 1;

  constructor(line) {
    this.#text = line;
    this.element = make("p");
    this.element.dir = "auto";
  }

  take(line) {
    if (this.#joint) {
      if (!line.trim() || startsBlock(line)) return false;
      if (this.#lines === 1 && this.#text.includes("|") && line.includes("|") && isDivider(line)) {
        return this.#become(new Sheet(this.#text));
      }
    }
    this.extend(line);
    this.#joint = "\n";
    this.#lines += 1;
    return true;
  }

  // Part of a line that is too long to wait for its end.
  extend(text) {
    this.#text += this.#joint + text;
    this.#joint = "";
    return true;
  }

  show(line) {
    if (!this.#joint) return this.#draw(line);
    if (startsBlock(line)) return false;
    return this.#draw(!line || UNCLEAR.test(line) ? "" : this.#joint + line);
  }

  render() {
    this.#draw("");
  }

  // A table's first line looks like a paragraph until its second one is known.
  #become(sheet) {
    this.element.replaceWith(sheet.element);
    this.element = sheet.element;
    this.take = (line) => sheet.take(line);
    this.show = (line) => sheet.show(line);
    this.extend = () => false;
    this.render = () => {};
    return true;
  }

  #draw(extra) {
    while (this.element.childNodes.length > this.#settled) this.element.lastChild.remove();
    if (this.#text.length > LONG) {
      this.element.append(inline(this.#text));
      this.#text = "";
      this.#settled = this.element.childNodes.length;
    }
    this.element.append(inline(this.#text + extra));
    return true;
  }
}

class Heading {
  constructor(level, text) {
    this.element = make(`h${Math.min(5, level + 2)}`, inline(text));
    this.element.dir = "auto";
  }
  take() {
    return false;
  }
  show() {
    return false;
  }
}

class Rule {
  element = make("hr");
  take() {
    return false;
  }
  show() {
    return false;
  }
}

class Quote {
  #inner;

  constructor(line, depth) {
    this.element = make("blockquote");
    this.#inner = new Markdown(this.element, depth + 1);
    this.take(line);
  }
  take(line) {
    const match = QUOTE.exec(line);
    if (match) this.#inner.append(`${match[1]}\n`);
    return Boolean(match);
  }
  show() {
    return false;
  }
  end() {
    this.#inner.end();
  }
}

class Fence {
  #close;
  #settled = document.createTextNode("");
  #open = document.createTextNode("");
  #joint = ""; // a line break, but not before the first line or within one
  #ended = false;

  constructor(marks, language) {
    this.#close = new RegExp(`^\\s*\\${marks[0]}{${marks.length},}\\s*$`);
    const code = make("code", this.#settled);
    code.append(this.#open);
    const pre = make("pre", code);
    pre.dir = "ltr";
    pre.tabIndex = 0;
    pre.setAttribute("aria-label", language ? `${language} code` : "code");
    const copy = make("button", "Copy");
    copy.type = "button";
    copy.className = "copy";
    const header = make("header", make("span", language || "code"));
    header.append(copy);
    this.element = make("div", header);
    this.element.className = "code";
    this.element.append(pre);
  }
  take(line) {
    if (this.#ended) return false;
    if (this.#close.test(line)) {
      this.#ended = true;
    } else {
      this.#settled.appendData(this.#joint + line);
      this.#joint = "\n";
    }
    return true;
  }
  extend(text) {
    this.#settled.appendData(this.#joint + text);
    this.#joint = "";
    return true;
  }
  show(line) {
    if (this.#ended) return false;
    const maybeEnd = /^\s*[`~]+\s*$/.test(line);
    this.#open.data = line && !maybeEnd ? this.#joint + line : "";
    return true;
  }
  withdraw() {
    this.#open.data = "";
  }
}

class List {
  #levels; // innermost last: {indent, element}
  #item = null; // {element, lines}
  #blank = false;
  #passing = null; // an item whose line has not ended

  constructor(line) {
    const [, indent, mark] = ITEM.exec(line);
    this.element = listFor(mark);
    this.#levels = [{ indent: width(indent), element: this.element }];
    this.take(line);
  }

  take(line) {
    const match = ITEM.exec(line);
    if (match && !RULE.test(line)) {
      this.render();
      this.#item = this.#place(match);
      this.#blank = false;
      return true;
    }
    if (!line.trim()) {
      this.#blank = true;
      return true;
    }
    if (FENCE.test(line) || (this.#blank && !/^\s{2,}/.test(line)) || startsBlock(line)) return false;
    this.#item.lines.push(line.trim());
    this.#blank = false;
    return true;
  }

  show(line) {
    if (!line.trim()) return this.#draw("");
    const match = ITEM.exec(line);
    if (match) {
      this.#draw("");
      const levels = [...this.#levels];
      this.#passing = { ...this.#place(match), levels };
      this.#passing.element.append(inline(match[3]));
      return true;
    }
    if (UNCLEAR.test(line)) return this.#draw("");
    if (FENCE.test(line) || startsBlock(line) || (this.#blank && !/^\s{2,}/.test(line))) return false;
    return this.#draw(`\n${line.trim()}`);
  }

  withdraw() {
    if (!this.#passing) return;
    const list = this.#passing.element.parentElement;
    this.#passing.element.remove();
    if (!list.children.length && list !== this.element) list.remove();
    this.#levels = this.#passing.levels;
    this.#passing = null;
  }

  render() {
    if (this.#item) this.#draw("");
  }

  #place([, space, mark, text]) {
    const indent = width(space);
    while (this.#levels.length > 1 && indent < this.#levels.at(-1).indent) this.#levels.pop();
    const level = this.#levels.at(-1);
    const parent = level.element.lastElementChild;
    if (indent >= level.indent + 2 && parent) {
      const nested = listFor(mark);
      parent.append(nested);
      this.#levels = [...this.#levels, { indent, element: nested }];
    }
    const element = make("li");
    this.#levels.at(-1).element.append(element);
    return { element, lines: [text] };
  }

  #draw(extra) {
    const { element, lines } = this.#item;
    const nested = [...element.children].filter((child) => child.matches("ul, ol"));
    element.replaceChildren(inline(lines.join("\n") + extra), ...nested);
    return true;
  }
}

function listFor(mark) {
  const element = make(/\d/.test(mark) ? "ol" : "ul");
  if (/\d/.test(mark)) element.start = Number.parseInt(mark, 10);
  element.dir = "auto"; // of the whole list: its bullets stand on that side
  return element;
}

function width(space) {
  return space.replaceAll("\t", "    ").length;
}

class Sheet {
  #body = make("tbody");

  constructor(head) {
    const table = make("table", make("thead", row(head, "th")));
    table.append(this.#body);
    this.element = make("div", table);
    this.element.className = "sheet";
    this.element.tabIndex = 0;
  }
  take(line) {
    if (!line.includes("|")) return false;
    this.#body.append(row(line, "td"));
    return true;
  }
  show(line) {
    return !line || line.trimStart().startsWith("|"); // a row is shown when it is whole
  }
}

function row(line, name) {
  const element = make("tr");
  for (const cell of cellsOf(line)) element.append(make(name, inline(cell.trim())));
  for (const cell of element.children) cell.dir = "auto";
  return element;
}
