// Keeps the start page up to date: fetches its state every ten seconds and changes only
// what differs.

import { renew } from "./renew.js";
import { clock, show, zone } from "./times.js";

const SECONDS = 10;

const state = document.getElementById("state");
const stale = document.getElementById("stale");

// In the reader's own time.
function dress(part) {
  part.querySelectorAll("time").forEach(show);
  for (const place of part.querySelectorAll("[data-zone]")) place.textContent = zone;
  for (const title of part.querySelectorAll("[data-at] > title")) {
    const at = new Date(title.parentElement.dataset.at);
    title.textContent = title.textContent.replace(/^\S+ UTC/, clock.format(at));
  }
}

function take(text) {
  const fresh = document.importNode(new DOMParser().parseFromString(text, "text/html").body, true);
  dress(fresh);
  for (const part of fresh.querySelectorAll("section[id], figure[id]")) {
    const old = document.getElementById(part.id);
    if (old && state.contains(old)) renew(old, part);
  }
  document.getElementById("badge")?.replaceChildren(...fresh.querySelector("#badge-now").childNodes);
}

function say(text, ...more) {
  if (stale.textContent !== text) stale.replaceChildren(text, ...more);
  stale.hidden = !text;
}

function since() {
  return state.querySelector(".asof time")?.textContent;
}

// The page itself asks for the login, and leads back here.
function loggedOut() {
  clearInterval(timer);
  const link = document.createElement("a");
  link.href = location.pathname;
  link.textContent = "Log in again";
  say(`Not up to date: this is how things were at ${since()}. This account may not see more, or has logged out. `, link);
}

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(state.dataset.source, {
      cache: "no-store",
      redirect: "manual",
      signal: AbortSignal.timeout(SECONDS * 1000),
    });
    if (answer.type === "opaqueredirect" || answer.status === 403) return loggedOut();
    if (!answer.ok) throw new Error(String(answer.status));
    take(await answer.text());
    say("");
  } catch {
    say(`Not up to date: this is how things were at ${since()}. Trying again.`);
  }
  return undefined;
}

let timer = 0;
if (state) {
  dress(state);
  timer = setInterval(look, SECONDS * 1000);
  document.addEventListener("visibilitychange", look);
}
