// Keys in the admin's lists: / searches, j and k move, Enter opens (rows are links), Esc goes back.

import { show } from "./times.js";

const search = document.getElementById("searchbar");
const links = () => [...document.querySelectorAll("#result_list tbody tr")].map((row) => row.querySelector("th a, td a")).filter(Boolean);

function move(step) {
  const all = links();
  if (!all.length) return;
  const row = document.activeElement.closest?.("#result_list tr");
  const at = all.findIndex((link) => link.closest("tr") === row);
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step));
  all[next].focus({ preventScroll: true });
  all[next].closest("tr").scrollIntoView({ block: "nearest" });
}

function back() {
  const up = [...document.querySelectorAll(".breadcrumbs a")].at(-1);
  if (up) location.assign(up.href);
}

const KEYS = {
  "/": () => {
    search?.focus();
    search?.select();
  },
  j: () => move(1),
  k: () => move(-1),
  Escape: back,
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

for (const time of document.querySelectorAll("#result_list time")) show(time);
