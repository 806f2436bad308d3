// Inline markdown to DOM nodes. Text only ever becomes text nodes; an address becomes a
// link only when it is http or https.

const INLINE = new RegExp(
  [
    "(?<ticks>`+)(?<code>[^]*?[^`])\\k<ticks>(?!`)",
    "\\*\\*(?=\\S)(?<strong>[^]*?\\S)\\*\\*(?!\\*)",
    "(?<!\\w)__(?=\\S)(?<strong2>[^]*?\\S)__(?!\\w)",
    "(?<![\\w*])\\*(?=[^\\s*])(?<em>[^]*?[^\\s*])\\*(?!\\*)",
    "(?<!\\w)_(?=[^\\s_])(?<em2>[^]*?[^\\s_])_(?!\\w)",
    "~~(?=\\S)(?<del>[^]*?\\S)~~",
    "\\[(?<label>[^\\[\\]\\n]{1,500})\\]\\((?<target>https?:\\/\\/[^\\s()<>]+(?:\\([^\\s()<>]*\\)[^\\s()<>]*)*)\\)",
    "(?<bare>https?:\\/\\/[^\\s<>\"'`]*[^\\s<>\"'`.,;:!?)\\]}*_~])",
    "\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+\\-.!~|>])",
  ].join("|"),
  "gi",
);
const MAX_DEPTH = 4;

export function inline(text, depth = 0) {
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
  for (const match of text.matchAll(INLINE)) {
    if (!match.groups.bare) continue;
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
