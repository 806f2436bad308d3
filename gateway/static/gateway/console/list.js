// Keys in the admin's lists: / searches, j and k move, Enter opens (rows are links), Esc goes back.

import { TYPING } from "./keys.js";
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

// Something in the list's own form differs from what the server sent.
function edited() {
  const form = document.getElementById("changelist-form");
  const fields = [...(form?.elements ?? [])].filter((field) => field.closest("#result_list") && !field.matches(".action-select"));
  return fields.some((field) => {
    if (field.type === "checkbox") return field.checked !== field.defaultChecked;
    if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected);
    return field.type !== "hidden" && field.value !== field.defaultValue;
  });
}

function back() {
  if (edited()) {
    document.querySelector("#changelist-form [name=_save]")?.focus(); // nothing is dropped by a key
    return;
  }
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
  if (event.target.closest?.(TYPING)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// On a phone the head is out of sight: each cell says itself what it is.
function label() {
  const names = [...document.querySelectorAll("#result_list thead th")].map((head) => head.querySelector(".text")?.textContent.trim() ?? "");
  for (const row of document.querySelectorAll("#result_list tbody tr")) {
    [...row.cells].forEach((cell, at) => {
      if (names[at] && cell.nodeName === "TD") cell.dataset.label = names[at];
    });
  }
}

document.querySelector(".fold")?.addEventListener("click", ({ currentTarget }) => {
  const open = document.getElementById("changelist-filter").classList.toggle("unfolded");
  currentTarget.setAttribute("aria-expanded", String(open));
});
label();
for (const time of document.querySelectorAll("#result_list time")) show(time);
