// Brings part of a page up to date in place: only what differs is touched, so that a
// selection, the focus and what somebody opened stay where they are.

export function renew(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const name = focused && nameOf(focused);
  match(old, fresh);
  if (!name || (focused.isConnected && nameOf(focused) === name)) return;
  const again = [...old.querySelectorAll("a, summary, button")].find((element) => nameOf(element) === name);
  if (again) again.focus({ preventScroll: true });
  else if (focused.isConnected) focused.blur(); // it is something else by now
}

// What an element is for, whatever is counted in its words.
function nameOf(element) {
  return element.getAttribute("href") ?? element.closest("[id]")?.id;
}

function match(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    old.data = fresh.data;
  } else {
    attributes(old, fresh);
    children(old, fresh);
  }
}

function attributes(old, fresh) {
  const ours = ({ name }) => old.nodeName === "DETAILS" && name === "open";
  for (const attribute of [...old.attributes]) {
    if (!ours(attribute) && !fresh.hasAttribute(attribute.name)) old.removeAttribute(attribute.name);
  }
  for (const attribute of fresh.attributes) {
    if (!ours(attribute) && old.getAttribute(attribute.name) !== attribute.value) old.setAttribute(attribute.name, attribute.value);
  }
}

// What is the same at both ends stays; what is between is matched one by one.
function children(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  while (before.length && after.length && before[0].isEqualNode(after[0])) {
    before.shift();
    after.shift();
  }
  let behind = null; // the first node of the equal end
  while (before.length && after.length && before.at(-1).isEqualNode(after.at(-1))) {
    behind = before.pop();
    after.pop();
  }
  const pairs = Math.min(before.length, after.length);
  for (let at = 0; at < pairs; at += 1) match(before[at], after[at]);
  for (const gone of before.slice(pairs)) gone.remove();
  for (const added of after.slice(pairs)) old.insertBefore(added, behind);
}
