// Keeps the start page up to date: fetches its state every ten seconds and exchanges only
// the parts that changed, without moving the focus or closing what somebody opened.

const SECONDS = 10;

const state = document.getElementById("state");
const stale = document.getElementById("stale");

function keepOpen(before, after) {
  for (const details of before.querySelectorAll("details[open][id]")) {
    after.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
  }
}

function exchange(before, after) {
  keepOpen(before, after);
  if (before.isEqualNode(after)) return;
  const focused = before.contains(document.activeElement) ? document.activeElement : null;
  before.replaceWith(after);
  const again = focused?.id
    ? after.querySelector(`#${CSS.escape(focused.id)}`)
    : focused?.closest("details[id]") && after.querySelector(
      `#${CSS.escape(focused.closest("details[id]").id)} > summary`,
    );
  again?.focus({ preventScroll: true });
}

function take(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of fresh.querySelectorAll("section[id], figure[id]")) {
    const old = document.getElementById(part.id);
    if (old && state.contains(old)) exchange(old, document.importNode(part, true));
  }
}

function say(text) {
  if (stale.textContent !== text) stale.textContent = text;
  stale.hidden = !text;
}

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(state.dataset.source, {
      redirect: "error",
      signal: AbortSignal.timeout(SECONDS * 1000),
    });
    if (!answer.ok) throw new Error(String(answer.status));
    take(await answer.text());
    say("");
  } catch {
    const since = state.querySelector(".asof time")?.textContent;
    say(`Not up to date: this is how things were at ${since} UTC. Trying again.`);
  }
}

if (state) {
  setInterval(look, SECONDS * 1000);
  document.addEventListener("visibilitychange", look);
}
