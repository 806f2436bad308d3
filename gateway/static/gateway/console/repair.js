// Keys: j and k move between the rows, / goes to the filters, Escape leaves them. The number
// beside the page's name stays up to date, and it is said when the rows are not.

import { TYPING } from "./keys.js";
import { show } from "./times.js";

const SECONDS = 20;

const form = document.getElementById("filters");
const links = [...document.querySelectorAll(".item .who a")];

function move(step) {
  const rows = [...document.querySelectorAll(".item")];
  const here = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.max(0, Math.min(rows.length - 1, here + step))];
  next?.querySelector("a")?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.(TYPING);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j" && links.length) move(1);
  else if (event.key === "k" && links.length) move(-1);
  else if (event.key === "/" && form) {
    event.preventDefault();
    form.querySelector("select").focus();
  } else if (event.key === "Escape" && location.search) location.assign(location.pathname);
});

function rows(page) {
  return [...page.querySelectorAll(".kind .count, .item")].map((part) => part.id || part.textContent).join("\n");
}

async function look() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { cache: "no-store", redirect: "manual" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  document.getElementById("badge").replaceChildren(...document.importNode(page.getElementById("badge"), true).childNodes);
  const news = document.getElementById("news");
  if (rows(page) === first || !news.hidden) return;
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "Show it";
  news.replaceChildren("What waits has changed. ", link);
  news.hidden = false;
}

const first = rows(document);
setInterval(() => look().catch(() => {}), SECONDS * 1000); // a lost line is no news: the next look tells
document.querySelectorAll("#content time").forEach(show);
