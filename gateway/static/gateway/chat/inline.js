// Inline markdown to DOM nodes. Text only ever becomes text nodes; an address becomes a
// link only when it is http or https. Whatever somebody writes, the time it takes grows
// with its length and no faster: a span reaches only so far, and a run of marks is tried
// once, from its beginning.

const WITHIN = "[^]{0,1000}?";
const INLINE = new RegExp(
  [
    `(?<!(?<!\\\\)\`)(?<ticks>\`+)(?!\`)(?<code>${WITHIN}[^\`])\\k<ticks>(?!\`)`,
    `(?<!(?<!\\\\)\\*)\\*\\*(?=\\S)(?<strong>${WITHIN}\\S)\\*\\*(?!\\*)`,
    `(?<!\\w)__(?=\\S)(?<strong2>${WITHIN}\\S)__(?!\\w)`,
    `(?<![\\w*])\\*(?=[^\\s*])(?<em>${WITHIN}[^\\s*])\\*(?!\\*)`,
    `(?<!\\w)_(?=[^\\s_])(?<em2>${WITHIN}[^\\s_])_(?!\\w)`,
    `(?<!(?<!\\\\)~)~~(?=\\S)(?<del>${WITHIN}\\S)~~`,
    "\\[(?<label>[^\\[\\]\\n]{1,500})\\]\\((?<target>https?:\\/\\/[^\\s()<>]+(?:\\([^\\s()<>]*\\)[^\\s()<>]*)*)\\)",
    "(?<bare>https?:\\/\\/[^\\s<>\"'`]*[^\\s<>\"'`.,;:!?)\\]}*_~])",
    "\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+\\-.!~|>])",
  ].join("|"),
  "gi",
);
const BARE = /https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]}*_~]/gi;
const LONGEST = 100_000; // UTF-16 units of one paragraph; what is longer stays as it is written
const MAX_DEPTH = 4;

export function inline(text, depth = 0) {
  if (text.length > LONGEST) return plain(text);
  const nodes = document.createDocumentFragment();
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) nodes.append(text.slice(at, match.index));
    nodes.append(span(match[0], match.groups, depth));
    at = match.index + match[0].length;
  }
  if (at < text.length) nodes.append(text.slice(at));
  return nodes;
}

// A person's own words: plain, but addresses can be followed.
export function plain(text) {
  const nodes = document.createDocumentFragment();
  let at = 0;
  for (const match of text.matchAll(BARE)) {
    nodes.append(text.slice(at, match.index), link(match[0], match[0]));
    at = match.index + match[0].length;
  }
  nodes.append(text.slice(at));
  return nodes;
}

export function link(address, content) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return document.createTextNode(address);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return document.createTextNode(address);
  }
  const element = document.createElement("a");
  element.href = url.href;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
  element.append(content);
  return element;
}

function span(whole, found, depth) {
  if (found.code !== undefined) return wrap("code", document.createTextNode(found.code.trim() || found.code));
  if (found.escaped) return document.createTextNode(found.escaped);
  if (found.bare) return link(found.bare, found.bare);
  if (depth >= MAX_DEPTH) return document.createTextNode(whole);
  if (found.label) return link(found.target, inline(found.label, MAX_DEPTH));
  const strong = found.strong ?? found.strong2;
  if (strong) return wrap("strong", inline(strong, depth + 1));
  const em = found.em ?? found.em2;
  if (em) return wrap("em", inline(em, depth + 1));
  return wrap("del", inline(found.del, depth + 1));
}

function wrap(name, content) {
  const element = document.createElement(name);
  element.append(content);
  return element;
}
