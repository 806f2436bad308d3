// Keys: j and k move between the rows, / goes to the filters, Escape leaves them.

import { TYPING } from "./keys.js";

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
